# SPDX-License-Identifier: MIT
"""
Who goes when all connections are taken. Pure.

First who has no complete request: what floods a server looks like that, and a client in earnest sends its
request at once. Then the reader who has taken nothing for longest: he may be a paused player, who asks again
when he goes on. Nobody who is being served goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MIN_STALL_S = 10.0
"""ffmpeg asks for the next segment early and lets it wait for as long as it plays one: 6 s, mostly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One connection as it is now."""

    number: int
    """Names it."""
    asks_since_s: float | None = None
    """Since when it has no complete request; None when it has one, or something to take."""
    stalled_since_s: float | None = None
    """Since when it takes nothing of what is there for it."""


def choose_to_close(seats: Iterable[Seat], now_s: float) -> int | None:
    """Return the number of the connection that makes room for another one; None when all are being served."""
    asking, stalled = [], []
    for seat in seats:
        if seat.asks_since_s is not None:
            asking.append((seat.asks_since_s, seat.number))
        elif seat.stalled_since_s is not None and now_s - seat.stalled_since_s >= MIN_STALL_S:
            stalled.append((seat.stalled_since_s, seat.number))
    for candidates in (asking, stalled):
        if candidates:
            return min(candidates)[1]
    return None
