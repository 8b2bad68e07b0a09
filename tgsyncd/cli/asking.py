# SPDX-License-Identifier: MIT
"""Questions to the person at the terminal, on standard error: standard output is for results."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from tgsyncd.cli.runner import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


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
        with _interruptible():
            return str(click.prompt(question, default="", show_default=False, err=True)).strip()

    def secret(self, question: str) -> str:
        """Ask for a line with the terminal's echo off."""
        with _interruptible():
            answer = click.prompt(question, default="", show_default=False, hide_input=True, err=True)
            return str(answer).strip()

    def confirm(self, question: str) -> bool:
        """Ask yes or no."""
        with _interruptible():
            return bool(click.confirm(question, default=False, err=True))


@contextmanager
def _interruptible() -> Iterator[None]:
    """
    Let a signal end a read that waits.

    The runner's handlers only note the signal for the reactor, and Python then goes on reading.
    """

    def interrupt(number: int, _frame: FrameType | None) -> None:
        click.echo(err=True)
        raise Interrupted(number)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
