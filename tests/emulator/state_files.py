# SPDX-License-Identifier: MIT
"""Files, and the file_paths by which each bot may download them for a while."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from tests.emulator.state_database import Database
from tests.emulator.values import StoredFile

if TYPE_CHECKING:
    from pathlib import Path


class Files(Database):
    """What the data centres keep."""

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
