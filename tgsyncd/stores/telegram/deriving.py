# SPDX-License-Identifier: MIT
"""How a bot learns its own file_id of a stored message: it forwards the message and reads the copy."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.logger import Logger

from tgsyncd.bridge import start
from tgsyncd.stores.telegram.api import BotApiError, BotRevoked, ChatClosed, MessageGone, NotADocument
from tgsyncd.stores.telegram.sending import Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from tgsyncd.model import DocumentRef
    from tgsyncd.stores.telegram.api import ForwardedMessage, StoredMessage
    from tgsyncd.stores.telegram.context import Context
    from tgsyncd.stores.telegram.limits import Slot

KEPT_FILE_IDS = 50_000
"""Learned file_ids kept in memory, some 300 bytes each. The catalog keeps all."""


class NobodyMayForward(Exception):
    """No bot may be used for this now."""


class Forwarder:
    """Forwards stored messages to the scratch chat, reads the copies, deletes them."""

    def __init__(self, context: Context) -> None:
        self._fleet = context.fleet
        self._sender = context.sender
        self._scratch_chat = context.settings.scratch_chat
        self._limits = context.limits
        self._clock = context.clock
        self._tidying: set[Deferred[None]] = set()
        self._log = Logger()

    async def look(
        self,
        chat_id: int,
        message_id: int,
        priority: Priority,
        *,
        but_not: Callable[[int], bool] = lambda _bot_id: False,
    ) -> tuple[int, StoredMessage | MessageGone]:
        """
        Have any bot look at a message; return the bot and what it saw, with the ids of the original.

        Waits for a slot as long as it takes. Raises NobodyMayForward, Unreachable, RequestRefused.
        """
        last: list[int] = []

        async def forward(slot: Slot) -> ForwardedMessage:
            last[:] = [slot.bot_id]
            bot = self._fleet.bot(slot.bot_id)
            return await bot.forward(slot.chat_id, self._fleet.chat(chat_id), message_id)

        while True:
            try:
                copy = await self._sender.send(lambda: self._candidates(chat_id, but_not), forward, priority)
            except MessageGone as gone:
                return last[0], gone
            except BotRevoked as error:
                self._fleet.note_revoked(last[0], str(error))
            except ChatClosed as error:
                self._note_closed(last[0], chat_id, str(error))
            else:
                self._tidy(last[0], copy)
                self._fleet.note_well(last[0])
                if copy.document is None:
                    return last[0], NotADocument(copy.text)
                return last[0], replace(copy.document, chat_id=chat_id, message_id=message_id)

    async def teach_another(self, ref: DocumentRef) -> DocumentRef:
        """
        Have another bot than stored the document learn its file_id, if that costs no waiting.

        When the bot that stored it is lost, the other's file_id is known before it is needed. Never raises;
        returns the ref with the new file_id, or as it was.
        """
        if self._scratch_chat is None:
            return ref
        target = self._fleet.chat(self._scratch_chat)

        def is_no_help(bot_id: int) -> bool:
            now_s = self._clock.now_s()
            ready_s = self._limits.ready_at_s(now_s, bot_id, target)
            return bot_id in ref.file_ids or ready_s is None or ready_s > now_s

        try:
            bot_id, seen = await self.look(ref.chat_id, ref.message_id, Priority.TIDY, but_not=is_no_help)
        except (BotApiError, NobodyMayForward):
            return ref
        if isinstance(seen, MessageGone):
            return ref
        return replace(ref, file_ids={**ref.file_ids, bot_id: seen.file_id})

    async def close(self) -> None:
        """Give up deleting copies."""
        for tidying in list(self._tidying):
            tidying.cancel()

    def _candidates(self, chat_id: int, but_not: Callable[[int], bool]) -> Sequence[tuple[int, int]]:
        """Return (bot, chat to forward to): the scratch chat, and without one the chat itself."""
        target = self._fleet.chat(chat_id if self._scratch_chat is None else self._scratch_chat)
        usable = set(self._fleet.usable(chat_id)) & set(self._fleet.usable(target))
        pairs = [(bot_id, target) for bot_id in sorted(usable) if not but_not(bot_id)]
        if not pairs:
            raise NobodyMayForward
        return pairs

    def _note_closed(self, bot_id: int, chat_id: int, reason: str) -> None:
        # Which of the two chats refused is not said. Uploads find out about the storage chat by
        # themselves, so only this bot's forwards rest.
        target = chat_id if self._scratch_chat is None else self._scratch_chat
        self._fleet.note_closed(bot_id, target, reason)

    def _tidy(self, bot_id: int, copy: ForwardedMessage) -> None:
        """Delete the copy, in the background. One that stays is litter in a scratch chat, no more."""

        async def delete() -> None:
            try:
                await self._fleet.bot(bot_id).delete(copy.chat_id, copy.message_id)
            except BotApiError as error:
                self._log.debug("A copy in the scratch chat was not deleted: {error}", error=error)

        tidying = start(delete(), self._report)
        if not tidying.called:
            self._tidying.add(tidying)
            tidying.addBoth(lambda _result: self._tidying.discard(tidying))

    def _report(self, failure: Failure) -> None:
        self._log.failure("Deleting a copy in the scratch chat failed", failure=failure)


class FileIds:
    """The file_ids that are known of documents: the ref's own, and those learned since."""

    def __init__(self, on_learned: Callable[[DocumentRef, int, str], None]) -> None:
        self._on_learned = on_learned
        self._learned: OrderedDict[tuple[int, int], dict[int, str]] = OrderedDict()

    def of(self, ref: DocumentRef) -> dict[int, str]:
        """Return bot id to file_id."""
        return {**ref.file_ids, **self._learned.get((ref.chat_id, ref.message_id), {})}

    def learn(self, ref: DocumentRef, bot_id: int, file_id: str) -> None:
        """Keep a file_id, and report it so that it is kept for good."""
        key = (ref.chat_id, ref.message_id)
        self._learned.setdefault(key, {})[bot_id] = file_id
        self._learned.move_to_end(key)
        while len(self._learned) > KEPT_FILE_IDS:
            self._learned.popitem(last=False)
        self._on_learned(ref, bot_id, file_id)
