# SPDX-License-Identifier: MIT
"""
SIGKILL ``tgsyncd upload`` at random instants over a Telegram that has a bad day.

By hand: ``python -m tests.integration.telegram_kills --kills 100`` (a seed may be given; it is always
printed). The emulator is a process of its own, which lives on; the limits are lifted on both sides, so that a
run takes seconds; everything else is as it is for an owner.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.integration.kills import Home, Report, run_kills
from tests.integration.players import make_film
from tests.integration.telegram import SMALL_DOCUMENTS
from tests.players import matrix

FAULTS = (
    {"kind": "error", "code": 500, "method": "*", "probability": 0.025},
    {"kind": "html", "code": 502, "method": "*", "probability": 0.025},
    {"kind": "truncate", "method": "download", "probability": 0.05},
    {"kind": "lost_acknowledgement", "method": "sends", "probability": 0.05},
)

# 0.3 s for a document of 100 kB, as long as 20 MB take at 60 MB/s: many kills find uploads in flight.
KNOBS = {"latency_s": 0.02, "store_s_per_mib": 3.0}


OF_ANY_TIME = 0.2
"""The share of kills at any time from the start on; the others come after any number of requests."""


class EmulatorProcess:
    """``python -m tests.emulator``, and its control endpoint."""

    def __init__(self, folder: Path, *, bots: int, seed: int) -> None:
        argv = ["-m", "tests.emulator", "--port", "0", "--state", str(folder), "--bots", str(bots)]
        self._process = subprocess.Popen(
            [sys.executable, *argv, "--seed", str(seed)], stdout=subprocess.PIPE, text=True
        )
        self.tokens: list[str] = []
        words: dict[str, str] = {}
        for line in self._process.stdout:
            name, value = line.split()[:2]
            words[name] = value
            if name == "bot":
                self.tokens.append(value)
            if name == "control":
                break
        self.base_url, self.base_file_url = words["base_url"], words["base_file_url"]
        self._control = words["control"]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def ask(self, what: str, verb: str = "GET", **values):
        """Ask the control endpoint."""
        request = urllib.request.Request(
            f"{self._control}/{what}",
            data=json.dumps(values).encode() if verb == "POST" else None,
            headers={"Content-Type": "application/json"},
            method=verb,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def new_chat(self, title: str) -> int:
        """Make a chat in which all bots are administrators."""
        chat_id = self.ask("chats", "POST", type="channel", title=title)["chat_id"]
        for token in self.tokens:
            self.ask("members", "POST", chat_id=chat_id, bot_id=int(token.partition(":")[0]))
        return chat_id


@contextlib.contextmanager
def faulty_emulator(folder: Path, *, seed: int, bots: int = 2) -> Iterator[EmulatorProcess]:
    """Run an emulator on which everything fails now and then."""
    emulator = EmulatorProcess(folder, bots=bots, seed=seed)
    try:
        for fault in FAULTS:
            emulator.ask("faults", "POST", times=None, **fault)
        emulator.ask("knobs", "POST", **KNOBS)
        yield emulator
    finally:
        emulator.stop()


class TelegramHome(Home):
    """A data folder whose documents go into two chats of its own, by two bots."""

    program = ("-m", "tests.integration.telegram_cli")
    calls_max = 40
    """A third of what an undisturbed run needs: a home is killed several times before it is done."""

    def __init__(self, folder: Path, source: Path, emulator: EmulatorProcess) -> None:
        self.emulator = emulator
        self.chats = [emulator.new_chat(f"{folder.name} {number}") for number in (1, 2)]
        self.scratch = emulator.new_chat(f"{folder.name} scratch")
        secrets = folder.with_name(f"{folder.name}-secrets")
        secrets.mkdir(parents=True)
        files = []
        for number, token in enumerate(emulator.tokens):
            files.append(secrets / f"token-{number}")
            files[-1].touch(mode=0o600)
            files[-1].write_text(token)
        super().__init__(
            folder,
            source,
            store={"kind": "telegram"},
            telegram={
                "bots": [{"token_file": str(file)} for file in files],
                "chats": self.chats,
                "scratch_chat": self.scratch,
                "base_url": emulator.base_url,
                "base_file_url": emulator.base_file_url,
            },
            documents=SMALL_DOCUMENTS,
        )

    def is_due(self, process: subprocess.Popen, chance: random.Random, took_s: float) -> bool:
        """Most kills come so many requests after the start: however slow the machine is, uploads are met."""
        if chance.random() < OF_ANY_TIME:
            return super().is_due(process, chance, took_s)
        since = self.calls_until_now()
        due = since + chance.randrange(self.calls_max)
        while process.poll() is None and self.calls_until_now(since) < due:
            time.sleep(0.02)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0.0, 2 * KNOBS["latency_s"]))
        return process.poll() is None

    def calls_until_now(self, since: int = 0) -> int:
        """Return the number of the emulator's last call; ``since`` is one that is known."""
        return max((call["number"] for call in self.emulator.ask(f"calls?since={since}")), default=since)

    def settle(self) -> None:
        # A killed process's upload that the server has wholly is handed on seconds later.
        while any(call["ended_s"] is None for call in self.emulator.ask("calls")):
            time.sleep(0.5)

    def _messages(self, chat_id: int) -> list[dict]:
        return self.emulator.ask(f"messages?chat_id={chat_id}")

    def stored(self) -> set:
        """(chat, message, sha256 of what is really there) of every document in the chats."""
        found = set()
        for chat_id in self.chats:
            for message in self._messages(chat_id):
                if "file" in message:
                    data = Path(message["file"]["path"]).read_bytes()
                    found.add((chat_id, message["message_id"], hashlib.sha256(data).hexdigest()))
        twice = [caption for caption, count in Counter(self._captions()).items() if count > 1]
        assert not twice, f"stored twice: {twice}; the catalog has {sorted(self.known())}"
        return found

    def _captions(self) -> Iterator[str]:
        for chat_id in self.chats:
            for message in self._messages(chat_id):
                yield str(message["content"].get("caption", message["message_id"]))

    def litter(self) -> int:
        """How many messages are left that are no documents, in the chats and in the scratch chat."""
        texts = [
            message for chat_id in self.chats for message in self._messages(chat_id) if "file" not in message
        ]
        return len(texts) + len(self._messages(self.scratch))

    def known(self) -> set:
        with contextlib.closing(self.catalog()) as connection:
            return set(
                connection.execute(
                    "SELECT chat_id, message_id, sha256 FROM documents UNION"
                    " SELECT chat_id, message_id, sha256 FROM owed_deletions"
                ).fetchall()
            )


def run_telegram_kills(folder: Path, *, kills: int, seed: int) -> Report:
    """Kill so often over one faulty emulator; see ``kills.run_kills``."""
    film = make_film(matrix.H264_TS)
    with faulty_emulator(folder / "telegram", seed=seed) as emulator:
        make_home = partial(TelegramHome, source=film, emulator=emulator)
        return run_kills(folder, make_home, kills=kills, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(4))
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        report = run_telegram_kills(Path(folder), kills=arguments.kills, seed=seed)
        print(f"{report} in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
