# SPDX-License-Identifier: MIT
"""Files that stay open for a while after they were read: opening one again takes a thread and 0.1 ms."""

from __future__ import annotations

import os

KEPT_FILES = 64
KEPT_S = 300.0
"""A file that somebody else removed meanwhile keeps its place on disk no longer than that."""


class Handles:
    """Open files by name, the least recently used closed first."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, float]] = {}

    def keep(self, name: str, fd: int, now_s: float) -> None:
        """Keep a duplicate of this descriptor."""
        self.forget(name)
        self._kept[name] = (os.dup(fd), now_s + KEPT_S)
        while len(self._kept) > KEPT_FILES:
            self.forget(next(iter(self._kept)))

    def take(self, name: str, now_s: float) -> int | None:
        """Return a duplicate, which is the caller's to close; None when the file is not kept."""
        kept = self._kept.pop(name, None)
        if kept is None:
            return None
        fd, until_s = kept
        self._kept[name] = kept
        if now_s >= until_s:
            self.forget(name)
            return None
        return os.dup(fd)

    def forget(self, name: str) -> None:
        """Close the file, if it is kept."""
        fd, _ = self._kept.pop(name, (-1, 0.0))
        if fd >= 0:
            os.close(fd)

    def close(self) -> None:
        """Close everything."""
        for name in list(self._kept):
            self.forget(name)
