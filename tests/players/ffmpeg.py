# SPDX-License-Identifier: MIT
"""ffprobe and ffmpeg as a player: what Jellyfin's server, Kodi and most Android applications are built on.

Debian: ``ffmpeg``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tests.players.process import Deadline, PlayerFailure, run
from tests.players.report import (
    Findings,
    PlayReport,
    SeekReport,
    find_gap,
    seek_targets,
    watch,
)

PLAYER = "ffmpeg"

# ffmpeg seeks to the key frame before and decodes to the very picture: a second is many pictures of slack.
SEEK_SLACK_S = 1.0
# The last picture starts one picture's length before the end, and sound may be a little longer than pictures.
END_SLACK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """Presentation times of the decoded pictures, from the stream's start, and the complaints."""

    times_s: tuple[float, ...]
    errors: tuple[str, ...]


def play(url: str, *, duration_s: float, timeout_s: float) -> PlayReport:
    """Probe, decode everything, then decode from the middle and from the last ten seconds to the end."""

    def session(findings: Findings, deadline: Deadline) -> None:
        start_s = _probe(url, duration_s=duration_s, findings=findings, deadline=deadline)
        whole = _decode(url, from_s=None, start_s=start_s, deadline=deadline)
        findings.frames = len(whole.times_s)
        findings.played = bool(whole.times_s)
        _judge(findings, whole)
        findings.whole = _ended(whole, duration_s)
        ends = [findings.whole]
        for target_s in seek_targets(duration_s):
            rest = _decode(url, from_s=target_s, start_s=start_s, deadline=deadline)
            _judge(findings, rest)
            arrived_s = min(rest.times_s, default=None)
            ok = arrived_s is not None and abs(arrived_s - target_s) <= SEEK_SLACK_S
            findings.seeks.append(SeekReport(target_s=target_s, arrived_s=arrived_s, ok=ok))
            ends.append(_ended(rest, duration_s))
        findings.reached_end = all(ends)

    return watch(PLAYER, timeout_s=timeout_s, session=session)


def count_pictures(path: Path, *, deadline: Deadline) -> tuple[int, tuple[str, ...]]:
    """Decode a file; return how many pictures there are, and the complaints."""
    decoded = _decode(str(path), from_s=None, start_s=0.0, deadline=deadline)
    return len(decoded.times_s), decoded.errors


def _judge(findings: Findings, decoded: _Decoded) -> None:
    findings.complain(decoded.errors)
    if gap := find_gap(decoded.times_s):
        findings.complain([gap])


def _ended(decoded: _Decoded, duration_s: float) -> bool:
    return max(decoded.times_s, default=0.0) >= duration_s - END_SLACK_S


def _probe(url: str, *, duration_s: float, findings: Findings, deadline: Deadline) -> float:
    """Give the stream's start time; complain of a duration that is not the expected one."""
    entries = "format=start_time,duration:stream=codec_type"
    argv = ["ffprobe", "-v", "error", "-show_entries", entries, "-of", "json", url]
    exit_code, out, err = run(argv, deadline=deadline, what="ffprobe")
    findings.complain(f"ffprobe: {line}" for line in err.splitlines())
    if exit_code != 0:
        raise PlayerFailure(f"ffprobe ended with exit code {exit_code}")
    probed = json.loads(out)
    found_s = float(probed["format"].get("duration", "nan"))
    if not abs(found_s - duration_s) <= END_SLACK_S:
        findings.complain([f"ffprobe: duration {found_s} s instead of {duration_s} s"])
    return float(probed["format"].get("start_time", 0))


def _decode(url: str, *, from_s: float | None, start_s: float, deadline: Deadline) -> _Decoded:
    """Decode pictures and sound.

    Passthrough, so that no picture is dropped or doubled on the way to be counted.
    """
    seek = [] if from_s is None else ["-ss", f"{from_s:.3f}"]
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-copyts", *seek, "-i", url]
    argv += ["-map", "0:v:0", "-map", "0:a:0?", "-c:v", "rawvideo", "-c:a", "pcm_s16le"]
    argv += ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "framecrc", "pipe:1"]
    exit_code, out, err = run(argv, deadline=deadline, what=f"ffmpeg from {from_s or 0:.0f} s on")
    errors = err.splitlines()
    if exit_code != 0:
        errors.append(f"ffmpeg ended with exit code {exit_code}")
    times_s = tuple(time_s - start_s for time_s in parse_framecrc_times(out))
    return _Decoded(times_s=times_s, errors=tuple(errors))


def parse_framecrc_times(text: str) -> list[float]:
    """Give the presentation times, in seconds, of stream 0 in what ``-f framecrc`` writes."""
    time_base = Fraction(1)
    times_s: list[float] = []
    for line in text.splitlines():
        if line.startswith("#tb 0:"):
            time_base = Fraction(line.partition(":")[2].strip())
        elif line.startswith("0,"):
            times_s.append(float(int(line.split(",")[2]) * time_base))
    return times_s
