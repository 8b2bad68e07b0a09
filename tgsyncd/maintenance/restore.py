# SPDX-License-Identifier: MIT
"""
Get a video back as an ordinary file: every document verified, its streams joined, remuxed where wanted.

Nothing gets its name before it is whole; what stands there already is not replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tgsyncd.durable import fsync_folder
from tgsyncd.errors import DocumentCorrupt, FfmpegError, NotFound, Refused, SpaceError
from tgsyncd.formats.remux import build_remux_argv, render_ffmetadata
from tgsyncd.formats.wholeness import find_gaps, find_missing_streams
from tgsyncd.model import Chapter, Container

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from io import BufferedWriter

    from tgsyncd.formats.remux import FileFormat
    from tgsyncd.model import DocumentRef, PlannedStream, Rendition, Revision, StoredExtra, Video, VideoId
    from tgsyncd.ports import CatalogReader, ProcessRunner

__all__ = ["RestoreFormat", "Restored", "Restorer"]

RestoreFormat = Literal["auto", "stream", "mkv", "mp4"]

CHAPTERS_NAME = ".chapters.json"
REMUX_WALL_LIMIT_S = 24 * 3600.0
"""A film of 50 GB copied to a slow disk."""
RESERVE_BYTES = 256 << 20


class OpenDocument(Protocol):
    """``ports.Store.open``."""

    def __call__(self, ref: DocumentRef, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the document's bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was written."""

    path: Path
    size_bytes: int
    sidecars: tuple[Path, ...]


class Restorer:
    """Writes videos to files."""

    def __init__(
        self,
        reader: CatalogReader,
        open_document: OpenDocument,
        *,
        runner: ProcessRunner,
        in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
        on_bytes: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._reader = reader
        self._open = open_document
        self._runner = runner
        self._in_thread = in_thread
        self._on_bytes = on_bytes

    async def restore(
        self, video_id: VideoId, to: Path, *, file_format: RestoreFormat = "auto", sidecars: bool = True
    ) -> Restored:
        """
        Write the video to ``to``: a file, or a folder in which it gets its source's name.

        ``auto`` is the format that the file's name says; else the stream as it is stored, or mkv where it is
        several. Raises NotFound, Refused (a file stands there), SpaceError, FfmpegError, DocumentCorrupt,
        DocumentMissing, StoreUnavailable, StoreRefused.
        """
        video, revision = self._published(video_id)
        renditions = self._reader.renditions(video_id, revision.number)
        chosen = _choose_format(file_format, to, renditions)
        target = _choose_target(to, video, chosen or renditions[0].container.stream_suffix.removeprefix("."))
        extras = self._reader.extras(video_id, revision.number)
        beside = [
            (extra, target.with_name(f"{target.stem}{extra.name}"))
            for extra in (extras if sidecars else ())
            if extra.name != CHAPTERS_NAME
        ]
        await self._in_thread(lambda: _prepare(target, [path for _, path in beside], _size_of(renditions)))
        with ExitStack() as stack:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix=".restore-", dir=target.parent))
            )
            whole = await self._main_file(revision, renditions, extras, folder, chosen)
            for extra, path in beside:
                data = await self._bytes_of(extra)
                await self._in_thread(partial(_write, folder / "extra", path, data))
            size = whole.stat().st_size
            await self._in_thread(lambda: _give_name(whole, target))
        return Restored(path=target, size_bytes=size, sidecars=tuple(path for _, path in beside))

    def _published(self, video_id: VideoId) -> tuple[Video, Revision]:
        video = self._reader.video(video_id)
        if video is None:
            raise NotFound(f"there is no video {video_id}", hint="tgsyncd list names them")
        revision = self._reader.revision(video_id, video.current_revision or 0)
        if revision is None:
            raise NotFound(f"nothing of {video_id} is stored as a whole", hint="see: tgsyncd list")
        renditions = self._reader.renditions(video_id, revision.number)
        holes = [*find_missing_streams(revision.plan, renditions)]
        for rendition in renditions:
            holes += find_gaps(rendition, self._reader.documents(rendition.rendition_id), "document")
        if holes:
            raise DocumentCorrupt(f"{video_id}: {holes[0]}", hint="see: tgsyncd check")
        return video, revision

    async def _main_file(
        self,
        revision: Revision,
        renditions: Sequence[Rendition],
        extras: Sequence[StoredExtra],
        folder: Path,
        file_format: FileFormat | None,
    ) -> Path:
        total = _size_of(renditions)
        streams: list[Path] = []
        done = 0
        for rendition in renditions:
            path = folder / f"{rendition.name}{rendition.container.stream_suffix}"
            done = await self._write_stream(rendition, path, done, total)
            streams.append(path)
            if file_format is None:
                return path  # the others are there only with sound of their own, which makes it mkv
        assert file_format is not None
        return await self._remux(streams, revision, extras, folder, file_format)

    async def _write_stream(self, rendition: Rendition, path: Path, done: int, total: int) -> int:
        file: BufferedWriter = await self._in_thread(lambda: path.open("xb"))
        try:
            for document in self._reader.documents(rendition.rendition_id):
                digest, left = hashlib.sha256(), document.length
                async for chunk in self._open(document.ref, 0, document.ref.size_bytes):
                    digest.update(chunk)
                    # A transcode that was resumed goes on before the end of what an earlier run stored.
                    await self._in_thread(partial(file.write, chunk[:left]))
                    left = max(0, left - len(chunk))
                _compare(digest.hexdigest(), document.ref, f"document {document.number} of {rendition.name}")
                done += document.length
                self._on_bytes(done, total)
            await self._in_thread(lambda: _sync(file))
        finally:
            file.close()
        return done

    async def _bytes_of(self, extra: StoredExtra) -> bytes:
        data = b"".join([chunk async for chunk in self._open(extra.ref, 0, extra.ref.size_bytes)])
        _compare(hashlib.sha256(data).hexdigest(), extra.ref, f"the document of {extra.name}")
        return data

    async def _remux(
        self,
        streams: Sequence[Path],
        revision: Revision,
        extras: Sequence[StoredExtra],
        folder: Path,
        file_format: FileFormat,
    ) -> Path:
        chapters = None
        for extra in extras:
            if extra.name == CHAPTERS_NAME:
                chapters = folder / "chapters.txt"
                text = render_ffmetadata(_parse_chapters(await self._bytes_of(extra)))
                await self._in_thread(partial(chapters.write_text, text, encoding="utf-8"))
        target = folder / f"whole.{file_format}"
        argv = build_remux_argv(streams, _sounds(revision), target, file_format, chapters=chapters)
        result = await self._runner.run(argv, wall_limit_s=REMUX_WALL_LIMIT_S)
        if result.exit_code != 0:
            words = result.stderr_tail.strip().splitlines()[-1:] or ["it gave no reason"]
            raise FfmpegError(
                f"ffmpeg could not make a {file_format} file of it: {words[0]}",
                hint="try --format mkv, or stream",
            )
        await self._in_thread(lambda: _sync_path(target))
        return target


