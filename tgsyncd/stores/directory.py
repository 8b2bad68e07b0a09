# SPDX-License-Identifier: MIT
"""
Documents as files below one directory.

A document's key is ``<video_id>/<revision>/<rendition>/<number>-<sha256 prefix>.bin``: the same document
stored again after a crash lands on the same name, so ``put`` is idempotent. What is never stored again,
because its source changed or went before the next start, is found by its intent (``remove_orphans``).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from twisted.internet.threads import deferToThreadPool

from tgsyncd.durable import fsync_folder
from tgsyncd.errors import DocumentCorrupt, DocumentMissing, SpaceError, StoreError, StoreUnavailable
from tgsyncd.model import DocumentRef

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
    from io import BufferedWriter

    from twisted.internet.interfaces import IReactorThreads

    from tgsyncd.model import DocumentLabel
    from tgsyncd.stores.throttle import Throttle

__all__ = ["DirectoryStore"]

READ_BYTES = 256 * 1024
"""What ``ports.Store.open`` allows a chunk to be, and what one thread hop (some 60 µs) is worth."""

HASH_BYTES = 1 << 20

SETTLED_S = 3600.0

_KEY = re.compile(r"[^/]+/\d+/[^/]+/\d{6}-[0-9a-f]{16}\.bin")

COPY_BYTES = 256 << 10
"""Copied in one thread hop; small enough for a limit of some 100 kB a second to be smooth."""

FREE_RESERVE_BYTES = 512 << 20
"""Left free on the store's file system, so that the machine's other programs go on."""

_T = TypeVar("_T")


class OpenIntent(Protocol):
    """A ``put`` that began and was not recorded, as the catalog keeps it."""

    @property
    def intent_id(self) -> int:
        """Its id."""
        ...

    @property
    def label(self) -> DocumentLabel:
        """What was to be stored."""
        ...


class IntentLog(Protocol):
    """Remembers what begins, durably; it ends when the document is recorded."""

    async def record_intent(self, label: DocumentLabel, *, bot_id: int, chat_id: int) -> int:
        """Note that a ``put`` begins; return the intent's id."""
        ...

    async def forget_intent(self, intent_id: int) -> None:
        """Note that nothing is left of it."""
        ...


