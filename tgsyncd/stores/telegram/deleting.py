# SPDX-License-Identifier: MIT
"""
Deleting documents: deleteMessages within 48 hours, after that a tiny document in the old one's place.

No bot may delete a message that is older than 48 hours, whatever its rights. Its own posts it may edit
for ever, which frees what the document took; that costs the message budget and so comes last.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from twisted.logger import Logger

from tgsyncd.errors import StoreUnavailable
from tgsyncd.stores.telegram import api
from tgsyncd.stores.telegram.bot import DELETE_MAX_MESSAGES
from tgsyncd.stores.telegram.sending import Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from tgsyncd.model import DocumentRef
    from tgsyncd.stores.telegram.context import Context
    from tgsyncd.stores.telegram.limits import Slot
    from tgsyncd.stores.telegram.waiting import Patience

TOMBSTONE = b"deleted by tgsyncd\n"
TOMBSTONE_NAME = "deleted.txt"
TOMBSTONE_CAPTION = "deleted by tgsyncd"


class NobodyMayEdit(Exception):
    """No bot that is left may edit the message."""


class Deleter:
    """Deletes documents; what Telegram refuses is handed back."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._fleet = context.fleet
        self._limits = context.limits
        self._sender = context.sender
        self._clock = context.clock
        self._log = Logger()

    async def delete(self, refs: Sequence[DocumentRef]) -> Sequence[DocumentRef]:
        """Delete documents; return those that could not be deleted now: ``ports.Store.delete``."""
        by_chat: dict[int, list[DocumentRef]] = defaultdict(list)
        for ref in refs:
            by_chat[ref.chat_id].append(ref)
        left: list[DocumentRef] = []
        for chat_id, in_chat in by_chat.items():
            in_chat.sort(key=lambda ref: ref.message_id)
            for at in range(0, len(in_chat), DELETE_MAX_MESSAGES):
                left += await self._delete_batch(chat_id, in_chat[at : at + DELETE_MAX_MESSAGES])
        return left

    async def remove(self, chat_id: int, message_id: int, replaceable: DocumentRef | None = None) -> bool:
        """
        Delete a message that nobody needs, unless flood control makes it wait; tell whether it is gone.

        One that is older than 48 hours is replaced where ``replaceable`` says what it is. Never raises.
        """
        patience = self._context.patience()
        without_right: set[int] = set()
        while (bot_id := self._ready(chat_id, but_not=without_right)) is not None:
            try:
                return await self._remove_by(bot_id, chat_id, message_id, replaceable)
            except api.ChatClosed:  # it may lack this right alone: no reason to upload nothing by it
                without_right.add(bot_id)
            except api.BotApiError as error:
                try:
                    await self._note(patience, bot_id, chat_id, error)
                except StoreUnavailable:
                    break
        return False

    async def _remove_by(
        self, bot_id: int, chat_id: int, message_id: int, replaceable: DocumentRef | None
    ) -> bool:
        try:
            await self._fleet.bot(bot_id).delete(self._fleet.chat(chat_id), message_id)
        except api.MessageGone:
            return True
        except api.RequestRefused:
            return replaceable is not None and await self._replace(replaceable)
        return True

    async def _delete_batch(self, chat_id: int, refs: Sequence[DocumentRef]) -> Sequence[DocumentRef]:
        try:
            old = await self._delete_young(chat_id, refs)
        except StoreUnavailable as error:
            self._log.debug("Deleting from chat {chat_id} failed: {error}", chat_id=chat_id, error=error)
            return refs
        return [ref for ref in old if not await self._replace(ref)]

    async def _delete_young(self, chat_id: int, refs: Sequence[DocumentRef]) -> Sequence[DocumentRef]:
        """
        Delete what deleteMessages takes; return the rest.

        The whole request is refused for one message that is too old. Ids rise with time, so the old ones
        come first: where they end is found by halving.
        """
        if await self._delete_many(chat_id, refs):
            return []
        first, last = 1, len(refs)  # refs[last:] are gone; refs[0] is too old
        while first < last:
            middle = (first + last) // 2
            if await self._delete_many(chat_id, refs[middle:last]):
                last = middle
            else:
                first = middle + 1
        return refs[:last]

    async def _delete_many(self, chat_id: int, refs: Sequence[DocumentRef]) -> bool:
        """Tell whether the messages are gone. Raises StoreUnavailable when nobody can be asked."""
        message_ids = [ref.message_id for ref in refs]
        patience = self._context.patience()
        while True:
            bot_id = await self._bot_for(chat_id, patience)
            try:
                await self._fleet.bot(bot_id).delete_many(self._fleet.chat(chat_id), message_ids)
            except api.MessageGone:
                return True
            except api.RequestRefused:
                return False
            except api.BotApiError as error:
                await self._note(patience, bot_id, chat_id, error)
            else:
                return True

    async def _bot_for(self, chat_id: int, patience: Patience) -> int:
        """Return a bot that may be asked about this chat and does not have to wait."""
        while True:
            bot_id = self._ready(chat_id)
            if bot_id is not None:
                return bot_id
            waits = self._waits(chat_id)
            if waits:
                await patience.wait_as_told(min(waits.values()))
            else:
                await patience.failed("no bot may delete in this chat")

    def _ready(self, chat_id: int, but_not: Container[int] = ()) -> int | None:
        waits = self._waits(chat_id)
        return next((bot for bot, wait_s in waits.items() if wait_s <= 0 and bot not in but_not), None)

    def _waits(self, chat_id: int) -> dict[int, float]:
        """Return the bots that may be asked about this chat, and how many seconds each is to be quiet."""
        now_s = self._clock.now_s()
        return {
            bot_id: self._limits.blocked_until_s(now_s, bot_id, self._fleet.chat(chat_id)) - now_s
            for bot_id in self._fleet.usable(chat_id)
        }

    async def _note(self, patience: Patience, bot_id: int, chat_id: int, error: api.BotApiError) -> None:
        if isinstance(error, api.FloodWait):
            self._limits.flood_pair(
                bot_id, self._fleet.chat(chat_id), self._clock.now_s(), error.retry_after_s
            )
            return
        self._note_bot(bot_id, chat_id, error)
        await patience.failed(str(error))

    def _note_bot(self, bot_id: int, chat_id: int, error: api.BotApiError) -> None:
        if isinstance(error, api.BotRevoked):
            self._fleet.note_revoked(bot_id, str(error))
        elif isinstance(error, api.ChatClosed):
            self._fleet.note_closed(bot_id, chat_id, str(error))
        elif isinstance(error, api.ChatMigrated):
            self._fleet.note_moved(chat_id, error.new_chat_id)

    # --- what is too old to be deleted --------------------------------------------------------------

    async def _replace(self, ref: DocumentRef) -> bool:
        """Put a tiny document in its place; tell whether that was done."""
        refused: set[int] = set()
        patience = self._context.patience()
        while True:
            try:
                is_done = await self._edit(ref, refused, patience)
            except (NobodyMayEdit, StoreUnavailable):
                return False
            if is_done:
                return True

    async def _edit(self, ref: DocumentRef, refused: set[int], patience: Patience) -> bool:
        """Try once; note in ``refused`` a bot that may not."""
        last: list[int] = []

        async def edit(slot: Slot) -> None:
            last[:] = [slot.bot_id]
            await self._fleet.bot(slot.bot_id).replace_document(
                slot.chat_id, ref.message_id, TOMBSTONE, TOMBSTONE_NAME, TOMBSTONE_CAPTION
            )

        try:
            await self._sender.send(self._editors(ref, refused), edit, Priority.TIDY)
        except api.MessageGone:
            return True
        except (api.RequestRefused, api.ChatClosed) as error:
            refused.add(last[0])
            return "not modified" in str(error).lower()  # it has been replaced before
        except api.BotApiError as error:
            self._note_bot(last[0], ref.chat_id, error)
            await patience.failed(str(error))
            return False
        return True

    def _editors(self, ref: DocumentRef, refused: set[int]) -> Callable[[], Sequence[tuple[int, int]]]:
        """Return who may edit: first those that know the document, one of which sent it."""

        def candidates() -> Sequence[tuple[int, int]]:
            chat_id = self._fleet.chat(ref.chat_id)
            bots = [bot for bot in self._fleet.usable(ref.chat_id) if bot not in refused]
            if not bots:
                raise NobodyMayEdit
            first = [bot for bot in bots if bot in ref.file_ids]
            return [(bot, chat_id) for bot in first or bots]

        return candidates
