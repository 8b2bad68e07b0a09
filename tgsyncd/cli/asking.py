# SPDX-License-Identifier: MIT
"""Questions to the person at the terminal, on standard error: standard output is for results."""

from __future__ import annotations

import sys
from typing import Protocol

import click

from tgsyncd.cli.runner import interruptible


class Asker(Protocol):
    """
    Somebody who can be asked.

    Each question may raise click.Abort (end of input) and Interrupted (a signal).
    """

    @property
    def is_there(self) -> bool:
        """Whether there is anybody to ask."""
        ...

    def text(self, question: str) -> str:
        """Return one line without blanks around it; it may be empty."""
        ...

    def secret(self, question: str) -> str:
        """Return one line that is not shown while it is typed; it may be empty."""
        ...

    def confirm(self, question: str) -> bool:
        """Return yes or no; an empty answer is no."""
        ...


class TerminalAsker:
    """The terminal of this process. Blocks the reactor: nothing else goes on while a person thinks."""

    @property
    def is_there(self) -> bool:
        """Whether both input and questions are at a terminal."""
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def text(self, question: str) -> str:
        """Ask for a line."""
        with interruptible(_end_line):
            return str(click.prompt(question, default="", show_default=False, err=True)).strip()

    def secret(self, question: str) -> str:
        """Ask for a line with the terminal's echo off."""
        with interruptible(_end_line):
            answer = click.prompt(question, default="", show_default=False, hide_input=True, err=True)
            return str(answer).strip()

    def confirm(self, question: str) -> bool:
        """Ask yes or no."""
        with interruptible(_end_line):
            return bool(click.confirm(question, default=False, err=True))


def _end_line() -> None:
    click.echo(err=True)
