# SPDX-License-Identifier: MIT
"""What the Telegram store is told: bots, chats, servers, patience. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from tgsyncd.stores.telegram.limits import LimitRules

CLOUD_BASE_URL = "https://api.telegram.org/bot"
CLOUD_BASE_FILE_URL = "https://api.telegram.org/file/bot"


class Token:
    """A bot token that prints as its bot id only; ``reveal`` gives it away."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the token itself. Never log it, never put it in an exception."""
        return self.__text

    @property
    def bot_id(self) -> int:
        """
        The number before the colon: it stays when BotFather gives the bot a new token.

        Raises ValueError, without the token in it, for what is no token.
        """
        number, colon, secret = self.__text.partition(":")
        if not (colon and secret and number.isascii() and number.isdigit()):
            raise ValueError("a bot token looks like 123456789:AA...; BotFather shows it")
        return int(number)

    def __repr__(self) -> str:
        number, colon, _ = self.__text.partition(":")
        known = number if colon and number.isascii() and number.isdigit() else "?"
        return f"Token({known}:redacted)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and other.reveal() == self.__text

    def __hash__(self) -> int:
        return hash(self.__text)


@dataclass(frozen=True, slots=True, kw_only=True)
class BotSettings:
    """One bot. Bots are known by the id in their token, never by their place in the list."""

    token: Token

    @property
    def bot_id(self) -> int:
        """The bot's id."""
        return self.token.bot_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramSettings:
    """
    All that the Telegram store is told.

    ``chats`` share the documents evenly. ``scratch_chat`` receives the forwards by which a bot
    learns its own file_id of a document; without one they go through the storage chat and cost its
    20 messages a minute.
    """

    bots: tuple[BotSettings, ...]
    chats: tuple[int, ...]
    scratch_chat: int | None = None
    base_url: str = CLOUD_BASE_URL
    base_file_url: str = CLOUD_BASE_FILE_URL
    local_mode: bool = False
    """The server is a local Bot API server with ``--local``: files are read from its disk."""
    limits: LimitRules = field(default_factory=LimitRules)

    connect_timeout_s: float = 15.0
    read_timeout_s: float = 30.0
    """Answers to small requests."""
    upload_read_timeout_s: float = 300.0
    """The server answers sendDocument only when the file is in its data centre."""
    call_limit_s: float = 60.0
    """The whole of a small request."""
    upload_limit_s: float = 3600.0
    """The whole of an upload: 19.9 MB at 6 kB/s."""
    write_timeout_s: float = 60.0
    """For each 64 KiB of an upload."""
    get_file_timeout_s: float = 180.0
    """getFile answers only when the server has the whole file."""
    idle_timeout_s: float = 20.0
    """A download that brings no byte for so long is begun anew at the byte reached."""

    uploads_per_bot: int = 4
    get_files_per_bot: int = 6
    """More than 4-8 at a time stall for minutes, newest first (telegram-bot-api#755)."""
    link_lifetime_s: float = 55 * 60.0
    """file_path holds for at least an hour."""
    patience_s: float = 100.0
    """How long a read is retried, without progress and without being told to wait."""
    upload_attempts: int = 6
    """Attempts before ``put`` gives up. Waiting for flood control is not an attempt."""

    @property
    def is_cloud(self) -> bool:
        """Whether documents go through api.telegram.org."""
        return self.base_url == CLOUD_BASE_URL
