# SPDX-License-Identifier: MIT
"""
Run ffmpeg and ffprobe: limited, in a process group of their own, killed with the daemon.

What an untrusted file makes of ffmpeg is contained by what every Debian has (util-linux, coreutils):

- ``setsid``: a process group of its own, so that ``kill`` reaches whatever the child started;
- ``env --chdir=/``: a working directory that is never a mount somebody wants to unmount. (Not by Twisted:
  with a directory it must fork a process that has threads, without one it uses posix_spawn.);
- ``setpriv --pdeathsig KILL``: the kernel kills the child when we die, also of SIGKILL;
- ``prlimit``: address space, CPU time, size of files, number of files, no core dump. RLIMIT_NPROC is left
  out because it counts all processes and threads of the user, not those of this child.

The child's environment is PATH, LANG and a setting of malloc, nothing else: no token, no proxy, no home
directory. Its standard input is /dev/null. It sees no pipe of another child: everything we open is
close-on-exec, and Twisted passes on only what is listed.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

from tgsyncd.errors import FfmpegError, FfmpegMissing
from tgsyncd.formats.ffmpeg import is_progress_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

STDERR_TAIL_BYTES: Final = 16 << 10
"""Enough for the last hundred messages; ports.ProcessResult promises it."""

MAX_LINE_BYTES: Final = 4 << 10
"""A line of standard error longer than this is handed on in pieces."""

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

ENVIRONMENT: Final = {
    "LANG": "C.UTF-8",
    # glibc reserves 64 MiB of address space for each thread otherwise, which the limit counts.
    "MALLOC_ARENA_MAX": "2",
}

_WRAPPERS: Final = ("setsid", "env", "setpriv", "prlimit")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLimits:
    """What one child may use at most. None means no limit."""

    address_space_bytes: int | None = 4 << 30
    """Decoding and x264 at 2160p map 2 GiB with two threads, 3 GiB with eight, 8 GiB with 32. NVENC needs
    None: CUDA reserves the address space of the GPU."""
    cpu_cores: int = 0
    """CPU seconds = wall-clock limit times this; 0 takes the number of cores of this machine. It never bites
    before the wall-clock limit does, and holds where the reactor cannot enforce that one any more."""
    file_size_bytes: int | None = 16 << 20
    """Our children write to pipes only, which do not count; drivers of GPUs write small caches."""
    open_files: int | None = 64
    search_path: str = SEARCH_PATH
    """Where programs are looked for, and the child's PATH."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a child ended (``ports.ProcessResult``)."""

    exit_code: int
    stdout: bytes
    stderr_tail: str
    timed_out: bool
    stdout_truncated: bool = False
    """It wrote more than was allowed, and was killed for that."""


