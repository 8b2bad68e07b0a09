# SPDX-License-Identifier: MIT
"""PURE. The names that a source file gets here: its video_id, and the base name it is published under."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import TYPE_CHECKING

from tgsyncd.errors import ConfigError
from tgsyncd.model import VideoId

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_video_id", "choose_video_id", "publish_name"]

VIDEO_ID_MAX = 100
VIDEO_ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")

# A file name may be 255 bytes. The longest ending that we put behind a base name is that of a subtitle
# (".pt-BR.99.forced.sdh.srt", 24 bytes) with a temporary file's affixes around it (".", ".part-" and 8
# digits, 15 bytes).
PUBLISH_NAME_MAX_BYTES = 255 - 24 - 15

_HASH_DIGITS = 8


def check_video_id(text: str) -> VideoId:
    """Return ``text`` as a video_id. Raises ConfigError when it is none."""
    if not VIDEO_ID_PATTERN.fullmatch(text):
        raise ConfigError(
            f"{text!r} is not a video id",
            hint="up to 100 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit",
        )
    return VideoId(text)


def choose_video_id(stem: str, path: str, is_taken: Callable[[VideoId], bool]) -> VideoId:
    """
    Make the video_id of a source file: ``Movie.mp4`` becomes ``movie``.

    ``stem`` is the file name without its suffix, ``path`` the absolute path. A name that is taken, or that
    has nothing a video_id may hold, gets a short hash of the path: stable for as long as the path is.
    """
    slug = _slug(stem)[:VIDEO_ID_MAX].rstrip("-._")
    if slug and not is_taken(VideoId(slug)):
        return VideoId(slug)
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()
    for digits in range(_HASH_DIGITS, len(digest)):
        head = slug[: VIDEO_ID_MAX - digits - 1].rstrip("-._")
        candidate = VideoId(f"{head}-{digest[:digits]}" if head else f"video-{digest[:digits]}")
        if not is_taken(candidate):
            return candidate
    raise ConfigError(f"every id for {path!r} is taken", hint="choose one with --video-id")


def publish_name(stem: str) -> str:
    """
    Return the base name under which a source file of this stem is published.

    NFC, no control characters (a newline would end the line of a log or playlist), no separators, no
    leading dot (hidden from Jellyfin), short enough for every ending; a shortened or changed-to-nothing
    name ends in a hash of the original.
    """
    clean = "".join(
        " " if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or char in "/\\" else char
        for char in unicodedata.normalize("NFC", stem)
    )
    clean = re.sub(r"\s+", " ", clean).strip().lstrip(".").strip()
    if clean and len(clean.encode()) <= PUBLISH_NAME_MAX_BYTES:
        return clean
    digest = hashlib.sha256(stem.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    head = clean.encode()[: PUBLISH_NAME_MAX_BYTES - _HASH_DIGITS - 1].decode("utf-8", "ignore")
    return f"{head.rstrip()}-{digest}" if head else f"video-{digest}"


def _slug(stem: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"-{2,}", "-", re.sub(r"[^a-z0-9._-]+", "-", ascii_only.lower())).strip("-._")
