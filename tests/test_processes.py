# SPDX-License-Identifier: MIT
"""The real process runner, and the fake one, against real programs of the system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.contracts.process_runner import ProcessRunnerContract, read_pipes
from tests.fakes.scripted_runner import Script, ScriptedRunner
from tgsyncd.errors import FfmpegError, FfmpegMissing
from tgsyncd.processes import ProcessLimits, TwistedProcessRunner


def shell_command(script: Script) -> list[str]:
    """Return a shell command that does what the script says."""
    if script.missing:
        return ["no-such-ffmpeg"]
    octal = lambda data: "".join(f"\\{byte:03o}" for byte in data)  # noqa: E731
    commands = []
    for number, data in enumerate(script.stdout):
        fd = 1 if number == 0 else number + 2
        unit = data[:1] if len(set(data)) == 1 else data
        commands.append(
            f"head -c {len(data)} /dev/zero | tr '\\000' '{octal(unit)}' >&{fd}"
            if len(unit) == 1
            else f"printf '{octal(data)}' >&{fd}"
        )
    if script.stderr:
        commands.append(f"printf '{octal(script.stderr.encode())}' >&2")
    commands.append("exec sleep 600" if script.hangs else f"exit {script.exit_code}")
    return ["sh", "-c", "\n".join(commands)]


@pytest.fixture
def runner():
    return TwistedProcessRunner(reactor)


class TestTwistedProcessRunner(ProcessRunnerContract):
    @pytest.fixture
    def prepare(self, runner):
        return lambda script: (runner, shell_command(script))


class TestScriptedRunner(ProcessRunnerContract):
    @pytest.fixture
    def prepare(self):
        return lambda script: (ScriptedRunner(reactor, script), ["ffmpeg", "-version"])


async def said(runner, *argv, **limits):
    result = await runner.run(argv, wall_limit_s=30, **limits)
    assert result.exit_code == 0, result.stderr_tail
    return result.stdout.decode()


@pytest_twisted.ensureDeferred
async def test_nothing_of_our_environment_is_inherited(runner, monkeypatch):
    """The child has PATH, LANG and a setting of malloc: no token, no proxy, no home."""
    monkeypatch.setenv("TGSYNCD_BOT_TOKEN", "123:secret")
    names = [line.split("=")[0] for line in (await said(runner, "env")).splitlines()]
    assert sorted(names) == ["LANG", "MALLOC_ARENA_MAX", "PATH"]


@pytest_twisted.ensureDeferred
async def test_a_child_has_its_own_session_directory_and_input(runner):
    """Process group and session of its own, working directory /, standard input /dev/null."""
    stat = (await said(runner, "cat", "/proc/self/stat")).split()
    pid, group, session = stat[0], stat[4], stat[5]
    assert pid == group == session
    assert await said(runner, "pwd") == "/\n"
    assert await said(runner, "readlink", "/proc/self/fd/0") == "/dev/null\n"


@pytest_twisted.ensureDeferred
async def test_the_limits_hold_in_the_child(runner):
    """Address space, CPU time, file size, open files, no core dump."""
    lines = (await said(runner, "cat", "/proc/self/limits")).splitlines()
    limits = {line[:25].strip(): line[25:].split()[:2] for line in lines[1:]}
    cpu_s = str(30 * (os.cpu_count() or 1))
    assert limits["Max address space"] == [str(4 << 30)] * 2
    assert limits["Max cpu time"] == [cpu_s, cpu_s]
    assert limits["Max file size"] == [str(16 << 20)] * 2
    assert limits["Max open files"] == ["64", "64"]
    assert limits["Max core file size"] == ["0", "0"]


@pytest_twisted.ensureDeferred
async def test_limits_can_be_lifted():
    """None means that the limit of the daemon stays; CUDA needs it for the address space."""
    lifted = TwistedProcessRunner(reactor, ProcessLimits(address_space_bytes=None))
    text = await said(lifted, "cat", "/proc/self/limits")
    (line,) = [line for line in text.splitlines() if line.startswith("Max address space")]
    assert line.split()[3] == "unlimited"


@pytest_twisted.ensureDeferred
async def test_a_child_cannot_fill_the_disk(tmp_path):
    """A file larger than the limit ends it with SIGXFSZ."""
    small = TwistedProcessRunner(reactor, ProcessLimits(file_size_bytes=4096))
    argv = ["head", "-c", "100000", "/dev/zero"]
    out = tmp_path / "out"
    result = await small.run(["sh", "-c", f"exec {' '.join(argv)} > {out}"], wall_limit_s=30)
    assert result.exit_code == -signal.SIGXFSZ
    assert out.stat().st_size == 4096


@pytest_twisted.ensureDeferred
async def test_children_do_not_hold_each_others_pipes(runner):
    """A second child sees three descriptors, though a first one has two pipes to us."""
    first = runner.start(["sleep", "600"], pipes=2, wall_limit_s=30)
    listed = await said(runner, "ls", "/proc/self/fd")
    first.kill()
    await read_pipes(first)
    assert listed.split() == ["0", "1", "2", "3"]  # 3 is ls reading the directory


@pytest_twisted.ensureDeferred
async def test_descriptors_are_given_back(runner):
    """After twenty children, and after one that does not exist, we have as many open files as before."""
    await said(runner, "true")
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(20):
        process = runner.start(["echo", "x"], pipes=2, wall_limit_s=30)
        await read_pipes(process)
        await process.wait()
        with pytest.raises(FfmpegMissing):
            runner.start(["no-such-ffmpeg"], pipes=3, wall_limit_s=30)
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest_twisted.ensureDeferred
async def test_kill_reaches_grandchildren(runner):
    """The whole process group goes."""
    told = Deferred()
    process = runner.start(
        ["sh", "-c", "sleep 600 & echo $! >&2; wait"],
        pipes=0,
        wall_limit_s=60,
        on_stderr=told.callback,
    )
    grandchild = int(await told)
    process.kill()
    await process.wait()
    await until_gone(grandchild)


@pytest_twisted.ensureDeferred
async def test_kill_all_ends_everything(runner):
    """What a daemon that stops needs."""
    processes = [runner.start(["sleep", "600"], pipes=0, wall_limit_s=60) for _ in range(3)]
    runner.kill_all()
    assert [(await process.wait()).exit_code for process in processes] == [-9, -9, -9]


@pytest_twisted.ensureDeferred
async def test_cancelling_a_run_kills_the_child(runner):
    """Nobody waits for it any more, so nobody would end it."""
    run = Deferred.fromCoroutine(runner.run(["sleep", "600"], wall_limit_s=60))
    (process,) = runner._running
    run.cancel()
    run.addErrback(lambda _failure: None)
    assert (await process.wait()).exit_code == -9


@pytest_twisted.ensureDeferred
async def test_a_reader_of_messages_that_fails_loses_nothing(runner):
    """The child goes on, and its last words are kept."""

    def fail(line):
        raise ValueError(line)

    process = runner.start(["sh", "-c", "echo bad >&2"], pipes=0, wall_limit_s=30, on_stderr=fail)
    assert (await process.wait()).stderr_tail == "bad\n"


@pytest_twisted.ensureDeferred
async def test_a_name_of_any_bytes_is_an_argument(runner):
    """Also those that are not UTF-8."""
    assert (await runner.run(["printf", "%s", os.fsdecode(b"\xff\n'")], wall_limit_s=30)).stdout == b"\xff\n'"


PARENT = """
from twisted.internet import reactor
from tgsyncd.processes import TwistedProcessRunner

