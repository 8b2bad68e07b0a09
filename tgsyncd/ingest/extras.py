# SPDX-License-Identifier: MIT
"""
What would otherwise die with the source file: text subtitles, a still, chapters.

They are stored as documents of the video, and those that Jellyfin reads are written beside the ``.strm``.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import DeferredList
from twisted.logger import Logger

from tgsyncd.errors import DocumentCorrupt, DocumentMissing
from tgsyncd.formats.ffmpeg import build_cover_argv, build_still_argv, build_subtitles_argv
from tgsyncd.ingest.cutting import last_words, run_in_thread
from tgsyncd.ingest.upload import end_of, store_verified
from tgsyncd.ingest.verify import read_back, shall_verify
from tgsyncd.model import DocumentLabel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from twisted.internet.interfaces import IReactorFromThreads

    from tgsyncd.ingest.verify import Verify
    from tgsyncd.model import Chapter, DocumentRef, IngestPlan, MediaProbe, StoredExtra, SubtitlePlan, VideoId
    from tgsyncd.ports import CatalogWriter, ProcessRunner, Store

__all__ = ["CHAPTERS_NAME", "extract_extras", "render_chapters", "store_extras"]

_log = Logger()

CHAPTERS_NAME = ".chapters.json"
"""Stored, never published: Jellyfin reads chapters from a container only, and HLS has none."""

STILL_NAME = "-poster.jpg"
"""Jellyfin makes no picture for a ``.strm`` (its screenshot provider returns early for IsShortcut)."""

COVER_NAMES = {"mjpeg": "-poster.jpg", "png": "-poster.png"}
"""Of attached pictures, by ffprobe's codec name."""

# A still at a tenth of the film shows neither the black start nor, most times, the title.
STILL_AT = 0.1

EXTRACT_WALL_LIMIT_S = 3600.0
"""Subtitles are interleaved with the film: ffmpeg reads all of it, from a slow disk too."""

MAX_EXTRA_BYTES = 16 << 20

SUBTITLES_AT_ONCE = 32
"""A child may have 64 files open."""


async def extract_extras(
    path: Path,
    probe: MediaProbe,
    plan: IngestPlan,
    *,
    runner: ProcessRunner,
    reactor: IReactorFromThreads,
    video_id: VideoId,
) -> dict[str, bytes]:
    """
    Return name endings and contents.

    A subtitle or still that ffmpeg cannot make is named in the log and left out: the film is worth more
    than its poster.
    """
    extras: dict[str, bytes] = {}
    for start in range(0, len(plan.subtitles), SUBTITLES_AT_ONCE):
        some = plan.subtitles[start : start + SUBTITLES_AT_ONCE]
        extras |= await _extract_subtitles(path, some, runner, reactor, video_id)
    extras |= await _make_poster(path, probe, runner, video_id)
    if probe.chapters:
        extras[CHAPTERS_NAME] = render_chapters(probe.chapters)
    return extras


async def _extract_subtitles(
    path: Path,
    subtitles: Sequence[SubtitlePlan],
    runner: ProcessRunner,
    reactor: IReactorFromThreads,
    video_id: VideoId,
) -> dict[str, bytes]:
    """Extract all in one pass over the film; one that spoils the run is found by trying each alone."""
    texts: dict[str, bytes] = {}
    argv = build_subtitles_argv(path, subtitles)
    process = runner.start(argv, pipes=len(subtitles), wall_limit_s=EXTRACT_WALL_LIMIT_S)

    def read(suffix: str, fd: int) -> None:
        texts[suffix] = _read_bounded(fd)

    readers = [
        run_in_thread(reactor, partial(read, subtitle.suffix, fd), name=f"subtitle {subtitle.suffix}")
        for subtitle, fd in zip(subtitles, process.stdout_fds, strict=True)
    ]
    try:
        await DeferredList([end_of(reader) for reader in readers])
        result = await process.wait()
    finally:
        process.kill()
        await DeferredList(readers, consumeErrors=True)
    if result.exit_code == 0:
        return {suffix: text for suffix, text in texts.items() if text}
    if len(subtitles) == 1:
        _log.warn(
            "{video_id}: no subtitle {suffix}: {words}",
            video_id=video_id,
            suffix=subtitles[0].suffix,
            words=last_words(result.stderr_tail),
        )
        return {}
    alone = [await _extract_subtitles(path, [each], runner, reactor, video_id) for each in subtitles]
    return {suffix: text for texts in alone for suffix, text in texts.items()}


