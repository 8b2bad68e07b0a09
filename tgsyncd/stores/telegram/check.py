# SPDX-License-Identifier: MIT
"""What ``tgsyncd doctor`` asks Telegram, to see that everything is set up for the store."""

from __future__ import annotations

import random as random_module
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tgsyncd.stores.telegram import api
from tgsyncd.stores.telegram.bot import BotClient
from tgsyncd.stores.telegram.download import Downloader, DownloadError, make_client
from tgsyncd.stores.telegram.files import LocalFiles, RemoteFiles
from tgsyncd.stores.telegram.fleet import Fleet
from tgsyncd.stores.telegram.links import Link

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from random import Random

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.ports import Clock
    from tgsyncd.stores.telegram.settings import TelegramSettings

SHARED_NUMBERING = frozenset({"channel", "supergroup"})
"""Kinds of chat whose message ids are the same for every bot."""

TEST_BYTES = 70_001


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class FindingKind(StrEnum):
    """What a finding is about."""

    TOKEN = "token"  # noqa: S105 - the word, not a token
    CHAT = "chat"
    CHAT_KIND = "chat-kind"
    RIGHTS = "rights"
    AUTO_DELETE = "auto-delete"
    PROTECTED = "protected-content"
    SCRATCH = "scratch-chat"
    ROUND_TRIP = "round-trip"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    kind: FindingKind
    severity: Severity
    text: str
    advice: str = ""
    """What to do, and where: in BotFather, in the chat, in the configuration."""
    bot_id: int | None = None
    chat_id: int | None = None


async def check_telegram(
    settings: TelegramSettings,
    *,
    reactor: Any,
    clock: Clock,
    random: Random | None = None,
    timer: IReactorTime | None = None,
    round_trip: bool = True,
) -> Sequence[Finding]:
    """
    Look at every bot and every chat; with ``round_trip`` also store, read back and delete a small document.

    Raises nothing: trouble is a finding. Waits at most for the settings' time-outs.
    """
    timer = reactor if timer is None else timer
    assert timer is not None
    doctor = _Doctor(settings, reactor, timer, clock, random or random_module.Random())
    try:
        return await doctor.look(round_trip=round_trip)
    finally:
        await doctor.close()


