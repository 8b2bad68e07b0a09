# SPDX-License-Identifier: MIT
"""``python -m tests.emulator``, as a newcomer starts it, and /_control."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def ask(url, data=None, method=None):
    body = json.dumps(data).encode() if data is not None else None
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/json"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


class Process:
    def __init__(self, state, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.emulator", "--port", "0", "--state", str(state), *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.split())
            if line.startswith("control"):
                break
        else:
            raise AssertionError("the emulator ended before it listened")
        self.url = self.lines[0][1].removesuffix("/bot")
        self.tokens = [line[1] for line in self.lines if line[0] == "bot"]
        self.chats = [int(line[1]) for line in self.lines if line[0] == "chat"]

    def end(self, *, kill=False):
        self.process.kill() if kill else self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def test_it_starts_is_killed_and_remembers(tmp_path):
    """Tokens, chats and messages are there again after SIGKILL."""
    one = Process(tmp_path / "state", "--bots", "2")
    try:
        status, sent = ask(
            f"{one.url}/bot{one.tokens[0]}/sendMessage", {"chat_id": one.chats[0], "text": "x"}
        )
        assert status == 200
    finally:
        one.end(kill=True)
    two = Process(tmp_path / "state")
    try:
        assert (two.tokens, two.chats) == (one.tokens, one.chats)
        _, messages = ask(f"{two.url}/_control/messages?chat_id={one.chats[0]}")
        assert [message["message_id"] for message in messages] == [sent["result"]["message_id"]]
    finally:
        two.end()


def test_control_changes_everything_while_it_runs(tmp_path):
    """Knobs, faults, bots, chats, members, time and the record are a request away; mistakes are told."""
    process = Process(tmp_path / "state", "--limits", "cloud")
    control = f"{process.url}/_control"
    me = f"{process.url}/bot{process.tokens[0]}/getMe"
    try:
        assert ask(f"{control}/knobs")[1]["messages_per_minute"] == 20
        assert ask(f"{control}/knobs", {"latency_s": 0, "range_honoured": False})[1]["latency_s"] == 0
        assert "no such knob" in ask(f"{control}/knobs", {"nonsense": 1})[1]["description"]
        ask(f"{control}/faults", {"kind": "flood", "retry_after_s": 9, "times": 1})
        assert ask(me)[1]["parameters"] == {"retry_after": 9}
        assert ask(me)[0] == 200
        assert "no such fault" in ask(f"{control}/faults", {"kind": "nonsense"})[1]["description"]
        assert len(ask(f"{control}/faults")[1]) == 1
        assert ask(f"{control}/faults", method="DELETE")[1] == []
        bot = ask(f"{control}/bots", {"name": "late"})[1]
        chat = ask(f"{control}/chats", {"type": "supergroup", "title": "Late"})[1]
        ask(f"{control}/members", {"chat_id": chat["chat_id"], "bot_id": bot["bot_id"]})
        status, sent = ask(
            f"{process.url}/bot{bot['token']}/sendMessage", {"chat_id": chat["chat_id"], "text": "x"}
        )
        assert status == 200
        ask(f"{control}/skip", {"seconds": 2 * 86400})
        delete = {"chat_id": chat["chat_id"], "message_id": sent["result"]["message_id"]}
        assert ask(f"{process.url}/bot{bot['token']}/deleteMessage", delete)[0] == 400
        ask(f"{control}/revoke_token", {"bot_id": bot["bot_id"]})
        assert ask(f"{process.url}/bot{bot['token']}/getMe")[0] == 401
        renewed = ask(f"{control}/renew_token", {"bot_id": bot["bot_id"]})[1]
        assert ask(f"{process.url}/bot{renewed['token']}/getMe")[0] == 200
        overview = ask(control)[1]
        assert "token" not in json.dumps(overview)
        assert [call["status"] for call in ask(f"{control}/calls?method=getMe")[1]] == [429, 200, 401, 200]
        assert "there are" in ask(f"{control}/nonsense")[1]["description"]
    finally:
        process.end()


def test_it_goes_down_and_comes_back_by_itself(tmp_path):
    """After /_control/down connections are refused, and later the same port answers again."""
    process = Process(tmp_path / "state")
    me = f"{process.url}/bot{process.tokens[0]}/getMe"
    try:
        assert ask(f"{process.url}/_control/down", {"seconds": 0.3})[1] == {"down_for_s": 0.3}
        assert_soon(lambda: not answers(me))
        assert_soon(lambda: answers(me))
    finally:
        process.end()


def answers(url):
    try:
        return ask(url)[0] == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def assert_soon(is_true):
    deadline_s = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline_s


def test_help_tells_how_to_begin():
    """--help names the state, the limits and the control address."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.emulator", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for word in ("--state", "--limits", "_control", "docs/emulator.md"):
        assert word in done.stdout


@pytest.mark.parametrize("method", ["PUT", "HEAD", "DELETE"])
def test_other_verbs_are_not_implemented(tmp_path, method):
    """501 with an empty body, and the connection ends."""
    process = Process(tmp_path / "state")
    try:
        request = urllib.request.Request(f"{process.url}/bot{process.tokens[0]}/getMe", method=method)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=20)
        assert caught.value.code == 501
        assert caught.value.read() == b""
        assert caught.value.headers["Connection"] == "close"
    finally:
        process.end()
