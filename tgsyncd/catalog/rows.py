# SPDX-License-Identifier: MIT
"""Rows to frozen values and back."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from tgsyncd.errors import CatalogError
from tgsyncd.model import (
    Container,
    Document,
    DocumentLabel,
    DocumentRef,
    IngestPlan,
    Rendition,
    RenditionKind,
    Revision,
    Segment,
    SourceIdentity,
    Stage,
    Video,
    VideoId,
    Wanted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheUse:
    """What the cache saw of one segment since it last told the catalog."""

    video_id: VideoId
    revision: int
    rendition: str
    segment_filename: str
    cached_at_s: float
    """When it last came into the cache."""
    accesses: int
    """How often it was asked for since the last report; added to what is recorded."""
    last_accessed_s: float
    cache_size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMetadata:
    """What the statistics show of one segment in the cache."""

    video_id: VideoId
    revision: int
    rendition: str
    segment_filename: str
    cached_at_s: float
    access_count: int
    last_accessed_s: float
    cache_size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """An upload that began and is not recorded as a document: there may be an orphan of it in the chat."""

    intent_id: int
    label: DocumentLabel
    bot_id: int
    chat_id: int
    begun_at_s: float


# --- text that need not be UTF-8 ---------------------------------------------------------------------


def text(value: str) -> str | bytes:
    """
    Return what to bind for a TEXT column, to be written ``CAST(? AS TEXT)`` in the statement.

    File names are bytes; Python's str has lone surrogates where they are not UTF-8, which sqlite3 refuses.
    The column then holds the raw bytes, and reading gives the same str again.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape" if _is_file_name(value) else "replace")
    return value


def _is_file_name(value: str) -> bool:
    # surrogateescape makes U+DC80..U+DCFF only; others come from broken metadata, which may lose them.
    return all(not "\ud800" <= char <= "\udfff" or "\udc80" <= char <= "\udcff" for char in value)


# --- 64-bit numbers ----------------------------------------------------------------------------------


def to_signed(number: int) -> int:
    """Return the signed reading of an unsigned 64-bit number: mergerfs's inodes use all 64 bits."""
    return number - (1 << 64) if number >= 1 << 63 else number


def to_unsigned(number: int) -> int:
    """Undo ``to_signed``."""
    return number + (1 << 64) if number < 0 else number


# --- plans -------------------------------------------------------------------------------------------


@functools.cache
def _plan_adapter() -> TypeAdapter[IngestPlan]:
    return TypeAdapter(IngestPlan)


def plan_to_json(plan: IngestPlan) -> str:
    """Return the plan as JSON in ASCII, which takes any title that a source may have."""
    return json.dumps(_plan_adapter().dump_python(plan, mode="json"), separators=(",", ":"))


def plan_from_json(stored: str) -> IngestPlan:
    """
    Return the plan again. Keys that a newer tgsyncd wrote are ignored.

    Raises
        CatalogError when it lacks something.
    """
    try:
        return _plan_adapter().validate_python(json.loads(stored))
    except (ValidationError, ValueError) as error:
        raise CatalogError(
            f"a stored plan cannot be read: {error}",
            hint="ingest the video again with `tgsyncd upload --force`",
        ) from error


# --- columns and what they become --------------------------------------------------------------------

VIDEO = """
SELECT v.video_id, v.original_filename, v.library, v.source_path, v.wanted, v.current_revision,
       v.capability_generation, v.total_duration, v.total_segments, v.file_size, v.status,
       coalesce(n.stage, 'found'), n.error, v.created_at, v.updated_at
FROM videos AS v LEFT JOIN revisions AS n
  ON n.video_id = v.video_id
 AND n.number = (SELECT max(number) FROM revisions WHERE video_id = v.video_id)
"""


def to_video(row: Row) -> Video:
    """Make a Video of a row of ``VIDEO``."""
    return Video(
        video_id=row[0],
        original_filename=row[1],
        library=row[2],
        source_path=row[3],
        wanted=Wanted(row[4]),
        current_revision=row[5],
        capability_generation=row[6],
        total_duration_s=row[7],
        total_segments=row[8],
        file_size_bytes=row[9],
        status=row[10],
        stage=Stage(row[11]),
        error=row[12],
        created_at_s=row[13],
        updated_at_s=row[14],
    )


SOURCE_COLUMNS = "source_path, source_size, source_mtime_ns, source_inode, source_device, source_hash"


def to_source(row: Row) -> SourceIdentity:
    """Make a SourceIdentity of ``SOURCE_COLUMNS``."""
    return SourceIdentity(
        path=row[0],
        size_bytes=row[1],
        mtime_ns=row[2],
        inode=to_unsigned(row[3]),
        device=to_unsigned(row[4]),
        sampled_hash=row[5],
    )


def from_source(source: SourceIdentity) -> Row:
    """Return what to bind for ``SOURCE_COLUMNS``; the path as ``CAST(? AS TEXT)``."""
    return (
        text(source.path),
        source.size_bytes,
        source.mtime_ns,
        to_signed(source.inode),
        to_signed(source.device),
        source.sampled_hash,
    )


REVISION = f"""
SELECT video_id, number, stage, plan, error, attempts, next_attempt_at, {SOURCE_COLUMNS}
FROM revisions
"""  # noqa: S608 - constants of this module


