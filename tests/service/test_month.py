# SPDX-License-Identifier: MIT
"""A month in seconds: jobs at their times, clocks that change and are set; nothing drifts or piles up."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import logging
import shutil
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import pytest_twisted
import time_machine
import tzlocal.unix
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher

from tests.fakes.simulated_clock import SimulatedClock
from tests.integration.home import make_config
from tgsyncd.assembly import WallClock
from tgsyncd.bridge import event_loop
from tgsyncd.config.running import JobsSection
from tgsyncd.model import VideoId
from tgsyncd.notify import Notifier
from tgsyncd.schedule import Schedule
from tgsyncd.service.service import Service

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_S = 3600.0
DAY_S = 86_400.0


def turn() -> Deferred[None]:
    """One turn of the loop. The reactor's own timers would all fire at once while time stands still."""
    turned: Deferred[None] = Deferred()
    event_loop().call_soon(turned.callback, None)
    return turned


class Journey:
    """A schedule whose jobs note when they run, and a wall clock that this moves."""

    def __init__(self, start: dt.datetime, traveller) -> None:
        self._traveller = traveller
        self.clock = WallClock(reactor)
        self.schedule = Schedule(self.clock, timezone=start.tzinfo)
        self.runs: dict[str, list[float]] = {}

    def add(self, name: str, **when) -> None:
        runs = self.runs.setdefault(name, [])

        async def work() -> str:
            runs.append(self.clock.now_s())
            return "done"

        self.schedule.add(name, work, **when)

    def local(self, name: str) -> list[str]:
        """The times at which a job ran, as the owner's clock showed them."""
        return [f"{dt.datetime.fromtimestamp(at_s, BERLIN):%Y-%m-%d %H:%M:%S}" for at_s in self.runs[name]]

    async def until(self, end_s: float) -> None:
        """Go from one planned time to the next."""
        while (at_s := self.next_s()) <= end_s:
            self.move_to(max(at_s, self.clock.now_s()))
            await self.wake()
        self.move_to(end_s)
        # To the schedule this was a clock that nobody set.
        self.schedule._clock_offset_s = self.schedule._offset_s()

    def next_s(self) -> float:
        return min(job.next_run_at_s for job in self.schedule.report())

    def move_to(self, at_s: float) -> None:
        self._traveller.move_to(at_s, tick=False)

    async def wake(self) -> None:
        """What APScheduler's timer does; wait until all that was due has run."""
        due = {job.name for job in self.schedule.report() if job.next_run_at_s <= self.clock.now_s()}
        before = {name: len(self.runs.get(name, ())) for name in due}
        self.schedule._scheduler.wakeup()
        for _ in range(1000):
            await turn()
            if all(len(self.runs.get(name, ())) > count for name, count in before.items()):
                await turn()
                await turn()
                return
        raise AssertionError(f"not all of {due} ran: {self.schedule.report()}")


@contextmanager
def journey(start: dt.datetime):
    with time_machine.travel(start.timestamp(), tick=False) as traveller:
        yield Journey(start, traveller)


@contextmanager
def lines_of_the_log():
    """Collect what the owner reads: level and text of each event of ours, from INFO up."""
    lines = []

    def observe(event):
        is_ours = str(event.get("log_namespace")).startswith("tgsyncd")
        if is_ours and event["log_level"].name != "debug":
            trace = event["log_failure"].getTraceback() if "log_failure" in event else ""
            lines.append(f"{event['log_level'].name}: {formatEvent(event)}{trace}")

    globalLogPublisher.addObserver(observe)
    try:
        yield lines
    finally:
        globalLogPublisher.removeObserver(observe)


@pytest.fixture
def log():
    with lines_of_the_log() as lines:
        yield lines


