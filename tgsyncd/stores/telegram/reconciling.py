# SPDX-License-Identifier: MIT
"""
What became of uploads that nobody answered for.

The next start after a kill finds out, and a process that goes on looks now and then for what arrives late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from tgsyncd.errors import StoreUnavailable
from tgsyncd.stores.telegram.late import LATEST_ARRIVAL_S

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
    """Doubles, and documents that nobody wants any more: also of uploads that are recorded."""
    absent: int = 0
    """Never arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """What was looked for in one chat, below which message id, and what was found."""

    attempts: Sequence[LateUpload]
    newest: int
    found: Sequence[Orphan]


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
    ) -> Reconciled:
        """Do it: ``TelegramStore.reconcile``."""
        labels = list(dict.fromkeys(intent.label for intent in intents))
        for label in labels:
            self._waiting.setdefault(label, [])
        began_at_s = self._clock.now_s()
        try:
            attempts = self._attempts(intents)
            searches = [
                await self._search(chat_id, lambda: attempts)
                for chat_id in sorted({attempt.chat_id for attempt in attempts})
            ]
            result = await self._sort_out(intents, searches, is_wanted, began_at_s)
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

    async def sweep(self) -> int:
        """
        Delete what has arrived late of documents that are stored otherwise; return how many that were.

        A chat that cannot be searched now is searched by the next.
        """
        deleted = 0
        for chat_id in sorted({late.chat_id for late in self._settled()}):
            began_at_s = self._clock.now_s()
            try:
                search = await self._search(chat_id, self._settled)
            except StoreUnavailable:
                self._late.give_up(chat_id, began_at_s)
                continue
            removed = [await self._orphans.remove(orphan) for orphan in search.found]
            deleted += sum(removed)
            if all(removed):
                self._late.note_looked_for(search.attempts, search.newest, began_at_s)
        return deleted

    async def _search(self, chat_id: int, attempts: Callable[[], Sequence[LateUpload]]) -> _Search:
        """
        Look for attempts in a chat. Raises StoreUnavailable.

        ``attempts`` is asked when it is known up to where to look: nothing that begins then is found.
        """
        newest = await self._orphans.newest(chat_id)
        here = [attempt for attempt in attempts() if attempt.chat_id == chat_id]
        floor = min((attempt.floor for attempt in here), default=newest)
        found = await self._orphans.find(chat_id, [attempt.label for attempt in here], floor, newest)
        return _Search(attempts=here, newest=newest, found=found)

    def _settled(self) -> Sequence[LateUpload]:
        """Return the attempts whose document is another message: recorded, or known to this process."""
        return [
            late
            for late in self._late.known
            if late.label not in self._waiting
            and late.label not in self._adopted
            and self._uploads.is_settled(late.label)
        ]

    def _attempts(self, intents: Sequence[OpenIntent]) -> Sequence[LateUpload]:
        """Return what is to be looked for: open intents, and late uploads of documents that are recorded."""
        attempts = {one.intent_id: one for one in self._late.known}
        for intent in intents:
            ticket = self._marks.ticket(intent.intent_id, intent.chat_id)
            attempts[intent.intent_id] = self._late.note(ticket, intent.label, self._clock.now_s())
        return tuple(attempts.values())

    async def _sort_out(
        self,
        intents: Sequence[OpenIntent],
        searches: Sequence[_Search],
        is_wanted: Callable[[DocumentLabel], bool],
        began_at_s: float,
    ) -> Reconciled:
        wanted = {intent.label for intent in intents if is_wanted(intent.label)}
        adopted: dict[DocumentLabel, DocumentRef] = {}
        stuck: set[DocumentLabel] = set()
        deleted = 0
        found = [orphan for search in searches for orphan in search.found]
        for orphan in found:
            if orphan.label in wanted and orphan.label not in adopted:
                self._marks.note_known(orphan.stored.chat_id, orphan.stored.message_id)
                adopted[orphan.label] = orphan.ref
            elif await self._orphans.remove(orphan):
                deleted += 1
            else:
                stuck.add(orphan.label)
        for search in searches:
            # What was adopted may have to be found again: it is not recorded yet.
            done = [one for one in search.attempts if one.label not in adopted and one.label not in stuck]
            self._late.note_looked_for(done, search.newest, began_at_s)
        seen = {orphan.label for orphan in found}
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
