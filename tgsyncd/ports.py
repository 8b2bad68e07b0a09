# SPDX-License-Identifier: MIT
"""
The only seams: what the packages may ask of one another.

Each contract has one suite in ``tests/contracts`` that every implementation and every fake runs.

Coroutines here are Deferred-coloured: they await Deferreds and are driven by Twisted, never by asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from pathlib import Path

    from tgsyncd.model import (
        CatalogStats,
        Document,
        DocumentLabel,
        DocumentRef,
        IngestPlan,
        Rendition,
        RenditionPlan,
        Revision,
        Segment,
        SourceIdentity,
        Stage,
        StoredExtra,
        Video,
        VideoId,
        Wanted,
    )


class Clock(Protocol):
    """Wall-clock time. Reactor time is Twisted's IReactorTime and is passed where waiting is meant."""

    def now_s(self) -> float:
        """Return seconds since the epoch."""
        ...


class Store(Protocol):
    """
    Where documents live.

    All methods translate foreign errors into ``errors.StoreError`` and its children. Waiting that the
    store asks for (flood control) happens inside and is not an error.
    """

    async def put(self, path: Path, label: DocumentLabel) -> DocumentRef:
        """
        Store the file at ``path`` (``label.size_bytes`` long) and return where it is.

        Not idempotent in general: a put whose answer was lost may leave an orphan, which the store finds
        again by the label. The file is not changed and may be removed as soon as this returns.

        Raises
            StoreUnavailable after the store's own patience ended; StoreRefused.
        """
        ...

    def open(self, ref: DocumentRef, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """
        Yield the document's bytes ``[start, stop)`` in order, in chunks of at most 256 KiB.

        Nothing is read ahead of the consumer by more than 256 KiB; ``aclose()`` frees everything. The sum
        of the chunks is exactly ``stop - start`` bytes, or an error is raised:
        DocumentMissing, DocumentCorrupt (shorter than it should be), StoreUnavailable, StoreRefused.
        The store does not check sha256: the caller does.
        """
        ...

    async def exists(self, ref: DocumentRef) -> bool:
        """Tell whether the store still has the document (and its size is right)."""
        ...

    async def delete(self, refs: Sequence[DocumentRef]) -> Sequence[DocumentRef]:
        """
        Delete documents; return those that the store could not delete now (to be asked again later).

        Idempotent: what is gone already counts as deleted. One that cannot be deleted stops no other.
        """
        ...

    async def close(self) -> None:
        """Free connections; nothing may be asked afterwards."""
        ...


class CatalogReader(Protocol):
    """
    Reads of the catalog: synchronous, indexed, microseconds, on the reactor thread's own connection.

    Nothing here raises for something that is not there: it returns None or an empty tuple.
    """

    def library_id(self) -> str:
        """Return the random id (16 hex digits) that this catalog was born with."""
        ...

    def change_number(self) -> int:
        """
        Return a number that is another one after anything was committed, by whomever (4 us).

        As long as it is the same, everything that was read may be remembered.
        """
        ...

    def video(self, video_id: VideoId) -> Video | None: ...

    def videos(self, *, after: str = "", limit: int = -1) -> Sequence[Video]:
        """
        Return videos by video_id: those behind ``after``, at most ``limit``; all by default.

        Ten thousand take 100 ms: who must not block asks for some hundred at a time.
        """
        ...

    def video_by_source(self, path: str) -> Video | None:
        """Return the video whose source file stands (or stood) at this absolute path."""
        ...

    def videos_by_size(self, size_bytes: int) -> Sequence[tuple[Video, SourceIdentity]]:
        """Return videos whose newest revision's source has this size: candidates for "the same file"."""
        ...

    def revision(self, video_id: VideoId, number: int) -> Revision | None: ...

    def newest_revision(self, video_id: VideoId) -> Revision | None: ...

    def renditions(self, video_id: VideoId, revision: int) -> Sequence[Rendition]:
        """Return the renditions, the main one first."""
        ...

    def rendition(self, video_id: VideoId, revision: int, name: str) -> Rendition | None: ...

    def segments(self, rendition_id: int) -> Sequence[Segment]:
        """Return the segments in order."""
        ...

    def segment(self, rendition_id: int, order: int) -> Segment | None: ...

    def documents(self, rendition_id: int) -> Sequence[Document]:
        """Return the documents by offset."""
        ...

    def documents_covering(self, rendition_id: int, start: int, stop: int) -> Sequence[Document]:
        """Return the documents that hold any of the stream's bytes ``[start, stop)``, by offset."""
        ...

    def extras(self, video_id: VideoId, revision: int) -> Sequence[StoredExtra]: ...

    def published_files(self, video_id: VideoId) -> Mapping[str, str]:
        """Return the absolute path of each file we published for the video, with its sha256."""
        ...

    def publisher_of(self, path: str) -> VideoId | None:
        """Return the video for which we published the file at this absolute path."""
        ...

    def owed_deletions(self, limit: int) -> Sequence[DocumentRef]:
        """Return documents that the store still has to delete, oldest first."""
        ...

    def superseded_revisions(self, older_than_s: float) -> Sequence[tuple[VideoId, int]]:
        """Return revisions that are older than their video's current one, which was published before this."""
        ...

    def owed_source_releases(self) -> Sequence[tuple[VideoId, int]]:
        """Return revisions that are published and whose source files are still to be moved or deleted."""
        ...

    def is_source_released(self, video_id: VideoId, revision: int) -> bool:
        """Tell whether this revision's source file was, or shall be, moved or deleted by us."""
        ...

    def stats(self) -> CatalogStats: ...


class CatalogWriter(Protocol):
    """
    Writes to the catalog: each call is one transaction on the one writer thread, durable when it returns.

    All raise ``errors.CatalogError`` when the catalog cannot be written.
    """

    async def create_video(
        self, video_id: VideoId, *, original_filename: str, library: str, source_path: str
    ) -> None:
        """Insert a video without revisions. Does nothing when it exists."""
        ...

    async def begin_revision(self, video_id: VideoId, source: SourceIdentity) -> int:
        """Insert the next revision in stage ``found``; return its number (1 for the first)."""
        ...

    async def record_source_path(self, video_id: VideoId, source: SourceIdentity) -> None:
        """Note that the newest revision's source file now stands at another path, inode or mtime."""
        ...

    async def record_plan(self, video_id: VideoId, revision: int, plan: IngestPlan) -> None:
        """Store the plan and set the stage to ``probed``."""
        ...

    async def record_stage(self, video_id: VideoId, revision: int, stage: Stage) -> None:
        """Set the stage and clear the error."""
        ...

    async def record_error(
        self,
        video_id: VideoId,
        revision: int,
        error: str,
        next_attempt_at_s: float | None,
        *,
        is_attempt: bool = True,
    ) -> None:
        """
        Count an attempt; keep the stage; None means that no attempt is planned.

        ``is_attempt`` is False when it was not the video's fault: the store was down, the disk full.
        """
        ...

    async def create_rendition(self, video_id: VideoId, revision: int, plan: RenditionPlan) -> int:
        """Insert the rendition of this name, or find it; return its id."""
        ...

    async def record_segments(self, rendition_id: int, segments: Sequence[Segment]) -> None:
        """Insert segments; one of the same order is replaced."""
        ...

    async def record_document(
        self, rendition_id: int, *, number: int, offset: int, length: int, ref: DocumentRef
    ) -> int:
        """Insert a stored document with its file_ids, and end its intents; return its id."""
        ...

    async def truncate_rendition(self, rendition_id: int, *, segments_from: int, stream_end: int) -> None:
        """
        Forget segments of this order and above, and everything stored at or behind ``stream_end``.

        A document that reaches over ``stream_end`` is shortened; documents wholly behind it are owed to the
        store as deletions, in the same transaction.
        """
        ...

    async def finish_rendition(
        self,
        rendition_id: int,
        *,
        codecs: str,
        bandwidth: int,
        average_bandwidth: int,
        width: int,
        height: int,
        frame_rate: float,
        stream_bytes: int,
        init_bytes: int,
        duration_s: float,
        independent_segments: bool,
    ) -> None:
        """Record what is known at the end of the stream, and that it is complete."""
        ...

    async def record_extra(self, video_id: VideoId, revision: int, *, name: str, ref: DocumentRef) -> int:
        """Insert a stored extra; one of the same name is replaced and owed as a deletion."""
        ...

    async def record_verified(self, document_ids: Sequence[int]) -> None:
        """Note that these documents were read back and matched."""
        ...

    async def record_file_id(self, document_id: int, bot_id: int, file_id: str) -> None:
        """Note the file_id by which this bot reads the document."""
        ...

    async def publish_revision(self, video_id: VideoId, revision: int) -> None:
        """Make the revision the current one and its video ``published``: one UPDATE. Stage ``published``."""
        ...

    async def record_published_file(self, video_id: VideoId, path: str, sha256: str) -> None:
        """Note a file written into the library; also before it is written, so that it is known as ours."""
        ...

    async def forget_published_file(self, video_id: VideoId, path: str) -> None: ...

    async def set_wanted(self, video_id: VideoId, wanted: Wanted) -> None: ...

    async def delete_video(self, video_id: VideoId) -> None:
        """Delete the video's rows; its documents and extras are owed as deletions, in one transaction."""
        ...

    async def delete_revision(self, video_id: VideoId, revision: int) -> None:
        """Delete one revision's rows; its documents and extras are owed as deletions."""
        ...

    async def settle_deletions(self, refs: Sequence[DocumentRef]) -> None:
        """Forget owed deletions that the store has carried out."""
        ...

    async def owe_source_release(self, video_id: VideoId, revision: int) -> None:
        """Note that the source file shall be moved or deleted when this revision is published. Idempotent."""
        ...

    async def settle_source_release(self, video_id: VideoId, revision: int) -> None:
        """Note that the source file was moved or deleted."""
        ...

    async def forget_source_release(self, video_id: VideoId, revision: int) -> None:
        """Note that the source file stays. What was done already is remembered."""
        ...

    async def record_intent(self, label: DocumentLabel, *, bot_id: int, chat_id: int) -> int:
        """Note that an upload begins; return the intent's id."""
        ...

    async def forget_intent(self, intent_id: int) -> None: ...


class Process(Protocol):
    """A running child."""

    @property
    def stdout_fds(self) -> Sequence[int]:
        """Read ends of the pipes asked for, blocking, to be read from a thread; the reader closes them."""
        ...

    async def wait(self) -> ProcessResult:
        """Wait for the end. Does not raise for an exit status."""
        ...

    def kill(self) -> None:
        """Kill the whole process group. Does nothing when it has ended."""
        ...


class ProcessResult(Protocol):
    """How a child ended."""

    @property
    def exit_code(self) -> int:
        """Exit status, or minus the signal's number."""
        ...

    @property
    def stdout(self) -> bytes:
        """What it wrote to standard output, when captured; cut off at the limit given."""
        ...

    @property
    def stderr_tail(self) -> str:
        """The last 16 KiB of standard error, decoded."""
        ...

    @property
    def timed_out(self) -> bool:
        """Whether it was killed for its wall-clock limit."""
        ...


class ProcessRunner(Protocol):
    """Runs ffmpeg and ffprobe: limited, in its own process group, killed with the daemon."""

    def start(
        self,
        argv: Sequence[str],
        *,
        pipes: int,
        wall_limit_s: float,
        on_stderr: Callable[[str], None] | None = None,
    ) -> Process:
        """
        Start a child that writes to ``pipes`` pipes: file descriptors 1, 3, 4, ... of the child.

        Raises
            FfmpegMissing when the program is not there.
        """
        ...

    async def run(
        self, argv: Sequence[str], *, wall_limit_s: float, max_stdout_bytes: int = 64 << 20
    ) -> ProcessResult:
        """Run a child to its end and capture its standard output."""
        ...


class LibraryNotifier(Protocol):
    """Tells the media server which published paths changed."""

    async def notify(self, paths: Sequence[Path], *, removed: bool = False) -> None:
        """Announce paths. Never raises: a media server that is down is told later."""
        ...
