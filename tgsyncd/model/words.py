# SPDX-License-Identifier: MIT
"""Ids, limits and the words that are chosen from."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

VideoId = NewType("VideoId", str)
"""``[a-z0-9][a-z0-9._-]{0,99}``; stable for ever."""

DOCUMENT_MAX_BYTES = 19_900_000
"""Bot API getFile refuses more than 20 << 20 = 20,971,520 bytes and documents "20 MB"; this is legal
under both readings and leaves room for encryption."""

UNFINISHED = ""
"""Stands in the catalog for the sha256 of a ``.strm`` while its video's files are written or removed."""


class Container(StrEnum):
    """How a rendition's stream is packaged."""

    MPEGTS = "mpegts"
    FMP4 = "fmp4"

    @property
    def segment_suffix(self) -> str:
        """The ending of a media segment's URL; players refuse others (docs/players.md)."""
        return ".ts" if self is Container.MPEGTS else ".m4s"

    @property
    def stream_suffix(self) -> str:
        """The ending of the whole stream's URL."""
        return ".ts" if self is Container.MPEGTS else ".mp4"


class RenditionKind(StrEnum):
    """What a rendition carries: the picture (with sound), or sound alone."""

    MAIN = "main"
    AUDIO = "audio"


class Stage(StrEnum):
    """How far a revision has come."""

    FOUND = "found"
    PROBED = "probed"
    STORED = "stored"
    VERIFIED = "verified"
    PUBLISHED = "published"


class Wanted(StrEnum):
    """What the owner wants of a video."""

    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


class Treatment(StrEnum):
    """What becomes of one stream of the source."""

    COPY = "copy"
    TRANSCODE = "transcode"
