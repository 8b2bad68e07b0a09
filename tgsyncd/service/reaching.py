# SPDX-License-Identifier: MIT
"""Whether the store answers: noticed by what is asked of it anyway, and asked again until it does."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from tgsyncd.assembly import MayBeDown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tgsyncd.ports import Store

__all__ = ["Outage", "Reaching"]

_log = Logger()

PERIOD_S = 20.0
SHOWN_AFTER_S = 30.0
"""A shorter silence is a hiccup, which reading and sending get over by themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Since when the store does not answer, and the last reason."""

    since_s: float
    reason: str

    @property
    def words(self) -> str:
        """Say it in one line, in local time."""
        since = dt.datetime.fromtimestamp(self.since_s).astimezone()
        return f"Telegram does not answer since {since:%Y-%m-%d %H:%M}"


class Reaching:
    """Watches one store. A store that cannot be down is never."""

    def __init__(self, store: Store, *, reactor: Any, now_s: Callable[[], float]) -> None:
        self._store = store if isinstance(store, MayBeDown) else None
        self._now_s = now_s
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))
        self._loop.clock = reactor
        self._told: Outage | None = None

    @property
    def outage(self) -> Outage | None:
        """What is going on, once it has lasted long enough to be told."""
        found = None if self._store is None else self._store.outage()
        if found is None or self._now_s() - found[0] < SHOWN_AFTER_S:
            return None
        return Outage(since_s=round(found[0]), reason=found[1])

    def start(self) -> None:
        """Look regularly from now on."""
        if self._store is not None:
            self._loop.start(PERIOD_S, now=False).addErrback(
                lambda failure: _log.failure("watching the store ended", failure=failure)
            )

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    async def look(self) -> None:
        """Ask again a store that was silent; say once that it is, and once that it is not. Never raises."""
        if self._store is not None and self._store.outage() is not None:
            await self._store.probe()
        outage = self.outage
        if outage is not None and self._told is None:
            self._told = outage
            _log.warn("{words}: {reason}", words=outage.words, reason=outage.reason)
        elif outage is None and self._told is not None:
            lasted_s = self._now_s() - self._told.since_s
            self._told = None
            _log.info("Telegram answers again, after {minutes:.0f} min", minutes=lasted_s / 60)
