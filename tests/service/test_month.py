# SPDX-License-Identifier: MIT
"""A month in seconds: jobs at their times, clocks that change and are set; nothing drifts or piles up."""

from __future__ import annotations

import datetime as dt
import logging
from collections import Counter
from contextlib import contextmanager
from zoneinfo import ZoneInfo

import pytest
import pytest_twisted
import time_machine
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher

from tgsyncd.assembly import WallClock
from tgsyncd.bridge import event_loop
from tgsyncd.config.running import JobsSection
from tgsyncd.schedule import Schedule

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
