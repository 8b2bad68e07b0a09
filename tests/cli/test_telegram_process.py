# SPDX-License-Identifier: MIT
"""Setting up and trying Telegram as a newcomer does: processes, a terminal, and the commands of the docs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import urllib.request
from pathlib import Path

import pytest

from tests.canary import CANARY, search
from tgsyncd.config.hosts import choose_lan_addresses
from tgsyncd.config.load import own_addresses

ROOT = Path(__file__).parents[2]
WAIT_S = 120
TSYNC = [sys.executable, "-m", "tgsyncd"]


def commands_of_the_docs() -> tuple[str, str]:
    """What docs/emulator.md says to type, in one terminal and in the other."""
    section = (
        (ROOT / "docs/emulator.md").read_text().partition("## Try tgsyncd on it\n")[2].partition("\n## ")[0]
    )
    first, second = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return first, second


class Telegram:
    """The emulator as a process, started as the docs say."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        command = commands_of_the_docs()[0].replace(".venv/bin/python", sys.executable)
        assert "--port 8081" in command
        self.process = subprocess.Popen(
            ["bash", "-c", command.replace("--port 8081", "--port 0")],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.tokens, self.chats = [], {}
        for line in self.process.stdout:
            words = line.split()
            if words[0] == "bot":
                self.tokens.append(words[1])
            elif words[0] == "chat":
                self.chats[words[-1]] = int(words[1])
            elif words[0] == "control":
                self.url = words[1].removesuffix("/_control")
                return
        raise AssertionError("the emulator did not start")

    def control(self, path, **body):
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self.url}/_control/{path}", data)
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def posts(self, title):
        return self.control(f"messages?chat_id={self.chats[title]}")

    def stop(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.communicate()


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    """A home of its own, and nothing that configures but where others reach this machine."""
    variables = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "TERM": "dumb",
    }
    if not choose_lan_addresses(own_addresses()):
        variables["TGSYNCD_SERVER_PUBLIC_URLS"] = "http://192.0.2.9:8080"
    return variables


