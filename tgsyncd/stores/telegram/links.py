# SPDX-License-Identifier: MIT
"""Where files can be read now: getFile's answers, kept until shortly before the hour."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger

from tgsyncd.bridge import start
from tgsyncd.stores.telegram.api import BotApiError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from tgsyncd.stores.telegram.api import RemoteFile
    from tgsyncd.stores.telegram.context import Context

KEPT_LINKS = 20_000
"""Some 400 bytes each."""

AHEAD_KEEPS_FREE = 2
"""Asking ahead leaves so many of a bot's getFile places to those who wait for a byte."""

Key = tuple[int, int, int]
"""bot_id, chat_id, message_id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A file that a bot can read until the link expires."""

    key: Key
    file_path: str
    size_bytes: int | None

    @property
    def bot_id(self) -> int:
        """Whose link it is."""
        return self.key[0]


@dataclass(slots=True)
class _Flight:
    """One getFile that several may wait for."""

    waiters: list[Deferred[Link]] = field(default_factory=list)
    running: Deferred[None] | None = None


class Links:
    """getFile with a cache, one request per file at a time, few requests per bot at a time."""

    def __init__(self, context: Context, *, on_error: Callable[[int, BotApiError], None]) -> None:
        self._fleet = context.fleet
        self._on_error = on_error
        self._reactor = context.timer
        self._lifetime_s = context.settings.link_lifetime_s
        self._places = {
            bot_id: DeferredSemaphore(context.settings.get_files_per_bot) for bot_id in context.fleet.bot_ids
        }
        self._kept: OrderedDict[Key, tuple[float, Link]] = OrderedDict()
        self._flights: dict[Key, _Flight] = {}
        self.in_use: Counter[int] = Counter()
        """Downloads and getFile calls under way, by bot."""
        self._log = Logger()

    async def get(self, key: Key, file_id: str) -> Link:
        """Return a link. Raises the Bot API's errors, which ``on_error`` was told."""
        if (link := self.kept(key)) is not None:
            return link
        flight = self._flight(key, file_id)
        waiter: Deferred[Link] = Deferred()
        flight.waiters.append(waiter)
        return await waiter

    def ask_ahead(self, key: Key, file_id: str) -> None:
        """Have getFile answered before it is needed, if the bot is not busy with those who wait."""
        if self.kept(key) is None and self._places[key[0]].tokens > AHEAD_KEEPS_FREE:
            self._flight(key, file_id)

    def kept(self, key: Key) -> Link | None:
        """Return the link if it is known and not about to expire."""
        known = self._kept.get(key)
        if known is None:
            return None
        if known[0] <= self._reactor.seconds():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return known[1]

    def forget(self, link: Link) -> None:
        """Drop a link that did not work."""
        known = self._kept.get(link.key)
        if known is not None and known[1] is link:
            del self._kept[link.key]

    def close(self) -> None:
        """Cancel what is under way."""
        for flight in list(self._flights.values()):
            if flight.running is not None:
                flight.running.cancel()

    def _flight(self, key: Key, file_id: str) -> _Flight:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            flight.running = start(self._fly(key, file_id, flight), self._report)
        return flight

    async def _fly(self, key: Key, file_id: str, flight: _Flight) -> None:
        try:
            link = await self._places[key[0]].run(lambda: Deferred.fromCoroutine(self._ask(key, file_id)))
        except BotApiError as error:
            self._on_error(key[0], error)
            self._land(key, flight, error)
        except BaseException:
            self._land(key, flight, Unreachable("cancelled"))
            raise
        else:
            self._kept[key] = (self._reactor.seconds() + self._lifetime_s, link)
            while len(self._kept) > KEPT_LINKS:
                self._kept.popitem(last=False)
            self._land(key, flight, link)

    async def _ask(self, key: Key, file_id: str) -> Link:
        bot_id = key[0]
        self.in_use[bot_id] += 1
        try:
            file: RemoteFile = await self._fleet.bot(bot_id).get_file(file_id)
        finally:
            self.in_use[bot_id] -= 1
        self._fleet.note_well(bot_id)
        if not file.file_path:
            raise Unreachable("the Bot API server has not got the file yet")
        return Link(key=key, file_path=file.file_path, size_bytes=file.size_bytes)

    def _land(self, key: Key, flight: _Flight, result: Link | BotApiError) -> None:
        self._flights.pop(key, None)
        for waiter in flight.waiters:
            if waiter.called:  # its reader left
                continue
            if isinstance(result, Link):
                waiter.callback(result)
            else:
                waiter.errback(result)

    def _report(self, failure: Failure) -> None:
        self._log.failure("Asking ahead for a file failed", failure=failure)
