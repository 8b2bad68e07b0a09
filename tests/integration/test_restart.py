# SPDX-License-Identifier: MIT
"""
The daemon is stopped, or killed, and started again while somebody watches.

The player goes on by itself, and what was fetched before is read from disk. FFmpeg's HLS demuxer takes no
reconnect options (Jellyfin passes it none either): it jumps over what it cannot connect to, which is why the
port is held open for it, as tgsyncd.socket does. FFmpeg on ``/stream`` gets the options to read on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.integration.players import make_film as make_small_film
from tests.integration.telegram_kills import EmulatorProcess
from tests.integration.test_playback_cache import make_film
from tests.players import matrix
from tests.players.browser import play_in_chromium
from tests.service.running import ROOT, wait_for

RECONNECT = ["-reconnect", "1", "-reconnect_on_network_error", "1", "-reconnect_streamed", "1"]
RECONNECT += ["-reconnect_delay_max", "30"]  # it gives up when it would wait longer: 0, 1, 3, 7, 15 s
FRAMES = 600
FRAMES_IN_SEGMENT = 150
AWAY_S = 1.5
"""Between the end of one daemon and the start of the next: longer than a segment plays here."""

# What systemd does between fork and exec (sd_listen_fds(3)); the socket is on descriptor 200.
AS_SYSTEMD = """
import os, sys
os.dup2(200, 3, inheritable=True)
os.close(200)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Cinema:
    """An emulator, a film stored in it, and a daemon that comes and goes."""

    def __init__(self, folder: Path, film: Path, *, is_held: bool, **sections) -> None:
        self.folder = folder
        self.is_held = is_held
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        self.emulator = EmulatorProcess(folder / "telegram", bots=1, seed=1)
        self.daemon: subprocess.Popen | None = None
        self.config = folder / "tgsyncd.yaml"
        self.log = (folder / "log.txt").open("ab")
        source, token = folder / "source", folder / "token"
        source.mkdir()
        token.touch(mode=0o600)
        token.write_text(self.emulator.tokens[0])
        self.config.write_text(
            yaml.safe_dump(
                {
                    "data_dir": str(folder / "data"),
                    "cache_dir": str(folder / "cache"),
                    "publish": {"directory": str(folder / "library")},
                    "libraries": [
                        {"name": "Films", "source": str(source), "publish": str(folder / "library")}
                    ],
                    "auth": {"playback": "open"},
                    "server": {"listen": "127.0.0.1", "port": self.port},
                    "store": {"kind": "telegram"},
                    "telegram": {
                        "bots": [{"token_file": str(token)}],
                        "chats": [self.emulator.new_chat("Storage")],
                        "scratch_chat": self.emulator.new_chat("Scratch"),
                        "base_url": self.emulator.base_url,
                        "base_file_url": self.emulator.base_file_url,
                    },
                    "scan": {"inotify": False},
                    **sections,
                }
            )
        )
        argv = [sys.executable, "-m", "tests.integration.telegram_cli", "upload"]
        argv += ["--config", str(self.config), "--video", str(film), "--video-id", "film"]
        subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, check=True, timeout=200)
        self.url = f"http://127.0.0.1:{self.port}"
        if not is_held:
            self.socket.close()

    def start(self) -> None:
        """Start the daemon; return when it serves."""
        argv = ["-m", "tests.integration.telegram_cli", "run", "--config", str(self.config)]
        options = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        if self.is_held:
            os.dup2(self.socket.fileno(), 200)
            self.daemon = subprocess.Popen(
                [sys.executable, "-c", AS_SYSTEMD, *argv], pass_fds=[200], **options
            )
            os.close(200)
        else:
            self.daemon = subprocess.Popen([sys.executable, *argv], **options)
        began = self.text().count("listening on")
        wait_for(lambda: self.text().count("listening on") > began or self.daemon.poll() is not None)
        assert self.daemon.poll() is None, self.text()

    def stop(self, number: int) -> None:
        """End the daemon."""
        self.daemon.send_signal(number)
        self.daemon.wait(60)

    def text(self) -> str:
        return (self.folder / "log.txt").read_text()

    def on_disk_bytes(self) -> int:
        """Return how many bytes of segments the disk cache holds, each file with its sha256."""
        files = (self.folder / "cache" / "segments").rglob("*")
        return sum(path.stat().st_size - 32 for path in files if path.is_file() and path.suffix != ".part")

    def downloaded_bytes(self) -> int:
        """Return how many bytes Telegram has sent since its calls were last forgotten."""
        calls = self.emulator.ask("calls")
        return sum(call["download_bytes"] for call in calls if call["method"] == "download")

    def stream_bytes(self) -> int:
        """Return the length of the film's stream."""
        import sqlite3

        with contextlib.closing(sqlite3.connect(self.folder / "data" / "catalog.sqlite3")) as connection:
            return connection.execute("SELECT stream_length FROM renditions").fetchone()[0]

    def close(self) -> None:
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait(30)
        self.emulator.stop()
        self.socket.close()
        self.log.close()


