# SPDX-License-Identifier: MIT
"""Small streams out of real ffmpeg for the tests of cutting, made once a run."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tgsyncd.model import Container

TS = ("-f", "mpegts", "-muxdelay", "0", "-muxpreload", "0")
ALL_INTRA = (*TS, "-mpegts_flags", "+pat_pmt_at_frames")
FMP4 = (
    *("-f", "mp4", "-strict", "-2", "-frag_duration", "1000000"),
    *("-movflags", "+frag_keyframe+empty_moov+delay_moov+frag_discont+default_base_moof"),
)
SOUND = ("-f", "lavfi", "-i", "sine=440:sample_rate=48000:duration=8")
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-sc_threshold", "0")


def picture(size: str = "160x90", rate: str = "25", seconds: int = 8) -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={seconds}")


# Name: container, and the arguments that make it. The codecs and structures that differ in cutting.
RECIPES: dict[str, tuple[str, ...]] = {
    "h264-closed.ts": (*picture(), *SOUND, *X264, "-g", "50", "-bf", "0", "-c:a", "aac", *TS),
    "h264-pyramid.ts": (
        *(*picture(rate="30000/1001"), *SOUND, *X264, "-g", "48", "-bf", "3"),
        *("-x264-params", "b-pyramid=normal:open-gop=0", "-c:a", "ac3", *TS),
    ),
    "h264-open.ts": (
        *(*picture(), *X264, "-preset", "veryfast", "-bf", "3"),
        *("-x264-params", "keyint=24:min-keyint=5:open-gop=1:b-adapt=0", *TS),
    ),
    "h264-intra.ts": (*picture(seconds=3), *SOUND, *X264, "-g", "1", "-c:a", "aac", *ALL_INTRA),
    "h264-one-key.ts": (*picture(), *SOUND, *X264, "-g", "9999", "-c:a", "mp3", *TS),
    "h264-silent.ts": (*picture(), *X264, "-g", "25", *TS),
    "h264-two-sounds.ts": (
        *(*picture(), *SOUND, *SOUND, "-map", "0", "-map", "1", "-map", "2"),
        *(*X264, "-g", "50", "-c:a:0", "eac3", "-c:a:1", "aac", *TS),
    ),
    "h264-late-picture.ts": (
        *("-itsoffset", "3", *picture(seconds=5), *SOUND, *X264, "-g", "25", "-c:a", "aac", *TS),
    ),
    "sound.ts": (*SOUND, "-c:a", "aac", *TS),
    "h264.mp4": (*picture(), *SOUND, *X264, "-g", "50", "-bf", "3", "-c:a", "aac", *FMP4),
    "h264-one-key.mp4": (*picture(), *SOUND, *X264, "-g", "9999", "-c:a", "ac3", *FMP4),
    "h264-intra.mp4": (*picture(seconds=3), *SOUND, *X264, "-g", "1", "-c:a", "flac", *FMP4),
    "hevc.mp4": (
        *(*picture(), *SOUND, "-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1"),
        *("-x265-params", "keyint=50:min-keyint=50:open-gop=0:pools=1:log-level=error"),
        *("-c:a", "eac3", *FMP4),
    ),
    "hevc-open.mp4": (
        *(*picture(), "-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1"),
        *("-x265-params", "keyint=24:min-keyint=24:open-gop=1:bframes=3:b-adapt=0:pools=1:log-level=error"),
        *FMP4,
    ),
    "av1.mp4": (
        *(*picture(seconds=4), *SOUND, "-c:v", "libsvtav1", "-preset", "12", "-g", "25"),
        *("-svtav1-params", "lp=1", "-c:a", "libopus", *FMP4),
    ),
    "vp9.mp4": (
        *(*picture(seconds=4), *SOUND, "-c:v", "libvpx-vp9", "-deadline", "realtime"),
        *("-cpu-used", "8", "-g", "25", "-keyint_min", "25", "-c:a", "libopus", *FMP4),
    ),
    "sound.mp4": (*SOUND, "-c:a", "aac", *FMP4),
    "late-sound.mp4": (
        *(*picture(), "-itsoffset", "3", "-f", "lavfi", "-i", "sine=440:duration=5"),
        *(*X264, "-g", "25", "-c:a", "aac", *FMP4),
    ),
}


def container(name: str) -> Container:
    return Container.MPEGTS if name.endswith(".ts") else Container.FMP4


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tgsyncd-cut-")


@cache
def clip(name: str) -> Path:
    """Return a file with what ffmpeg wrote to its pipe."""
    path = Path(_directory().name) / name
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-y", *RECIPES[name], "pipe:1"]
    with path.open("wb") as file:
        # Through a real pipe: ffmpeg writes other bytes into what it can seek in.
        child = subprocess.run(argv, stdout=subprocess.PIPE, check=True, timeout=120)
        file.write(child.stdout)
    return path


@cache
def packets(name: str, kind: str) -> tuple[tuple[float, float, bool], ...]:
    """Return start, duration and key flag of a stream's packets, as ffprobe sees them."""
    fields = "packet=pts_time,duration_time,flags"
    argv = ["ffprobe", "-v", "error", "-select_streams", kind, "-show_entries", fields]
    out = subprocess.run(
        [*argv, "-of", "json", str(clip(name))], capture_output=True, check=True, timeout=60
    ).stdout
    return tuple(
        (float(p["pts_time"]), float(p.get("duration_time", 0)), "K" in p["flags"])
        for p in json.loads(out)["packets"]
    )


def decode_errors(data: bytes) -> str:
    """Return what ffmpeg complains of when it decodes ``data``."""
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-i", "pipe:0", "-f", "null", "-"]
    argv.remove("-nostdin")
    return subprocess.run(argv, input=data, capture_output=True, check=False, timeout=60).stderr.decode()
