# SPDX-License-Identifier: MIT
"""One call of a Bot API method: its arguments, what the bot may do, and the record that is kept of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.emulator.answers import Answers
from tests.emulator.wire import ApiError, Arguments, failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.emulator.faults import Knobs, Limits
    from tests.emulator.state import State
    from tests.emulator.values import Bot, Chat, Member, Post


@dataclass(slots=True, kw_only=True)
class Record:
    """What was asked and what became of it, for assertions. Holds no token."""

    number: int
    method: str
    """As the Bot API spells it in lower case; "download" for a file."""
    bot_id: int
    started_s: float
    chat_id: int | None = None
    arguments: dict[str, str] = field(default_factory=dict)
    upload_bytes: int = 0
    """Body bytes received."""
    file_bytes: int = 0
    """Bytes of the files among them."""
    download_bytes: int = 0
    range: str | None = None
    status: int = 0
    """0 while it runs, and for ever when the connection was cut before an answer."""
    description: str = ""
    fault: str = ""
    """The kinds of fault that struck it, joined by "+"."""
    ended_s: float | None = None

    @property
    def is_over(self) -> bool:
        return self.ended_s is not None


@dataclass(slots=True, kw_only=True)
class Call:
    state: State
    knobs: Knobs
    limits: Limits
    bot: Bot
    method: str
    arguments: Arguments
    record: Record
    clock: Any
    local: bool
    sleep: Callable[[float], Awaitable[None]]

    @property
    def now_s(self) -> float:
        return float(self.clock.now_s())

    @property
    def answers(self) -> Answers:
        return Answers(self.state, self.knobs, self.bot)

    # -- chats ---------------------------------------------------------------------------------------

    def find_chat(self, name: str = "chat_id") -> Chat:
        """Return the chat that the argument names, seen by this bot, or raise what the server says."""
        text = self.arguments.text(name)
        if not text:
            raise failure("chat_id is empty")
        if text.startswith("@"):
            chat = self.state.chat_by_username(text[1:])
        else:
            chat = self.state.chat(self.arguments.integer(name))
        if chat is None:
            raise failure("chat not found")
        self._check_chat(chat)
        return chat

    def _check_chat(self, chat: Chat) -> None:
        if chat.migrated_to is not None:
            raise ApiError(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                migrate_to_chat_id=chat.migrated_to,
            )
        if chat.deleted:
            raise failure("the group chat was deleted", 403)
        member = self.state.member(chat.chat_id, self.bot.bot_id)
        if chat.type == "private":
            if member is None:
                raise failure("chat not found")
            if member.status == "kicked":
                raise failure("bot was blocked by the user", 403)
        elif member is None and not chat.username:
            # A private chat that the bot has never seen does not exist for it.
            raise failure("chat not found")
        elif member is not None and member.status == "kicked":
            raise failure(f"bot was kicked from the {chat.type} chat", 403)
        elif member is None or member.status == "left":
            raise failure(f"bot is not a member of the {chat.type} chat", 403)

    def member(self, chat: Chat) -> Member:
        member = self.state.member(chat.chat_id, self.bot.bot_id)
        assert member is not None
        return member

    def may(self, chat: Chat, right: str) -> bool:
        member = self.member(chat)
        return member.status == "creator" or (
            member.status == "administrator" and bool(member.rights.get(right))
        )

    def check_may_send(self, chat: Chat, *, documents: bool) -> None:
        if chat.type == "channel":
            if not self.may(chat, "can_post_messages"):
                raise failure("need administrator rights in the channel chat")
        elif self.member(chat).status == "restricted":
            if not self.member(chat).rights.get("can_send_messages"):
                raise failure("have no write access to the chat")
            if documents and not self.member(chat).rights.get("can_send_documents"):
                raise failure("not enough rights to send documents to the chat")

    def check_limits(self, chat: Chat, count: int = 1) -> None:
        """Refuse now, before any file is kept, what would be refused in the end."""
        self.limits.check_messages(self.now_s, self.bot.bot_id, chat.chat_id, count)

    def charge(self, chat: Chat, count: int = 1) -> None:
        """Count messages against the limits, as the last check before they are stored."""
        self.limits.charge_messages(self.now_s, self.bot.bot_id, chat.chat_id, count)

    # -- messages ------------------------------------------------------------------------------------

    def find_post(self, chat: Chat, missing: str, name: str = "message_id") -> Post:
        number = self.arguments.integer(name)
        if number <= 0 and name == "message_id":
            raise failure("message identifier is not specified")
        post = self.state.post(chat, self.bot.bot_id, number)
        if post is None:
            raise failure(missing)
        return post
