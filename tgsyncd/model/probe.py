# SPDX-License-Identifier: MIT
"""What ffprobe says of a source file."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction  # noqa: TC003  pydantic resolves the annotations at run time


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """Colour description as ffprobe names it; None where the source does not say."""

    primaries: str | None = None
    transfer: str | None = None
    matrix: str | None = None
    range: str | None = None

    @property
    def is_hdr(self) -> bool:
        """True for PQ and HLG transfer."""
        return self.transfer in {"smpte2084", "arib-std-b67"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoStream:
    """One picture stream (attached pictures are ``OtherStream``)."""

    index: int
    codec: str
    profile: str | None = None
    level: int | None = None
    width: int = 0
    height: int = 0
    pixel_format: str | None = None
    bit_depth: int = 8
    frame_rate: Fraction | None = None
    sample_aspect_ratio: Fraction | None = None
    rotation: int = 0
    field_order: str | None = None
    has_b_frames: bool = False
    colour: Colour = field(default_factory=Colour)
    bit_rate: int | None = None
    start_s: float | None = None
    language: str | None = None
    title: str | None = None
    is_default: bool = False

    @property
    def is_interlaced(self) -> bool:
        """True when the source says that its pictures are fields."""
        return self.field_order in {"tt", "bb", "tb", "bt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioStream:
    """One sound stream."""

    index: int
    codec: str
    profile: str | None = None
    channels: int = 2
    channel_layout: str | None = None
    sample_rate: int = 48_000
    bit_rate: int | None = None
    start_s: float | None = None
    language: str | None = None
    title: str | None = None
    is_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleStream:
    """One subtitle stream, text or bitmap."""

    index: int
    codec: str
    language: str | None = None
    title: str | None = None
    is_default: bool = False
    is_forced: bool = False
    is_hearing_impaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherStream:
    """A stream that no rendition carries: data, attachment, attached picture."""

    index: int
    kind: str
    codec: str
    filename: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One chapter of the source, in seconds from its start."""

    start_s: float
    end_s: float
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaProbe:
    """What ffprobe says of a source file."""

    format_name: str
    duration_s: float | None
    start_s: float
    size_bytes: int
    bit_rate: int | None
    video: tuple[VideoStream, ...]
    audio: tuple[AudioStream, ...]
    subtitles: tuple[SubtitleStream, ...]
    others: tuple[OtherStream, ...]
    chapters: tuple[Chapter, ...]
