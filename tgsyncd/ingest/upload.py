# SPDX-License-Identifier: MIT
"""Bring spooled documents into the store, several at a time, and note each in the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.logger import Logger

from tgsyncd.errors import DocumentCorrupt, NotFound, StoreError
from tgsyncd.ingest.verify import Verify, read_back, shall_verify
from tgsyncd.model import DocumentLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from twisted.python.failure import Failure

    from tgsyncd.model import DocumentRef, SpooledDocument, VideoId
    from tgsyncd.ports import CatalogWriter, Store

    Record = Callable[[DocumentRef], Coroutine[Deferred[Any], Any, int]]
    """Notes in the catalog where a document is; returns its id there. May be asked again."""

__all__ = ["Uploader", "end_of", "store_verified"]

_log = Logger()


async def store_verified(
    path: Path, label: DocumentLabel, *, store: Store, writer: CatalogWriter, verify: Verify, record: Record
) -> None:
    """
    Put a file into the store, ``record`` it in the catalog, read it back, and note that.

    Recorded before it is read: what a kill leaves unread is read by the next run and need not be looked
    for, and the file_ids that are learned by reading have a row to go to. A document that reads back
    wrong is deleted and stored once more: the bytes are still in the spool. A document of a video that was
    deleted meanwhile is deleted too.

    Raises:
        DocumentCorrupt: it read back wrong twice.
        NotFound: the video was deleted meanwhile.
        StoreError: what the store raises.

    """
    ref = await _put_checked(store, path, label)
    try:
        document_id = await record(ref)
    except NotFound:
        await store.delete([ref])  # Without a row nothing would ever be owed for it.
        raise
    if not shall_verify(verify, label.number, ref):
        return
    try:
        await read_back(store, ref)
    except DocumentCorrupt as error:
        _log.warn(
            "{video_id}: document {number} of {rendition} was stored wrong and is stored again: {error}",
            video_id=label.video_id,
            number=label.number,
            rendition=label.rendition,
            error=error,
        )
        wrong, refused = ref, await store.delete([ref])
        ref = await _put_checked(store, path, label)
        document_id = await record(ref)
        if not refused and _place(wrong) != _place(ref):
            await writer.settle_deletions([wrong])  # which the catalog owed from that record on
        await read_back(store, ref)
    await writer.record_verified([document_id])


def _place(ref: DocumentRef) -> tuple[int, int, str]:
    return ref.chat_id, ref.message_id, ref.file_unique_id


async def _put_checked(store: Store, path: Path, label: DocumentLabel) -> DocumentRef:
    ref = await store.put(path, label)
    if ref.size_bytes != label.size_bytes:
        await store.delete([ref])
        raise StoreError(
            f"{label.video_id}: the store took {ref.size_bytes:,} bytes of a document of {label.size_bytes:,}"
        )
    return ref


class Uploader:
    """
    The uploads of one ingest.

    ``deliver`` returns at once; ``finish`` waits for all and raises the first error. After an error nothing
    new is begun and ``on_error`` is called once, so that the cutting can be stopped.
    """

    def __init__(
        self,
        *,
        store: Store,
        writer: CatalogWriter,
        library_id: str,
        video_id: VideoId,
        revision: int,
        verify: Verify,
        in_flight: int,
        on_error: Callable[[], None],
    ) -> None:
        self._store = store
        self._writer = writer
        self._library_id = library_id
        self._video_id = video_id
        self._revision = revision
        self._verify = verify
        self._slots = DeferredSemaphore(in_flight)
        self._on_error = on_error
        self._running: set[Deferred[None]] = set()
        self._error: BaseException | None = None
        self.stored_bytes = 0

    @property
    def error(self) -> BaseException | None:
        """The first thing that went wrong."""
        return self._error

    def fail(self, error: BaseException) -> None:
        """Stop beginning uploads, because of this."""
        if self._error is None:
            self._error = error
            self._on_error()

    def note_failure(self, failure: Failure) -> None:
        """Do as ``fail``: an errback."""
        assert failure.value is not None
        self.fail(failure.value)

    def deliver(
        self,
        document: SpooledDocument,
        *,
        rendition_id: int,
        rendition: str,
        before_record: Callable[[], Deferred[None]],
        release: Callable[[], None],
    ) -> None:
        """Store a document, note it, read it back; ``release`` frees its place in the spool."""

        async def record(ref: DocumentRef) -> int:
            await before_record()
            return await self._writer.record_document(
                rendition_id,
                number=document.number,
                offset=document.offset,
                length=document.size_bytes,
                ref=ref,
            )

        async def run() -> None:
            if self._error is not None:
                return
            label = self._label(document, rendition)
            await store_verified(
                document.path,
                label,
                store=self._store,
                writer=self._writer,
                verify=self._verify,
                record=record,
            )
            self.stored_bytes += document.size_bytes
            release()

        # Not by ``started.called``: that is true as soon as a slot is free, long before the upload is done.
        started: Deferred[None] = self._slots.run(lambda: Deferred.fromCoroutine(run()))
        self._running.add(started)
        started.addErrback(self.note_failure)
        started.addBoth(lambda _: self._running.discard(started))

    async def finish(self) -> None:
        """Wait for all uploads. Raises the first error of any of them."""
        while self._running:
            await end_of(DeferredList(list(self._running)))
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        """Give up the uploads that are under way."""
        for upload in list(self._running):
            upload.cancel()

    def _label(self, document: SpooledDocument, rendition: str) -> DocumentLabel:
        return DocumentLabel(
            library_id=self._library_id,
            video_id=self._video_id,
            revision=self._revision,
            rendition=rendition,
            number=document.number,
            size_bytes=document.size_bytes,
            sha256=document.sha256,
        )


def end_of(work: Deferred[Any]) -> Deferred[None]:
    """
    Return a Deferred that fires with ``work`` and may be cancelled without it.

    Waiting for a DeferredList alone would swallow the cancellation: it cancels what is in it, takes the
    CancelledErrors for results, and fires as if all had ended.
    """
    end: Deferred[None] = Deferred()

    def pass_on(_: object) -> None:
        if not end.called:
            end.callback(None)

    work.addCallback(pass_on)
    return end
