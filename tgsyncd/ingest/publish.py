# SPDX-License-Identifier: MIT
"""
Write a video into the Jellyfin library, and take it out again.

Every file is derived from the catalog and the store and may be rewritten at any time; every file is written
whole or not at all (temporary name, fsync, rename, fsync of the folder), with an explicit mode, because a
0077 umask hides a library from Jellyfin's user. A file that we did not write is never replaced.

The ``.strm`` tells whether all is done: while a video is being published, published anew or withdrawn, the
catalog has its ``.strm`` with an empty sha256 (``UNFINISHED``). What a kill leaves so is finished by the
daemon's job ``published``, and is not taken for a ``.strm`` that somebody removed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThreadPool

from tgsyncd.durable import fsync_folder
from tgsyncd.errors import PublishConflict, PublishUnwritable, SpaceError
from tgsyncd.ingest.names import publish_name
from tgsyncd.model import UNFINISHED, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
    from typing import Any

    from twisted.internet.interfaces import IReactorThreads

    from tgsyncd.formats.jellyfin_names import LibraryKind
    from tgsyncd.model import VideoId
    from tgsyncd.ports import CatalogReader, CatalogWriter, LibraryNotifier

__all__ = ["PublishSettings", "Publisher", "choose_base"]

_T = TypeVar("_T")

_NECESSARY = frozenset({".ass", ".srt", ".ssa", ".strm"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishSettings:
    """Where and how a library is published."""

    root: Path
    source_root: Path | None = None
    """Folders below it are mirrored below ``root``; sources elsewhere are published in ``root`` itself."""
    file_mode: int = 0o644
    directory_mode: int = 0o755
    group: str | None = None
    names: Literal["mirror", "jellyfin"] = "mirror"
    """``mirror`` keeps the source's names, ``jellyfin`` makes them those of Jellyfin's scheme."""
    kind: LibraryKind = "mixed"
    nfo: bool = False
    """Write an ``.nfo`` where the source brings none."""
    follow: bool = False
    """A video whose source file has another name or place is published anew, under that name."""


def choose_base(source: Path, settings: PublishSettings) -> Path:
    """Return the path, without ending, under which a source file is published."""
    folder = settings.root
    if settings.source_root is not None and source.is_relative_to(settings.source_root):
        for part in source.parent.relative_to(settings.source_root).parts:
            folder /= publish_name(part)
    return folder / publish_name(source.stem)


class Publisher:
    """Writes and removes the files of videos."""

    def __init__(
        self,
        reader: CatalogReader,
        writer: CatalogWriter,
        reactor: IReactorThreads,
        notifier: LibraryNotifier | None = None,
        *,
        roots: Callable[[], Collection[Path]] = tuple,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._reactor = reactor
        self._notifier = notifier
        self._roots = roots
        self._claims: dict[Path, VideoId] = {}
        self._locks: dict[VideoId, DeferredLock] = {}

    def announce_to(self, notifier: LibraryNotifier | None) -> None:
        """Tell another media server from now on, or none."""
        self._notifier = notifier

    def base_of(self, video_id: VideoId, places: Sequence[Path], settings: PublishSettings) -> Path:
        """
        Return where the video is, or shall be, published.

        A video that is published stays where it is: Jellyfin's item id is a hash of the path, so another
        path is another item without its watch state. Of ``places`` (without ending, the best first) it is
        the first that no other video holds; when all are held, the video_id goes behind the name.
        The place is kept for it until ``publish`` has ended: two versions may be ready at once.
        """
        base = self._choose(video_id, places, settings)
        self._claims[base] = video_id
        return base

    def _choose(self, video_id: VideoId, places: Sequence[Path], settings: PublishSettings) -> Path:
        for path in self._reader.published_files(video_id):
            now = Path(path.removesuffix(".strm"))
            if path.endswith(".strm") and (not settings.follow or now in places):
                return now
        for base in places:
            holder = self._claims.get(base) or self._reader.publisher_of(f"{base}.strm")
            if holder in {None, video_id}:
                return base
        return places[0].with_name(publish_name(f"{places[0].name} [{video_id}]"))

    async def publish(
        self,
        video_id: VideoId,
        base: Path,
        files: Mapping[str, bytes],
        settings: PublishSettings,
    ) -> Sequence[Path]:
        """
        Write ``files`` (ending to contents) under ``base``, the ``.strm`` last; return their paths.

        Nothing is written of a video that is wanted withdrawn.

        Files of the video that are not among them any more are removed. An ``.nfo`` or picture that
        somebody else put there is left alone: Jellyfin itself writes such when it is told to.

        Raises:
            PublishConflict: a ``.strm`` or subtitle stands there that tgsyncd did not write.
            SpaceError: the disk is full.
            PublishUnwritable: the folder cannot be written.

        """
        try:
            return await self._alone(video_id, self._publish(video_id, base, files, settings))
        finally:
            self._claims.pop(base, None)

    async def _alone(self, video_id: VideoId, work: Coroutine[Any, Any, _T]) -> _T:
        """Do one thing at a time with the files of a video: two may want to write the same one."""
        lock = self._locks.setdefault(video_id, DeferredLock())
        try:
            await lock.acquire()
        except BaseException:
            work.close()
            raise
        try:
            return await work
        finally:
            lock.release()
            if not lock.locked:
                self._locks.pop(video_id, None)

    async def _publish(
        self, video_id: VideoId, base: Path, files: Mapping[str, bytes], settings: PublishSettings
    ) -> Sequence[Path]:
        video = self._reader.video(video_id)
        if video is not None and video.wanted is Wanted.WITHDRAWN:
            return []  # since its files were got ready
        before = self._reader.published_files(video_id)
        wanted = {f"{base}{ending}": data for ending, data in files.items()}
        for path in [path for path in wanted if path not in before]:
            if await self._is_foreign(video_id, Path(path), wanted[path]):
                del wanted[path]
        await self._mark_unfinished(video_id, before)
        changed = []
        for path in sorted(wanted, key=lambda path: path.endswith(".strm")):
            digest = hashlib.sha256(wanted[path]).hexdigest()
            # Noted first: after a kill in between, the file is known to be ours and is written again.
            noted = UNFINISHED if path.endswith(".strm") else digest
            await self._writer.record_published_file(video_id, path, noted)
            is_new = await self._in_thread(_write, Path(path), wanted[path], settings)
            if is_new or before.get(path) != digest:
                changed.append(Path(path))
        removed = [path for path in before if path not in wanted]
        for path in removed:
            await self._remove(video_id, path)
        strm = f"{base}.strm"
        await self._writer.record_published_file(video_id, strm, hashlib.sha256(wanted[strm]).hexdigest())
        await self._notify([Path(path) for path in removed], removed=True)
        await self._notify(changed)
        return [Path(path) for path in wanted]

    async def rewrite(self, video_id: VideoId, path: Path, data: bytes, settings: PublishSettings) -> None:
        """
        Write a file that is published already again, with other contents.

        Raises SpaceError, PublishUnwritable.

        Noted afterwards: after a kill in between, the catalog still has the old contents' sha256, and who
        compares that with what should stand there writes the file once more.
        """
        await self._alone(video_id, self._rewrite(video_id, path, data, settings))
        await self._notify([path])

    async def _rewrite(self, video_id: VideoId, path: Path, data: bytes, settings: PublishSettings) -> None:
        if str(path) not in (before := self._reader.published_files(video_id)):
            return  # withdrawn, or at another place, since somebody asked for it
        await self._in_thread(_write, path, data, settings)
        if before[str(path)] != UNFINISHED:
            await self._writer.record_published_file(video_id, str(path), hashlib.sha256(data).hexdigest())

    async def withdraw(self, video_id: VideoId) -> Sequence[Path]:
        """Remove all files of the video, the ``.strm`` first; return their paths."""
        paths = await self._alone(video_id, self._withdraw(video_id))
        await self._notify([Path(path) for path in paths], removed=True)
        return [Path(path) for path in paths]

    async def _withdraw(self, video_id: VideoId) -> Sequence[str]:
        before = self._reader.published_files(video_id)
        paths = sorted(before, key=lambda path: not path.endswith(".strm"))
        await self._mark_unfinished(video_id, before)
        for path in paths:
            await self._in_thread(_remove, Path(path), self._roots())
        # The .strm's row goes last: it says that something is left to be done.
        for path in reversed(paths):
            await self._writer.forget_published_file(video_id, path)
        return paths

    async def _mark_unfinished(self, video_id: VideoId, before: Mapping[str, str]) -> None:
        for path, digest in before.items():
            if path.endswith(".strm") and digest != UNFINISHED:
                await self._writer.record_published_file(video_id, path, UNFINISHED)

    async def _notify(self, paths: Sequence[Path], *, removed: bool = False) -> None:
        if self._notifier is not None and paths:
            await self._notifier.notify(paths, removed=removed)

    async def _is_foreign(self, video_id: VideoId, path: Path, data: bytes) -> bool:
        """
        Tell whether somebody else's file stands there; refuse when it cannot be done without.

        One with the very same contents is no stranger: we wrote it, and the catalog was restored since.
        """
        if not await self._in_thread(path.exists) or self._reader.publisher_of(str(path)) == video_id:
            return False
        if self._reader.publisher_of(str(path)) is None and await self._in_thread(_holds, path, data):
            return False
        if path.suffix in _NECESSARY:
            raise PublishConflict(
                f"{path} exists and was not written by tgsyncd",
                hint="move it away, or choose another publish folder",
            )
        return True

    async def _remove(self, video_id: VideoId, path: str) -> None:
        await self._in_thread(_remove, Path(path), self._roots())
        await self._writer.forget_published_file(video_id, path)

    async def _in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        try:
            return await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *args)
        except OSError as error:
            where = Path(os.fsdecode(error.filename)).parent if error.filename else "the publish folder"
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise SpaceError(f"the disk of {where} is full", hint="free some space there") from error
            raise PublishUnwritable(
                f"{where} cannot be written: {error.strerror}", hint="give tgsyncd's user write rights there"
            ) from error


def _write(path: Path, data: bytes, settings: PublishSettings) -> bool:
    """Write a file; tell whether there was none."""
    is_new = not path.exists()
    _make_folder(path.parent, settings)
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, settings.file_mode)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), settings.file_mode)
            file.flush()
            os.fsync(file.fileno())
        _give_to_group(temporary, settings.group)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_folder(path.parent)
    return is_new


def _make_folder(folder: Path, settings: PublishSettings) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        new.chmod(settings.directory_mode)
        _give_to_group(new, settings.group)
        fsync_folder(new.parent)


def _give_to_group(path: Path, group: str | None) -> None:
    if not group:
        return
    try:
        shutil.chown(path, group=group)
    except LookupError as error:
        raise PublishUnwritable(
            f"there is no group {group!r} on this machine", hint="see publish.group"
        ) from error


def _holds(path: Path, data: bytes) -> bool:
    """Tell whether a regular file has these contents."""
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _remove(path: Path, roots: Collection[Path]) -> None:
    """Remove a file, what a killed writer of it left, and folders that become empty below ``roots``."""
    path.unlink(missing_ok=True)
    _temporary(path).unlink(missing_ok=True)
    for folder in path.parents:
        if folder.exists():
            fsync_folder(folder)
        if folder in roots or not any(root in folder.parents for root in roots):
            return
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return  # not empty, or not ours to remove


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")
