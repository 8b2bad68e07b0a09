# SPDX-License-Identifier: MIT
"""The queue, the workers' decisions, jobs, what systemd is told, log lines."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from pathlib import Path

import pytest
import pytest_twisted
import yaml
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater

from tests.service.running import NotifySocket
from tgsyncd.cli.logs import render_journal, render_json, render_text
from tgsyncd.errors import (
    CatalogError,
    CatalogUnusable,
    ConfigError,
    FfmpegError,
    FfmpegMissing,
    NotAVideo,
    PublishUnwritable,
    SourceChanged,
    SpaceError,
    StoreUnavailable,
    TgsyncdError,
)
from tgsyncd.ingest.retry import LONGEST_S, choose_retry_s, is_attempt, stops_all
from tgsyncd.ingest.watching import FoundFile
from tgsyncd.notify import Notifier
from tgsyncd.schedule import Schedule
from tgsyncd.service.ingesting import is_quiet
from tgsyncd.service.queue import MOST_STALE, Entry, IngestQueue
from tgsyncd.service.rarely import Rarely


def entry(name: str, *, size=1, at=0, **more) -> Entry:
    file = FoundFile(path=name, size_bytes=size, mtime_ns=at, ctime_ns=at, device=1)
    return Entry(file=file, **more)


def free(_now_s: float) -> float:
    return 0.0


class TestQueue:
    """Order, due times, blocks."""

    def setup_method(self):
        self.clock = Clock()
        self.queue = IngestQueue(self.clock, now_s=self.clock.seconds)

    def take(self, blocked=free) -> list:
        got = []
        waiting = Deferred.fromCoroutine(self.queue.take(blocked))
        waiting.addCallbacks(lambda entry: got.append(entry.file.path), lambda _: None)
        self.waiting = waiting
        return got

    @pytest.mark.parametrize(
        ("order", "names"),
        [("newest", "bca"), ("oldest", "acb"), ("smallest", "cab"), ("name", "abc")],
    )
    def test_order(self, order, names):
        """As ingest.order says."""
        self.queue.order = order
        for each in (entry("a", at=1, size=2), entry("b", at=3, size=3), entry("c", at=2, size=1)):
            self.queue.add(each)
        assert [each.file.path for each in self.queue.entries()] == list(names)
        assert [self.take()[0] for _ in names] == list(names)

    def test_what_comes_wakes_who_waits(self):
        """And a file is in it once, and not while it is taken."""
        got = self.take()
        assert not got
        self.queue.add(entry("a"))
        assert got == ["a"]
        self.queue.add(entry("a"))
        assert len(self.queue) == 0
        self.queue.done("a")
        self.queue.add(entry("a"))
        self.queue.add(entry("a"))
        assert len(self.queue) == 1

    def test_what_is_not_due_waits(self):
        """And is taken when it is."""
        self.queue.add(entry("a", not_before_s=50.0))
        got = self.take()
        self.clock.pump([10.0] * 4)
        assert not got
        self.clock.advance(10.1)
        assert got == ["a"]
        assert not self.clock.getDelayedCalls()

    def test_a_block_holds_everything_but_what_is_urgent(self):
        """Quiet hours, a store that is down."""
        self.queue.add(entry("a"))
        got = self.take(lambda now_s: 100.0)
        self.clock.advance(1)
        assert not got
        self.queue.add(entry("b", is_urgent=True))
        assert got == ["b"]
        later = self.take(lambda now_s: 100.0)
        self.clock.pump([20.0] * 6)
        assert later == ["a"]

    def test_another_order_and_what_was_discarded(self):
        """The head of the queue is what waits now, by the order that counts now."""
        for number in range(20):
            self.queue.add(entry(f"{number:02}", at=number))
        for number in (19, 18):
            self.queue.discard(f"{number:02}")
        assert [each.file.path for each in self.queue.entries(2)] == ["17", "16"]
        self.queue.order = "oldest"
        assert self.take() == ["00"]

    def test_files_that_are_found_again_by_each_scan_take_no_memory(self):
        """A hundred scans of a folder of which nothing may be begun."""
        self.take(lambda now_s: 1e9)
        for scan in range(100):
            for number in range(50):
                self.queue.add(entry(str(number), at=number + scan % 3))
        assert len(self.queue) == 50
        assert len(self.queue._due) + len(self.queue._later) <= 2 * 50 + MOST_STALE + 1

    def test_cancelling_leaves_no_timer(self):
        """When the daemon stops."""
        self.queue.add(entry("a", not_before_s=50.0))
        self.take()
        self.waiting.cancel()
        assert not self.clock.getDelayedCalls()


def test_when_what_failed_is_tried_again():
    """Doubling up to six hours; never for what only another file can mend."""
    assert [choose_retry_s(SpaceError("full"), n) for n in (1, 2, 3)] == [60, 120, 240]
    assert choose_retry_s(SpaceError("full"), 500) == LONGEST_S
    assert choose_retry_s(StoreUnavailable("wait", retry_after_s=10_072.0), 1) == 10_072
    assert choose_retry_s(NotAVideo("no"), 1) is None
    assert choose_retry_s(ConfigError("no"), 1) is None
    assert choose_retry_s(FfmpegError("no"), 2) == 120
    assert choose_retry_s(FfmpegError("no"), 3) is None
    assert choose_retry_s(FfmpegMissing("no"), 30) == LONGEST_S
    assert choose_retry_s(SourceChanged("busy"), 9) == 60
    assert choose_retry_s(ValueError(), 5) == 960
    assert choose_retry_s(ValueError(), 6) is None


def test_what_stops_all_videos():
    """The store, the disk, a missing ffmpeg; not one bad file."""
    assert [stops_all(error) for error in (StoreUnavailable(""), SpaceError(""), FfmpegMissing(""))] == [
        True
    ] * 3
    assert [stops_all(error) for error in (NotAVideo(""), FfmpegError(""), ValueError())] == [False] * 3
    assert stops_all(CatalogUnusable(""))
    assert not stops_all(CatalogError("of one video"))


def test_what_counts_as_an_attempt():
    """A video whose store was down for a week has not failed yet."""
    outages = (
        StoreUnavailable(""),
        SpaceError(""),
        FfmpegMissing(""),
        CatalogUnusable(""),
        PublishUnwritable(""),
    )
    assert [is_attempt(error) for error in outages] == [False] * 5
    assert [is_attempt(error) for error in (NotAVideo(""), FfmpegError(""), ValueError())] == [True] * 3
    assert choose_retry_s(PublishUnwritable("read-only"), 50) == 600


def test_what_lasts_is_said_rarely():
    """At its 1st, 2nd, 4th, 8th time, and from the beginning when it has ended."""
    rarely = Rarely()
    assert [number for number in range(1, 1001) if rarely.is_due("down")] == [2**power for power in range(10)]
    assert rarely.is_due("another")
    assert rarely.end("down")
    assert not rarely.end("down")
    assert rarely.is_due("down")
    for number in range(5000):
        rarely.is_due(str(number))
    assert len(rarely._counts) == 1000


@pytest.mark.parametrize(
    ("time", "quiet"),
    [("17:59", False), ("18:00", True), ("23:29", True), ("23:30", False), ("06:59", True), ("07:00", False)],
)
def test_quiet_hours(time, quiet):
    """Ends are not within; a span may cross midnight."""
    now = dt.datetime.fromisoformat(f"2026-11-22T{time}:00+00:00")
    assert is_quiet(("18:00-23:30", "01:00-07:00"), now) is quiet
    assert is_quiet((), now) is False
    midnight = dt.datetime.fromisoformat("2026-11-22T00:30:00+00:00")
    assert is_quiet(("22:00-06:00",), midnight)


class Times:
    """``ports.Clock`` that is set by hand."""

    def __init__(self, now_s=1000.0):
        self.at_s = now_s

    def now_s(self):
        return self.at_s


class TestSchedule:
    """Jobs on the reactor."""

    @pytest_twisted.ensureDeferred
    async def test_a_job_runs_once_at_a_time_and_says_what_it_did(self):
        """Who asks meanwhile waits for the run that is under way."""
        schedule, gate, runs = Schedule(Times()), Deferred(), []

        async def work():
            runs.append(1)
            await gate
            return "done"

        schedule.add("job", work)
        first = Deferred.fromCoroutine(schedule.run_now("job"))
        second = Deferred.fromCoroutine(schedule.run_now("job"))
        assert schedule.report()[0].is_running
        gate.callback(None)
        assert [(await each).last_result for each in (first, second)] == ["done", "done"]
        assert runs == [1]
        assert not schedule.report()[0].is_running

    @pytest_twisted.ensureDeferred
    async def test_a_job_that_fails_is_reported_and_runs_again(self):
        """Trouble that is expected has no traceback."""
        schedule, errors = Schedule(Times()), [TgsyncdError("no room")]

        async def work():
            if errors:
                raise errors.pop()
            return "ok"

        schedule.add("job", work)
        report = await schedule.run_now("job")
        assert (report.last_failed, report.last_result) == (True, "no room")
        report = await schedule.run_now("job")
        assert (report.last_failed, report.last_result) == (False, "ok")

    @pytest_twisted.ensureDeferred
    async def test_apscheduler_runs_it_and_stopping_cancels_it(self):
        """As a coroutine of ours, on the reactor."""
        schedule, began, ended = Schedule(Times()), Deferred(), []

        async def work():
            if not began.called:
                began.callback(None)
            try:
                await Deferred()
            except CancelledError:
                ended.append(1)
                raise

        schedule.add("job", work, every_s=1)
        schedule.add("nightly", work, cron="15 3 * * *")
        schedule.start()
        await began
        await deferLater(reactor, 0)
        nightly = schedule.report()[1]
        assert nightly.next_run_at_s is not None
        await schedule.stop()
        assert ended == [1]
        assert schedule.report()[0].last_result == "stopped"

    @pytest_twisted.ensureDeferred
    async def test_times_that_mean_nothing_are_refused(self):
        """With the name of the option."""
        with pytest.raises(ConfigError, match=r"jobs\.backup"):
            Schedule(Times()).add("backup", None, cron="61 3 * * *")


def test_what_systemd_is_told(tmp_path):
    """sd_notify's words, one datagram each, a status only when it differs; and the variables are gone."""
    systemd = NotifySocket(tmp_path)
    environ = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "60000000", "PATH": "/bin"}
    notifier = Notifier.from_environ(environ)
    assert environ == {"PATH": "/bin"}
    assert notifier.watchdog_s == 60
    notifier.ready()
    notifier.status("idle")
    notifier.status("idle")
    notifier.alive()
    notifier.stopping()
    assert systemd.read() == ["READY=1", "STATUS=idle", "WATCHDOG=1", "STOPPING=1"]
    systemd.close()


