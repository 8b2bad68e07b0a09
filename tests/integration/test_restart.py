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
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.integration.telegram_kills import EmulatorProcess
from tests.integration.test_playback_cache import make_film
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


class Stored:
    """An emulator and a film stored in it, for all tests: storing takes longest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.emulator = EmulatorProcess(folder / "telegram", bots=1, seed=1)
        self.chats = [self.emulator.new_chat(name) for name in ("Storage", "Scratch")]
        (folder / "source").mkdir()
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(self.emulator.tokens[0])
        argv = [sys.executable, "-m", "tests.integration.telegram_cli", "upload"]
        argv += ["--config", str(self.configure("upload", 8080)), "--video-id", "film"]
        argv += ["--video", str(make_film("ts"))]
        subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, check=True, timeout=200)

    def configure(self, name: str, port: int) -> Path:
        """Write a configuration with a cache of its own."""
        folder, (storage, scratch) = self.folder, self.chats
        config = folder / f"{name}.yaml"
        publish = str(folder / "library")
        config.write_text(
            yaml.safe_dump(
                {
                    "data_dir": str(folder / "data"),
                    "cache_dir": str(folder / f"cache-{name}"),
                    "publish": {"directory": publish},
                    "libraries": [{"name": "Films", "source": str(folder / "source"), "publish": publish}],
                    "auth": {"playback": "open"},
                    "server": {"listen": "127.0.0.1", "port": port},
                    "store": {"kind": "telegram"},
                    "telegram": {
                        "bots": [{"token_file": str(folder / "token")}],
                        "chats": [storage],
                        "scratch_chat": scratch,
                        "base_url": self.emulator.base_url,
                        "base_file_url": self.emulator.base_file_url,
                    },
                    "scan": {"inotify": False},
                }
            )
        )
        return config

    def stream_bytes(self) -> int:
        """Return the length of the film's stream."""
        with contextlib.closing(sqlite3.connect(self.folder / "data" / "catalog.sqlite3")) as connection:
            return connection.execute("SELECT stream_length FROM renditions").fetchone()[0]


class Cinema:
    """A daemon that comes and goes, and has nothing in its cache at first."""

    def __init__(self, stored: Stored, name: str, *, is_held: bool) -> None:
        self.emulator = stored.emulator
        self.is_held = is_held
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.daemon: subprocess.Popen | None = None
        self._config = stored.configure(name, port)
        self._cache = stored.folder / f"cache-{name}" / "segments"
        self._log_path = stored.folder / f"{name}.log"
        self.log = self._log_path.open("ab")
        if not is_held:
            self.socket.close()

    def start(self) -> None:
        """Start the daemon; return when it serves."""
        argv = ["-m", "tests.integration.telegram_cli", "run", "--config", str(self._config)]
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
        return self._log_path.read_text()

    def on_disk_bytes(self) -> int:
        """Return how many bytes of segments the disk cache holds, each file with its sha256."""
        files = self._cache.rglob("*")
        return sum(path.stat().st_size - 32 for path in files if path.is_file() and path.suffix != ".part")

    def downloaded_bytes(self) -> int:
        """Return how many bytes Telegram has sent since its calls were last forgotten."""
        calls = self.emulator.ask("calls")
        return sum(call["download_bytes"] for call in calls if call["method"] == "download")

    def close(self) -> None:
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait(30)
        self.socket.close()
        self.log.close()


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Store the film once."""
    made = Stored(tmp_path_factory.mktemp("stored"))
    yield made
    made.emulator.stop()


@pytest.fixture
def cinema(stored):
    """Make a daemon to be started; it is gone at the end."""
    made = []

    def make(*, is_held: bool) -> Cinema:
        # 50 Mbit/s a connection: the film is not on disk before the daemon goes away.
        stored.emulator.ask("knobs", "POST", latency_s=0.02, download_bytes_per_s=50e6 / 8)
        made.append(Cinema(stored, f"{len(list(stored.folder.glob('*.yaml')))}", is_held=is_held))
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ffmpeg_reads_on_where_it_was(cinema, stored, number):
    """On ``/stream``, with reconnect options: not a frame is lost, and the disk cache is used."""
    place = cinema(is_held=False)
    place.start()
    playing = Playing(f"{place.url}/stream/film.ts", 4.0, RECONNECT)
    playing.wait_for_frames(FRAMES_IN_SEGMENT)
    wait_for(place.on_disk_bytes, "a segment on disk")
    place.stop(number)
    assert place.on_disk_bytes() > 0
    place.start()
    playing.end()
    # What is written is on disk; a disk that is too slow leaves some out.
    wait_for(lambda: place.on_disk_bytes() >= stored.stream_bytes() / 2, "most of it is on disk")
    place.stop(number)
    place.emulator.ask("calls", "DELETE")
    kept = place.on_disk_bytes()
    place.start()
    again = Playing(f"{place.url}/stream/film.ts", 100.0, [])
    again.end()

    assert len(playing.frames) == FRAMES
    assert playing.frames == again.frames
    # Twice, because a download that is late is begun a second time.
    assert place.downloaded_bytes() <= 2 * (stored.stream_bytes() - kept)


def test_a_player_of_segments_waits_for_the_next_daemon(cinema):
    """FFmpeg's HLS, the port held open: it gets what it asked for, then waits, and loses nothing."""
    place = cinema(is_held=True)
    place.start()
    playing = Playing(f"{place.url}/playlist/film.m3u8", 6.0, [])
    playing.wait_for_frames(FRAMES_IN_SEGMENT // 2)
    place.stop(signal.SIGTERM)
    time.sleep(AWAY_S)
    place.start()
    complaints = playing.end()

    assert "Failed to open segment" not in complaints
    # A busy machine may play so slowly that the end of an answer comes after the few seconds it is given.
    lost = FRAMES_IN_SEGMENT if "prematurely" in complaints else 0
    assert len(playing.frames) >= FRAMES - lost, complaints


def test_a_player_of_segments_survives_a_kill(cinema):
    """It loses at most what was on its way, a segment and the one it asks for early; the rest is whole."""
    place = cinema(is_held=True)
    place.start()
    place.emulator.ask("calls", "DELETE")
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
    place = cinema(is_held=False)
    place.start()
    place.emulator.ask("calls", "DELETE")
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(play_in_chromium, f"{place.url}/play/film", 120, player="hls.js")
        # What the daemon itself asks when it starts is no call for a file.
        wait_for(lambda: place.emulator.ask("calls?method=download"), "a segment is fetched for the player")
        place.stop(signal.SIGKILL)
        place.start()
        report = seen.result()
    assert (report.played, report.ended, report.trouble) == (True, True, ""), report
    assert [seek.ok for seek in report.seeks] == [True, True]
    # What the browser says of the connections that were cut is all there is to complain of.
    assert all("net::ERR" in error for error in report.errors), report.errors
