# SPDX-License-Identifier: MIT
"""``tgsyncd check``: compare catalog, libraries and store."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import click

from tgsyncd.cli.app import FOUND_PROBLEMS
from tgsyncd.cli.handing import find_daemon
from tgsyncd.cli.options import Source, as_json, configured, with_public_urls
from tgsyncd.cli.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tgsyncd.cli.shell import Shell
    from tgsyncd.daemon import Application


@click.command("check")
@click.option("--read", is_flag=True, help="Read every document back from the store and compare it.")
@click.option("--video-id", help="Look at this video only.")
@as_json
@configured
def command(shell: Shell, source: Source, *, read: bool, video_id: str | None, json_output: bool) -> int:
    """
    Compare the catalog with itself, with the libraries and with the store; change nothing.

    With a directory store each document must be there; in Telegram that costs messages, and only --read asks.
    Exit code 10 when something is wrong.
    """
    return examine(shell, source, "check", {"read": read, "video_id": video_id}, json_output=json_output)


def examine(
    shell: Shell,
    source: Source,
    what: Literal["check", "repair"],
    question: Mapping[str, Any],
    *,
    json_output: bool,
) -> int:
    """Let the daemon do it, or do it here; return the exit code."""
    loaded = source.load(shell)
    config = loaded.config

    def show(event: Mapping[str, Any]) -> None:
        if not json_output and "finding" in event:
            shell.say(render_finding(event["finding"]))

    daemon = find_daemon(config.data_dir)
    if daemon is not None:
        return _conclude(shell, daemon.ask(f"/{what}", question, show), json_output=json_output)
    if what == "repair":
        config = with_public_urls(shell, loaded, host=None)

    async def task(application: Application, reactor: Any) -> int:
        from tgsyncd.catalog.lock import CatalogLock
        from tgsyncd.service.examining import Examining

        examining = Examining(application, reactor=reactor)
        work = examining.repair if what == "repair" else examining.check
        with CatalogLock(config.catalog_path) if what == "repair" else nullcontext():
            report = await work(question, show)
        return _conclude(shell, report, json_output=json_output)

    return shell.work(config, task)


def render_finding(finding: Mapping[str, Any]) -> str:
    """Return a finding as one line."""
    video = f"{finding['video_id']}: " if finding["video_id"] else ""
    return printable(f"{finding['kind']:18} {video}{finding['words']}")


def _conclude(shell: Shell, report: Mapping[str, Any], *, json_output: bool) -> int:
    if json_output:
        shell.say_json(report)
    else:
        for each in report["repairs"]:
            done = "mended" if each["is_done"] else "NOT mended"
            shell.say(printable(f"{done}: {each['video_id']}: {each['words']}"))
        seen = (
            f"{report['videos']} videos, {report['files']} published files, {report['documents']} documents"
        )
        shell.say(f"{seen}; {report['left'] or 'no'} problem{'' if report['left'] == 1 else 's'}")
    return FOUND_PROBLEMS if report["left"] else 0
