# SPDX-License-Identifier: MIT
"""
Runs python-telegram-bot's own tests against the emulator.

PTB's tests come from its source distribution on PyPI, of the version that we use. They want an older
pytest with plugins of their own, so they get a virtual environment of their own: all under .cache/ptb.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.emulator.methods import METHODS
from tests.emulator.state import State
from tests.ptb.fixtures import unpack, write_missing

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "ptb"
EXPECTED = Path(__file__).resolve().with_name("expected.json")
PLUGIN = Path(__file__).resolve().parent

# What PTB's pyproject.toml asks for in its group "tests", as far as these tests use it.
# An older cachetools, because a test of PTB makes a cache of size None, which 7.3 refuses.
REQUIREMENTS = (
    "pytest==9.0.3", "pytest-asyncio==0.21.2", "flaky>=3.8.1", "beautifulsoup4", "pytz", "tzdata",
    "cachetools==7.0.6",
)  # fmt: skip

# Where PTB's tests meet a server for what the emulator implements. PTB's other tests send nothing, or
# only what a store has no use for: stickers, payments, games.
SELECTED = (
    "tests/test_bot.py",
    "tests/_files/test_document.py",
    "tests/_files/test_file.py",
    "tests/_files/test_inputmedia.py",
    "tests/_files/test_voice.py",
)

# PTB's own numbers for its test chats.
PRIVATE, SUPERGROUP, FORUM = 675666224, -1001310911135, -1001838004577
CHANNEL, SUBSCRIPTIONS = -1001062610360, -1002229649303
DAY_S = 86400


def version() -> str:
    return importlib.metadata.version("python-telegram-bot")


def source() -> Path:
    """Return PTB's unpacked source distribution, fetched on first use."""
    place = CACHE / version()
    if not (place / "ready").exists():
        place.mkdir(parents=True, exist_ok=True)
        wanted = f"python-telegram-bot=={version()}"
        _run("-m", "pip", "download", "-q", "--no-binary", ":all:", "--no-deps", "-d", str(place), wanted)
        (archive,) = place.glob("*.tar.gz")
        write_missing(unpack(archive, place) / "tests" / "data")
        (place / "ready").touch()
    (folder,) = [path for path in place.iterdir() if path.is_dir() and path.name != "venv"]
    return folder


def interpreter() -> Path:
    """Return the Python of the tests' own virtual environment, made on first use."""
    place = CACHE / version() / "venv"
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        _run("-m", "venv", str(place))
        wanted = f"python-telegram-bot[all]=={version()}"
        subprocess.run([str(python), "-m", "pip", "install", "-q", wanted, *REQUIREMENTS], check=True)
        (place / "ready").touch()
    return python


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True)


# -- the emulator --------------------------------------------------------------------------------------


def furnish(directory: Path) -> dict[str, Any]:
    """Create PTB's test bot and chats; return what PTB calls bot_info."""
    state = State(directory, time.time)
    bot = state.add_bot("PTB tests", inline=True)
    others = [state.add_bot(f"Other {number}") for number in range(3)]
    state.add_chat("private", chat_id=PRIVATE, title="PTB Test user", bots=[bot])
    state.add_chat(
        "supergroup", chat_id=SUPERGROUP, title=f">>> telegram.Bot(test) @{bot.username}", bots=[bot]
    )
    state.add_chat("supergroup", chat_id=FORUM, title="Forum", bots=[bot])
    state.add_chat("channel", chat_id=CHANNEL, username="pythontelegrambottests", bots=[bot, *others])
    state.set_member(CHANNEL, PRIVATE, "creator")
    state.add_chat("channel", chat_id=SUBSCRIPTIONS, bots=[bot])
    state.close()
    # The tests take for granted that message 1 of the private chat is too old to be deleted.
    past = State(directory, lambda: time.time() - 3 * DAY_S)
    chat = past.chat(PRIVATE)
    assert chat is not None
    past.add_post(chat, bot.bot_id, {"kind": "text", "text": "old"})
    past.close()
    return {
        "token": bot.token, "payment_provider_token": "1:TEST:none", "chat_id": str(PRIVATE),
        "super_group_id": str(SUPERGROUP), "forum_group_id": str(FORUM),
        "channel_id": "@pythontelegrambottests", "name": bot.name, "username": f"@{bot.username}",
        "subscription_channel_id": SUBSCRIPTIONS, "other_token": others[0].token,
    }  # fmt: skip


