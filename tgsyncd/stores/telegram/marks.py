# SPDX-License-Identifier: MIT
"""
Where in a chat an upload's message can be, if its answer was lost. Pure.

Message ids only rise. So it stands above the highest id that was known when the upload began (its floor),
and below any message that was sent after it. Floors are kept with the intent's id until newer ones push them
out; the highest ids are kept too, and serve where a kill came before the floor was saved.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEPT_TICKETS = 500
"""More uploads than are ever under way, being verified or left doubtful."""

KEPT_KNOWN = 5_000
"""Ids known to be accounted for, in each chat: they need not be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """An upload that began when ``floor`` was the highest known id of its chat."""

    intent_id: int
    chat_id: int
    floor: int


@dataclass(slots=True)
class _Chat:
    highest: int = 0
    known: OrderedDict[int, None] = field(default_factory=OrderedDict)


class Marks:
    """The books of all chats."""

    def __init__(self, highest: Mapping[int, int], tickets: Iterable[Ticket] = ()) -> None:
        self._at_start = dict(highest)
        self._chats = {chat_id: _Chat(highest=message_id) for chat_id, message_id in highest.items()}
        self._tickets = OrderedDict((ticket.intent_id, ticket) for ticket in tickets)

    def begin(self, chat_id: int, intent_id: int) -> Ticket:
        """Note that an upload begins."""
        ticket = Ticket(intent_id=intent_id, chat_id=chat_id, floor=self._chat(chat_id).highest)
        self._tickets[intent_id] = ticket
        while len(self._tickets) > KEPT_TICKETS:
            self._tickets.popitem(last=False)
        return ticket

    def forget(self, ticket: Ticket) -> None:
        """Note that there is no message of the upload."""
        self._tickets.pop(ticket.intent_id, None)

    def ticket(self, intent_id: int, chat_id: int) -> Ticket:
        """Return the ticket of an upload that an earlier process began."""
        known = self._tickets.get(intent_id)
        if known is not None and known.chat_id == chat_id:
            return known
        floor = self._at_start.get(chat_id, 0)
        return Ticket(intent_id=intent_id, chat_id=chat_id, floor=floor)

    def note_known(self, chat_id: int, message_id: int) -> None:
        """Note a message that is accounted for."""
        chat = self._chat(chat_id)
        chat.highest = max(chat.highest, message_id)
        chat.known[message_id] = None
        while len(chat.known) > KEPT_KNOWN:
            chat.known.popitem(last=False)

    def is_known(self, chat_id: int, message_id: int) -> bool:
        """Tell whether this process has accounted for the message."""
        return message_id in self._chat(chat_id).known

    @property
    def highest(self) -> Mapping[int, int]:
        """The highest known id of each chat, to be kept over restarts."""
        return {chat_id: chat.highest for chat_id, chat in self._chats.items()}

    @property
    def tickets(self) -> tuple[Ticket, ...]:
        """The tickets, to be kept over restarts."""
        return tuple(self._tickets.values())

    def _chat(self, chat_id: int) -> _Chat:
        return self._chats.setdefault(chat_id, _Chat())
