# SPDX-License-Identifier: MIT
"""
Uploads that nobody answered for and that may arrive still. Pure.

The server may have the whole of an upload, take a minute to hand it on, and answer a connection that is gone.
Looked for too soon, it is not there; and when the document was stored again meanwhile, or found from another
attempt, the catalog knows of no upload that is open. So these attempts are remembered, over restarts, until
one search has looked for them when they could arrive no more.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tgsyncd.model import DocumentLabel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tgsyncd.stores.telegram.marks import Ticket

LATEST_ARRIVAL_S = 3600.0
"""``TelegramSettings.upload_limit_s``: what was begun longer ago has arrived or never will."""

GIVEN_UP_S = 86_400.0
"""A chat that cannot be searched for so long is gone, or nobody's any more."""

KEPT_LATE = 200
"""Attempts, some 400 bytes each in the state file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LateUpload:
    """An attempt, and above which message id it can be."""

    intent_id: int
    chat_id: int
    floor: int
    noted_at_s: float
    label: DocumentLabel


class LateUploads:
    """The attempts that are to be looked for."""

    def __init__(self, known: Iterable[LateUpload] = ()) -> None:
        self._known = OrderedDict((late.intent_id, late) for late in known)

    @property
    def known(self) -> tuple[LateUpload, ...]:
        """All, the oldest first; to be kept over restarts."""
        return tuple(self._known.values())

    def note(self, ticket: Ticket, label: DocumentLabel, now_s: float) -> LateUpload:
        """
        Remember an attempt and return it; the oldest are forgotten when there are too many.

        One that is remembered keeps its floor: the ticket's may be a guess, from the highest id that was
        saved, and a search that a kill interrupted has sent messages above it.
        """
        known = self._known.get(ticket.intent_id)
        if known is not None and known.label == label:
            return known
        late = self._known[ticket.intent_id] = LateUpload(
            intent_id=ticket.intent_id,
            chat_id=ticket.chat_id,
            floor=ticket.floor,
            noted_at_s=now_s,
            label=label,
        )
        while len(self._known) > KEPT_LATE:
            self._known.popitem(last=False)
        return late

    def forget(self, intent_id: int) -> None:
        """Note that the attempt is accounted for."""
        self._known.pop(intent_id, None)

    def note_looked_for(self, attempts: Iterable[LateUpload], newest: int, began_at_s: float) -> None:
        """
        Note a search that left nothing of these attempts below the message id ``newest``.

        Ids only rise: what arrives later stands above. What cannot arrive any more is forgotten.
        """
        for attempt in attempts:
            known = self._known.get(attempt.intent_id)
            if known is None:
                continue
            if _is_over(known, began_at_s):
                del self._known[known.intent_id]
            else:
                self._known[known.intent_id] = replace(known, floor=max(known.floor, newest))

    def give_up(self, chat_id: int, now_s: float) -> None:
        """Forget the attempts of long ago in a chat that cannot be searched."""
        for late in self.known:
            if late.chat_id == chat_id and abs(now_s - late.noted_at_s) >= GIVEN_UP_S:
                del self._known[late.intent_id]


def _is_over(late: LateUpload, now_s: float) -> bool:
    # One from the future was noted before the clock was set back.
    return not now_s - LATEST_ARRIVAL_S < late.noted_at_s <= now_s + LATEST_ARRIVAL_S


def render_late(late: LateUpload) -> dict[str, Any]:
    """Return it for JSON."""
    return asdict(late)


def parse_late(item: Mapping[str, Any]) -> LateUpload:
    """Return what ``render_late`` wrote. Raises KeyError, TypeError, ValueError."""
    return LateUpload(
        intent_id=int(item["intent_id"]),
        chat_id=int(item["chat_id"]),
        floor=int(item["floor"]),
        noted_at_s=float(item["noted_at_s"]),
        label=DocumentLabel(**item["label"]),
    )
