# SPDX-License-Identifier: MIT
"""``python -m tests.integration.telegram_cli``: tgsyncd that hardly waits for Telegram's limits."""

from __future__ import annotations

import os
import sys

from twisted.internet import asyncioreactor

if __name__ == "__main__":
    asyncioreactor.install()  # as tgsyncd/__main__.py does, before anything imports a reactor
    from tests.integration.telegram import hurried
    from tgsyncd.cli.app import run_command_line
    from tgsyncd.cli.shell import process_shell

    if os.environ.pop("TGSYNCD_TEST_UNREDACTED", ""):
        # To see that a search for tokens would find some.
        from tgsyncd.logs import Redactor

        Redactor.redact = lambda _self, text: text

    with hurried():
        sys.exit(run_command_line(sys.argv[1:], process_shell()))
