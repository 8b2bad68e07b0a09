# SPDX-License-Identifier: MIT
"""What Telegram remembers: bots, chats, members, files, and the messages and pins that are here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.emulator.state_bots import Bots
from tests.emulator.state_chats import Chats
from tests.emulator.state_files import Files
from tests.emulator.values import Chat, Post, StoredDocument

if TYPE_CHECKING:
    from collections.abc import Mapping


class State(Bots, Chats, Files):
    """The whole of it. ``now_s`` is the wall clock that dates messages and lets file_paths expire."""

    def add_post(self, chat: Chat, bot_id: int, content: Mapping[str, Any], **extra: Any) -> Post:
        """Store a message and number it in every box that sees it. ``bot_id`` 0 is the chat's owner."""
        date = int(self._now_s())
        self._db.execute("BEGIN")
        cursor = self._db.execute(
            "INSERT INTO posts (chat_id, bot_id, date, content, extra) VALUES (?, ?, ?, ?, ?)",
            (chat.chat_id, bot_id, date, json.dumps(content), json.dumps(extra)),
        )
        post_id = cursor.lastrowid
        assert post_id is not None
        for box in self._boxes(chat, bot_id):
            row = self._one("SELECT last_id FROM boxes WHERE box = ?", box)
            number = (row[0] if row else 0) + 1
            self._run("INSERT OR REPLACE INTO boxes VALUES (?, ?)", box, number)
            self._run("INSERT INTO numbers VALUES (?, ?, ?)", box, number, post_id)
        self._db.execute("COMMIT")
        post = self.post_by_id(chat, bot_id, post_id)
        assert post is not None
        return post

    def _boxes(self, chat: Chat, sender: int) -> list[str]:
        if chat.is_shared:
            return [f"chat {chat.chat_id}"]
        if chat.type == "private" and sender:
            return [f"bot {sender}"]
        present = [b for b, m in self.members(chat.chat_id).items() if m.status != "kicked"]
        return [f"bot {bot_id}" for bot_id in present] or [f"bot {sender}"]

    def _box(self, chat: Chat, viewer: int) -> str:
        return f"chat {chat.chat_id}" if chat.is_shared else f"bot {viewer}"

    def post_by_id(self, chat: Chat, viewer: int, post_id: int) -> Post | None:
        row = self._one(
            "SELECT message_id FROM numbers WHERE post_id = ? AND box = ?", post_id, self._box(chat, viewer)
        )
        return self.post(chat, viewer, row[0]) if row else None

    def post(self, chat: Chat, viewer: int, message_id: int) -> Post | None:
        """Return the message that this bot knows under this number."""
        row = self._one(
            "SELECT p.post_id, p.bot_id, p.date, p.edit_date, p.content, p.extra FROM numbers n"
            " JOIN posts p USING (post_id) WHERE n.box = ? AND n.message_id = ? AND p.chat_id = ?",
            self._box(chat, viewer), message_id, chat.chat_id,
        )  # fmt: skip
        if row is None:
            return None
        post_id, bot_id, date, edit_date, content, extra = row
        return Post(
            post_id=post_id, message_id=message_id, chat_id=chat.chat_id, bot_id=bot_id, date=date,
            edit_date=edit_date, content=json.loads(content), extra=json.loads(extra),
        )  # fmt: skip

    def posts(self, chat: Chat, viewer: int = 0) -> list[Post]:
        """Return all messages of a chat by number: for assertions, no bot can do this."""
        rows = self._db.execute(
            "SELECT n.message_id FROM numbers n JOIN posts p USING (post_id)"
            " WHERE n.box = ? AND p.chat_id = ? ORDER BY n.message_id",
            (self._box(chat, viewer), chat.chat_id),
        ).fetchall()
        return [post for (number,) in rows if (post := self.post(chat, viewer, number)) is not None]

    def documents(self, chat: Chat | int) -> list[StoredDocument]:
        """Return all documents that a chat shows, by message number: for assertions."""
        found = self.chat(chat) if isinstance(chat, int) else chat
        assert found is not None
        out = []
        for post in self.posts(found):
            file = self.file(post.content["file"]) if post.content["kind"] == "document" else None
            if file is not None:
                out.append(
                    StoredDocument(
                        message_id=post.message_id, bot_id=post.bot_id,
                        caption=post.content["caption"], name=file.name,
                        size_bytes=file.size_bytes, path=file.path,
                    )
                )  # fmt: skip
        return out

    def edit_post(self, post: Post, content: Mapping[str, Any], **extra: Any) -> None:
        self._run(
            "UPDATE posts SET content = ?, extra = ?, edit_date = ? WHERE post_id = ?",
            json.dumps(content), json.dumps(post.extra | extra), int(self._now_s()), post.post_id,
        )  # fmt: skip

    def delete_post(self, post: Post) -> None:
        for table in ("numbers", "pins", "posts"):
            self._run(f"DELETE FROM {table} WHERE post_id = ?", post.post_id)

    def pin(self, post: Post) -> None:
        self._run("INSERT OR IGNORE INTO pins VALUES (?, ?)", post.chat_id, post.post_id)

    def is_pinned(self, post: Post) -> bool:
        return self._one("SELECT 1 FROM pins WHERE post_id = ?", post.post_id) is not None

    def unpin(self, chat: Chat, post: Post | None) -> None:
        """Unpin one message, or all."""
        if post is None:
            self._run("DELETE FROM pins WHERE chat_id = ?", chat.chat_id)
        else:
            self._run("DELETE FROM pins WHERE post_id = ?", post.post_id)

    def pinned(self, chat: Chat, viewer: int) -> Post | None:
        """Return the pinned message that was sent last."""
        row = self._one("SELECT max(post_id) FROM pins WHERE chat_id = ?", chat.chat_id)
        return self.post_by_id(chat, viewer, row[0]) if row[0] is not None else None

    def is_referenced(self, number: int) -> bool:
        """Tell whether any message still shows the file."""
        return self._one(
            "SELECT 1 FROM posts WHERE json_extract(content, '$.file') = ? LIMIT 1", number
        ) is not None  # fmt: skip
