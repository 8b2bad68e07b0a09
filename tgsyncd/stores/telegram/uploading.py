# SPDX-License-Identifier: MIT
"""
Storing a document, once.

sendDocument is not idempotent: when its answer is lost, nobody says whether the message exists. So each
attempt has an intent first, and after a lost answer the message is looked for by its caption before
anything is sent again, and once more behind the success.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from tgsyncd.errors import StoreRefused, StoreUnavailable
from tgsyncd.stores.telegram import api
from tgsyncd.stores.telegram.caption import document_filename, render_caption
from tgsyncd.stores.telegram.orphans import Orphan
from tgsyncd.stores.telegram.sending import Priority
from tgsyncd.stores.telegram.waiting import sleep, upload_pause_s

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from tgsyncd.model import DocumentLabel, DocumentRef
    from tgsyncd.stores.telegram.context import Context
    from tgsyncd.stores.telegram.late import LateUploads
    from tgsyncd.stores.telegram.limits import Slot
    from tgsyncd.stores.telegram.marks import Marks, Ticket
    from tgsyncd.stores.telegram.orphans import Orphans

DOUBLE_TRIALS = 3

LEFT_DOUBTFUL_MAX = 1000
"""Labels of failed puts that are remembered, some 500 bytes each."""

STORED_KEPT = 1000
"""Documents stored lately: asked for again, because the caller was cancelled or could not verify one,
they are not stored twice."""

BOT_PAUSE_S = 2.0
"""Between two looks whether a bot is accepted again, while none is."""


class IntentLog(Protocol):
    """
    Where uploads that begin are noted, durably, until their document is recorded: a part of the catalog.

    Recording a document ends all intents of its label, in one transaction.
    """

    async def record_intent(self, label: DocumentLabel, *, bot_id: int, chat_id: int) -> int:
        """Note that an upload begins; return the intent's id."""
        ...

    async def forget_intent(self, intent_id: int) -> None:
        """Note that there is nothing of it in the chat."""
        ...

    def is_recorded(self, chat_id: int, message_id: int) -> bool:
        """Tell whether the message is a document that is recorded, or owed as a deletion."""
        ...


class NobodyMaySend(Exception):
    """No bot may send to any of the chats now."""


@dataclass(slots=True)
class _Upload:
    """One document on its way, over all its attempts."""

    path: Path
    label: DocumentLabel
    failures: int = 0
    doubtful: list[Ticket] = field(default_factory=list)
    """Attempts that nobody answered."""
    late: list[Ticket] = field(default_factory=list)
    """Attempts of an earlier process that were looked for in vain, and may arrive still."""
    nobody_since_s: float | None = None
    last: Slot | None = None


