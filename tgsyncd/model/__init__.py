# SPDX-License-Identifier: MIT
"""
The frozen values that the packages hand to one another.

Words are those of HLS (RFC 8216), the Bot API and Jellyfin; docs/glossary.md has them all. Units are in
the names: ``_s`` seconds, ``_bytes``, ``_ns``. Offsets and sizes are bytes of a rendition's stream unless
the name says otherwise.
"""

from __future__ import annotations

from tgsyncd.model.plan import IngestPlan, LeftOut, PackLimits, PlannedStream, RenditionPlan, SubtitlePlan
from tgsyncd.model.probe import (
    AudioStream,
    Chapter,
    Colour,
    MediaProbe,
    OtherStream,
    SubtitleStream,
    VideoStream,
)
from tgsyncd.model.stored import (
    CatalogStats,
    CutPoint,
    Document,
    DocumentLabel,
    DocumentRef,
    KnownSource,
    PublishedStrm,
    Rendition,
    Revision,
    Segment,
    SourceIdentity,
    SpooledDocument,
    StoredExtra,
    Video,
)
from tgsyncd.model.words import (
    DOCUMENT_MAX_BYTES,
    UNFINISHED,
    Container,
    RenditionKind,
    Stage,
    Treatment,
    VideoId,
    Wanted,
)

__all__ = [
    "DOCUMENT_MAX_BYTES",
    "UNFINISHED",
    "AudioStream",
    "CatalogStats",
    "Chapter",
    "Colour",
    "Container",
    "CutPoint",
    "Document",
    "DocumentLabel",
    "DocumentRef",
    "IngestPlan",
    "KnownSource",
    "LeftOut",
    "MediaProbe",
    "OtherStream",
    "PackLimits",
    "PlannedStream",
    "PublishedStrm",
    "Rendition",
    "RenditionKind",
    "RenditionPlan",
    "Revision",
    "Segment",
    "SourceIdentity",
    "SpooledDocument",
    "Stage",
    "StoredExtra",
    "SubtitlePlan",
    "SubtitleStream",
    "Treatment",
    "Video",
    "VideoId",
    "VideoStream",
    "Wanted",
]
