# SPDX-License-Identifier: MIT
"""The workers of ``tgsyncd run``: take a file from the queue, ingest it, decide when to try again."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from tgsyncd.config.hours import is_within
from tgsyncd.errors import PublishUnwritable, TgsyncdError
from tgsyncd.ingest.retry import choose_retry_s, is_attempt, stops_all
from tgsyncd.service.following import Following
from tgsyncd.service.rarely import Rarely

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tgsyncd.daemon import Application
    from tgsyncd.ingest.work import IngestOutcome, Progress
    from tgsyncd.ports import Clock
    from tgsyncd.service.queue import Entry, IngestQueue

__all__ = ["Failure", "Ingesting", "Trouble", "is_quiet"]

_log = Logger()

MAX_FAILURES = 1000
"""So many are remembered for ``status``; the catalog has them all."""
PUBLISH = "publish"
PAUSE_S = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""How long no video is begun after the store, the disk or ffmpeg failed for all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a file is not stored."""

    path: str
    error: str
    at_s: float
    attempts: int
    next_attempt_at_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What stops all videos, since when, and until when nothing is begun."""

    error: str
    since_s: float
    until_s: float
    count: int
    noted_at_s: float = 0.0


class Ingesting:
    """Ingests the files of the queue, ``parallel`` of them at once."""

    def __init__(self, app: Application, queue: IngestQueue, *, clock: Clock) -> None:
        self._app = app
        self._queue = queue
        self._clock = clock
        self._workers: list[Deferred[None]] = []
        self.following = Following()
        queue.on_discard = self.following.vanished
        self.current: dict[str, Progress] = {}
        self.failures: dict[str, Failure] = {}
        self.trouble: Trouble | None = None
        self._rarely = Rarely()
        self.settled: dict[str, tuple[int, int]] = {}
        """Size and mtime of files that are copies of others: nothing more is to be done with them."""
        self.stored_count = 0
        self.on_change: Callable[[], None] = lambda: None
        self.on_published: Callable[[Sequence[Path]], None] = lambda _paths: None

    def start(self) -> None:
        """Begin to take files from the queue."""
        for _ in range(self._app.config.ingest.parallel):
            self._workers.append(Deferred.fromCoroutine(self._work()))
        for worker in self._workers:
            worker.addErrback(_report_unless_cancelled)

    async def stop(self) -> None:
        """Interrupt what runs, so that it can be resumed, and wait for its end."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.cancel()
        for worker in workers:
            await worker

    def blocked_until_s(self, now_s: float) -> float:
        """Return until when no file is begun: quiet hours, or a trouble that stops all."""
        trouble = self.trouble
        # Noted in the future: the clock was set back since, by which nothing shall wait longer.
        until_s = trouble.until_s if trouble and trouble.noted_at_s <= now_s else 0.0
        if is_quiet(self._app.config.ingest.quiet_hours, dt.datetime.fromtimestamp(now_s).astimezone()):
            until_s = max(until_s, now_s + 60.0)
        return until_s

    async def _work(self) -> None:
        while True:
            entry = await self._queue.take(self.blocked_until_s)
            path = entry.file.path
            try:
                await self._ingest(entry)
            finally:
                self.current.pop(path, None)
                self._queue.done(path)
                self.on_change()

    async def _ingest(self, entry: Entry) -> None:
        path = Path(entry.file.path)
        try:
            options = replace(
                self._app.ingest_options(path, entry.options), next_attempt_at_s=self._next_attempt_at_s
            )
            outcome = await self._app.pipeline.ingest(path, options, self._show)
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other files go on
            self._failed(entry, error)
        else:
            self._succeeded(entry, outcome)

    def _show(self, progress: Progress) -> None:
        self.current[str(progress.path)] = progress
        self.following.show(progress)
        self.on_change()

    def _succeeded(self, entry: Entry, outcome: IngestOutcome) -> None:
        path = entry.file.path
        self.failures.pop(path, None)
        if self.trouble is not None:
            _log.info("storing goes on; it was stopped by: {error}", error=self.trouble.error)
            self.trouble = None
        if self._rarely.end(PUBLISH):
            _log.info("libraries can be written again")
        self.settled[path] = (entry.file.size_bytes, entry.file.mtime_ns)
        if outcome.action == "unchanged":
            _log.info("{path} is stored already, as {video_id}", path=path, video_id=outcome.video_id)
        else:
            self.stored_count += 1
            _log.info(
                "{video_id}: {action} {path}, {stored_bytes} bytes new; published at {strm}",
                video_id=outcome.video_id, action=outcome.action, path=path,
                stored_bytes=outcome.stored_bytes, strm=outcome.strm,
            )  # fmt: skip
            for note in outcome.notes:
                _log.info("{video_id}: {note}", video_id=outcome.video_id, note=note)
        self.following.stored(path, outcome)
        if outcome.strm is not None:
            self.on_published([outcome.strm])

    def _failed(self, entry: Entry, error: Exception) -> None:
        path, now_s = entry.file.path, self._clock.now_s()
        attempts = entry.attempts + is_attempt(error)
        wait_s = choose_retry_s(error, attempts)
        due_s = None if wait_s is None else now_s + wait_s
        if stops_all(error):
            # The others go first: if one of them succeeds, it is this file's trouble alone.
            due_s = self._stop_all(error, now_s) + 1.0
        elif isinstance(error, PublishUnwritable):
            if self._rarely.is_due(PUBLISH):
                _log.warn(
                    "{path} is stored and not published (again in {wait_s:.0f} s): {error}",
                    path=path, wait_s=wait_s, error=error,
                )  # fmt: skip
        elif isinstance(error, TgsyncdError):
            when = "not again until the file changes" if wait_s is None else f"again in {wait_s:.0f} s"
            _log.warn("{path} is not stored ({when}): {error}", path=path, when=when, error=error)
        else:
            _log.failure("{path} is not stored, for a fault of tgsyncd", path=path)
        text = str(error) or type(error).__name__
        self.failures.pop(path, None)
        self.failures[path] = Failure(
            path=path, error=text, at_s=now_s, attempts=attempts, next_attempt_at_s=due_s
        )
        while len(self.failures) > MAX_FAILURES:
            del self.failures[next(iter(self.failures))]
        self._queue.done(path)
        self.following.failed(path, error, again_in_s=None if due_s is None else due_s - now_s)
        if due_s is not None:
            self._queue.add(replace(entry, attempts=attempts, not_before_s=due_s))

    def _stop_all(self, error: Exception, now_s: float) -> float:
        """
        Begin nothing for a while; return until when.

        A long outage is reported at its 1st, 2nd, 4th, 8th attempt.
        """
        before = self.trouble
        count = before.count + 1 if before else 1
        wait_s = max(PAUSE_S[min(count, len(PAUSE_S)) - 1], getattr(error, "retry_after_s", None) or 0.0)
        if count & (count - 1) == 0:
            _log.warn("no video is begun for {wait_s:.0f} s: {error}", wait_s=wait_s, error=error)
        self.trouble = Trouble(
            error=str(error), since_s=before.since_s if before else now_s, until_s=now_s + wait_s,
            count=count, noted_at_s=now_s,
        )  # fmt: skip
        return self.trouble.until_s

    def _next_attempt_at_s(self, error: Exception, attempts: int) -> float | None:
        wait_s = choose_retry_s(error, attempts)
        return None if wait_s is None else self._clock.now_s() + wait_s

    def status(self) -> Mapping[str, Any]:
        """Return what is done now and what failed, for JSON."""
        trouble = self.trouble
        return {
            "working_on": [
                {
                    "path": path,
                    "video_id": progress.video_id,
                    "stage": progress.stage,
                    "position_s": progress.position_s,
                    "duration_s": progress.duration_s,
                    "stored_bytes": progress.stored_bytes,
                }
                for path, progress in self.current.items()
            ],
            "stored_since_start": self.stored_count,
            "trouble": None if trouble is None else
            {"error": trouble.error, "since_s": trouble.since_s, "until_s": trouble.until_s},
            "failures": [
                {
                    "path": failure.path,
                    "error": failure.error,
                    "at_s": failure.at_s,
                    "attempts": failure.attempts,
                    "next_attempt_at_s": failure.next_attempt_at_s,
                }
                for failure in self.failures.values()
            ],
        }  # fmt: skip


def is_quiet(spans: Sequence[str], now: dt.datetime) -> bool:
    """Tell whether the local time lies in one of the spans ``HH:MM-HH:MM``; a span may cross midnight."""
    return any(is_within(span, now) for span in spans)


def _report_unless_cancelled(failure: Any) -> None:
    if not failure.check(CancelledError):
        _log.failure("a worker stopped; restart tgsyncd", failure=failure)
