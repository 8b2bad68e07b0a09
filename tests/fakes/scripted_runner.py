# SPDX-License-Identifier: MIT
"""A ProcessRunner that runs nothing: what each command says and how it ends is written down."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from tgsyncd.errors import FfmpegMissing
from tgsyncd.formats.ffmpeg import is_progress_line


@dataclass(frozen=True, kw_only=True)
class Script:
    """What a child does."""

    stdout: tuple[bytes, ...] = ()
    """What goes to file descriptors 1, 3, 4, ..."""
    stderr: str = ""
    exit_code: int = 0
    hangs: bool = False
    """It writes what it has to and then does not end."""
    missing: bool = False


@dataclass(frozen=True, kw_only=True)
class ScriptedResult:
    exit_code: int
    stdout: bytes = b""
    stderr_tail: str = ""
    timed_out: bool = False
    stdout_truncated: bool = False


class ScriptedRunner:
    """
    Answers each command by a script: one for all, or a function of the argv.

    ``argvs`` is what was asked for.
    """

    def __init__(self, reactor, script: Script | Callable[[Sequence[str]], Script]) -> None:
        self._reactor = reactor
        self._choose = (lambda _argv: script) if isinstance(script, Script) else script
        self.argvs: list[list[str]] = []

    def start(self, argv, *, pipes, wall_limit_s, on_stderr=None):
        script = self._script(argv)
        return ScriptedProcess(self._reactor, script, pipes, wall_limit_s, on_stderr)

    async def run(self, argv, *, wall_limit_s, max_stdout_bytes=64 << 20):
        script = self._script(argv)
        process = ScriptedProcess(self._reactor, script, 0, wall_limit_s, None)
        result = await process.wait()
        said = script.stdout[0] if script.stdout else b""
        return ScriptedResult(
            exit_code=result.exit_code,
            stdout=said[:max_stdout_bytes],
            stderr_tail=result.stderr_tail,
            timed_out=result.timed_out,
            stdout_truncated=len(said) > max_stdout_bytes,
        )

    def _script(self, argv) -> Script:
        self.argvs.append(list(argv))
        script = self._choose(argv)
        if script.missing:
            raise FfmpegMissing(
                f"The program {argv[0]} is not installed.", hint="install it: apt-get install ffmpeg"
            )
        return script


class ScriptedProcess:
    def __init__(self, reactor, script, pipes, wall_limit_s, on_stderr) -> None:
        ends = [os.pipe() for _ in range(pipes)]
        self.stdout_fds = tuple(read_end for read_end, _ in ends)
        self._script = script
        self._result: ScriptedResult | None = None
        self._waiting: list[Deferred] = []
        self._killed = Deferred()
        self._timed_out = False
        self._time_limit = reactor.callLater(wall_limit_s, self._out_of_time)
        outputs = [*script.stdout, *[b""] * pipes][:pipes]
        writers = [deferToThread(_write, end, data) for (_, end), data in zip(ends, outputs, strict=True)]
        lines = script.stderr.replace("\r", "\n").split("\n")
        for line in lines:
            if line and on_stderr:
                on_stderr(line)
        kept = "".join(f"{line}\n" for line in lines if line and not is_progress_line(line))
        self._tail = kept[-(16 << 10) :]
        if script.hangs:
            self._killed.addCallback(lambda _: self._end(-9))
        else:
            gatherResults(writers).addCallback(lambda _: self._end(script.exit_code))

    async def wait(self):
        if self._result is None:
            waiter = Deferred(self._waiting.remove)
            self._waiting.append(waiter)
            await waiter
        return self._result

    def kill(self) -> None:
        if self._result is None and not self._killed.called:
            self._killed.callback(None)
            if not self._script.hangs:
                self._end(-9)

    def _out_of_time(self) -> None:
        self._timed_out = True
        self.kill()

    def _end(self, exit_code: int) -> None:
        if self._result is not None:
            return
        if self._time_limit.active():
            self._time_limit.cancel()
        self._result = ScriptedResult(exit_code=exit_code, stderr_tail=self._tail, timed_out=self._timed_out)
        for waiter in list(self._waiting):
            waiter.callback(None)
        self._waiting.clear()


def _write(fd: int, data: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(fd, "wb") as pipe:
        pipe.write(data)
