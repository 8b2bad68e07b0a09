# SPDX-License-Identifier: MIT
"""What a home does to a daemon: each fault is named in a line, and all goes on by itself after it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
import pytest_twisted

from tests.contracts.store import make_document
from tests.service.running import Daemon, wait_for
from tests.service.test_month import lines_of_the_log
from tests.stores.telegram.support import a_world, real_time, until
from tgsyncd.config.schema import Config
from tgsyncd.ingest.watching import FoundFile
from tgsyncd.ingest.work import IngestOptions, IngestOutcome
from tgsyncd.model import VideoId
from tgsyncd.service.ingesting import Ingesting
from tgsyncd.service.queue import Entry, IngestQueue

DAY_S = 86_400
PROGRAM = ("-m", "tests.service.hurried")


def may(*argv: str) -> bool:
    """Tell whether this succeeds here."""
    try:
        done = subprocess.run(argv, capture_output=True, timeout=30, check=False)
    except OSError:
        return False
    return done.returncode == 0


needs_mounts = pytest.mark.skipif(
    not may("unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"),
    reason="needs root: mount namespaces",
)
WATCHES = "/proc/sys/user/max_inotify_watches"
needs_users = pytest.mark.skipif(
    not may("unshare", "--user", "--map-root-user", "sh", "-c", f"echo 9 > {WATCHES}"),
    reason="needs user namespaces",
)


class Hurried(Daemon):
    """A daemon that does not pause for long, perhaps among mounts of its own."""

    program = PROGRAM
    holder: subprocess.Popen | None = None

    def enter_namespace(self, kind: str, *options: str) -> None:
        """Let it live among mounts (``--mount``) that nobody else sees, or as another user (``--user``)."""
        script = ["unshare", kind, *options, "sh", "-c", "echo ready; exec sleep 600"]
        self.holder = subprocess.Popen(script, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"
        self.environ["NAMESPACES_OF"] = str(self.holder.pid)
        self.enter = ["nsenter", kind, "--preserve-credentials", f"--target={self.holder.pid}"]

    def inside(self, *argv: object) -> None:
        """Run a command where it lives."""
        done = subprocess.run(
            [*self.enter, *map(str, argv)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (argv, done.stderr)

    def lines_with(self, pattern: str) -> list[str]:
        return [line for line in self.text().splitlines() if re.search(pattern, line)]

    def drop(self, film: Path, name: str) -> None:
        shutil.copy(film, self.folder / "film")
        (self.folder / "film").rename(self.source / name)

    def close(self) -> None:
        super().close()
        if self.holder is not None:
            self.holder.kill()
            self.holder.wait(30)
            self.holder.stdout.close()


@pytest.fixture
def daemon(tmp_path, request):
    folder = tmp_path / "home"
    folder.mkdir()
    made = Hurried(folder)
    yield made
    made.close()
    assert "Traceback" not in (made.text() if made.log.exists() else "")


@needs_mounts
def test_a_full_disk_is_named_and_storing_goes_on_when_there_is_room(daemon, films):
    """Less than what is kept free is full: nothing is begun, and nothing is given up."""
    daemon.data.mkdir()
    daemon.enter_namespace("--mount")
    daemon.inside("mount", "-t", "tmpfs", "-o", "size=64M", "tmpfs", daemon.data)
    daemon.drop(films[0], "Film.mkv")
    daemon.start().ready()
    daemon.wait_for_log("warn: no video is begun for 1 s: .*bytes free.*free some space")
    assert daemon.strms() == []

    daemon.inside("mount", "-o", "remount,size=4G", daemon.data)
    daemon.wait_for_strms("Film.strm")
    daemon.wait_for_log("info: storing goes on; it was stopped by: .*bytes free")
    assert daemon.stop() == 0


@needs_mounts
def test_a_catalog_on_a_full_disk(daemon, films):
    """Not a byte left: nothing more is begun, what is stored plays, and the catalog is sound afterwards."""
    daemon.data.mkdir()
    daemon.enter_namespace("--mount")
    daemon.inside("mount", "-t", "tmpfs", "-o", "size=4G", "tmpfs", daemon.data)
    daemon.drop(films[0], "First.mkv")
    daemon.start().ready()
    daemon.wait_for_strms("First.strm")

    full = f"mount -o remount,size=$(($(du -sk {daemon.data} | cut -f1) + 400))k {daemon.data}"
    daemon.inside(
        "sh", "-c", f"{full}; cat /dev/zero > {daemon.data}/filler; rm -f {daemon.data}/alive; true"
    )
    daemon.drop(films[1], "Second.mkv")
    daemon.wait_for_log("warn: no video is begun for 1 s: the catalog .*disk is full.*free space")
    daemon.plays("First.strm")

    daemon.inside("mount", "-o", "remount,size=4G", daemon.data)
    daemon.wait_for_strms("First.strm", "Second.strm")
    daemon.plays("Second.strm")
    assert daemon.stop() == 0
    copy = daemon.folder / "catalog.sqlite3"
    daemon.inside("cp", daemon.data / "catalog.sqlite3", copy)
    db = sqlite3.connect(copy)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    # The disk was full; no video was tried in vain.
    assert db.execute("SELECT sum(attempts), count(*) FROM revisions").fetchall() == [(0, 2)]
    db.close()


@needs_mounts
def test_a_library_that_cannot_be_written(daemon, films):
    """Mounted read-only: what is stored is kept, the trouble is said rarely, all is published in the end."""
    daemon.library.mkdir()
    daemon.enter_namespace("--mount")
    daemon.configure(scan={"interval": "1 s"})
    daemon.inside("mount", "--bind", daemon.library, daemon.library)
    daemon.inside("mount", "-o", "remount,bind,ro", daemon.library)
    for number in range(3):
        daemon.drop(films[number], f"{number}.mkv")
    daemon.start().ready()
    daemon.wait_for_log(
        "warn: .*is stored and not published .*library cannot be written: Read-only file system"
    )
    wait_for(lambda: len(daemon.status()["failures"]) == 3, "three failures")
    assert daemon.rows("SELECT sum(attempts), count(DISTINCT stage) FROM revisions") == [(0, 1)]
    documents = daemon.rows("SELECT * FROM documents")

    daemon.inside("mount", "-o", "remount,bind,rw", daemon.library)
    daemon.wait_for_strms("0.strm", "1.strm", "2.strm")
    assert daemon.rows("SELECT * FROM documents") == documents
    daemon.wait_for_log("info: libraries can be written again")
    assert len(daemon.lines_with("not published")) < 8


@needs_mounts
def test_ffmpeg_that_is_removed_and_comes_back(daemon, films):
    """An update of the system takes it away for a while: said once, and nothing is given up."""
    daemon.enter_namespace("--mount")
    daemon.start().ready()
    nothing = daemon.folder / "nothing"
    nothing.touch(mode=0o600)
    programs = [Path(shutil.which(name)) for name in ("ffmpeg", "ffprobe")]
    for program in programs:
        daemon.inside("mount", "--bind", nothing, program)
    daemon.drop(films[0], "Film.mkv")
    daemon.wait_for_log("warn: no video is begun for 1 s: .*ff(mpeg|probe).* not .*install")
    wait_for(lambda: daemon.status()["trouble"], "trouble in the status")

    for program in programs:
        daemon.inside("umount", program)
    daemon.wait_for_strms("Film.strm")
    daemon.plays("Film.strm")
    assert daemon.rows("SELECT sum(attempts) FROM revisions") == [(0,)]


@needs_users
def test_no_inotify_watches_left(daemon, films):
    """Other programs took them: said once, scans find what is new; all is watched when there are more."""
    for name in "abcd":
        (daemon.source / name).mkdir()
    daemon.configure(scan={"interval": "1 s"})
    daemon.enter_namespace("--user", "--map-root-user")
    daemon.inside("sh", "-c", f"echo 2 > {WATCHES}")
    daemon.start().ready()
    daemon.wait_for_log("warn: the kernel watches no more than 2 folders: .*fs.inotify.max_user_watches")
    daemon.drop(films[0], "a/Film.mkv")
    daemon.drop(films[1], "d/Film.mkv")
    daemon.wait_for_strms("a/Film.strm", "d/Film.strm")
    daemon.wait_for_scans(2)
    assert daemon.status()["folders_watched"] == 2

    daemon.inside("sh", "-c", f"echo 100 > {WATCHES}")
    daemon.wait_for_log("info: the kernel watches all 5 folders now")
    assert daemon.status()["folders_watched"] == 5
    assert len(daemon.lines_with("kernel watches")) == 2


def test_a_clock_that_is_a_day_off(daemon, films):
    """Set back by a day, and two days ahead: files are found, the watchdog is fed, and each is one line."""
    shift = daemon.folder / "shift"
    daemon.environ = {"CLOCK_FILE": str(shift), "WATCHDOG_USEC": "1500000"}
    daemon.configure(scan={"interval": "2 s", "inotify": False})
    daemon.start().ready()

    def set_clock(seconds: int) -> None:
        shift.write_text(str(seconds))
        daemon.process.send_signal(signal.SIGUSR1)

    set_clock(-DAY_S)
    daemon.wait_for_log("info: the clock was set back by (1 day, 0:00:0|23:59:5)")
    daemon.notify.read()
    daemon.notify.messages.clear()
    daemon.drop(films[0], "Behind.mkv")
    daemon.wait_for_strms("Behind.strm")
    wait_for(lambda: daemon.notify.read().count("WATCHDOG=1") > 2, "WATCHDOG=1")

    set_clock(2 * DAY_S)
    daemon.wait_for_log("info: the clock went (2 days, 0:00:0|1 day, 23:59:5).* ahead")
    daemon.notify.messages.clear()
    daemon.drop(films[1], "Ahead.mkv")
    daemon.wait_for_strms("Ahead.strm", "Behind.strm")
    wait_for(lambda: daemon.notify.read().count("WATCHDOG=1") > 2, "WATCHDOG=1")
    daemon.plays("Behind.strm")
    daemon.plays("Ahead.strm")
    assert len(daemon.lines_with("the clock")) == 2
    begun_s = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - begun_s < 30


@pytest.mark.parametrize("log_format", ["text", "json", "journal"])
def test_a_log_line_is_one_line_whatever_a_file_is_called(daemon, log_format):
    """A name with line breaks and codes for terminals forges no line."""
    (daemon.source / "a\n<3>error: forged\x1b[2J.mkv").write_text("no film")
    daemon.environ["TGSYNCD_VERIFI"] = "none"  # warned of before anything runs
    daemon.start("--log-format", log_format)
    begins = {"text": r"\d{4}-\d\d-\d\dT[\d:]+Z \w+: ", "json": r'\{"time": ".*\}$', "journal": r"<\d>"}
    daemon.wait_for_log("is not stored .not again until the file changes")
    assert daemon.stop() == 0
    lines = daemon.text().splitlines()
    assert not [line for line in lines if not re.match(begins[log_format], line)], daemon.text()
    for said in ("VERIFI sets nothing", "players are given http", "listening on", "stopping"):
        assert len(daemon.lines_with(said)) == 1, said
    assert "\x1b" not in daemon.text()
    assert all(json.loads(line)["level"] for line in lines if log_format == "json")


class StoringOnly:
    """An application that stores one document of each file in a real Telegram store, and no more."""

    def __init__(self, store, folder: Path) -> None:
        self.config = Config()
        self.pipeline = self
        self.tried = 0
        self._store = store
        self._folder = folder

    def ingest_options(self, path, _options) -> IngestOptions:
        return IngestOptions(library="", publish=None, url_for=str, force=False, video_id=None)

    async def ingest(self, path: Path, options: IngestOptions, show) -> IngestOutcome:
        self.tried += 1
        spooled, label, _ = make_document(self._folder, 50_000, number=int(path.stem))
        await self._store.put(spooled, label)
        return IngestOutcome(path=path, video_id=VideoId(path.stem), action="stored", strm=None)


@pytest_twisted.ensureDeferred
async def test_telegram_is_down_for_a_day(tmp_path):
    """Said when it begins, at its 2nd, 4th, 8th … attempt, and when it ends; no attempt is counted."""
    async with a_world(tmp_path, bots=1, upload_attempts=2) as world:
        store, clock = world.store(), world.clock
        app = StoringOnly(store, tmp_path)
        queue = IngestQueue(clock, now_s=clock.now_s)
        ingesting = Ingesting(app, queue, clock=clock)
        await world.emulator.go_down()
        for number in range(5):
            file = FoundFile(path=f"/films/{number}.mkv", size_bytes=1, mtime_ns=number, ctime_ns=0, device=1)
            queue.add(Entry(file=file))
        with lines_of_the_log() as log:
            begun_s = clock.now_s()
            ingesting.start()
            while clock.now_s() < begun_s + DAY_S:
                await real_time(world, 0.02)
            timers, tried = len(clock.getDelayedCalls()), app.tried
            assert ingesting.trouble.since_s - begun_s < 3600
            assert {failure.attempts for failure in ingesting.failures.values()} == {0}
            assert len(queue) + len(queue._taken) == 5

            await world.emulator.come_back()
            await until(world, lambda: ingesting.stored_count == 5)
            stored_s = clock.now_s()
            await ingesting.stop()

    assert 5 < tried < 300
    assert timers < 20
    assert stored_s - begun_s - DAY_S < 1800
    warnings = [line for line in log if line.startswith("warn")]
    assert 4 <= len(warnings) <= 12
    expected = "warn: no video is begun for .* s: Telegram takes no document for now"
    assert all(re.match(expected, line) for line in warnings)
    assert "no connection to the Bot API server" in warnings[0]
    assert log[len(warnings)].startswith("info: storing goes on; it was stopped by: Telegram")
    assert len(log) == len(warnings) + 1 + 5
    assert not any(world.bots[0].token in line for line in log)
