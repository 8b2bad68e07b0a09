# SPDX-License-Identifier: MIT
"""
PURE: when another bot is asked as well (a hedge), and when one connection is too few.

Both cost the store something, so both are bounded: hedges by a share of all reads, and the loser of a
hedge is cancelled before it has brought anything; connections by a number, and no two bring the same bytes.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol, runtime_checkable

from tgsyncd.model import DocumentRef  # noqa: TC001 (a protocol that is checked when the program runs)

HEDGE_FLOOR_S = 1.0
"""Earlier another bot is never asked: 300 ms of jitter and a getFile of 19.9 MB are nothing unusual."""

HEDGE_CEILING_S = 15.0
"""Later it always is: a player has some 30 s of film in hand."""

HEDGE_UNLEARNED_S = 4.0
"""While nothing is learned. getFile of 19.9 MB takes a second or two."""

HEDGE_QUANTILE = 0.95
HEDGE_FACTOR = 1.5
HEDGE_SHARE = 0.05
HEDGE_BURST = 2
"""So many hedges beyond their share: the first trouble finds a second bot at once."""

LEARNED_FROM = 8
KEPT_WAITS = 200

MAX_CONNECTIONS = 4
"""For one segment. A connection to Telegram brings 3 to 10 MB/s: four bring more than any video needs."""

HEADROOM = 1.25
"""A line is fast enough that brings a quarter more than the video needs."""

MEASURED_S = 1.0
"""So long a line is measured before it is judged, and again when a connection was added."""

BUSY_SHARE = 0.5
"""Who has been busy for half of the time is slow himself: more connections would only add to it."""

SPLIT_MIN_BYTES = 512 * 1024
"""A part smaller than this is not worth a request of its own: latency takes as long as the bytes."""


@runtime_checkable
class SeveralLines(Protocol):
    """A store from which a document may be read more than once at a time. Beyond ``ports.Store``."""

    def bots_for(self, ref: DocumentRef) -> int:
        """Return by how many bots the document can be read now, without asking anybody."""
        ...

    def honours_ranges(self) -> bool:
        """Tell whether a part of a document was seen to come without what stands before it (206)."""
        ...


class Waits:
    """How long reads waited for their first byte."""

    def __init__(self) -> None:
        self._waits: deque[float] = deque(maxlen=KEPT_WAITS)

    def note(self, wait_s: float) -> None:
        """Note one."""
        self._waits.append(wait_s)

    @property
    def usual_s(self) -> float | None:
        """What 95 of 100 waits do not exceed; None while too few are known."""
        if len(self._waits) < LEARNED_FROM:
            return None
        known = sorted(self._waits)
        return known[min(int(len(known) * HEDGE_QUANTILE), len(known) - 1)]


def hedge_after_s(usual_s: float | None) -> float:
    """Return after how long without a byte another bot is asked as well."""
    if usual_s is None:
        return HEDGE_UNLEARNED_S
    return min(max(usual_s * HEDGE_FACTOR, HEDGE_FLOOR_S), HEDGE_CEILING_S)


def may_hedge(*, bots: int, hedges: int, reads: int) -> bool:
    """Tell whether there is another bot, and hedges are few enough: of a store that is down all is late."""
    return bots > 1 and hedges < HEDGE_BURST + HEDGE_SHARE * reads


def shall_add_connection(
    *,
    arrived_bytes: int,
    measured_s: float,
    need_bytes_per_s: float,
    largest_part_bytes: int,
    connections: int,
    busy_s: float,
) -> bool:
    """
    Tell whether a segment that somebody waits for gets one more connection.

    ``arrived_bytes`` came in the last ``measured_s`` by all its connections. ``need_bytes_per_s`` is what the
    video plays, 0 when that is not known. ``largest_part_bytes`` is the most that one connection has still to
    bring, which would be divided. For ``busy_s`` of the time measured it was us who had work to do.
    """
    return (
        connections < MAX_CONNECTIONS
        and measured_s >= MEASURED_S
        and largest_part_bytes >= 2 * SPLIT_MIN_BYTES
        and arrived_bytes < need_bytes_per_s * HEADROOM * measured_s
        and busy_s < BUSY_SHARE * measured_s
    )
