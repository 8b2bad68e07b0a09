# SPDX-License-Identifier: MIT
"""What is cut, stored, and known to the catalog."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tgsyncd.model.plan import IngestPlan
    from tgsyncd.model.words import Container, RenditionKind, Stage, VideoId, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class CutPoint:
    """A place in a stream where a segment may start, and the presentation time there."""

    offset: int
    pts_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A byte range of a stream that a playlist names."""

    order: int
    offset: int
    size_bytes: int
    start_s: float
    """Presentation time of its first frame."""
    duration_s: float
    sha256: str
    discontinuity: bool = False

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.offset + self.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledDocument:
    """A document cut and not yet stored: a file in the spool, fsynced."""

    number: int
    offset: int
    size_bytes: int
    sha256: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLabel:
    """What a document says of itself, so that it explains itself when the catalog is gone."""

    library_id: str
    video_id: VideoId
    revision: int
    rendition: str
    """A rendition's name, or ``extra`` for what is stored beside the stream."""
    number: int
    size_bytes: int
    sha256: str
    filename: str = ""
    """For extras: the published name's ending, such as ``.en.srt``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRef:
    """
    Where a stored document is, by the names that survive.

    In a directory store ``chat_id`` is 0, ``message_id`` is 0 and ``file_unique_id`` is the path of the
    file relative to the store's root. ``file_ids`` maps a bot id to that bot's own file_id.
    """

    chat_id: int
    message_id: int
    file_unique_id: str
    size_bytes: int
    sha256: str
    file_ids: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A consecutive byte range of a stream as it is stored."""

    document_id: int
    number: int
    offset: int
    length: int
    """Bytes of the stream in it. Less than ``ref.size_bytes`` only where a transcode was resumed in the
    middle of what had been stored."""
    ref: DocumentRef
    uploaded_at_s: float
    verified_at_s: float | None = None

    @property
    def end(self) -> int:
        """The stream offset behind its last byte."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredExtra:
    """What would otherwise die with the source file: a subtitle, a still, chapters."""

    document_id: int
    name: str
    """The ending behind the published base name, such as ``.en.srt`` or ``-poster.jpg``."""
    ref: DocumentRef
    verified_at_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """One stream of a revision, as the catalog knows it."""

    rendition_id: int
    video_id: VideoId
    revision: int
    name: str
    kind: RenditionKind
    container: Container
    codecs: str
    """RFC 6381 codecs string, such as ``avc1.640028,mp4a.40.2``; empty when unknown."""
    bandwidth: int
    """Peak bits per second, as EXT-X-STREAM-INF wants it (RFC 8216, 4.3.4.2)."""
    average_bandwidth: int
    width: int
    height: int
    frame_rate: float
    language: str | None
    title: str | None
    is_default: bool
    stream_bytes: int
    init_bytes: int
    """Length of the initialization section, which is the beginning of the stream; 0 for MPEG-TS."""
    duration_s: float
    independent_segments: bool
    """Every segment decodes alone (closed GOPs): EXT-X-INDEPENDENT-SEGMENTS may be said."""
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceIdentity:
    """What a source file was when it was ingested."""

    path: str
    size_bytes: int
    mtime_ns: int
    inode: int
    device: int
    sampled_hash: str
    """sha256 over size, first, middle and last MiB; see ``ingest.scan``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One ingest of a source file as it then was."""

    video_id: VideoId
    number: int
    stage: Stage
    source: SourceIdentity
    plan: IngestPlan | None
    error: str | None
    attempts: int
    next_attempt_at_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A film or an episode: the unit of ingest, playback and deletion."""

    video_id: VideoId
    original_filename: str
    library: str
    source_path: str
    wanted: Wanted
    current_revision: int | None
    """The revision that plays, or None while there is none."""
    capability_generation: int
    total_duration_s: float
    total_segments: int
    file_size_bytes: int
    status: str
    """``processing``, ``active`` or ``error``."""
    stage: Stage
    """Of the newest revision."""
    error: str | None
    created_at_s: float
    updated_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogStats:
    """What ``db-stats`` shows."""

    schema_version: int
    videos: int
    videos_by_status: Mapping[str, int]
    revisions: int
    renditions: int
    segments: int
    documents: int
    stored_bytes: int
    deletions_owed: int
    intents_open: int
    file_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownSource:
    """What the catalog knows of one source file: its video's newest revision, in short."""

    video_id: VideoId
    library: str
    path: str
    size_bytes: int
    mtime_ns: int
    device: int
    stage: Stage
    is_failed: bool
    attempts: int
    next_attempt_at_s: float | None
    wanted: Wanted
    is_published: bool
    """Files of it stand, or should stand, in the Jellyfin library."""
    is_released: bool = False
    """We moved or deleted the file ourselves, or shall: nobody else removed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedStrm:
    """A ``.strm`` that we wrote, or are about to write or remove: its sha256 is ``UNFINISHED`` then."""

    video_id: VideoId
    library: str
    path: str
    sha256: str
    capability_generation: int
