# SPDX-License-Identifier: MIT
"""
The conversation of ``tgsyncd telegram setup``.

What the command line gives is not asked for. Nothing is written before everything is known and checked,
so that there is nothing to clean up when it is interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tgsyncd.cli import telegram_words as words
from tgsyncd.cli.app import FOUND_PROBLEMS
from tgsyncd.cli.telegram_checks import finding_lines, to_finding
from tgsyncd.cli.telegram_target import ChosenBot
from tgsyncd.config.secrets import check_token, read_secret_file
from tgsyncd.errors import ConfigError
from tgsyncd.stores.telegram.settings import BotSettings, TelegramSettings, Token

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from pathlib import Path

    from tgsyncd.cli.asking import Asker
    from tgsyncd.cli.shell import Shell
    from tgsyncd.cli.telegram_target import Target
    from tgsyncd.stores.telegram.check import Finding

_LATER = frozenset({"rights", "auto-delete", "protected-content"})
"""What is put right in the chat itself; the last check waits for it."""


class Check(Protocol):
    """Looks at bots and chats; with ``round_trip`` also stores, reads and deletes a document."""

    def __call__(self, settings: TelegramSettings, *, round_trip: bool) -> Awaitable[Sequence[Finding]]:
        """Return what was found. Raises nothing for what is wrong."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line says. Tokens never show."""

    tokens: tuple[str, ...] = field(default=(), repr=False)
    token_files: tuple[Path, ...] = ()
    chats: tuple[int, ...] = ()
    scratch_chat: int | None = None
    base_url: str
    base_file_url: str
    local_mode: bool = False
    save_anyway: bool = False


