# SPDX-License-Identifier: MIT
"""Downloads: resumed at the byte, slowed by the reader, closed with the reader, asked for ahead."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from tests.contracts.store import StoreContract, make_document, read, together
from tests.stores.telegram.support import a_world, end_world, make_world, real_time, until
from tgsyncd.stores.telegram.download import CHUNK_MAX_BYTES, Interrupted, _Body

MB = 1_000_000


def downloads(world):
    return world.emulator.calls("download")


class TestRangeIgnored(StoreContract):
    """A file server that answers every Range with 200 and the whole file."""

    deleted_cannot_be_opened = False

    @pytest_twisted.async_yield_fixture
    async def world(self, tmp_path):
        world = await make_world(tmp_path)
        world.emulator.knobs.change(range_honoured=False)
        yield world
        await end_world(world)

    @pytest.fixture
    def store(self, world):
        return world.store()


@pytest_twisted.ensureDeferred
async def test_a_broken_download_goes_on_at_the_byte_reached(tmp_path):
    """Twenty breaks, and hardly a byte is fetched twice."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, data = make_document(tmp_path, 4 * MB)
        ref = await store.put(path, label)
        world.emulator.faults.add("reset_download", times=20)
        assert await read(store, ref) == data
        ranges = [call.range for call in downloads(world)]
        assert len(ranges) == 21
        assert sum(call.download_bytes for call in downloads(world)) < 1.5 * len(data) + 20 * 2 * MB


@pytest_twisted.ensureDeferred
async def test_one_get_file_serves_an_hour_of_reading(tmp_path):
    """And one more after it: the link is kept until shortly before it expires."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        for _ in range(10):
            assert await read(store, ref, 5, 500) == data[5:500]
        assert len(world.emulator.calls("getFile")) == 1
        world.clock.advance(56 * 60)
        assert await read(store, ref) == data
        assert len(world.emulator.calls("getFile")) == 2
        assert [call.status for call in downloads(world)] == [206] * 10 + [200]


@pytest_twisted.ensureDeferred
async def test_a_link_that_expires_early_is_renewed(tmp_path):
    """As after a restart of the Bot API server."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        await read(store, ref)
        world.emulator.state.expire_paths()
        assert await read(store, ref) == data
        assert len(world.emulator.calls("getFile")) == 2


@pytest_twisted.ensureDeferred
async def test_many_readers_ask_once(tmp_path):
    """Ten readers of one document at the same moment are one getFile."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        world.emulator.knobs.change(latency_s=0.5)
        assert await together(*(read(store, ref) for _ in range(10))) == [data] * 10
        assert len(world.emulator.calls("getFile")) == 1


@pytest_twisted.ensureDeferred
async def test_a_bot_is_asked_for_few_files_at_a_time(tmp_path):
    """Six of thirty at once; more would stall (getFile downloads the whole file first)."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store(uploads_per_bot=30)
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(30)]
        refs = await together(*(store.put(path, label) for path, label, _ in made))
        world.emulator.knobs.change(latency_s=1.0)
        assert await together(*(read(store, ref) for ref in refs)) == [data for _, _, data in made]
        assert world.emulator.peaks["getfile"] == 6


@pytest_twisted.ensureDeferred
async def test_a_reader_that_leaves_disturbs_no_other(tmp_path):
    """Both wait for the same getFile; one is cancelled."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        world.emulator.knobs.change(latency_s=2.0)
        leaving = Deferred.fromCoroutine(read(store, ref))
        staying = Deferred.fromCoroutine(read(store, ref))
        leaving.addErrback(lambda _failure: None)
        leaving.cancel()
        assert await staying == data


@pytest_twisted.ensureDeferred
async def test_asking_ahead_saves_the_wait(tmp_path):
    """getFile of a large file takes seconds: asked ahead, the reader does not see them."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, data = make_document(tmp_path, MB)
        ref = await store.put(path, label)
        world.emulator.knobs.change(get_file_s_per_mib=10.0)
        store.prefetch(ref)
        store.prefetch(ref)
        await until(
            world, lambda: world.emulator.calls("getFile") and world.emulator.calls("getFile")[0].is_over
        )
        before_s = world.clock.seconds()
        assert await read(store, ref) == data
        assert world.clock.seconds() - before_s < 1
        assert len(world.emulator.calls("getFile")) == 1


