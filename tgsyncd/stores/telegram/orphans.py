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
    from tgsyncd.stores.telegram.deleting import Deleter
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
    """A stored message that is a document, and the bot that has seen it."""

    bot_id: int
    stored: StoredMessage
    label: DocumentLabel

    @property
    def ref(self) -> DocumentRef:
        """Where the document is: here."""
        return DocumentRef(
            chat_id=self.stored.chat_id,
            message_id=self.stored.message_id,
            file_unique_id=self.stored.file_unique_id,
            size_bytes=self.label.size_bytes,
            sha256=self.label.sha256,
            file_ids={self.bot_id: self.stored.file_id},
        )


class Orphans:
    """Finds and removes them."""

    def __init__(
        self,
        context: Context,
        *,
        forwarder: Forwarder,
        deleter: Deleter,
        marks: Marks,
        is_recorded: Callable[[int, int], bool],
    ) -> None:
        self._deleter = deleter
        self._is_recorded = is_recorded
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
                await self._deleter.remove(chat_id, message_id)
                return message_id

    async def find(
        self,
        chat_id: int,
        labels: Sequence[DocumentLabel],
        floor: int,
        newest: int,
    ) -> list[Orphan]:
        """
        Return the messages with ids between (both exclusive) that are one of these documents.

        What the catalog has, and what this process has stored, is not among them. Raises StoreUnavailable.
        """
        found = []
        for message_id in self._unaccounted(chat_id, floor, newest):
            orphan = await self._look(chat_id, message_id, labels)
            if orphan is not None:
                found.append(orphan)
        return found

    def _unaccounted(self, chat_id: int, floor: int, newest: int) -> Sequence[int]:
        ids = range(max(floor + 1, newest - SEARCHED_MAX), newest)
        unknown = [
            message_id
            for message_id in ids
            if not self._marks.is_known(chat_id, message_id) and not self._is_recorded(chat_id, message_id)
        ]
        return unknown[-LOOKED_AT_MAX:]

    async def remove(self, orphan: Orphan) -> bool:
        """Delete an orphan; tell whether it is gone. Never raises: one that stays wastes space, no more."""
        stored = orphan.stored
        if await self._deleter.remove(stored.chat_id, stored.message_id, orphan.ref):
            return True
        self._log.warn(
            "Message {message_id} in chat {chat_id} is a double of a document and could not be deleted now",
            message_id=stored.message_id,
            chat_id=stored.chat_id,
        )
        return False

    async def _look(self, chat_id: int, message_id: int, labels: Sequence[DocumentLabel]) -> Orphan | None:
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
            label = match_label(seen, labels)
            return None if label is None else Orphan(bot_id=bot_id, stored=seen, label=label)
        if isinstance(seen, NotADocument) and seen.text == MARK_TEXT:
            await self._deleter.remove(chat_id, message_id)  # one whose answer was lost
        return None

    def _note_bot(self, bot_id: int, chat_id: int, error: BotApiError) -> None:
        if isinstance(error, BotRevoked):
            self._fleet.note_revoked(bot_id, str(error))
        elif isinstance(error, ChatClosed):
            self._fleet.note_closed(bot_id, chat_id, str(error))
        elif isinstance(error, ChatMigrated):
            self._fleet.note_moved(chat_id, error.new_chat_id)

    def _candidates(self, chat_id: int) -> Sequence[tuple[int, int]]:
        chat_id = self._fleet.chat(chat_id)
        pairs = [(bot_id, chat_id) for bot_id in self._fleet.usable(chat_id)]
        if not pairs:
            raise NobodyMayForward
        return pairs


def match_label(stored: StoredMessage, labels: Sequence[DocumentLabel]) -> DocumentLabel | None:
    """Return the label that the message's caption, and its size, are those of."""
    caption = parse_caption(stored.caption)
    if caption is None:
        return None
    for label in labels:
        if caption.describes(label) and stored.size_bytes in (0, label.size_bytes):
            return label
    return None
