# SPDX-License-Identifier: MIT
"""
The files that wait to be ingested.

In memory: what is durable is the catalog (a video begun, its error, its next attempt) and the source folders
themselves, from which the first scan makes the same queue again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from twisted.internet.defer import Deferred

from tgsyncd.daemon import UploadOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.ingest.watching import FoundFile

__all__ = ["Entry", "IngestQueue", "Order"]

Order = Literal["newest", "oldest", "smallest", "name"]


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
    """Gives out waiting files in order; a file is in it once."""

    def __init__(self, reactor: IReactorTime, *, now_s: Callable[[], float], order: Order = "newest") -> None:
        self.order: Order = order
        self._reactor = reactor
        self._now_s = now_s
        self._entries: dict[str, Entry] = {}
        self._taken: set[str] = set()
        self._waiting: list[Deferred[None]] = []
        self.on_discard: Callable[[str], None] = lambda _path: None
        """Is told of a file that waits no more because it is gone."""

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> list[Entry]:
        """Return what waits, in the order in which it will be taken."""
        return sorted(self._entries.values(), key=self._rank)

    def add(self, entry: Entry) -> None:
        """Let a file wait; one that waits already is replaced, unless it was asked for by hand."""
        path = entry.file.path
        if path in self._taken:
            return
        known = self._entries.get(path)
        if known is not None and known.is_urgent and not entry.is_urgent:
            return
        self._entries[path] = entry
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
            due = [
                entry
                for entry in self._entries.values()
                if entry.not_before_s <= now_s and (entry.is_urgent or free_s <= now_s)
            ]
            if due:
                entry = min(due, key=self._rank)
                del self._entries[entry.file.path]
                self._taken.add(entry.file.path)
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

    def _rank(self, entry: Entry) -> tuple[bool, float, str]:
        file = entry.file
        key = {
            "newest": -file.mtime_ns,
            "oldest": file.mtime_ns,
            "smallest": file.size_bytes,
            "name": 0,
        }[self.order]
        return (not entry.is_urgent, key, str(PurePath(file.path)))

    async def _wait(self, now_s: float, free_s: float) -> None:
        """Wait until something changes, or the first entry is due."""
        times = [max(entry.not_before_s, free_s) for entry in self._entries.values()]
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
