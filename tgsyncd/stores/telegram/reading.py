# SPDX-License-Identifier: MIT
"""
Reading a document: choose a bot, find the file, stream it, and go on at the byte reached.

A bot that is revoked, kicked or told to wait is passed over; another one in the chat derives its own
file_id and the reader notices nothing. Nothing here is taken as loss but this: every bot that was
asked says that the message is gone (twice, when there is one bot), and no known file_id works.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING

from tgsyncd.errors import DocumentCorrupt, DocumentMissing, StoreRefused, StoreUnavailable
from tgsyncd.stores.telegram import api
from tgsyncd.stores.telegram.deriving import NobodyMayForward
from tgsyncd.stores.telegram.download import DownloadError, LinkExpired, ServerBusy, WrongLength
from tgsyncd.stores.telegram.sending import Priority

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from tgsyncd.model import DocumentRef
    from tgsyncd.stores.telegram.context import Context
    from tgsyncd.stores.telegram.deriving import FileIds, Forwarder
    from tgsyncd.stores.telegram.files import FileSource
    from tgsyncd.stores.telegram.links import Link, Links
    from tgsyncd.stores.telegram.waiting import Patience

JUST_STORED_MAX = 10_000

WRONG_LENGTHS = 3
"""So often a file of another length must be found before the document counts as damaged."""

FILE_ID_TRIALS = 2
"""So often a bot's file_id is refused before the bot forwards the message to get a new one."""

DERIVED_TRIALS = 4
"""So often before the bot is given up for this document, for now."""


class _Reading:
    """What one reader has met so far."""

    def __init__(self, ref: DocumentRef, patience: Patience) -> None:
        self.ref = ref
        self.patience = patience
        self.unavailable: Counter[int] = Counter()
        """How often getFile said "wrong file_id or temporarily unavailable", by bot."""
        self.gone: Counter[int] = Counter()
        """How often forwarding said that the message is gone, by bot."""
        self.failed: Counter[int] = Counter()
        """Any failure, by bot: the others go first."""
        self.wrong_lengths = 0
        self.last_choice: int | None = None
        self.bot_id: int | None = None
        """Who is asked now."""

    def progressed(self) -> None:
        self.patience.progressed()
        self.unavailable.clear()
        self.gone.clear()
        self.failed.clear()