class TwistedProcessRunner:
    """``ports.ProcessRunner`` on the reactor's child processes. Use from the reactor thread only."""

    def __init__(self, reactor: _Reactor, limits: ProcessLimits | None = None) -> None:
        self._reactor = reactor
        self._limits = limits or ProcessLimits()
        self._running: set[RunningProcess] = set()

    def start(
        self,
        argv: Sequence[str],
        *,
        pipes: int,
        wall_limit_s: float,
        on_stderr: Callable[[str], None] | None = None,
    ) -> RunningProcess:
        """
        Start a child that writes to ``pipes`` pipes: its file descriptors 1, 3, 4, ...

        ``on_stderr`` gets each line of standard error, without its end, on the reactor thread; lines of
        ``-progress`` reach it too, but not the tail that is kept for error messages.

        Raises
            FfmpegMissing when the program, or one of util-linux, is not installed; FfmpegError when the
            system starts no more processes.
        """
        return self._spawn(
            argv, pipes=pipes, wall_limit_s=wall_limit_s, on_stderr=on_stderr, max_stdout_bytes=0
        )

    async def run(
        self, argv: Sequence[str], *, wall_limit_s: float, max_stdout_bytes: int = 64 << 20
    ) -> Result:
        """
        Run a child to its end and capture its standard output.

        One that writes more than ``max_stdout_bytes`` is killed; cancelling kills it too.

        Raises
            FfmpegMissing when the program, or one of util-linux, is not installed; FfmpegError when the
            system starts no more processes.
        """
        process = self._spawn(
            argv,
            pipes=0,
            wall_limit_s=wall_limit_s,
            on_stderr=None,
            max_stdout_bytes=max_stdout_bytes,
        )
        try:
            return await process.wait()
        finally:
            process.kill()

    def kill_all(self) -> None:
        """Kill whatever still runs: for a daemon that stops."""
        for process in tuple(self._running):
            process.kill()

    def _spawn(
        self,
        argv: Sequence[str],
        *,
        pipes: int,
        wall_limit_s: float,
        on_stderr: Callable[[str], None] | None,
        max_stdout_bytes: int,
    ) -> RunningProcess:
        command = _build_command(argv, self._limits, wall_limit_s)
        ends = [os.pipe() for _ in range(pipes)]
        process = RunningProcess(
            stdout_fds=tuple(read_end for read_end, _ in ends),
            on_stderr=on_stderr,
            max_stdout_bytes=max_stdout_bytes,
            on_end=self._running.discard,
        )
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        child_fds: dict[int, int | str] = {0: null, 1: "r", 2: "r"}
        for number, (_, write_end) in enumerate(ends):
            child_fds[1 if number == 0 else number + 2] = write_end
        try:
            self._reactor.spawnProcess(
                process.protocol,
                command[0],
                command,
                env={"PATH": self._limits.search_path, **ENVIRONMENT},
                childFDs=child_fds,
            )
        except OSError as failure:
            for read_end, _ in ends:
                os.close(read_end)
            raise FfmpegError(
                f"{argv[0]} cannot be started: {failure.strerror}.",
                hint="is the machine out of memory or processes?",
            ) from failure
        finally:
            # Ours must be closed, or the reader would never see the end of the pipe.
            os.close(null)
            for _, write_end in ends:
                os.close(write_end)
        self._running.add(process)
        process.limit_time(self._reactor, wall_limit_s)
        return process


class RunningProcess:
    """A running child (``ports.Process``)."""

    def __init__(
        self,
        *,
        stdout_fds: tuple[int, ...],
        on_stderr: Callable[[str], None] | None,
        max_stdout_bytes: int,
        on_end: Callable[[RunningProcess], None],
    ) -> None:
        self._stdout_fds = stdout_fds
        self._on_end = on_end
        self._result: Result | None = None
        self._timed_out = False
        self._time_limit: IDelayedCall | None = None
        self._waiting: list[Deferred[Result]] = []
        self.protocol = _Protocol(
            lines=_Lines(on_stderr),
            max_stdout_bytes=max_stdout_bytes,
            overflowed=self.kill,
            ended=self._ended,
        )

    @property
    def stdout_fds(self) -> tuple[int, ...]:
        """Read ends of the pipes, blocking, to be read from a thread; the reader closes them."""
        return self._stdout_fds

    @property
    def pid(self) -> int | None:
        """The child's process and process group, or None when it has ended."""
        transport = self.protocol.transport
        return None if transport is None or self._result is not None else transport.pid

    async def wait(self) -> Result:
        """Wait for the end; does not raise for an exit status. Cancelling stops the waiting only."""
        if self._result is not None:
            return self._result
        waiter: Deferred[Result] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return await waiter

    def kill(self) -> None:
        """Kill the whole process group. Does nothing when it has ended."""
        pid = self.pid
        if not pid:
            return
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            # setsid has not run yet, so there is no such group. The pid is still ours: Twisted forgets it
            # in the same turn of the reactor in which it reaps the child.
            os.kill(pid, signal.SIGKILL)

    def limit_time(self, reactor: _Reactor, wall_limit_s: float) -> None:
        """Kill the child when it still runs after so many seconds."""
        if self._result is None:
            self._time_limit = reactor.callLater(wall_limit_s, self._out_of_time)

    def _out_of_time(self) -> None:
        self._time_limit = None
        self._timed_out = True
        self.kill()

    def _ended(self, exit_code: int) -> None:
        if self._time_limit is not None:
            self._time_limit.cancel()
            self._time_limit = None
        protocol = self.protocol
        self._result = Result(
            exit_code=exit_code,
            stdout=bytes(protocol.stdout),
            stderr_tail=protocol.lines.tail(),
            timed_out=self._timed_out,
            stdout_truncated=protocol.stdout_truncated,
        )
        self._on_end(self)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(self._result)


