# SPDX-License-Identifier: MIT
"""A whole tgsyncd in a folder: configuration, application, server; and eyes to look at what it serves."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tgsyncd.config.schema import Config
from tgsyncd.daemon import Application, UploadOptions


def make_config(folder: Path, **sections) -> Config:
    """A configuration that keeps everything below ``folder`` and serves on a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Config.model_validate(
        {
            "data_dir": folder / "data",
            "cache_dir": folder / "cache",
            "publish": {"directory": folder / "library"},
            "server": {
                "listen": "127.0.0.1",
                "port": port,
                "public_urls": [f"http://127.0.0.1:{port}"],
            },
            "video": {"threads": 2},
            **sections,
        }
    )


@asynccontextmanager
async def running(config: Config, *, listen: bool = True):
    """An open Application, which serves unless told not to."""
    app = await Application.open(reactor, config)
    try:
        if listen:
            await app.listen(host=config.server.listen, port=config.server.port)
        yield app
    finally:
        await app.close()


async def upload(app: Application, *paths: Path, **options):
    """Upload and return the outcomes."""
    return await app.upload(paths, options=UploadOptions(**options), progress=lambda _: None)


async def in_thread(function, *args, **kwargs):
    """Run something that blocks while the reactor serves."""
    return await deferToThread(function, *args, **kwargs)


def run(argv, **kwargs) -> subprocess.CompletedProcess:
    """Run a program to its end, with a bound."""
    return subprocess.run(
        argv,
        capture_output=True,
        timeout=kwargs.pop("timeout", 180),
        check=False,
        stdin=subprocess.DEVNULL,
        **kwargs,
    )


@dataclass(frozen=True)
class Packets:
    """What a player gets: packet times by kind, in seconds."""

    video_pts: tuple[float, ...]
    video_keys: tuple[bool, ...]
    audio_pts: tuple[float, ...]
    last_end_s: float

    @property
    def first_key_s(self) -> float:
        return next((pts for pts, key in zip(self.video_pts, self.video_keys, strict=True) if key), 0.0)

    @property
    def frames_from_first_key(self) -> int:
        first = self.video_keys.index(True) if True in self.video_keys else 0
        return len(self.video_pts) - first


def probe_packets(target: str) -> Packets:
    """Read all packets of a file or URL; cover pictures are passed over."""
    entries = "stream=index,codec_type,avg_frame_rate:stream_disposition=attached_pic"
    entries += ":packet=stream_index,pts_time,dts_time,duration_time,flags"
    genpts = [] if target.startswith("http") else ["-fflags", "+genpts"]
    answer = run(["ffprobe", "-v", "error", "-of", "json", "-show_entries", entries, *genpts, target])
    document = json.loads(answer.stdout or b"{}")
    kinds: dict[int, str] = {}
    frame_s: dict[int, float] = {}
    for stream in document.get("streams", []):
        kind = stream.get("codec_type")
        if kind == "video" and (
            stream.get("disposition", {}).get("attached_pic") or "video" in kinds.values()
        ):
            continue
        if kind == "audio" and "audio" in kinds.values():
            continue
        if kind in {"video", "audio"}:
            kinds[stream["index"]] = kind
            rate = Fraction(stream.get("avg_frame_rate", "0/1").replace("/0", "/1") or 0)
            frame_s[stream["index"]] = float(1 / rate) if rate and kind == "video" else 0.0
    video, keys, audio, end = [], [], [], 0.0
    for packet in document.get("packets", []):
        kind = kinds.get(packet["stream_index"])
        at = packet.get("pts_time", packet.get("dts_time"))
        if kind is None or at is None:
            continue
        duration = float(packet.get("duration_time") or frame_s[packet["stream_index"]])
        end = max(end, float(at) + duration)
        if kind == "video":
            video.append(float(at))
            keys.append("K" in packet.get("flags", ""))
        else:
            audio.append(float(at))
    return Packets(tuple(video), tuple(keys), tuple(audio), end)


# ffmpeg's null muxer counts in frames: Matroska's milliseconds, rounded to 1/24 s, collide there and it
# complains of the source file as well. In units of 90 kHz nothing collides that is not equal.
EXACT_TIMES = ["-fps_mode", "passthrough", "-enc_time_base:v", "1:90000"]


def decode_errors(url: str) -> str:
    """Decode everything behind a URL; return what ffmpeg complains about."""
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-i", url, "-map", "0:v?", "-map", "0:a?", *EXACT_TIMES]
    answer = run([*argv, "-f", "null", "-"])
    exit_code = "" if answer.returncode == 0 else f"exit {answer.returncode}"
    return answer.stderr.decode(errors="replace") + exit_code


def sound_behind_picture_s(target: str) -> float | None:
    """
    Time of the first sound heard less that of the first picture shown; None where one is missing.

    Decoded, because a container such as AVI has decoding times only and a decoder drops priming.
    """
    argv = ["ffmpeg", "-nostdin", "-v", "info", "-i", target, "-map", "0:V:0?", "-map", "0:a:0?"]
    # Both in one run and to the end: alone, or cut short, ffmpeg lets the sound of an HLS stream begin at 0.
    answer = run([*argv, "-vf", "showinfo", "-af", "ashowinfo", *EXACT_TIMES, "-f", "null", "-"])
    text = answer.stderr.decode(errors="replace")
    first = dict(re.findall(r"Parsed_(a?)showinfo_0 @ \w+\] n: *0 .*?pts_time:(\S+)", text))
    return float(first["a"]) - float(first[""]) if len(first) == 2 else None


def format_duration(url: str) -> float:
    """The duration that a player shows."""
    answer = run(["ffprobe", "-v", "error", "-of", "json", "-show_entries", "format=duration", url])
    return float(json.loads(answer.stdout)["format"]["duration"])
