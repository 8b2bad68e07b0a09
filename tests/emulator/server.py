# SPDX-License-Identifier: MIT
"""
A Bot API server for tests, over real HTTP.

In a test::

    emulator = Emulator(reactor, clock, tmp_path)
    bot = emulator.state.add_bot("one")
    chat = emulator.state.add_chat("channel", bots=[bot])
    await emulator.start()
    ... Bot(bot.token, base_url=emulator.base_url, base_file_url=emulator.base_file_url) ...
    await emulator.stop()

``docs/emulator.md`` tells the rest.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import ServerFactory

from tests.emulator.calls import Record
from tests.emulator.channel import Channel
from tests.emulator.exchange import Exchange
from tests.emulator.faults import Faults, Knobs, Limits
from tests.emulator.state import State

if TYPE_CHECKING:
    from pathlib import Path

# Enough for a soak's assertions, and a bound.
MAX_RECORDS = 200_000


class Emulator(ServerFactory):
    """
    The server and everything that may be changed while it runs.

    ``clock`` is a RealClock or a SimulatedClock: all waiting, dates and expiries follow it. Sockets are
    the reactor's and go on in real time.
    """

    noisy = False

    def __init__(
        self,
        reactor: Any,
        clock: Any,
        state_dir: Path,
        *,
        local: bool = False,
        port: int = 0,
        host: str = "127.0.0.1",
        seed: int = 0,
        knobs: Knobs | None = None,
    ) -> None:
        self.reactor = reactor
        self.clock = clock
        self.local = local
        self.host = host
        self.port = port
        self.knobs = knobs or Knobs()
        if local:
            self.knobs.upload_limit_bytes = 2000 * 1000 * 1000
        self.state = State(state_dir, clock.now_s)
        self.faults = Faults(random.Random(seed))
        self.limits = Limits(self.knobs)
        self.records: deque[Record] = deque(maxlen=MAX_RECORDS)
        self.peaks: Counter[str] = Counter()
        """The most calls of each method (and "download") that were under way at once."""
        self._under_way: Counter[str] = Counter()
        self._count = 0
        self._port: Any = None
        self._channels: set[Channel] = set()
        self._sleeping: set[Deferred[None]] = set()
        self.resting: set[object] = set()
        """Whose client waits while nothing but time has to pass."""
        self._gone: list[Deferred[None]] = []

    # -- starting and stopping -----------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What python-telegram-bot calls ``base_url``."""
        return f"{self.url}/bot"

    @property
    def base_file_url(self) -> str:
        return f"{self.url}/file/bot"

    async def start(self) -> None:
        """Listen; after a stop on the same port, so that clients find it again."""
        self._port = self.reactor.listenTCP(self.port, self, interface=self.host)
        self.port = self._port.getHost().port

    come_back = start

    async def go_down(self) -> None:
        """Refuse connections and cut those that are open, until ``come_back()``. Nothing is forgotten."""
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()
        for channel in list(self._channels):
            channel.transport.abortConnection()
        for sleeper in list(self._sleeping):
            sleeper.cancel()
        if self._channels:
            gone: Deferred[None] = Deferred()
            self._gone.append(gone)
            await gone

    async def stop(self) -> None:
        """Go down for good and close the state; a new Emulator on the same directory goes on from it."""
        await self.go_down()
        self.state.close()

    # -- for assertions ------------------------------------------------------------------------------

    def calls(self, method: str = "*", *, bot_id: int | None = None) -> list[Record]:
        """Return the records of a method's calls (or "download"), oldest first."""
        return [
            record
            for record in self.records
            if method.lower() in ("*", record.method) and bot_id in (None, record.bot_id)
        ]

    # -- what exchanges ask of us --------------------------------------------------------------------

    def buildProtocol(self, addr: Any) -> Channel:
        return Channel(self, Exchange)

    def log(self, request: Any) -> None:
        """Twisted's access log: none, it would hold tokens."""

    def channel_opened(self, channel: Channel) -> None:
        self._channels.add(channel)

    def channel_closed(self, channel: Channel) -> None:
        self._channels.discard(channel)
        if not self._channels:
            waiting, self._gone = self._gone, []
            for gone in waiting:
                gone.callback(None)

    def open_record(self, method: str, bot_id: int) -> Record:
        self._count += 1
        record = Record(number=self._count, method=method, bot_id=bot_id, started_s=self.clock.now_s())
        self.records.append(record)
        self._under_way[method] += 1
        self.peaks[method] = max(self.peaks[method], self._under_way[method])
        return record

    def close_record(self, record: Record) -> None:
        if record.ended_s is None:
            record.ended_s = self.clock.now_s()
            self._under_way[record.method] -= 1

    def acquire(self) -> None:
        """Keep simulated time from passing: we are working."""
        if hasattr(self.clock, "acquire"):
            self.clock.acquire()

    def release(self) -> None:
        if hasattr(self.clock, "release"):
            self.clock.release()

    def touch(self) -> None:
        """Bytes are moving: simulated time had better wait."""
        if hasattr(self.clock, "touch"):
            self.clock.touch()

    async def sleep(self, seconds: float | None) -> None:
        """
        Wait, and let simulated time pass meanwhile. Ends with CancelledError when we go down.

        None waits for ever, and leaves nothing to which simulated time could jump.
        """
        if seconds is not None and seconds <= 0:
            return
        timer: Any = None
        sleeper: Deferred[None] = Deferred(lambda _: timer and timer.cancel())
        if seconds is not None:
            timer = self.clock.callLater(seconds, sleeper.callback, None)
        self._sleeping.add(sleeper)
        self.release()
        try:
            await sleeper
        finally:
            self.acquire()
            self._sleeping.discard(sleeper)
