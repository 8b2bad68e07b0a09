# SPDX-License-Identifier: MIT
"""
What Telegram remembers, in one directory: bots, chats, members, messages, pins, files and file_paths.

``state.sqlite`` holds the rows, ``files/<number>`` the bytes. A restart loses nothing. Token secrets
are derived from a key of the directory, or kept as a digest: no token is written in the clear.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from tests.canary import CANARY
from tests.emulator.values import Bot, Chat, Member, Post, StoredDocument, StoredFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

# Rights by which an administrator of a storage chat can do all that a store needs.
ALL_RIGHTS: Final = {
    "can_be_edited": False, "can_manage_chat": True, "can_change_info": True,
    "can_post_messages": True, "can_edit_messages": True, "can_delete_messages": True,
    "can_invite_users": True, "can_restrict_members": True, "can_pin_messages": True,
    "can_promote_members": False, "can_manage_video_chats": True, "can_post_stories": True,
    "can_edit_stories": True, "can_delete_stories": True, "is_anonymous": False,
}  # fmt: skip

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT) STRICT;
CREATE TABLE IF NOT EXISTS bots (
    bot_id INTEGER PRIMARY KEY, name TEXT, username TEXT, secret_digest TEXT,
    logged_out INTEGER DEFAULT 0, inline INTEGER DEFAULT 0, next_path INTEGER DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS chats (
    chat_id INTEGER PRIMARY KEY, type TEXT, title TEXT, username TEXT, protected INTEGER DEFAULT 0,
    auto_delete_s INTEGER DEFAULT 0, migrated_to INTEGER, deleted INTEGER DEFAULT 0) STRICT;
CREATE TABLE IF NOT EXISTS members (
    chat_id INTEGER, bot_id INTEGER, status TEXT, rights TEXT, PRIMARY KEY (chat_id, bot_id)) STRICT;
CREATE TABLE IF NOT EXISTS boxes (box TEXT PRIMARY KEY, last_id INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS posts (
    post_id INTEGER PRIMARY KEY, chat_id INTEGER, bot_id INTEGER, date INTEGER, edit_date INTEGER,
    content TEXT, extra TEXT) STRICT;
CREATE TABLE IF NOT EXISTS numbers (
    box TEXT, message_id INTEGER, post_id INTEGER, PRIMARY KEY (box, message_id)) STRICT;
CREATE INDEX IF NOT EXISTS numbers_by_post ON numbers (post_id);
CREATE TABLE IF NOT EXISTS pins (chat_id INTEGER, post_id INTEGER, PRIMARY KEY (chat_id, post_id)) STRICT;
CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY, type INTEGER, size INTEGER, name TEXT, mime TEXT, facts TEXT) STRICT;
CREATE TABLE IF NOT EXISTS paths (
    bot_id INTEGER, path TEXT, number INTEGER, expires_s REAL, PRIMARY KEY (bot_id, path)) STRICT;
"""


