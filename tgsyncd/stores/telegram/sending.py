# SPDX-License-Identifier: MIT
"""The one queue for everything that costs Telegram's message budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tgsyncd.stores.telegram.api import Ambiguous, BotApiError, FloodWait
from tgsyncd.stores.telegram.limits import Slot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.ports import Clock
    from tgsyncd.stores.telegram.limits import Limits

T = TypeVar("T")

LOOK_AGAIN_S = 30.0
"""A queue with nobody to send is looked at so often: a bot may be well again."""

LONG_WAIT_S = 60.0
"""A flood wait of this length is worth a line in the log."""


class Priority(IntEnum):
    """Who goes first when there are fewer slots than wishes."""

    READ = 0
    """A viewer waits for it."""
    UPLOAD = 1
    TIDY = 2
    """Deletions by editing."""


@dataclass(slots=True, eq=False)
class _Wish:
    order: tuple[int, int]
    candidates: Callable[[], Sequence[tuple[int, int]]]
    size_bytes: int
    granted: Deferred[Slot] = field(default_factory=Deferred)


class Sender:
    """Grants slots: by priority, then in order; each to the least used bot and chat."""

    def __init__(
        self,
        limits: Limits,
        reactor: IReactorTime,
        clock: Clock,
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._reactor = reactor
        self._clock = clock
        self._on_change = on_change
        self._wishes: list[_Wish] = []
        self._counter = 0
        self._timer: Any = None
        self._is_looking = False
        self._look_again = False
        self._log = Logger()

    async def send(
        self,
        candidates: Callable[[], Sequence[tuple[int, int]]],
        action: Callable[[Slot], Awaitable[T]],
        priority: Priority,
        size_bytes: int = 0,
    ) -> T:
        """
        Do ``action`` as soon as one of the (bot, chat) candidates may send.

        ``candidates`` is asked again whenever something changed, and may raise to give up. A flood wait
        is obeyed and the action done again, by whoever may; other errors are the caller's.
        """
        while True:
            slot = await self._slot(candidates, priority, size_bytes)
            try:
                return await self._within(slot, action)
            except FloodWait:
                continue

    def wake(self) -> None:
        """Look at the queue: a bot, a chat or a slot may have become free."""
        self._look_again = True
        if self._is_looking:  # what was granted may finish, and wake us, at once
            return
        self._is_looking = True
        try:
            while self._look_again:
                self._look_again = False
                self._look()
        finally:
            self._is_looking = False

    def close(self) -> None:
        """Stop looking; cancel those that wait."""
        for wish in list(self._wishes):
            wish.granted.cancel()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _look(self) -> None:
        now_s = self._clock.now_s()
        next_s = now_s + LOOK_AGAIN_S
        for wish in sorted(self._wishes, key=lambda wish: wish.order):
            next_s = min(next_s, self._look_at(wish, now_s))
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._wishes:
            self._timer = self._reactor.callLater(max(0.01, next_s - now_s), self.wake)

    async def _within(self, slot: Slot, action: Callable[[Slot], Awaitable[T]]) -> T:
        arrived = True  # also when cancelled: it may have been sent
        try:
            return await action(slot)
        except FloodWait as wait:
            self._note_flood(slot, wait.retry_after_s)
            raise
        except Ambiguous:
            raise
        except BotApiError:
            arrived = False
            raise
        finally:
            self._give_back(slot, arrived=arrived)

    def _give_back(self, slot: Slot, *, arrived: bool) -> None:
        if self._limits.is_open(slot):
            if arrived:
                self._limits.finish(slot, self._clock.now_s())
            else:
                self._limits.cancel(slot)
        self._on_change()
        self.wake()

    def _note_flood(self, slot: Slot, retry_after_s: float) -> None:
        self._limits.flood(slot, self._clock.now_s(), retry_after_s)
        if retry_after_s >= LONG_WAIT_S:
            self._log.info(
                "Telegram asks bot {bot_id} to send nothing to chat {chat_id} for {wait_s:.0f} s; "
                "nothing is lost, uploads go on by other bots or then",
                bot_id=slot.bot_id,
                chat_id=slot.chat_id,
                wait_s=retry_after_s,
            )

    async def _slot(
        self, candidates: Callable[[], Sequence[tuple[int, int]]], priority: Priority, size_bytes: int
    ) -> Slot:
        self._counter += 1
        wish = _Wish((priority, self._counter), candidates, size_bytes)
        self._wishes.append(wish)
        self.wake()
        try:
            return await wish.granted
        finally:
            if wish in self._wishes:
                self._wishes.remove(wish)

    def _look_at(self, wish: _Wish, now_s: float) -> float:
        """Grant a wish if possible; return when to look again."""
        later_s = now_s + LOOK_AGAIN_S
        if wish.granted.called:
            return later_s
        try:
            choice = self._limits.choose(now_s, wish.candidates(), wish.size_bytes)
        except Exception:  # noqa: BLE001 - handed to whoever waits
            self._wishes.remove(wish)
            wish.granted.errback()
            return later_s
        if isinstance(choice, Slot):
            self._wishes.remove(wish)
            wish.granted.callback(choice)
            return later_s
        return later_s if choice.until_s is None else choice.until_s
