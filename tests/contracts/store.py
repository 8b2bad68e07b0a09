# SPDX-License-Identifier: MIT
"""What every Store must do: run by the directory store, Telegram over the emulator, and the fake.

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path): ...       # or a pytest_twisted.async_yield_fixture

``truncate_stored`` is a hook: a store that can have its copy shortened behind its back overrides it.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import ClassVar

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from tgsyncd.errors import DocumentCorrupt, DocumentMissing
from tgsyncd.model import DocumentLabel, VideoId

CHUNK_MAX_BYTES = 256 * 1024


def some_bytes(size_bytes, seed=0):
    """Bytes that do not repeat, so that a range from the wrong place shows."""
    return random.Random(seed * 1_000_003 + size_bytes).randbytes(size_bytes)


def make_document(directory, size_bytes=100_000, *, number=0, seed=0, **label):
    """Write a document file; return its path, its label and its bytes."""
    data = some_bytes(size_bytes, seed)
    path = directory / f"document-{seed}-{number}.bin"
    path.write_bytes(data)
    fields = {
        "library_id": "0123456789abcdef",
        "video_id": VideoId("film"),
        "revision": 1,
        "rendition": "main",
        "number": number,
        "size_bytes": size_bytes,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return path, DocumentLabel(**{**fields, **label}), data


async def read(store, ref, start=0, stop=None):
    """Read a byte range; check the promise about chunks on the way."""
    chunks = []
    async for chunk in store.open(ref, start, ref.size_bytes if stop is None else stop):
        assert 0 < len(chunk) <= CHUNK_MAX_BYTES
        chunks.append(chunk)
    return b"".join(chunks)


def together(*coroutines):
    """Run coroutines at once; await all their results."""
    return gatherResults([Deferred.fromCoroutine(coroutine) for coroutine in coroutines], consumeErrors=True)


class StoreContract:
    """Inherit, and provide the fixture ``store``."""

    deleted_cannot_be_opened: ClassVar[bool] = True
    """False where a deleted document may be readable for a while."""

    async def truncate_stored(self, store, ref):
        """Shorten the stored copy behind the store's back."""
        pytest.skip("this store's copies cannot be shortened by a test")

    @pytest_twisted.ensureDeferred
    async def test_what_was_put_can_be_read(self, store, tmp_path):
        """The same bytes come back, and the ref says what they are."""
        path, label, data = make_document(tmp_path, 700_001)
        ref = await store.put(path, label)
        assert (ref.size_bytes, ref.sha256) == (label.size_bytes, label.sha256)
        assert ref.file_unique_id
        assert await read(store, ref) == data

    @pytest_twisted.ensureDeferred
    async def test_put_leaves_the_file_alone_and_needs_it_no_more(self, store, tmp_path):
        """The source is not changed, and may go as soon as put returns."""
        path, label, data = make_document(tmp_path, 300_000)
        ref = await store.put(path, label)
        assert path.read_bytes() == data
        path.unlink()
        assert await read(store, ref) == data

    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (0, 1),
            (0, 300_000),
            (1, 2),
            (65_535, 65_537),
            (262_143, 262_145),
            (299_999, 600_000),
            (599_999, 600_000),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_any_range_is_exact(self, store, tmp_path, start, stop):
        """Exactly the bytes asked for, at both ends."""
        path, label, data = make_document(tmp_path, 600_000)
        ref = await store.put(path, label)
        assert await read(store, ref, start, stop) == data[start:stop]

    @pytest_twisted.ensureDeferred
    async def test_an_empty_range_is_empty(self, store, tmp_path):
        """No bytes, no error."""
        path, label, _ = make_document(tmp_path, 1000)
        ref = await store.put(path, label)
        assert await read(store, ref, 500, 500) == b""

    @pytest_twisted.ensureDeferred
    async def test_a_document_of_one_byte(self, store, tmp_path):
        """The smallest document there is."""
        path, label, data = make_document(tmp_path, 1)
        ref = await store.put(path, label)
        assert await read(store, ref) == data

    @pytest_twisted.ensureDeferred
    async def test_the_longest_label_is_stored(self, store, tmp_path):
        """A label as long and as foreign as labels get is no obstacle."""
        path, label, data = make_document(
            tmp_path,
            2000,
            number=99_999,
            video_id=VideoId("v" * 100),
            revision=10_000,
            rendition="extra",
            filename=".日本語 ✓.forced.srt",
        )
        ref = await store.put(path, label)
        assert await read(store, ref) == data

    @pytest_twisted.ensureDeferred
    async def test_equal_bytes_are_separate_documents(self, store, tmp_path):
        """Documents are not shared: deleting one leaves its twin."""
        path, label, data = make_document(tmp_path, 5000)
        first = await store.put(path, label)
        second = await store.put(path, replace(label, video_id=VideoId("other")))
        assert list(await store.delete([first])) == []
        assert await read(store, second) == data
        assert await store.exists(second)

    @pytest_twisted.ensureDeferred
    async def test_many_puts_and_reads_at_once(self, store, tmp_path):
        """Eight at a time do not mix."""
        made = [make_document(tmp_path, 100_000 + n, number=n, seed=n) for n in range(8)]
        refs = await together(*(store.put(path, label) for path, label, _ in made))
        read_back = await together(*(read(store, ref) for ref in refs))
        assert read_back == [data for _, _, data in made]
        assert len({(ref.message_id, ref.file_unique_id) for ref in refs}) == 8

    @pytest_twisted.ensureDeferred
    async def test_exists_until_deleted(self, store, tmp_path):
        """``exists`` tells the truth on both sides of a deletion."""
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        assert await store.exists(ref)
        assert list(await store.delete([ref])) == []
        assert not await store.exists(ref)

    @pytest_twisted.ensureDeferred
    async def test_delete_is_idempotent(self, store, tmp_path):
        """What is gone counts as deleted, alone and among others."""
        path, label, _ = make_document(tmp_path)
        first = await store.put(path, label)
        second = await store.put(path, replace(label, number=1))
        assert list(await store.delete([first])) == []
        assert list(await store.delete([first, second])) == []
        assert list(await store.delete([first, second])) == []
        assert list(await store.delete([])) == []

    @pytest_twisted.ensureDeferred
    async def test_a_deleted_document_is_missing(self, store, tmp_path):
        """Reading it fails with DocumentMissing, not with something to be retried."""
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        await store.delete([ref])
        if not self.deleted_cannot_be_opened:
            pytest.skip("a deleted document may stay readable for a while")
        with pytest.raises(DocumentMissing):
            await read(store, ref)

    @pytest_twisted.ensureDeferred
    async def test_a_reader_may_leave(self, store, tmp_path):
        """``aclose`` in the middle, twice, harms nobody who comes after."""
        path, label, data = make_document(tmp_path, 2_000_000)
        ref = await store.put(path, label)
        for _ in range(20):
            reader = store.open(ref, 0, ref.size_bytes)
            assert data.startswith(await anext(reader))
            await reader.aclose()
            await reader.aclose()
        assert await read(store, ref) == data

    @pytest_twisted.ensureDeferred
    async def test_a_shortened_copy_is_corrupt(self, store, tmp_path):
        """Fewer bytes than promised are an error, never a short answer."""
        path, label, _ = make_document(tmp_path, 400_000)
        ref = await store.put(path, label)
        await self.truncate_stored(store, ref)
        with pytest.raises(DocumentCorrupt):
            await read(store, ref)
