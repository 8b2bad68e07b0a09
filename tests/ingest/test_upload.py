# SPDX-License-Identifier: MIT
"""The uploader: several at a time, each noted before its place in the spool is free, the first error wins."""

import hashlib

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, succeed

from tgsyncd.errors import DocumentCorrupt, NotFound, StoreRefused
from tgsyncd.ingest.upload import Uploader, store_verified
from tgsyncd.ingest.verify import Verify
from tgsyncd.model import DocumentLabel, DocumentRef, SpooledDocument, VideoId


class HeldStore:
    """A store whose puts wait until they are let go, and whose reads may be wrong for a while."""

    def __init__(self, *, bad_reads=0, error=None):
        self.waiting = []
        self.data = {}
        self.deleted = []
        self.bad_reads = bad_reads
        self.error = error
        self.is_held = True

    async def put(self, path, label):
        if self.is_held:
            held = Deferred()
            self.waiting.append(held)
            await held
        if self.error:
            raise self.error
        key = f"{label.number}-{len(self.data)}"
        self.data[key] = path.read_bytes()
        return DocumentRef(
            chat_id=0,
            message_id=0,
            file_unique_id=key,
            size_bytes=label.size_bytes,
            sha256=label.sha256,
        )

    async def open(self, ref, start, stop):
        data = self.data[ref.file_unique_id][start:stop]
        if self.bad_reads:
            self.bad_reads -= 1
            data = bytes([data[0] ^ 1]) + data[1:]
        yield data

    async def delete(self, refs):
        self.deleted += [ref.file_unique_id for ref in refs]
        return []


class Notes:
    """A catalog that only remembers the order of what it was told."""

    def __init__(self):
        self.calls = []

    async def record_document(self, rendition_id, *, number, offset, length, ref):
        self.calls.append(("document", number))
        return 100 + number

    async def record_verified(self, ids):
        self.calls.append(("verified", *ids))

    async def settle_deletions(self, refs):
        self.calls.append(("settled", *(ref.file_unique_id for ref in refs)))


def spooled(tmp_path, number, data=b"document"):
    path = tmp_path / str(number)
    path.write_bytes(data)
    return SpooledDocument(
        number=number,
        offset=number * 8,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        path=path,
    )


def make(store, *, in_flight=2, verify=Verify.FULL, errors=None):
    notes = Notes()
    uploader = Uploader(
        store=store,
        writer=notes,
        library_id="0" * 16,
        video_id=VideoId("film"),
        revision=1,
        verify=verify,
        in_flight=in_flight,
        on_error=lambda: (errors if errors is not None else []).append("stopped"),
    )

    def deliver(document):
        uploader.deliver(
            document,
            rendition_id=1,
            rendition="main",
            before_record=lambda: succeed(notes.calls.append(("segments", document.number))),
            release=lambda: notes.calls.append(("released", document.number)),
        )

    return uploader, notes, deliver


@pytest_twisted.ensureDeferred
async def test_finish_waits_for_uploads_that_have_a_slot_but_are_not_done(tmp_path):
    """A free slot is not a stored document."""
    store = HeldStore()
    uploader, _, deliver = make(store)
    deliver(spooled(tmp_path, 0))
    finished = Deferred.fromCoroutine(uploader.finish())

    assert not finished.called
    store.waiting[0].callback(None)
    await finished
    assert uploader.stored_bytes == 8


@pytest_twisted.ensureDeferred
async def test_a_document_is_noted_and_read_back_before_its_place_is_free(tmp_path):
    """Segments, then the document, then the proof, then the release."""
    store = HeldStore()
    store.is_held = False
    uploader, notes, deliver = make(store)
    deliver(spooled(tmp_path, 0))
    await uploader.finish()

    assert notes.calls == [("segments", 0), ("document", 0), ("verified", 100), ("released", 0)]


@pytest_twisted.ensureDeferred
async def test_no_more_uploads_than_allowed_are_under_way(tmp_path):
    store = HeldStore()
    uploader, _, deliver = make(store, in_flight=2)
    for number in range(3):
        deliver(spooled(tmp_path, number))

    assert len(store.waiting) == 2
    store.waiting[0].callback(None)
    assert len(store.waiting) == 3
    for held in store.waiting[1:]:
        held.callback(None)
    await uploader.finish()


@pytest_twisted.ensureDeferred
async def test_the_first_error_stops_the_cutting_once_and_is_raised(tmp_path):
    errors = []
    store = HeldStore(error=StoreRefused("no rights"))
    uploader, notes, deliver = make(store, errors=errors)
    deliver(spooled(tmp_path, 0))
    deliver(spooled(tmp_path, 1))
    for held in store.waiting:
        held.callback(None)

    with pytest.raises(StoreRefused, match="no rights"):
        await uploader.finish()
    assert errors == ["stopped"]
    assert notes.calls == []


def label_of(document):
    return DocumentLabel(
        library_id="0" * 16,
        video_id=VideoId("film"),
        revision=1,
        rendition="main",
        number=document.number,
        size_bytes=document.size_bytes,
        sha256=document.sha256,
    )


async def store(store, document, verify):
    """Store one document; return what was noted of it."""
    notes = Notes()

    async def record(ref):
        notes.calls.append(("document", ref.file_unique_id))
        return 100

    await store_verified(
        document.path, label_of(document), store=store, writer=notes, verify=verify, record=record
    )
    return notes.calls


@pytest_twisted.ensureDeferred
async def test_a_document_is_recorded_before_it_is_read_back(tmp_path):
    """A kill while it is read leaves nothing to be looked for."""
    held = HeldStore()
    held.is_held = False

    assert await store(held, spooled(tmp_path, 0), Verify.FULL) == [("document", "0-0"), ("verified", 100)]


@pytest_twisted.ensureDeferred
async def test_a_document_that_reads_back_wrong_is_stored_again_and_deleted(tmp_path):
    held = HeldStore(bad_reads=1)
    held.is_held = False

    calls = await store(held, spooled(tmp_path, 0), Verify.FULL)

    assert calls == [("document", "0-0"), ("document", "0-1"), ("settled", "0-0"), ("verified", 100)]
    assert held.deleted == ["0-0"]


@pytest_twisted.ensureDeferred
async def test_a_document_that_reads_back_wrong_twice_is_an_error(tmp_path):
    held = HeldStore(bad_reads=2)
    held.is_held = False

    with pytest.raises(DocumentCorrupt, match="reads back"):
        await store(held, spooled(tmp_path, 0), Verify.FULL)


@pytest_twisted.ensureDeferred
async def test_without_verification_nothing_is_read(tmp_path):
    held = HeldStore(bad_reads=99)
    held.is_held = False

    assert await store(held, spooled(tmp_path, 0), Verify.NONE) == [("document", "0-0")]
    assert held.bad_reads == 99


@pytest_twisted.ensureDeferred
async def test_a_document_of_a_video_that_was_deleted_meanwhile_does_not_stay_in_the_store(tmp_path):
    """Nobody else would know of it: its row was refused, and nothing is owed for it."""
    store = HeldStore()
    store.is_held = False
    uploader, notes, deliver = make(store)

    async def refuse(*_, **__):
        raise NotFound("film was deleted meanwhile")

    notes.record_document = refuse
    deliver(spooled(tmp_path, 0))
    with pytest.raises(NotFound):
        await uploader.finish()
    assert store.deleted == ["0-0"]
