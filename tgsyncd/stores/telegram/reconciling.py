# SPDX-License-Identifier: MIT
"""The next start after a kill: it finds out what became of the uploads that were under way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from tgsyncd.errors import StoreUnavailable
from tgsyncd.stores.telegram.late import LATEST_ARRIVAL_S
from tgsyncd.stores.telegram.orphans import match_label

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tgsyncd.model import DocumentLabel, DocumentRef
    from tgsyncd.ports import Clock
    from tgsyncd.stores.telegram.late import LateUpload, LateUploads
    from tgsyncd.stores.telegram.marks import Marks, Ticket
    from tgsyncd.stores.telegram.orphans import Orphan, Orphans
    from tgsyncd.stores.telegram.uploading import IntentLog, Uploads


class OpenIntent(Protocol):
    """An upload that began and was not recorded, as the catalog keeps it."""

    @property
    def intent_id(self) -> int:
        """Its id."""
        ...

    @property
    def label(self) -> DocumentLabel:
        """What was uploaded."""
        ...

    @property
    def chat_id(self) -> int:
        """Where to."""
        ...

    @property
    def begun_at_s(self) -> float:
        """When, in seconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What became of the uploads that a kill interrupted."""

    adopted: tuple[DocumentRef, ...] = ()
    """Found: the next ``put`` of the same label returns them without sending."""
    deleted: int = 0
    """Doubles, and documents that nobody wants any more."""
    absent: int = 0
    """Never arrived."""


class Reconciliation:
    """Finds, adopts, deletes; has ``put`` wait meanwhile."""

    def __init__(
        self,
        *,
        marks: Marks,
        orphans: Orphans,
        uploads: Uploads,
        intents: IntentLog,
        late: LateUploads,
        clock: Clock,
    ) -> None:
        self._marks = marks
        self._orphans = orphans
        self._uploads = uploads
        self._intents = intents
        self._late = late
        self._clock = clock
        self._waiting: dict[DocumentLabel, list[Deferred[None]]] = {}
        self._adopted: dict[DocumentLabel, DocumentRef] = {}

    async def take_adopted(self, label: DocumentLabel) -> DocumentRef | None:
        """Return what was found of this upload, once; wait while it is being looked for."""
        waiters = self._waiting.get(label)
        if waiters is not None:
            waiter: Deferred[None] = Deferred()
            waiters.append(waiter)
            await waiter
        return self._adopted.pop(label, None)

    async def run(
        self,
        intents: Sequence[OpenIntent],
        is_wanted: Callable[[DocumentLabel], bool],
        is_recorded: Callable[[int, int], bool],
    ) -> Reconciled:
        """Do it: ``TelegramStore.reconcile``."""
        labels = list(dict.fromkeys(intent.label for intent in intents))
        for label in labels:
            self._waiting.setdefault(label, [])
        try:
            found = await self._find(self._attempts(intents), is_recorded)
            result = await self._sort_out(intents, found, is_wanted)
        except StoreUnavailable:
            for label in labels:
                self._uploads.note_doubtful(
                    label,
                    [self._ticket(intent) for intent in intents if intent.label == label],
                )
            raise
        finally:
            self._release()
        return result

    async def _find(
        self, attempts: Sequence[LateUpload], is_recorded: Callable[[int, int], bool]
    ) -> Sequence[Orphan]:
        found: list[Orphan] = []
        for chat_id in sorted({attempt.chat_id for attempt in attempts}):
            here = [attempt for attempt in attempts if attempt.chat_id == chat_id]
            labels = [attempt.label for attempt in here]
            floor = min(attempt.floor for attempt in here)
            newest = await self._orphans.newest(chat_id)
            found += await self._orphans.find(chat_id, labels, floor, newest, is_recorded)
        return found

    def _attempts(self, intents: Sequence[OpenIntent]) -> Sequence[LateUpload]:
        """Return what is to be looked for: open intents, and late uploads of documents that are recorded."""
        now_s = self._clock.now_s()
        late = {one.intent_id: one for one in self._late.possible(now_s)}
        for intent in intents:
            ticket = self._marks.ticket(intent.intent_id, intent.chat_id)
            late[intent.intent_id] = self._late.note(ticket, intent.label, now_s)
        return tuple(late.values())

    async def _sort_out(
        self,
        intents: Sequence[OpenIntent],
        found: Sequence[Orphan],
        is_wanted: Callable[[DocumentLabel], bool],
    ) -> Reconciled:
        wanted = {intent.label for intent in intents if is_wanted(intent.label)}
        attempts = self._attempts(intents)
        labels = list(dict.fromkeys(attempt.label for attempt in attempts))
        adopted: dict[DocumentLabel, DocumentRef] = {}
        deleted = 0
        seen: set[DocumentLabel] = set()
        for orphan in found:
            label = match_label(orphan, labels)
            if label is None:
                continue
            if label in adopted or label not in wanted:
                await self._orphans.remove(orphan)
                deleted += 1
            else:
                self._marks.note_known(orphan.stored.chat_id, orphan.stored.message_id)
                adopted[label] = orphan.ref(label)
            seen.add(label)
        await self._note_absent([intent for intent in intents if intent.label not in adopted], seen)
        self._adopted.update(adopted)
        absent = len({intent.label for intent in intents} - seen)
        return Reconciled(adopted=tuple(adopted.values()), deleted=deleted, absent=absent)

    async def _note_absent(self, intents: Sequence[OpenIntent], seen: set[DocumentLabel]) -> None:
        """
        Forget intents of which nothing can come any more; have ``put`` look once more for the others.

        The server may have the whole of a killed process's upload and be still handing it on. (The intent of
        what was adopted ends when the catalog records it: a kill may come before.)
        """
        oldest_s = self._clock.now_s() - LATEST_ARRIVAL_S
        for intent in intents:
            if intent.label in seen or intent.begun_at_s < oldest_s:
                await self._intents.forget_intent(intent.intent_id)
            else:
                self._uploads.note_late(intent.label, self._ticket(intent))

    def _ticket(self, intent: OpenIntent) -> Ticket:
        """Return where to look: what was remembered when it was first looked for, if it was."""
        ticket = self._marks.ticket(intent.intent_id, intent.chat_id)
        late = self._late.note(ticket, intent.label, self._clock.now_s())
        return replace(ticket, floor=late.floor)

    def _release(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for waiters in waiting.values():
            for waiter in waiters:
                if not waiter.called:
                    waiter.callback(None)
