# SPDX-License-Identifier: MIT
"""Keep what is sent below so many bytes a second, over all uploads together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.task import deferLater

from tgsyncd.stores.bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

__all__ = ["NO_LIMIT", "Throttle"]

NO_LIMIT: float = float("inf")

FAST_ENOUGH_BYTES_PER_S = 100_000
"""Uploads side by side share the limit; each gets at least this, so that none holds its place for long."""
LONGEST_WAIT_S = 1.0
"""The limit may change meanwhile: who waits looks again."""


class Throttle:
    """
    Passes bytes on at the pace of a limit that may change at any time.

    In the order in which they come: uploads side by side advance alike. Only ``pass_bytes`` waits; who does
    holds no thread.
    """

    def __init__(self, reactor: IReactorTime, limit: Callable[[], float | None]) -> None:
        self._reactor = reactor
        self.limit = limit
        """Returns the bytes a second that are allowed now; None is no limit."""
        self._bucket: TokenBucket | None = None

    async def pass_bytes(self, size_bytes: int) -> None:
        """Wait until so many bytes may be sent."""
        bucket = self._current()
        if bucket is None:
            return
        due_s = bucket.take(size_bytes, self._reactor.seconds())
        while (wait_s := due_s - self._reactor.seconds()) > 0:
            await deferLater(self._reactor, min(wait_s, LONGEST_WAIT_S))
            if self._current() is not bucket:
                return  # another limit: what comes next obeys it

    @property
    def at_once(self) -> float:
        """How many uploads make sense side by side."""
        limit = self.limit()
        return NO_LIMIT if limit is None else max(1, limit // FAST_ENOUGH_BYTES_PER_S)

    def takes_s(self, size_bytes: int) -> float:
        """Return how long the limit makes uploads of this size take, side by side, at the longest."""
        limit = self.limit()
        return 0.0 if limit is None else size_bytes * self.at_once / limit

    def _current(self) -> TokenBucket | None:
        limit = self.limit()
        if limit is None:
            self._bucket = None
        elif self._bucket is None or self._bucket.bytes_per_s != limit:
            self._bucket = TokenBucket(limit, self._reactor.seconds())
        return self._bucket
