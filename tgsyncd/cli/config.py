# SPDX-License-Identifier: MIT
"""``tgsyncd config``: check, show or write a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tgsyncd.cli.options import Source, as_json, configured
from tgsyncd.config.hosts import choose_public_urls
from tgsyncd.config.reference import render_example, render_reference

if TYPE_CHECKING:
    from tgsyncd.cli.shell import Shell


@click.group("config")
def command() -> None:
    """Check, show or write a configuration."""


@command.command("check")
@as_json
@configured
def check(shell: Shell, source: Source, *, json_output: bool) -> int:
    """
    Read the configuration and say what is wrong with it.

    All problems are named at once, each with its option, its line and what is allowed. Secrets are read
    too, and server.public_urls must be addresses that other machines can open. Nothing is changed.
    """
    loaded = source.load(shell)
    urls = choose_public_urls(
        loaded.config.server.public_urls, shell.addresses(), port=loaded.config.server.port
    )
    if json_output:
        shell.say_json(
            {
                "path": str(loaded.path) if loaded.path else None,
                "warnings": list(loaded.warnings),
                "public_urls": list(urls),
                "config": loaded.config.model_dump(mode="json"),
            }
        )
        return 0
    shell.say(f"{loaded.path or 'the defaults'}: no problems")
    shell.say(f"players are given {urls[0]}")
    return 0


@command.command("show")
@configured
def show(shell: Shell, source: Source) -> int:
    """Print the configuration in effect as JSON: file, variables and flags together, without secrets."""
    shell.say_json(source.load(shell).config.model_dump(mode="json"))
    return 0


@command.command("reference")
@click.pass_obj
def reference(shell: Shell) -> int:
    """Print all options, their defaults and their environment variables as Markdown tables."""
    shell.out.file.write(render_reference())
    return 0


@command.command("example")
@click.pass_obj
def example(shell: Shell) -> int:
    """Print a configuration file with every option, its default and its meaning."""
    shell.out.file.write(render_example())
    return 0
