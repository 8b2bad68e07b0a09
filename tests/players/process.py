# SPDX-License-Identifier: MIT
"""Run a player as a child: own process group, bare environment, words in a file, not left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

_Seen = TypeVar("_Seen")

# How often a condition is looked at. Short enough to be no delay, long enough not to compete with the player.
POLL_S = 0.05


class PlayerFailure(Exception):
    """The player could not be brought to the end of the session; the message says where it stopped."""


class Deadline:
    """One bound for a whole session, however many waits it has."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._ends_s = time.monotonic() + timeout_s

    def left_s(self, what: str) -> float:
        """Give the seconds left; `PlayerFailure` when there are none."""
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise PlayerFailure(f"timed out after {self._timeout_s:.0f} s: {what}")
        return left_s

    def wait_for(self, what: str, look: Callable[[], _Seen | None]) -> _Seen:
        """Look until something is seen; ``what`` says in the failure what was waited for."""
        while not (seen := look()):
            time.sleep(min(POLL_S, self.left_s(what)))
        return seen


class Player:
    """A running player."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def exit_code(self) -> int | None:
        """Give the exit code once it has ended."""
        return self._process.poll()

    def words(self) -> str:
        """Give everything that it has said on standard output and standard error."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it and whatever it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def scratch_directory(owner: tuple[int, int] | None = None) -> Iterator[Path]:
    """Make a directory for one session, short enough for a Unix socket's path and reachable by ``owner``.

    It stands in /tmp itself: pytest's own directories are closed to other users (mode 0700).
    """
    with tempfile.TemporaryDirectory(prefix="player-", dir="/tmp") as name:
        if owner:
            os.chown(name, *owner)
        yield Path(name)


def _environment(home: Path) -> dict[str, str]:
    """Give what a player needs: no proxy, no session bus, no secrets of ours."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return {"PATH": path, "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "LANG": "C.UTF-8"}


@contextlib.contextmanager
def running(argv: Sequence[str], *, home: Path) -> Iterator[Player]:
    """Run a player for the length of a ``with`` block, and kill its whole process group at the end of it."""
    log = home / "log"
    with log.open("wb") as words:
        process = subprocess.Popen(
            argv,
            cwd=home,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    player = Player(process, log)
    try:
        yield player
    finally:
        player.kill()


def run(argv: Sequence[str], *, deadline: Deadline, what: str) -> tuple[int, str, str]:
    """Run a program to its end: exit code, standard output, standard error.

    When it is late, it is killed with its group, and `PlayerFailure` says ``what`` it was.
    """
    with (
        scratch_directory() as home,
        subprocess.Popen(
            argv,
            cwd=home,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        try:
            out, err = process.communicate(timeout=deadline.left_s(what))
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise PlayerFailure(f"timed out: {what}") from error
            raise
        return process.returncode, out, err
