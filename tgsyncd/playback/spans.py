# SPDX-License-Identifier: MIT
"""
A part of an open file on its way to a client, to be sent by the kernel instead of being read.

What is in the page cache is sent at once. What is not would block the reactor for as long as the disk takes,
so a thread reads it first: RWF_NOWAIT (Linux 4.14) tells which is which.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from twisted.internet.defer import Deferred

WINDOW_BYTES = 4 << 20
"""So much is looked for in the page cache, or brought there, at once."""

_SAMPLE_BYTES = 256 * 1024
"""The kernel reads ahead 128 KiB at least (read_ahead_kb), twice that for who reads in order as we wrote."""


@dataclass(frozen=True, slots=True)
class FileSpan:
    """
    Bytes ``[start, stop)`` of a file that stays open until the next span or chunk is asked for.

    ``in_thread`` runs work where it may block.
    """

    fd: int
    start: int
    stop: int
    in_thread: Callable[[Callable[[], Any]], Deferred[Any]]

    def __len__(self) -> int:
        return self.stop - self.start

    def after(self, size_bytes: int) -> FileSpan:
        """Return the span without so many bytes at its beginning."""
        return replace(self, start=self.start + size_bytes) if size_bytes else self

    def look(self, position: int) -> tuple[int, bool]:
        """Return where the next part from ``position`` on ends, and whether it is in the page cache."""
        end = min(position + WINDOW_BYTES, self.stop)
        return end, is_in_page_cache(self.fd, position, end)

    async def bring(self, position: int, end: int) -> None:
        """Bring a part to the page cache, however long the disk takes. Raises OSError."""
        await self.in_thread(partial(read_away, self.fd, position, end))


def is_in_page_cache(fd: int, start: int, stop: int) -> bool:
    """Tell whether samples of the bytes ``[start, stop)`` are in memory; False where it cannot be told."""
    sample = [bytearray(1)]
    try:
        for position in (*range(start, stop, _SAMPLE_BYTES), stop - 1):
            if os.preadv(fd, sample, position, os.RWF_NOWAIT) != 1:
                return False
    except OSError:  # EAGAIN: not there. EOPNOTSUPP: this file system does not tell
        return False
    return True


def read_away(fd: int, start: int, stop: int) -> None:
    """Read bytes ``[start, stop)`` and forget them. Blocks. Raises OSError."""
    scratch = bytearray(min(stop - start, 256 * 1024))
    while start < stop:
        size = os.preadv(fd, [memoryview(scratch)[: stop - start]], start)
        if not size:
            return
        start += size
