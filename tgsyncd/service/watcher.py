# SPDX-License-Identifier: MIT
"""Find the files to ingest: scans of source folders, hints of the kernel, patience until files rest."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tgsyncd.bridge import start
from tgsyncd.ingest.folders import WalkRules, is_candidate, look_at, walk_folder
from tgsyncd.ingest.retry import LONGEST_S
from tgsyncd.ingest.watching import Resting, choose_files, find_vanished
from tgsyncd.service.known import known_source
from tgsyncd.service.queue import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from pathlib import Path

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.threadpool import ThreadPool

    from tgsyncd.config.libraries import Library
    from tgsyncd.config.schema import Config
    from tgsyncd.daemon import Application
    from tgsyncd.ingest.watching import FoundFile, Known, Walk
    from tgsyncd.model import KnownSource
    from tgsyncd.ports import Clock
    from tgsyncd.service.ingesting import Ingesting
    from tgsyncd.service.queue import IngestQueue
    from tgsyncd.service.removal import Removal

__all__ = ["Watcher", "walk_rules"]

_log = Logger()
_T = TypeVar("_T")

SETTLE_S = 0.5
"""Events come in swarms; a file is looked at so long after its last one."""


OBSERVED_AT_ONCE = 200
"""Files that are put into the queue before the reactor gets its turn: 200 take some 5 ms."""


def walk_rules(config: Config) -> WalkRules:
    """Return what is taken, by the section ``scan``."""
    scan = config.scan
    return WalkRules(
        partial_suffixes=tuple(suffix.lower() for suffix in scan.partial_suffixes),
        exclude=scan.exclude,
        samples=scan.samples,
        trailers=scan.trailers,
        follow_symlinks=scan.symlinks == "follow",
        one_file_system=scan.one_file_system,
    )


class Watcher:
    """Puts files into the queue when they are new or changed, and have rested."""

    def __init__(
        self,
        app: Application,
        queue: IngestQueue,
        ingesting: Ingesting,
        removal: Removal,
        *,
        reactor: object,
        pool: ThreadPool,
        clock: Clock,
    ) -> None:
        self._app = app
        self._queue = queue
        self._ingesting = ingesting
        self._removal = removal
        self._reactor = reactor
        self._pool = pool
        self._clock = clock
        self.rules = walk_rules(app.config)
        self._resting = Resting(app.config.scan.rest)
        self._look_at_s: dict[str, float] = {}
        self._timer: IDelayedCall | None = None
        self._is_looking = False
        self._told_holes: set[str] = set()
        self._told_unreadable: dict[str, list[str]] = {}
        self.after_scan: Callable[[], Coroutine[Any, Any, None]] | None = None
        """What else is done with each scan."""
        self.waiting: dict[str, str] = {}
        """Why files that were found are not in the queue yet."""

    def reconfigure(self) -> None:
        """Obey a configuration that was read again."""
        self.rules = walk_rules(self._app.config)
        self._resting.rest_s = self._app.config.scan.rest

    def stop(self) -> None:
        """Look at nothing any more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._is_looking = True

    async def scan(self) -> str:
        """Walk all source folders once; return in words what was seen."""
        begun_s = time.monotonic()
        known = await self._app.catalog.known_sources()
        total = new = 0
        for library in self._app.config.libraries:
            walk = await self._in_thread(partial(walk_folder, library.source, self.rules, known=known))
            total += len(walk.paths)
            new += await self._observe_batches(walk.files, known)
            self._tell_unreadable(library, walk)
            await self._look_for_vanished(walk, known)
        self._forget_gone()
        if self.after_scan is not None:
            await self.after_scan()
        seconds = time.monotonic() - begun_s
        return f"{total} files in {seconds:.1f} s, {new} to look at, {len(self._queue)} waiting"

    async def scan_below(self, library: Library, folder: Path) -> None:
        """Look into one folder, which is new or was moved here."""
        walk = await self._in_thread(lambda: walk_folder(library.source, self.rules, below=folder))
        for file in walk.files:
            self.hint(file.path)

    def hint(self, path: str) -> None:
        """Note that something happened with the file at this path."""
        self._look_at_s[path] = self._clock.now_s() + SETTLE_S
        self._set_timer()

    def takes(self, library: Library, path: Path) -> bool:
        """Tell by its name whether a file would be taken."""
        if not path.is_relative_to(library.source):
            return False
        return is_candidate(path.name, str(path.relative_to(library.source)), self.rules)

    async def _observe_batches(self, files: Sequence[FoundFile], known: Known) -> int:
        """Do as ``_observe_all``, and give the reactor its turn: a new library may have 100,000 files."""
        count = 0
        for start_at in range(0, len(files), OBSERVED_AT_ONCE):
            count += self._observe_all(files[start_at : start_at + OBSERVED_AT_ONCE], known)
            await deferLater(self._reactor, 0)  # type: ignore[arg-type]
        return count

    def _observe_all(self, files: Iterable[FoundFile], known: Known) -> int:
        count = 0
        for file in files:
            if self._ingesting.settled.get(file.path) == (file.size_bytes, file.mtime_ns):
                source = known.get(file.path)
                if source is None or source.is_published:
                    continue
            count += 1
            self._observe(file, known.get(file.path))
        return count

    def _observe(self, file: FoundFile, source: KnownSource | None) -> None:
        """Let a file wait until it has rested, and then in the queue."""
        now_s = self._clock.now_s()
        if file.has_holes and self._app.config.scan.holes == "wait":
            self._tell_holes(file)
            return
        wait_s = self._resting.observe(file, now_s)
        if wait_s > 0:
            self.waiting[file.path] = "it changed a moment ago"
            self._look_at_s[file.path] = now_s + wait_s
            self._set_timer()
            return
        self.waiting.pop(file.path, None)
        if self._queue.is_taken(file.path):
            return
        failure = self._ingesting.failures.get(file.path)
        due_s = source.next_attempt_at_s if source and source.next_attempt_at_s else 0.0
        if due_s > self._clock.now_s() + LONGEST_S:
            due_s = 0.0  # No wait is that long: the clock was set back since it was written down.
        if failure is not None and self._is_as_known(file, source):
            due_s = failure.next_attempt_at_s or due_s
            if failure.at_s > self._clock.now_s():
                due_s = 0.0
        attempts = failure.attempts if failure else 0
        self._queue.add(Entry(file=file, not_before_s=due_s, attempts=attempts))

    def _is_as_known(self, file: FoundFile, source: KnownSource | None) -> bool:
        return source is None or (source.size_bytes, source.mtime_ns) == (file.size_bytes, file.mtime_ns)

    def _tell_holes(self, file: FoundFile) -> None:
        self.waiting[file.path] = "it has holes: is it still downloaded into?"
        if file.path not in self._told_holes:
            self._told_holes.add(file.path)
            _log.info("{path} has holes and waits until it has none (scan.holes)", path=file.path)

    def _tell_unreadable(self, library: Library, walk: Walk) -> None:
        unreadable = [walk.root] if walk.root_device is None else list(walk.unreadable[:3])
        told = self._told_unreadable.get(library.name, [])
        for folder in unreadable:
            if folder not in told:
                _log.warn("library {library}: {path} cannot be read", library=library.name, path=folder)
        for folder in told:
            if folder not in walk.unreadable and folder not in unreadable:
                _log.info("library {library}: {path} can be read again", library=library.name, path=folder)
        self._told_unreadable[library.name] = unreadable

    async def _look_for_vanished(self, walk: Walk, known: Iterable[KnownSource]) -> None:
        # What we moved or deleted ourselves is not gone, and counts on neither side.
        def compare() -> tuple[Sequence[KnownSource], int]:
            below = walk.root.rstrip("/") + "/"
            count = sum(source.path.startswith(below) and not source.is_released for source in known)
            return find_vanished(walk, (source for source in known if not source.is_released)), count

        vanished, below = await self._in_thread(compare)
        await self._removal.sources_vanished(walk, vanished, below)

    def _forget_gone(self) -> None:
        now_s = self._clock.now_s()
        for path in [path for path in self.waiting if path not in self._look_at_s]:
            # Holes are looked for by each scan anew.
            self.waiting.pop(path)
        for path in self.waiting:
            self._look_at_s.setdefault(path, now_s + SETTLE_S)

    # --- looking again --------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        if self._is_looking or not self._look_at_s:
            return
        delay_s = min(60.0, max(0.05, min(self._look_at_s.values()) - self._clock.now_s()))
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._reactor.callLater(delay_s, self._begin_looking)  # type: ignore[attr-defined]

    def _begin_looking(self) -> None:
        self._is_looking = True
        start(self._look(), lambda failure: _log.failure("looking at files failed", failure=failure))

    async def _look(self) -> None:
        now_s = self._clock.now_s()
        due = [path for path, at_s in self._look_at_s.items() if at_s <= now_s]
        for path in due:
            del self._look_at_s[path]
        found = await self._in_thread(lambda: [(path, look_at(path)) for path in due])
        for path, file in found:
            if file is None:
                self._resting.forget(path)
                self.waiting.pop(path, None)
                self._queue.discard(path)
                continue
            source = self._known(path)
            by_path = {} if source is None else {path: source}
            if choose_files([file], by_path):
                self._observe_all([file], by_path)
            else:
                self.waiting.pop(path, None)
        self._is_looking = False
        self._set_timer()

    def _known(self, path: str) -> KnownSource | None:
        return known_source(self._app.catalog, path)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await deferToThreadPool(self._reactor, self._pool, work)  # type: ignore[arg-type]
