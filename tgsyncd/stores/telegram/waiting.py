# SPDX-License-Identifier: MIT
"""How long to wait between attempts, and when to stop: tenacity's arithmetic on Twisted's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenacity import RetryCallState, wait_exponential
from twisted.internet.task import deferLater

from tgsyncd.errors import StoreUnavailable

if TYPE_CHECKING:
    from random import Random

    from twisted.internet.interfaces import IReactorTime

_READ_WAIT = wait_exponential(multiplier=0.25, max=8)
_UPLOAD_WAIT = wait_exponential(multiplier=1, max=60)


async def sleep(reactor: IReactorTime, seconds: float) -> None:
    """Wait."""
    clock: Any = reactor  # deferLater is typed for IReactorTime; task.Clock is one
    await deferLater(clock, max(0.0, seconds), lambda: None)


def upload_pause_s(attempt: int, random: Random) -> float:
    """Return the pause after the ``attempt``-th failed attempt of an upload: 1, 2, 4 ... 60 s, jittered."""
    return _jittered(_UPLOAD_WAIT(_state(attempt)), random)


def read_pause_s(attempt: int, random: Random) -> float:
    """Return the pause after the ``attempt``-th failure without progress: none, then 0.25 ... 8 s."""
    if attempt <= 1:
        return 0.0  # most interruptions are over at once, and a viewer waits
    return _jittered(_READ_WAIT(_state(attempt - 1)), random)


class Patience:
    """
    Counts failures without progress; gives up when they went on for too long.

    Time spent waiting because Telegram asked for it does not count.
    """

    def __init__(self, reactor: IReactorTime, random: Random, limit_s: float) -> None:
        self._reactor = reactor
        self._random = random
        self._limit_s = limit_s
        self._since_s: float | None = None
        self.failures = 0

    def progressed(self) -> None:
        """Start counting anew."""
        self._since_s = None
        self.failures = 0

    async def failed(self, reason: str) -> None:
        """Note a failure and wait a little. Raises StoreUnavailable when it is enough."""
        now_s = self._reactor.seconds()
        if self._since_s is None:
            self._since_s = now_s
        self.failures += 1
        if now_s - self._since_s >= self._limit_s:
            raise StoreUnavailable(f"Telegram does not give the document for now: {reason}")
        await sleep(self._reactor, read_pause_s(self.failures, self._random))

    async def wait_as_told(self, seconds: float) -> None:
        """Wait because Telegram asked for it."""
        before_s = self._reactor.seconds()
        await sleep(self._reactor, seconds)
        if self._since_s is not None:
            self._since_s += self._reactor.seconds() - before_s


def _state(attempt: int) -> RetryCallState:
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]
    state.attempt_number = attempt
    return state


def _jittered(seconds: float, random: Random) -> float:
    """Return between half and all of it, so that what failed together does not come back together."""
    return seconds * random.uniform(0.5, 1.0)
