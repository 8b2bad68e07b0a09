# SPDX-License-Identifier: MIT
"""Where a link leads: to the file server, or to the disk of a local Bot API server."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from twisted.internet.threads import deferToThread

from tgsyncd.stores.telegram.download import (
    CHUNK_MAX_BYTES,
    Downloader,
    Interrupted,
    LinkExpired,
    WrongLength,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.stores.telegram.fleet import Fleet
    from tgsyncd.stores.telegram.links import Link

T = TypeVar("T")

LOCAL_FILE_KEPT_S = 600.0
"""A local server keeps what it fetched for ever; we free it this long after the last reader."""


class FileSource(Protocol):
    """One attempt at a byte range of a file."""

    def stream(self, link: Link, start: int, stop: int, size_bytes: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``[start, stop)``. Raises DownloadErrors."""
        ...

    def honours_ranges(self) -> bool:
        """Tell whether a part of a file was seen to come alone."""
        ...

    async def close(self) -> None:
        """Free what is held."""
        ...


class RemoteFiles:
    """Files on the file server."""

    def __init__(self, fleet: Fleet, downloader: Downloader, pool: Any) -> None:
        self._fleet = fleet
        self._downloader = downloader
        self._pool = pool

    def stream(self, link: Link, start: int, stop: int, size_bytes: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``[start, stop)``."""
        url = self._fleet.bot(link.bot_id).file_url(link.file_path)
        return self._downloader.stream(url, start, stop, size_bytes)

    def honours_ranges(self) -> bool:
        """Tell whether the file server answered the last Range with 206."""
        return self._downloader.honours_ranges

    async def close(self) -> None:
        """Close idle connections."""
        await self._pool.closeCachedConnections()


class LocalFiles:
    """Files on this machine's disk, put there by a local Bot API server."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._readers: Counter[str] = Counter()
        self._freeing: dict[str, Any] = {}

    async def stream(self, link: Link, start: int, stop: int, size_bytes: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``[start, stop)``; free the file some minutes after its last reader."""
        path = link.file_path
        self._readers[path] += 1
        try:
            fd = await _in_thread(partial(_open, path, size_bytes))
            try:
                position = start
                while position < stop:
                    wanted = min(CHUNK_MAX_BYTES, stop - position)
                    chunk = await _in_thread(partial(_read, fd, wanted, position))
                    position += len(chunk)
                    yield chunk
            finally:
                os.close(fd)
        finally:
            self._readers[path] -= 1
            self._free_later(path)

    def honours_ranges(self) -> bool:
        """Return False: two readers of one disk are no faster than one."""
        return False

    async def close(self) -> None:
        """Free all files that were read."""
        for path, timer in list(self._freeing.items()):
            timer.cancel()
            self._free(path)

    def _free_later(self, path: str) -> None:
        if (timer := self._freeing.pop(path, None)) is not None:
            timer.cancel()
        self._freeing[path] = self._reactor.callLater(LOCAL_FILE_KEPT_S, self._free, path)

    def _free(self, path: str) -> None:
        self._freeing.pop(path, None)
        if self._readers[path] > 0:
            self._free_later(path)
            return
        del self._readers[path]
        try:
            Path(path).unlink(missing_ok=True)
        except OSError:
            return  # it is the server's, and may not be ours to remove


async def _in_thread(function: Callable[[], T]) -> T:
    return await deferToThread(function)


def _open(path: str, size_bytes: int) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LinkExpired("the local server has removed the file") from None
    except OSError as error:
        raise _unreadable(error) from None
    found_bytes = os.fstat(fd).st_size
    if found_bytes != size_bytes:
        os.close(fd)
        raise WrongLength(found_bytes, size_bytes)
    return fd


def _read(fd: int, size_bytes: int, position: int) -> bytes:
    try:
        chunk = os.pread(fd, size_bytes, position)
    except OSError as error:
        raise _unreadable(error) from None
    if not chunk:
        raise Interrupted("the file became shorter")
    return chunk


def _unreadable(error: OSError) -> Interrupted:
    # Without the path: in a local server's folders it holds the token.
    return Interrupted(f"a file of the local Bot API server cannot be read: {error.strerror}")
