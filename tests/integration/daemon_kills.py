# SPDX-License-Identifier: MIT
"""
SIGKILL ``tgsyncd run`` at random instants while files come, change, move and go, and look at what is left.

By hand: ``python -m tests.integration.daemon_kills --kills 200`` (a seed may be given; it is always printed).
One in five homes keeps its documents in an emulated Telegram, the others in a directory. What the daemon does
is provoked at random as well: ingest, publishing, replacing, deleting, cleanup, VACUUM, backups, playing.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import os
import random
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.daemon_checks import Rest, check_after_kill, files_below
from tests.integration.daemon_world import World
from tests.integration.telegram import SMALL_DOCUMENTS
from tests.integration.telegram_kills import EmulatorProcess, faulty_emulator
from tests.service.running import Daemon, wait_for

JOBS = ("cleanup", "vacuum", "integrity", "backup", "deletions", "scan", "published")
POLICIES = (
    {"on_source_removed": "delete", "on_source_renamed": "follow", "on_strm_removed": "restore"},
    {"on_source_removed": "keep", "on_source_renamed": "keep", "on_strm_removed": "delete"},
    {"on_source_removed": "withdraw", "on_source_renamed": "follow", "on_strm_removed": "withdraw"},
)
KILLS_A_HOME = 10
KILLS_A_LOOK = 5
"""So often a daemon may come to rest and everything is looked at; in between only what holds always."""
LONGEST_LIFE_S = 3.0
TOKEN = "kills-admin-token"


@dataclass
class Report:
    """What a run of kills saw."""

    kills: int = 0
    homes: int = 0
    looks: int = 0
    played: int = 0
    probed: int = 0
    acts: Counter = field(default_factory=Counter)
    """What was done to the daemons."""
    found: Counter = field(default_factory=Counter)
    """What a daemon was at when it was killed."""


class Home(Daemon):
    """A daemon over a directory store."""

    def __init__(self, folder: Path, policies: dict[str, str], **sections) -> None:
        folder.mkdir(parents=True)
        (folder / "token").touch(mode=0o600)
        (folder / "token").write_text(TOKEN)
        self._policies = policies
        self._sections = {
            "ingest": {"parallel": 2},
            "jobs": {"cleanup_keep": "0 s", "backup_keep": 2},
            "auth": {"admin_token_file": "token"},
            "documents": SMALL_DOCUMENTS,
            **sections,
        }
        super().__init__(folder)
        self.configure_scan()

    def configure_scan(self, *, rest: str = "0.2 s") -> None:
        """Write the configuration; files are taken when they have rested for so long."""
        self.configure(scan={"rest": rest, "interval": "1 s", **self._policies}, **self._sections)

    starts_to_reconcile = 1

    def wait_for_the_store(self) -> None:
        """Wait until the store is done with what killed daemons asked of it."""

    def stored(self) -> set:
        return files_below(self.data / "store")

    def known(self) -> set:
        """What is recorded, and what an ingest that goes on when its source comes back begins with."""
        begun = self.rows("SELECT video_id, revision, rendition, number, substr(sha256, 1, 16) FROM intents")
        keys = {f"{video}/{number}/{name}/{i:06d}-{sha}.bin" for video, number, name, i, sha in begun}
        recorded = {name for (name,) in self.rows("SELECT file_unique_id FROM documents")}
        halves = {f"{key.rpartition('/')[0]}/.{key.rpartition('/')[2]}.part" for key in keys}
        return recorded | ((keys | halves) & self.stored())


class TelegramHome(Home):
    """A daemon whose documents go into two chats of an emulated Telegram that has a bad day."""

    program = ("-m", "tests.integration.telegram_cli")
    # What was found at the first and its video deleted since, is deleted at the second.
    starts_to_reconcile = 2

    def __init__(self, folder: Path, policies: dict[str, str], emulator: EmulatorProcess) -> None:
        self.emulator = emulator
        self.chats = [emulator.new_chat(f"{folder.name} {number}") for number in (1, 2)]
        tokens = folder.with_name(f"{folder.name}-secrets")
        tokens.mkdir(parents=True)
        files = [tokens / f"token-{number}" for number in range(len(emulator.tokens))]
        for file, token in zip(files, emulator.tokens, strict=True):
            file.touch(mode=0o600)
            file.write_text(token)
        super().__init__(
            folder,
            policies,
            store={"kind": "telegram"},
            cache_dir="cache",
            telegram={
                "bots": [{"token_file": str(file)} for file in files],
                "chats": self.chats,
                "scratch_chat": emulator.new_chat(f"{folder.name} scratch"),
                "base_url": emulator.base_url,
                "base_file_url": emulator.base_file_url,
            },
        )

    def wait_for_the_store(self) -> None:
        # A killed process's upload that the server has wholly is handed on seconds later.
        wait_for(lambda: all(call["ended_s"] is not None for call in self.emulator.ask("calls")), "calls")

    def stored(self) -> set:
        return set(self._messages())

    def known(self) -> set:
        recorded = set(self.rows("SELECT chat_id, message_id FROM documents"))
        begun = Counter(self.rows("SELECT DISTINCT chat_id, sha256 FROM intents"))
        for (chat_id, message_id), path in self._messages().items():
            place = (chat_id, hashlib.sha256(path.read_bytes()).hexdigest())
            if (chat_id, message_id) not in recorded and begun[place] > 0:
                begun[place] -= 1
                recorded.add((chat_id, message_id))
        return recorded

    def _messages(self) -> dict[tuple[int, int], Path]:
        return {
            (chat_id, message["message_id"]): Path(message["file"]["path"])
            for chat_id in self.chats
            for message in self.emulator.ask(f"messages?chat_id={chat_id}")
            if "file" in message
        }


class Killing:
    """Homes, one after the other, until there were so many kills."""

    def __init__(
        self,
        folder: Path,
        *,
        kills: int,
        seed: int,
        telegram_every: int,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._tell = tell
        self.report = Report()
        self._folder = folder
        self._kills = kills
        self._seed = seed
        self._chance = random.Random(seed)
        self._telegram_every = telegram_every
        self._expected: dict[str, str] = {}

    def run(self) -> Report:
        while self.report.kills < self._kills:
            self.report.homes += 1
            with self._home(self.report.homes) as (home, policies):
                world = World(home.source, self._chance)
                rest = Rest(home, world, policies=policies)
                rest.expected = self._expected
                self._kill_here(home, world, rest)
                self.report.played += rest.played
                self.report.probed += rest.probed
            self._tell(f"{self.report.homes} homes, {self.report.kills} kills, all well")
        return self.report

    @contextlib.contextmanager
    def _home(self, number: int) -> Iterator[tuple[Home, dict[str, str]]]:
        policies = POLICIES[number % len(POLICIES)]
        folder = self._folder / f"home-{number}"
        with contextlib.ExitStack() as stack:
            if self._telegram_every and (number - 1) % self._telegram_every == 1 % self._telegram_every:
                state = self._folder / f"telegram-{number}"
                emulator = stack.enter_context(faulty_emulator(state, seed=self._seed))
                home: Home = TelegramHome(folder, policies, emulator)
            else:
                home = Home(folder, policies)
            stack.callback(home.close)
            yield home, policies

    def _kill_here(self, home: Home, world: World, rest: Rest) -> None:
        for number in range(1, KILLS_A_HOME + 1):
            if self.report.kills >= self._kills:
                break
            self._live_and_die(home, world)
            self.report.kills += 1
            check_after_kill(home)
            self.report.found[_stage(home)] += 1
            if number % KILLS_A_LOOK == 0:
                self._look(home, rest)
                home.stop(signal.SIGKILL)
        self._look(home, rest)
        assert home.stop(bound_s=60.0) == 0, home.text()[-3000:]
        assert "Traceback" not in home.text(), home.text()

    def _look(self, home: Home, rest: Rest) -> None:
        home.wait_for_the_store()
        for number in range(home.starts_to_reconcile):
            if number:
                assert home.stop(bound_s=60.0) == 0, home.text()[-3000:]
            home.start().ready()
            rest.settle()
        rest.check(home.stored(), home.known())
        self.report.looks += 1

    def _live_and_die(self, home: Home, world: World) -> None:
        """Start it, do things to it, and kill it at an instant that was chosen before."""
        mark = len(home.text()) if home.log.exists() else 0
        home.start()
        process = home.process
        # A quarter of the instants lie in the start, which recovers from the kill before.
        if self._chance.random() < 0.75:
            wait_for(lambda: "listening on" in home.text()[mark:] or process.poll() is not None, "listening")
        timer = threading.Timer(self._chance.uniform(0.0, LONGEST_LIFE_S), process.kill)
        timer.start()
        try:
            while process.poll() is None:
                time.sleep(self._chance.uniform(0.0, 0.5))
                self._do_something(home, world, mark)
        finally:
            timer.join()
        process.wait(30)
        assert process.returncode == -signal.SIGKILL, home.text()[-3000:]

    def _do_something(self, home: Home, world: World, mark: int) -> None:
        what = self._chance.choices(["act", "job", "play", "remove strm", "delete"], [10, 4, 2, 1, 1])[0]
        if what == "act":
            what = world.act()
        else:
            is_serving = "listening on" in home.text()[mark:]
            strms = sorted(files_below(home.library)) if home.library.exists() else []
            strms = [name for name in strms if name.endswith(".strm")]
            if not is_serving or (what != "job" and not strms):
                return
            home.port = int(home.text()[mark:].partition("port ")[2].split()[0])
            if what == "job":
                job = self._chance.choice(JOBS)
                what = f"job {job}"
                _in_background(home.run_job, job)
            elif what == "play":
                _in_background(home.plays, self._chance.choice(strms))
            elif what == "remove strm":
                (home.library / self._chance.choice(strms)).unlink(missing_ok=True)
            else:
                self._delete(home, world)
        self.report.acts[what] += 1

    def _delete(self, home: Home, world: World) -> None:
        """Delete a video over HTTP, and its source file: else it would come again."""
        rows = home.rows("SELECT video_id, source_path FROM videos")
        known = [(video_id, Path(path)) for video_id, path in rows if Path(path).exists()]
        if len(known) < 4:
            return
        video_id, path = self._chance.choice(sorted(known))
        request = urllib.request.Request(
            f"http://127.0.0.1:{home.port}/videos/{video_id}",
            method="DELETE",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        _in_background(urllib.request.urlopen, request, None, 30)
        time.sleep(self._chance.uniform(0.0, 0.05))
        world.remove(str(path.relative_to(home.source)))


def _in_background(work, *args) -> None:
    """Ask, and do not mind that nobody may live to answer."""

    def run() -> None:
        with contextlib.suppress(OSError, ValueError, AssertionError, http.client.HTTPException):
            work(*args)

    threading.Thread(target=run, daemon=True).start()


def _stage(home: Home) -> str:
    """What is under way in the catalog: the least stage of a revision that is no error."""
    if not (home.data / "catalog.sqlite3").exists():
        return "none"
    try:
        rows = home.rows("SELECT stage FROM revisions WHERE stage <> 'published' AND error IS NULL")
    except Exception:
        return "none"
    return min((stage for (stage,) in rows), default="at rest")


def run_daemon_kills(folder: Path, *, kills: int, seed: int, telegram_every: int = 5) -> Report:
    """
    Kill so often; assert what must be true after each kill, and at rest.

    Of so many homes one has its documents in an emulated Telegram; 0: none.
    """
    return Killing(folder, kills=kills, seed=seed, telegram_every=telegram_every).run()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--telegram-every", type=int, default=5, help="one in so many homes; 0: none")
    parser.add_argument("--keep", type=Path, default=None, help="a folder that is left behind")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(4))
    print(f"seed {seed}", flush=True)
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kills")))
        killing = Killing(
            folder,
            kills=arguments.kills,
            seed=seed,
            telegram_every=arguments.telegram_every,
            tell=lambda text: print(text, flush=True),
        )
        began = time.monotonic()
        try:
            killing.run()
        except BaseException:
            print(f"after {killing.report}", flush=True)
            raise
        print(f"{killing.report} in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
