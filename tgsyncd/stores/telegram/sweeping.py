# SPDX-License-Identifier: MIT
"""Looking now and then, while a process goes on, for uploads that arrive late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from tgsyncd.bridge import start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from tgsyncd.stores.telegram.late import LateUploads
    from tgsyncd.stores.telegram.reconciling import Reconciliation

SWEEP_EVERY_S = 300.0
"""A search costs a message of the chat's budget: one of a hundred, while something may arrive."""


class Sweeps:
    """Searches that repeat until nothing may arrive late any more."""

    def __init__(
        self,
        timer: IReactorTime,
        *,
        late: LateUploads,
        reconciliation: Reconciliation,
        save: Callable[[], Awaitable[None]],
    ) -> None:
        self._timer = timer
        self._late = late
        self._reconciliation = reconciliation
        self._save = save
        self._call: Any = None
        self._running: Deferred[None] | None = None
        self._is_closed = False
        self._log = Logger()

    def wake(self) -> None:
        """Have the next search come, if there is anything to look for."""
        is_idle = self._call is None and self._running is None and not self._is_closed
        if is_idle and self._late.known:
            self._call = self._timer.callLater(SWEEP_EVERY_S, self._begin)

    def close(self) -> None:
        """Search no more: what may arrive still is remembered."""
        self._is_closed = True
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._running is not None:
            self._running.cancel()

    def _begin(self) -> None:
        self._call = None
        self._running = running = start(self._sweep(), self._report)
        running.addBoth(lambda _result: self._end())

    def _end(self) -> None:
        self._running = None
        self.wake()

    async def _sweep(self) -> None:
        deleted = await self._reconciliation.sweep()
        await self._save()
        if deleted:
            self._log.info("Deleted {deleted} uploads that had arrived late", deleted=deleted)

    def _report(self, failure: Failure) -> None:
        self._log.failure("Looking for late uploads failed", failure=failure)
