# SPDX-License-Identifier: MIT
"""GStreamer's playbin (hlsdemux) and playbin3 (hlsdemux2): what GNOME's players and WebKitGTK are built on.

Both stand in Debian 12's GStreamer 1.22 and demultiplex HLS with different code, so both must play.
Debian: ``gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav
python3-gi gir1.2-gstreamer-1.0``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.players.process import Deadline, PlayerFailure, run
from tests.players.report import (
    Findings,
    PlayReport,
    SeekReport,
    find_gap,
    seek_targets,
    watch,
)

PLAYER = "gstreamer"
ELEMENTS = ("playbin", "playbin3")

# Seeks are asked to be accurate: the picture shown is the one asked for, give or take its length.
SEEK_SLACK_S = 1.0
END_SLACK_S = 1.0

_SESSION = Path(__file__).with_name("gst_session.py")


def play(url: str, *, duration_s: float, timeout_s: float) -> PlayReport:
    """Play with both elements; the report holds what both achieved, and the seeks of both."""

    def session(findings: Findings, deadline: Deadline) -> None:
        parts = [Findings() for _ in ELEMENTS]
        for element, part in zip(ELEMENTS, parts, strict=True):
            _play_with(element, url, duration_s=duration_s, findings=part, deadline=deadline)
            findings.complain(f"{element}: {error}" for error in part.errors)
            findings.seeks += part.seeks
        findings.played = all(part.played for part in parts)
        findings.whole = all(part.whole for part in parts)
        findings.reached_end = all(part.reached_end for part in parts)
        findings.frames = min(part.frames or 0 for part in parts)

    return watch(PLAYER, timeout_s=timeout_s, session=session)


def _play_with(element: str, url: str, *, duration_s: float, findings: Findings, deadline: Deadline) -> None:
    targets_s = seek_targets(duration_s)
    seen = _run_session(element, url, targets_s=targets_s, deadline=deadline)
    findings.frames = len(seen["whole_s"])
    findings.played = findings.frames > 0
    findings.complain(seen["errors"])
    for times_s in (seen["whole_s"], seen["after_seek_s"]):
        findings.complain(filter(None, [find_gap(times_s)]))
    for target_s, arrived_s in zip(targets_s, seen["arrived_s"], strict=False):
        ok = arrived_s is not None and abs(arrived_s - target_s) <= SEEK_SLACK_S
        findings.seeks.append(SeekReport(target_s=target_s, arrived_s=arrived_s, ok=ok))
    ends = [
        came and max(seen[name], default=0.0) >= duration_s - END_SLACK_S
        for came, name in zip(seen["ends"], ("whole_s", "after_seek_s"), strict=False)
    ]
    findings.whole = ends[:1] == [True]
    findings.reached_end = ends == [True, True]


def _run_session(
    element: str, url: str, *, targets_s: tuple[float, ...], deadline: Deadline
) -> dict[str, Any]:
    # The session's own bound comes first, so that it can still say what it waited for.
    bound_s = deadline.left_s(element) * 0.8
    argv = ["/usr/bin/python3", str(_SESSION), element, url, f"{bound_s:.1f}"]
    argv += [f"{target_s:.3f}" for target_s in targets_s]
    exit_code, out, err = run(argv, deadline=deadline, what=element)
    lines = out.splitlines()
    if not lines:  # playbin3 ends in an assertion on some broken streams
        last = (err.splitlines() or ["silence"])[-1]
        raise PlayerFailure(f"{element} ended with exit code {exit_code}: {last}")
    seen: dict[str, Any] = json.loads(lines[-1])
    return seen
