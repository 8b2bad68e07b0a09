# SPDX-License-Identifier: MIT
"""Videos as JSON: what ``/videos`` and ``/debug/<video_id>`` show. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tgsyncd.model import Document, Rendition, Video


def report_video(video: Video, urls: Mapping[str, str]) -> dict[str, object]:
    """Describe a video; names are those of the catalog's table."""
    return {
        "video_id": video.video_id,
        "original_filename": video.original_filename,
        "library": video.library,
        "status": video.status,
        "stage": str(video.stage),
        "wanted": str(video.wanted),
        "error": video.error,
        "current_revision": video.current_revision,
        "total_duration": round(video.total_duration_s, 6),
        "total_segments": video.total_segments,
        "file_size": video.file_size_bytes,
        "created_at": video.created_at_s,
        "updated_at": video.updated_at_s,
        **urls,
    }


def report_rendition(rendition: Rendition) -> dict[str, object]:
    """Describe a rendition."""
    return {
        "name": rendition.name,
        "kind": str(rendition.kind),
        "container": str(rendition.container),
        "codecs": rendition.codecs,
        "bandwidth": rendition.bandwidth,
        "average_bandwidth": rendition.average_bandwidth,
        "width": rendition.width,
        "height": rendition.height,
        "frame_rate": rendition.frame_rate,
        "language": rendition.language,
        "title": rendition.title,
        "duration": round(rendition.duration_s, 6),
        "stream_bytes": rendition.stream_bytes,
        "is_complete": rendition.is_complete,
    }


def report_documents(documents: Sequence[Document]) -> list[dict[str, object]]:
    """Describe stored documents. No file_id: it is all that a holder of the token would need."""
    return [
        {
            "number": document.number,
            "offset": document.offset,
            "length": document.length,
            "size": document.ref.size_bytes,
            "sha256": document.ref.sha256,
            "chat_id": document.ref.chat_id,
            "message_id": document.ref.message_id,
            "uploaded_at": document.uploaded_at_s,
            "verified_at": document.verified_at_s,
        }
        for document in documents
    ]
