# SPDX-License-Identifier: MIT
"""A local Bot API server: files come from its disk, and are freed."""

from __future__ import annotations

import logging
import os
import traceback
from pathlib import Path

import pytest
import pytest_twisted

from tests.contracts.store import StoreContract, make_document, read
from tests.stores.telegram.support import a_world, end_world, make_world
from tgsyncd.errors import StoreUnavailable
from tgsyncd.stores.telegram.check import Severity, check_telegram
from tgsyncd.stores.telegram.download import Interrupted
from tgsyncd.stores.telegram.files import LOCAL_FILE_KEPT_S, _read


class TestLocalServer(StoreContract):
    """The contract, with absolute file_paths."""

    deleted_cannot_be_opened = False

    @pytest_twisted.async_yield_fixture
    async def world(self, tmp_path):
        world = await make_world(tmp_path, local=True)
        yield world
        await end_world(world)

    @pytest.fixture
    def store(self, world):
        return world.store()


@pytest_twisted.ensureDeferred
async def test_larger_documents_are_possible(tmp_path):
    """25 MB: the cloud would refuse to give them back."""
    async with a_world(tmp_path, local=True) as world:
        store = world.store()
        path, label, data = make_document(tmp_path, 25_000_000)
        ref = await store.put(path, label)
        assert await read(store, ref) == data
        assert world.emulator.calls("download") == []


@pytest_twisted.ensureDeferred
async def test_the_servers_copy_is_freed_after_reading(tmp_path):
    """Some minutes after the last reader; read again, it is fetched again."""
    async with a_world(tmp_path, local=True) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        assert await read(store, ref) == data
        paths = list(store._files._freeing)
        assert len(paths) == 1
        world.clock.advance(LOCAL_FILE_KEPT_S + 1)
        assert store._files._freeing == {}


@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_be_read_is_told_without_its_path(tmp_path, caplog):
    """The folder's name is the bot's token, and the system's own words quote the path."""
    caplog.set_level(logging.DEBUG, logger="tgsyncd")
    async with a_world(tmp_path, bots=1, local=True, patience_s=5.0) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        assert await read(store, ref) == data
        (kept,) = map(Path, store._files._freeing)
        secret = world.bots[0].token.partition(":")[2]
        assert secret in str(kept)
        kept.unlink()
        kept.symlink_to(kept.name)  # a loop: not even root can open it
        with pytest.raises(StoreUnavailable, match="symbolic links") as raised:
            await read(store, ref)
        kept.unlink()
    assert secret not in "".join(traceback.format_exception(raised.value))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("tgsyncd")]
    assert secret not in "".join(ours)


def test_an_error_in_the_middle_of_a_file_is_an_interruption(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(Interrupted, match="Is a directory") as raised:
            _read(fd, 10, 0)
    finally:
        os.close(fd)
    assert raised.value.__suppress_context__


@pytest_twisted.ensureDeferred
async def test_doctor_warns(tmp_path):
    """What is large can never be read through the cloud again."""
    async with a_world(tmp_path, local=True, simulated=False) as world:
        found = await check_telegram(world.settings, reactor=world.reactor, clock=world.clock)
        assert [finding.severity for finding in found].count(Severity.WARNING) == 1
        assert not [finding for finding in found if finding.severity is Severity.PROBLEM]
