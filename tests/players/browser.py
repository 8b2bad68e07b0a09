# SPDX-License-Identifier: MIT
"""Headless Chromium on a page with a player: hls.js, or the browser's own HLS.

Debian: ``chromium``, ``nodejs``; npm: ``playwright-core`` (package.json). The page is ours
(``/play/<video_id>``) or any other with ``<video id="video">`` and, for trouble, ``<div id="trouble">``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tests.players.process import Deadline, PlayerFailure, run, scratch_directory
from tests.players.report import PlayReport, SeekReport

SCRIPT = Path(__file__).with_name("browser.mjs")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserReport:
    """What the browser made of the page.

    ``buffered`` are the ranges, in seconds, that the browser had at the end;
    ``player`` is ``hls.js`` or ``native``; ``trouble`` is what the page told its viewer; ``errors`` what went
    wrong behind it: script errors, answers of 400 and more, and where the session stopped.
    """

    player: str | None
    played: bool
    ended: bool
    duration_s: float | None
    width: int
    height: int
    frames: int
    dropped: int
    buffered: tuple[tuple[float, float], ...]
    seeks: tuple[SeekReport, ...]
    trouble: str
    errors: tuple[str, ...]
    requests: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Say whether everything that a viewer does worked, without a complaint."""
        sought = len(self.seeks) == 2 and all(seek.ok for seek in self.seeks)
        return self.played and self.ended and sought and not self.errors and not self.trouble


def play_in_chromium(
    page_url: str,
    timeout_s: float,
    *,
    screenshot: Path | None = None,
    player: str | None = None,
    whole: bool = False,
) -> BrowserReport:
    """Play, seek to the middle and to the last ten seconds, reach the end; blocking.

    With ``whole`` play all of it, without a seek.

    ``player`` asks our page for ``native`` or ``hls.js`` instead of what it would choose. Raises
    `PlayerFailure` only when the browser itself could not be run.
    """
    with scratch_directory() as profile:
        argv = ["node", str(SCRIPT), page_url, "--profile", str(profile / "profile")]
        argv += ["--timeout", str(round(timeout_s * 1000))]
        argv += ["--screenshot", str(screenshot)] if screenshot else []
        argv += ["--player", player] if player else []
        argv += ["--whole"] if whole else []
        # The script ends by itself; the rest is for the browser to start and to go.
        code, out, err = run(argv, deadline=Deadline(timeout_s + 30), what="the browser")
    lines = out.strip().splitlines()
    if code != 0 or not lines:
        raise PlayerFailure(f"the browser did not run ({code}): {err[-500:]}")
    found = json.loads(lines[-1])
    found["seeks"] = tuple(SeekReport(**seek) for seek in found["seeks"])
    found["buffered"] = tuple(tuple(each) for each in found["buffered"])
    found["errors"], found["requests"] = tuple(found["errors"]), tuple(found["requests"])
    return BrowserReport(**found)


def watch_page(page_url: str, *, duration_s: float, timeout_s: float) -> PlayReport:
    """Play all of the film of a page, without a seek, and count its pictures: those that were decoded."""
    return _report(page_url, duration_s, timeout_s, whole=True)


def play_page(page_url: str, *, duration_s: float, timeout_s: float) -> PlayReport:
    """Answer like the other drivers; ``page_url`` is a page, not a playlist."""
    return _report(page_url, duration_s, timeout_s, whole=False)


def _report(page_url: str, duration_s: float, timeout_s: float, *, whole: bool) -> PlayReport:
    try:
        seen = play_in_chromium(page_url, timeout_s, whole=whole)
    except PlayerFailure as failure:
        return PlayReport(
            player="chromium", played=False, reached_end=False, seeks=(), frames=None, errors=(str(failure),)
        )
    errors = list(seen.errors) + ([seen.trouble] if seen.trouble else [])
    if seen.duration_s is not None and abs(seen.duration_s - duration_s) > 1:
        errors.append(f"lasts {seen.duration_s:.2f} s, not {duration_s:.2f} s")
    if whole and len(seen.buffered) != 1:
        errors.append(f"holes in what was buffered: {seen.buffered}")
    return PlayReport(
        player="chromium",
        played=seen.played,
        whole=whole and seen.ended,
        reached_end=seen.ended,
        seeks=seen.seeks,
        frames=seen.frames if whole else None,
        errors=tuple(errors),
    )
