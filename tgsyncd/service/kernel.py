# SPDX-License-Identifier: MIT
"""Hints of the kernel (inotify) about new, changed and removed files in the source folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet import inotify, task
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.filepath import FilePath

from tgsyncd.bridge import start
from tgsyncd.ingest.folders import folders_below

if TYPE_CHECKING:
    from collections.abc import Callable

    from tgsyncd.config.libraries import Library
    from tgsyncd.service.watcher import Watcher

__all__ = ["KernelHints"]

_log = Logger()

MASK = (
    inotify.IN_CREATE | inotify.IN_CLOSE_WRITE | inotify.IN_MOVED_TO | inotify.IN_MOVED_FROM
    | inotify.IN_DELETE | inotify.IN_ATTRIB | inotify.IN_DELETE_SELF | inotify.IN_ONLYDIR
)  # fmt: skip
GONE = inotify.IN_DELETE | inotify.IN_MOVED_FROM | inotify.IN_DELETE_SELF
BATCH = 100
"""Folders watched before the reactor gets its turn: 100 take some 2 ms."""


class KernelHints:
    """
    Watches every source folder. A hint only leads to a look: what is missed, the next scan finds.

    When the kernel gives no more watches (``fs.inotify.max_user_watches``), the scans remain.
    """

    def __init__(self, watcher: Watcher, *, reactor: Any, on_gone: Callable[[], None]) -> None:
        self._watcher = watcher
        self._reactor = reactor
        self._on_gone = on_gone
        self._inotify: inotify.INotify | None = None
        self._is_full = False
        self._was_told = False
        self._folders: set[Path] = set()

    @property
    def folder_count(self) -> int:
        """How many folders are watched."""
        return len(self._folders)

    async def watch(self, libraries: tuple[Library, ...]) -> None:
        """Begin to watch; what is watched already stays."""
        self._is_full = False
        if self._inotify is None:
            try:
                self._inotify = inotify.INotify(self._reactor)
                self._inotify.startReading()
            except (OSError, inotify.INotifyError) as error:
                self._inotify = None
                self._note_full(f"inotify is not to be had ({error})")
                return
        for library in libraries:
            folders = await deferToThread(folders_below, library.source, self._watcher.rules)
            for number, folder in enumerate(folders):
                if number % BATCH == BATCH - 1:
                    await task.deferLater(self._reactor, 0)
                self._watch(library, folder)
        if self._was_told and not self._is_full:
            self._was_told = False
            _log.info("the kernel watches all {count} folders now", count=self.folder_count)

    async def watch_the_rest(self, libraries: tuple[Library, ...]) -> None:
        """Try again to watch what the kernel had no watches for."""
        if self._is_full:
            await self.watch(libraries)

    def stop(self) -> None:
        """Watch nothing any more."""
        if self._inotify is not None:
            self._inotify.stopReading()
            self._inotify.loseConnection()
            self._inotify = None

    def _watch(self, library: Library, folder: Path) -> None:
        if self._inotify is None or self._is_full:
            return

        def notice(_watch: object, path: FilePath[Any], mask: int) -> None:
            self._notice(library, Path(os.fsdecode(path.path)), mask)

        try:
            self._inotify.watch(FilePath(str(folder)), mask=MASK, callbacks=[notice])
        except (OSError, inotify.INotifyError):
            # Twisted does not tell errno; a folder that is gone, or that we may not read, is no shortage.
            if folder.is_dir() and os.access(folder, os.R_OK):
                self._note_full(f"the kernel watches no more than {self.folder_count} folders")
        else:
            self._folders.add(folder)

    def _note_full(self, what: str) -> None:
        self._is_full = True
        if not self._was_told:
            self._was_told = True
            _log.warn(
                "{what}: new files elsewhere are found by scans only (raise fs.inotify.max_user_watches)",
                what=what,
            )

    def _notice(self, library: Library, path: Path, mask: int) -> None:
        if mask & GONE:
            self._on_gone()
            self._folders.discard(path)
        if mask & inotify.IN_ISDIR:
            if mask & (inotify.IN_CREATE | inotify.IN_MOVED_TO) and not path.name.startswith("."):
                start(self._new_folder(library, path), _log_failure)
        elif self._watcher.takes(library, path):
            self._watcher.hint(str(path))

    async def _new_folder(self, library: Library, folder: Path) -> None:
        """Watch it first, then look into it: a file that came in between is seen by one of the two."""
        for each in await deferToThread(folders_below, folder, self._watcher.rules):
            self._watch(library, each)
        await self._watcher.scan_below(library, folder)


def _log_failure(failure: Any) -> None:
    _log.failure("a new folder was not looked into; the next scan will", failure=failure)
