# SPDX-License-Identifier: MIT
"""Which player plays which packaging, written down before any test runs.

A test that does not play something says so here, with the reason, and not by being skipped. The
versions are Debian 12's: ffmpeg 5.1.9, mpv 0.35.1, VLC 3.0.24, GStreamer 1.22.0, and Chromium with
hls.js. The drivers' own tests hold the table to be true against a plain static HLS directory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tests.players import ffmpeg, gstreamer, mpv, vlc
from tests.players.report import Play, PlayReport

CHROMIUM = "chromium"

# The players whose drivers take a playlist's URL; Chromium's takes a page's (browser.py).
DRIVERS: Mapping[str, Play] = MappingProxyType(
    {module.PLAYER: module.play for module in (ffmpeg, mpv, vlc, gstreamer)}
)
PLAYERS = (*DRIVERS, CHROMIUM)

H264_TS = "H.264 TS"
H264_FMP4 = "H.264 fMP4"
AV1_FMP4 = "AV1 fMP4"
VP9_FMP4 = "VP9 fMP4"
HEVC_FMP4 = "HEVC fMP4"
PACKAGINGS = (H264_TS, H264_FMP4, AV1_FMP4, VP9_FMP4, HEVC_FMP4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a player does with a packaging; ``reason`` says why where it does not do everything."""

    plays: bool = True
    seeks: bool = True
    reason: str = ""

    def __str__(self) -> str:
        """Give the words of the table."""
        if not self.plays:
            return f"cannot: {self.reason}"
        return "plays" if self.seeks else f"plays, cannot seek: {self.reason}"

    def contradiction(self, report: PlayReport) -> str | None:
        """Say in which way a report is not what was expected; None when it is.

        A player that seeks although it was not expected to is a newer one, and no contradiction.
        """
        if not self.plays:
            return f"{report.player} plays what it cannot" if report.played else None
        good = report.good if self.seeks else report.played and report.whole and not report.errors
        return None if good else f"expected that {report.player} {self}, but: {report}"


PLAYS = Expectation()

# Seen with 5.1.9: after a seek the right segments are fetched to the last, and not one packet comes
# out of them, whoever wrote and serves them. Merged upstream in November 2024 (the thread is
# mpv-player/mpv#13211); FFmpeg 8.1.2 seeks in the same streams. The same bytes as one file with Range
# seek in 5.1.9 too.
NO_SEEK_IN_FMP4 = Expectation(
    seeks=False, reason="FFmpeg 5.1 finds nothing after a seek in fMP4 HLS; newer ones do"
)
NO_HEVC = Expectation(plays=False, reason="Debian's Chromium is built without an HEVC decoder")

_EXCEPTIONS: Mapping[tuple[str, str], Expectation] = {
    **{
        (player, packaging): NO_SEEK_IN_FMP4
        for player in (ffmpeg.PLAYER, mpv.PLAYER)
        for packaging in PACKAGINGS
        if packaging != H264_TS
    },
    (CHROMIUM, HEVC_FMP4): NO_HEVC,
}

MATRIX: Mapping[tuple[str, str], Expectation] = MappingProxyType(
    {
        (player, packaging): _EXCEPTIONS.get((player, packaging), PLAYS)
        for packaging in PACKAGINGS
        for player in PLAYERS
    }
)


def render_matrix() -> str:
    """Give the table in Markdown: a row a packaging, a column a player, the reasons beneath."""
    reasons = list(dict.fromkeys(each.reason for each in MATRIX.values() if each.reason))
    lines = [f"| packaging | {' | '.join(PLAYERS)} |", "| --- " * (len(PLAYERS) + 1) + "|"]
    for packaging in PACKAGINGS:
        cells = (_cell(MATRIX[player, packaging], reasons) for player in PLAYERS)
        lines.append(f"| {packaging} | {' | '.join(cells)} |")
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    return "\n".join([*lines, "", *notes, ""])


def _cell(expectation: Expectation, reasons: list[str]) -> str:
    if not expectation.reason:
        return "plays"
    note = reasons.index(expectation.reason) + 1
    return f"plays, cannot seek ({note})" if expectation.plays else f"cannot ({note})"
