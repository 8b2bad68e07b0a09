# SPDX-License-Identifier: MIT
"""Since when the Bot API server does not answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Reach", "choose_outage"]


@dataclass(slots=True)
class Reach:
    """What one bot's calls have seen; times are seconds of its timer."""

    answered_at_s: float | None = None
    """Any answer counts, also a refusal."""
    since_s: float | None = None
    """The first call without an answer after the last one with."""
    reason: str = ""

    def note_answer(self, now_s: float) -> None:
        """Note that the server answered."""
        self.answered_at_s, self.since_s, self.reason = now_s, None, ""

    def note_silence(self, now_s: float, reason: str) -> None:
        """Note that it did not."""
        if self.since_s is None:
            self.since_s = now_s
        self.reason = reason


def choose_outage(reaches: Iterable[Reach]) -> Reach | None:
    """
    Return what says best since when nobody is answered; None while somebody is.

    One bot whose connection broke, beside another that was answered after that, is no outage.
    """
    known = list(reaches)
    silent = [reach for reach in known if reach.since_s is not None]
    if not silent:
        return None
    first = min(silent, key=lambda reach: reach.since_s or 0.0)
    answered = [reach.answered_at_s for reach in known if reach.since_s is None]
    if any(at_s is not None and at_s >= (first.since_s or 0.0) for at_s in answered):
        return None
    return first
