# SPDX-License-Identifier: MIT
"""What all parts of the store share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.stores.telegram.waiting import Patience

if TYPE_CHECKING:
    from random import Random

    from twisted.internet.interfaces import IReactorTime

    from tgsyncd.ports import Clock
    from tgsyncd.stores.telegram.fleet import Fleet
    from tgsyncd.stores.telegram.limits import Limits
    from tgsyncd.stores.telegram.sending import Sender
    from tgsyncd.stores.telegram.settings import TelegramSettings
    from tgsyncd.stores.throttle import Throttle


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Settings, bots, budgets, the queue, and the two clocks: one to wait by, one that is remembered."""

    settings: TelegramSettings
    fleet: Fleet
    limits: Limits
    sender: Sender
    timer: IReactorTime
    clock: Clock
    random: Random
    throttle: Throttle | None = None
    """Keeps uploads below a limit."""

    def patience(self) -> Patience:
        """Return a fresh count of failures."""
        return Patience(self.timer, self.random, self.settings.patience_s)
