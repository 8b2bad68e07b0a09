# SPDX-License-Identifier: MIT
"""What the state answers: frozen values. PURE."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Chats whose message ids are common to everybody; the others number per account.
SHARED_NUMBERING = frozenset({"channel", "supergroup"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bot:
    bot_id: int
    name: str
    username: str
    inline: bool = False
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    chat_id: int
    type: str
    title: str
    username: str
    protected: bool
    auto_delete_s: int
    migrated_to: int | None
    deleted: bool

    @property
    def is_shared(self) -> bool:
        return self.type in SHARED_NUMBERING


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    status: str
    rights: Mapping[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A message; ``message_id`` is its number for whoever asked."""

    post_id: int
    message_id: int
    chat_id: int
    bot_id: int
    date: int
    edit_date: int | None
    content: dict[str, Any]
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document in a chat, for assertions."""

    message_id: int
    bot_id: int
    caption: str
    name: str
    size_bytes: int
    path: Path

    def read(self) -> bytes:
        return self.path.read_bytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    number: int
    type: int
    size_bytes: int
    name: str
    mime: str
    facts: dict[str, Any]
    path: Path