class DirectoryStore:
    """``ports.Store`` over a directory. File work happens in the reactor's thread pool."""

    def __init__(
        self,
        root: Path,
        reactor: IReactorThreads,
        *,
        reserve_bytes: int = FREE_RESERVE_BYTES,
        intents: IntentLog | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        self._root = root
        self._reactor = reactor
        self._reserve_bytes = reserve_bytes
        self._intents = intents
        self._throttle = throttle

    async def put(self, path: Path, label: DocumentLabel) -> DocumentRef:
        """Link (or, over file systems, copy) the file into the store, durably."""
        key = _key(label)
        if self._intents is not None:
            await self._intents.record_intent(label, bot_id=0, chat_id=0)
        await self._put(path, self._root / key)
        return DocumentRef(
            chat_id=0,
            message_id=0,
            file_unique_id=key,
            size_bytes=label.size_bytes,
            sha256=label.sha256,
        )

    async def open(self, ref: DocumentRef, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the file's bytes ``[start, stop)``."""
        path = self._path(ref)
        fd = await self._in_thread(lambda: _open(path))
        try:
            position = start
            while position < stop:
                want, at = min(READ_BYTES, stop - position), position
                chunk = await self._in_thread(partial(os.pread, fd, want, at))
                if not chunk:
                    raise DocumentCorrupt(
                        f"stored document {path} ends at byte {position}, {stop} were expected",
                        hint="tgsyncd check names the videos that are affected",
                    )
                position += len(chunk)
                yield chunk
        finally:
            os.close(fd)

    async def sha256(self, ref: DocumentRef) -> str:
        """Return the sha256 of the whole file, read and hashed in a thread."""
        path = self._path(ref)
        return await self._in_thread(partial(_hash, path))

    async def exists(self, ref: DocumentRef) -> bool:
        """Tell whether the file is there with its full size."""
        path = self._path(ref)
        return await self._in_thread(lambda: path.is_file() and path.stat().st_size == ref.size_bytes)

    async def delete(self, refs: Sequence[DocumentRef]) -> Sequence[DocumentRef]:
        """Remove the files and the folders that became empty."""
        paths = [(ref, self._path(ref)) for ref in refs]
        return await self._in_thread(lambda: [ref for ref, path in paths if not self._remove(path)])

    async def remove_orphans(
        self, intents: Sequence[OpenIntent], *, is_wanted: Callable[[DocumentLabel], bool]
    ) -> int:
        """
        Remove what was put, never recorded, and will not be put again; return how many files that were.

        ``is_wanted`` tells whether a label may still be put. Raises StoreUnavailable.
        """
        removed = 0
        for intent in intents:
            if is_wanted(intent.label):
                continue
            path = self._root / _key(intent.label)
            removed += await self._in_thread(path.is_file)
            if self._intents is not None and await self._in_thread(partial(self._remove, path)):
                await self._intents.forget_intent(intent.intent_id)
        return removed

    async def names(self) -> Mapping[str, int]:
        """Return the keys and sizes of the documents that have lain here for an hour."""
        return await self._in_thread(lambda: dict(_walk(self._root)))

    async def close(self) -> None:
        """Nothing is held open."""

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        try:
            return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)
        except OSError as error:
            raise StoreUnavailable(
                f"the directory store {self._root} cannot be used: {error}",
                hint="check that the disk is mounted and that tgsyncd may write there",
            ) from error

    def _path(self, ref: DocumentRef) -> Path:
        path = self._root / ref.file_unique_id
        if ".." in path.parts:
            raise StoreError(f"not a name of this store: {ref.file_unique_id!r}")
        return path

    async def _put(self, source: Path, target: Path) -> None:
        temporary = target.with_name(f".{target.name}.part")
        if not await self._in_thread(lambda: _link(source, temporary)):
            await self._copy(source, temporary)
        await self._in_thread(lambda: _give_name(temporary, target))

    async def _copy(self, source: Path, temporary: Path) -> None:
        """Copy piece by piece: no thread is held while the throttle lets us wait."""
        size = await self._in_thread(lambda: self._check_room(source, temporary.parent))
        reader = await self._in_thread(lambda: source.open("rb"))
        try:
            writer = await self._in_thread(lambda: temporary.open("xb"))
            try:
                for _ in range(0, size, COPY_BYTES):
                    if self._throttle is not None:
                        await self._throttle.pass_bytes(min(COPY_BYTES, size))
                    await self._in_thread(lambda: writer.write(reader.read(COPY_BYTES)))
                await self._in_thread(lambda: _sync(writer))
            finally:
                writer.close()
        finally:
            reader.close()

    def _check_room(self, source: Path, folder: Path) -> int:
        free = shutil.disk_usage(folder).free
        size = source.stat().st_size
        if free - size < self._reserve_bytes:
            raise SpaceError(
                f"the directory store {self._root} has {free:,} bytes free and a document of {size:,} "
                f"would leave less than {self._reserve_bytes:,}",
                hint="free some space there",
            )
        return size

    def _remove(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
            path.with_name(f".{path.name}.part").unlink(missing_ok=True)
        except OSError:
            return False
        for folder in path.parents:
            if folder == self._root or self._root not in folder.parents:
                break
            try:
                folder.rmdir()
            except OSError:
                break  # not empty
        return True


def _walk(root: Path) -> Iterator[tuple[str, int]]:
    """
    Yield keys and sizes.

    What was made within the last hour, by the folder's file system's own clock, may be a put under way.
    """
    if not root.is_dir():
        return
    with tempfile.TemporaryFile(dir=root) as now:
        before_s = os.fstat(now.fileno()).st_mtime - SETTLED_S
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            key = str(path.relative_to(root))
            if _KEY.fullmatch(key):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    if status.st_ctime < before_s:
                        yield key, status.st_size


def _link(source: Path, temporary: Path) -> bool:
    """Give the file a second name in the store; tell whether its file system could."""
    temporary.parent.mkdir(parents=True, exist_ok=True)
    temporary.unlink(missing_ok=True)
    try:
        # The spool has fsynced the bytes already: a second name for them costs nothing.
        os.link(source, temporary)
    except OSError:
        return False
    return True


def _give_name(temporary: Path, target: Path) -> None:
    temporary.replace(target)
    # rename(2) does nothing when both names are links to one file: a put repeated after a kill.
    temporary.unlink(missing_ok=True)
    for folder in (target.parent, target.parent.parent, target.parent.parent.parent):
        fsync_folder(folder)


def _sync(file: BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())


def _key(label: DocumentLabel) -> str:
    return f"{label.video_id}/{label.revision}/{label.rendition}/{label.number:06d}-{label.sha256[:16]}.bin"


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise DocumentMissing(
            f"stored document {path} is gone",
            hint="bring the file back, or delete the video and upload it again",
        ) from error


def _hash(path: Path) -> str:
    fd = _open(path)
    try:
        digest, buffer = hashlib.sha256(), bytearray(HASH_BYTES)
        while count := os.readv(fd, [buffer]):
            digest.update(memoryview(buffer)[:count])
        return digest.hexdigest()
    finally:
        os.close(fd)
