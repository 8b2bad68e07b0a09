# SPDX-License-Identifier: MIT
"""
A folder of files that may vanish: each with its sha256 behind it, checked before it is served.

A file is complete when it has its name, because it is written under another. It is not fsynced: what a power
failure leaves of it does not match its sha256 and is removed when it is first asked for.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from tgsyncd.playback.flight import CHUNK_BYTES
from tgsyncd.playback.handles import Handles
from tgsyncd.playback.policy import Kept, order_evictions
from tgsyncd.playback.spans import FileSpan

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from tgsyncd.playback.policy import Playhead
    from tgsyncd.ports import Clock

    InThread = Callable[[Callable[[], Any]], Deferred[Any]]
    """Runs work where it may block."""

_DIGEST_BYTES = 32
_HASH_BYTES = 1 << 20
_UNFINISHED = ".part"
MAX_QUEUED_WRITES = 4
"""A disk slower than the store must not keep the memory from being freed: more than that is not written."""


@dataclass(slots=True, kw_only=True)
class Shelved:
    """What is known of one file."""

    size_bytes: int
    last_used_s: float
    is_verified: bool = False
    """Since this process began, or written by it."""
    stream: str = ""
    order: int = 0


class OpenFile:
    """A verified file that is being read; it may be removed meanwhile."""

    def __init__(self, fd: int, in_thread: InThread) -> None:
        self._fd = fd
        self._in_thread = in_thread

    async def read(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield bytes ``[start, stop)``, fewer if the file was cut off; then close."""
        try:
            while start < stop:
                want = min(CHUNK_BYTES, stop - start)
                chunk = await self._in_thread(partial(os.pread, self._fd, want, start))
                if not chunk:
                    return
                start += len(chunk)
                yield chunk
        finally:
            self.close()

    async def span(self, start: int, stop: int) -> AsyncGenerator[FileSpan, None]:
        """Yield bytes ``[start, stop)`` as they lie in the file, to be sent by the kernel; then close."""
        try:
            yield self.as_span(start, stop)
        finally:
            self.close()

    def as_span(self, start: int, stop: int) -> FileSpan:
        """Return bytes ``[start, stop)`` as they lie in the file, until it is closed."""
        return FileSpan(self._fd, start, stop, self._in_thread)

    def close(self) -> None:
        """Close the file. Does nothing the second time."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Shelf:
    """
    The files of one folder, at most ``limit_bytes`` in all.

    ``choose_victims`` names files to be removed, given how many bytes are needed and what is there.
    """

    _log = Logger()

    def __init__(
        self,
        folder: Path,
        *,
        limit_bytes: int,
        clock: Clock,
        in_thread: InThread,
        choose_victims: Callable[[int, dict[str, Shelved]], Iterable[str]],
    ) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.evictions = 0
        self._clock = clock
        self._in_thread = in_thread
        self._choose_victims = choose_victims
        self._files: dict[str, Shelved] = {}
        self._handles = Handles()
        self._scanning: Deferred[None] | None = None
        self._write_lock = DeferredLock()
        self._queued = 0
        self._troubles = 0

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    async def ready(self) -> None:
        """Wait until the folder's content is known."""
        if self._scanning is None:
            self._scanning = self._in_thread(self._scan)
            self._scanning.addCallbacks(self._note_scanned, self._note_trouble)
        if not self._scanning.called:
            waiter: Deferred[None] = Deferred()
            self._scanning.addBoth(lambda _: None if waiter.called else waiter.callback(None))
            await waiter

    def at_hand(self, name: str) -> OpenFile | None:
        """Return the file if it is verified and kept open; None only says that it takes waiting."""
        known = self._files.get(name)
        if known is None:
            return None
        now_s = self._clock.now_s()
        fd = self._handles.take(name, now_s)
        if fd is None:
            return None
        known.last_used_s = now_s
        return OpenFile(fd, self._in_thread)

    async def open(self, name: str, size_bytes: int, *, sha256: str = "") -> OpenFile | None:
        """
        Return the file if it is there, of this size, and matches its sha256; a wrong one is removed.

        A file that another process wrote meanwhile is found too. ``sha256`` is what it must be, if known.
        """
        await self.ready()
        file = self.at_hand(name)
        if file is not None:
            return file
        known = self._files.get(name)
        is_verified = known is not None and known.is_verified
        try:
            fd = await self._in_thread(
                lambda: _open_verified(self._path(name), size_bytes, None if is_verified else sha256)
            )
        except OSError as error:
            self._forget(name)
            if not isinstance(error, FileNotFoundError):
                self._note_trouble(error)
            return None
        known = self._files.get(name) or self._add(name, Shelved(size_bytes=size_bytes, last_used_s=0.0))
        known.is_verified, known.last_used_s = True, self._clock.now_s()
        self._handles.keep(name, fd, known.last_used_s)
        return OpenFile(fd, self._in_thread)

    async def write(self, name: str, data: bytes | bytearray, *, stream: str, order: int) -> bool:
        """Write a file, unless there are too many to be written already; return whether it is there now."""
        if name in self._files:
            return True
        if len(data) > self.limit_bytes or self._queued >= MAX_QUEUED_WRITES:
            return False
        self._queued += 1
        try:
            await self.ready()
            return await self._write_lock.run(
                lambda: Deferred.fromCoroutine(self._write(name, data, stream, order))
            )
        finally:
            self._queued -= 1

    def close(self) -> None:
        """Close the files that are kept open."""
        self._handles.close()

    async def discard(self, names: Iterable[str]) -> int:
        """Remove files; return how many bytes that freed."""
        chosen = {name: self._path(name) for name in names if name in self._files}
        before = self.used_bytes
        for name in chosen:
            self._forget(name)
        await self._in_thread(lambda: _remove(chosen.values()))
        return before - self.used_bytes

    def used_before(self, used_before_s: float) -> list[str]:
        """Return the names of files that were last used before this time."""
        return [name for name, each in self._files.items() if each.last_used_s < used_before_s]

    # --- inside ------------------------------------------------------------------------------------

    async def _write(self, name: str, data: bytes | bytearray, stream: str, order: int) -> bool:
        need = self.used_bytes + len(data) - self.limit_bytes
        if need > 0:
            victims = list(self._choose_victims(need, self._files))
            self.evictions += len(victims)
            await self.discard(victims)
        try:
            await self._in_thread(lambda: _write_file(self._path(name), data))
        except OSError as error:
            self._note_trouble(error)
            return False
        self._troubles = 0
        shelved = Shelved(
            size_bytes=len(data),
            last_used_s=self._clock.now_s(),
            is_verified=True,
            stream=stream,
            order=order,
        )
        self._add(name, shelved)
        return True

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _add(self, name: str, shelved: Shelved) -> Shelved:
        self._forget(name)
        self._files[name] = shelved
        self.used_bytes += shelved.size_bytes
        return shelved

    def _forget(self, name: str) -> None:
        self._handles.forget(name)
        known = self._files.pop(name, None)
        if known is not None:
            self.used_bytes -= known.size_bytes

    def _scan(self) -> list[tuple[str, int, float]]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        found, too_old_s = [], self._clock.now_s() - 3600
        for path in self.folder.glob("??/*"):
            stat = path.stat()
            if not path.name.endswith(_UNFINISHED):
                found.append((path.name, stat.st_size - _DIGEST_BYTES, stat.st_mtime))
            elif stat.st_mtime < too_old_s:
                path.unlink()
        return sorted(found, key=lambda each: each[2])

    def _note_scanned(self, found: list[tuple[str, int, float]]) -> None:
        for name, size_bytes, used_s in found:
            self._add(name, Shelved(size_bytes=size_bytes, last_used_s=used_s))

    def _note_trouble(self, error: object) -> None:
        self._troubles += 1
        if self._troubles & (self._troubles - 1) == 0:  # its 1st, 2nd, 4th, 8th time: a full disk stays full
            self._log.warn("the cache folder {folder}: {error}", folder=self.folder, error=error)


