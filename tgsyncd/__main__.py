# SPDX-License-Identifier: MIT
"""Install the asyncio reactor, and only then import the rest: importing Klein installs the default one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Run the command line and exit with its code."""
    from twisted.internet import asyncioreactor

    install: Callable[[], None] = asyncioreactor.install
    install()
    from twisted.internet import reactor

    from tgsyncd.bridge import use_steady_time

    use_steady_time(reactor)
    from tgsyncd.cli.app import run_command_line
    from tgsyncd.cli.shell import process_shell

    sys.exit(run_command_line(sys.argv[1:], process_shell()))


if __name__ == "__main__":
    main()
