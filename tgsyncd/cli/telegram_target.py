# SPDX-License-Identifier: MIT
"""The files that ``telegram setup`` writes: the configuration, and a token file for each bot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.cli.telegram_files import PRIVATE, PUBLIC, read_text, write_whole
from tgsyncd.config.edit import render_telegram_sections, replace_sections
from tgsyncd.config.load import check_text, find_config
from tgsyncd.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tgsyncd.cli.asking import Asker
    from tgsyncd.cli.shell import Shell
    from tgsyncd.stores.telegram.settings import TelegramSettings, Token


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenBot:
    """A bot, and the file that holds its token already, if there is one."""

    token: Token
    token_file: Path | None = None

    @property
    def bot_id(self) -> int:
        """The bot's id."""
        return self.token.bot_id


class Target:
    """Where the results go. Asks before it replaces anything, and writes at the very end."""

    def __init__(self, shell: Shell, asker: Asker | None, path: Path | None, *, may_replace: bool) -> None:
        default = shell.home / ".config/tgsyncd/tgsyncd.yaml"
        self.path = (path or find_config(shell.home) or default).absolute()
        self._shell = shell
        self._asker = asker
        self._may_replace = may_replace
        self._before: str | None = None

    def open(self, settings: TelegramSettings) -> None:
        """
        Read the configuration that is there, and see that it can be edited, before anything is asked.

        ``settings`` stand for those to come; their chats are only an example.

        Raises
            ConfigError: it cannot be read or edited, or something else in it is wrong.
            Refused: it is there, and nobody has said that it may be changed.
        """
        self._before = read_text(self.path)
        check_text(self._render([self.path], settings), self.path, home=self._shell.home)
        if self._before is not None:
            question = f"{self.path} is there. Replace its sections store and telegram, and nothing else?"
            self._ask_to_replace(question, self.path)

    def claim(self, bots: Sequence[ChosenBot]) -> None:
        """Make sure that no other token is lost. Raises Refused when a file is in the way."""
        for bot in bots:
            place = self._token_file(bot)
            if bot.token_file is None and read_text(place) not in {None, _content(bot)}:
                self._ask_to_replace(f"{place} holds another token. Replace it?", place)

    def write(self, bots: Sequence[ChosenBot], settings: TelegramSettings) -> None:
        """
        Write the tokens, and then the configuration that names their files; say what was written.

        Raises
            ConfigError when a file cannot be written.
        """
        written = []
        for bot in bots:
            if bot.token_file is None:
                place = self._token_file(bot)
                write_whole(place, _content(bot), mode=PRIVATE)
                written.append(place)
        text = self._render([self._token_file(bot) for bot in bots], settings)
        check_text(text, self.path, home=self._shell.home)
        write_whole(self.path, text, mode=PUBLIC)
        for path in [*written, self.path]:
            self._shell.say(f"written: {path}")
        is_found = find_config(self._shell.home) == self.path
        option = "" if is_found else f" --config '{self.path}'"
        self._shell.say(f"next:    tgsyncd doctor{option}")
        self._shell.say(f"then:    tgsyncd upload{option} --video FILE")

    def _token_file(self, bot: ChosenBot) -> Path:
        return bot.token_file or self.path.parent / f"bot-{bot.bot_id}.token"

    def _render(self, token_files: Sequence[Path], settings: TelegramSettings) -> str:
        sections = render_telegram_sections(
            token_files=token_files,
            chats=settings.chats,
            scratch_chat=settings.scratch_chat,
            base_url=settings.base_url,
            base_file_url=settings.base_file_url,
            local_mode=settings.local_mode,
        )
        return replace_sections(self._before or "", sections)

    def _ask_to_replace(self, question: str, path: Path) -> None:
        if self._may_replace:
            return
        if self._asker is None or not self._asker.confirm(question):
            raise Refused(f"{path} is there already; nothing was changed", hint="--replace, or --config FILE")


def _content(bot: ChosenBot) -> str:
    return f"{bot.token.reveal()}\n"