@pytest_twisted.ensureDeferred
async def test_every_job_of_a_month_runs_at_its_time():
    """October, in which the clock is put back: every night once, every Sunday once, every half hour."""
    start = dt.datetime(2026, 10, 1, tzinfo=BERLIN)
    end = dt.datetime(2026, 11, 1, tzinfo=BERLIN)
    jobs = JobsSection()
    with journey(start) as month:
        month.add("scan", every_s=1800.0)
        for name in ("cleanup", "backup", "integrity", "vacuum"):
            month.add(name, cron=getattr(jobs, name))
        month.add("deletions", cron="*/30 * * * *")
        month.schedule.start()
        await month.until(end.timestamp() - 1.0)
        timers = len(reactor.getDelayedCalls())
        await month.schedule.stop()

    hours = (end.timestamp() - start.timestamp()) / HOUR_S
    assert hours == 31 * 24 + 1
    assert len(month.runs["scan"]) == hours * 2 - 1
    gaps = Counter(b - a for a, b in zip(month.runs["scan"], month.runs["scan"][1:], strict=False))
    assert gaps == {1800.0: hours * 2 - 2}
    assert month.local("backup") == [f"2026-10-{day:02} 03:15:00" for day in range(1, 32)]
    assert month.local("cleanup") == [f"2026-10-{day:02} 04:00:00" for day in range(1, 32)]
    sundays = ("04", "11", "18", "25")
    assert month.local("integrity") == [f"2026-10-{day} 04:30:00" for day in sundays]
    assert month.local("vacuum") == [f"2026-10-{day} 04:45:00" for day in sundays]
    gaps = Counter(b - a for a, b in zip(month.runs["deletions"], month.runs["deletions"][1:], strict=False))
    assert gaps == {1800.0: hours * 2 - 1}
    assert timers < 20


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2026-03-29", ["2026-03-29 03:30:00"]), ("2026-10-25", ["2026-10-25 02:30:00"])],
    ids=["an hour that is not", "an hour that is twice"],
)
@pytest_twisted.ensureDeferred
async def test_a_nightly_job_runs_once_in_the_night_in_which_the_clock_changes(day, expected):
    """At 2:30, which one night does not have and another has twice; and 24 or so hours later again."""
    start = dt.datetime.fromisoformat(day).replace(tzinfo=BERLIN)
    with journey(start) as night:
        night.add("job", cron="30 2 * * *")
        night.schedule.start()
        await night.until((start + dt.timedelta(days=2)).timestamp() - 1.0)
        await night.schedule.stop()

    following = start + dt.timedelta(days=1)
    assert night.local("job") == [*expected, f"{following:%Y-%m-%d} 02:30:00"]


@pytest_twisted.ensureDeferred
async def test_what_was_missed_while_the_machine_slept_runs_once(log):
    """Three days; then everything at its usual times again."""
    start = dt.datetime(2026, 11, 22, 12, tzinfo=BERLIN)
    with journey(start) as journal:
        journal.add("scan", every_s=900.0)
        journal.add("backup", cron="15 3 * * *")
        journal.schedule.start()
        await journal.until(start.timestamp() + HOUR_S)
        journal.move_to(start.timestamp() + 3 * DAY_S + 100.0)
        journal.schedule.check_clock()
        await journal.wake()
        assert (len(journal.runs["scan"]), len(journal.runs["backup"])) == (5, 1)
        await journal.until(start.timestamp() + 4 * DAY_S)
        await journal.schedule.stop()

    assert journal.local("backup") == ["2026-11-25 12:01:40", "2026-11-26 03:15:00"]
    assert {(at_s - start.timestamp()) % 900.0 for at_s in journal.runs["scan"]} == {0.0, 100.0}
    assert log == ["info: the clock went 2 days, 23:01:40 ahead, or the machine slept: what was due runs now"]


@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_set_right_after_fifty_years_makes_no_list_of_what_was_missed():
    """A board without a battery starts in 1970: a scan each second was missed 1.8 billion times."""
    with journey(dt.datetime(1970, 1, 2, tzinfo=dt.UTC)) as journal:
        journal.add("scan", every_s=1.0)
        journal.add("minutely", cron="* * * * *")
        journal.schedule.start()
        now_s = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC).timestamp()
        journal.move_to(now_s)
        journal.schedule.check_clock()
        await journal.wake()
        assert [len(runs) for runs in journal.runs.values()] == [1, 1]
        assert [job.next_run_at_s - now_s for job in journal.schedule.report()] == [1.0, 60.0]
        await journal.schedule.stop()


