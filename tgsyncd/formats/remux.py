# SPDX-License-Identifier: MIT
"""ffmpeg's command line that makes one ordinary file of stored streams (PURE)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from tgsyncd.formats.ffmpeg import FORMAT_WHITELIST
from tgsyncd.formats.languages import language_alpha3

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tgsyncd.model import Chapter, PlannedStream

__all__ = ["MUXERS", "FileFormat", "build_remux_argv", "render_ffmetadata"]

FileFormat = Literal["mkv", "mp4"]

MUXERS: Final = {"mkv": "matroska", "mp4": "mp4"}


def build_remux_argv(
    inputs: Sequence[Path],
    sounds: Sequence[PlannedStream],
    target: Path,
    file_format: FileFormat,
    *,
    chapters: Path | None = None,
) -> list[str]:
    """
    Return the command that copies the streams of all inputs, in order, into one file.

    ``sounds`` are what the plan says of the sound tracks, in order: languages and titles that MPEG-TS and
    single tracks do not carry. Packets are copied; nothing is encoded.
    """
    argv = ["ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-v", "level+warning", "-y"]
    for path in inputs:
        argv += ["-protocol_whitelist", "file", "-format_whitelist", FORMAT_WHITELIST, "-i", f"file:{path}"]
    if chapters is not None:
        argv += ["-protocol_whitelist", "file", "-f", "ffmetadata", "-i", f"file:{chapters}"]
    for index in range(len(inputs)):
        argv += ["-map", f"{index}:v?", "-map", f"{index}:a?"]
    argv += [
        "-c",
        "copy",
        "-map_metadata:g",
        "-1",
        "-map_chapters",
        "-1" if chapters is None else str(len(inputs)),
    ]
    for index, sound in enumerate(sounds):
        if sound.language:
            argv += [
                f"-metadata:s:a:{index}",
                f"language={language_alpha3(sound.language) or sound.language}",
            ]
        if sound.title:
            argv += [f"-metadata:s:a:{index}", f"title={sound.title}"]
        argv += [f"-disposition:a:{index}", "default" if sound.is_default else "0"]
    if file_format == "mp4":
        argv += ["-movflags", "+faststart", "-strict", "-2"]
    return [*argv, "-f", MUXERS[file_format], f"file:{target}"]


def render_ffmetadata(chapters: Sequence[Chapter]) -> str:
    """Return chapters as ffmpeg's metadata text (https://ffmpeg.org/ffmpeg-formats.html#Metadata-2)."""
    lines = [";FFMETADATA1"]
    for chapter in chapters:
        lines += ["[CHAPTER]", "TIMEBASE=1/1000"]
        lines += [f"START={round(chapter.start_s * 1000)}", f"END={round(chapter.end_s * 1000)}"]
        if chapter.title:
            lines.append(f"title={_escape(chapter.title)}")
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    """Put a backslash before what means something there."""
    return "".join(f"\\{each}" if each in "=;#\\\n" else each for each in text)
