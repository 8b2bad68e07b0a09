# SPDX-License-Identifier: MIT
"""Readers that wait for the same thing to happen."""

from __future__ import annotations

from twisted.internet.defer import Deferred


class Waiters:
    """Any number of coroutines that are woken together; each may be cancelled by itself."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []

    async def wait(self) -> None:
        """Wait until the next ``wake``."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def wake(self) -> None:
        """Let all go on that wait now."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.called:
                waiter.callback(None)
