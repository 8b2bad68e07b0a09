# SPDX-License-Identifier: MIT
"""What the store remembers over restarts: limits learned, and up to where its uploads are accounted for."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThread

from tgsyncd.stores.telegram.late import LateUpload, parse_late, render_late
from tgsyncd.stores.telegram.limits import LimitsState, PairState
from tgsyncd.stores.telegram.marks import Ticket

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The state that is kept. All of it may be lost: then it is learned anew."""

    limits: LimitsState = field(default_factory=LimitsState)
    highest: Mapping[int, int] = field(default_factory=dict)
    """chat_id to the highest message id that was known there."""
    tickets: tuple[Ticket, ...] = ()
    """Uploads begun lately, and from where on to look for them."""
    late: tuple[LateUpload, ...] = ()
    """Uploads that may arrive still."""


class Memory(Protocol):
    """Where ``Remembered`` is kept."""

    def load(self) -> Remembered:
        """Return what was saved last; an empty value when that is nothing or unreadable."""
        ...

    async def save(self, remembered: Remembered) -> None:
        """Replace what was saved. Never raises: losing it costs a few requests."""
        ...


class NoMemory:
    """Remembers nothing: for tools that run once."""

    def load(self) -> Remembered:
        """Return an empty value."""
        return Remembered()

    async def save(self, remembered: Remembered) -> None:
        """Do nothing."""


class FileMemory:
    """A small JSON file, replaced atomically (written in a thread)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = DeferredLock()

    def load(self) -> Remembered:
        """Read the file; one that is missing, torn or foreign counts as empty."""
        try:
            return parse_remembered(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Remembered()

    async def save(self, remembered: Remembered) -> None:
        """Write the file beside itself and rename it."""
        text = render_remembered(remembered)
        saving: Deferred[None] = self._lock.run(deferToThread, self._replace, text)
        await saving

    def _replace(self, text: str) -> None:
        temporary = self._path.with_name(f"{self._path.name}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError:  # a full disk: the next save may succeed, and none is needed
            temporary.unlink(missing_ok=True)


def render_remembered(remembered: Remembered) -> str:
    """Return the file's text."""
    return json.dumps(
        {
            "version": _VERSION,
            "pairs": [
                {
                    "bot": pair.bot_id,
                    "chat": pair.chat_id,
                    "arrived": list(pair.arrived_at_s),
                    "blocked": [pair.blocked_at_s, pair.blocked_until_s],
                }
                for pair in remembered.limits.pairs
            ],
            "shared": [list(item) for item in remembered.limits.shared_until_s],
            "highest": {str(chat): message for chat, message in remembered.highest.items()},
            "late": [render_late(late) for late in remembered.late],
            "tickets": [[ticket.intent_id, ticket.chat_id, ticket.floor] for ticket in remembered.tickets],
        },
        separators=(",", ":"),
    )


def parse_remembered(text: str) -> Remembered:
    """Return what a file says. Raises ValueError for what ``render_remembered`` did not write."""
    try:
        data = json.loads(text)
        if data["version"] != _VERSION:
            raise ValueError(f"version {data['version']!r}")
        return Remembered(
            limits=LimitsState(
                pairs=tuple(_pair(item) for item in data["pairs"]),
                shared_until_s=tuple((int(chat), float(at)) for chat, at in data["shared"]),
            ),
            highest={int(chat): int(message) for chat, message in data["highest"].items()},
            tickets=tuple(
                Ticket(intent_id=int(intent), chat_id=int(chat), floor=int(floor))
                for intent, chat, floor in data["tickets"]
            ),
            late=tuple(parse_late(item) for item in data.get("late", ())),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not written by us: {error!r}") from error


def _pair(item: Any) -> PairState:
    blocked_at_s, blocked_until_s = item["blocked"]
    return PairState(
        bot_id=int(item["bot"]),
        chat_id=int(item["chat"]),
        arrived_at_s=tuple(float(at) for at in item["arrived"]),
        blocked_at_s=float(blocked_at_s),
        blocked_until_s=float(blocked_until_s),
    )
