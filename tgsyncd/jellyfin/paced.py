# SPDX-License-Identifier: MIT
"""Work that is due at times: one run at a time, one timer, an end at which nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from tgsyncd.jellyfin.client import JellyfinError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from tgsyncd.jellyfin.outage import Outage

__all__ = ["Paced"]

_log = Logger()


class Paced:
    """Runs ``work`` whenever ``next_due_s`` says so; when it raises JellyfinError, later."""

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        next_due_s: Callable[[], float | None],
        *,
        outage: Outage,
        clock: IReactorTime,
    ) -> None:
        self._work = work
        self._next_due_s = next_due_s
        self._outage = outage
        self._clock = clock
        self._not_before_s = 0.0
        self._timer: IDelayedCall | None = None
        self._running: Deferred[None] | None = None
        self._stopped = False

    def schedule(self) -> None:
        """Look again at what is due; call this when that has changed."""
        if self._stopped or self._running is not None:
            return
        self._cancel_timer()
        due_s = self._next_due_s()
        if due_s is not None:
            wait_s = max(due_s, self._not_before_s) - self._clock.seconds()
            self._timer = self._clock.callLater(max(0.0, wait_s), self._begin)

    def stop(self) -> None:
        """End now: no timer, and no connection of a run."""
        self._stopped = True
        self._cancel_timer()
        if self._running is not None:
            self._running.cancel()

    def _begin(self) -> None:
        done: Deferred[None] = Deferred()
        self._running = done
        done.addCallback(lambda _: Deferred.fromCoroutine(self._run()))
        done.addErrback(_note_surprise)
        done.addCallback(self._end)
        done.callback(None)

    async def _run(self) -> None:
        try:
            await self._work()
        except JellyfinError as error:
            if self._stopped:
                return  # What it says is that we hung up.
            self._not_before_s = self._clock.seconds() + self._outage.note_failure(error)
        else:
            self._outage.note_success()

    def _end(self, _: object) -> None:
        self._running = None
        self.schedule()

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _note_surprise(failure: Failure) -> None:
    """Keep going after a mistake of ours: the next announcement may do."""
    if failure.check(CancelledError) is None:
        _log.failure("telling Jellyfin failed", failure=failure)
