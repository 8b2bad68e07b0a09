# SPDX-License-Identifier: MIT
"""A store in memory with several bots, each as fast as the test's clock lets it be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred

from tgsyncd.errors import StoreUnavailable

CHUNK_BYTES = 64 * 1024


@dataclass
class Bot:
    """``first_s`` until the first byte (None: never), then ``bytes_per_s``; ``fails`` at its first byte."""

    first_s: float | None = 0.0
    bytes_per_s: float | None = None
    fails: bool = False
    stalls_at: int | None = None
    """From this offset of a document on it is silent."""
    gives_up_s: float = 0.0
    """So long it goes on after it was cancelled: an asyncio call ends a turn of the loop later."""


class BotsStore:
    """Documents of a ``MemoryStore`` by several bots: a second reader at the same time takes another one."""

    def __init__(self, store, clock, bots, *, ranges=True):
        self.documents, self._clock, self.bots, self._ranges = store.documents, clock, bots, ranges
        self.opened = []
        self.bytes_read = Counter()
        self.open_now = Counter()

    def bots_for(self, ref):
        return len(self.bots)

    def honours_ranges(self):
        return self._ranges

    async def open(self, ref, start, stop):
        number = min(range(len(self.bots)), key=lambda each: (self.open_now[each], each))
        bot, data = self.bots[number], self.documents[ref.file_unique_id]
        self.opened.append((number, start, stop))
        self.open_now[number] += 1
        try:
            try:
                await self._wait(bot.first_s)
            except CancelledError:
                if bot.gives_up_s:
                    await self._wait(bot.gives_up_s)
                raise
            while start < stop:
                if self.bots[number].fails:
                    raise StoreUnavailable("this bot is told to fail")
                chunk = data[start : min(start + CHUNK_BYTES, stop)]
                stalls = bot.stalls_at is not None and start + len(chunk) > bot.stalls_at
                if stalls or bot.bytes_per_s:
                    await self._wait(None if stalls else len(chunk) / bot.bytes_per_s)
                start += len(chunk)
                self.bytes_read[number] += len(chunk)
                yield chunk
        finally:
            self.open_now[number] -= 1

    async def _wait(self, seconds):
        waiting = Deferred()
        call = None if seconds is None else self._clock.callLater(seconds, waiting.callback, None)
        try:
            await waiting
        finally:
            if call is not None and call.active():
                call.cancel()
