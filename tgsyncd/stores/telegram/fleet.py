# SPDX-License-Identifier: MIT
"""The bots, which of them may be used now and where, and the chats that have moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.ports import Clock
    from tgsyncd.stores.telegram.bot import BotClient

FIRST_REST_S = 5.0
"""A bot that is not accepted is asked again so soon: short spells of 401 have been seen."""

LONGEST_REST_S = 900.0

_EVERYWHERE = 0


@dataclass(slots=True)
class _Rest:
    """A bot that was refused (in a chat) is left alone for a while, for longer each time."""

    until_s: float
    length_s: float


class Fleet:
    """Bots by their id. A bot with trouble is passed over and tried again later."""

    def __init__(self, bots: Sequence[BotClient], clock: Clock) -> None:
        self._bots = {bot.bot_id: bot for bot in bots}
        self._clock = clock
        self._rests: dict[tuple[int, int], _Rest] = {}
        self._moved: dict[int, int] = {}
        self._log = Logger()

    @property
    def bot_ids(self) -> Sequence[int]:
        """All bots, in the order of the settings."""
        return tuple(self._bots)

    def bot(self, bot_id: int) -> BotClient:
        """Return the bot of this id."""
        return self._bots[bot_id]

    def usable(self, chat_id: int | None = None) -> list[int]:
        """Return the bots that may be asked now (about this chat)."""
        return [bot_id for bot_id in self._bots if self._well_at_s(bot_id, chat_id) <= self._now()]

    def usable_in_s(self, chat_id: int | None = None) -> float:
        """Return the seconds until a bot may be asked (again)."""
        return min(self._well_at_s(bot_id, chat_id) for bot_id in self._bots) - self._now()

    def note_revoked(self, bot_id: int, reason: str) -> None:
        """Note that the bot's token is not accepted."""
        if self._rest((bot_id, _EVERYWHERE)):
            self._log.warn(
                "Bot {bot_id} is not accepted by Telegram ({reason}). The other bots go on; "
                "ask BotFather for a new token if this stays",
                bot_id=bot_id,
                reason=reason,
            )

    def note_closed(self, bot_id: int, chat_id: int, reason: str) -> None:
        """Note that the bot may not do something in this chat."""
        if self._rest((bot_id, self.chat(chat_id))):
            self._log.warn(
                "Bot {bot_id} may not use chat {chat_id} ({reason}). The other bots go on; "
                "make it an administrator of the chat (tgsyncd doctor says which rights)",
                bot_id=bot_id,
                chat_id=chat_id,
                reason=reason,
            )

    def note_well(self, bot_id: int, chat_id: int | None = None) -> None:
        """Note that the bot was answered (in this chat)."""
        gone = [self._rests.pop((bot_id, _EVERYWHERE), None)]
        if chat_id is not None:
            gone.append(self._rests.pop((bot_id, self.chat(chat_id)), None))
        if any(gone):
            self._log.info("Bot {bot_id} is accepted again", bot_id=bot_id)

    def chat(self, chat_id: int) -> int:
        """Return the chat's present id."""
        seen = set()
        while chat_id in self._moved and chat_id not in seen:
            seen.add(chat_id)
            chat_id = self._moved[chat_id]
        return chat_id

    def note_moved(self, chat_id: int, new_chat_id: int) -> None:
        """Note that the chat has a new id."""
        if self._moved.get(chat_id) != new_chat_id and chat_id != new_chat_id:
            self._moved[chat_id] = new_chat_id
            self._log.warn(
                "Chat {chat_id} is now {new_chat_id}: put the new number into the configuration",
                chat_id=chat_id,
                new_chat_id=new_chat_id,
            )

    def _now(self) -> float:
        return self._clock.now_s()

    def _well_at_s(self, bot_id: int, chat_id: int | None) -> float:
        keys = [(bot_id, _EVERYWHERE)]
        if chat_id is not None:
            keys.append((bot_id, self.chat(chat_id)))
        rests = [self._rests[key] for key in keys if key in self._rests]
        for rest in rests:  # a wall clock that was set back must not lengthen it
            rest.until_s = min(rest.until_s, self._now() + rest.length_s)
        return max((rest.until_s for rest in rests), default=0.0)

    def _rest(self, key: tuple[int, int]) -> bool:
        """Begin or lengthen a rest; tell whether it is the first."""
        known = self._rests.get(key)
        if known is not None and known.until_s > self._now():
            return False  # several requests were under way when it began
        length_s = FIRST_REST_S if known is None else min(known.length_s * 2, LONGEST_REST_S)
        self._rests[key] = _Rest(self._now() + length_s, length_s)
        return known is None
