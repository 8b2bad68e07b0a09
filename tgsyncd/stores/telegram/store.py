# SPDX-License-Identifier: MIT
"""``ports.Store`` in Telegram chats: what the modules beside this one make together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from tgsyncd.bridge import start
from tgsyncd.errors import StoreRefused
from tgsyncd.stores.telegram import api
from tgsyncd.stores.telegram.bot import BotClient
from tgsyncd.stores.telegram.context import Context
from tgsyncd.stores.telegram.deleting import Deleter
from tgsyncd.stores.telegram.deriving import FileIds, Forwarder, NobodyMayForward
from tgsyncd.stores.telegram.download import Downloader, make_client
from tgsyncd.stores.telegram.files import LocalFiles, RemoteFiles
from tgsyncd.stores.telegram.fleet import Fleet
from tgsyncd.stores.telegram.late import LateUploads
from tgsyncd.stores.telegram.limits import Limits
from tgsyncd.stores.telegram.links import Links
from tgsyncd.stores.telegram.marks import Marks
from tgsyncd.stores.telegram.memory import NoMemory, Remembered
from tgsyncd.stores.telegram.orphans import Orphans
from tgsyncd.stores.telegram.reach import choose_outage
from tgsyncd.stores.telegram.reading import Reader
from tgsyncd.stores.telegram.reconciling import OpenIntent, Reconciled, Reconciliation
from tgsyncd.stores.telegram.sending import Priority, Sender
from tgsyncd.stores.telegram.sweeping import Sweeps
from tgsyncd.stores.telegram.uploading import Uploads

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path
    from random import Random

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from tgsyncd.model import DocumentLabel, DocumentRef
    from tgsyncd.ports import Clock
    from tgsyncd.stores.telegram.memory import Memory
    from tgsyncd.stores.telegram.settings import TelegramSettings
    from tgsyncd.stores.telegram.uploading import IntentLog
    from tgsyncd.stores.telegram.waiting import Patience
    from tgsyncd.stores.throttle import Throttle

SAVE_DELAY_S = 1.0
"""What is remembered is saved at most once in this time."""


class TelegramStore:
    """
    Documents in one or several chats, by one or several bots.

    ``reactor`` is used for sockets and threads, ``timer`` (the reactor, unless time is simulated) for
    waiting, ``clock`` for what is remembered over restarts. ``on_file_id`` is told each file_id that a
    bot learns of a stored document, so that the catalog can keep it.
    """

    def __init__(
        self,
        settings: TelegramSettings,
        *,
        reactor: Any,
        clock: Clock,
        random: Random,
        intents: IntentLog,
        memory: Memory | None = None,
        on_file_id: Callable[[DocumentRef, int, str], None] = lambda _ref, _bot_id, _file_id: None,
        timer: IReactorTime | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        timer = reactor if timer is None else timer
        assert timer is not None
        self._memory = memory or NoMemory()
        self._log = Logger()
        self._saving: Any = None
        self._background: set[Deferred[None]] = set()

        remembered = self._memory.load()
        limits = Limits(settings.limits, remembered.limits)
        self._fleet = Fleet([BotClient(bot, settings, timer, throttle) for bot in settings.bots], clock)
        self._context = context = Context(
            settings=settings,
            fleet=self._fleet,
            limits=limits,
            sender=Sender(limits, timer, clock, on_change=self._save_soon),
            timer=timer,
            clock=clock,
            random=random,
            throttle=throttle,
        )
        self._file_ids = FileIds(on_file_id)
        self._forwarder = Forwarder(context)
        self._deleter = Deleter(context)
        self._make_writing_parts(remembered, intents)
        self._make_reading_parts(reactor)

    def _make_writing_parts(self, remembered: Remembered, intents: IntentLog) -> None:
        self._marks = Marks(remembered.highest, remembered.tickets)
        orphans = Orphans(
            self._context,
            forwarder=self._forwarder,
            deleter=self._deleter,
            marks=self._marks,
            is_recorded=intents.is_recorded,
        )
        self._late = LateUploads(remembered.late)
        self._uploads = Uploads(
            self._context,
            marks=self._marks,
            orphans=orphans,
            intents=intents,
            late=self._late,
            save=self._save,
        )
        self._reconciliation = Reconciliation(
            marks=self._marks,
            orphans=orphans,
            uploads=self._uploads,
            intents=intents,
            late=self._late,
            clock=self._context.clock,
        )
        self._sweeps = Sweeps(
            self._context.timer, late=self._late, reconciliation=self._reconciliation, save=self._save
        )

    def _make_reading_parts(self, reactor: Any) -> None:
        self._links = Links(self._context, on_error=self._note_get_file)
        self._files = self._make_files(reactor)
        self._reader = Reader(
            self._context,
            links=self._links,
            files=self._files,
            file_ids=self._file_ids,
            forwarder=self._forwarder,
        )

    def _make_files(self, reactor: Any) -> RemoteFiles | LocalFiles:
        settings, timer = self._context.settings, self._context.timer
        if settings.local_mode:
            return LocalFiles(timer)
        client, pool = make_client(reactor, connect_timeout_s=settings.connect_timeout_s)
        downloader = Downloader(client, timer, idle_timeout_s=settings.idle_timeout_s)
        return RemoteFiles(self._fleet, downloader, pool)

    # --- ports.Store -------------------------------------------------------------------------------

    async def put(self, path: Path, label: DocumentLabel) -> DocumentRef:
        """
        Store a file. Waits for Telegram's limits as long as they ask for, which is no failure.

        A document that this process, or the one before, has stored under the same label and that the
        catalog may not know is found again instead.
        """
        adopted = await self._reconciliation.take_adopted(label)
        if adopted is not None:
            return adopted
        stored = self._uploads.stored(label)
        if stored is not None and await self.exists(stored):
            return stored
        try:
            ref = await self._uploads.put(path, label)
        finally:
            self._save_soon()
            self._sweeps.wake()
        self._reader.note_stored(ref, next(iter(ref.file_ids)))
        return await self._forwarder.teach_another(ref)

    def open(self, ref: DocumentRef, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the document's bytes ``[start, stop)``."""
        return self._reader.open(ref, start, stop)

    async def exists(self, ref: DocumentRef) -> bool:
        """
        Tell whether the message is there and holds a document of the right size.

        It costs a message in the scratch chat: a bot that forwards is the only one that sees. Raises
        StoreUnavailable, StoreRefused.
        """
        patience = self._context.patience()
        gone: list[int] = []
        while True:
            seen = await self._look(ref, gone, patience)
            if isinstance(seen, api.StoredMessage):
                return seen.size_bytes in (0, ref.size_bytes)
            if len(gone) >= 2:
                return False

    async def delete(self, refs: Sequence[DocumentRef]) -> Sequence[DocumentRef]:
        """Delete documents; return those that Telegram refuses to delete now."""
        self._uploads.forget_stored(refs)
        return await self._deleter.delete(refs)

    async def close(self) -> None:
        """Close connections, give up what waits, save what was learned."""
        if self._saving is not None and self._saving.active():
            self._saving.cancel()
        self._sweeps.close()
        self._context.sender.close()
        self._links.close()
        for running in list(self._background):
            running.cancel()
        await self._forwarder.close()
        await self._files.close()
        for bot_id in self._fleet.bot_ids:
            await self._fleet.bot(bot_id).close()
        await self._save()

    # --- beyond the port ---------------------------------------------------------------------------

    def prefetch(self, ref: DocumentRef) -> None:
        """Have Telegram's server fetch the document (getFile): it will be read soon. Costs no memory here."""
        self._reader.ask_ahead(ref)

    def bots_for(self, ref: DocumentRef) -> int:
        """Return by how many bots the document can be read now; two readers of it use two of them."""
        return self._reader.bots_for(ref)

    def honours_ranges(self) -> bool:
        """Tell whether the file server sends a part of a document alone, as far as was seen."""
        return self._files.honours_ranges()

    async def reconcile(
        self,
        intents: Sequence[OpenIntent],
        *,
        is_wanted: Callable[[DocumentLabel], bool] = lambda _label: True,
    ) -> Reconciled:
        """
        Find what became of uploads that a kill interrupted; to be called once, at the start.

        ``intents`` are all that are open; also without any, uploads of documents that are recorded may
        have arrived late. ``is_wanted`` tells whether a document found shall be adopted, else it is deleted.
        What the catalog has is not looked at, and never deleted. A ``put`` of one of the labels waits until
        this is done. Raises StoreUnavailable; ``put`` then looks for itself.
        """
        try:
            return await self._reconciliation.run(intents, is_wanted)
        finally:
            # At once: what may arrive late is known to nobody else as soon as the document is recorded.
            await self._save()
            self._sweeps.wake()

    def outage(self) -> tuple[float, str] | None:
        """Return since when (epoch seconds) Telegram answers no bot, and why; None while it does."""
        found = choose_outage(self._fleet.bot(bot_id).reach for bot_id in self._fleet.bot_ids)
        if found is None or found.since_s is None:
            return None
        lasted_s = self._context.timer.seconds() - found.since_s
        return self._context.clock.now_s() - lasted_s, found.reason

    async def probe(self) -> None:
        """Ask once, by a bot that was not answered, whether Telegram does now. Never raises."""
        for bot_id in self._fleet.bot_ids:
            bot = self._fleet.bot(bot_id)
            if bot.reach.since_s is not None:
                with contextlib.suppress(api.BotApiError):
                    await bot.me()
                return

    @property
    def limits(self) -> Limits:
        """The budgets, for status pages."""
        return self._context.limits

    # --- inside ------------------------------------------------------------------------------------

    async def _look(self, ref: DocumentRef, gone: list[int], patience: Patience) -> api.StoredMessage | None:
        others = [bot for bot in self._fleet.usable(ref.chat_id) if bot not in gone]
        try:
            bot_id, seen = await self._forwarder.look(
                ref.chat_id,
                ref.message_id,
                Priority.TIDY,
                but_not=lambda bot: bool(others) and bot in gone,
            )
        except NobodyMayForward:
            await patience.failed("no bot may look at the chat")
            return None
        except api.RequestRefused as error:
            raise StoreRefused(
                f"Telegram refuses to show the document: {error}",
                hint="switch off 'restrict saving content' in the chat",
            ) from error
        except api.ChatMigrated as error:
            self._fleet.note_moved(ref.chat_id, error.new_chat_id)
            return None
        except api.BotApiError as error:
            await patience.failed(str(error))
            return None
        if isinstance(seen, api.MessageGone):
            gone.append(bot_id)
            return None
        self._file_ids.learn(ref, bot_id, seen.file_id)
        return seen

    def _note_get_file(self, bot_id: int, error: api.BotApiError) -> None:
        if isinstance(error, api.FloodWait):
            self._context.limits.flood_bot(bot_id, self._context.clock.now_s(), error.retry_after_s)
            self._save_soon()
        elif isinstance(error, api.BotRevoked):
            self._fleet.note_revoked(bot_id, str(error))

    def _save_soon(self) -> None:
        if self._saving is None or not self._saving.active():
            self._saving = self._context.timer.callLater(SAVE_DELAY_S, self._save_now)

    def _save_now(self) -> None:
        saving = start(self._save(), self._report)
        if not saving.called:
            self._background.add(saving)
            saving.addBoth(lambda _result: self._background.discard(saving))

    async def _save(self) -> None:
        limits = self._context.limits.export(self._context.clock.now_s())
        remembered = Remembered(
            limits=limits,
            highest=dict(self._marks.highest),
            tickets=self._marks.tickets,
            late=self._late.known,
        )
        await self._memory.save(remembered)

    def _report(self, failure: Failure) -> None:
        self._log.failure("Saving what the Telegram store has learned failed", failure=failure)
