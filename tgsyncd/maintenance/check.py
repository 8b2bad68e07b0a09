# SPDX-License-Identifier: MIT
"""
Compare the catalog with itself, with the libraries and with the store. Changes nothing.

What is found is told as it is found: reading back a library of years takes days.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tgsyncd.errors import DocumentCorrupt, DocumentMissing
from tgsyncd.formats.wholeness import find_gaps, find_missing_streams
from tgsyncd.maintenance.findings import Finding, Kind
from tgsyncd.model import UNFINISHED, Wanted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence

    from tgsyncd.model import DocumentRef, Video, VideoId
    from tgsyncd.ports import CatalogReader

__all__ = ["Checker", "Depth", "Examined", "find_strays", "place_of"]

Depth = Literal["none", "exist", "read"]
"""What is asked of the store about each document: nothing, whether it is there, or all of its bytes."""

BATCH = 100
"""Videos whose published files are looked at in one go."""
TEXT_SUFFIXES = (".ass", ".srt", ".ssa", ".strm")
"""Only these are compared: pictures and ``.nfo`` are Jellyfin's to change."""


class Surroundings(Protocol):
    """What is beyond the catalog."""

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Run what blocks in a thread."""
        ...

    async def pause(self) -> None:
        """Let others have their turn."""
        ...

    def root_of(self, library: str) -> Path | None:
        """Return where a library is published; None when it is not configured."""
        ...

    async def exists(self, ref: DocumentRef) -> bool:
        """Ask the store."""
        ...

    async def read_back(self, ref: DocumentRef) -> None:
        """Read a document. Raises DocumentCorrupt, DocumentMissing, StoreUnavailable, StoreRefused."""
        ...


@dataclass(slots=True)
class Examined:
    """What was looked at, and what was found."""

    videos: int = 0
    files: int = 0
    documents: int = 0
    findings: list[Finding] = field(default_factory=list)


class Checker:
    """Looks at videos."""

    def __init__(
        self, reader: CatalogReader, around: Surroundings, *, on_finding: Callable[[Finding], None]
    ) -> None:
        self._reader = reader
        self._around = around
        self._on_finding = on_finding
        self._roots: dict[Path, bool] = {}
        self.examined = Examined()

    def found(
        self, kind: Kind, words: str, *, video_id: VideoId | None = None, path: str | None = None
    ) -> None:
        """Note a finding."""
        finding = Finding(kind=kind, words=words, video_id=video_id, path=path)
        self.examined.findings.append(finding)
        self._on_finding(finding)

    async def videos(
        self,
        videos: Sequence[Video],
        depth: Depth,
        *,
        on_video: Callable[[VideoId], None] = lambda _video_id: None,
    ) -> None:
        """Look at these videos. Raises StoreUnavailable and StoreRefused."""
        for start in range(0, len(videos), BATCH):
            batch = videos[start : start + BATCH]
            await self._files(batch)
            for video in batch:
                on_video(video.video_id)
                await self._video(video, depth)
                # A film has 1,200 segments, whose rows take 5 ms to read.
                await self._around.pause()

    async def _video(self, video: Video, depth: Depth) -> None:
        self.examined.videos += 1
        if video.current_revision is None:
            return
        revision = self._reader.revision(video.video_id, video.current_revision)
        renditions = self._reader.renditions(video.video_id, video.current_revision)
        problems = list(find_missing_streams(revision.plan if revision else None, renditions))
        for rendition in renditions:
            documents = self._reader.documents(rendition.rendition_id)
            problems += find_gaps(rendition, documents, "document")
            problems += find_gaps(rendition, self._reader.segments(rendition.rendition_id), "segment")
        for words in problems:
            self.found(Kind.STREAM_INCOMPLETE, words, video_id=video.video_id)
        if depth != "none":
            for where, ref in self._documents(video):
                await self.document(video.video_id, where, ref, depth)

    def _documents(self, video: Video) -> Iterator[tuple[str, DocumentRef]]:
        assert video.current_revision is not None
        for rendition in self._reader.renditions(video.video_id, video.current_revision):
            for document in self._reader.documents(rendition.rendition_id):
                yield f"document {document.number} of {rendition.name}", document.ref
        for extra in self._reader.extras(video.video_id, video.current_revision):
            yield f"the document of {extra.name}", extra.ref

    async def document(self, video_id: VideoId, where: str, ref: DocumentRef, depth: Depth) -> None:
        """Look at one document."""
        self.examined.documents += 1
        place = place_of(ref)
        try:
            if depth == "read":
                await self._around.read_back(ref)
            elif not await self._around.exists(ref):
                words = f"{where} is not in the store, or has another size"
                self.found(Kind.DOCUMENT_MISSING, words, video_id=video_id, path=place)
        except DocumentMissing as error:
            self.found(Kind.DOCUMENT_MISSING, f"{where}: {error.message}", video_id=video_id, path=place)
        except DocumentCorrupt as error:
            self.found(Kind.DOCUMENT_CORRUPT, f"{where}: {error.message}", video_id=video_id, path=place)

    # --- the files in the library -----------------------------------------------------------------------

    async def _files(self, videos: Sequence[Video]) -> None:
        published = {}
        for video in videos:
            if await self._is_library_there(video.library):
                published[video.video_id] = self._reader.published_files(video.video_id)
        paths = {path for files in published.values() for path in files}
        seen: Mapping[str, str | None] = await self._around.in_thread(lambda: _digests(paths))
        self.examined.files += len(seen)
        for video in videos:
            if video.video_id in published:
                self._judge_files(video, published[video.video_id], seen)

    def _judge_files(
        self, video: Video, published: Mapping[str, str], seen: Mapping[str, str | None]
    ) -> None:
        video_id = video.video_id
        if video.current_revision is None or video.wanted is Wanted.WITHDRAWN:
            if published:
                words = "its files stand in the library, and should not"
                self.found(Kind.NOT_WITHDRAWN, words, video_id=video_id)
            return
        strms = [path for path in published if path.endswith(".strm")]
        if not strms or UNFINISHED in published.values():
            self.found(Kind.NOT_PUBLISHED, "it is not (wholly) published", video_id=video_id)
            return
        for path, digest in published.items():
            is_strm = path.endswith(".strm")
            if seen[path] is None:
                kind = Kind.STRM_MISSING if is_strm else Kind.SIDECAR_MISSING
                self.found(kind, f"{path} is gone", video_id=video_id, path=path)
            elif path.endswith(TEXT_SUFFIXES) and seen[path] != digest:
                kind = Kind.STRM_ALTERED if is_strm else Kind.SIDECAR_ALTERED
                self.found(kind, f"{path} has other contents than we wrote", video_id=video_id, path=path)

    async def _is_library_there(self, library: str) -> bool:
        root = self._around.root_of(library)
        if root is None:
            return True
        if root not in self._roots:
            self._roots[root] = await self._around.in_thread(root.is_dir)
            if not self._roots[root]:
                self.found(Kind.LIBRARY_MISSING, f"{root} is not there: is its disk mounted?", path=str(root))
        return self._roots[root]


def place_of(ref: DocumentRef) -> str:
    """Return where a document is, as findings name it."""
    return f"{ref.chat_id}/{ref.message_id}" if ref.message_id else ref.file_unique_id


def _digests(paths: set[str]) -> dict[str, str | None]:
    """Return the sha256 of text files, an empty text for others that stand there, None for what does not."""
    return {path: _digest(path) for path in paths}


def _digest(path: str) -> str | None:
    if not path.endswith(TEXT_SUFFIXES):
        return "" if os.path.lexists(path) else None
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
    except OSError:
        return ""


async def find_strays(
    names: Callable[[], Awaitable[Mapping[str, int]]],
    recorded: Callable[[], Coroutine[Any, Any, frozenset[str]]],
    checker: Checker,
) -> None:
    """
    Name what lies in a directory store and is in no catalog row; ``names`` are keys and sizes of old files.

    Asked for in this order: what is stored in between is recorded by the time the catalog is read.
    """
    stored = await names()
    known = await recorded()
    by_video: dict[str, list[int]] = {}
    for name, size in stored.items():
        if name not in known:
            by_video.setdefault(name.partition("/")[0], []).append(size)
    for folder, sizes in sorted(by_video.items()):
        words = f"{len(sizes)} documents ({sum(sizes):,} bytes) below {folder} are not in the catalog"
        checker.found(Kind.DOCUMENT_STRAY, words, path=folder)
