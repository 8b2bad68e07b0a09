# SPDX-License-Identifier: MIT
"""
Jobs at an interval or at times of the day: APScheduler, whose jobs are our coroutines on the reactor.

A job never runs twice at once, and runs that were missed (the machine slept) become one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from tgsyncd.bridge import event_loop, to_asyncio
from tgsyncd.errors import ConfigError, TgsyncdError

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Coroutine, Sequence

    from tgsyncd.ports import Clock

__all__ = ["JobReport", "Schedule"]

_log = Logger()


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
        self.running: Deferred[None] | None = None
        self._work = work
        self._clock = clock

    async def run(self) -> None:
        """Run it, unless it runs; never raises, except when it is cancelled."""
        if self.running is not None:
            return
        begun_s = self.started_at_s = self._clock.now_s()
        work = self.running = Deferred.fromCoroutine(self._guarded())
        try:
            await work
        finally:
            self.running = None
            self.duration_s = self._clock.now_s() - begun_s

    async def _guarded(self) -> None:
        try:
            self.result = await self._work()
        except CancelledError:
            self.result, self.has_failed = "stopped", True
            raise
        except TgsyncdError as error:
            self.result, self.has_failed = str(error), True
            _log.error("the job {job} failed: {error}", job=self.name, error=error)
        except Exception as error:  # noqa: BLE001 - a job that fails runs again the next time
            self.result, self.has_failed = f"{type(error).__name__}: {error}", True
            _log.failure("the job {job} failed", job=self.name)
        else:
            self.has_failed = False


class Schedule:
    """
    Runs jobs, each a coroutine function that returns in words what it did.

    APScheduler reads the wall clock itself; ``clock`` tells the times that are reported.
    """

    def __init__(self, clock: Clock, *, timezone: dt.tzinfo | None = None) -> None:
        self._clock = clock
        options = {} if timezone is None else {"timezone": timezone}
        self._scheduler = AsyncIOScheduler(event_loop=event_loop(), **options)
        self._jobs: dict[str, _Job] = {}

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

        Raises
            ConfigError when the crontab fields mean nothing.
        """
        job = self._jobs[name] = _Job(name, work, self._clock)
        trigger: Any = None
        if cron:
            try:
                trigger = CronTrigger.from_crontab(cron, timezone=self._scheduler.timezone)
            except ValueError as error:
                raise ConfigError(f"jobs.{name}: {cron!r} is not a time: {error}") from error
        elif every_s is not None:
            trigger = IntervalTrigger(seconds=max(1, round(every_s)), timezone=self._scheduler.timezone)
        if trigger is not None:
            self._scheduler.add_job(
                _as_asyncio, trigger, args=(job,), id=name,
                max_instances=1, coalesce=True, misfire_grace_time=None,
            )  # fmt: skip

    def start(self) -> None:
        """Begin. Must be called while the reactor runs."""
        self._scheduler.start()

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
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        for job in self._jobs.values():
            running = job.running
            if running is not None:
                waiting = _outcome_of(running)
                running.cancel()
                await waiting

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


async def _as_asyncio(job: _Job) -> None:
    """Run a job from APScheduler, which is asyncio-coloured as the job is not."""
    await to_asyncio(_without_cancel(job))


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
