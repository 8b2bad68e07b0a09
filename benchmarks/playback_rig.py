# SPDX-License-Identifier: MIT
"""
What the playback benchmarks stand on: an emulator, a stored film and a server, each a process of its own.

The client that measures stays in the benchmark's process, so that nothing but itself delays it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.integration.telegram_kills import EmulatorProcess
from tests.integration.test_playback_cache import make_film

LATENCY_S = 0.2
DOWNLOAD_BYTES_PER_S = 50_000_000 // 8
GET_FILE_S_PER_MIB = 8 * (1 << 20) / 400e6
MEDIA_BYTES = 188
"""A player can do nothing with less: one MPEG-TS packet. The first byte alone is sent before it is known."""


def make_long_film(container: str, repeats: int) -> Path:
    """Return a film of 8 Mbit/s, ``repeats`` times 24 s long; made once."""
    unit = make_film(container)
    film = unit.with_name(f"{unit.stem}-{repeats}.mp4")
    if not film.exists():
        made = film.with_suffix(".made.mp4")
        argv = [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-stream_loop",
            str(repeats - 1),
            "-i",
            str(unit),
            "-c",
            "copy",
        ]
        subprocess.run([*argv, str(made)], check=True, timeout=120, stdin=subprocess.DEVNULL)
        made.rename(film)
    return film


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document of the film."""

    offset: int
    length: int
    size_bytes: int
    file_id: str

    @property
    def end(self) -> int:
        """The offset in the stream of what follows it."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A segment of the film's main rendition."""

    order: int
    offset: int
    size_bytes: int
    duration_s: float

    @property
    def end(self) -> int:
        """The offset in the stream of what follows it."""
        return self.offset + self.size_bytes


class Server:
    """``tgsyncd serve`` that runs."""

    def __init__(self, process: subprocess.Popen, url: str) -> None:
        self.process = process
        self.url = url

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(30)


