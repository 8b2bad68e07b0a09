# SPDX-License-Identifier: MIT
"""
Jobs at an interval or at times of the day: APScheduler, whose jobs are our coroutines on the reactor.

A job never runs twice at once, and runs that were missed (the machine slept) become one. A clock that is set
is noticed: APScheduler plans by the wall clock and would wait for a time that is a day away again.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfoNotFoundError

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from tgsyncd.bridge import AsyncioCancelled, event_loop, next_turn, to_asyncio
from tgsyncd.errors import ConfigError, TgsyncdError
from tgsyncd.formats.cron import parse_cron

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from tgsyncd.formats.cron import CronFields
    from tgsyncd.ports import Clock

__all__ = ["JobReport", "Schedule"]

_log = Logger()

CLOCK_CHECK_S = 30.0
CLOCK_JUMP_S = 30.0
"""NTP slews by 0.5 ms a second; what differs by more was set, or the machine slept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """One job, as ``status`` and ``/debug`` show it."""

    name: str
    is_running: bool
    last_started_at_s: float | None
    last_duration_s: float | None
    last_result: str
    """What it said it did, or why it failed."""
    last_failed: bool
    next_run_at_s: float | None


class _Job:
    """A named coroutine function with the memory of its last run."""

    def __init__(self, name: str, work: Callable[[], Coroutine[Any, Any, str]], clock: Clock) -> None:
        self.name = name
        self.started_at_s: float | None = None
        self.duration_s: float | None = None
        self.result = ""
        self.has_failed = False
        self.failures = 0
        self.running: Deferred[None] | None = None
        self.is_stopped = False
        self._work = work
        self._clock = clock

    async def run(self) -> None:
        """Run it, unless it runs; never raises, except when it is cancelled."""
        if self.running is not None or self.is_stopped:
            return
        begun_s = self.started_at_s = self._clock.now_s()
        work = self.running = Deferred.fromCoroutine(self._guarded())
        try:
            await work
        finally:
            self.running = None
            self.duration_s = max(0.0, self._clock.now_s() - begun_s)

    async def _guarded(self) -> None:
        try:
            self.result = await self._work()
        except CancelledError:
            self.result, self.has_failed = "stopped", True
            raise
        except (TgsyncdError, OSError) as error:  # a disk that is full, gone or read-only is no fault of ours
            self.result, self.has_failed = str(error), True
            self.failures += 1
            if self.failures & (self.failures - 1) == 0:  # its 1st, 2nd, 4th, 8th time
                _log.error("the job {job} failed: {error}", job=self.name, error=error)
        except Exception as error:  # noqa: BLE001 - a job that fails runs again the next time
            self.result, self.has_failed = f"{type(error).__name__}: {error}", True
            _log.failure("the job {job} failed", job=self.name)
        else:
            if self.failures:
                _log.info("the job {job} succeeds again", job=self.name)
            self.has_failed, self.failures = False, 0


class Schedule:
    """
    Runs jobs, each a coroutine function that returns in words what it did.

    APScheduler reads the wall clock itself; ``clock`` tells the times that are reported.
    """

    def __init__(self, clock: Clock, *, timezone: dt.tzinfo | None = None) -> None:
        self._clock = clock
        self._scheduler = _make_scheduler(timezone)
        self._jobs: dict[str, _Job] = {}
        self._clock_check: Any = None
        self._clock_offset_s = 0.0

    def add(
        self,
        name: str,
        work: Callable[[], Coroutine[Any, Any, str]],
        *,
        every_s: float | None = None,
        cron: str = "",
    ) -> None:
        """
        Run ``work`` every so many seconds, or at the times of five crontab fields; else only when asked.

        A job of this name gets the new times, and keeps the memory of its last run.

        Raises
            ConfigError when the crontab fields mean nothing.
        """
        trigger: Any = None
        zone = self._scheduler.timezone
        if cron:
            try:
                times = [_Times(fields, zone) for fields in parse_cron(cron)]
            except ValueError as error:
                raise ConfigError(f"jobs.{name}: {error}") from error
            trigger = OrTrigger(times)
        elif every_s is not None:
            trigger = _Every(max(1, round(every_s)), zone)
        job = self._jobs.get(name) or _Job(name, work, self._clock)
        if name in self._jobs and self._scheduler.get_job(name) is not None:
            self._scheduler.remove_job(name)
        self._jobs[name] = job
        if trigger is not None:
            # Two instances: one that comes while the job runs ends at once. APScheduler would warn of it.
            self._scheduler.add_job(
                _as_asyncio, trigger, args=(job,), id=name,
                max_instances=2, coalesce=True, misfire_grace_time=None,
            )  # fmt: skip

    def start(self) -> None:
        """Begin. Must be called while the reactor runs."""
        self._scheduler.start()
        self._clock_offset_s = self._offset_s()
        self._check_clock_later()

    async def run_now(self, name: str) -> JobReport:
        """Run a job, or wait for the run that is under way; return how it ended."""
        job = self._jobs[name]
        if job.running is not None:
            await _outcome_of(job.running)
        else:
            await job.run()
        return self._report(job)

    async def stop(self) -> None:
        """Begin no job any more; cancel those that run and wait for their end."""
        if self._clock_check is not None:
            self._clock_check.cancel()
        if self._scheduler.running:
            self._scheduler.pause()
        for job in self._jobs.values():
            job.is_stopped = True
            running = job.running
            if running is not None:
                waiting = _outcome_of(running)
                running.cancel()
                await waiting
        # What APScheduler has begun ends by itself in the next turns; cancelled, it would log a traceback.
        for _ in range(3):
            await next_turn()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def check_clock(self) -> None:
        """Plan anew when the wall clock was set; what was due meanwhile runs now, once."""
        now_s, offset_s = self._clock.now_s(), self._offset_s()
        jump_s = offset_s - self._clock_offset_s
        self._clock_offset_s = offset_s
        if abs(jump_s) < CLOCK_JUMP_S or not self._scheduler.running:
            return
        span = dt.timedelta(seconds=round(abs(jump_s)))
        if jump_s > 0:
            _log.info("the clock went {span} ahead, or the machine slept: what was due runs now", span=span)
            self._scheduler.wakeup()
            return
        _log.info("the clock was set back by {span}: the next runs of all jobs are planned anew", span=span)
        now = dt.datetime.fromtimestamp(now_s, self._scheduler.timezone)
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=job.trigger.get_next_fire_time(None, now))

    def _check_clock_later(self) -> None:
        # On the loop's own clock, which nobody sets.
        self._clock_check = event_loop().call_later(CLOCK_CHECK_S, self._check_clock_and_later)

    def _check_clock_and_later(self) -> None:
        self._check_clock_later()
        self.check_clock()

    def _offset_s(self) -> float:
        return self._clock.now_s() - event_loop().time()

    def report(self) -> Sequence[JobReport]:
        """Return every job."""
        return [self._report(job) for job in self._jobs.values()]

    def _report(self, job: _Job) -> JobReport:
        planned = self._scheduler.get_job(job.name) if self._scheduler.running else None
        return JobReport(
            name=job.name,
            is_running=job.running is not None,
            last_started_at_s=job.started_at_s,
            last_duration_s=job.duration_s,
            last_result=job.result,
            last_failed=job.has_failed,
            next_run_at_s=planned.next_run_time.timestamp() if planned and planned.next_run_time else None,
        )


