# SPDX-License-Identifier: MIT
"""The drivers against a plain static HLS directory: they tell a good stream from a broken one.

Nothing of our own server takes part. What a player cannot do here, it cannot do with any server.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.web.server import Site
from twisted.web.static import File

from tests.players import ffmpeg
from tests.players.matrix import (
    AV1_FMP4,
    DRIVERS,
    H264_FMP4,
    H264_TS,
    HEVC_FMP4,
    MATRIX,
    PACKAGINGS,
    PLAYERS,
    VP9_FMP4,
    Expectation,
    render_matrix,
)
from tests.players.process import Deadline, PlayerFailure, run
from tests.players.report import (
    PlayReport,
    SeekReport,
    find_gap,
    play_in_thread,
    seek_targets,
)

DURATION_S = 30
FRAMES = DURATION_S * 25
# A key frame every two seconds, segments of four.
SEGMENT_S = 4
# Generous: the slowest (VLC, at four times the speed of life) needs 12 s on an idle machine.
TIMEOUT_S = 120

_ENCODERS = {
    H264_TS: "-c:v libx264 -preset ultrafast",
    H264_FMP4: "-c:v libx264 -preset ultrafast",
    AV1_FMP4: "-c:v libsvtav1 -preset 12",
    VP9_FMP4: "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k",
    HEVC_FMP4: "-c:v libx265 -preset ultrafast -x265-params log-level=error -tag:v hvc1",
}


def _encode(packaging: str, directory: Path) -> None:
    directory.mkdir()
    source = f"testsrc2=size=320x180:rate=25:duration={DURATION_S}"
    tone = f"sine=frequency=440:sample_rate=48000:duration={DURATION_S}"
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source]
    argv += ["-f", "lavfi", "-i", tone, *_ENCODERS[packaging].split()]
    argv += ["-pix_fmt", "yuv420p", "-g", "50", "-c:a", "aac", "-f", "hls"]
    argv += ["-hls_time", str(SEGMENT_S), "-hls_playlist_type", "vod"]
    argv += ["-hls_segment_type", "mpegts" if packaging == H264_TS else "fmp4", "index.m3u8"]
    subprocess.run(argv, cwd=directory, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the directory of a packaging's clip, encoded when first asked for."""
    root = tmp_path_factory.mktemp("clips")

    def give(packaging: str) -> Path:
        directory = root / packaging.replace(" ", "-")
        if not directory.exists():
            _encode(packaging, directory)
        return directory

    return give


@pytest.fixture
def served():
    """Serve directories over HTTP in this process; give each one's playlist URL."""
    ports = []

    def serve(directory: Path) -> str:
        site = Site(File(str(directory)))
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        ports.append(port)
        return f"http://127.0.0.1:{port.getHost().port}/index.m3u8"

    yield serve
    for port in ports:
        pytest_twisted.blockon(port.stopListening())


def _damaged(clip: Path, directory: Path, damage: Callable[[Path], None], pick: slice) -> Path:
    """Copy a clip and damage some of its segments."""
    shutil.copytree(clip, directory)
    segments = sorted([*directory.glob("*.ts"), *directory.glob("*.m4s")])
    for segment in segments[pick]:
        damage(segment)
    return directory


@pytest.mark.players
@pytest.mark.parametrize("packaging", PACKAGINGS)
@pytest.mark.parametrize("player", DRIVERS)
@pytest_twisted.ensureDeferred
async def test_matrix_is_true_of_a_plain_server(player, packaging, clip, served):
    """Each player does with each packaging what the table says."""
    url = served(clip(packaging))
    report = await play_in_thread(DRIVERS[player], url, duration_s=DURATION_S, timeout_s=TIMEOUT_S)
    assert MATRIX[player, packaging].contradiction(report) is None
    assert report.frames in (None, FRAMES)


@pytest.mark.players
@pytest.mark.parametrize("packaging", [H264_TS, H264_FMP4])
@pytest.mark.parametrize("player", DRIVERS)
@pytest_twisted.ensureDeferred
async def test_missing_segment_in_the_middle_is_not_good(player, packaging, clip, served, tmp_path):
    """A segment that answers 404 is told, also by players that skip it in silence."""
    broken = _damaged(clip(packaging), tmp_path / "broken", Path.unlink, slice(3, 4))
    report = await play_in_thread(DRIVERS[player], served(broken), duration_s=DURATION_S, timeout_s=TIMEOUT_S)
    assert not report.good
    assert report.errors


