# SPDX-License-Identifier: MIT
"""What is missing of a segment, brought by as many connections as the video needs."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tgsyncd.playback.lines import MEASURED_S, SPLIT_MIN_BYTES, shall_add_connection
from tgsyncd.playback.load import busy_s

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tgsyncd.playback.flight import Flight

    OpenRange = Callable[[int, int], AsyncGenerator[bytes, None]]
    """Reads bytes ``[start, stop)`` of the piece from the store."""


@dataclass(slots=True, eq=False)
class _Part:
    """What one connection brings; its end comes nearer when another takes a share of it."""

    position: int
    stop: int
    is_cut: bool = False

    @property
    def left_bytes(self) -> int:
        return self.stop - self.position

    def give_half(self) -> _Part:
        """Cut the second half off."""
        middle = self.position + self.left_bytes // 2
        rest = _Part(middle, self.stop)
        self.stop, self.is_cut = middle, True
        return rest


@dataclass(slots=True, eq=False)
class _Worker:
    """One connection after the other, one part after the other."""

    part: _Part
    is_running: bool = False
    """It handles a chunk right now, and so cannot be cancelled: it sees for itself that all is over."""
    work: Deferred[None] | None = None


class Crew:
    """
    The connections that bring one flight's bytes: one, unless it is slower than the video needs.

    Another one takes the second half of what the slowest has still to bring, so the bytes that a viewer waits
    for next keep coming in order. ``need_bytes_per_s`` is what the video plays; ``may_add`` tells whether the
    store sends a part of a document alone. ``on_added`` is called for each further connection, ``on_bytes``
    for each chunk.
    """

    def __init__(
        self,
        flight: Flight,
        open_range: OpenRange,
        *,
        need_bytes_per_s: float,
        may_add: Callable[[], bool],
        now_s: Callable[[], float],
        on_added: Callable[[], None],
        on_bytes: Callable[[], None],
    ) -> None:
        self._flight = flight
        self._open_range = open_range
        self._need_bytes_per_s = need_bytes_per_s
        self._may_add = may_add
        self._now_s = now_s
        self._on_added = on_added
        self._on_bytes = on_bytes
        self._gaps: list[_Part] = []
        self._workers: list[_Worker] = []
        self._failure: Failure | None = None
        self._is_over = False
        self._waiter: Deferred[None] | None = None
        self._since_s: float | None = None
        self._arrived_bytes = 0
        self._busy_since_s = 0.0

    async def bring(self, gaps: list[tuple[int, int]]) -> None:
        """Fill these ranges, the first ones first. Raises what the store raises; then nothing goes on."""
        self._gaps = [_Part(start, stop) for start, stop in gaps]
        try:
            self._begin()
            while self._workers and self._failure is None:
                self._waiter = Deferred()
                await self._waiter
        finally:
            self._is_over, self._waiter = True, None
            for worker in list(self._workers):
                if worker.work is not None and not worker.is_running:
                    worker.work.cancel()
        if self._failure is not None:
            self._failure.raiseException()

    def _begin(self) -> None:
        part = self._take()
        if part is not None:
            worker = _Worker(part)
            self._workers.append(worker)
            worker.work = Deferred.fromCoroutine(self._work(worker))
            worker.work.addBoth(self._ended, worker)

    def _ended(self, outcome: Any, worker: _Worker) -> None:
        self._workers.remove(worker)
        if isinstance(outcome, Failure) and self._failure is None:
            self._failure = outcome
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.called:
            waiter.callback(None)

    async def _work(self, worker: _Worker) -> None:
        part: _Part | None = worker.part
        while part is not None and not self._is_over:
            worker.part = part
            await self._bring(worker, part)
            part = self._take()

    async def _bring(self, worker: _Worker, part: _Part) -> None:
        async with aclosing(self._open_range(part.position, part.stop)) as chunks:
            async for each in chunks:
                worker.is_running = True
                chunk = each[: part.left_bytes]
                part.position += len(chunk)
                # Whoever takes the last bytes that he wants may leave at once, and end all this.
                self._flight.put(part.position - len(chunk), chunk)
                if not self._is_over:
                    self._on_bytes()
                    self._judge(len(chunk))
                worker.is_running = False
                # A part that was not cut is read to its end, so that its connection serves again.
                if self._is_over or (part.is_cut and not part.left_bytes):
                    break

    def _take(self) -> _Part | None:
        """Return a share of what another one brings, or else what nobody brings yet."""
        largest = self._largest()
        if largest is not None and largest.left_bytes >= 2 * SPLIT_MIN_BYTES:
            return largest.give_half()
        return self._gaps.pop(0) if self._gaps else None

    def _largest(self) -> _Part | None:
        return max((worker.part for worker in self._workers), key=lambda part: part.left_bytes, default=None)

    def _judge(self, arrived_bytes: int) -> None:
        now_s = self._now_s()
        if self._since_s is None:  # the wait for the first byte says nothing of the speed
            self._since_s, self._busy_since_s = now_s, busy_s()
            return
        self._arrived_bytes += arrived_bytes
        largest = self._largest()
        if (
            self._flight.readers
            and largest is not None
            and now_s - self._since_s >= MEASURED_S
            and shall_add_connection(
                arrived_bytes=self._arrived_bytes,
                measured_s=now_s - self._since_s,
                need_bytes_per_s=self._need_bytes_per_s,
                largest_part_bytes=largest.left_bytes,
                connections=len(self._workers),
                busy_s=busy_s() - self._busy_since_s,
            )
            and self._may_add()
        ):
            self._since_s, self._arrived_bytes, self._busy_since_s = now_s, 0, busy_s()
            self._on_added()
            self._begin()
