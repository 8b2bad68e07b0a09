# SPDX-License-Identifier: MIT
"""What every player driver answers, and the little that all of them share.

A driver is a blocking function ``play(url, *, duration_s, timeout_s) -> PlayReport``. It never
raises for a stream that does not play: the report says so, because half of the tests want exactly
that answer. A test whose HTTP server shares the process's reactor calls it through
`play_in_thread`.

Every driver plays the whole stream once from start to end, as fast as the player can, then seeks
to the middle and to the last ten seconds, and from there reaches the end again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from twisted.internet.threads import deferToThread

from tests.players.process import Deadline, PlayerFailure

# A hole in the pictures of a stream that plays on regardless: ffmpeg and what is built on it skip a
# missing segment without a word. No clip of the tests pauses its pictures for a second.
MAX_GAP_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekReport:
    """One seek: where to, where the player then was, and whether it played on from there."""

    target_s: float
    arrived_s: float | None
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayReport:
    """What one player made of one stream.

    ``played``: pictures were decoded. ``whole``: the first pass came to the stream's own end, not to
    an earlier one. ``reached_end``: so did the second, after the seeks. ``frames``: pictures of the
    first pass, None where the player does not count them all. ``errors``: what the player complained
    about and what the driver found missing, in words; at most a few.
    """

    player: str
    played: bool
    reached_end: bool
    seeks: tuple[SeekReport, ...]
    frames: int | None
    errors: tuple[str, ...]
    whole: bool = False

    @property
    def good(self) -> bool:
        """Say whether everything that a viewer does worked, without a complaint."""
        sought = len(self.seeks) >= 2 and all(seek.ok for seek in self.seeks)
        return self.played and self.reached_end and sought and not self.errors


class Play(Protocol):
    """The signature of every driver's ``play``."""

    def __call__(self, url: str, *, duration_s: float, timeout_s: float) -> PlayReport: ...


@dataclass(slots=True)
class Findings:
    """A report in the making."""

    played: bool = False
    whole: bool = False
    reached_end: bool = False
    seeks: list[SeekReport] = field(default_factory=list)
    frames: int | None = None
    errors: list[str] = field(default_factory=list)

    def complain(self, lines: Iterable[str], *, at_most: int = 5) -> None:
        """Keep the first few different complaints: a broken stream makes thousands of them."""
        for line in lines:
            if line not in self.errors and len(self.errors) < at_most:
                self.errors.append(line)

    def freeze(self, player: str) -> PlayReport:
        """Give the report."""
        return PlayReport(
            player=player,
            played=self.played,
            whole=self.whole,
            reached_end=self.reached_end,
            seeks=tuple(self.seeks),
            frames=self.frames,
            errors=tuple(self.errors),
        )


def seek_targets(duration_s: float) -> tuple[float, float]:
    """Give the middle and the start of the last ten seconds, in seconds.

    Of a short clip, the start of its last quarter.
    """
    middle_s = duration_s / 2
    ten_before_end_s = duration_s - 10
    return middle_s, ten_before_end_s if ten_before_end_s > middle_s else duration_s * 3 / 4


def find_gap(times_s: Iterable[float], *, max_gap_s: float = MAX_GAP_S) -> str | None:
    """Name the first hole between the presentation times of successive pictures, if there is one."""
    ordered = sorted(times_s)
    for before, after in pairwise(ordered):
        if after - before > max_gap_s:
            return f"no pictures from {before:.1f} s to {after:.1f} s"
    return None


def watch(player: str, *, timeout_s: float, session: Callable[[Findings, Deadline], None]) -> PlayReport:
    """Run one player's session and turn whatever stops it into an entry of the report."""
    findings = Findings()
    try:
        session(findings, Deadline(timeout_s))
    except PlayerFailure as failure:
        findings.errors.append(str(failure))
    return findings.freeze(player)


async def play_in_thread(play: Play, url: str, *, duration_s: float, timeout_s: float) -> PlayReport:
    """Run a driver beside the reactor, so that a server in this process can answer it."""
    return await deferToThread(play, url, duration_s=duration_s, timeout_s=timeout_s)
