# SPDX-License-Identifier: MIT
"""VLC without a window (``cvlc``), driven through its remote control interface.

Debian: ``vlc-bin vlc-plugin-base``. VLC refuses to run as root: as root, it is started as
``nobody`` (setpriv, from util-linux). The interface answers in whole seconds, rounded down, and
says "returned 0 (no error)" to everything: what happened is read from the positions, from VLC's
statistics and from its log.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tests.players import ffmpeg
from tests.players.process import (
    POLL_S,
    Deadline,
    Player,
    PlayerFailure,
    running,
    scratch_directory,
)
from tests.players.report import Findings, PlayReport, SeekReport, seek_targets, watch

PLAYER = "vlc"

# Four times as fast as in life: VLC cannot be told to forget the clock.
RATE = 4
# Rounded down to whole seconds, and a busy machine may take half a second to ask.
SEEK_SLACK_S = 3.0
# A stopped VLC has no position: what is compared is the last one seen before the end, and VLC
# renews it once a second, which is every four seconds of the stream.
END_SLACK_S = 6.0
# Pictures that must have been shown after a seek before it counts.
SEEK_PICTURES = 5

_ARGV = (
    *("cvlc", "-vv", "--no-color", "--no-dbus", "--no-lua", "--no-metadata-network-access"),
    *("--intf", "dummy", "--vout", "dummy", "--aout", "adummy", "--no-osd", "--no-spu"),
    *("--extraintf", "oldrc", "--rc-fake-tty", "--rate", str(RATE)),
)

_RECORDING = (
    *("cvlc", "-vv", "--no-color", "--no-dbus", "--no-lua", "--no-metadata-network-access"),
    "--no-sout-audio",
)
_FINISHED = "playlist debug: nothing to play"

# What VLC 3.0's log says when a part of the stream is missing or cannot be decoded. Its complaints
# about desktop facilities are the same for every stream, and those about timestamps and its clock
# come with every seek at this rate.
_COMPLAINTS = (
    re.compile(r"^HTTP/[0-9.]+ [45]\d\d.*$", re.MULTILINE),
    re.compile(r"(?<=\] )[\w ]*(?:demux|stream|access) error: .*$", re.MULTILINE),
    re.compile(r"(?<=\] )main input error: (?:Your|VLC) .*$", re.MULTILINE),
    re.compile(r"(?<=\] )ts demux warning: (?:lost|discontinuity received).*$", re.MULTILINE),
    re.compile(r"(?<=\] ).*(?:is not supported|could not decode).*$", re.MULTILINE | re.IGNORECASE),
)
_SHOWN = re.compile(r"frames displayed\s*:\s*(\d+)")
_STARTED = "Received first picture"
_STOPPED = "main playlist debug: nothing to play"


class RemoteControl:
    """One connection to VLC's rc interface: a line out, lines back, with announcements in between."""

    def __init__(self, connection: socket.socket, player: Player, deadline: Deadline) -> None:
        self._connection = connection
        self._player = player
        self._deadline = deadline
        self._unread = ""

    def _ask(self, command: str, answer: re.Pattern[str]) -> re.Match[str]:
        """Send a command and read until its answer has come; give the answer."""
        self._unread = ""
        try:
            self._connection.sendall(f"{command}\n".encode())
            while not (found := answer.search(self._unread)):
                self._connection.settimeout(self._deadline.left_s(f"VLC's answer to {command}"))
                if not (received := self._connection.recv(65536)):
                    raise PlayerFailure(f"VLC went away: {command}")
                self._unread += received.decode(errors="replace")
        except OSError as error:
            raise PlayerFailure(f"VLC did not answer to {command}: {error}") from error
        return found

    def tell(self, command: str) -> None:
        """Have a command carried out."""
        self._ask(command, re.compile(rf"{command.partition(' ')[0]}: returned"))

    def position_s(self) -> int:
        """Give the position in whole seconds; 0 when stopped."""
        # A line of digits alone, perhaps after the prompt; announcements stand on lines of their own.
        return int(self._ask("get_time", re.compile(r"^(?:> )*(\d+)\r?\n", re.MULTILINE))[1])

    def pictures_shown(self) -> int:
        """Give how many pictures the running input has shown; 0 when stopped."""
        found = self._ask("stats", re.compile(r"(?s).*stats: returned"))
        shown = _SHOWN.search(found[0])
        return int(shown[1]) if shown else 0

    def starts(self) -> int:
        """Give how many times VLC has shown a first picture."""
        return self._player.words().count(_STARTED)

    def stops(self) -> int:
        """Give how many times VLC has stopped, at the end or through whatever reason."""
        return self._player.words().count(_STOPPED)


