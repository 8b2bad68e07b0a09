# SPDX-License-Identifier: MIT
"""
One daemon or ingest at a time for one catalog.

SQLite itself lets any number of processes read and write the catalog side by side; this lock is for what
must not run twice, and only who asks for it is refused. The kernel drops it when the holder dies.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tgsyncd.errors import CatalogError, Refused

if TYPE_CHECKING:
    from types import TracebackType

_LONGEST_PID = 20  # digits of a 64-bit number: more is not ours


class CatalogLock:
    """
    An exclusive flock on ``<catalog>-lock``; use it as a context manager or with acquire and release.

    The file is never removed: between removing and locking, two holders could each lock their own.
    """

    def __init__(self, catalog_path: Path) -> None:
        self.path = Path(f"{catalog_path}-lock")
        self._fd: int | None = None

    def acquire(self) -> None:
        """
        Take the lock, or raise at once.

        Raises
            Refused, naming the process that holds it; CatalogError when the file cannot be made.
        """
        if self._fd is not None:
            return
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            message = f"cannot open the lock file {self.path}: {error.strerror}"
            raise CatalogError(message, hint="see who owns the directory") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, _LONGEST_PID, 0).decode("ascii", "replace").strip()
            os.close(fd)
            raise self._refusal(holder) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        self._fd = fd

    def _refusal(self, holder: str) -> Refused:
        who = f"process {holder}" if holder.isdecimal() else "another process"
        return Refused(
            f"{who} is already working on the catalog beside {self.path}",
            hint="wait until it has ended, or stop it",
        )

    def release(self) -> None:
        """Give the lock back. Does nothing when it is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
