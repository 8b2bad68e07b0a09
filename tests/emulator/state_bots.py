# SPDX-License-Identifier: MIT
"""
Bots and their tokens.

Token secrets are derived from a key of the directory, or kept as a digest: no token is written in the clear.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from tests.canary import CANARY
from tests.emulator.state_database import Database
from tests.emulator.values import Bot


class Bots(Database):
    """What BotFather keeps."""

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


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
