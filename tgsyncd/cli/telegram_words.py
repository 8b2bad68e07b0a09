# SPDX-License-Identifier: MIT
"""PURE: what ``telegram setup`` says, and how it reads which chat is meant."""

from __future__ import annotations

import re

from tgsyncd.errors import ConfigError

BOT = """\
1. A bot
   In Telegram, talk to @BotFather: send /newbot, give it a name and a user name.
   It answers with a token such as 123456789:AA… Whoever has the token has the bot: it is not
   shown here, and is kept in a file that only you can read.
"""

MORE_BOTS = """\
   A second bot doubles the upload rate (each has 20 messages a minute in a chat) and takes over
   when the first one is lost. Make it in the same way.
"""

CHAT = """\
2. The chat that holds the documents
   Make a private channel: New Channel, Private. Add each bot as an administrator who may Post
   Messages, Edit Messages and Delete Messages (in a supergroup: Delete Messages and Pin Messages).
   Leave Auto-Delete Messages and Restrict Saving Content off.
   Write something into the channel, right-click it (or hold it) and choose Copy Link:
   https://t.me/c/1234567890/1. Paste that link here; the channel's number, -1001234567890, will do too.
"""

MORE_CHATS = """\
   Several chats share the documents evenly, and each has limits of its own. One is enough.
"""

SCRATCH = """\
3. The scratch chat
   A second private channel with the same administrators, in which the bots show documents to each
   other. It stays empty. Without it they do so in the chat that holds the documents, where it costs
   some of the 20 messages a minute.
"""

CHECK = """\
The check: each bot stores, reads and deletes a small document in each chat
"""

_FIRST_CHANNEL = 1_000_000_000_000
"""The number of a channel or supergroup is -1 times this plus the number in its links: TDLib, DialogId.h."""

_LINK = re.compile(r"(?:https?://)?(?:t|telegram)\.me/c/(\d{1,13})(?:/[\d/]*)?(?:\?\S*)?")
_WEB = re.compile(r"(?:https?://)?web\.telegram\.org/\S*#(-?\d{1,20})\S*")
_PUBLIC = re.compile(r"@\w+|(?:https?://)?(?:t|telegram)\.me/\S+")


def parse_chat(text: str) -> int:
    """
    Return the chat's number for ``-100…``, ``https://t.me/c/<number>/<message>`` or its page in Telegram Web.

    Raises
        ConfigError that says how to find the number.
    """
    text = text.strip()
    link = _LINK.fullmatch(text)
    if link:
        return -_FIRST_CHANNEL - int(link[1])
    page = _WEB.fullmatch(text)
    number = page[1] if page else text.replace("\N{MINUS SIGN}", "-")
    if re.fullmatch(r"-\d{1,20}", number, re.ASCII):
        # Telegram Web K leaves the 100 out.
        return -_FIRST_CHANNEL + int(number) if page and not number.startswith("-100") else int(number)
    if re.fullmatch(r"\d{1,20}", number, re.ASCII):
        message = f"{number} is a person's number; a channel's begins with -100"
        raise ConfigError(message, hint=f"if it is from a link, give -100{number}")
    if _PUBLIC.fullmatch(text):
        message = "this names a public chat, or invites into one; documents belong into a private channel"
        raise ConfigError(message, hint="make it private, and copy the link of one of its messages")
    message = "this is no link of a message (https://t.me/c/1234567890/1) and no number (-1001234567890)"
    raise ConfigError(message, hint="right-click a message of the channel and choose Copy Link")


def server_urls(text: str) -> tuple[str, str]:
    """Return ``base_url`` and ``base_file_url`` of a Bot API server, given with or without ``/bot``."""
    root = text.strip().rstrip("/").removesuffix("/bot").removesuffix("/file")
    return f"{root}/bot", f"{root}/file/bot"
