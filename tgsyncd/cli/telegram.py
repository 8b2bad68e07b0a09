# SPDX-License-Identifier: MIT
"""``tgsyncd telegram``: set Telegram up as the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.telegram_words import parse_chat, server_urls
from tgsyncd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.cli.shell import Shell
    from tgsyncd.stores.telegram.check import Finding
    from tgsyncd.stores.telegram.settings import TelegramSettings

CLOUD = "https://api.telegram.org"


def _read_chats(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Read a chat's number, or a link that contains it; one, several or none."""
    try:
        if isinstance(value, tuple):
            return tuple(map(parse_chat, value))
        return None if value is None else parse_chat(value)
    except ConfigError as error:
        raise click.BadParameter(str(error), context, option) from error


@click.group("telegram")
def command() -> None:
    """Set Telegram up as the store."""


@command.command("setup")
@click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="TGSYNCD_CONFIG",
    help="The file to write. [default: the one in use, else ~/.config/tgsyncd/tgsyncd.yaml]",
)
@click.option(
    "--token-file",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File (mode 0600) with a bot's token, used where it is. Repeat for several bots.",
)
@click.option(
    "--bot-token",
    multiple=True,
    envvar="TGSYNCD_BOT_TOKEN",
    metavar="TOKEN",
    help="Token of a bot, put into a file beside the configuration; others can see it in the process list.",
)
@click.option(
    "--chat-id",
    multiple=True,
    callback=_read_chats,
    envvar="TGSYNCD_CHAT_ID",
    help="Chat that holds the documents: -100…, or the link of one of its messages. Repeat for several.",
)
@click.option("--scratch-chat", callback=_read_chats, help="Chat in which bots show documents to each other.")
@click.option(
    "--base-url",
    default=CLOUD,
    envvar="TGSYNCD_TELEGRAM_BASE_URL",
    help="Another Bot API server: your own, or the emulator.  [default: https://api.telegram.org]",
)
@click.option("--local-mode", is_flag=True, help="The server at --base-url was started with --local.")
@click.option("--replace", is_flag=True, help="Replace the sections of a file that is there, without asking.")
@click.option("--save-anyway", is_flag=True, help="Write even though a check found a problem.")
@click.option("--no-input", is_flag=True, help="Ask nothing; what is missing is an error.")
@click.option("-v", "--verbose", count=True, help="Log more: -v what happens, -vv everything.")
@click.pass_obj
def setup(shell: Shell, /, **options: Any) -> int:
    """
    Make Telegram the store, step by step: the bots, the chat, the check, the configuration.

    Asks for what the options below do not give, says how to make it in Telegram, checks it as doctor
    does, and writes the configuration, and each token into a file that only you can read. Of a
    configuration that is there only the sections store and telegram are replaced.
    """
    _guard_tokens(shell, options["bot_token"])
    shell.begin_log(shell, options["verbose"])
    config_path: Path | None = options["config_path"]

    async def main(reactor: Any) -> int:
        from tgsyncd.cli.telegram_checks import ask_telegram
        from tgsyncd.cli.telegram_setup import Given, Setup
        from tgsyncd.cli.telegram_target import Target

        async def check(settings: TelegramSettings, *, round_trip: bool) -> Sequence[Finding]:
            return await ask_telegram(settings, reactor=reactor, round_trip=round_trip)

        base_url, base_file_url = server_urls(options["base_url"])
        asker = None if options["no_input"] or not shell.asker.is_there else shell.asker
        given = Given(
            tokens=options["bot_token"],
            token_files=tuple(_absolute(shell, path) for path in options["token_file"]),
            chats=options["chat_id"],
            scratch_chat=options["scratch_chat"],
            base_url=base_url,
            base_file_url=base_file_url,
            local_mode=options["local_mode"],
            save_anyway=options["save_anyway"],
        )
        path = _absolute(shell, config_path) if config_path else None
        target = Target(shell, asker, path, may_replace=options["replace"])
        return await Setup(shell, asker, given, target=target, check=check).run()

    return shell.run(main, shell)


def _guard_tokens(shell: Shell, tokens: Sequence[str]) -> None:
    shell.redactor.add(*tokens)
    # Read already; a child process shall not inherit it.
    shell.environ.pop("TGSYNCD_BOT_TOKEN", None)
    source = click.get_current_context().get_parameter_source("bot_token")
    if source is click.core.ParameterSource.COMMANDLINE:
        shell.warn("every user of this machine can see a token on the command line (ps); use --token-file")


def _absolute(shell: Shell, path: Path) -> Path:
    return shell.folder / path.expanduser()
