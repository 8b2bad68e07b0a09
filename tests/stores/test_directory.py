# SPDX-License-Identifier: MIT
"""The directory store runs the store contract, and keeps promises of its own."""

import hashlib
import os
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.contracts.store import StoreContract, make_document, read
from tgsyncd.errors import DocumentCorrupt, StoreError, StoreUnavailable
from tgsyncd.ingest.verify import read_back
from tgsyncd.model import DocumentRef
from tgsyncd.stores.directory import DirectoryStore


class TestDirectoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return DirectoryStore(tmp_path / "store", reactor)

    async def truncate_stored(self, store, ref):
        os.truncate(store._root / ref.file_unique_id, ref.size_bytes // 2)


@pytest_twisted.ensureDeferred
async def test_a_document_stored_twice_is_there_once(tmp_path):
    """A put repeated after a kill lands on the same name: no orphans."""
    store = DirectoryStore(tmp_path / "store", reactor)
    path, label, data = make_document(tmp_path, 1000)

    first, second = await store.put(path, label), await store.put(path, label)

    assert first == second
    assert await read(store, second) == data
    assert len([file for file in (tmp_path / "store").rglob("*") if file.is_file()]) == 1


@pytest_twisted.ensureDeferred
async def test_the_store_shares_no_bytes_that_the_spool_may_change(tmp_path):
    """A spool file is removed, never rewritten: the linked document survives it."""
    store = DirectoryStore(tmp_path / "store", reactor)
    path, label, data = make_document(tmp_path, 1000)

    ref = await store.put(path, label)
    path.unlink()

    assert await read(store, ref) == data


@pytest_twisted.ensureDeferred
async def test_deleting_removes_empty_folders(tmp_path):
    """Nothing of a deleted video stays behind."""
    store = DirectoryStore(tmp_path / "store", reactor)
    path, label, _ = make_document(tmp_path, 1000)

    await store.delete([await store.put(path, label)])

    assert list((tmp_path / "store").iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_a_store_that_cannot_be_made_says_where_and_what_to_do(tmp_path):
    """An unmounted disk is a trouble that passes, not a loss."""
    (tmp_path / "file").write_text("not a folder")
    store = DirectoryStore(tmp_path / "file" / "store", reactor)
    path, label, _ = make_document(tmp_path, 1000)

    with pytest.raises(StoreUnavailable, match="check that the disk is mounted"):
        await store.put(path, label)


@pytest_twisted.ensureDeferred
async def test_a_ref_that_leads_out_of_the_store_is_refused(tmp_path):
    """A catalog from elsewhere does not make us read other files."""
    store = DirectoryStore(tmp_path / "store", reactor)
    ref = DocumentRef(chat_id=0, message_id=0, file_unique_id="../../etc/passwd", size_bytes=1, sha256="")

    with pytest.raises(StoreError, match="not a name of this store"):
        await store.exists(ref)


@pytest_twisted.ensureDeferred
async def test_the_store_hashes_what_it_has_not_what_it_should_have(tmp_path):
    store = DirectoryStore(tmp_path / "store", reactor)
    path, label, data = make_document(tmp_path, 3_000_000)
    ref = await store.put(path, label)
    assert await store.sha256(ref) == ref.sha256

    stored = tmp_path / "store" / ref.file_unique_id
    stored.write_bytes(data[:-1])
    assert await store.sha256(ref) == hashlib.sha256(data[:-1]).hexdigest()
    with pytest.raises(DocumentCorrupt, match="reads back"):
        await read_back(store, ref)


class Intents:
    """What the catalog remembers of uploads that began; nothing is ever recorded."""

    def __init__(self):
        self.open = {}

    async def record_intent(self, label, *, bot_id, chat_id):
        self.open[len(self.open) + 1] = label
        return len(self.open)

    async def forget_intent(self, intent_id):
        del self.open[intent_id]

    def rows(self):
        return [SimpleNamespace(intent_id=number, label=label) for number, label in self.open.items()]


@pytest_twisted.ensureDeferred
async def test_what_was_stored_for_nothing_is_found_by_its_intent(tmp_path):
    """A kill before it was recorded, and another source file since: only what may be put again stays."""
    intents = Intents()
    store = DirectoryStore(tmp_path / "store", reactor, intents=intents)
    path, label, data = make_document(tmp_path, 1000)
    ref = await store.put(path, label)

    assert await store.remove_orphans(intents.rows(), is_wanted=lambda _: True) == 0
    assert await read(store, ref) == data
    assert await store.remove_orphans(intents.rows(), is_wanted=lambda _: False) == 1

    assert list((tmp_path / "store").iterdir()) == []
    assert not intents.open
