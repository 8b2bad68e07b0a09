# SPDX-License-Identifier: MIT
"""PURE. When to try a video again, by what went wrong."""

from __future__ import annotations

from tgsyncd.errors import (
    CatalogUnusable,
    ConfigError,
    FfmpegError,
    FfmpegMissing,
    NotAVideo,
    PublishUnwritable,
    SourceChanged,
    SourceDamaged,
    SpaceError,
    StoreError,
    StoreUnavailable,
)

__all__ = ["choose_retry_s", "is_attempt", "stops_all"]

FIRST_S = 60.0
LONGEST_S = 6 * 3600.0
PUBLISH_S = 600.0
"""Everything is stored then: a look whether the folder can be written costs nothing."""
FFMPEG_ATTEMPTS = 3
"""What ffmpeg fails at three times it fails at always, unless another ffmpeg is installed."""
UNKNOWN_ATTEMPTS = 6


def choose_retry_s(error: Exception, attempts: int) -> float | None:
    """
    Return the seconds to wait before attempt ``attempts`` + 1, or None: not before the file changes.

    One minute at first, twice as long each time, at most six hours; at least what the store asked for.
    """
    if isinstance(error, NotAVideo | SourceDamaged | ConfigError):
        return None
    if (
        isinstance(error, FfmpegError)
        and not isinstance(error, FfmpegMissing)
        and attempts >= FFMPEG_ATTEMPTS
    ):
        return None
    if not hasattr(error, "exit_code") and attempts >= UNKNOWN_ATTEMPTS:
        return None  # A fault of ours: the log has its traceback, and another dozen would say no more.
    wait_s = min(LONGEST_S, FIRST_S * 2.0 ** min(max(attempts - 1, 0), 20))
    if isinstance(error, SourceChanged):
        wait_s = FIRST_S
    if isinstance(error, PublishUnwritable):
        wait_s = min(wait_s, PUBLISH_S)
    if isinstance(error, StoreUnavailable) and error.retry_after_s is not None:
        wait_s = max(wait_s, error.retry_after_s)
    return wait_s


def stops_all(error: Exception) -> bool:
    """Tell whether other videos would fail of the same: the store, the disk, a missing ffmpeg."""
    return isinstance(error, StoreError | SpaceError | FfmpegMissing | CatalogUnusable)


def is_attempt(error: Exception) -> bool:
    """Tell whether the video was tried: nothing is wrong with one whose store is down."""
    return not stops_all(error) and not isinstance(error, PublishUnwritable)
