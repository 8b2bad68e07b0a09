# SPDX-License-Identifier: MIT
"""
The one writer thread and its connection.

Reads take 10-20 µs and run in the reactor thread; a commit syncs the disk, which takes milliseconds and
sometimes much longer, so all writes queue here, in the order in which they were asked for.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


class ThreadsafeReactor(Protocol):
    """The part of a reactor that the writer thread needs (IReactorFromThreads)."""

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None:  # noqa: A002, N802
        """Call a function in the reactor's thread."""
        ...


class WriterThread:
    """Runs functions one after another in its own thread."""

    def __init__(self, reactor: ThreadsafeReactor) -> None:
        self._reactor = reactor
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        # A daemon thread does not hold up the end of a program that forgot to close the catalog: to SQLite
        # that is a kill between or within commits, which it survives.
        self._thread = threading.Thread(target=self._work, name="catalog-writer", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[], Result]) -> Deferred[Result]:
        """Run the job in the thread; fire with its result, or its exception."""
        done: Deferred[Result] = Deferred()

        def work() -> None:
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - carried to who waits for it
                self._reactor.callFromThread(done.errback, error)
            else:
                self._reactor.callFromThread(done.callback, result)

        self._jobs.put(work)
        return done

    def stop(self) -> None:
        """End the thread after the jobs it has. Does not wait."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (work := self._jobs.get()) is not None:
            work()
