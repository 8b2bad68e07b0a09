# SPDX-License-Identifier: MIT
"""What is decided for a source file. Stored with its revision: pydantic reads and writes it as JSON."""

from __future__ import annotations

from dataclasses import dataclass

from tgsyncd.model.words import (
    DOCUMENT_MAX_BYTES,
    Container,
    RenditionKind,
    Treatment,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStream:
    """One stream of the source, what becomes of it, and the codec that players will meet."""

    index: int
    kind: str  # "video" or "audio"
    treatment: Treatment
    source_codec: str
    codec: str
    language: str | None = None
    title: str | None = None
    is_default: bool = False
    channels: int = 0
    reason: str = ""
    """Why it is transcoded; empty when copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenditionPlan:
    """One stream to be made: which source streams go into which container."""

    name: str  # "main", "audio-1", ...: part of URLs
    kind: RenditionKind
    container: Container
    streams: tuple[PlannedStream, ...]
    language: str | None = None
    title: str | None = None
    is_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitlePlan:
    """A text subtitle that becomes an ``.srt`` beside the ``.strm``."""

    index: int
    codec: str
    suffix: str
    """What follows the video's base name, such as ``.en.forced.srt``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A stream of the source that the published video will not have, and why."""

    index: int
    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackLimits:
    """How documents are filled. See docs/architecture.md, "Documents"."""

    document_max_bytes: int = DOCUMENT_MAX_BYTES
    first_documents_bytes: tuple[int, ...] = (4_000_000, 8_000_000)
    """The first documents are small, so that a cold start waits for little."""
    max_waste: float = 0.15
    """A document ends at a segment's end when that leaves at most this share of it empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestPlan:
    """All that decides the bytes of a revision, stored with it so that an ingest can be resumed."""

    renditions: tuple[RenditionPlan, ...]
    subtitles: tuple[SubtitlePlan, ...]
    left_out: tuple[LeftOut, ...]
    segment_target_s: float | None
    """None means one segment per document (``segments.duration: max``)."""
    limits: PackLimits
    encoder: str
    """``libx264``, ``h264_vaapi``, ``h264_qsv`` or ``h264_nvenc``; used only where video is transcoded."""
    threads: int
    """Encoder threads: x264's bytes differ with their number."""
    ffmpeg_version: str
    late_sound_s: float = 0.0
    """How much later than the picture the first sound starts, when that is long; else 0."""

    @property
    def transcodes_video(self) -> bool:
        """True when the picture is encoded anew, which is what can be resumed in the middle."""
        return any(
            stream.kind == "video" and stream.treatment is Treatment.TRANSCODE
            for rendition in self.renditions
            for stream in rendition.streams
        )

    @property
    def transcodes(self) -> bool:
        """True when any stream is encoded anew."""
        return any(
            stream.treatment is Treatment.TRANSCODE
            for rendition in self.renditions
            for stream in rendition.streams
        )
