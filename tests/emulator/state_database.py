# SPDX-License-Identifier: MIT
"""The emulator's database: its tables, in one directory. A restart loses nothing."""

from __future__ import annotations

import secrets
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


class Database:
    """``state.sqlite`` holds the rows, ``files/<number>`` the bytes."""

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