@pytest_twisted.ensureDeferred
async def test_asking_ahead_never_fails(tmp_path):
    """Of unknown documents, with no bot, with a server that is down."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        store.prefetch(replace(ref, file_ids={}))
        await world.emulator.go_down()
        store.prefetch(replace(ref, file_ids={world.bots[0].bot_id: "BQACAgNonsense"}))
        await until(world, lambda: not store._links._flights)


@pytest_twisted.ensureDeferred
async def test_a_reader_that_stops_stops_the_download(tmp_path):
    """Nothing but what the sockets hold is fetched for a reader that takes one chunk of 16 MB."""
    async with a_world(tmp_path, bots=1, simulated=False) as world:
        store = world.store()
        path, label, data = make_document(tmp_path, 16 * MB)
        ref = await store.put(path, label)
        reader = store.open(ref, 0, ref.size_bytes)
        got = await anext(reader)
        await real_time(world, 0.3)
        (channel,) = [channel for channel in world.emulator._channels if channel.requests]
        sender_sent = store._links.in_use  # still reading
        assert sender_sent.total() == 1
        assert channel.transport.connected
        chunks = [got]
        async for chunk in reader:
            chunks.append(chunk)
        assert b"".join(chunks) == data


@pytest_twisted.ensureDeferred
async def test_closing_the_reader_closes_the_connection(tmp_path):
    """The server sees it at once, and stops sending."""
    async with a_world(tmp_path, bots=1, simulated=False) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path, 16 * MB)
        ref = await store.put(path, label)
        reader = store.open(ref, 0, ref.size_bytes)
        await anext(reader)
        await reader.aclose()
        await until(world, lambda: downloads(world)[0].is_over)
        assert downloads(world)[0].download_bytes < 12 * MB
        assert store._links.in_use.total() == 0


# --- the body protocol alone -----------------------------------------------------------------------


class FakeTransport:
    def __init__(self):
        self.paused = False
        self.aborted = False

    def pauseProducing(self):
        self.paused = True

    def resumeProducing(self):
        self.paused = False

    def abortConnection(self):
        self.aborted = True


def make_body():
    clock, transport = Clock(), FakeTransport()
    body = _Body(clock, 20.0)
    body.makeConnection(transport)
    return body, clock, transport


def read_one(body):
    results = []
    Deferred.fromCoroutine(body.read()).addBoth(results.append)
    return results


def test_at_most_256_kib_wait_for_the_reader():
    """The transport is paused in time, and resumed when the reader has caught up."""
    body, _, transport = make_body()
    unread = 0
    while not transport.paused:
        body.dataReceived(b"x" * 65_536)
        unread += 65_536
    assert unread <= CHUNK_MAX_BYTES - 65_536
    while transport.paused:
        unread -= len(read_one(body)[0])
    assert unread > 0


def test_a_stalled_body_is_given_up():
    """After 20 s without a byte, with what came before still readable."""
    body, clock, transport = make_body()
    body.dataReceived(b"abc")
    assert read_one(body) == [b"abc"]
    waiting = read_one(body)
    clock.advance(19)
    assert waiting == []
    clock.advance(2)
    assert waiting[0].check(Interrupted)
    assert transport.aborted


def test_a_reader_that_is_slow_is_not_a_stall():
    """While the transport is paused it is not the server that is late."""
    body, clock, transport = make_body()
    while not transport.paused:
        body.dataReceived(b"x" * 65_536)
    clock.advance(3600)
    assert not transport.aborted
    assert clock.getDelayedCalls() == []


def test_the_end_of_a_body():
    """Bytes first, then the end, however often it is asked for."""
    body, clock, _ = make_body()
    body.dataReceived(b"abc")
    body.connectionLost(Failure(ResponseDone()))
    assert [read_one(body) for _ in range(3)] == [[b"abc"], [b""], [b""]]
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_two_readers_of_one_document_use_two_bots(tmp_path):
    """Even when one bot has more to do elsewhere: who reads one twice wants a second line."""
    async with a_world(tmp_path, bots=2) as world:
        store = world.store()
        path, label, data = make_document(tmp_path, MB)
        ref = await store.put(path, label)
        assert store.bots_for(ref) == 2
        busy, _ = ref.file_ids
        store._links.in_use[busy] += 5
        world.emulator.knobs.change(latency_s=1.0)
        assert await together(read(store, ref), read(store, ref)) == [data, data]
        assert len({call.bot_id for call in downloads(world)}) == 2
        assert store._reader._under_way == {}


@pytest.mark.parametrize("honoured", [True, False])
@pytest_twisted.ensureDeferred
async def test_it_is_known_whether_ranges_are_honoured(tmp_path, honoured):
    """From the answers: not before one was seen."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        world.emulator.knobs.change(range_honoured=honoured)
        assert await read(store, ref) == data
        assert not store.honours_ranges()
        assert await read(store, ref, 5, 500) == data[5:500]
        assert store.honours_ranges() is honoured


@pytest_twisted.ensureDeferred
async def test_a_reader_that_leaves_before_the_answer_leaves_nothing_behind(tmp_path):
    """His request was sent: it ends with him, and is not taken for trouble and made again."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        assert await read(store, ref) == data
        stall = world.emulator.faults.add("stall", method="download")
        chunks = store.open(ref, 0, ref.size_bytes)
        leaving = Deferred.fromCoroutine(anext(chunks))
        await until(world, lambda: stall.struck)
        leaving.cancel()
        with pytest.raises(CancelledError):
            await leaving
        await chunks.aclose()
        await real_time(world, 0.2)
        assert len(downloads(world)) == 2
        assert store._links.in_use.total() == 0
