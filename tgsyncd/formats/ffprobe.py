# SPDX-License-Identifier: MIT
"""
ffprobe's JSON as frozen values (PURE).

ffprobe leaves out what it does not know, writes numbers as strings, and says ``N/A`` or ``0/0``: every
field is read defensively, because the file behind it was written by anybody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from tgsyncd.errors import FfmpegError
from tgsyncd.model import (
    AudioStream,
    Chapter,
    Colour,
    MediaProbe,
    OtherStream,
    SubtitleStream,
    VideoStream,
)

__all__ = ["parse_probe"]

_Json = Mapping[str, Any]

_PICTURES: Final = ("attached_pic", "timed_thumbnails", "still_image")
"""Dispositions of a video stream that is a picture, not the film."""


def parse_probe(json_bytes: bytes) -> MediaProbe:
    """
    Return what ``build_probe_argv``'s ffprobe wrote to its standard output.

    Raises
        FfmpegError when that is not ffprobe's JSON.
    """
    try:
        answer = json.loads(json_bytes.decode("utf-8", "replace"))
        format_: _Json = answer["format"]
        streams: list[_Json] = sorted(answer.get("streams", []), key=lambda stream: stream["index"])
        return MediaProbe(
            format_name=str(format_.get("format_name", "")),
            duration_s=_number(format_.get("duration")),
            start_s=_number(format_.get("start_time")) or 0.0,
            size_bytes=_integer(format_.get("size")) or 0,
            bit_rate=_integer(format_.get("bit_rate")),
            video=tuple(_video(s) for s in streams if _kind(s) == "video"),
            audio=tuple(_audio(s) for s in streams if _kind(s) == "audio"),
            subtitles=tuple(_subtitle(s) for s in streams if _kind(s) == "subtitle"),
            others=tuple(_other(s) for s in streams if _kind(s) not in {"video", "audio", "subtitle"}),
            chapters=tuple(_chapter(c) for c in answer.get("chapters", [])),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FfmpegError(
            f"ffprobe's answer cannot be read: {error!r}.",
            hint="is this an unusual ffprobe? tgsyncd doctor tells its version",
        ) from error


def _kind(stream: _Json) -> str:
    kind = str(stream.get("codec_type", "unknown"))
    if kind == "video":
        disposition: _Json = stream.get("disposition", {})
        return next((name for name in _PICTURES if disposition.get(name)), kind)
    return kind


def _video(stream: _Json) -> VideoStream:
    pixel_format = _text(stream.get("pix_fmt"))
    return VideoStream(
        index=int(stream["index"]),
        codec=_codec(stream),
        profile=_text(stream.get("profile")),
        level=_integer(stream.get("level")),
        width=_integer(stream.get("width")) or 0,
        height=_integer(stream.get("height")) or 0,
        pixel_format=pixel_format,
        bit_depth=_bit_depth(pixel_format),
        frame_rate=_fraction(stream.get("avg_frame_rate")) or _fraction(stream.get("r_frame_rate")),
        sample_aspect_ratio=_fraction(stream.get("sample_aspect_ratio")),
        rotation=_rotation(stream),
        field_order=_text(stream.get("field_order")),
        has_b_frames=bool(_integer(stream.get("has_b_frames"))),
        colour=Colour(
            primaries=_text(stream.get("color_primaries")),
            transfer=_text(stream.get("color_transfer")),
            matrix=_text(stream.get("color_space")),
            range=_text(stream.get("color_range")),
        ),
        bit_rate=_integer(stream.get("bit_rate")),
        start_s=_number(stream.get("start_time")),
        language=_tag(stream, "language"),
        title=_tag(stream, "title"),
        is_default=_is(stream, "default"),
    )


def _audio(stream: _Json) -> AudioStream:
    return AudioStream(
        index=int(stream["index"]),
        codec=_codec(stream),
        profile=_text(stream.get("profile")),
        channels=_integer(stream.get("channels")) or 0,
        channel_layout=_text(stream.get("channel_layout")),
        sample_rate=_integer(stream.get("sample_rate")) or 0,
        bit_rate=_integer(stream.get("bit_rate")),
        start_s=_number(stream.get("start_time")),
        language=_tag(stream, "language"),
        title=_tag(stream, "title"),
        is_default=_is(stream, "default"),
    )


def _subtitle(stream: _Json) -> SubtitleStream:
    return SubtitleStream(
        index=int(stream["index"]),
        codec=_codec(stream),
        language=_tag(stream, "language"),
        title=_tag(stream, "title"),
        is_default=_is(stream, "default"),
        is_forced=_is(stream, "forced"),
        is_hearing_impaired=_is(stream, "hearing_impaired") or _is(stream, "captions"),
    )


def _other(stream: _Json) -> OtherStream:
    return OtherStream(
        index=int(stream["index"]),
        kind=_kind(stream),
        codec=_codec(stream),
        filename=_tag(stream, "filename"),
    )


def _chapter(chapter: _Json) -> Chapter:
    return Chapter(
        start_s=_number(chapter.get("start_time")) or 0.0,
        end_s=_number(chapter.get("end_time")) or 0.0,
        title=_tag(chapter, "title"),
    )


def _codec(stream: _Json) -> str:
    return str(stream.get("codec_name") or "unknown")


def _is(stream: _Json, disposition: str) -> bool:
    return bool(stream.get("disposition", {}).get(disposition))


def _tag(holder: _Json, name: str) -> str | None:
    # Matroska files carry tags in any case, such as "LANGUAGE".
    tags = {key.lower(): value for key, value in holder.get("tags", {}).items()}
    return _text(tags.get(name))


def _text(value: object) -> str | None:
    text = str(value).strip() if value is not None else ""
    return None if text in {"", "unknown", "und", "N/A"} else text


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None


def _integer(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _fraction(value: object) -> Fraction | None:
    """Return ``24000/1001`` or ``1:1`` as a fraction; None when unknown (``0/0``, ``0:1``)."""
    match = re.fullmatch(r"(\d+)[/:](\d+)", str(value))
    if match is None or not int(match[1]) or not int(match[2]):
        return None
    return Fraction(int(match[1]), int(match[2]))


def _bit_depth(pixel_format: str | None) -> int:
    """Return the bits per sample that a pixel format's name tells: yuv420p10le, p010le, gray12le."""
    match = re.search(r"(?:p|gray|rgb|gbrap|bayer)0?(9|10|12|14|16)(?:le|be)?$", pixel_format or "")
    return int(match[1]) if match else 8


def _rotation(stream: _Json) -> int:
    """Return how far the picture is to be turned, in degrees 0..359 as in the display matrix."""
    for side_data in stream.get("side_data_list", []):
        rotation = _number(side_data.get("rotation"))
        if rotation is not None:
            return round(rotation) % 360
    return 0