def play(url: str, *, duration_s: float, timeout_s: float) -> PlayReport:
    """Play to the end, play again, seek to the middle and the last ten seconds, end again."""

    def session(findings: Findings, deadline: Deadline) -> None:
        with _started(url, deadline) as (player, control):
            try:
                _drive(control, deadline, duration_s=duration_s, findings=findings)
            finally:
                log = player.words()
                findings.played = _STARTED in log
                for pattern in _COMPLAINTS:
                    findings.complain(line.strip() for line in pattern.findall(log))

    return watch(PLAYER, timeout_s=timeout_s, session=session)


def record(url: str, *, duration_s: float, timeout_s: float) -> PlayReport:
    """
    Have VLC write the pictures that it plays into a file, once from start to end; have ffmpeg count them.

    Those that VLC shows are no measure of what it was given: it drops what comes too late for its clock, on a
    busy machine without any outage too. What its packetizer handed on is in the file: all but the last one,
    which it keeps for itself at the end of any stream.
    """

    def session(findings: Findings, deadline: Deadline) -> None:
        prefix, owner = _unprivileged()
        with scratch_directory(owner) as home:
            path = home / "recorded.h264"
            output = f"#es{{access-video=file,mux-video=dummy,dst-video={path}}}"
            argv = [*prefix, *_RECORDING, "--sout", output, url, "vlc://quit"]
            with running(argv, home=home) as player:
                deadline.wait_for("VLC's end", lambda: player.exit_code is not None)
                log = player.words()
            for pattern in _COMPLAINTS:
                findings.complain(line.strip() for line in pattern.findall(log))
            if not path.exists():
                raise PlayerFailure("VLC wrote nothing")
            findings.frames, errors = ffmpeg.count_pictures(path, deadline=deadline)
        findings.complain(errors)
        findings.played = findings.frames > 0
        findings.whole = findings.reached_end = _FINISHED in log

    return watch(PLAYER, timeout_s=timeout_s, session=session)


def _drive(control: RemoteControl, deadline: Deadline, *, duration_s: float, findings: Findings) -> None:
    ends_s = [_run_to_end(control, deadline, stops=1)]
    findings.whole = ends_s[0] >= duration_s - END_SLACK_S
    control.tell("play")
    # Until the new input shows something, VLC answers with the statistics of the old one.
    deadline.wait_for("VLC's second start", lambda: control.starts() > 1 or control.stops() > 1)
    for target_s in seek_targets(duration_s):
        findings.seeks.append(_seek(control, deadline, target_s))
    ends_s.append(_run_to_end(control, deadline, stops=2))
    findings.reached_end = min(ends_s) >= duration_s - END_SLACK_S


def _run_to_end(control: RemoteControl, deadline: Deadline, *, stops: int) -> int:
    """Follow the position until VLC has stopped that many times; give the last one."""
    last_s = 0
    while control.stops() < stops:
        last_s = control.position_s() or last_s
        time.sleep(min(POLL_S, deadline.left_s(f"VLC's end, at {last_s} s")))
    return last_s


def _seek(control: RemoteControl, deadline: Deadline, target_s: float) -> SeekReport:
    """Seek, then wait for pictures and for a later position.

    VLC repeats the wish as its position before it has read a byte for it.
    """
    shown_before = control.pictures_shown()
    control.tell(f"seek {target_s:.0f}")
    arrived_s = control.position_s()

    def look() -> str | None:
        shown = control.pictures_shown() - shown_before
        if shown >= SEEK_PICTURES and control.position_s() > arrived_s:
            return "goes on"
        return "stopped" if control.stops() > 1 else None

    seen = deadline.wait_for(f"VLC's pictures after seeking to {target_s:.0f} s", look)
    ok = abs(arrived_s - target_s) <= SEEK_SLACK_S and seen == "goes on"
    return SeekReport(target_s=target_s, arrived_s=arrived_s, ok=ok)


def _unprivileged() -> tuple[list[str], tuple[int, int] | None]:
    """Give the words that start a program as somebody else than root, and that somebody's ids."""
    if os.geteuid() != 0:
        return [], None
    nobody = pwd.getpwnam("nobody")
    uid, gid = nobody.pw_uid, nobody.pw_gid
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"], (uid, gid)


@contextlib.contextmanager
def _started(url: str, deadline: Deadline) -> Iterator[tuple[Player, RemoteControl]]:
    prefix, owner = _unprivileged()
    with scratch_directory(owner) as home:
        path = home / "rc"
        argv = [*prefix, *_ARGV, "--rc-unix", str(path), url]
        with (
            running(argv, home=home) as player,
            _connect(path, player, deadline) as connection,
        ):
            yield player, RemoteControl(connection, player, deadline)


def _connect(path: Path, player: Player, deadline: Deadline) -> socket.socket:
    def look() -> socket.socket | None:
        if player.exit_code is not None:
            raise PlayerFailure(f"cvlc ended with exit code {player.exit_code}: {player.words()}")
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            return None
        return connection

    return deadline.wait_for("VLC's socket", look)