@pytest.fixture
def telegram(tmp_path, environ):
    """Telegram, for one test."""
    telegram = Telegram(tmp_path, environ)
    yield telegram
    telegram.stop()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def test_the_commands_of_the_docs(tmp_path, environ, telegram):
    """From nothing to a video in the chat and away again; no token anywhere but in its files."""
    script = commands_of_the_docs()[1]
    assert script.count("http://127.0.0.1:8081") == 1
    script = script.replace("http://127.0.0.1:8081", telegram.url)
    if "TGSYNCD_SERVER_PUBLIC_URLS" in environ:  # a machine without a network is no fault of these commands
        script = script.replace("tgsyncd doctor\n", "tgsyncd doctor || true\n")
    script = script.replace("tgsyncd list\n", "tgsyncd list\nread -r\n")
    environ["TGSYNCD_SERVER_PORT"] = str(free_port())

    with subprocess.Popen(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("clip  "):  # `tgsyncd list`
                break
        assert telegram.posts("Storage"), "".join(lines)
        rest, _ = process.communicate("\n", timeout=WAIT_S)

    output = "".join(lines) + rest
    assert process.returncode == 0, output
    assert output.count("has stored, read and deleted a test document") == 4  # two bots; setup and doctor
    assert "clip.mp4: stored as clip" in output
    assert telegram.posts("Storage") == telegram.posts("Scratch") == []
    assert CANARY not in output
    assert sorted(path.name for path in (tmp_path / "try").glob("*.token")) == [
        "bot-700000001.token",
        "bot-700000002.token",
    ]
    assert list(search([tmp_path])) == []
    assert not (tmp_path / "home").exists()


def test_no_token_at_any_verbosity(tmp_path, environ, telegram):
    """-vv shows what PTB and httpx say, with and without faults, and no token in it."""
    token, chat = telegram.tokens[0], str(telegram.chats["Storage"])
    setup = ["telegram", "setup", "-vv", "--base-url", telegram.url, "--chat-id", chat]
    outputs = []

    def run(*arguments, **more):
        result = subprocess.run(
            [*TSYNC, *arguments],
            cwd=tmp_path,
            env={**environ, **more},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        outputs.append(result.stdout + result.stderr)
        assert "this is a fault of tgsyncd" not in outputs[-1]
        return result.returncode

    assert run(*setup, TGSYNCD_BOT_TOKEN=token) == 0, outputs
    assert run(*setup, "--replace", "--bot-token", token) == 0
    run("doctor", "-vv")
    telegram.control("faults", kind="html", times=None)
    assert run(*setup, "-c", "x.yaml", TGSYNCD_BOT_TOKEN=token) == 10
    assert run("doctor", "-vv", "--json") == 10
    telegram.control("revoke_token", bot_id=int(token.partition(":")[0]))
    assert run(*setup, "-c", "x.yaml", TGSYNCD_BOT_TOKEN=token) == 10
    assert run(*setup, "-c", "x.yaml", "--chat-id", token, TGSYNCD_BOT_TOKEN=f"{token}!") == 2

    assert all("debug: " in output for output in outputs[:-1])
    assert [output for output in outputs if CANARY in output] == []
    assert list(search([tmp_path])) == []


class Terminal:
    """``tgsyncd`` at a terminal of its own."""

    def __init__(self, folder: Path, environ: dict[str, str], *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [*TSYNC, *arguments],
            cwd=folder,
            env=environ,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            # Its controlling terminal: Ctrl-C goes to it, and /dev/tty is it.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.seen = ""

    def expect(self, pattern: str) -> None:
        """Read until the pattern comes, in what came since the last one."""
        begin = len(self.seen)
        while not re.search(pattern, self.seen[begin:]):
            read = self._read()
            assert read, f"{pattern} did not come:\n{self.seen}"
            self.seen += read

    def answer(self, question: str, text: str) -> None:
        self.expect(re.escape(question) + r"[^\n]*: $")
        self.type(f"{text}\n")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def finish(self) -> int:
        while read := self._read():
            self.seen += read
        os.close(self.master)
        return self.process.wait(timeout=WAIT_S)

    def _read(self) -> str:
        try:
            return os.read(self.master, 65_536).decode()
        except OSError:  # EIO: the other side is closed
            return ""


@pytest.fixture
def at_terminal(tmp_path, environ, telegram):
    """Start the conversation; what still runs at the end is killed."""
    started = []

    def start(*arguments):
        started.append(
            Terminal(tmp_path, environ, "telegram", "setup", "--base-url", telegram.url, *arguments)
        )
        return started[-1]

    yield start
    for terminal in started:
        if terminal.process.poll() is None:
            terminal.process.kill()
            terminal.process.wait()


def test_a_conversation_at_a_terminal(tmp_path, telegram, at_terminal):
    """The token is typed and never shown; the configuration is there at the end."""
    terminal = at_terminal()
    terminal.answer("Token (not shown)", telegram.tokens[0])
    terminal.answer("Another bot?", "n")
    terminal.answer(
        "Link or number of the chat", f"https://t.me/c/{-1_000_000_000_000 - telegram.chats['Storage']}/1"
    )
    terminal.answer("Another chat?", "n")
    terminal.answer("Name a scratch chat?", "y")
    terminal.answer("Link or number of the scratch chat", str(telegram.chats["Scratch"]))
    assert terminal.finish() == 0, terminal.seen
    assert "next:    tgsyncd doctor" in terminal.seen
    assert CANARY not in terminal.seen
    folder = tmp_path / "home/.config/tgsyncd"
    assert sorted(path.name for path in folder.iterdir()) == ["bot-700000001.token", "tgsyncd.yaml"]
    assert list(search([tmp_path])) == []


@pytest.mark.parametrize("at_chat", [False, True], ids=["at the token", "at the chat"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_asks(tmp_path, telegram, at_terminal, number, at_chat):
    """It ends at once, with the terminal as it was and nothing written."""
    terminal = at_terminal()
    if at_chat:
        terminal.answer("Token (not shown)", telegram.tokens[0])
        terminal.answer("Another bot?", "n")
        terminal.expect("Link or number of the chat: $")
    else:
        terminal.expect(r"Token \(not shown\): $")
        assert not terminal.echoes()
    while terminal.process.poll() is None:
        # Python misses a signal that comes between the question and the read. People are slower than
        # that, and would press Ctrl-C once more.
        if number == signal.SIGINT:
            terminal.type("\x03")
        else:
            os.kill(terminal.process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            terminal.process.wait(timeout=10)
    assert terminal.process.returncode == 128 + number, terminal.seen
    assert terminal.echoes()
    terminal.finish()
    assert "Traceback" not in terminal.seen
    assert not (tmp_path / "home").exists()


def test_the_end_of_input_ends_it(tmp_path, at_terminal):
    """Ctrl-D at a question."""
    terminal = at_terminal()
    terminal.expect(r"Token \(not shown\): $")
    terminal.type("\x04")
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.seen
    assert not (tmp_path / "home").exists()


def test_no_input_asks_nothing_even_at_a_terminal(at_terminal):
    """What is missing is an error."""
    terminal = at_terminal("--no-input")
    assert terminal.finish() == 2
    assert "no bot was named" in terminal.seen
