# SPDX-License-Identifier: MIT
"""
The fault matrix: every fault of the emulator by {upload, read back, download, look, delete, start-up}.

Each operation ends right although the fault strikes, nothing is lost, nothing is stored twice. Time is
simulated: a wait of three hours takes a moment.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.contracts.store import make_document, read, together
from tests.stores.telegram.support import a_world, until

SIZE = 300_000


def revoked(world):
    world.emulator.state.revoke_token(world.bots[0].bot_id)


def kicked(world):
    world.emulator.state.set_member(world.chats[0].chat_id, world.bots[0], "kicked")


def ranges_ignored(world):
    world.emulator.knobs.change(range_honoured=False)


def paths_expired(world):
    world.emulator.state.expire_paths()


def refused_for_20_s(world):
    """Connections are cut, and none is taken."""
    down = Deferred.fromCoroutine(world.emulator.go_down())
    world.clock.callLater(20.0, lambda: down.addCallback(lambda _: come_back(world)))


def come_back(world):
    return Deferred.fromCoroutine(world.emulator.come_back())


# What goes wrong, and what it is that it shall strike.
FAULTS = {
    "flood of 5 s": [{"kind": "flood", "retry_after_s": 5, "times": 2}],
    "flood of 3 h": [{"kind": "flood", "retry_after_s": 10_800, "times": 2}],
    "flood on downloads": [{"kind": "flood", "method": "download", "retry_after_s": 30}],
    "500 as JSON": [{"kind": "error", "code": 500, "times": 2}],
    "502 as HTML": [{"kind": "html", "code": 502, "times": 2}],
    "504 as HTML": [{"kind": "html", "code": 504, "times": 2}],
    "connection dropped": [{"kind": "drop", "times": 2}],
    "reset in the upload": [{"kind": "reset_upload", "times": 2}],
    "upload stalls": [{"kind": "stall_upload", "method": "sendDocument", "seconds": 40.0}],
    "lost acknowledgement": [{"kind": "lost_acknowledgement"}],
    "lost acknowledgement twice": [{"kind": "lost_acknowledgement", "times": 2}],
    "no answer": [{"kind": "stall", "times": 1}],
    "late answer": [{"kind": "late_answer", "seconds": 45.0}],
    "truncated": [{"kind": "truncate", "times": 3}],
    "reset in the download": [{"kind": "reset_download", "times": 3}],
    "download stalls": [{"kind": "stall_download", "times": 2}],
    "temporarily unavailable": [{"kind": "temporarily_unavailable", "method": "getFile", "times": 3}],
    "401 for a moment": [{"kind": "error", "code": 401, "times": 1}],
    "404 on the file": [{"kind": "error", "code": 404, "method": "download", "times": 2}],
    "a bot's token is revoked": [revoked],
    "a bot is kicked": [kicked],
    "Range is ignored": [ranges_ignored],
    "file_paths have expired": [paths_expired],
    "connections are refused": [refused_for_20_s],
    "all at once": [
        {"kind": "html", "code": 502},
        {"kind": "flood", "retry_after_s": 100},
        {"kind": "lost_acknowledgement", "method": "sendDocument"},
        {"kind": "truncate"},
        {"kind": "temporarily_unavailable", "method": "getFile"},
    ],
}

matrix = pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())


def strike(world, faults):
    for fault in faults:
        if callable(fault):
            fault(world)
        else:
            world.emulator.faults.add(**fault)


def assert_only(world, *refs):
    """The chats hold exactly these documents."""
    world.emulator.faults.clear()
    assert world.documents() == sorted((ref.chat_id, ref.message_id) for ref in refs)


@matrix
@pytest_twisted.ensureDeferred
async def test_upload(tmp_path, faults):
    """Stored once, whole, whatever happens on the way."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, data = make_document(tmp_path, SIZE)
        strike(world, faults)
        ref = await store.put(path, label)
        assert_only(world, ref)
        assert await read(store, ref) == data
        world.intents.record(label, ref)
        assert not world.intents.open


@matrix
@pytest_twisted.ensureDeferred
async def test_read_back(tmp_path, faults):
    """What was just stored is read whole: the verification of an ingest."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, data = make_document(tmp_path, SIZE)
        ref = await store.put(path, label)
        strike(world, faults)
        assert await read(store, ref) == data
        assert_only(world, ref)


@matrix
@pytest_twisted.ensureDeferred
async def test_download_while_playing(tmp_path, faults):
    """A range out of the middle, by a store that has just started, while the fault is already there."""
    async with a_world(tmp_path) as world:
        path, label, data = make_document(tmp_path, SIZE)
        ref = await world.store().put(path, label)
        strike(world, faults)
        store = world.store()
        assert await read(store, ref, 100_001, 290_001) == data[100_001:290_001]
        assert await read(store, ref, 0, 10) == data[:10]


@matrix
@pytest_twisted.ensureDeferred
async def test_exists(tmp_path, faults):
    """A document that is there is not called missing."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path, SIZE)
        ref = await store.put(path, label)
        strike(world, faults)
        assert await store.exists(ref)


@matrix
@pytest_twisted.ensureDeferred
async def test_delete_young_and_old(tmp_path, faults):
    """Both ways of deleting get there."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path, SIZE)
        old = await store.put(path, label)
        world.clock.advance(3 * 86_400)
        young = await store.put(path, replace(label, number=1))
        strike(world, faults)
        assert list(await store.delete([old, young])) == []
        assert_only(world)


@matrix
@pytest_twisted.ensureDeferred
async def test_start_up(tmp_path, faults):
    """After a kill in the middle of two uploads: one had arrived, one had not."""
    async with a_world(tmp_path) as world:
        path, label, data = make_document(tmp_path, SIZE)
        other_path, other, other_data = make_document(tmp_path, SIZE, number=1, seed=1)
        first = world.store()
        before = await first.put(*make_document(tmp_path, 1000, number=7)[:2])
        world.intents.open.clear()
        world.emulator.faults.add("late_answer", method="sendDocument", seconds=1e6)
        killed = [Deferred.fromCoroutine(first.put(path, label))]
        await until(world, lambda: len(world.documents()) == 2)
        world.emulator.faults.add("stall_upload", method="sendDocument")
        killed.append(Deferred.fromCoroutine(first.put(other_path, other)))
        await until(world, lambda: len(world.intents.open) == 2)
        for upload in killed:
            upload.addErrback(lambda _failure: None)
            upload.cancel()
        world.emulator.faults.clear()

        strike(world, faults)
        store = world.store()
        result = await store.reconcile(list(world.intents.open.values()))
        assert (len(result.adopted), result.absent) == (1, 1)
        refs = await together(store.put(path, label), store.put(other_path, other))
        assert [await read(store, ref) for ref in refs] == [data, other_data]
        assert_only(world, before, *refs)