class State:
    """The whole of it. ``now_s`` is the wall clock that dates messages and lets file_paths expire."""

    def __init__(self, directory: Path, now_s: Callable[[], float]) -> None:
        self.directory = directory
        self._now_s = now_s
        for name in ("files", "incoming"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        for stale in (directory / "incoming").iterdir():
            stale.unlink()
        self._db = sqlite3.connect(directory / "state.sqlite", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        # A killed emulator loses nothing by this, a power failure may: it is a test's server.
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(_SCHEMA)
        self._tokens: dict[int, str] = {}
        self.key = bytes.fromhex(self._setting("key", secrets.token_hex(16)))

    def close(self) -> None:
        self._db.close()

    def _setting(self, name: str, default: str) -> str:
        self._db.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, default))
        return str(self._one("SELECT value FROM settings WHERE name = ?", name)[0])

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()

    def _run(self, sql: str, *values: Any) -> int:
        return self._db.execute(sql, values).rowcount

    # -- bots ----------------------------------------------------------------------------------------

    def add_bot(
        self,
        name: str = "",
        *,
        bot_id: int | None = None,
        token: str | None = None,
        inline: bool = False,
    ) -> Bot:
        """
        Create a bot; its token is derived from this directory's key unless one is given.

        ``inline``: whether BotFather turned its inline mode on; only getMe tells.
        """
        if token is not None:
            bot_id = int(token.partition(":")[0])
        if bot_id is None:
            (count,) = self._one("SELECT count(*) FROM bots")
            bot_id = 700_000_001 + count
        token = token or f"{bot_id}:{self._derived_secret(bot_id, 0)}"
        name = name or f"Bot {bot_id}"
        username = "".join(c for c in name.lower() if c.isalnum()) + "_bot"
        self._run(
            "INSERT OR REPLACE INTO bots (bot_id, name, username, secret_digest, inline)"
            " VALUES (?, ?, ?, ?, ?)",
            bot_id, name, username, _digest(token.partition(":")[2]), int(inline),
        )  # fmt: skip
        self._tokens[bot_id] = token
        return self.bot(bot_id)

    def _derived_secret(self, bot_id: int, generation: int) -> str:
        raw = hmac.digest(self.key, f"token/{bot_id}/{generation}".encode(), hashlib.sha256)
        # The known part is what tests/canary.py looks for in everything that is written.
        return "AA" + CANARY + base64.urlsafe_b64encode(raw)[: 33 - len(CANARY)].decode()

    def bot(self, bot_id: int) -> Bot:
        name, username, digest, inline = self._one(
            "SELECT name, username, secret_digest, inline FROM bots WHERE bot_id = ?", bot_id
        )
        return Bot(
            bot_id=bot_id, name=name, username=username, inline=bool(inline),
            token=self._token(bot_id, digest),
        )  # fmt: skip

    def _token(self, bot_id: int, digest: str) -> str:
        if bot_id in self._tokens:
            return self._tokens[bot_id]
        for generation in range(100):
            secret = self._derived_secret(bot_id, generation)
            if _digest(secret) == digest:
                return f"{bot_id}:{secret}"
        return ""

    def bots(self) -> list[Bot]:
        rows = self._db.execute("SELECT bot_id FROM bots ORDER BY bot_id").fetchall()
        return [self.bot(bot_id) for (bot_id,) in rows]

    def find_bot(self, bot_id: int, secret: str) -> Bot | None:
        """Return the bot that this token opens."""
        row = self._one("SELECT secret_digest FROM bots WHERE bot_id = ?", bot_id)
        if row is None or not hmac.compare_digest(row[0], _digest(secret)):
            return None
        return self.bot(bot_id)

    def revoke_token(self, bot_id: int) -> None:
        """Make the bot's token worthless, as BotFather's /revoke does."""
        self._tokens.pop(bot_id, None)
        self._run("UPDATE bots SET secret_digest = '' WHERE bot_id = ?", bot_id)

    def renew_token(self, bot_id: int, token: str | None = None) -> Bot:
        """Give the bot a new token; its id and its file_ids stay."""
        if token is None:
            old = self._one("SELECT secret_digest FROM bots WHERE bot_id = ?", bot_id)[0]
            generation = 1 + next(
                (n for n in range(99) if _digest(self._derived_secret(bot_id, n)) == old),
                secrets.randbelow(90),
            )
            token = f"{bot_id}:{self._derived_secret(bot_id, generation)}"
        digest = _digest(token.partition(":")[2])
        self._run("UPDATE bots SET secret_digest = ? WHERE bot_id = ?", digest, bot_id)
        self._tokens[bot_id] = token
        return self.bot(bot_id)

    def is_logged_out(self, bot_id: int) -> bool:
        return bool(self._one("SELECT logged_out FROM bots WHERE bot_id = ?", bot_id)[0])

    def set_logged_out(self, bot_id: int, *, logged_out: bool) -> None:
        self._run("UPDATE bots SET logged_out = ? WHERE bot_id = ?", int(logged_out), bot_id)

    # -- chats ---------------------------------------------------------------------------------------

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

    # -- messages ------------------------------------------------------------------------------------

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

    # -- files ---------------------------------------------------------------------------------------

    def incoming(self) -> Path:
        """Return a path for bytes that are still coming in."""
        return self.directory / "incoming" / secrets.token_hex(8)

    def keep_file(
        self, path: Path, *, file_type: int, size_bytes: int, name: str, mime: str, **facts: Any
    ) -> StoredFile:
        """Move a file into the store and give it a number."""
        number = secrets.randbits(62)
        path.rename(self.directory / "files" / str(number))
        self._run(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
            number, file_type, size_bytes, name, mime, json.dumps(facts),
        )  # fmt: skip
        stored = self.file(number)
        assert stored is not None
        return stored

    def file(self, number: int) -> StoredFile | None:
        row = self._one("SELECT type, size, name, mime, facts FROM files WHERE number = ?", number)
        if row is None:
            return None
        return StoredFile(
            number=number, type=row[0], size_bytes=row[1], name=row[2], mime=row[3],
            facts=json.loads(row[4]), path=self.directory / "files" / str(number),
        )  # fmt: skip

    def lose_file(self, number: int) -> None:
        """Forget a file for good: what the store most fears."""
        self._run("DELETE FROM files WHERE number = ?", number)
        (self.directory / "files" / str(number)).unlink(missing_ok=True)

    def make_path(self, bot_id: int, file: StoredFile, *, folder: str, lifetime_s: float) -> str:
        """Return the file's current file_path for this bot, made anew when the last one expired."""
        now = self._now_s()
        row = self._one(
            "SELECT path FROM paths WHERE bot_id = ? AND number = ? AND expires_s > ?",
            bot_id, file.number, now,
        )  # fmt: skip
        if row is not None:
            path = str(row[0])
        else:
            count = self._one("SELECT next_path FROM bots WHERE bot_id = ?", bot_id)[0]
            self._run("UPDATE bots SET next_path = next_path + 1 WHERE bot_id = ?", bot_id)
            stem, dot, extension = file.name.rpartition(".")
            path = f"{folder}/file_{count}" + (f".{extension}" if stem and dot else "")
        self._run(
            "INSERT OR REPLACE INTO paths VALUES (?, ?, ?, ?)",
            bot_id, path, file.number, now + lifetime_s,
        )  # fmt: skip
        return path

    def file_at(self, bot_id: int, path: str) -> StoredFile | None:
        """Return the file behind a file_path that has not expired."""
        row = self._one(
            "SELECT number FROM paths WHERE bot_id = ? AND path = ? AND expires_s > ?",
            bot_id, path, self._now_s(),
        )  # fmt: skip
        return self.file(row[0]) if row else None

    def expire_paths(self) -> None:
        """Let all file_paths expire now, as a restart of the real server does."""
        self._run("DELETE FROM paths")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
