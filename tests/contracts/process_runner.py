# SPDX-License-Identifier: MIT
"""What every ProcessRunner must do: run by the real one and by the fake.

class TestMyRunner(ProcessRunnerContract):
    @pytest.fixture
    def prepare(self): ...     # a function from a Script to (runner, argv) that carries it out
"""

from __future__ import annotations

import os

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from tests.fakes.scripted_runner import Script
from tgsyncd.errors import FfmpegMissing


def read_to_end(fd):
    """Read a pipe as the cutter does: blocking, in a thread, closed by the reader."""
    with os.fdopen(fd, "rb") as pipe:
        return pipe.read()


def read_pipes(process):
    return gatherResults([deferToThread(read_to_end, fd) for fd in process.stdout_fds])


class ProcessRunnerContract:
    """The contract in ``ports.ProcessRunner``, ``Process`` and ``ProcessResult``."""

    @pytest_twisted.ensureDeferred
    async def test_run_captures_output_and_status(self, prepare):
        """Standard output, exit status and the end of standard error come back."""
        runner, argv = prepare(Script(stdout=(b"hello\0\xff",), stderr="it hurts", exit_code=3))
        result = await runner.run(argv, wall_limit_s=30)
        assert (result.stdout, result.exit_code, result.timed_out) == (b"hello\0\xff", 3, False)
        assert "it hurts" in result.stderr_tail

    @pytest_twisted.ensureDeferred
    async def test_run_cuts_output_off_at_the_limit(self, prepare):
        """Not a byte more than allowed is kept."""
        runner, argv = prepare(Script(stdout=(b"0123456789" * 1000,)))
        result = await runner.run(argv, wall_limit_s=30, max_stdout_bytes=25)
        assert result.stdout == b"0123456789012345678901234"

    @pytest.mark.parametrize("pipes", [1, 2, 4])
    @pytest_twisted.ensureDeferred
    async def test_each_pipe_carries_its_own_bytes(self, prepare, pipes):
        """File descriptors 1, 3, 4, ... of the child arrive in this order, whole, and end."""
        outputs = tuple(bytes([65 + number]) * 200_000 for number in range(pipes))
        runner, argv = prepare(Script(stdout=outputs))
        process = runner.start(argv, pipes=pipes, wall_limit_s=30)
        assert len(process.stdout_fds) == pipes
        assert await read_pipes(process) == list(outputs)
        result = await process.wait()
        assert (result.exit_code, result.stdout) == (0, b"")

    @pytest_twisted.ensureDeferred
    async def test_lines_of_stderr_are_handed_on(self, prepare):
        """Each line without its end; progress reaches the callback and not the tail."""
        lines = []
        runner, argv = prepare(Script(stderr="one\nout_time_us=5\nprogress=continue\r\ntwo"))
        process = runner.start(argv, pipes=0, wall_limit_s=30, on_stderr=lines.append)
        result = await process.wait()
        assert lines == ["one", "out_time_us=5", "progress=continue", "two"]
        assert result.stderr_tail.split() == ["one", "two"]

    @pytest_twisted.ensureDeferred
    async def test_only_the_end_of_stderr_is_kept(self, prepare):
        """16 KiB, however much the child complains."""
        runner, argv = prepare(Script(stderr="complaint\n" * 2_500 + "last words\n"))
        result = await runner.run(argv, wall_limit_s=30)
        assert len(result.stderr_tail) <= 16 << 10
        assert result.stderr_tail.endswith("last words\n")

    @pytest_twisted.ensureDeferred
    async def test_kill_ends_a_child_that_hangs(self, prepare):
        """It was killed by signal 9 and was not out of time; its pipe ends."""
        runner, argv = prepare(Script(hangs=True))
        process = runner.start(argv, pipes=1, wall_limit_s=30)
        process.kill()
        result = await process.wait()
        assert (result.exit_code, result.timed_out) == (-9, False)
        assert await read_pipes(process) == [b""]

    @pytest_twisted.ensureDeferred
    async def test_wait_may_be_asked_twice_and_kill_after_the_end(self, prepare):
        """The same result; nothing happens."""
        runner, argv = prepare(Script(exit_code=1))
        process = runner.start(argv, pipes=0, wall_limit_s=30)
        first = await process.wait()
        process.kill()
        assert await process.wait() == first
        assert first.exit_code == 1

    @pytest_twisted.ensureDeferred
    async def test_the_wall_clock_limit_kills(self, prepare):
        """A child that hangs is killed, and the result says why."""
        runner, argv = prepare(Script(hangs=True))
        result = await runner.run(argv, wall_limit_s=0.2)
        assert (result.exit_code, result.timed_out) == (-9, True)

    @pytest_twisted.ensureDeferred
    async def test_a_missing_program_says_how_to_get_it(self, prepare):
        """FfmpegMissing, with the remedy, from run and from start."""
        runner, argv = prepare(Script(missing=True))
        with pytest.raises(FfmpegMissing, match="apt-get install ffmpeg"):
            await runner.run(argv, wall_limit_s=30)
        with pytest.raises(FfmpegMissing):
            runner.start(argv, pipes=1, wall_limit_s=30)
