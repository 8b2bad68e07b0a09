# SPDX-License-Identifier: MIT
"""What a verb is given of the world: where to write, what to read, how to run. Tests give their own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Coroutine, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tgsyncd.cli.asking import Asker, TerminalAsker
from tgsyncd.cli.text import printable_lines
from tgsyncd.config.load import own_addresses
from tgsyncd.logs import Redactor

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from tgsyncd.catalog.catalog import Catalog
    from tgsyncd.config.hosts import InterfaceAddress
    from tgsyncd.config.schema import Config
    from tgsyncd.daemon import Application
    from tgsyncd.errors import TgsyncdError

Main = Callable[[Any], Coroutine["Deferred[Any]", Any, int]]
"""A verb's work: given the reactor, it returns the exit code."""


@dataclass(slots=True)
class Lines:
    """Where a daemon's notes go, which are lines of its log: level and text. None: to standard error."""

    write: Callable[[str, str], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """The outside world of one command."""

    out: Console
    err: Console
    environ: MutableMapping[str, str]
    home: Path
    folder: Path
    """The current directory: what relative paths on the command line are relative to."""
    run: Callable[[Main, Shell], int]
    open_application: Callable[[Any, Config], Coroutine[Deferred[Any], Any, Application]]
    open_catalog: Callable[[Any, Config], Coroutine[Deferred[Any], Any, Catalog | None]]
    begin_log: Callable[[Shell, int], None]
    addresses: Callable[[], tuple[InterfaceAddress, ...]] = own_addresses
    asker: Asker = field(default_factory=TerminalAsker)
    """Who answers questions."""
    lines: Lines = field(default_factory=Lines)
    redactor: Redactor = field(default_factory=Redactor)
    """Knows the secrets as soon as they are read; nothing on standard error holds one."""

    def work(
        self, config: Config, task: Callable[[Application, Any], Coroutine[Deferred[Any], Any, int]]
    ) -> int:
        """Open the application under the reactor, run the task, close it again; return the exit code."""

        async def main(reactor: Any) -> int:
            application = await self.open_application(reactor, config)
            try:
                return await task(application, reactor)
            finally:
                await application.close()

        return self.run(main, self)

    def look(
        self, config: Config, task: Callable[[Catalog | None, Any], Coroutine[Deferred[Any], Any, int]]
    ) -> int:
        """Run the task with the catalog, opened for reading alone; None when there is none yet."""

        async def main(reactor: Any) -> int:
            catalog = await self.open_catalog(reactor, config)
            try:
                return await task(catalog, reactor)
            finally:
                if catalog is not None:
                    await catalog.close()

        return self.run(main, self)

    def say(self, text: str = "") -> None:
        """Write a line of result to standard output, unwrapped: paths and URLs are there to be copied."""
        self.out.print(printable_lines(text), markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Write a warning to standard error."""
        if self.lines.write is not None:
            self.note(text, level="warn")
        else:
            self.note(f"warning: {text}")

    def note(self, text: str, *, level: str = "info") -> None:
        """Write a line that is not a result to standard error, or to a daemon's log."""
        text = printable_lines(self.redactor.redact(text))
        if self.lines.write is not None:
            self.lines.write(level, "; ".join(line.strip() for line in text.splitlines()))
            return
        self.err.print(text, markup=False, highlight=False, soft_wrap=True)

    def show_error(self, error: TgsyncdError) -> None:
        """Write an error and its remedy to standard error, or to a daemon's log."""
        if self.lines.write is not None:
            self.note(str(error), level="error")
            return
        self.note(f"error: {error.message}")
        if error.hint:
            self.note(f"  {error.hint}")

    def say_json(self, value: object) -> None:
        """Write one JSON value to standard output."""
        text = json.dumps(value, indent=2, ensure_ascii=True, default=str)
        self.out.file.write(text + "\n")
        self.out.file.flush()


async def _open_application(reactor: Any, config: Config) -> Application:
    # Here and not above: it imports everything, which `tgsyncd --help` need not wait for.
    from tgsyncd.daemon import Application

    return await Application.open(reactor, config)


async def _open_catalog(reactor: Any, config: Config) -> Catalog | None:
    from tgsyncd.assembly import WallClock
    from tgsyncd.catalog.catalog import Catalog
    from tgsyncd.errors import NotFound

    try:
        return await Catalog.open(
            config.catalog_path, reactor=reactor, clock=WallClock(reactor), read_only=True
        )
    except NotFound:
        return None


def process_shell() -> Shell:
    """Return the shell of this process."""
    from tgsyncd.cli.logs import begin_log
    from tgsyncd.cli.runner import run_under_reactor

    # File names may hold bytes that are no UTF-8; a name must not stop the line that reports it.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return Shell(
        out=Console(file=sys.stdout),
        err=Console(file=sys.stderr),
        environ=os.environ,
        home=Path.home(),
        folder=Path.cwd(),
        run=run_under_reactor,
        open_application=_open_application,
        open_catalog=_open_catalog,
        begin_log=begin_log,
    )
