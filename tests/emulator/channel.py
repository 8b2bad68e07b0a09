# SPDX-License-Identifier: MIT
"""One connection, whose reading can be slowed down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.web.http import HTTPChannel

if TYPE_CHECKING:
    from twisted.web.http import Request

    from tests.emulator.server import Emulator

# TDLib's HTTP server closes idle connections after this.
IDLE_TIMEOUT_S = 500


class Channel(HTTPChannel):
    """A connection. Reading can be slowed down."""

    def __init__(self, emulator: Emulator, exchange: type[Request]) -> None:
        super().__init__()
        self.emulator = emulator
        self.factory = emulator
        self.timeOut = IDLE_TIMEOUT_S
        self.callLater = emulator.reactor.callLater
        self.requestFactory = exchange
        self._slowing: Any = None
        self._slow_until_s: float | None = 0.0

    def connectionMade(self) -> None:
        super().connectionMade()
        self.emulator.channel_opened(self)

    def connectionLost(self, reason: Any) -> None:
        self._end_slowing()
        super().connectionLost(reason)
        self.emulator.channel_closed(self)

    def slow_down(self, seconds: float | None) -> None:
        """Read nothing more for so long; None: for ever. Simulated time may pass meanwhile."""
        if self._slowing is not None:
            return
        self.transport.pauseProducing()
        self.emulator.release()
        self.emulator.resting.add(self)
        self._slowing = self
        self._slow_until_s = None
        if seconds is not None:
            self._slow_until_s = self.emulator.clock.seconds() + seconds
            self._slowing = self.emulator.clock.callLater(seconds, self._speed_up)

    def stop_slowing(self) -> float | None:
        """
        Read on at once; return the seconds that are left, to be waited for before the answer.

        None stands for "for ever".
        """
        if self._slowing is None:
            return 0.0
        until_s = self._slow_until_s
        self._speed_up()
        return None if until_s is None else max(0.0, until_s - self.emulator.clock.seconds())

    def _speed_up(self) -> None:
        self._end_slowing()
        self.transport.resumeProducing()

    def _end_slowing(self) -> None:
        if self._slowing is None:
            return
        if self._slowing is not self and self._slowing.active():
            self._slowing.cancel()
        self._slowing = None
        self.emulator.resting.discard(self)
        self.emulator.acquire()
