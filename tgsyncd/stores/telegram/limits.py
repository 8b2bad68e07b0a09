# SPDX-License-Identifier: MIT
"""
Which bot may send to which chat, and when: Telegram's limits, kept without being told. Pure.

Numbers (docs/telegram.md has their sources): 20 messages a minute and about one a second for each
bot in each chat, 30 a second for each bot. What Telegram counts exactly is not documented, so two
things are learned from its 429 answers: how long to be quiet (always obeyed), and whether a chat
counts its bots together (then they share one budget for some hours).

A message counts when it arrives, at the end of its upload. Of an upload in flight only the
earliest arrival is known: its start plus the shortest time that uploads to that chat took lately.
So the next one may start that much before its slot is free, and slots are not lost to uploading.

All times are wall-clock seconds, because they are kept over restarts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.stores.telegram.usage import MARGIN_S, WINDOW_S, Block, Pair, Window

if TYPE_CHECKING:
    from collections.abc import Iterable

SHARED_FOR_S = 6 * 3600.0
"""How long a chat is believed to count its bots together before that is tried again."""

EVIDENCE_S = 30.0
"""Unexpected waits must go on for so long before that is believed: a burst has other reasons."""

_TOGETHER_MAX = 1.25
"""A chat that takes this share of one budget in a minute does not count its bots together."""

_WELL_BELOW = 0.75
"""A bot below this share of its own budget did not cause the wait by itself."""

BLOCK_MAX_S = 7 * 86_400.0
"""A longer wait in a state file was not written by a healthy clock. Seen in the wild: 10,072 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRules:
    """The limits that are kept."""

    messages_per_minute: int = 20
    """To one chat, by one bot."""
    chat_interval_s: float = 1.0
    """Between two messages of one bot to one chat."""
    bot_messages_per_second: int = 30
    """By one bot to all chats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The right to send one message: this bot, to this chat, now."""

    bot_id: int
    chat_id: int
    number: int
    """Distinguishes slots in flight."""
    begun_at_s: float
    size_bytes: int = 0
    """Of what is sent; 0 when that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """No slot now. ``until_s`` None: not before one in flight is finished, or nobody may send."""

    until_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairState:
    """What is remembered of one bot in one chat (``chat_id`` 0: of the bot in all chats)."""

    bot_id: int
    chat_id: int
    arrived_at_s: tuple[float, ...] = ()
    blocked_at_s: float = 0.0
    blocked_until_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsState:
    """What is kept over restarts."""

    pairs: tuple[PairState, ...] = ()
    shared_until_s: tuple[tuple[int, float], ...] = ()
    """(chat_id, until when it is believed to count its bots together)."""


class Limits:
    """The budgets of all bots and chats. Holds no clock: every decision takes ``now_s``."""

    def __init__(self, rules: LimitRules, state: LimitsState | None = None) -> None:
        self._rules = rules
        interval_s = rules.chat_interval_s
        self._chat_interval_s = interval_s + MARGIN_S if interval_s else 0.0
        self._pairs: dict[tuple[int, int], Pair] = {}
        self._bots: dict[int, Pair] = {}
        self._chats: dict[int, Window] = {}
        self._shared_until_s: dict[int, float] = {}
        self._evidence_since_s: dict[int, float] = {}
        self._suspect_until_s: dict[int, float] = {}
        self._next_number = 0
        if state is not None:
            self._restore(state)

    # --- decisions ---------------------------------------------------------------------------------

    def choose(self, now_s: float, candidates: Iterable[tuple[int, int]], size_bytes: int = 0) -> Slot | Wait:
        """
        Take the slot of the least used (bot, chat) that may send so much now, or say when to ask again.

        A slot taken must be given back with ``finish``, ``cancel`` or ``flood``.
        """
        ready: list[tuple[tuple[float, ...], int, int]] = []
        times: list[float] = []
        for bot_id, chat_id in candidates:
            at_s = self.ready_at_s(now_s, bot_id, chat_id, size_bytes)
            if at_s is None:
                continue
            if at_s <= now_s:
                ready.append((self._load(bot_id, chat_id), bot_id, chat_id))
            else:
                times.append(at_s)
        if not ready:
            return Wait(until_s=min(times, default=None))
        _, bot_id, chat_id = min(ready)
        return self._take(now_s, bot_id, chat_id, size_bytes)

    def ready_at_s(self, now_s: float, bot_id: int, chat_id: int, size_bytes: int = 0) -> float | None:
        """When this bot may send to this chat; None: not before something in flight is finished."""
        pair, bot, chat = self._pair(bot_id, chat_id), self._bot(bot_id), self._chat(chat_id)
        for window in (pair.window, bot.window, chat):
            window.forget_old(now_s)
        per_minute = self._rules.messages_per_minute
        lead_s, takes_s = pair.lead_s(size_bytes), pair.takes_s(size_bytes)
        times = [
            pair.window.free_at_s(per_minute, lead_s),
            self._bot_free_at_s(now_s, bot),
            pair.block.ends_s(now_s),
            bot.block.ends_s(now_s),
            pair.window.paced_at_s(now_s, self._chat_interval_s, takes_s),
        ]
        if self.is_shared(chat_id, now_s):
            times.append(chat.free_at_s(per_minute, lead_s))
            times.append(chat.paced_at_s(now_s, self._chat_interval_s, takes_s))
        known = [at_s for at_s in times if at_s is not None]
        return max(known) if len(known) == len(times) else None

    def blocked_until_s(self, now_s: float, bot_id: int, chat_id: int | None = None) -> float:
        """Until when the bot (in that chat) was told to be quiet; a time past when it was not."""
        until_s = self._bot(bot_id).block.ends_s(now_s)
        if chat_id is not None:
            until_s = max(until_s, self._pair(bot_id, chat_id).block.ends_s(now_s))
        return until_s

    # --- what happened -----------------------------------------------------------------------------

    def finish(self, slot: Slot, now_s: float) -> None:
        """Note that the message has arrived (or may have)."""
        self._give_back(slot)
        pair = self._pair(slot.bot_id, slot.chat_id)
        pair.lately.append((max(0.0, now_s - slot.begun_at_s), slot.size_bytes))
        for window in self._windows(slot):
            window.arrived_at_s.append(now_s)
        self._chat(slot.chat_id).forget_old(now_s)
        self._note_counter_evidence(slot.chat_id)

    def is_open(self, slot: Slot) -> bool:
        """Tell whether the slot has not been given back yet."""
        return slot.number in self._bot(slot.bot_id).window.in_flight

    def cancel(self, slot: Slot) -> None:
        """Note that nothing was sent."""
        self._give_back(slot)

    def flood(self, slot: Slot, now_s: float, retry_after_s: float) -> None:
        """
        Note a 429 for a message: this bot is quiet in this chat for so long, and nobody else.

        A bot told to wait although it kept its own budget, in a chat that its bots together have
        filled, shows that the chat counts them together.
        """
        chat = self._chat(slot.chat_id)
        chat.forget_old(now_s)
        pair = self._pair(slot.bot_id, slot.chat_id)
        pair.window.forget_old(now_s)
        own = len(pair.window.arrived_at_s)
        together = len(chat.arrived_at_s)
        per_minute = self._rules.messages_per_minute
        if own <= per_minute * _WELL_BELOW and together >= per_minute:
            self._note_evidence(slot.chat_id, now_s, retry_after_s)
        self._give_back(slot)
        counted = together if self.is_shared(slot.chat_id, now_s) else own
        if counted >= per_minute:
            pair.lately.clear()  # the lead may have been the reason
        pair.block.extend(now_s, retry_after_s + MARGIN_S)

    def flood_pair(self, bot_id: int, chat_id: int, now_s: float, retry_after_s: float) -> None:
        """Note a 429 for a request to a chat that was no message, such as a deletion."""
        self._pair(bot_id, chat_id).block.extend(now_s, retry_after_s + MARGIN_S)

    def flood_bot(self, bot_id: int, now_s: float, retry_after_s: float) -> None:
        """Note a 429 for a request that goes to no chat (getFile): the bot is quiet for so long."""
        self._bot(bot_id).block.extend(now_s, retry_after_s + MARGIN_S)

    def export(self, now_s: float) -> LimitsState:
        """Return what is to be kept over a restart. What is in flight counts as arrived."""
        pairs = []
        every = [(bot, chat, pair) for (bot, chat), pair in self._pairs.items()]
        every += [(bot, 0, pair) for bot, pair in self._bots.items()]
        for bot_id, chat_id, pair in sorted(every, key=lambda item: item[:2]):
            pair.window.forget_old(now_s)
            pairs.append(
                PairState(
                    bot_id=bot_id,
                    chat_id=chat_id,
                    arrived_at_s=(*pair.window.arrived_at_s, *(now_s for _ in pair.window.in_flight)),
                    blocked_at_s=pair.block.at_s,
                    blocked_until_s=pair.block.until_s,
                )
            )
        return LimitsState(pairs=tuple(pairs), shared_until_s=tuple(sorted(self._shared_until_s.items())))

    # --- inside ------------------------------------------------------------------------------------

    def _restore(self, state: LimitsState) -> None:
        for kept in state.pairs:
            pair = self._pair(kept.bot_id, kept.chat_id) if kept.chat_id else self._bot(kept.bot_id)
            pair.window.arrived_at_s = deque(sorted(kept.arrived_at_s))
            length_s = kept.blocked_until_s - kept.blocked_at_s
            if 0.0 < length_s <= BLOCK_MAX_S:
                pair.block = Block(kept.blocked_at_s, kept.blocked_until_s)
            if kept.chat_id:
                chat = self._chat(kept.chat_id)
                chat.arrived_at_s = deque(sorted([*chat.arrived_at_s, *kept.arrived_at_s]))
        self._shared_until_s = dict(state.shared_until_s)

    def _pair(self, bot_id: int, chat_id: int) -> Pair:
        return self._pairs.setdefault((bot_id, chat_id), Pair())

    def _bot(self, bot_id: int) -> Pair:
        return self._bots.setdefault(bot_id, Pair())

    def _chat(self, chat_id: int) -> Window:
        return self._chats.setdefault(chat_id, Window())

    def _windows(self, slot: Slot) -> tuple[Window, Window, Window]:
        return (
            self._pair(slot.bot_id, slot.chat_id).window,
            self._bot(slot.bot_id).window,
            self._chat(slot.chat_id),
        )

    def _note_evidence(self, chat_id: int, now_s: float, retry_after_s: float) -> None:
        """Suspect the chat until the wait is over, which costs nothing if it is true; then believe it."""
        self._suspect_until_s[chat_id] = now_s + min(retry_after_s, WINDOW_S)
        since_s = self._evidence_since_s.setdefault(chat_id, now_s)
        if now_s - since_s >= EVIDENCE_S:
            self._shared_until_s[chat_id] = now_s + SHARED_FOR_S
            del self._evidence_since_s[chat_id]

    def _note_counter_evidence(self, chat_id: int) -> None:
        if len(self._chat(chat_id).arrived_at_s) > self._rules.messages_per_minute * _TOGETHER_MAX:
            self._evidence_since_s.pop(chat_id, None)
            self._suspect_until_s.pop(chat_id, None)

    def is_shared(self, chat_id: int, now_s: float) -> bool:
        """Tell whether the chat is believed to count its bots together."""
        suspect_until_s = self._suspect_until_s.get(chat_id, 0.0)
        shared_until_s = self._shared_until_s.get(chat_id, 0.0)
        return now_s < suspect_until_s <= now_s + WINDOW_S or now_s < shared_until_s <= now_s + SHARED_FOR_S

    def _bot_free_at_s(self, now_s: float, bot: Pair) -> float:
        """When the bot may begin: 30 a second over all chats, by when they began."""
        recent = sorted(at for at in bot.window.in_flight.values() if now_s - 1.0 < at)
        recent += [at for at in bot.window.arrived_at_s if now_s - 1.0 < at]
        limit = self._rules.bot_messages_per_second
        return sorted(recent)[-limit] + 1.0 + MARGIN_S if len(recent) >= limit else 0.0

    def _load(self, bot_id: int, chat_id: int) -> tuple[float, ...]:
        """
        How used a pair is: chats evenly first, then bots in a chat, then the one that rested longest.

        By messages, not by what is in flight now: else a slow bot would get less, and a fast one be refused.
        """
        pair, bot, chat = self._pair(bot_id, chat_id), self._bot(bot_id), self._chat(chat_id)
        return (
            chat.used,
            pair.window.used,
            bot.window.used,
            pair.window.last_begun_s,
        )

    def _take(self, now_s: float, bot_id: int, chat_id: int, size_bytes: int) -> Slot:
        self._next_number += 1
        slot = Slot(
            bot_id=bot_id,
            chat_id=chat_id,
            number=self._next_number,
            begun_at_s=now_s,
            size_bytes=size_bytes,
        )
        takes_s = self._pair(bot_id, chat_id).takes_s(size_bytes)
        for window in self._windows(slot):
            window.in_flight[slot.number] = now_s
            window.last_begun_s = now_s
            window.last_takes_s = takes_s
        return slot

    def _give_back(self, slot: Slot) -> None:
        for window in self._windows(slot):
            del window.in_flight[slot.number]
