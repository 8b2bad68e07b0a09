# SPDX-License-Identifier: MIT
"""
Messages of ours that nobody answered for.

A bot cannot list a chat. But message ids only rise, so a message whose answer was lost stands between the
highest id known when it was sent and the next message sent after it: each id between is forwarded to
the scratch chat and its caption read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.logger import Logger

from tgsyncd.model import DocumentRef
from tgsyncd.stores.telegram.api import (
    BotApiError,
    BotRevoked,
    ChatClosed,
    ChatMigrated,
    MessageGone,
    NotADocument,
    RequestRefused,
    StoredMessage,
)
from tgsyncd.stores.telegram.caption import parse_caption
from tgsyncd.stores.telegram.deriving import NobodyMayForward
from tgsyncd.stores.telegram.sending import Priority

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tgsyncd.model import DocumentLabel
    from tgsyncd.stores.telegram.context import Context
    from tgsyncd.stores.telegram.deriving import Forwarder
    from tgsyncd.stores.telegram.limits import Slot
    from tgsyncd.stores.telegram.marks import Marks

LOOKED_AT_MAX = 300
"""Ids looked at in one search, the newest. More are unaccounted for only when state was lost."""

SEARCHED_MAX = 5_000
"""Ids of which it is asked whether they are accounted for: some 10 µs each in the catalog."""

MARK_TEXT = "tgsyncd looks for lost uploads; this message is deleted at once."


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A stored message, and the bot that has seen it."""

    bot_id: int
    stored: StoredMessage

    def ref(self, label: DocumentLabel) -> DocumentRef:
        """Return where the labelled document is: here."""
        return DocumentRef(
            chat_id=self.stored.chat_id,
            message_id=self.stored.message_id,
            file_unique_id=self.stored.file_unique_id,
            size_bytes=label.size_bytes,
            sha256=label.sha256,
            file_ids={self.bot_id: self.stored.file_id},
        )


class Orphans:
    """Finds and removes them."""

    def __init__(self, context: Context, forwarder: Forwarder, marks: Marks) -> None:
        self._context = context
        self._fleet = context.fleet
        self._sender = context.sender
        self._forwarder = forwarder
        self._marks = marks
        self._log = Logger()

    async def newest(self, chat_id: int) -> int:
        """
        Return an id above which nothing stands that was sent until now: of a message of our own.

        Raises StoreUnavailable.
        """
        last: list[int] = []

        async def mark(slot: Slot) -> int:
            last[:] = [slot.bot_id]
            return await self._fleet.bot(slot.bot_id).send_text(slot.chat_id, MARK_TEXT)

        patience = self._context.patience()
        while True:
            try:
                message_id = await self._sender.send(lambda: self._candidates(chat_id), mark, Priority.UPLOAD)
            except BotApiError as error:
                self._note_bot(last[0], chat_id, error)
                await patience.failed(str(error))
            except NobodyMayForward:
                await patience.failed("no bot may use the chat")
            else:
                self._marks.note_known(chat_id, message_id)
                await self._delete(last[0], chat_id, message_id)
                return message_id

    async def find(
        self,
        chat_id: int,
        labels: Sequence[DocumentLabel],
        floor: int,
        newest: int,
        is_recorded: Callable[[int, int], bool] = lambda _chat_id, _message_id: False,
    ) -> list[Orphan]:
        """
        Return the messages with ids between (both exclusive) that are one of these documents.

        Raises StoreUnavailable.
        """
        found = []
        for message_id in self._unaccounted(chat_id, floor, newest, is_recorded):
            orphan = await self._look(chat_id, message_id)
            if orphan is not None and match_label(orphan, labels) is not None:
                found.append(orphan)
        return found

    def _unaccounted(
        self, chat_id: int, floor: int, newest: int, is_recorded: Callable[[int, int], bool]
    ) -> Sequence[int]:
        ids = range(max(floor + 1, newest - SEARCHED_MAX), newest)
        unknown = [
            message_id
            for message_id in ids
            if not self._marks.is_known(chat_id, message_id) and not is_recorded(chat_id, message_id)
        ]
        return unknown[-LOOKED_AT_MAX:]

    async def remove(self, orphan: Orphan) -> None:
        """Delete an orphan. Failing to is no error: it wastes a message, no more."""
        await self._delete(orphan.bot_id, orphan.stored.chat_id, orphan.stored.message_id)

    async def _look(self, chat_id: int, message_id: int) -> Orphan | None:
        patience = self._context.patience()
        while True:
            try:
                bot_id, seen = await self._forwarder.look(chat_id, message_id, Priority.UPLOAD)
            except RequestRefused:  # a service message
                return None
            except BotApiError as error:
                self._note_bot(0, chat_id, error)
                await patience.failed(str(error))
            except NobodyMayForward:
                await patience.failed("no bot may use the scratch chat")
            else:
                break
        if isinstance(seen, StoredMessage):
            return Orphan(bot_id=bot_id, stored=seen)
        if isinstance(seen, NotADocument) and seen.text == MARK_TEXT:
            await self._delete(bot_id, chat_id, message_id)  # one whose answer was lost
        return None

    def _note_bot(self, bot_id: int, chat_id: int, error: BotApiError) -> None:
        if isinstance(error, BotRevoked):
            self._fleet.note_revoked(bot_id, str(error))
        elif isinstance(error, ChatClosed):
            self._fleet.note_closed(bot_id, chat_id, str(error))
        elif isinstance(error, ChatMigrated):
            self._fleet.note_moved(chat_id, error.new_chat_id)

    async def _delete(self, bot_id: int, chat_id: int, message_id: int) -> None:
        try:
            await self._fleet.bot(bot_id).delete(self._fleet.chat(chat_id), message_id)
        except MessageGone:
            return
        except BotApiError as error:
            self._log.warn(
                "Message {message_id} in chat {chat_id} is of no use and could not be deleted: {error}",
                message_id=message_id,
                chat_id=chat_id,
                error=error,
            )

    def _candidates(self, chat_id: int) -> Sequence[tuple[int, int]]:
        chat_id = self._fleet.chat(chat_id)
        pairs = [(bot_id, chat_id) for bot_id in self._fleet.usable(chat_id)]
        if not pairs:
            raise NobodyMayForward
        return pairs


def match_label(orphan: Orphan, labels: Sequence[DocumentLabel]) -> DocumentLabel | None:
    """Return the label that the orphan's caption, and its size, are those of."""
    caption = parse_caption(orphan.stored.caption)
    if caption is None:
        return None
    for label in labels:
        if caption.describes(label) and orphan.stored.size_bytes in (0, label.size_bytes):
            return label
    return None
