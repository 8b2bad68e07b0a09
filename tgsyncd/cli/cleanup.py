# SPDX-License-Identifier: MIT
"""``tgsyncd cleanup``: free what nobody needs any more."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.options import Source, as_json, configured

if TYPE_CHECKING:
    from tgsyncd.cli.shell import Shell
    from tgsyncd.daemon import Application


@click.command("cleanup")
@click.option(
    "--hours",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="Keep what was used or replaced within this many hours.",
)
@as_json
@configured
def command(shell: Shell, source: Source, *, hours: float, json_output: bool) -> int:
    """Free what nobody needs any more: replaced revisions, old cache entries, deletions still owed."""
    config = source.load(shell).config

    async def task(application: Application, _reactor: Any) -> int:
        report = dataclasses.asdict(await application.cleanup(hours))
        if json_output:
            shell.say_json(report)
            return 0
        for name, value in report.items():
            shell.say(f"{name.replace('_', ' ')}: {value}")
        return 0

    return shell.work(config, task)
