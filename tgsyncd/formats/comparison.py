# SPDX-License-Identifier: MIT
"""
PURE: show that what plays is what was stored, by ffmpeg's own account.

The same question is put to the source file and to the playlist's URL: which packets has the picture? Equal
numbers and an equal length mean that nothing was lost or doubled at any seam between segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.formats.ffmpeg import FORMAT_WHITELIST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_DIFFERENCE_S = 0.05
"""Two frames at 40 per second: less than anybody sees, more than what clocks of 1/90000 s round away."""
MAX_TRANSCODED_DIFFERENCE_S = 0.1
"""An encoder may add or drop a frame at either end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSummary:
    """The picture of one file or URL, from its first key frame on."""

    codec: str
    frames: int
    length_s: float


def build_clip_argv(path: Path, *, duration_s: int) -> list[str]:
    """Return the command that makes a test picture with a tone: H.264 and AAC, a key frame every 2 s."""
    picture = f"testsrc2=size=1280x720:rate=25:duration={duration_s}"
    tone = f"sine=frequency=440:beep_factor=4:sample_rate=48000:duration={duration_s}"
    return [
        *("ffmpeg", "-hide_banner", "-v", "error", "-nostdin", "-y"),
        *("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone),
        *("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "50", "-crf", "24"),
        *("-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart", "-f", "mp4", f"file:{path}"),
    ]


def build_file_packets_argv(path: Path) -> list[str]:
    """Return the command that lists the picture's packets of a source file."""
    options = ("-protocol_whitelist", "file", "-format_whitelist", FORMAT_WHITELIST)
    return [*_PACKETS, *options, "-i", f"file:{path}"]


def build_url_packets_argv(url: str) -> list[str]:
    """Return the command that lists the picture's packets of a playlist."""
    return [*_PACKETS, "-protocol_whitelist", "http,https,tcp,tls", "-i", url]


def build_decode_argv(url: str) -> list[str]:
    """Return the command that decodes everything and says only what is wrong."""
    return [
        *("ffmpeg", "-hide_banner", "-v", "error", "-nostdin"),
        *("-protocol_whitelist", "http,https,tcp,tls", "-i", url),
        *("-map", "0:v?", "-map", "0:a?", "-f", "null", "-"),
    ]


_PACKETS = (
    *("ffprobe", "-hide_banner", "-v", "error", "-select_streams", "v:0", "-of", "csv"),
    *("-show_entries", "packet=pts_time,duration_time,flags:stream=codec_name"),
)


def summarise_packets(csv: str) -> PictureSummary:
    """Read what ``build_file_packets_argv`` and ``build_url_packets_argv`` print."""
    codec, frames, begin_s, end_s = "", 0, 0.0, 0.0
    for line in csv.splitlines():
        fields = line.strip().split(",")
        if fields[0] == "stream" and len(fields) > 1:
            codec = fields[1]
        elif fields[0] == "packet" and len(fields) > 3:
            pts_s, duration_s = _seconds(fields[1]), _seconds(fields[2])
            # Pictures before the first key frame cannot be shown by anybody.
            if pts_s is None or (not frames and not fields[3].startswith("K")):
                continue
            begin_s = min(begin_s, pts_s) if frames else pts_s
            end_s = max(end_s, pts_s + (duration_s or 0.0)) if frames else pts_s + (duration_s or 0.0)
            frames += 1
    return PictureSummary(codec=codec, frames=frames, length_s=end_s - begin_s)


def compare(source: PictureSummary, played: PictureSummary) -> Sequence[str]:
    """Return in which ways what plays is not what was stored; empty when it is."""
    problems = []
    is_copy = source.codec == played.codec
    limit_s = MAX_DIFFERENCE_S if is_copy else MAX_TRANSCODED_DIFFERENCE_S
    if not played.frames:
        return ["nothing plays"]
    if is_copy and source.frames != played.frames:
        problems.append(f"the source has {source.frames} frames, {played.frames} play")
    if abs(source.length_s - played.length_s) > limit_s:
        problems.append(f"the source is {source.length_s:.3f} s long, {played.length_s:.3f} s play")
    return problems


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