class Uploads:
    """Puts documents into the chats."""

    def __init__(
        self,
        context: Context,
        *,
        marks: Marks,
        orphans: Orphans,
        intents: IntentLog,
        late: LateUploads,
        save: Callable[[], Awaitable[None]],
    ) -> None:
        self._clock = context.clock
        self._late = late
        self._save = save
        self._settings = context.settings
        self._fleet = fleet = context.fleet
        self._sender = context.sender
        self._reactor = context.timer
        self._random = context.random
        self._marks = marks
        self._orphans = orphans
        self._intents = intents
        self._throttle = context.throttle
        self._in_flight = dict.fromkeys(fleet.bot_ids, 0)
        self._stored: OrderedDict[DocumentLabel, DocumentRef] = OrderedDict()
        self._under_way: Counter[DocumentLabel] = Counter()
        self._left_doubtful: dict[DocumentLabel, list[Ticket]] = {}
        self._left_late: dict[DocumentLabel, list[Ticket]] = {}
        self._log = Logger()

    async def put(self, path: Path, label: DocumentLabel) -> DocumentRef:
        """
        Store a file: ``ports.Store.put``.

        Raises
            StoreUnavailable after ``upload_attempts`` failures; StoreRefused.
        """
        upload = _Upload(
            path, label, doubtful=self._left_doubtful.pop(label, []), late=self._left_late.pop(label, [])
        )
        self._under_way[label] += 1
        try:
            ref = await self._look_for(upload) if upload.doubtful else None
            while ref is None:
                ref = await self._attempt(upload)
        except BaseException:
            if upload.doubtful or upload.late:  # this process looks again when asked again, else the next
                self.note_doubtful(label, [*upload.doubtful, *upload.late])
            raise
        finally:
            self._under_way[label] -= 1
            self._under_way += Counter()  # drops those that are at nought
        self._remember(label, ref)
        return ref

    def is_settled(self, label: DocumentLabel) -> bool:
        """Tell whether no upload of the label is under way, and none is to be looked for before the next."""
        return not (label in self._under_way or label in self._left_doubtful or label in self._left_late)

    def stored(self, label: DocumentLabel) -> DocumentRef | None:
        """Return what an earlier ``put`` stored, if its caller may not have got it; forget it."""
        return self._stored.pop(label, None)

    def forget_stored(self, refs: Sequence[DocumentRef]) -> None:
        """Note that these are being deleted."""
        gone = {(ref.chat_id, ref.message_id) for ref in refs}
        for label, ref in list(self._stored.items()):
            if (ref.chat_id, ref.message_id) in gone:
                del self._stored[label]

    def _remember(self, label: DocumentLabel, ref: DocumentRef) -> None:
        self._stored[label] = ref
        while len(self._stored) > STORED_KEPT:
            self._stored.popitem(last=False)

    def note_doubtful(self, label: DocumentLabel, attempts: list[Ticket]) -> None:
        """Remember attempts that nobody answered: the next ``put`` of the label looks for them first."""
        self._left_doubtful[label] = attempts
        while len(self._left_doubtful) > LEFT_DOUBTFUL_MAX:
            self._left_doubtful.pop(next(iter(self._left_doubtful)))

    def note_late(self, label: DocumentLabel, ticket: Ticket) -> None:
        """Remember an attempt that was looked for: ``put`` looks again when it has stored the label."""
        self._left_late.setdefault(label, []).append(ticket)
        while len(self._left_late) > LEFT_DOUBTFUL_MAX:
            self._left_late.pop(next(iter(self._left_late)))

    async def _attempt(self, upload: _Upload) -> DocumentRef | None:
        try:
            stored = await self._sender.send(
                self._candidates,
                lambda slot: self._send(upload, slot),
                Priority.UPLOAD,
                upload.label.size_bytes,
            )
        except NobodyMaySend:
            await self._wait_for_a_bot(upload)
            return None
        except api.BotApiError as error:
            return await self._after_error(upload, error)
        upload.nobody_since_s = None
        bot_id = upload.last.bot_id if upload.last else 0
        ref = Orphan(bot_id=bot_id, stored=stored, label=upload.label).ref
        self._remember(upload.label, ref)
        if upload.doubtful or upload.late:
            await self._remove_doubles(upload, stored)
        return ref

    async def _send(self, upload: _Upload, slot: Slot) -> api.StoredMessage:
        """Send once, within a slot. An intent of it stays exactly when there may be a message of it."""
        label = upload.label
        upload.last = slot
        with self._counted(slot.bot_id):
            intent_id = await self._intents.record_intent(label, bot_id=slot.bot_id, chat_id=slot.chat_id)
            ticket = self._marks.begin(slot.chat_id, intent_id)
            try:
                stored = await self._fleet.bot(slot.bot_id).send_document(
                    slot.chat_id, upload.path, document_filename(label), render_caption(label)
                )
            except (api.Ambiguous, CancelledError, GeneratorExit):
                upload.doubtful.append(ticket)
                raise
            except BaseException:
                self._marks.forget(ticket)
                await self._intents.forget_intent(intent_id)
                raise
            self._marks.note_known(stored.chat_id, stored.message_id)
            self._fleet.note_well(slot.bot_id, slot.chat_id)
            await self._check_size(upload, slot, stored, intent_id)
            return stored

    async def _check_size(
        self, upload: _Upload, slot: Slot, stored: api.StoredMessage, intent_id: int
    ) -> None:
        if stored.size_bytes in (0, upload.label.size_bytes):
            return
        await self._orphans.remove(Orphan(bot_id=slot.bot_id, stored=stored, label=upload.label))
        await self._intents.forget_intent(intent_id)
        raise api.Unreachable(f"Telegram took {stored.size_bytes:,} of {upload.label.size_bytes:,} bytes")

    # --- who may send ------------------------------------------------------------------------------

    def _candidates(self) -> Sequence[tuple[int, int]]:
        chats = [self._fleet.chat(chat_id) for chat_id in self._settings.chats]
        usable = [(bot_id, chat_id) for chat_id in chats for bot_id in self._fleet.usable(chat_id)]
        if not usable:
            raise NobodyMaySend
        if self._throttle is not None and sum(self._in_flight.values()) >= self._throttle.at_once:
            return []  # a slot that is held while bytes trickle is a slot that others lack
        return [
            (bot_id, chat_id)
            for bot_id, chat_id in usable
            if self._in_flight[bot_id] < self._settings.uploads_per_bot
        ]

    @contextmanager
    def _counted(self, bot_id: int) -> Iterator[None]:
        self._in_flight[bot_id] += 1
        try:
            yield
        finally:
            self._in_flight[bot_id] -= 1

    async def _wait_for_a_bot(self, upload: _Upload) -> None:
        now_s = self._reactor.seconds()
        if upload.nobody_since_s is None:
            upload.nobody_since_s = now_s
        if now_s - upload.nobody_since_s >= self._settings.patience_s:
            raise StoreRefused(
                "no bot may post in any of the chats",
                hint="tgsyncd doctor says what to do about each",
            )
        await sleep(self._reactor, BOT_PAUSE_S)

    # --- what went wrong ---------------------------------------------------------------------------

    async def _after_error(self, upload: _Upload, error: api.BotApiError) -> DocumentRef | None:
        """Note an error; return the document if it was stored nevertheless."""
        slot = upload.last
        assert slot is not None
        if isinstance(error, api.BotRevoked):
            self._fleet.note_revoked(slot.bot_id, str(error))
        elif isinstance(error, api.ChatClosed):
            self._fleet.note_closed(slot.bot_id, slot.chat_id, str(error))
        elif isinstance(error, api.ChatMigrated):
            self._fleet.note_moved(slot.chat_id, error.new_chat_id)
        elif isinstance(error, api.Unreachable):
            return await self._after_failure(upload, error)
        else:
            raise StoreRefused(f"Telegram refuses the document: {error}")
        return None

    async def _after_failure(self, upload: _Upload, error: api.Unreachable) -> DocumentRef | None:
        upload.failures += 1
        self._log.debug("An upload failed and is tried again: {error}", error=error)
        if upload.failures >= self._settings.upload_attempts:
            raise StoreUnavailable(f"Telegram takes no document for now: {error}")
        await sleep(self._reactor, upload_pause_s(upload.failures, self._random))
        return await self._look_for(upload) if upload.doubtful else None

    async def _look_for(self, upload: _Upload) -> DocumentRef | None:
        """Look for what nobody answered for; adopt the first message found, delete others."""
        try:
            found = await self._orphans_of(upload)
        except StoreUnavailable as error:
            self._log.debug("Looking for a lost upload failed: {error}", error=error)
            return None
        if not found:
            return None  # it may still arrive: looked for again behind the success
        adopted, *others = found
        await self._settle(upload, others, accounted=1)
        self._log.info(
            "Found an upload whose answer was lost: message {message_id} in chat {chat_id}",
            message_id=adopted.stored.message_id,
            chat_id=adopted.stored.chat_id,
        )
        return adopted.ref

    async def _remove_doubles(self, upload: _Upload, stored: api.StoredMessage) -> None:
        """Delete what arrived although nobody answered for it, now that its double is stored."""
        for attempt in range(1, DOUBLE_TRIALS + 1):
            try:
                found = await self._orphans_of(upload, stored)
            except StoreUnavailable as error:
                self._log.debug("Looking for doubles failed: {error}", error=error)
                await sleep(self._reactor, upload_pause_s(attempt, self._random))
            else:
                await self._settle(upload, found)
                return
        await self._settle(upload, [])

    async def _orphans_of(self, upload: _Upload, stored: api.StoredMessage | None = None) -> list[Orphan]:
        found: list[Orphan] = []
        for chat_id, floor in _floors(upload).items():
            if stored is not None and stored.chat_id == chat_id:
                newest = stored.message_id
            else:
                newest = await self._orphans.newest(chat_id)
            found += await self._orphans.find(chat_id, [upload.label], floor, newest)
        return found

    async def _settle(self, upload: _Upload, doubles: list[Orphan], accounted: int = 0) -> None:
        """Delete doubles; note attempts of which there may be one more."""
        for orphan in doubles:
            accounted += await self._orphans.remove(orphan)
        attempts = [*upload.doubtful, *upload.late]
        upload.doubtful.clear()
        upload.late.clear()
        # Their intents end when the catalog records the document: until then a kill needs them, and what
        # may arrive later is known to nobody else from then on.
        for ticket in attempts:
            if accounted >= len(attempts):
                self._late.forget(ticket.intent_id)
            else:
                self._late.note(ticket, upload.label, self._clock.now_s())
        if accounted < len(attempts):
            await self._save()


def _floors(upload: _Upload) -> dict[int, int]:
    floors: dict[int, int] = {}
    for ticket in (*upload.doubtful, *upload.late):
        floors[ticket.chat_id] = min(floors.get(ticket.chat_id, ticket.floor), ticket.floor)
    return floors