class _Protocol(ProcessProtocol):
    """Collects what the child says; bounded."""

    def __init__(
        self,
        *,
        lines: _Lines,
        max_stdout_bytes: int,
        overflowed: Callable[[], None],
        ended: Callable[[int], None],
    ) -> None:
        self.lines = lines
        self.stdout = bytearray()
        self.stdout_truncated = False
        self._max_stdout_bytes = max_stdout_bytes
        self._overflowed = overflowed
        self._ended = ended

    def outReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        room = self._max_stdout_bytes - len(self.stdout)
        self.stdout += data[:room]
        if len(data) > room and not self.stdout_truncated:
            self.stdout_truncated = True
            self._overflowed()

    def errReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        self.lines.feed(data)

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted's name
        self.lines.finish()
        self._ended(_exit_code(reason.value))


class _Lines:
    """Cuts standard error into lines, and keeps the last 16 KiB of those that are not progress."""

    _log = Logger()

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
        self._unfinished = b""
        self._tail = bytearray()

    def feed(self, data: bytes) -> None:
        # ffmpeg ends a status line with a carriage return.
        *lines, rest = (self._unfinished + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            self._line(line)
        while len(rest) > MAX_LINE_BYTES:
            self._line(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        self._unfinished = rest

    def finish(self) -> None:
        if self._unfinished:
            self._line(self._unfinished)
            self._unfinished = b""

    def tail(self) -> str:
        return self._tail.decode("utf-8", "replace")

    def _line(self, line: bytes) -> None:
        if not line:
            return
        text = line.decode("utf-8", "replace")
        if not is_progress_line(text):
            self._tail += line + b"\n"
            del self._tail[:-STDERR_TAIL_BYTES]
        if self._on_line is None:
            return
        try:
            self._on_line(text)
        except Exception:  # noqa: BLE001 - a progress bar's error must not lose the child's output
            self._log.failure("A reader of ffmpeg's messages failed")


def _build_command(argv: Sequence[str], limits: ProcessLimits, wall_limit_s: float) -> list[bytes]:
    """Return the whole command: wrappers, limits, program, arguments. Names may be any bytes but NUL."""
    found = {name: shutil.which(name, path=limits.search_path) for name in (*_WRAPPERS, argv[0])}
    for name, path in found.items():
        if path is None:
            raise _missing(name)
    cores = limits.cpu_cores or os.cpu_count() or 1
    rlimits = {
        "as": limits.address_space_bytes,
        "cpu": max(1, math.ceil(wall_limit_s * cores)),
        "fsize": limits.file_size_bytes,
        "nofile": limits.open_files,
        "core": 0,
    }
    command = [
        *(found["setsid"], found["env"], "--chdir=/"),
        *(found["setpriv"], "--pdeathsig", "KILL", found["prlimit"]),
        *(f"--{name}={value}" for name, value in rlimits.items() if value is not None),
        *("--", found[argv[0]], *argv[1:]),
    ]
    return [os.fsencode(word) for word in command if word is not None]


def _missing(name: str) -> FfmpegMissing:
    if name in _WRAPPERS:
        return FfmpegMissing(
            f"The program {name} is not installed; tgsyncd limits ffmpeg with it.",
            hint="install it: apt-get install util-linux coreutils",
        )
    return FfmpegMissing(f"The program {name} is not installed.", hint="install it: apt-get install ffmpeg")


def _exit_code(ended: BaseException | None) -> int:
    if isinstance(ended, error.ProcessTerminated):
        return -ended.signal if ended.signal is not None else int(ended.exitCode or 0)
    return 0


class _Reactor(IReactorProcess, IReactorTime):
    """What a runner needs of the reactor; for mypy only."""