@pytest.mark.players
@pytest.mark.parametrize("player", DRIVERS)
@pytest_twisted.ensureDeferred
async def test_stream_without_segments_does_not_play(player, clip, served, tmp_path):
    """A playlist whose segments all answer 404 is reported as not played, within the bound."""
    broken = _damaged(clip(H264_TS), tmp_path / "broken", Path.unlink, slice(None))
    report = await play_in_thread(DRIVERS[player], served(broken), duration_s=DURATION_S, timeout_s=TIMEOUT_S)
    assert not report.played
    assert not report.reached_end
    assert report.errors
    assert not any("timed out" in error for error in report.errors)


@pytest.mark.players
@pytest.mark.parametrize("player", DRIVERS)
@pytest_twisted.ensureDeferred
async def test_truncated_segment_is_not_good(player, clip, served, tmp_path):
    """A segment that ends early, with an honest length, is told."""

    def cut(segment: Path) -> None:
        content = segment.read_bytes()
        segment.write_bytes(content[: len(content) // 4])

    broken = _damaged(clip(H264_TS), tmp_path / "broken", cut, slice(3, 4))
    report = await play_in_thread(DRIVERS[player], served(broken), duration_s=DURATION_S, timeout_s=TIMEOUT_S)
    assert not report.good
    assert report.errors


@pytest.mark.players
@pytest.mark.parametrize("player", DRIVERS)
@pytest_twisted.ensureDeferred
async def test_server_that_never_answers_ends_in_a_report(player):
    """A player that waits for ever is killed at the bound, and the report says so."""
    silent = reactor.listenTCP(0, Site(File("/nonexistent")), interface="127.0.0.1")
    silent.stopReading()
    url = f"http://127.0.0.1:{silent.getHost().port}/index.m3u8"
    try:
        report = await play_in_thread(DRIVERS[player], url, duration_s=DURATION_S, timeout_s=3)
    finally:
        await silent.stopListening()
    assert not report.played
    assert any("timed out" in error for error in report.errors)


def test_every_cell_of_the_matrix_is_written():
    """No player and no packaging is left out, and what cannot be done says why."""
    assert set(MATRIX) == {(player, packaging) for player in PLAYERS for packaging in PACKAGINGS}
    assert all(each.reason for each in MATRIX.values() if not (each.plays and each.seeks))
    assert render_matrix().count("\n| ") == len(PACKAGINGS) + 1


def _report(**changes) -> PlayReport:
    seek = SeekReport(target_s=1, arrived_s=1, ok=True)
    facts = {"player": "x", "played": True, "reached_end": True, "whole": True}
    facts |= {"seeks": (seek, seek), "frames": None, "errors": ()}
    return PlayReport(**(facts | changes))


@pytest.mark.parametrize(
    ("expectation", "report", "agrees"),
    [
        (Expectation(), _report(), True),
        (Expectation(), _report(seeks=()), False),
        (Expectation(), _report(errors=("no pictures",)), False),
        (Expectation(), _report(reached_end=False), False),
        (Expectation(seeks=False), _report(seeks=(), reached_end=False), True),
        (Expectation(seeks=False), _report(whole=False), False),
        (Expectation(plays=False), _report(played=False, reached_end=False), True),
        (Expectation(plays=False), _report(), False),
    ],
)
def test_contradiction_is_found(expectation, report, agrees):
    """A report agrees with an expectation exactly when everything expected happened."""
    assert (expectation.contradiction(report) is None) is agrees


def test_gap_in_pictures_is_named():
    """A hole of more than a second is named by its ends; the order of decoding does not matter."""
    assert find_gap([0.0, 0.08, 0.04, 1.0]) is None
    assert find_gap([0.0, 4.0, 0.04]) == "no pictures from 0.0 s to 4.0 s"


def test_seek_targets_are_the_middle_and_the_last_ten_seconds():
    """The second target always lies behind the first."""
    assert seek_targets(30) == (15, 20)
    assert seek_targets(7200) == (3600, 7190)
    assert seek_targets(12) == (6, 9)


def test_framecrc_times_use_the_time_base_of_the_pictures():
    """Only stream 0 counts, in its own time base."""
    text = "#tb 0: 1/90000\n#tb 1: 1/48000\n0, 0, 90000, 1, 1, 0x0\n1, 0, 48000, 1, 1, 0x0\n"
    assert ffmpeg.parse_framecrc_times(text) == [1.0]


def test_late_program_is_killed_with_its_children():
    """Nothing that a player has started outlives its bound."""
    # Were the child still alive, it would hold the pipe open and `run` would wait for a minute.
    with pytest.raises(PlayerFailure, match="timed out"):
        run(["sh", "-c", "sleep 60 & wait"], deadline=Deadline(0.5), what="sleeping")