@pytest.fixture
def cinema(tmp_path):
    """Make one; it is taken down at the end."""
    made = []

    def make(film: Path, **options) -> Cinema:
        made.append(Cinema(tmp_path, film, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


class Playing:
    """FFmpeg that plays at a multiple of the film's speed, as a player does that shows each picture."""

    def __init__(self, url: str, speed: float, options: list[str]) -> None:
        argv = ["ffmpeg", "-nostdin", "-v", "warning", "-readrate", str(speed), *options, "-i", url]
        argv += ["-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-flush_packets", "1", "pipe:1"]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.frames: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            if line.startswith("0,"):
                # Stream, dts, pts, duration, size, checksum: what was seen, apart from when.
                self.frames.append(line.split(",", 3)[3].strip())

    def wait_for_frames(self, count: int) -> None:
        wait_for(lambda: len(self.frames) >= count or self.process.poll() is not None, f"{count} frames")
        assert self.process.poll() is None, self.process.stderr.read()

    def end(self) -> str:
        """Wait for the end; return the complaints."""
        complaints = self.process.stderr.read()
        assert self.process.wait(120) == 0, complaints
        self._thread.join(60)
        return complaints


def frames_of(film: Path) -> list[str]:
    """Return all frames of the film as they are in the stream that was cut from it."""
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(film), "-map", "0:v:0", "-c", "copy"]
    argv += ["-bsf:v", "h264_mp4toannexb", "-f", "framecrc", "pipe:1"]
    answer = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    return [line for line in answer.stdout.splitlines() if line.startswith("0,")]


def make_steady(cinema: Cinema) -> None:
    """50 Mbit/s a connection: the film is not on disk before the daemon goes away."""
    cinema.emulator.ask("knobs", "POST", latency_s=0.02, download_bytes_per_s=50e6 / 8)
    cinema.emulator.ask("calls", "DELETE")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ffmpeg_reads_on_where_it_was(cinema, number):
    """On ``/stream``, with reconnect options: not a frame is lost, nothing is downloaded twice."""
    place = cinema(make_film("ts"), is_held=False)
    place.start()
    make_steady(place)
    playing = Playing(f"{place.url}/stream/film.ts", 4.0, RECONNECT)
    playing.wait_for_frames(FRAMES_IN_SEGMENT)
    wait_for(place.on_disk_bytes, "a segment on disk")
    place.stop(number)
    kept = place.on_disk_bytes()
    place.emulator.ask("calls", "DELETE")
    place.start()
    playing.end()

    again = Playing(f"{place.url}/stream/film.ts", 100.0, [])
    again.end()

    assert len(playing.frames) == FRAMES
    assert playing.frames == again.frames
    # Everything that was on disk was taken from there, in the second half and when all was played again.
    assert kept > 0
    assert place.downloaded_bytes() <= place.stream_bytes() - kept


def test_a_player_of_segments_waits_for_the_next_daemon(cinema):
    """FFmpeg's HLS, the port held open: it gets what it asked for, then waits, and loses nothing."""
    place = cinema(make_film("ts"), is_held=True)
    place.start()
    make_steady(place)
    playing = Playing(f"{place.url}/playlist/film.m3u8", 6.0, [])
    playing.wait_for_frames(FRAMES_IN_SEGMENT // 2)
    place.stop(signal.SIGTERM)
    time.sleep(AWAY_S)
    place.start()
    complaints = playing.end()

    assert len(playing.frames) == FRAMES, complaints
    assert "Failed to open segment" not in complaints


def test_a_player_of_segments_survives_a_kill(cinema):
    """It loses at most what was on its way, a segment and the one it asks for early; the rest is whole."""
    place = cinema(make_film("ts"), is_held=True)
    place.start()
    make_steady(place)
    playing = Playing(f"{place.url}/playlist/film.m3u8", 6.0, [])
    playing.wait_for_frames(FRAMES_IN_SEGMENT // 2)
    place.stop(signal.SIGKILL)
    time.sleep(AWAY_S)
    place.start()
    complaints = playing.end()

    undisturbed = Playing(f"{place.url}/playlist/film.m3u8", 100.0, [])
    undisturbed.end()
    assert len(undisturbed.frames) == FRAMES
    assert "Failed to open segment" not in complaints
    # Two segments were asked for when it was killed; what stands behind them is there to the last frame.
    assert playing.frames[-FRAMES_IN_SEGMENT:] == undisturbed.frames[-FRAMES_IN_SEGMENT:]
    assert len(playing.frames) >= FRAMES - 2 * FRAMES_IN_SEGMENT


@pytest.mark.players
@pytest.mark.slow
def test_hls_js_goes_on(cinema):
    """Killed while it plays: it asks again by itself, seeks, and reaches the end."""
    place = cinema(make_small_film(matrix.H264_TS), is_held=False, segments={"duration": 2.0})
    place.start()
    place.emulator.ask("calls", "DELETE")
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(play_in_chromium, f"{place.url}/play/film", 90)
        wait_for(lambda: place.emulator.ask("calls"), "something is fetched for the player")
        place.stop(signal.SIGKILL)
        place.start()
        report = seen.result()
    assert (report.played, report.ended, report.trouble) == (True, True, ""), report
    assert [seek.ok for seek in report.seeks] == [True, True]
    # What the browser says of the connections that were cut is all there is to complain of.
    assert all("net::ERR" in error for error in report.errors), report.errors
