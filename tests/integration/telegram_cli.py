# SPDX-License-Identifier: MIT
"""``python -m tests.integration.telegram_cli``: tgsyncd that hardly waits for Telegram's limits."""

from __future__ import annotations

import os
import sys

from twisted.internet import asyncioreactor

if __name__ == "__main__":
    asyncioreactor.install()  # as tgsyncd/__main__.py does, before anything imports a reactor
    # Twisted takes them away when its endpoints are imported, which the daemon does later.
    sockets = {name: text for name, text in os.environ.items() if name.startswith("LISTEN_")}
    from tests.integration.telegram import hurried
    from tgsyncd.cli.app import run_command_line
    from tgsyncd.cli.shell import process_shell

    if os.environ.pop("TGSYNCD_TEST_UNREDACTED", ""):
        # To see that a search for tokens would find some.
        from tgsyncd.logs import Redactor

        Redactor.redact = lambda _self, text: text

    os.environ.update(sockets)
    with hurried():
        sys.exit(run_command_line(sys.argv[1:], process_shell()))
