# SPDX-License-Identifier: MIT
"""
The files that wait to be ingested.

In memory: what is durable is the catalog (a video begun, its error, its next attempt) and the source folders
themselves, from which the first scan makes the same queue again.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from twisted.internet.defer import Deferred

from tgsyncd.daemon import UploadOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.ingest.watching import FoundFile

__all__ = ["Entry", "IngestQueue", "Order"]

Order = Literal["newest", "oldest", "smallest", "name"]
_Rank = tuple[bool, int, str]

MOST_STALE = 1000
"""So many entries of the heaps, and as many as there are files, may be of files that wait no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One waiting file."""

    file: FoundFile
    is_urgent: bool = False
    """Somebody asked for it by hand."""
    options: UploadOptions = field(default_factory=UploadOptions)
    """What was asked for with it."""
    not_before_s: float = 0.0
    attempts: int = 0
    """How often it failed since the daemon started."""


class IngestQueue:
    """
    Gives out waiting files in order; a file is in it once.

    A hundred thousand may wait while nothing is taken (a new library in quiet hours), and each that comes
    wakes the workers: what they look at then is the head of two heaps. Entries that were replaced or
    discarded stay in the heaps until they come to the head.
    """

    def __init__(self, reactor: IReactorTime, *, now_s: Callable[[], float], order: Order = "newest") -> None:
        self._order: Order = order
        self._reactor = reactor
        self._now_s = now_s
        self._entries: dict[str, Entry] = {}
        self._due: list[tuple[_Rank, int, Entry]] = []
        self._later: list[tuple[float, int, Entry]] = []
        self._count = 0
        self._taken: set[str] = set()
        self._waiting: list[Deferred[None]] = []
        self.on_discard: Callable[[str], None] = lambda _path: None
        """Is told of a file that waits no more because it is gone."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def order(self) -> Order:
        """Which of the files that are due is next."""
        return self._order

    @order.setter
    def order(self, order: Order) -> None:
        self._order = order
        self._rebuild()

    def entries(self, limit: int | None = None) -> list[Entry]:
        """Return the first of what waits, or all: in the order in which it will be taken, due or not."""
        waiting = self._entries.values()
        if limit is None:
            return sorted(waiting, key=self._rank)
        # One look at each: a tenth of the time of sorting them all.
        return heapq.nsmallest(limit, waiting, key=self._rank)

    def add(self, entry: Entry) -> None:
        """Let a file wait; one that waits already is replaced, unless it was asked for by hand."""
        path = entry.file.path
        if path in self._taken:
            return
        known = self._entries.get(path)
        if known == entry or (known is not None and known.is_urgent and not entry.is_urgent):
            return
        self._entries[path] = entry
        self._put(entry)
        self.wake()

    def discard(self, path: str) -> None:
        """Let a file wait no more."""
        if self._entries.pop(path, None) is not None:
            self.on_discard(path)

    def is_taken(self, path: str) -> bool:
        """Tell whether the file is being ingested now."""
        return path in self._taken

    async def take(self, blocked_until_s: Callable[[float], float]) -> Entry:
        """
        Wait for the next file and return it; give it back with ``done``.

        ``blocked_until_s(now)`` returns until when no file may be begun: quiet hours, a store that is down.
        What was asked for by hand does not wait for it.
        """
        while True:
            now_s = self._now_s()
            free_s = blocked_until_s(now_s)
            entry = self._next(now_s, is_free=free_s <= now_s)
            if entry is not None:
                return entry
            await self._wait(now_s, free_s)

    def done(self, path: str) -> None:
        """Note that a taken file is finished with, one way or the other."""
        self._taken.discard(path)

    def wake(self) -> None:
        """Let those that wait look again."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def _rebuild(self) -> None:
        self._due, self._later = [], []
        for entry in self._entries.values():
            self._put(entry)

    def _put(self, entry: Entry) -> None:
        if len(self._due) + len(self._later) > 2 * len(self._entries) + MOST_STALE:
            self._rebuild()
            return
        self._count += 1  # makes entries of the same rank comparable
        if entry.not_before_s <= self._now_s():
            heapq.heappush(self._due, (self._rank(entry), self._count, entry))
        else:
            heapq.heappush(self._later, (entry.not_before_s, self._count, entry))

    def _next(self, now_s: float, *, is_free: bool) -> Entry | None:
        """Take the first entry that is due and may be begun."""
        while self._later and (self._later[0][0] <= now_s or not self._is_current(self._later[0][2])):
            entry = heapq.heappop(self._later)[2]
            if self._is_current(entry):
                self._count += 1
                heapq.heappush(self._due, (self._rank(entry), self._count, entry))
        while self._due and not self._is_current(self._due[0][2]):
            heapq.heappop(self._due)
        if not self._due or not (is_free or self._due[0][2].is_urgent):
            return None
        entry = heapq.heappop(self._due)[2]
        del self._entries[entry.file.path]
        self._taken.add(entry.file.path)
        return entry

    def _is_current(self, entry: Entry) -> bool:
        return self._entries.get(entry.file.path) is entry

    def _rank(self, entry: Entry) -> _Rank:
        file = entry.file
        key = {
            "newest": -file.mtime_ns,
            "oldest": file.mtime_ns,
            "smallest": file.size_bytes,
            "name": 0,
        }[self._order]
        return (not entry.is_urgent, key, file.path)

    async def _wait(self, now_s: float, free_s: float) -> None:
        """Wait until something changes, or the first entry is due."""
        times = ([free_s] if self._due else []) + [at_s for at_s, _, _ in self._later[:1]]
        changed: Deferred[None] = Deferred(self._forget)
        self._waiting.append(changed)
        if times:
            # At most a minute: the clock may jump, and waiting is cheap.
            delay_s = min(60.0, max(0.05, min(times) - now_s))
            timer = self._reactor.callLater(delay_s, self.wake)

            def stop(result: object) -> object:
                if timer.active():
                    timer.cancel()
                return result

            changed.addBoth(stop)
        await changed

    def _forget(self, deferred: Deferred[None]) -> None:
        if deferred in self._waiting:
            self._waiting.remove(deferred)
