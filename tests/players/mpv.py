# SPDX-License-Identifier: MIT
"""mpv, driven through its JSON IPC: what Jellyfin's desktop applications are built on.

Debian: ``mpv``.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.players.process import Deadline, Player, PlayerFailure, running, scratch_directory
from tests.players.report import (
    Findings,
    PlayReport,
    SeekReport,
    find_gap,
    seek_targets,
    watch,
)

PLAYER = "mpv"

SEEK_SLACK_S = 1.0
END_SLACK_S = 1.0

# --demuxer-seekable-cache=no: a clip fits into mpv's cache as no film does, and a seek within the
# cache never reaches the demuxer. --keep-open stops at the last picture, from where one may seek.
_ARGV = (
    *("mpv", "--no-config", "--load-scripts=no", "--ytdl=no", "--no-terminal", "--idle=yes"),
    *("--vo=null", "--ao=null", "--framedrop=no", "--audio-pitch-correction=no"),
    *("--keep-open=yes", "--hr-seek=yes", "--demuxer-seekable-cache=no"),
)

# Decoding is faster than this on one core for the clips of the tests.
FAST = 10
# mpv tells where it is when it comes to it: on a machine that pauses it for a fifth of a second, two seconds
# later. A segment that is missing is longer.
MAX_GAP_S = 3.0
# How far a picture must move on after a seek, at normal speed, to show that there is something to read there.
STEP_S = 0.2

Message = dict[str, Any]


class Ipc:
    """One connection to mpv: requests with ids, events in between."""

    def __init__(self, connection: socket.socket, player: Player, deadline: Deadline) -> None:
        self._connection = connection
        self._player = player
        self._deadline = deadline
        self._unread = b""
        self._request_id = 0
        self.complaints: list[str] = []
        self.times_s: list[float] = []

    def read(self, waiting_for: str) -> Message:
        """Give the next message; keep what mpv complains about and where it is on the way."""
        while b"\n" not in self._unread:
            self._connection.settimeout(self._deadline.left_s(waiting_for))
            try:
                received = self._connection.recv(65536)
            except TimeoutError:
                continue
            if not received:
                raise PlayerFailure(f"mpv went away: {waiting_for}")
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        message: Message = json.loads(line)
        self._note(message)
        return message

    def _note(self, message: Message) -> None:
        # mpv quarrels with its own null output about pausing; that says nothing about the stream.
        if message.get("event") == "log-message" and not message["prefix"].startswith("ao/"):
            self.complaints.append(f"{message['prefix']}: {message['text'].strip()}")
        elif message.get("name") == "time-pos" and message.get("data") is not None:
            self.times_s.append(message["data"])

    def command(self, *words: object) -> Any:
        """Send a command; give its answer, or None where mpv answers with an error."""
        self._request_id += 1
        request = {"command": words, "request_id": self._request_id}
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        while True:
            message = self.read(f"mpv's answer to {words[0]}")
            if message.get("request_id") == self._request_id and "error" in message:
                return message.get("data")

    def wait_for_event(self, name: str) -> None:
        """Wait for an event; the end of the file through an error is a failure."""
        while True:
            message = self.read(f"mpv's event {name}")
            if message.get("event") == "end-file" and message.get("reason") == "error":
                raise PlayerFailure(f"mpv gave up: {message.get('file_error', 'no reason given')}")
            if message.get("event") == name:
                return


def play(url: str, *, duration_s: float, timeout_s: float) -> PlayReport:
    """Play untimed to the end, seek to the middle and the last ten seconds, reach the end again."""

    def session(findings: Findings, deadline: Deadline) -> None:
        with _connected(deadline) as ipc:
            try:
                _drive(ipc, url, duration_s=duration_s, findings=findings)
            finally:
                findings.complain(ipc.complaints)

    return watch(PLAYER, timeout_s=timeout_s, session=session)


def _drive(ipc: Ipc, url: str, *, duration_s: float, findings: Findings) -> None:
    ipc.command("request_log_messages", "error")
    ipc.command("observe_property", 1, "time-pos")
    ipc.command("observe_property", 2, "eof-reached")
    ipc.command("loadfile", url)
    ipc.wait_for_event("playback-restart")
    # A file whose pictures cannot be decoded plays its sound: that is no picture on a screen.
    findings.played = ipc.command("get_property", "video-params") is not None
    ends_s = [_run_to_end(ipc)]
    findings.whole = ends_s[0] >= duration_s - END_SLACK_S
    findings.complain(filter(None, [find_gap(ipc.times_s, max_gap_s=MAX_GAP_S)]))
    findings.seeks += [_seek(ipc, target_s) for target_s in seek_targets(duration_s)]
    ends_s.append(_run_to_end(ipc))
    findings.reached_end = min(ends_s) >= duration_s - END_SLACK_S


def _run_to_end(ipc: Ipc) -> float:
    """Play fast to the end; give the last position seen."""
    ipc.command("set_property", "speed", FAST)
    ipc.command("set_property", "pause", False)
    while ipc.command("get_property", "eof-reached") is not True:
        ipc.read("the end of the file")
    return max(ipc.times_s, default=0.0)


def _seek(ipc: Ipc, target_s: float) -> SeekReport:
    """Seek while paused, then play on a little.

    Where nothing can be read, mpv still claims to have arrived.
    """
    ipc.command("set_property", "pause", True)
    ipc.command("set_property", "speed", 1)
    ipc.command("seek", target_s, "absolute+exact")
    ipc.wait_for_event("playback-restart")
    arrived_s = ipc.command("get_property", "time-pos")
    if arrived_s is None:
        return SeekReport(target_s=target_s, arrived_s=None, ok=False)
    ok = abs(arrived_s - target_s) <= SEEK_SLACK_S and _plays_on(ipc, arrived_s)
    return SeekReport(target_s=target_s, arrived_s=arrived_s, ok=ok)


def _plays_on(ipc: Ipc, from_s: float) -> bool:
    """Say whether pictures follow closely; at the end of the file mpv jumps to the file's length instead."""
    ipc.times_s.clear()
    ipc.command("set_property", "pause", False)
    while max(ipc.times_s, default=0.0) < from_s + STEP_S:
        if ipc.command("get_property", "eof-reached"):
            return False
        ipc.read("the pictures after a seek")
    return max(ipc.times_s) <= from_s + SEEK_SLACK_S


@contextlib.contextmanager
def _connected(deadline: Deadline) -> Iterator[Ipc]:
    with scratch_directory() as home:
        path = home / "ipc"
        with (
            running([*_ARGV, f"--input-ipc-server={path}"], home=home) as player,
            _connect(path, player, deadline) as connection,
        ):
            yield Ipc(connection, player, deadline)


def _connect(path: Path, player: Player, deadline: Deadline) -> socket.socket:
    def look() -> socket.socket | None:
        if player.exit_code is not None:
            raise PlayerFailure(f"mpv ended with exit code {player.exit_code}: {player.words()}")
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            return None
        return connection

    return deadline.wait_for("mpv's socket", look)
