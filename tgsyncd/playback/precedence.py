# SPDX-License-Identifier: MIT
"""Playback goes before ingest: who stores or reads back a document lets those who wait for bytes go first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.task import deferLater

from tgsyncd.playback.policy import shall_give_way

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

LOOK_EVERY_S = 0.25


class Precedence:
    """Lets the ingest wait while ``count_waiting`` says that readers wait, and never longer than it says."""

    def __init__(self, reactor: IReactorTime, count_waiting: Callable[[], int]) -> None:
        self._reactor = reactor
        self._count_waiting = count_waiting
        self.waited_s = 0.0
        """By all that asked, in all."""

    async def give_way(self, limit_s: float) -> float:
        """Wait while somebody waits for bytes to play, at most ``limit_s``; return how long that was."""
        since_s = self._reactor.seconds()
        waited_s = 0.0
        while shall_give_way(waiting=self._count_waiting(), waited_s=waited_s, limit_s=limit_s):
            await deferLater(self._reactor, min(LOOK_EVERY_S, limit_s - waited_s))
            waited_s = self._reactor.seconds() - since_s
        self.waited_s += waited_s
        return waited_s
