# SPDX-License-Identifier: MIT
"""PURE. Where a rendition goes on when ffmpeg makes other bytes now, and what describes it at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from tgsyncd.model import Container, RenditionKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.ingest.cut import StreamEnd
    from tgsyncd.model import Document, IngestPlan, MediaProbe, RenditionPlan, Segment

__all__ = ["RenditionFacts", "Restart", "choose_restart", "describe_rendition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Where in a rendition's stream to go on. All zero: from the start."""

    offset: int = 0
    segment_order: int = 0
    document_number: int = 0
    start_s: float = 0.0
    """Presentation time in the stream."""
    timestamp_offset_s: float = 0.0
    """What the muxer of the first run added to the source's times (room for B-frames: 0.083 s at 24 fps)."""

    @property
    def source_s(self) -> float:
        """The same moment in seconds from the source's first timestamp: what ffmpeg seeks to."""
        return self.start_s - self.timestamp_offset_s


def choose_restart(
    plan: IngestPlan,
    segments: Sequence[Segment],
    documents: Sequence[Document],
    *,
    picture_start_s: float,
) -> Restart:
    """
    Decide where to go on. ``picture_start_s`` is the picture's start behind the source's first timestamp.

    Behind the last segment that is stored whole, when the picture is encoded anew into MPEG-TS: there
    ffmpeg's seek is exact to the frame and a discontinuity is allowed anywhere. A copied picture can only
    be cut again from its start (a seek with ``-c copy`` lands on another packet), and fMP4 would need a
    second initialization section: both begin anew, which costs uploads but no encoding.
    """
    is_possible = (
        plan.transcodes_video
        and len(plan.renditions) == 1
        and plan.renditions[0].container is Container.MPEGTS
    )
    if not is_possible:
        return Restart()
    stored_end = 0
    for document in documents:
        if document.offset != stored_end:
            break
        stored_end = document.end
    whole = [segment for segment in segments if segment.end <= stored_end]
    if not whole:
        return Restart()
    last = whole[-1]
    return Restart(
        offset=last.end,
        segment_order=last.order + 1,
        document_number=1 + max(document.number for document in documents if document.offset < last.end),
        start_s=last.start_s + last.duration_s,
        timestamp_offset_s=max(0.0, segments[0].start_s - picture_start_s),
    )


class RenditionFacts(TypedDict):
    """What ``CatalogWriter.finish_rendition`` takes."""

    codecs: str
    bandwidth: int
    average_bandwidth: int
    width: int
    height: int
    frame_rate: float
    stream_bytes: int
    init_bytes: int
    duration_s: float
    independent_segments: bool


def describe_rendition(
    probe: MediaProbe, plan: RenditionPlan, segments: Sequence[Segment], end: StreamEnd
) -> RenditionFacts:
    """Return the facts of a finished rendition. Bandwidths are bits per second (RFC 8216, 4.3.4.2)."""
    total_bytes = sum(segment.size_bytes for segment in segments)
    duration_s = sum(segment.duration_s for segment in segments)
    peaks = [segment.size_bytes * 8 / segment.duration_s for segment in segments if segment.duration_s > 0]
    picture = probe.video[0] if probe.video and plan.kind is RenditionKind.MAIN else None
    return RenditionFacts(
        codecs=end.codecs,
        bandwidth=round(max(peaks, default=0.0)),
        average_bandwidth=round(total_bytes * 8 / duration_s) if duration_s > 0 else 0,
        width=picture.width if picture else 0,
        height=picture.height if picture else 0,
        frame_rate=float(picture.frame_rate) if picture and picture.frame_rate else 0.0,
        stream_bytes=end.size_bytes,
        init_bytes=end.init_bytes,
        duration_s=duration_s,
        independent_segments=end.independent_segments,
    )
