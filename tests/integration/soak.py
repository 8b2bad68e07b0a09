# SPDX-License-Identifier: MIT
"""
A daemon with everything at once: viewers of several kinds, new videos, a Telegram on which much fails.

``run_soak`` runs it for so long and returns what the daemon saw of itself, second by second. The ten minutes
are ``python -m benchmarks.playback_soak``; half a minute is a test.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.integration.telegram_kills import FAULTS, EmulatorProcess
from tests.integration.test_playback_cache import make_film
from tests.service.running import ROOT, make_clip, wait_for

DOWNLOAD_FAULTS = (
    {"kind": "truncate", "method": "download", "probability": 0.05},
    {"kind": "stall_download", "method": "download", "probability": 0.01, "seconds": 5.0},
    {"kind": "bit_flip", "method": "download", "probability": 0.01},
)
KNOBS = {"latency_s": 0.1, "download_bytes_per_s": 50e6 / 8, "get_file_s_per_mib": 8 * 1.05 / 400}
BUFFER_S = 30.0


@dataclass
class Report:
    """What a soak saw."""

    samples: list[dict] = field(default_factory=list)
    """Of the daemon, one a second, while there were viewers."""
    seen: Counter = field(default_factory=Counter)
    """What viewers did and met."""
    broken_off: Counter = field(default_factory=Counter)
    """Answers that the daemon ended by itself, by its reason."""
    stored: int = 0
    """Videos that were stored meanwhile."""
    at_rest: dict = field(default_factory=dict)
    """The daemon before anybody came."""
    after: dict = field(default_factory=dict)
    """The daemon when everybody had left."""


class Viewer(threading.Thread):
    """Somebody who watches, in his own way, until ``ends`` is set; errors end up in ``seen``."""

    def __init__(self, soak: Soak, number: int) -> None:
        super().__init__(daemon=True, name=f"viewer-{number}")
        self._soak = soak
        self._chance = random.Random(number)
        self._kind = ("watch", "watch", "stream", "probe", "pause", "leave")[number % 6]

    def run(self) -> None:
        while not self._soak.ends.is_set():
            try:
                getattr(self, f"_{self._kind}")()
                self._soak.note(self._kind)
            except (OSError, http.client.HTTPException) as error:
                self._soak.note(f"{self._kind}: {type(error).__name__}")
                self._soak.ends.wait(0.5)

    def _watch(self) -> None:
        """A player: half a minute of buffer, a clock, and a seek now and then."""
        urls = self._soak.segment_urls()
        at, ahead_s, since_s, is_playing = self._chance.randrange(len(urls)), 0.0, time.monotonic(), False
        while at < len(urls) and not self._soak.ends.is_set():
            url, duration_s, sha256 = urls[at]
            body = self._soak.get(url)
            if hashlib.sha256(body).hexdigest() != sha256:
                self._soak.note("WRONG BYTES")
            now_s = time.monotonic()
            ahead_s = max(0.0, ahead_s - (now_s - since_s))
            if ahead_s == 0.0 and is_playing:
                self._soak.note("stalled")
            since_s, ahead_s, at, is_playing = now_s, ahead_s + duration_s, at + 1, True
            self._soak.note("segment")
            if self._chance.random() < 0.05:
                at, ahead_s, is_playing = self._chance.randrange(len(urls)), 0.0, False
                self._soak.note("seek")
            self._soak.ends.wait(max(0.0, ahead_s - BUFFER_S))
        self._soak.ends.wait(ahead_s)

    def _stream(self) -> None:
        """Ranges of the whole stream, as a file player asks for them."""
        size = self._soak.stream_bytes
        start = self._chance.randrange(size)
        stop = min(size, start + self._chance.randrange(1, 3_000_000))
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if len(self._soak.get(f"/stream/{self._soak.video_id}.ts", headers)) != stop - start:
            self._soak.note("WRONG LENGTH")
        self._soak.ends.wait(0.5)

    def _probe(self) -> None:
        """As Jellyfin does it: some of segment 0, segment 1 opened, and gone."""
        for url, _, _ in self._soak.segment_urls()[:2]:
            self._soak.get(url, take=1_500_000)
        self._soak.ends.wait(1.0)

    def _pause(self) -> None:
        """Ask for a segment and read a little of it each second."""
        url, _, _ = self._chance.choice(self._soak.segment_urls())
        with self._soak.asking(url, {}) as answer:
            for _ in range(15):
                answer.read(10_000)
                if self._soak.ends.wait(1.0):
                    return

    def _leave(self) -> None:
        """Ask for a segment and go away in its middle."""
        url, _, _ = self._chance.choice(self._soak.segment_urls())
        self._soak.get(url, take=self._chance.randrange(200_000))
        self._soak.ends.wait(self._chance.random())


class Soak:
    """The emulator, the daemon, and what the viewers share."""

    def __init__(self, folder: Path, *, seed: int, film: Path) -> None:
        self.folder = folder
        self._film = film
        self.ends = threading.Event()
        self.seen: Counter = Counter()
        self.video_id = "film"
        self._lock = threading.Lock()
        self._source = folder / "source"
        self._source.mkdir()
        self._samples = folder / "samples.jsonl"
        self._log = (folder / "log.txt").open("ab")
        self._emulator = EmulatorProcess(folder / "telegram", bots=2, seed=seed)
        self._config = folder / "tgsyncd.yaml"
        self._config.write_text(yaml.safe_dump(self._sections()))
        self._daemon: subprocess.Popen | None = None
        self._port = 0

    def _sections(self) -> dict:
        tokens = [self.folder / f"token-{number}" for number in (0, 1)]
        for path, token in zip(tokens, self._emulator.tokens, strict=True):
            path.touch(mode=0o600)
            path.write_text(token)
        return {
            "data_dir": str(self.folder / "data"),
            "cache_dir": str(self.folder / "cache"),
            # Small, so that everything is evicted again and again.
            "cache": {"memory_bytes": 40_000_000, "disk_bytes": 30_000_000, "memory_duration": 20.0},
            "libraries": [
                {"name": "Films", "source": str(self._source), "publish": str(self.folder / "library")}
            ],
            "auth": {"playback": "open"},
            "store": {"kind": "telegram"},
            "telegram": {
                "bots": [{"token_file": str(path)} for path in tokens],
                "chats": [self._emulator.new_chat("Storage")],
                "scratch_chat": self._emulator.new_chat("Scratch"),
                "base_url": self._emulator.base_url,
                "base_file_url": self._emulator.base_file_url,
            },
            "scan": {"rest": "0.3 s"},
            "segments": {"duration": 4.0},
            "video": {"threads": 1},
        }

    # --- the daemon -------------------------------------------------------------------------------

    def begin(self) -> None:
        """Store the film and start the daemon; then let Telegram have its bad days."""
        argv = [sys.executable, "-m", "tests.integration.soaked_cli", "upload", "--config", str(self._config)]
        argv += ["--video", str(self._film), "--video-id", self.video_id]
        quiet = {"cwd": ROOT, "stdin": subprocess.DEVNULL, "stdout": self._log, "stderr": self._log}
        environ = {**os.environ, "TGSYNCD_PUBLIC_URLS": "http://192.0.2.1:8080"}
        subprocess.run(argv, check=True, timeout=300, env=environ, **quiet)
        argv = [sys.executable, "-m", "tests.integration.soaked_cli", "run", "--config", str(self._config)]
        self._daemon = subprocess.Popen(
            [*argv, "--host", "127.0.0.1", "--port", "0"],
            env={**os.environ, "TGSYNCD_TEST_SAMPLES": str(self._samples)}, **quiet,
        )  # fmt: skip
        wait_for(lambda: "listening on" in self.text() or self._daemon.poll() is not None, bound_s=120)
        assert self._daemon.poll() is None, self.text()
        self._port = int(self.text().rpartition("listening on 127.0.0.1, port ")[2].split()[0])
        self._read_catalog()
        for fault in (*FAULTS, *DOWNLOAD_FAULTS):
            self._emulator.ask("faults", "POST", **{"times": None, **fault})
        self._emulator.ask("knobs", "POST", **KNOBS)

    def samples(self) -> list[dict]:
        """Return what the daemon wrote of itself so far."""
        if not self._samples.exists():
            return []
        lines = self._samples.read_text().splitlines()
        with contextlib.suppress(json.JSONDecodeError):  # the last one may be half written
            return [json.loads(line) for line in lines]
        return [json.loads(line) for line in lines[:-1]]

    def text(self) -> str:
        """Return the daemon's log."""
        return (self.folder / "log.txt").read_text(errors="replace")

    def stop(self) -> None:
        """End the daemon as systemd does; its bound of ten seconds, on a busy machine, is a clean end too."""
        self._daemon.send_signal(signal.SIGTERM)
        code = self._daemon.wait(60)
        assert code in {0, 128 + signal.SIGTERM}, f"{code}: {self.text()[-3000:]}"

    def close(self) -> None:
        """End whatever runs."""
        self.ends.set()
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait(30)
        self._emulator.stop()
        self._log.close()

    # --- new videos -------------------------------------------------------------------------------

    def add_video(self, number: int) -> None:
        """Put another film into the source folder: a small one, and each fourth of 8 Mbit/s."""
        made = self.folder / f"{number}.mp4"
        make_clip(made, tone_hz=200 + number, seconds=3)
        if number % 4 == 3:
            film = self.folder / f"{number}-big.mp4"
            argv = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(make_film("ts")), "-c", "copy"]
            argv += ["-t", str(8 + number % 7), "-metadata", f"title={number}", str(film)]
            subprocess.run(argv, check=True, timeout=60)
            made = film
        made.rename(self._source / f"Film {number} (2001).mp4")

    def stored(self) -> int:
        """Return how many videos play, beside the film."""
        return len(self._rows("SELECT 1 FROM videos WHERE status = 'active'")) - 1

    def _rows(self, sql: str) -> list[tuple]:
        path = self.folder / "data" / "catalog.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(sql).fetchall()

    def _read_catalog(self) -> None:
        where = f"WHERE video_id = '{self.video_id}'"
        self.stream_bytes = self._rows(f"SELECT stream_length FROM renditions {where}")[0][0]
        rows = self._rows(f"SELECT duration, sha256 FROM segments {where} ORDER BY segment_order")
        self._segments = rows

    # --- for viewers ------------------------------------------------------------------------------

    def note(self, what: str) -> None:
        """Count it."""
        with self._lock:
            self.seen[what] += 1

    def segment_urls(self) -> list[tuple[str, float, str]]:
        """Read the playlist; return path, seconds and sha256 of each segment."""
        text = self.get(f"/playlist/{self.video_id}.m3u8").decode()
        paths = [urlsplit(line).path for line in text.splitlines() if line and line[0] != "#"]
        return [(path, *row) for path, row in zip(paths, self._segments, strict=True)]

    @contextlib.contextmanager
    def asking(self, path: str, headers: dict):
        """Ask for a path over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=130)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            if answer.status not in {200, 206}:
                self.note(f"status {answer.status}")
            yield answer
        finally:
            connection.close()

    def get(self, path: str, headers: dict | None = None, take: int | None = None) -> bytes:
        """Return the body of a path, or its first bytes."""
        with self.asking(path, headers or {}) as answer:
            return answer.read() if take is None else answer.read(take)


def make_long_film(folder: Path, repeats: int) -> Path:
    """Return a film of 8 Mbit/s, so many times 24 s long."""
    film = folder / "film.mp4"
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-stream_loop", str(repeats - 1), "-i", str(make_film("ts"))]
    subprocess.run([*argv, "-c", "copy", str(film)], check=True, timeout=120)
    return film


def run_soak(
    folder: Path,
    *,
    seconds: float,
    viewers: int,
    video_every_s: float,
    film_repeats: int,
    seed: int = 1,
    say=lambda _: None,
) -> Report:
    """Soak for so long, then let everybody leave, and wait for the daemon to come to rest."""
    soak = Soak(folder, seed=seed, film=make_long_film(folder, film_repeats))
    report = Report(seen=soak.seen)
    try:
        soak.begin()
        wait_for(lambda: len(soak.samples()) >= 3, "the daemon looks at itself", bound_s=120)
        report.at_rest = soak.samples()[-1]
        first = len(soak.samples())
        people = [Viewer(soak, number) for number in range(viewers)]
        for each in people:
            each.start()
        began_s, videos = time.monotonic(), 0
        while (gone_s := time.monotonic() - began_s) < seconds:
            if gone_s >= videos * video_every_s and gone_s < seconds - video_every_s:
                soak.add_video(videos)
                videos += 1
            say(f"{gone_s:.0f} s: {_words(soak.samples()[-1])}, {videos} videos, {dict(soak.seen)}")
            time.sleep(min(10.0, seconds / 20))
        report.samples = soak.samples()[first:]
        soak.ends.set()
        for each in people:
            each.join(150)
        assert not any(each.is_alive() for each in people), "a viewer hangs"
        wait_for(lambda: soak.stored() == videos, f"{videos} videos are stored", bound_s=240)
        report.stored = soak.stored()
        # Kept connections to Telegram and idle ones of viewers end within a minute or two.
        limit = report.at_rest["descriptors"] + 16
        wait_for(lambda: soak.samples()[-1]["descriptors"] <= limit, "descriptors are given back", 240)
        report.after = soak.samples()[-1]
        report.broken_off = Counter(re.findall(r"broken off: (.{0,60})", soak.text()))
        soak.stop()
    finally:
        soak.close()
    return report


def _words(sample: dict) -> str:
    return (
        f"{sample['rss_bytes'] / 1e6:.0f} MB, {sample['descriptors']} descriptors,"
        f" {sample['threads']} threads, {sample['calls']} calls"
    )