@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_set_back_stops_no_job(log):
    """By a day: the next scan is a quarter of an hour away and not a day and a quarter of an hour."""
    start = dt.datetime(2026, 11, 23, 12, tzinfo=BERLIN)
    with journey(start) as journal:
        journal.add("scan", every_s=900.0)
        journal.add("backup", cron="15 3 * * *")
        journal.schedule.start()
        await journal.until(start.timestamp() + HOUR_S)
        back_s = start.timestamp() - DAY_S
        journal.move_to(back_s)
        journal.schedule.check_clock()
        assert [job.next_run_at_s - back_s for job in journal.schedule.report()] == [900.0, 15.25 * HOUR_S]
        await journal.until(back_s + HOUR_S)
        assert len(journal.runs["scan"]) == 8
        await journal.schedule.stop()

    assert log == [
        "info: the clock was set back by 1 day, 1:00:00: the next runs of all jobs are planned anew"
    ]


@pytest.mark.parametrize("name", ["Europe/Berln", "CET-1CEST"])
@pytest_twisted.ensureDeferred
async def test_a_time_zone_that_is_none_is_said_and_jobs_run_by_utc(monkeypatch, log, name):
    """A typing error in a container's TZ."""
    monkeypatch.setenv("TZ", name)
    monkeypatch.setattr(tzlocal.unix, "_cache_tz", None)
    schedule = Schedule(WallClock(reactor))
    assert schedule._scheduler.timezone == dt.UTC
    assert log == ["warn: the time zone in TZ is none that is known, such as Europe/Berlin: jobs run by UTC"]


@pytest_twisted.ensureDeferred
async def test_a_clock_that_is_slewed_is_no_event(log):
    """NTP's small steps, and a whole month of them."""
    start = dt.datetime(2026, 11, 23, 12, tzinfo=BERLIN)
    with journey(start) as journal:
        journal.add("scan", every_s=900.0)
        journal.schedule.start()
        planned = journal.next_s()
        for step in range(200):
            journal.move_to(start.timestamp() + (step % 2) * 10.0)
            journal.schedule.check_clock()
        assert journal.next_s() == planned
        await journal.schedule.stop()
    assert log == []


@pytest_twisted.ensureDeferred
async def test_a_job_that_takes_all_day_runs_once_at_a_time_and_nobody_is_warned(caplog):
    """What comes due meanwhile is not saved up."""
    start = dt.datetime(2026, 11, 23, 12, tzinfo=BERLIN)
    caplog.set_level(logging.WARNING)
    with journey(start) as journal:
        gate, count = Deferred(), journal.runs.setdefault("job", [])

        async def work() -> str:
            count.append(journal.clock.now_s())
            await gate
            return "done"

        journal.schedule.add("job", work, every_s=60.0)
        journal.schedule.start()
        for minute in range(1, 24 * 60):
            journal.move_to(start.timestamp() + 60.0 * minute)
            journal.schedule._scheduler.wakeup()
            await turn()
            await turn()
        assert len(count) == 1
        gate.callback(None)
        journal.move_to(start.timestamp() + DAY_S)
        await journal.wake()
        assert len(count) == 2
        await journal.schedule.stop()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class Between:
    """The real reactor, with its sockets, threads and processes, whose timers follow a clock that we move."""

    def __init__(self, real, clock: SimulatedClock) -> None:
        self._real = real
        self.callLater = clock.callLater
        self.seconds = clock.seconds
        self.getDelayedCalls = clock.getDelayedCalls
        self.now_s = clock.now_s

    def __getattr__(self, name: str):
        return getattr(self._real, name)