def _read_bounded(fd: int) -> bytes:
    """Read a pipe to its end; close it early when it brings more than any subtitle is long."""
    with os.fdopen(fd, "rb") as pipe:
        return pipe.read(MAX_EXTRA_BYTES)


def render_chapters(chapters: Sequence[Chapter]) -> bytes:
    """Return chapters as a small JSON document."""
    rows = [
        {"start_s": chapter.start_s, "end_s": chapter.end_s, "title": chapter.title} for chapter in chapters
    ]
    return json.dumps({"chapters": rows}, ensure_ascii=False, indent=1).encode()


async def store_extras(
    extras: dict[str, bytes],
    *,
    store: Store,
    writer: CatalogWriter,
    folder: Path,
    library_id: str,
    video_id: VideoId,
    revision: int,
    verify: Verify,
    known: Mapping[str, StoredExtra],
) -> None:
    """Store what is not stored yet, and read back what a killed run did not. ``known`` is what is stored."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, data) in enumerate(sorted(extras.items())):
        digest = hashlib.sha256(data).hexdigest()
        stored = known.get(name)
        if (
            stored is not None
            and stored.ref.sha256 == digest
            and await _is_whole(store, writer, stored, number, verify)
        ):
            continue
        path = folder / f"extra-{number:03d}"
        path.write_bytes(data)
        label = DocumentLabel(
            library_id=library_id,
            video_id=video_id,
            revision=revision,
            rendition="extra",
            number=number,
            size_bytes=len(data),
            sha256=digest,
            filename=name,
        )

        async def record(ref: DocumentRef, name: str = name) -> int:
            return await writer.record_extra(video_id, revision, name=name, ref=ref)

        await store_verified(path, label, store=store, writer=writer, verify=verify, record=record)
        path.unlink()


async def _is_whole(
    store: Store, writer: CatalogWriter, stored: StoredExtra, number: int, verify: Verify
) -> bool:
    """Read back what a killed run stored and did not come to read."""
    if stored.verified_at_s is not None or not shall_verify(verify, number, stored.ref):
        return True
    try:
        await read_back(store, stored.ref)
    except (DocumentCorrupt, DocumentMissing):
        return False
    await writer.record_verified([stored.document_id])
    return True


async def _make_poster(
    path: Path, probe: MediaProbe, runner: ProcessRunner, video_id: VideoId
) -> dict[str, bytes]:
    """Take the cover art that the source brings, else a still of the film."""
    for other in probe.others:
        if other.kind == "attached_pic" and other.codec in COVER_NAMES:
            cover = await _run(build_cover_argv(path, other.index), runner, video_id, "cover art")
            if cover:
                return {COVER_NAMES[other.codec]: cover}
    at_s = (probe.duration_s or 0.0) * STILL_AT
    still = await _run(build_still_argv(path, at_s), runner, video_id, "still")
    return {STILL_NAME: still} if still else {}


async def _run(argv: Sequence[str], runner: ProcessRunner, video_id: VideoId, what: str) -> bytes:
    result = await runner.run(argv, wall_limit_s=EXTRACT_WALL_LIMIT_S, max_stdout_bytes=MAX_EXTRA_BYTES)
    if result.exit_code != 0:
        words = last_words(result.stderr_tail)
        _log.warn("{video_id}: no {what}: {words}", video_id=video_id, what=what, words=words)
        return b""
    return result.stdout