def _make_scheduler(timezone: dt.tzinfo | None) -> AsyncIOScheduler:
    if timezone is not None:
        return AsyncIOScheduler(event_loop=event_loop(), timezone=timezone)
    try:
        return AsyncIOScheduler(event_loop=event_loop())
    except ZoneInfoNotFoundError:
        _log.warn("the time zone in TZ is none that is known, such as Europe/Berlin: jobs run by UTC")
        return AsyncIOScheduler(event_loop=event_loop(), timezone=dt.UTC)


class _Every(BaseTrigger):  # type: ignore[misc]  # APScheduler is untyped
    """Every so many seconds, on one grid; what was missed is skipped."""

    def __init__(self, interval_s: int, zone: dt.tzinfo) -> None:
        self._interval_s = interval_s
        self._zone = zone

    def get_next_fire_time(self, previous: dt.datetime | None, now: dt.datetime) -> dt.datetime:
        """Return the first time after ``now``. APScheduler's own makes a list of all that were missed."""
        now_s = now.timestamp()
        begun_s = now_s if previous is None else previous.timestamp()
        steps = max(1, int((now_s - begun_s) // self._interval_s) + 1)
        return dt.datetime.fromtimestamp(begun_s + steps * self._interval_s, self._zone)


class _Times(BaseTrigger):  # type: ignore[misc]  # APScheduler is untyped
    """Times of day; what was missed is skipped, and the hour that is twice in autumn counts once."""

    def __init__(self, fields: CronFields, zone: dt.tzinfo) -> None:
        self._cron = CronTrigger(**fields, timezone=zone)
        self._zone = zone
        self._is_hourly = fields["hour"] == "*"

    def get_next_fire_time(self, previous: dt.datetime | None, now: dt.datetime) -> dt.datetime | None:
        """Return the first time after ``previous``, and after ``now``."""
        due: dt.datetime | None = self._cron.get_next_fire_time(previous, now)
        if previous is not None and due is not None and due <= now:
            due = self._after(now)
        while due is not None and not self._is_hourly and self._is_repeated(due):
            due = self._after(due)
        return due

    def _after(self, time: dt.datetime) -> dt.datetime | None:
        later = dt.datetime.fromtimestamp(time.timestamp() + 1e-3, self._zone)
        due: dt.datetime | None = self._cron.get_next_fire_time(None, later)
        return due

    def _is_repeated(self, time: dt.datetime) -> bool:
        return bool(dt.datetime.fromtimestamp(time.timestamp(), self._zone).fold)


async def _as_asyncio(job: _Job) -> None:
    """Run a job from APScheduler, which is asyncio-coloured as the job is not."""
    try:
        await to_asyncio(_without_cancel(job))
    except AsyncioCancelled:
        return  # The scheduler was shut down, and would log a traceback of it.


async def _without_cancel(job: _Job) -> None:
    try:
        await job.run()
    except CancelledError:
        return


def _outcome_of(running: Deferred[None]) -> Deferred[None]:
    """Return a Deferred that fires when ``running`` ends, however it ends."""
    done: Deferred[None] = Deferred()

    def tell(result: object) -> object:
        done.callback(None)
        return result

    running.addBoth(tell)
    return done