def by_playheads(
    playheads: Callable[[], Collection[Playhead]],
) -> Callable[[int, dict[str, Shelved]], Iterator[str]]:
    """Return a ``choose_victims`` that keeps what viewers will ask for next, given where they are."""

    def choose_victims(need_bytes: int, files: dict[str, Shelved]) -> Iterator[str]:
        kept = [
            Kept(
                key=name,
                stream=each.stream,
                order=each.order,
                size_bytes=each.size_bytes,
                last_used_s=each.last_used_s,
                is_read=True,
            )
            for name, each in files.items()
        ]
        for each, _ in order_evictions(kept, playheads()):
            if need_bytes <= 0:
                return
            need_bytes -= each.size_bytes
            yield each.key

    return choose_victims


def _open_verified(path: Path, size_bytes: int, sha256: str | None) -> int:
    """
    Open a file and check it: its size always, its bytes unless ``sha256`` is None.

    Raises FileNotFoundError also when it was wrong and is removed now.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        is_right = os.fstat(fd).st_size == size_bytes + _DIGEST_BYTES
        if is_right and sha256 is not None:
            digest = _digest_of(fd, size_bytes)
            is_right = digest == os.pread(fd, _DIGEST_BYTES, size_bytes) and sha256 in ("", digest.hex())
        if not is_right:
            path.unlink(missing_ok=True)
            raise FileNotFoundError(path)  # noqa: TRY301 (it is not there, from now on)
        os.utime(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _digest_of(fd: int, size_bytes: int) -> bytes:
    digest, position = hashlib.sha256(), 0
    while position < size_bytes:
        chunk = os.pread(fd, min(_HASH_BYTES, size_bytes - position), position)
        if not chunk:
            break
        digest.update(chunk)
        position += len(chunk)
    return digest.digest()


def _write_file(path: Path, data: bytes | bytearray) -> None:
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{_UNFINISHED}")
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.write(hashlib.sha256(data).digest())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