def test_nobody_listening_is_no_error(tmp_path):
    """Without systemd, or with its socket gone."""
    Notifier().ready()
    Notifier(str(tmp_path / "none")).ready()
    assert Notifier.from_environ({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).watchdog_s is None


def test_log_lines():
    """With times, with priorities, or as JSON with what the event is about."""
    event = {"log_time": 0.0, "video_id": "film", "log_format": "x"}
    assert render_text("info", "stored", event) == "1970-01-01T00:00:00Z info: stored"
    assert render_journal("warn", "two\nlines", event) == "<4>two\n<4>lines"
    line = json.loads(render_json("error", "no room", event))
    assert line == {
        "time": "1970-01-01T00:00:00Z", "level": "error", "message": "no room", "video_id": "film",
    }  # fmt: skip


def test_alerts_ask_for_metrics_that_there_are():
    """No alert that never fires because a name was changed."""
    text = (Path(__file__).parents[2] / "config" / "prometheus" / "tgsyncd.rules.yml").read_text()
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    sources = (Path(__file__).parents[2] / "tgsyncd" / "metrics.py").read_text()
    for rule in rules:
        for name in re.findall(r"tgsyncd_(\w+)", rule["expr"]):
            name = name.removesuffix("_total")
            assert f'"{name}"' in sources or f'"tgsyncd_{name}"' in sources, name


@pytest_twisted.ensureDeferred
async def test_a_job_that_runs_when_the_schedule_stops_is_no_error(caplog):
    """APScheduler would log the cancellation as one, with a traceback."""
    schedule, begun = Schedule(Times()), []

    async def work():
        begun.append(1)
        await Deferred()

    schedule.add("job", work, every_s=1.0)
    schedule.start()
    while not begun:
        await deferLater(reactor, 0.05)
    await schedule.stop()
    await deferLater(reactor, 0.05)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], caplog.text
