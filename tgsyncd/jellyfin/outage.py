# SPDX-License-Identifier: MIT
"""A Jellyfin that is down, told once when it begins and once when it ends; and how long to wait meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from tgsyncd.jellyfin.client import JellyfinError

__all__ = ["Outage"]

_log = Logger()

FIRST_WAIT_S = 15.0

# A Jellyfin that is updated is back in minutes; one that moved waits for its owner.
LONGEST_WAIT_S = 600.0


class Outage:
    """What both the announcing and the probing meet."""

    def __init__(self) -> None:
        self._failures = 0

    @property
    def is_on(self) -> bool:
        """Whether the last call failed."""
        return self._failures > 0

    def note_failure(self, error: JellyfinError) -> float:
        """Return how many seconds to wait before the next call."""
        if not self.is_on:
            _log.warn("{error}; it is told later what was published", error=error)
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        return wait_s

    def note_success(self) -> None:
        """End it."""
        if self.is_on:
            _log.info("Jellyfin answers again")
        self._failures = 0