class Setup:
    """One conversation. ``asker`` is None when nobody is there: what is missing is then an error."""

    def __init__(
        self, shell: Shell, asker: Asker | None, given: Given, *, target: Target, check: Check
    ) -> None:
        self._shell = shell
        self._asker = asker
        self._given = given
        self._target = target
        self._check = check

    async def run(self) -> int:
        """
        Ask, check, write. Return the exit code: 10 when there are problems and nothing was written.

        Raises
            ConfigError: something is missing or wrong, and nobody can be asked.
            Refused: a file would have to be replaced.
        """
        self._target.open(self._settings([], [-1]))
        bots = self._given_bots() or await self._ask_bots()
        self._target.claim(bots)
        settings = await self._choose_chats(bots)
        if not await self._is_ready(settings):
            self._shell.note("Nothing was written.")
            return FOUND_PROBLEMS
        self._target.write(bots, settings)
        return 0

    async def _choose_chats(self, bots: Sequence[ChosenBot]) -> TelegramSettings:
        given = self._given
        if given.chats:
            return self._settings(bots, list(dict.fromkeys(given.chats)), given.scratch_chat)
        chats = await self._ask_chats(bots)
        scratch = given.scratch_chat or await self._ask_scratch(bots, chats)
        return self._settings(bots, chats, scratch)

    def _settings(
        self, bots: Sequence[ChosenBot], chats: Sequence[int], scratch: int | None = None
    ) -> TelegramSettings:
        if scratch in chats:
            raise ConfigError("the scratch chat must not be one of the chats that hold documents")
        given = self._given
        return TelegramSettings(
            bots=tuple(BotSettings(token=bot.token) for bot in bots),
            chats=tuple(chats),
            scratch_chat=scratch,
            base_url=given.base_url,
            base_file_url=given.base_file_url,
            local_mode=given.local_mode,
        )

    # --- bots --------------------------------------------------------------------------------------

    def _given_bots(self) -> list[ChosenBot]:
        bots = [self._read_token(text, "--bot-token") for text in self._given.tokens]
        bots += [
            self._read_token(read_secret_file(path, option="--token-file"), str(path), path)
            for path in self._given.token_files
        ]
        ids = [bot.bot_id for bot in bots]
        for bot_id in ids:
            if ids.count(bot_id) > 1:
                raise ConfigError(f"bot {bot_id} was given twice")
        return bots

    def _read_token(self, text: str, option: str, path: Path | None = None) -> ChosenBot:
        self._shell.redactor.add(text)
        token = check_token(text, option=option)
        return ChosenBot(token=Token(token.get_secret_value()), token_file=path)

    async def _ask_bots(self) -> list[ChosenBot]:
        asker = self._somebody("no bot was named", "--token-file FILE, or the variable TGSYNCD_BOT_TOKEN")
        self._shell.note(words.BOT)
        bots = [await self._ask_bot(asker, [])]
        self._shell.note(words.MORE_BOTS)
        while asker.confirm("Another bot?"):
            bots.append(await self._ask_bot(asker, bots))
        return bots

    async def _ask_bot(self, asker: Asker, others: Sequence[ChosenBot]) -> ChosenBot:
        bot: ChosenBot | None = None
        question = "Token (not shown)"
        while True:
            text = asker.secret(question)
            try:
                bot = self._read_token(text, "token") if text or bot is None else bot
            except ConfigError as error:
                self._shell.show_error(error)
                continue
            if bot.bot_id in {other.bot_id for other in others}:
                self._shell.note(f"Bot {bot.bot_id} is there already.")
                bot = None
                continue
            if not await self._has_problem(self._settings([bot], ()), {"token"}):
                return bot
            question = "Token (Enter: check the same one again)"

    # --- chats -------------------------------------------------------------------------------------

    async def _ask_chats(self, bots: Sequence[ChosenBot]) -> list[int]:
        asker = self._somebody("no chat was named", "--chat-id -100…, or the link of one of its messages")
        self._shell.note(words.CHAT)
        chats = [await self._ask_chat(asker, bots, "Link or number of the chat")]
        self._shell.note(words.MORE_CHATS)
        while asker.confirm("Another chat?"):
            chats.append(await self._ask_chat(asker, bots, "Link or number of the chat", chats))
        return chats

    async def _ask_scratch(self, bots: Sequence[ChosenBot], chats: Sequence[int]) -> int | None:
        asker = self._asker
        if asker is None:
            return None
        self._shell.note(words.SCRATCH)
        if not asker.confirm("Name a scratch chat?"):
            return None
        return await self._ask_chat(asker, bots, "Link or number of the scratch chat", chats)

    async def _ask_chat(
        self, asker: Asker, bots: Sequence[ChosenBot], question: str, others: Sequence[int] = ()
    ) -> int:
        chat: int | None = None
        while True:
            text = asker.text(question)
            try:
                chat = words.parse_chat(text) if text or chat is None else chat
            except ConfigError as error:
                self._shell.show_error(error)
                continue
            if chat in others:
                self._shell.note(f"{chat} is there already; this must be another chat.")
                chat = None
                continue
            kinds = {"chat", "chat-kind"}
            if not await self._has_problem(self._settings(bots, [chat]), kinds):
                return chat
            question = "Put that right and press Enter, or name another chat"

    # --- checks ------------------------------------------------------------------------------------

    async def _has_problem(self, settings: TelegramSettings, kinds: set[str]) -> bool:
        """Show what a quick check finds, and tell whether there is a problem of these kinds."""
        found = [
            each for each in await self._check(settings, round_trip=False) if each.kind in kinds | _LATER
        ]
        self._show(found)
        return any(each.kind in kinds and each.severity == "problem" for each in found)

    async def _is_ready(self, settings: TelegramSettings) -> bool:
        """Check everything, again and again if somebody wants it, and tell whether to write."""
        while True:
            self._shell.note(words.CHECK)
            found = await self._check(settings, round_trip=True)
            self._show(found)
            if not any(each.severity == "problem" for each in found) or self._given.save_anyway:
                return True
            if self._asker is None:
                return False
            answer = self._asker.text("Enter: check again, s: save it all the same, q: give up").lower()
            if answer in {"s", "q"}:
                return answer == "s"

    def _show(self, found: Sequence[Finding]) -> None:
        for each in found:
            for line in finding_lines(self._shell, to_finding(each)):
                self._shell.note(line)
        self._shell.note("")

    def _somebody(self, missing: str, hint: str) -> Asker:
        if self._asker is None:
            raise ConfigError(missing, hint=hint)
        return self._asker