class Months:
    """A whole daemon over a folder of films, and the time that passes for it."""

    def __init__(self, folder: Path, traveller) -> None:
        self._traveller = traveller
        self.clock = SimulatedClock(start_s=time.time())
        self.source = folder / "source"
        self.source.mkdir()
        self.config = make_config(
            folder,
            libraries=[{"name": "Films", "source": self.source, "publish": folder / "films"}],
            scan={"interval": "3 h", "rest": "0 s", "inotify": False},
            jobs={"deletions": "30 */3 * * *"},
        )

    async def open(self) -> None:
        between = Between(reactor, self.clock)
        self.service = await Service.open(between, self.config, notifier=Notifier())
        await self.service.start(host="127.0.0.1", port=0)
        await self.reach(lambda: self.service._beginning.called)

    async def reach(self, condition) -> None:
        """Let sockets, threads and ffmpeg do their work, and short waits end, until something is so."""
        for _ in range(6000):
            if condition():
                return
            await pause(0.005)
            self.clock.advance(0.05)
        raise AssertionError(f"not reached: {self.service.status()}")

    async def pass_hours(self, hours: int) -> None:
        """Let the wall clock, the timers and the scheduler come so much later; wait for what that begins."""
        self.clock.advance(hours * HOUR_S)
        self._traveller.move_to(self.clock.now_s())
        schedule = self.service.schedule
        schedule._clock_offset_s = schedule._offset_s()
        schedule._scheduler.wakeup()
        await turn()
        await turn()
        # The check of our health too: what is under way when three hours pass would be called too slow.
        checking = self.service.health._loop
        await self.reach(
            lambda: checking.call is not None and not any(job.is_running for job in schedule.report())
        )

    def weigh(self) -> dict[str, int]:
        """What must not grow."""
        gc.collect()
        service, watcher = self.service, self.service.watcher
        return {
            "timers": len(self.clock.getDelayedCalls()),
            "threads": threading.active_count(),
            "files": len(list(Path("/proc/self/fd").iterdir())),
            "tasks": len(asyncio.all_tasks(event_loop())),
            "jobs": len(service.schedule._scheduler.get_jobs()),
            "remembered": len(watcher.waiting) + len(watcher._look_at_s) + len(watcher._resting._seen)
            + len(service.removal._missing) + len(service.ingesting.failures),
            "copies": len(list((self.config.data_dir / "backups").glob("*"))),
        }  # fmt: skip


def pause(seconds: float) -> Deferred[None]:
    """Let real time pass, whatever the reactor's clock shows."""
    passed: Deferred[None] = Deferred()
    event_loop().call_later(seconds, passed.callback, None)
    return passed


@pytest_twisted.ensureDeferred
async def test_a_month_of_a_whole_daemon_leaves_nothing_behind(tmp_path, films, log):
    """One film stored, replaced, and gone; 31 nights; and at its end as many timers, threads and files."""
    with time_machine.travel(dt.datetime(2027, 3, 7, 12, tzinfo=dt.UTC), tick=True) as traveller:
        month = Months(tmp_path, traveller)
        shutil.copy(films[0], month.source / "Film.mkv")
        (month.source / "Bad.mkv").write_text("no film")
        await month.open()
        try:
            stored = month.service.ingesting
            await month.reach(lambda: stored.stored_count == 1 and len(stored.failures) == 1)
            for _ in range(7 * 8):
                await month.pass_hours(3)
            before, blocks = month.weigh(), sys.getallocatedblocks()

            shutil.copy(films[1], month.source / "Film.mkv")
            await month.pass_hours(3)
            await month.reach(lambda: stored.stored_count == 2)
            for _ in range(12 * 8):
                await month.pass_hours(3)
            (month.source / "Film.mkv").unlink()
            for _ in range(12 * 8):
                await month.pass_hours(3)
            after, grown = month.weigh(), sys.getallocatedblocks() - blocks
            catalog = month.service.app.catalog
            revisions = [each.number for each in catalog.revisions(VideoId("film"))]
            reports = {job.name: job for job in month.service.schedule.report()}
        finally:
            await month.service.stop()

    # The bad film, and since the last days the one that is missing.
    assert (before.pop("remembered"), after.pop("remembered")) == (1, 2)
    # Pools make threads up to their bounds.
    assert max(before.pop("threads"), after.pop("threads")) < 30
    assert before == after
    assert after["copies"] == 7
    assert grown < 50_000
    assert revisions == [2]
    assert not any(job.last_failed for job in reports.values())
    documents = [path for path in (month.config.data_dir / "store").rglob("*") if path.is_file()]
    assert sum("/1/" in str(path) for path in documents) == 0
    assert (tmp_path / "films" / "Film.strm").exists()
    told = [line for line in log if "statistics" not in line]
    assert len(told) < 12, told
    assert not any(line.startswith(("error", "critical")) for line in log)
