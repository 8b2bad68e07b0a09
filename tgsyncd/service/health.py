# SPDX-License-Identifier: MIT
"""
Whether we are well: the reactor runs this, the catalog answers, the disk takes a file.

Only the state folder is touched, in a thread of its own: a source folder on a file server that hangs makes
nobody restart us.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - Twisted's, not the builtin
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tgsyncd.catalog.catalog import Catalog
    from tgsyncd.notify import Notifier

__all__ = ["Health"]

_log = Logger()

PERIOD_S = 30.0
CHECK_S = 20.0
"""A disk that syncs a file in more than this is as good as none."""


class Health:
    """Checks us regularly, and feeds the watchdog as long as all is well."""

    def __init__(
        self,
        catalog: Catalog,
        folder: Path,
        notifier: Notifier,
        *,
        reactor: Any,
        status_line: Callable[[], str],
    ) -> None:
        self._catalog = catalog
        self._file = folder / "alive"
        self._notifier = notifier
        self._reactor = reactor
        self._status_line = status_line
        self._pool = ThreadPool(minthreads=0, maxthreads=1, name="health")
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.check()))
        self._loop.clock = reactor
        self.problem = ""
        """What is wrong now, in words."""

    def start(self) -> None:
        """Check at once and then regularly, three times as often as the watchdog wants."""
        self._pool.start()
        period_s = min(PERIOD_S, (self._notifier.watchdog_s or PERIOD_S * 3) / 3)
        self._loop.start(period_s).addErrback(
            lambda failure: _log.failure("the health check ended", failure=failure)
        )

    def stop(self) -> None:
        """Check no more."""
        if self._loop.running:
            self._loop.stop()
        self._pool.stop()

    async def check(self) -> bool:
        """Check once; tell whether all is well. Never raises."""
        try:
            await _within(Deferred.fromCoroutine(self._catalog.ping()), self._reactor)
            await _within(deferToThreadPool(self._reactor, self._pool, self._touch), self._reactor)
        except TimeoutError:
            self._is_ill(f"the catalog or the disk below {self._file.parent} does not answer")
        except Exception as error:  # noqa: BLE001 - what is wrong is told, and the watchdog not fed
            self._is_ill(str(error) or type(error).__name__)
        else:
            if self.problem:
                _log.info("well again; it was: {problem}", problem=self.problem)
            self.problem = ""
            self._notifier.alive()
        self._notifier.status(self.problem or self._status_line())
        return not self.problem

    def _touch(self) -> None:
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, b"tgsyncd\n", 0)
            os.fsync(fd)
        finally:
            os.close(fd)

    def _is_ill(self, problem: str) -> None:
        if problem != self.problem:
            _log.error("not well: {problem}", problem=problem)
        self.problem = problem


def _within(waiting: Deferred[Any], reactor: Any) -> Deferred[Any]:
    return waiting.addTimeout(CHECK_S, reactor)
