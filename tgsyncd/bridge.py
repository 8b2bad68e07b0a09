# SPDX-License-Identifier: MIT
"""
Deferred ⇄ asyncio: the only module that knows there are two.

Our coroutines are Deferred-coloured. python-telegram-bot and APScheduler are asyncio-coloured,
and the colours do not mix: a task that awaits a Deferred dies of "Task got bad yield", a
Deferred-driven coroutine that awaits ``asyncio.sleep`` of "await wasn't used with future".
Everything here needs the asyncio reactor, which ``__main__`` installs.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from twisted.python.failure import Failure

T = TypeVar("T")

__all__ = [
    "AsyncioCancelled",
    "event_loop",
    "from_asyncio",
    "next_turn",
    "start",
    "to_asyncio",
    "use_steady_time",
]


AsyncioCancelled = asyncio.CancelledError
"""What a cancelled asyncio task raises; a BaseException, and not Twisted's."""


def use_steady_time(reactor: Any) -> None:
    """
    Count the reactor's timers on a clock that nobody sets (twisted#2424); call this before the first timer.

    Twisted counts them on the wall clock: when that is set back by a day, every time limit, every retry and
    the feeding of the watchdog come a day later. Time in which the machine sleeps counts, where Linux tells.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    reactor.seconds = lambda: time.clock_gettime(clock)


def event_loop() -> asyncio.AbstractEventLoop:
    """
    Return the reactor's event loop, also before it runs.

    Raises RuntimeError when another reactor is installed.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        # In startService and callWhenRunning the loop does not run yet (twisted#11896).
        from twisted.internet import reactor  # noqa: PLC0415 - the import installs a reactor

        loop: asyncio.AbstractEventLoop | None = getattr(reactor, "_asyncioEventloop", None)
        if loop is None:
            raise RuntimeError("the asyncio reactor is not installed") from None
        return loop


def from_asyncio(coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """
    Run an asyncio coroutine as a task; return a Deferred that our coroutines can await.

    Cancelling the Deferred cancels the task. A cancelled task fails with Twisted's CancelledError:
    asyncio's is a BaseException, which no ``except Exception`` would ever see.
    """
    deferred: Deferred[T] = Deferred.fromFuture(event_loop().create_task(coroutine))
    return deferred.addErrback(_twisted_cancelled)


def _twisted_cancelled(failure: Failure) -> Failure:
    if isinstance(failure.value, asyncio.CancelledError):
        raise CancelledError
    return failure


def next_turn() -> Deferred[None]:
    """Return a Deferred that fires in the event loop's next turn."""
    return from_asyncio(asyncio.sleep(0))


def to_asyncio(coroutine: Coroutine[Deferred[Any], Any, T]) -> asyncio.Future[T]:
    """Run one of our coroutines, from now; return a future that asyncio code can await."""
    return Deferred.fromCoroutine(coroutine).asFuture(event_loop())


def start(
    coroutine: Coroutine[Deferred[Any], Any, T], on_error: Callable[[Failure], None]
) -> Deferred[T | None]:
    """
    Run one of our coroutines in the background; hand its failure to ``on_error``.

    Cancelling the returned Deferred ends it, and is not reported.
    """
    deferred = Deferred.fromCoroutine(coroutine)

    def report(failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            on_error(failure)

    return deferred.addErrback(report)
