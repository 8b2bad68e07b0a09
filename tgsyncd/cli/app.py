# SPDX-License-Identifier: MIT
"""The command ``tgsyncd``: its verbs, and what becomes of errors."""

from __future__ import annotations

import importlib
import traceback
from typing import TYPE_CHECKING, Any

import click

from tgsyncd import __version__
from tgsyncd.cli.runner import Interrupted
from tgsyncd.errors import TgsyncdError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.cli.shell import Shell

VERBS = {
    "upload": "Store videos and publish them.",
    "run": "Run unattended: watch folders, store what is new, serve players.",
    "scan": "Look through the source folders now; without a daemon: list what would be done.",
    "status": "Show what the running daemon does, what waits, and why.",
    "serve": "Serve stored videos to players.",
    "list": "List the videos.",
    "delete": "Delete a video: its documents, its rows, its published files.",
    "auth": "Say who may play; revoke the URLs that were given out; make an admin token.",
    "catalog": "Back the catalog up, list its copies, go back to one.",
    "cleanup": "Free what nobody needs any more.",
    "db-stats": "Show what the catalog holds.",
    "check": "Compare catalog, libraries and store; change nothing.",
    "repair": "Mend what a check finds, as far as it can be derived.",
    "restore": "Get a video back from the store, as an ordinary file.",
    "demo": "Show everything at work on one video.",
    "config": "Check, show or write a configuration.",
    "doctor": "Check this machine: ffmpeg, disk, rights, port, address, Telegram.",
    "telegram": "Set Telegram up as the store.",
    "install-service": "Make tgsyncd a systemd service of this machine.",
}
"""Every verb with its short help. A verb's module is imported when it is run: starting takes half as long."""

EXIT_CODES = {
    0: "All went well.",
    1: "What has no code of its own, such as a folder that cannot be written; a traceback is our fault.",
    2: "The configuration or the command line is wrong.",
    3: "No such video.",
    4: "tgsyncd refuses: a lock, a newer catalog, a file in the way.",
    5: "Something is wrong with a source file.",
    6: "ffmpeg or ffprobe failed, is missing or took too long.",
    7: "The disk is full, or would be.",
    8: "The catalog is damaged or cannot be written.",
    9: "The store failed.",
    10: "A check found a problem (check, repair, doctor, telegram setup, demo --once).",
    130: "Stopped by Ctrl-C (SIGINT).",
    143: "Stopped by SIGTERM.",
}
FOUND_PROBLEMS = 10


class _Verbs(click.Group):
    """The group of all verbs, each loaded from ``tgsyncd.cli.<verb>`` when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  click's signature
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"tgsyncd.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  click's signature
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in EXIT_CODES.items()])
            formatter.write_text("Treat a code that is not listed here as a failure.")


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tgsyncd")
def cli() -> None:
    """
    Keep videos in a Telegram chat and play them in Jellyfin.

    A video is cut into an HLS stream, stored as documents, published as a .strm file in a Jellyfin
    library, and served to any player when somebody presses Play.
    """


def run_command_line(arguments: Sequence[str], shell: Shell) -> int:
    """Run one command and return its exit code. Every error ends here, as a sentence for the user."""
    try:
        result: Any = cli.main(list(arguments), prog_name="tgsyncd", obj=shell, standalone_mode=False)
    except Exception as error:  # noqa: BLE001  the outermost frame: nothing may be left unsaid
        return _report(error, shell)
    return result if isinstance(result, int) else 0


def _report(error: Exception, shell: Shell) -> int:
    """Tell the user; return the exit code."""
    if isinstance(error, Interrupted):
        return error.exit_code
    if isinstance(error, click.exceptions.Abort):
        return 130
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, TgsyncdError):
        shell.show_error(error)
        return error.exit_code
    shell.note("".join(traceback.format_exception(error)))
    shell.note("error: this is a fault of tgsyncd; the lines above say where")
    return 1
