# SPDX-License-Identifier: MIT
"""Chats, and what each bot is and may do in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.emulator.state_database import Database
from tests.emulator.values import Bot, Chat, Member

if TYPE_CHECKING:
    from collections.abc import Iterable

# Rights by which an administrator of a storage chat can do all that a store needs.
ALL_RIGHTS: Final = {
    "can_be_edited": False, "can_manage_chat": True, "can_change_info": True,
    "can_post_messages": True, "can_edit_messages": True, "can_delete_messages": True,
    "can_invite_users": True, "can_restrict_members": True, "can_pin_messages": True,
    "can_promote_members": False, "can_manage_video_chats": True, "can_post_stories": True,
    "can_edit_stories": True, "can_delete_stories": True, "is_anonymous": False,
}  # fmt: skip


class Chats(Database):
    """What the chats' owner sets."""

    def add_chat(
        self,
        type: str = "channel",  # noqa: A002  the Bot API's own word
        *,
        title: str = "",
        chat_id: int | None = None,
        username: str = "",
        bots: Iterable[Bot | int] = (),
    ) -> Chat:
        """Create a chat; ``bots`` become its administrators with all rights."""
        if chat_id is None:
            (count,) = self._one("SELECT count(*) FROM chats")
            base = {"group": -4_000_000, "private": 300_000_000}.get(type, -1_001_000_000_000)
            chat_id = base + (count + 1) * (1 if type == "private" else -1)
        self._run(
            "INSERT OR REPLACE INTO chats (chat_id, type, title, username) VALUES (?, ?, ?, ?)",
            chat_id, type, title or f"{type} {abs(chat_id)}", username,
        )  # fmt: skip
        for bot in bots:
            self.set_member(chat_id, bot)
        chat = self.chat(chat_id)
        assert chat is not None
        return chat

    def chat(self, chat_id: int) -> Chat | None:
        row = self._one(
            "SELECT type, title, username, protected, auto_delete_s, migrated_to, deleted FROM chats"
            " WHERE chat_id = ?",
            chat_id,
        )
        if row is None:
            return None
        kind, title, username, protected, auto_delete_s, migrated_to, deleted = row
        return Chat(
            chat_id=chat_id, type=kind, title=title, username=username, protected=bool(protected),
            auto_delete_s=auto_delete_s, migrated_to=migrated_to, deleted=bool(deleted),
        )  # fmt: skip

    def chats(self) -> list[Chat]:
        rows = self._db.execute("SELECT chat_id FROM chats ORDER BY chat_id").fetchall()
        return [chat for (chat_id,) in rows if (chat := self.chat(chat_id)) is not None]

    def chat_by_username(self, username: str) -> Chat | None:
        row = self._one(
            "SELECT chat_id FROM chats WHERE lower(username) = ? AND username != ''",
            username.lower(),
        )
        return self.chat(row[0]) if row else None

    def set_chat(self, chat_id: int, **values: Any) -> None:
        """Change title, username, protected, auto_delete_s, deleted or migrated_to."""
        for name, value in values.items():
            assert name in {"title", "username", "protected", "auto_delete_s", "deleted", "migrated_to"}
            self._run(f"UPDATE chats SET {name} = ? WHERE chat_id = ?", value, chat_id)

    def migrate_chat(self, chat_id: int) -> Chat:
        """Upgrade a group to a supergroup of a new id; the old messages stay behind, as in Telegram."""
        old = self.chat(chat_id)
        assert old is not None
        new = self.add_chat("supergroup", title=old.title)
        self._run(
            "INSERT INTO members SELECT ?, bot_id, status, rights FROM members WHERE chat_id = ?",
            new.chat_id, chat_id,
        )  # fmt: skip
        self.set_chat(chat_id, migrated_to=new.chat_id)
        return new

    def set_member(self, chat_id: int, bot: Bot | int, status: str = "administrator", **rights: bool) -> None:
        """Set a bot's status (administrator, member, restricted, left, kicked); rights override all."""
        bot_id = bot if isinstance(bot, int) else bot.bot_id
        self._run(
            "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)",
            chat_id, bot_id, status, json.dumps(ALL_RIGHTS | rights),
        )  # fmt: skip

    def member(self, chat_id: int, bot_id: int) -> Member | None:
        row = self._one(
            "SELECT status, rights FROM members WHERE chat_id = ? AND bot_id = ?", chat_id, bot_id
        )
        return Member(status=row[0], rights=json.loads(row[1])) if row else None

    def members(self, chat_id: int) -> dict[int, Member]:
        rows = self._db.execute(
            "SELECT bot_id, status, rights FROM members WHERE chat_id = ? ORDER BY bot_id", (chat_id,)
        )
        return {bot: Member(status=status, rights=json.loads(r)) for bot, status, r in rows}