def to_revision(row: Row) -> Revision:
    """Make a Revision of a row of ``REVISION``."""
    return Revision(
        video_id=row[0],
        number=row[1],
        stage=Stage(row[2]),
        source=to_source(row[7:]),
        plan=None if row[3] is None else plan_from_json(row[3]),
        error=row[4],
        attempts=row[5],
        next_attempt_at_s=row[6],
    )


RENDITION = """
SELECT rendition_id, video_id, revision, name, kind, container, codecs, bandwidth, average_bandwidth,
       width, height, frame_rate, language, title, is_default, stream_length, init_length, duration,
       independent_segments, is_complete
FROM renditions
"""


def to_rendition(row: Row) -> Rendition:
    """Make a Rendition of a row of ``RENDITION``."""
    return Rendition(
        rendition_id=row[0],
        video_id=row[1],
        revision=row[2],
        name=row[3],
        kind=RenditionKind(row[4]),
        container=Container(row[5]),
        codecs=row[6],
        bandwidth=row[7],
        average_bandwidth=row[8],
        width=row[9],
        height=row[10],
        frame_rate=row[11],
        language=row[12],
        title=row[13],
        is_default=bool(row[14]),
        stream_bytes=row[15],
        init_bytes=row[16],
        duration_s=row[17],
        independent_segments=bool(row[18]),
        is_complete=bool(row[19]),
    )


SEGMENT = """
SELECT segment_order, byte_offset, file_size, start_time, duration, sha256, discontinuity
FROM rendition_segments
"""


def to_segment(row: Row) -> Segment:
    """Make a Segment of a row of ``SEGMENT``."""
    return Segment(
        order=row[0],
        offset=row[1],
        size_bytes=row[2],
        start_s=row[3],
        duration_s=row[4],
        sha256=row[5].hex(),
        discontinuity=row[6] == 1,
    )


REF_COLUMNS = "chat_id, message_id, file_unique_id, size, sha256"

DOCUMENT = f"""
SELECT {REF_COLUMNS},
       (SELECT json_group_object(CAST(bot_id AS TEXT), file_id) FROM document_files AS f
        WHERE f.document_id = d.document_id),
       document_id, number, byte_offset, length, uploaded_at, verified_at
FROM documents AS d
"""  # noqa: S608 - constants of this module


def to_ref(row: Row) -> DocumentRef:
    """Make a DocumentRef of ``REF_COLUMNS`` and the file_ids as JSON."""
    return DocumentRef(
        chat_id=row[0],
        message_id=row[1],
        file_unique_id=row[2],
        size_bytes=row[3],
        sha256=row[4],
        file_ids=_file_ids(row[5]),
    )


def from_ref(ref: DocumentRef) -> Row:
    """Return what to bind for ``REF_COLUMNS``."""
    return (ref.chat_id, ref.message_id, ref.file_unique_id, ref.size_bytes, ref.sha256)


def _file_ids(stored: str) -> Mapping[int, str]:
    if stored == "{}":
        return {}
    return {int(bot_id): file_id for bot_id, file_id in json.loads(stored).items()}


def to_document(row: Row) -> Document:
    """Make a Document of a row of ``DOCUMENT``."""
    return Document(
        document_id=row[6],
        number=row[7],
        offset=row[8],
        length=row[9],
        ref=to_ref(row),
        uploaded_at_s=row[10],
        verified_at_s=row[11],
    )


INTENT_COLUMNS = (
    "intent_id, library_id, video_id, revision, rendition, number, size, sha256, filename, "
    "bot_id, chat_id, begun_at"
)


def to_intent(row: Row) -> Intent:
    """Make an Intent of ``INTENT_COLUMNS``."""
    return Intent(
        intent_id=row[0],
        label=DocumentLabel(
            library_id=row[1],
            video_id=row[2],
            revision=row[3],
            rendition=row[4],
            number=row[5],
            size_bytes=row[6],
            sha256=row[7],
            filename=row[8],
        ),
        bot_id=row[9],
        chat_id=row[10],
        begun_at_s=row[11],
    )


CACHE_COLUMNS = (
    "video_id, revision, rendition, segment_filename, cached_at, access_count, last_accessed, cache_size"
)


def to_cache_metadata(row: Row) -> CacheMetadata:
    """Make a CacheMetadata of ``CACHE_COLUMNS``."""
    return CacheMetadata(
        video_id=row[0],
        revision=row[1],
        rendition=row[2],
        segment_filename=row[3],
        cached_at_s=row[4],
        access_count=row[5],
        last_accessed_s=row[6],
        cache_size_bytes=row[7],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoredMark:
    """What `tgsyncd catalog restore` noted for the next start of the daemon."""

    at_s: float
    suspects: tuple[VideoId, ...] | None
    """Videos whose documents may have been deleted since the copy was made; None: any of them."""


def to_restored_mark(text: str) -> RestoredMark:
    """Make a RestoredMark of its JSON."""
    value = json.loads(text)
    suspects = value["suspects"]
    names = None if suspects is None else tuple(VideoId(video_id) for video_id in suspects)
    return RestoredMark(at_s=value["at_s"], suspects=names)