def start():
    process = TwistedProcessRunner(reactor).start(["sleep", "600"], pipes=1, wall_limit_s=600)
    wait(process.pid)

def wait(pid):
    with open(f"/proc/{pid}/comm") as comm:
        if comm.read() == "sleep\\n":
            print(pid, flush=True)
        else:
            reactor.callLater(0.01, wait, pid)

reactor.callWhenRunning(start)
reactor.run()
"""


@pytest_twisted.ensureDeferred
async def test_a_child_dies_with_its_parent():
    """SIGKILL of the daemon ends its ffmpeg, though that sleeps and touches no pipe."""
    parent = subprocess.Popen(  # noqa: ASYNC220 - it is read one line, as soon as that is there
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await until_gone(child)


async def until_gone(pid):
    """Wait until the process has ended; one that nobody reaps stays as a zombie."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        await deferLater(reactor, 0.01)
    pytest.fail(f"process {pid} lives")


@pytest_twisted.ensureDeferred
async def test_a_child_that_cannot_start_leaves_nothing_behind(runner):
    """An argument longer than the kernel takes is an FfmpegError, and the pipes are closed."""
    await said(runner, "true")
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(FfmpegError, match="cannot be started"):
        runner.start(["echo", "x" * 200_000], pipes=2, wall_limit_s=30)
    assert set(Path("/proc/self/fd").iterdir()) == before
