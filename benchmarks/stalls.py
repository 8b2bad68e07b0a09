# SPDX-License-Identifier: MIT
"""How long the reactor is held by something."""

from __future__ import annotations

import time
from typing import Any

PERIOD_S = 0.002


class Stalls:
    """
    Asks for a turn of the reactor each 2 ms and remembers how late the latest was.

    What it sees on a machine where others work includes their turns: compare with ``idle``.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._call: Any = None
        self._longest_s = 0.0

    def begin(self) -> None:
        self._longest_s = 0.0
        self._ask()

    def end(self) -> float:
        """Stop; return the longest time in seconds."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        return self._longest_s

    def _ask(self) -> None:
        self._asked = time.perf_counter()
        self._call = self._reactor.callLater(PERIOD_S, self._came)

    def _came(self) -> None:
        self._longest_s = max(self._longest_s, time.perf_counter() - self._asked - PERIOD_S)
        self._ask()