def _choose_format(wanted: RestoreFormat, to: Path, renditions: Sequence[Rendition]) -> FileFormat | None:
    """Return what to remux into; None is the stream as it is stored."""
    by_name: dict[str, FileFormat] = {".mkv": "mkv"}
    if renditions[0].container is Container.MPEGTS or len(renditions) > 1:
        by_name[".mp4"] = "mp4"
    if wanted == "auto" and not to.is_dir() and to.suffix.lower() in by_name:
        return by_name[to.suffix.lower()]
    if wanted == "mkv" or (wanted == "auto" and len(renditions) > 1):
        return "mkv"
    if wanted == "mp4":
        return "mp4"
    if len(renditions) > 1:
        raise Refused("its picture and sounds are streams of their own", hint="choose --format mkv or mp4")
    return None


def _choose_target(to: Path, video: Video, suffix: str) -> Path:
    if to.is_dir():
        return to / f"{Path(video.original_filename).stem}.{suffix}"
    return to


def _size_of(renditions: Sequence[Rendition]) -> int:
    return sum(rendition.stream_bytes for rendition in renditions)


def _sounds(revision: Revision) -> list[PlannedStream]:
    if revision.plan is None:
        return []
    return [
        each for rendition in revision.plan.renditions for each in rendition.streams if each.kind == "audio"
    ]


def _parse_chapters(data: bytes) -> list[Chapter]:
    return [Chapter(**row) for row in json.loads(data)["chapters"]]


def _compare(found: str, ref: DocumentRef, what: str) -> None:
    if found != ref.sha256:
        raise DocumentCorrupt(
            f"{what} reads back with sha256 {found[:12]}, {ref.sha256[:12]} was stored",
            hint="see: tgsyncd check",
        )


# --- in a thread --------------------------------------------------------------------------------------


def _prepare(target: Path, beside: Sequence[Path], size_bytes: int) -> None:
    for path in (target, *beside):
        if os.path.lexists(path):
            raise Refused(f"{path} exists", hint="name another place with --to, or move it away")
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    # The streams and, for a moment, what is made of them.
    if free < 2 * size_bytes + RESERVE_BYTES:
        raise SpaceError(
            f"{target.parent} has {free:,} bytes free, and {2 * size_bytes + RESERVE_BYTES:,} may be needed",
            hint="free some space there, or name another place with --to",
        )


def _write(temporary: Path, path: Path, data: bytes) -> None:
    temporary.write_bytes(data)
    _sync_path(temporary)
    _give_name(temporary, path)


def _give_name(temporary: Path, path: Path) -> None:
    if os.path.lexists(path):
        raise Refused(f"{path} exists", hint="it came while the video was fetched")
    temporary.rename(path)
    fsync_folder(path.parent)


def _sync(file: BufferedWriter) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_path(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