class Rig:
    """A folder with an emulator, and as many tgsyncds over it as are wanted."""

    def __init__(self, folder: Path, *, bots: int = 1) -> None:
        self.folder = folder
        self.emulator = EmulatorProcess(folder / "telegram", bots=bots, seed=1)
        self._chat = self.emulator.new_chat("Storage")
        self._scratch = self.emulator.new_chat("Scratch")
        self._caches = 0
        self._token_files = [folder / f"token-{number}" for number in range(bots)]
        for path, token in zip(self._token_files, self.emulator.tokens, strict=True):
            path.touch(mode=0o600)
            path.write_text(token)

    def close(self) -> None:
        """Stop the emulator."""
        self.emulator.stop()

    # --- the store --------------------------------------------------------------------------------

    def slow(self, latency_s: float = LATENCY_S) -> None:
        """Make Telegram what it is over a good line; getFile has to be called anew."""
        self.emulator.ask("expire_paths", "POST")
        self.emulator.ask(
            "knobs", "POST",
            latency_s=latency_s, download_bytes_per_s=float(DOWNLOAD_BYTES_PER_S),
            get_file_s_per_mib=GET_FILE_S_PER_MIB,
        )  # fmt: skip

    def fast(self) -> None:
        """Make it answer at once."""
        self.emulator.ask("knobs", "POST", latency_s=0.0, download_bytes_per_s=0.0, get_file_s_per_mib=0.0)

    def calls(self) -> list[str]:
        """Return the methods that were called since ``forget_calls``."""
        return [call["method"] for call in self.emulator.ask("calls")]

    def forget_calls(self) -> None:
        """Forget what was called."""
        self.emulator.ask("calls", "DELETE")

    def get_file(self, file_id: str) -> str:
        """Call getFile as any client does; return the URL of the file."""
        token = self.emulator.tokens[0]
        parts = urlsplit(self.emulator.base_url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
        body = json.dumps({"file_id": file_id})
        path = f"{parts.path}{token}/getFile"
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = json.load(connection.getresponse())
        connection.close()
        return f"{self.emulator.base_file_url}{token}/{answer['result']['file_path']}"

    # --- tgsyncd ----------------------------------------------------------------------------------

    def write_config(self, **sections) -> Path:
        """Write a configuration, and the cache folder that it names, which is new."""
        self._caches += 1
        path = self.folder / f"tgsyncd-{self._caches}.yaml"
        path.write_text(
            yaml.safe_dump(
                {
                    "data_dir": str(self.folder / "data"),
                    "cache_dir": str(self.folder / f"cache-{self._caches}"),
                    "publish": {"directory": str(self.folder / "library")},
                    "store": {"kind": "telegram"},
                    "telegram": {
                        "bots": [{"token_file": str(path)} for path in self._token_files],
                        "chats": [self._chat],
                        "scratch_chat": self._scratch,
                        "base_url": self.emulator.base_url,
                        "base_file_url": self.emulator.base_file_url,
                    },
                    "video": {"threads": 2},
                    **sections,
                }
            )
        )
        return path

    def with_heads_of(self, uploaded: Path) -> Path:
        """Write a configuration whose cache holds the heads that an ingest pinned, and nothing else."""
        config = self.write_config()
        folder = self.folder / uploaded.stem.replace("tgsyncd", "cache") / "heads"
        shutil.copytree(folder, self.folder / config.stem.replace("tgsyncd", "cache") / "heads")
        return config

    def upload(self, film: Path, config: Path | None = None) -> str:
        """Store a film; return its video id."""
        known = set(self.video_ids())
        argv = [sys.executable, "-m", "tests.integration.telegram_cli", "upload"]
        config = config or self.write_config(server={"public_urls": ["http://192.0.2.1:8080"]})
        argv += ["--config", str(config), "--video", str(film)]
        answer = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        (video_id,) = set(self.video_ids()) - known
        return video_id

    @contextlib.contextmanager
    def serving(self, config: Path | None = None, **sections) -> Iterator[Server]:
        """Run a server; with nothing kept, unless the configuration is one that was used before."""
        port = free_port()
        config = config or self.write_config(**sections)
        argv = [sys.executable, "-m", "tests.integration.telegram_cli", "serve", "--config", str(config)]
        log = (self.folder / "serve.log").open("a")
        process = subprocess.Popen(
            [*argv, "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        server = Server(process, f"http://127.0.0.1:{port}")
        try:
            wait_for_port(port, process)
            yield server
        finally:
            server.stop()
            log.close()

    # --- the catalog ------------------------------------------------------------------------------

    def rows(self, sql: str, *params) -> list[tuple]:
        """Ask the catalog; nothing where there is none yet."""
        path = self.folder / "data" / "catalog.sqlite3"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, params).fetchall()

    def video_ids(self) -> list[str]:
        """Return what is stored."""
        return [row[0] for row in self.rows("SELECT video_id FROM videos")]

    def segments(self, video_id: str) -> list[StoredSegment]:
        """Return the segments of the main rendition, in order."""
        sql = "SELECT segment_order, byte_offset, file_size, duration FROM segments"
        rows = self.rows(f"{sql} WHERE video_id = ? AND rendition = 'main' ORDER BY 1", video_id)
        return [StoredSegment(*row) for row in rows]

    def documents(self, video_id: str) -> list[StoredDocument]:
        """Return the documents of the main rendition, in order."""
        sql = (
            "SELECT d.byte_offset, d.length, d.size, f.file_id FROM documents d"
            " JOIN document_files f USING (document_id) JOIN renditions r USING (rendition_id)"
            " WHERE r.video_id = ? AND r.name = 'main' GROUP BY d.document_id ORDER BY 1"
        )
        return [StoredDocument(*row) for row in self.rows(sql, video_id)]


@contextlib.contextmanager
def a_rig(**options) -> Iterator[Rig]:
    """A rig in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="tgsyncd-bench-"))
    rig = Rig(folder, **options)
    try:
        yield rig
    finally:
        rig.close()
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_port(port: int, process: subprocess.Popen, bound_s: float = 60.0) -> None:
    """Wait until a process listens."""
    end = time.monotonic() + bound_s
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        assert process.poll() is None, f"ended with {process.returncode}"
        assert time.monotonic() < end, f"nothing listens on port {port}"
        time.sleep(0.05)


def read(url: str, start: int = 0, stop: int = 0) -> tuple[float, int]:
    """Get a URL over a new connection; return the seconds to the first media bytes, and the body's length."""
    headers = {"Range": f"bytes={start}-{stop - 1}"} if stop else {}
    begun = time.perf_counter()
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)
    connection.request("GET", parts.path, headers=headers)
    answer = connection.getresponse()
    assert answer.status in {200, 206}, (url, answer.status)
    length = len(answer.read(MEDIA_BYTES))
    first_s = time.perf_counter() - begun
    while data := answer.read(65536):
        length += len(data)
    connection.close()
    return first_s, length


def playlist_url(server: Server, video_id: str) -> str:
    """Return what stands in the ``.strm``."""
    return f"{server.url}/playlist/{video_id}.m3u8"


def segment_urls(server: Server, video_id: str) -> list[str]:
    """Return the URLs in the playlist."""
    with urllib.request.urlopen(playlist_url(server, video_id), timeout=60) as answer:
        text = answer.read().decode()
    return [server.url + urlsplit(line).path for line in text.splitlines() if line and line[0] != "#"]


def load_now() -> str:
    """Say how busy the machine is: a busy one delays everybody, and not evenly."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
