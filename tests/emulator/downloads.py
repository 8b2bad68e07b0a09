# SPDX-License-Identifier: MIT
"""Sends a file, as fast as the client reads or as slowly as the knobs say, and spoils it when told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK_BYTES = 64 * 1024


@implementer(IPushProducer)
class FileSender:
    """
    Writes [start, stop) of a file to a request, which gave the headers already.

    ``flip_at`` is the offset of a byte whose lowest bit is turned; ``stop_at`` the offset at which
    ``on_stop`` is called instead of going on; at ``stall_at`` it waits ``stall_s`` seconds (None: for
    ever). While only time has to pass it is in ``resting``. ``done`` fires with True when everything was
    written, with False when it stopped early or the client went away.
    """

    def __init__(
        self,
        path: Path,
        start: int,
        stop: int,
        *,
        request: Any,
        clock: Any,
        bytes_per_s: float,
        flip_at: int | None = None,
        stop_at: int | None = None,
        on_stop: Callable[[], None] | None = None,
        stall_at: int | None = None,
        stall_s: float | None = None,
        touch: Callable[[], None] = lambda: None,
        resting: set[object] | None = None,
    ) -> None:
        self._file: BinaryIO | None = path.open("rb", buffering=0)
        self._file.seek(start)
        self._at = start
        self._stop = stop
        self._request = request
        self._clock = clock
        self._bytes_per_s = bytes_per_s
        self._flip_at = flip_at
        self._stop_at = stop_at
        self._on_stop = on_stop
        self._stall_at = stall_at
        self._stall_s = stall_s
        self._touch = touch
        self._resting = set() if resting is None else resting
        self._paused = True
        self._timer: Any = None
        self._pumping = False
        self._is_dead = False
        self.sent = 0
        self.done: Deferred[bool] = Deferred()

    def start(self) -> None:
        if self._request.channel is None:  # the client went away while we made it wait
            self._end(whole=False)
            return
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        if not self._is_dead:
            self._paused = False
            self._pump()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._end(whole=False)

    def _pump(self) -> None:
        # write() may call pauseProducing and, over some transports, resumeProducing at once.
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._file is not None and not self._paused and self._timer is None:
                self._step()
        finally:
            self._pumping = False

    def _step(self) -> None:
        if self._at == self._stop_at:
            if self._on_stop is not None:
                self._on_stop()
            self._end(whole=False)
            return
        if self._at == self._stall_at:
            self._stall_at = None
            if self._stall_s is None:
                self._paused = self._is_dead = True
                self._resting.add(self)
            else:
                self._rest(self._stall_s)
            return
        if self._at >= self._stop:
            self._end(whole=True)
            return
        data = self._read()
        if self._bytes_per_s:
            self._rest(len(data) / self._bytes_per_s)
        self.sent += len(data)
        self._touch()
        self._request.write(data)

    def _read(self) -> bytes:
        assert self._file is not None
        stop = min(self._stop, self._at + CHUNK_BYTES)
        for place in (self._stop_at, self._stall_at):
            if place is not None and place > self._at:
                stop = min(stop, place)
        data = self._file.read(stop - self._at)
        if self._flip_at is not None and self._at <= self._flip_at < self._at + len(data):
            place = self._flip_at - self._at
            data = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        self._at += len(data)
        return data

    def _rest(self, seconds: float) -> None:
        self._timer = self._clock.callLater(seconds, self._go_on)
        self._resting.add(self)

    def _go_on(self) -> None:
        self._timer = None
        self._resting.discard(self)
        self._pump()

    def _end(self, *, whole: bool) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        self._resting.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._request.producer is not None:
            self._request.unregisterProducer()
        self.done.callback(whole)
