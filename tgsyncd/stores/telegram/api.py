# SPDX-License-Identifier: MIT
"""
What the Bot API answers, as values and as errors, without python-telegram-bot. Pure.

::

    BotApiError
    ├── FloodWait           429: this bot (in this chat) is quiet for retry_after_s; nothing failed
    ├── BotRevoked          401, 404: the token is not accepted
    ├── ChatClosed          the bot may not (any more) do this in this chat
    ├── ChatMigrated        the chat has a new id
    ├── FileUnavailable     "wrong file_id or the file is temporarily unavailable": either
    ├── MessageGone         there is no such message
    │   └── NotADocument        or it holds no document
    ├── RequestRefused      any other 400 or 413; asking again will not help
    └── Unreachable         nothing was answered: it was not sent
        └── Ambiguous       it was sent, or may have been, and may have been carried out
"""

from __future__ import annotations

from dataclasses import dataclass


class BotApiError(Exception):
    """The Bot API did not do what it was asked for. Texts never hold a token."""


class FloodWait(BotApiError):
    """Told to wait. Not a failure."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"Telegram asks to wait {retry_after_s:g} s")
        self.retry_after_s = retry_after_s


class BotRevoked(BotApiError):
    """The token is not accepted."""


class ChatClosed(BotApiError):
    """The bot was removed from the chat, or lacks the right."""


class ChatMigrated(BotApiError):
    """The group became a supergroup."""

    def __init__(self, new_chat_id: int) -> None:
        super().__init__(f"the chat is now {new_chat_id}")
        self.new_chat_id = new_chat_id


class FileUnavailable(BotApiError):
    """The file cannot be had now, or the file_id is not this bot's: the text does not tell which."""


class MessageGone(BotApiError):
    """There is no such message (any more)."""


class NotADocument(MessageGone):
    """The message is there, but holds no document (any more)."""

    def __init__(self, text: str) -> None:
        super().__init__("the message holds no document")
        self.text = text


class RequestRefused(BotApiError):
    """Refused for good."""


class Unreachable(BotApiError):
    """The request was not sent."""


class Ambiguous(Unreachable):
    """The request may have been carried out: reset, time-out or 5xx after it was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message with a document, as the bot that was asked sees it."""

    chat_id: int
    message_id: int
    date_s: float
    file_id: str
    file_unique_id: str
    size_bytes: int
    """0 when the server did not say."""
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardedMessage:
    """A forward: the copy, and what it carries, if that is a document."""

    chat_id: int
    message_id: int
    document: StoredMessage | None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """getFile's answer."""

    file_path: str | None
    """Relative to the file server, or absolute in local mode. None: not ready; ask again."""
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BotFacts:
    """getMe's answer."""

    bot_id: int
    username: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatFacts:
    """getChat's answer, as far as a store cares."""

    chat_id: int
    kind: str
    """``channel``, ``supergroup``, ``group`` or ``private``."""
    title: str
    auto_delete_s: int
    is_protected: bool
    pinned: StoredMessage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """getChatMember's answer: what a bot may do in a chat."""

    status: str
    """``creator``, ``administrator``, ``member``, ``restricted``, ``left`` or ``kicked``."""
    can_post: bool
    can_edit: bool
    can_delete: bool
    can_pin: bool