# -- the run -------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What became of the tests, by PTB's test ids."""

    exercised: set[str] = field(default_factory=set)
    """Passed, with at least one call that the emulator answered."""
    idle: set[str] = field(default_factory=set)
    """Passed without calling the server."""
    failed: dict[str, str] = field(default_factory=dict)
    """Failed, although every method they called is there."""
    beyond: dict[str, str] = field(default_factory=dict)
    """Failed for want of a method that the emulator does not have, or of the Internet."""
    skipped: set[str] = field(default_factory=set)

    def summary(self) -> str:
        return (
            f"{len(self.exercised)} passed on the emulator, {len(self.idle)} passed without a call,"
            f" {len(self.failed)} failed, {len(self.beyond)} need what the emulator does not have,"
            f" {len(self.skipped)} skipped"
        )

    def missing(self) -> Counter[str]:
        return Counter(self.beyond.values())


@dataclass
class Expected:
    """What came out the last time that somebody looked, for one version of PTB: ``expected.json``."""

    version: str
    exercised: list[str]
    failed: dict[str, str]
    """With the reason why each cannot pass."""
    beyond: dict[str, str]

    @staticmethod
    def load() -> Expected:
        return Expected(**json.loads(EXPECTED.read_text()))

    @staticmethod
    def of(outcome: Outcome) -> Expected:
        known = Expected.load().failed if EXPECTED.exists() else {}
        return Expected(
            version=version(),
            exercised=sorted(outcome.exercised),
            failed={test: known.get(test, "WHY?") for test in sorted(outcome.failed)},
            beyond=dict(sorted(outcome.beyond.items())),
        )

    def save(self) -> None:
        EXPECTED.write_text(json.dumps(asdict(self), indent=1) + "\n")


def run(directory: Path, *pytest_arguments: str) -> Outcome:
    """Run the selected tests with an emulator in ``directory``; takes about a minute."""
    report = directory / "report.json"
    info = furnish(directory / "state")
    emulator = subprocess.Popen(
        [sys.executable, "-m", "tests.emulator", "--port", "0", "--state", str(directory / "state")],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert emulator.stdout is not None
        url = emulator.stdout.readline().split()[1].removesuffix("/bot")
        settings = {"url": url, "info": info, "report": str(report)}
        subprocess.run(
            [
                str(interpreter()), "-m", "pytest", "-p", "emulator_plugin", "-p", "no:flaky",
                "-p", "no:cacheprovider", "-o", "addopts=", "-q", "--no-header", "--tb=no",
                "--no-summary", *(pytest_arguments or SELECTED),
            ],
            cwd=source(), check=False,
            env={**os.environ, "PYTHONPATH": str(PLUGIN), "PTB_EMULATOR": json.dumps(settings)},
        )  # fmt: skip
    finally:
        emulator.terminate()
        emulator.wait()
    return judge(json.loads(report.read_text()))


def judge(report: dict[str, Any]) -> Outcome:
    """Sort the tests by what their outcome says about the emulator."""
    outcome = Outcome()
    for test, entry in report.items():
        calls = {call.lower() for call in entry["calls"]} - {"download"}
        strange = sorted(calls - set(METHODS))
        if entry["outcome"] == "passed":
            (outcome.exercised if entry["calls"] else outcome.idle).add(test)
        elif entry["outcome"] == "skipped":
            outcome.skipped.add(test)
        elif strange:
            outcome.beyond[test] = strange[0]
        elif reason := _beyond(entry["error"]):
            outcome.beyond[test] = reason
        else:
            outcome.failed[test] = entry["error"]
    return outcome


def _beyond(error: str) -> str:
    # A session fixture that failed once fails again without a call.
    if "method not found" in error.lower():
        return "a fixture"
    if "may not reach" in error or "Name or service not known" in error:
        return "the Internet"
    return ""
