# SPDX-License-Identifier: MIT
"""
Every error that tgsyncd raises on purpose, typed by what the reader can do about it.

::

    TgsyncdError                       exit code 1
    ├── ConfigError                    2   the configuration or the command line is wrong
    ├── NotFound                       3   no such video, segment or document
    ├── Refused                        4   we will not do this (not ours, a lock, a newer catalog)
    │   ├── CatalogNewer                   the catalog was written by a newer tgsyncd
    │   └── PublishConflict                a file stands there that we did not write
    ├── SourceError                    5   this source file; the rest of the batch goes on
    │   ├── SourceUnreadable               missing, empty, no permission
    │   ├── NotAVideo                      nothing in it that we may play
    │   ├── SourceDamaged                  it breaks off or does not decode
    │   └── SourceChanged                  it changed while it was read
    ├── FfmpegError                    6   ffmpeg or ffprobe failed
    │   ├── FfmpegMissing                  not installed
    │   └── FfmpegTimeout                  took longer than its wall-clock limit
    ├── SpaceError                     7   the disk is full, or would be
    ├── PublishUnwritable              1   the folder of a library cannot be written
    ├── CatalogError                   8   the catalog is damaged or cannot be written
    │   └── CatalogUnusable                for now: a full disk, a disk that is gone
    └── StoreError                     9   the store
        ├── StoreUnavailable   retryable   for now: wait and ask again
        ├── StoreRefused                   for good, until somebody changes rights or settings
        ├── DocumentMissing                the store is sure that it does not have it
        │   └── VideoGone                      its video was deleted while it was read
        └── DocumentCorrupt                what came back is not what was stored

``hint`` is the next step for the owner, in one sentence. ``retryable`` says whether waiting helps.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "CatalogError",
    "CatalogNewer",
    "CatalogUnusable",
    "ConfigError",
    "DocumentCorrupt",
    "DocumentMissing",
    "FfmpegError",
    "FfmpegMissing",
    "FfmpegTimeout",
    "NotAVideo",
    "NotFound",
    "PublishConflict",
    "PublishUnwritable",
    "Refused",
    "SourceChanged",
    "SourceDamaged",
    "SourceError",
    "SourceUnreadable",
    "SpaceError",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "TgsyncdError",
    "VideoGone",
]


class TgsyncdError(Exception):
    """Something that the owner can understand and act upon."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class ConfigError(TgsyncdError):
    """The configuration or the command line is wrong."""

    exit_code = 2


class NotFound(TgsyncdError):
    """There is no such video, segment or document."""

    exit_code = 3


class Refused(TgsyncdError):
    """tgsyncd will not do this."""

    exit_code = 4


class CatalogNewer(Refused):
    """The catalog was written by a newer tgsyncd."""


class PublishConflict(Refused):
    """A file stands where we would publish, and we did not write it."""


class SourceError(TgsyncdError):
    """Something is wrong with this source file; others are not affected."""

    exit_code = 5


class SourceUnreadable(SourceError):
    """The source file is missing, empty or may not be read."""


class NotAVideo(SourceError):
    """The source file holds nothing that we may play."""


class SourceDamaged(SourceError):
    """The source file breaks off or does not decode."""


class SourceChanged(SourceError):
    """The source file changed while it was read."""


class FfmpegError(TgsyncdError):
    """The program ffmpeg or ffprobe failed."""

    exit_code = 6


class FfmpegMissing(FfmpegError):
    """The program ffmpeg or ffprobe is not installed."""


class FfmpegTimeout(FfmpegError):
    """The program ffmpeg or ffprobe took longer than its wall-clock limit and was killed."""


class SpaceError(TgsyncdError):
    """The disk is full, or this would fill it."""

    exit_code = 7


class CatalogError(TgsyncdError):
    """The catalog is damaged or cannot be written."""

    exit_code = 8


class CatalogUnusable(CatalogError):
    """The catalog cannot be used for now: its disk is full, gone or read-only; waiting may help."""

    retryable = True


class PublishUnwritable(TgsyncdError):
    """The folder of a library cannot be written for now; what was stored of the video is kept."""

    retryable = True


class StoreError(TgsyncdError):
    """The store failed."""

    exit_code = 9


class StoreUnavailable(StoreError):
    """The store does not answer for now; waiting helps. ``retry_after_s`` where it said how long."""

    retryable = True

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class StoreRefused(StoreError):
    """The store refuses for good, until somebody changes rights or settings."""


class DocumentMissing(StoreError):
    """The store is sure that it does not have the document."""


class VideoGone(DocumentMissing):
    """The video, or the revision, was deleted while it was read: nothing is wrong."""


class DocumentCorrupt(StoreError):
    """The bytes that came back are not the bytes that were stored."""