class _Doctor:
    def __init__(
        self,
        settings: TelegramSettings,
        reactor: Any,
        timer: IReactorTime,
        clock: Clock,
        random: Random,
    ) -> None:
        self._settings = settings
        self._random = random
        self._bots = [BotClient(bot, settings, timer) for bot in settings.bots]
        self._files: RemoteFiles | LocalFiles
        if settings.local_mode:
            self._files = LocalFiles(timer)
        else:
            client, pool = make_client(reactor, connect_timeout_s=settings.connect_timeout_s)
            downloader = Downloader(client, timer, idle_timeout_s=settings.idle_timeout_s)
            self._files = RemoteFiles(Fleet(self._bots, clock), downloader, pool)
        self._found: list[Finding] = []

    async def look(self, *, round_trip: bool) -> Sequence[Finding]:
        self._look_at_server()
        accepted = [bot for bot in self._bots if await self._look_at_bot(bot)]
        for chat_id in self._settings.chats:
            await self._look_at_chat(accepted, chat_id, round_trip=round_trip)
        if accepted:
            await self._look_at_scratch(accepted)
        return self._found

    async def close(self) -> None:
        await self._files.close()
        for bot in self._bots:
            await bot.close()

    def _note(
        self,
        kind: FindingKind,
        severity: Severity,
        text: str,
        advice: str = "",
        *,
        bot: BotClient | None = None,
        chat_id: int | None = None,
    ) -> None:
        self._found.append(
            Finding(
                kind=kind,
                severity=severity,
                text=text,
                advice=advice,
                bot_id=bot.bot_id if bot else None,
                chat_id=chat_id,
            )
        )

    # --- server and bots ---------------------------------------------------------------------------

    def _look_at_server(self) -> None:
        if not self._settings.local_mode:
            return
        self._note(
            FindingKind.SERVER,
            Severity.WARNING,
            "A local Bot API server is used.",
            "Documents above 20 MB stored through it can never be read through api.telegram.org again. "
            "tgsyncd must run where it can read the server's files.",
        )

    async def _look_at_bot(self, bot: BotClient) -> bool:
        facts = await self._ask(bot.me())
        if isinstance(facts, api.BotFacts):
            self._note(FindingKind.TOKEN, Severity.OK, f"Bot @{facts.username} is accepted.", bot=bot)
            return True
        if isinstance(facts, api.BotRevoked):
            advice = (
                "Ask @BotFather: /mybots, the bot, API Token; put the token where the configuration "
                "takes it from. A new token for the same bot keeps the library."
            )
            text = f"Telegram does not accept the token of bot {bot.bot_id}."
        else:
            advice = (
                "Check the network, and telegram.base_url if you set it. The other bots do not help here."
            )
            text = f"Telegram could not be asked about bot {bot.bot_id}: {facts}."
        self._note(FindingKind.TOKEN, Severity.PROBLEM, text, advice, bot=bot)
        return False

    # --- chats -------------------------------------------------------------------------------------

    async def _look_at_chat(self, bots: Sequence[BotClient], chat_id: int, *, round_trip: bool) -> None:
        known: api.ChatFacts | None = None
        able = []
        for bot in bots:
            facts = await self._ask(bot.get_chat(chat_id))
            if not isinstance(facts, api.ChatFacts):
                self._note_unknown_chat(bot, chat_id, facts)
                continue
            known = facts
            if await self._look_at_rights(bot, facts):
                able.append(bot)
        if known is None:
            return
        self._look_at_kind(known)
        self._look_at_dangers(known)
        if round_trip and known.kind in SHARED_NUMBERING:
            for bot in able:
                await self._round_trip(bot, chat_id)

    def _note_unknown_chat(self, bot: BotClient, chat_id: int, error: api.BotApiError) -> None:
        if isinstance(error, api.ChatMigrated):
            self._note(
                FindingKind.CHAT,
                Severity.PROBLEM,
                f"The group {chat_id} has become the supergroup {error.new_chat_id}.",
                f"Write {error.new_chat_id} into the configuration.",
                bot=bot,
                chat_id=chat_id,
            )
            return
        self._note(
            FindingKind.CHAT,
            Severity.PROBLEM,
            f"Bot {bot.bot_id} cannot see chat {chat_id}: {error}.",
            "Add the bot to the chat as an administrator, and compare the number: it is -100 and what the "
            "link of any message of the chat (Copy Link) has after https://t.me/c/.",
            bot=bot,
            chat_id=chat_id,
        )

    def _look_at_kind(self, chat: api.ChatFacts) -> None:
        if chat.kind in SHARED_NUMBERING:
            self._note(
                FindingKind.CHAT_KIND,
                Severity.OK,
                f"{chat.title!r} is a {chat.kind}.",
                chat_id=chat.chat_id,
            )
            return
        self._note(
            FindingKind.CHAT_KIND,
            Severity.PROBLEM,
            f"{chat.title or chat.chat_id!r} is a {chat.kind} chat.",
            "Use a private channel or a supergroup: in other chats each bot numbers the messages for "
            "itself, so that no other bot could ever read what one has stored.",
            chat_id=chat.chat_id,
        )

    def _look_at_dangers(self, chat: api.ChatFacts) -> None:
        if chat.auto_delete_s:
            self._note(
                FindingKind.AUTO_DELETE,
                Severity.PROBLEM,
                f"{chat.title!r} deletes its messages after {chat.auto_delete_s} s: the library would "
                "vanish.",
                "In the chat's settings, set Auto-Delete Messages to Off.",
                chat_id=chat.chat_id,
            )
        if chat.is_protected:
            self._note(
                FindingKind.PROTECTED,
                Severity.PROBLEM,
                f"{chat.title!r} restricts saving content: a bot that replaces a lost one could not "
                "learn to read what is stored.",
                "In the chat's settings (Channel type), switch Restrict Saving Content off.",
                chat_id=chat.chat_id,
            )

    async def _look_at_rights(self, bot: BotClient, chat: api.ChatFacts) -> bool:
        """Report what the bot lacks; tell whether it can post and delete."""
        member = await self._ask(bot.get_member(chat.chat_id))
        if not isinstance(member, api.MemberFacts):
            self._note_unknown_chat(bot, chat.chat_id, member)
            return False
        is_channel = chat.kind == "channel"
        rights = {
            "Post Messages": member.can_post,
            "Edit Messages": member.can_edit,
            "Delete Messages": member.can_delete,
            "Edit Messages (for pinning)" if is_channel else "Pin Messages": member.can_pin,
        }
        lacking = [name for name, has in rights.items() if not has]
        if member.status not in {"administrator", "creator"}:
            text = f"Bot {bot.bot_id} is no administrator of {chat.title!r} but {member.status}."
            advice = "Make it one, with " + ", ".join(rights) + "."
        elif lacking:
            text = f"Bot {bot.bot_id} lacks rights in {chat.title!r}: {', '.join(lacking)}."
            advice = "In the chat: Administrators, the bot, switch on what it lacks."
        else:
            self._note(
                FindingKind.RIGHTS,
                Severity.OK,
                f"Bot {bot.bot_id} may do all it needs in {chat.title!r}.",
                bot=bot,
                chat_id=chat.chat_id,
            )
            return True
        self._note(FindingKind.RIGHTS, Severity.PROBLEM, text, advice, bot=bot, chat_id=chat.chat_id)
        return member.can_post and member.can_delete

    async def _look_at_scratch(self, bots: Sequence[BotClient]) -> None:
        scratch = self._settings.scratch_chat
        if scratch is None:
            self._note(
                FindingKind.SCRATCH,
                Severity.WARNING,
                "There is no scratch chat: forwards by which bots learn file_ids go through the storage "
                "chat and cost its 20 messages a minute.",
                "Make a second private channel, add all bots as administrators, and name it as "
                "telegram.scratch_chat.",
            )
            return
        for bot in bots:
            facts = await self._ask(bot.get_chat(scratch))
            if isinstance(facts, api.ChatFacts):
                await self._look_at_rights(bot, facts)
            else:
                self._note_unknown_chat(bot, scratch, facts)

    # --- store, read back, delete --------------------------------------------------------------------

    async def _round_trip(self, bot: BotClient, chat_id: int) -> None:
        data = self._random.randbytes(TEST_BYTES)
        with TemporaryDirectory(prefix="tgsyncd-doctor-") as directory:
            path = Path(directory) / "test.bin"
            path.write_bytes(data)
            stored = await self._ask(
                bot.send_document(chat_id, path, "tgsyncd-doctor.bin", "tgsyncd doctor: a test")
            )
        if isinstance(stored, api.FloodWait):
            # A bot at work meets this every minute: nothing is wrong, and nothing is proven.
            self._note(
                FindingKind.ROUND_TRIP,
                Severity.WARNING,
                f"Bot {bot.bot_id} could not be tried: {stored}.",
                "Run the check again after that time.",
                bot=bot,
                chat_id=chat_id,
            )
            return
        if not isinstance(stored, api.StoredMessage):
            self._note_round_trip(bot, chat_id, f"cannot store a document: {stored}")
            return
        trouble = await self._read_back(bot, stored, data)
        deleted = await self._ask(bot.delete(chat_id, stored.message_id))
        if isinstance(deleted, api.BotApiError):
            trouble = trouble or f"cannot delete what it stored: {deleted}"
        self._note_round_trip(bot, chat_id, trouble)

    async def _read_back(self, bot: BotClient, stored: api.StoredMessage, data: bytes) -> str:
        """Return what went wrong, or an empty text."""
        file = await self._ask(bot.get_file(stored.file_id))
        if not isinstance(file, api.RemoteFile) or not file.file_path:
            return f"cannot ask for what it stored: {file}"
        key = (bot.bot_id, stored.chat_id, stored.message_id)
        link = Link(key=key, file_path=file.file_path, size_bytes=file.size_bytes)
        got = bytearray()
        try:
            async for chunk in self._files.stream(link, 1, len(data), len(data)):
                got += chunk
        except DownloadError as error:
            return f"cannot read what it stored: {error}"
        return "" if bytes(got) == data[1:] else "reads something else than it stored"

    def _note_round_trip(self, bot: BotClient, chat_id: int, trouble: str) -> None:
        if not trouble:
            self._note(
                FindingKind.ROUND_TRIP,
                Severity.OK,
                f"Bot {bot.bot_id} has stored, read and deleted a test document.",
                bot=bot,
                chat_id=chat_id,
            )
            return
        self._note(
            FindingKind.ROUND_TRIP,
            Severity.PROBLEM,
            f"Bot {bot.bot_id} {trouble}.",
            "If the rights above are in order, try again in some minutes.",
            bot=bot,
            chat_id=chat_id,
        )

    async def _ask(self, call: Awaitable[Any]) -> Any:
        """Return the answer, or the error as a value."""
        try:
            return await call
        except api.BotApiError as error:
            return error
