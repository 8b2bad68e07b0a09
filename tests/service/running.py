# SPDX-License-Identifier: MIT
"""A daemon as a process over a directory tree and a directory store."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml

ROOT = Path(__file__).parents[2]
WAIT_S = 180.0
"""A daemon starts in a second; in a minute where twenty others want the same two cores."""
T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str = "", bound_s: float = WAIT_S) -> T:
    """Return the condition's value as soon as it is true; fail when it does not become so."""
    end = time.monotonic() + bound_s
    while not (value := condition()):
        assert time.monotonic() < end, f"in {bound_s} s not: {what or condition}"
        time.sleep(0.05)
    return value


class NotifySocket:
    """What systemd is to a service."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.messages: list[str] = []

    def read(self) -> list[str]:
        while True:
            try:
                self.messages.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return self.messages

    def has(self, text: str) -> bool:
        return any(text in message for message in self.read())

    def close(self) -> None:
        self._socket.close()


class Daemon:
    """One data folder, one library, and the daemon that looks after it."""

    program: tuple[str, ...] = ("-m", "tgsyncd")

    def __init__(self, folder: Path, *, verb: str = "run", **sections) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.library = folder / "library"
        self.data = folder / "data"
        self.config = folder / "tgsyncd.yaml"
        self.log = folder / "log.txt"
        self.process: subprocess.Popen | None = None
        self.notify = NotifySocket(folder)
        self.port = 0
        self.environ: dict[str, str] = {}
        self.source.mkdir()
        self.configure(**sections)

    def configure(self, **sections) -> None:
        scan = {"rest": "0.3 s", **sections.pop("scan", {})}
        self.config.write_text(
            yaml.safe_dump(
                {
                    "data_dir": "data",
                    "libraries": [{"name": "Films", "source": "source", "publish": "library"}],
                    "server": {"public_urls": ["http://192.0.2.9:8080"]},
                    "documents": {"max_bytes": 1_000_000, "first_bytes": [200_000]},
                    "scan": scan,
                    **sections,
                }
            )
        )

    def start(self, *arguments: str) -> Daemon:
        self.notify.read()  # what one that was killed has said
        self.notify.messages.clear()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, "run", "--config", str(self.config),
                 "--host", "127.0.0.1", "--port", "0", *arguments],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                env={
                    "PATH": os.environ["PATH"], "HOME": str(self.folder),
                    "NOTIFY_SOCKET": str(self.notify.path), **self.environ,
                },
            )  # fmt: skip
        return self

    def ready(self) -> Daemon:
        """Wait until it serves."""
        wait_for(lambda: self.notify.has("READY=1") or self.process.poll() is not None, "READY=1")
        assert self.process.poll() is None, self.text()
        self.port = int(wait_for(lambda: re.findall(r"listening on 127.0.0.1, port (\d+)", self.text()))[-1])
        return self

    def stop(self, number: int = signal.SIGTERM, bound_s: float = 30.0) -> int:
        self.process.send_signal(number)
        code = self.process.wait(bound_s)
        self.notify.read()
        self.notify.messages.clear()
        return code

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)
        self.notify.close()

    def text(self) -> str:
        return self.log.read_text()

    def strms(self) -> list[str]:
        """The ``.strm`` files, by path below the library."""
        return sorted(str(path.relative_to(self.library)) for path in self.library.rglob("*.strm"))

    def wait_for_strms(self, *names: str) -> None:
        wait_for(lambda: self.strms() == sorted(names), f"{names}, but {self.strms()}\n{self.text()}")

    def wait_for_log(self, pattern: str, count: int = 1) -> None:
        wait_for(lambda: len(re.findall(pattern, self.text())) >= count, f"{pattern} in:\n{self.text()}")

    def wait_for_scans(self, count: int) -> None:
        """Wait for so many whole scans from now, each with the look at what is published."""
        for _ in range(count):
            for name in ("scan", "published"):
                before = self.job(name)["last_started_at_s"] or 0.0
                wait_for(
                    lambda name=name, before=before: (
                        (self.job(name)["last_started_at_s"] or 0.0) > before
                        and not self.job(name)["is_running"]
                    ),
                    f"the job {name}",
                )

    def job(self, name: str) -> dict:
        return next(job for job in self.status()["jobs"] if job["name"] == name)

    def rows(self, sql: str, *params) -> list[tuple]:
        db = sqlite3.connect(f"file:{self.data}/catalog.sqlite3?mode=ro", uri=True, timeout=30)
        try:
            return db.execute(sql, params).fetchall()
        finally:
            db.close()

    def get(self, path: str, *, token: str = "") -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def plays(self, strm: str) -> str:
        """Fetch everything behind a ``.strm``; return the sha256 of its segments."""
        url = (self.library / strm).read_text().strip()
        playlist = self.get(url.removeprefix("http://192.0.2.9:8080")).decode()
        digest = hashlib.sha256()
        for line in playlist.splitlines():
            if line and not line.startswith("#"):
                digest.update(self.get(line.removeprefix("http://192.0.2.9:8080")))
        return digest.hexdigest()

    def status(self) -> dict:
        """Ask over the control socket, as ``tgsyncd status`` does."""
        return self.ask("GET", "/status")

    def run_job(self, name: str) -> dict:
        """Run a job now and wait for its end."""
        return self.ask("POST", f"/jobs/{name}")

    def ask(self, method: str, path: str) -> dict:
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.data / "control.sock"))
        try:
            connection.request(method, path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def make_clip(path: Path, *, tone_hz: int = 440, seconds: int = 2) -> Path:
    """Write a small film; another tone is another film."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = f"testsrc2=size=160x90:rate=25:duration={seconds}"
    sound = f"sine=frequency={tone_hz}:duration={seconds}"
    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        picture,
        "-f",
        "lavfi",
        "-i",
        sound,
    ]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-c:a", "aac"]
    subprocess.run([*command, *codecs, str(path)], check=True, timeout=60)
    return path