class Reader:
    """Opens byte ranges of documents."""

    def __init__(
        self,
        context: Context,
        *,
        links: Links,
        files: FileSource,
        file_ids: FileIds,
        forwarder: Forwarder,
    ) -> None:
        self._context = context
        self._fleet = context.fleet
        self._limits = context.limits
        self._clock = context.clock
        self._links = links
        self._files = files
        self._file_ids = file_ids
        self._forwarder = forwarder
        self._stored_by: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._under_way: dict[tuple[int, int], list[_Reading]] = {}

    def note_stored(self, ref: DocumentRef, bot_id: int) -> None:
        """Have the document's first reader, its verification, use another bot than stored it if it can."""
        self._stored_by[ref.chat_id, ref.message_id] = bot_id
        while len(self._stored_by) > JUST_STORED_MAX:
            self._stored_by.popitem(last=False)

    async def open(self, ref: DocumentRef, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the document's bytes ``[start, stop)``: ``ports.Store.open``."""
        reading = _Reading(ref, self._context.patience())
        position = start
        reading.last_choice = self._stored_by.pop((ref.chat_id, ref.message_id), None)
        with self._noted(reading):
            async with aclosing(self._read(reading, position, stop)) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _read(self, reading: _Reading, position: int, stop: int) -> AsyncGenerator[bytes, None]:
        ref = reading.ref
        while position < stop:
            link = await self._find(reading)
            self._links.in_use[link.bot_id] += 1
            try:
                stream = self._files.stream(link, position, stop, ref.size_bytes)
                async with aclosing(stream):
                    async for chunk in stream:
                        position += len(chunk)
                        reading.progressed()
                        yield chunk
            except DownloadError as error:
                trouble = error
            else:
                continue
            finally:
                self._links.in_use[link.bot_id] -= 1
            await self._note_download(reading, link, trouble)

    def bots_for(self, ref: DocumentRef) -> int:
        """Return how many bots have a file_id of the document and may be asked now."""
        return len(self._ready(self._file_ids.of(ref)))

    @contextmanager
    def _noted(self, reading: _Reading) -> Iterator[None]:
        """Have other readers of the same document prefer other bots meanwhile."""
        key = reading.ref.chat_id, reading.ref.message_id
        readings = self._under_way.setdefault(key, [])
        readings.append(reading)
        try:
            yield
        finally:
            readings.remove(reading)
            if not readings and self._under_way.get(key) is readings:
                del self._under_way[key]

    def ask_ahead(self, ref: DocumentRef) -> None:
        """Have the server fetch the document: it will be read soon. Never raises, never waits."""
        known = self._file_ids.of(ref)
        ready = [bot for bot in self._ready(known) if bot in known]
        if ready:
            bot_id = min(ready, key=lambda bot: self._links.in_use[bot])
            self._links.ask_ahead((bot_id, ref.chat_id, ref.message_id), known[bot_id])

    # --- finding the file --------------------------------------------------------------------------

    async def _find(self, reading: _Reading) -> Link:
        """Return a link to the file, by whichever bot can give one."""
        ref = reading.ref
        while True:
            bot_id = self._choose(reading)
            if bot_id is None:
                await self._find_a_bot(reading)
                continue
            reading.bot_id = bot_id
            file_id = self._file_ids.of(ref)[bot_id]
            try:
                link = await self._links.get((bot_id, ref.chat_id, ref.message_id), file_id)
            except api.BotApiError as error:
                await self._note_get_file(reading, bot_id, error)
                continue
            if link.size_bytes in (None, ref.size_bytes):
                return link
            self._links.forget(link)
            await self._note_wrong_length(reading, WrongLength(link.size_bytes or 0, ref.size_bytes))

    def _choose(self, reading: _Reading) -> int | None:
        """Return the bot to read by: one with a file_id that works, not waiting, least busy."""
        known = self._file_ids.of(reading.ref)
        able = [bot for bot in self._ready(known) if self._may_use(reading, bot)]
        if not able:
            return None
        last = reading.last_choice
        others = self._under_way.get((reading.ref.chat_id, reading.ref.message_id), [])
        beside = Counter(other.bot_id for other in others if other is not reading)
        return min(
            able,
            key=lambda bot: (reading.failed[bot], bot == last, beside[bot], self._links.in_use[bot], bot),
        )

    def _may_use(self, reading: _Reading, bot_id: int) -> bool:
        trials = reading.unavailable[bot_id]
        return trials < FILE_ID_TRIALS or (FILE_ID_TRIALS < trials <= DERIVED_TRIALS)

    def _ready(self, known: dict[int, str]) -> list[int]:
        now_s = self._clock.now_s()
        return [
            bot_id
            for bot_id in self._fleet.usable()
            if bot_id in known and self._limits.blocked_until_s(now_s, bot_id) <= now_s
        ]

    async def _find_a_bot(self, reading: _Reading) -> None:
        """Have a bot derive a file_id, as none with one can read now; or wait."""
        ref = reading.ref

        def is_no_help(bot_id: int) -> bool:
            now_s = self._clock.now_s()
            return (
                self._choose(reading) is not None  # while we waited for a slot
                or self._limits.blocked_until_s(now_s, bot_id) > now_s
                or reading.gone[bot_id] >= self._gone_needed()
                or reading.unavailable[bot_id] > FILE_ID_TRIALS
            )

        try:
            bot_id, seen = await self._forwarder.look(
                ref.chat_id, ref.message_id, Priority.READ, but_not=is_no_help
            )
        except NobodyMayForward:
            await self._wait_for_a_bot(reading)
        except api.ChatMigrated as error:
            self._fleet.note_moved(ref.chat_id, error.new_chat_id)
            await reading.patience.failed(str(error))
        except api.BotApiError as error:
            await reading.patience.failed(str(error))
        else:
            await self._note_seen(reading, bot_id, seen)

    async def _note_seen(
        self, reading: _Reading, bot_id: int, seen: api.StoredMessage | api.MessageGone
    ) -> None:
        if isinstance(seen, api.StoredMessage):
            self._file_ids.learn(reading.ref, bot_id, seen.file_id)
            # The new file_id is to be tried, also by a bot whose old one was refused.
            if reading.unavailable[bot_id]:
                reading.unavailable[bot_id] = FILE_ID_TRIALS + 1
            return
        reading.gone[bot_id] += 1
        if self._is_lost(reading):
            raise DocumentMissing(
                f"message {reading.ref.message_id} is gone from chat {reading.ref.chat_id}",
                hint="tgsyncd check names the videos that are affected",
            )
        await reading.patience.failed("a bot says that the message is gone")

    def _gone_needed(self) -> int:
        return 2 if len(self._fleet.usable()) <= 1 else 1

    def _is_lost(self, reading: _Reading) -> bool:
        """Tell whether everybody who can be asked says so."""
        if sum(reading.gone.values()) < 2:
            return False
        known = self._file_ids.of(reading.ref)
        return all(reading.unavailable[bot] >= FILE_ID_TRIALS for bot in self._fleet.usable() if bot in known)

    async def _wait_for_a_bot(self, reading: _Reading) -> None:
        """Wait: all bots have to, or are given up for now."""
        if self._choose(reading) is not None:
            return
        now_s = self._clock.now_s()
        usable = self._fleet.usable()
        blocked = [self._limits.blocked_until_s(now_s, bot) for bot in usable]
        waits = [until_s - now_s for until_s in blocked if until_s > now_s]
        if waits and len(waits) == len(usable):
            await reading.patience.wait_as_told(min(waits))
            return
        reading.unavailable.clear()
        reading.failed.clear()
        try:
            await reading.patience.failed(self._why_nobody(usable))
        except StoreUnavailable as error:
            if usable:
                raise
            raise StoreRefused(
                "Telegram accepts none of the bots",
                hint="tgsyncd doctor says what to do about each",
            ) from error

    def _why_nobody(self, usable: list[int]) -> str:
        return "it says that the file is unavailable" if usable else "no bot is accepted"

    # --- what went wrong ---------------------------------------------------------------------------

    async def _note_get_file(self, reading: _Reading, bot_id: int, error: api.BotApiError) -> None:
        # That the bot is revoked or has to wait was noted when the answer came.
        if isinstance(error, api.FloodWait | api.BotRevoked):
            return
        reading.failed[bot_id] += 1
        if isinstance(error, api.FileUnavailable):
            reading.unavailable[bot_id] += 1
        elif isinstance(error, api.RequestRefused):
            raise StoreRefused(
                f"Telegram refuses to give the document: {error}",
                hint="documents above 20 MB need the local Bot API server that stored them",
            )
        await reading.patience.failed(str(error))

    async def _note_download(self, reading: _Reading, link: Link, error: DownloadError) -> None:
        if isinstance(error, ServerBusy) and error.retry_after_s is not None:
            self._limits.flood_bot(link.bot_id, self._clock.now_s(), error.retry_after_s)
            return
        if isinstance(error, LinkExpired | WrongLength):
            self._links.forget(link)
        if isinstance(error, WrongLength):
            await self._note_wrong_length(reading, error)
            return
        reading.failed[link.bot_id] += 1
        await reading.patience.failed(str(error))

    async def _note_wrong_length(self, reading: _Reading, error: WrongLength) -> None:
        reading.wrong_lengths += 1
        if reading.wrong_lengths >= WRONG_LENGTHS:
            raise DocumentCorrupt(
                f"message {reading.ref.message_id} in chat {reading.ref.chat_id}: {error}",
                hint="tgsyncd check names the videos that are affected",
            )
        await reading.patience.failed(str(error))
