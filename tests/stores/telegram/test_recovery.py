# SPDX-License-Identifier: MIT
"""Lost answers and kills: nothing is stored twice, nothing is sent twice, and the next start tidies up."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.contracts.store import make_document, read, together
from tests.stores.telegram.support import a_world, until
from tgsyncd.errors import StoreUnavailable
from tgsyncd.stores.telegram.limits import LimitRules


def sent(world):
    """Uploads whose bytes the server took wholly."""
    return [call for call in world.emulator.calls("sendDocument") if call.file_bytes]


@pytest_twisted.ensureDeferred
async def test_a_lost_answer_is_adopted_not_sent_again(tmp_path):
    """The message is found by its caption; 20 MB do not go over the wire twice."""
    async with a_world(tmp_path) as world:
        store = world.store()
        world.emulator.faults.add("lost_acknowledgement", method="sendDocument")
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        assert world.documents() == [(ref.chat_id, ref.message_id)]
        assert len(sent(world)) == 1
        assert await read(store, ref) == data


@pytest_twisted.ensureDeferred
async def test_eight_lost_answers_at_once_find_each_their_own(tmp_path):
    """Captions tell them apart."""
    async with a_world(tmp_path) as world:
        store = world.store()
        world.emulator.faults.add("lost_acknowledgement", method="sendDocument", times=5)
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(8)]
        refs = await together(*(store.put(path, label) for path, label, _ in made))
        assert world.documents() == sorted((ref.chat_id, ref.message_id) for ref in refs)
        assert await together(*(read(store, ref) for ref in refs)) == [data for _, _, data in made]
        assert len(sent(world)) == 8


def late_arrival(world):
    """Have the server take a minute to hand the first upload on when nobody waits for it any more."""
    world.emulator.faults.add("stall", method="sendDocument", seconds=3 * 60.0)
    return {"upload_limit_s": 60.0}


@pytest_twisted.ensureDeferred
async def test_a_message_that_arrives_after_the_search_is_deleted(tmp_path):
    """The document is stored by a second attempt when the server has the first one handed on."""
    async with a_world(tmp_path) as world:
        store = world.store(**late_arrival(world))
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        assert [late.label for late in world.memory.kept.late] == [label], "a kill now must not lose it"
        first = sent(world)[0]
        await until(world, lambda: first.is_over and world.documents() == [(ref.chat_id, ref.message_id)])
        assert len(sent(world)) == 2
        assert first.status == 200, "it arrived"
        assert await read(store, ref) == data


@pytest_twisted.ensureDeferred
async def test_a_late_message_is_deleted_when_it_is_refused_at_first(tmp_path):
    """Every deletion fails for a quarter of an hour; the message is looked for again."""
    async with a_world(tmp_path) as world:
        store = world.store(**late_arrival(world))
        path, label, _ = make_document(tmp_path)
        refused = world.emulator.faults.add(
            "error", method="deleteMessage", chat_id=world.chats[0].chat_id, times=None
        )
        ref = await store.put(path, label)
        await until(world, lambda: world.clock.seconds() > 900)
        assert refused.struck
        assert len(world.documents()) == 2
        world.emulator.faults.remove(refused)
        await until(world, lambda: world.documents() == [(ref.chat_id, ref.message_id)])


@pytest_twisted.ensureDeferred
async def test_nothing_is_searched_when_nothing_may_arrive(tmp_path):
    """A lost answer whose message was found is accounted for: an hour brings no more than that search."""
    async with a_world(tmp_path) as world:
        store = world.store()
        world.emulator.faults.add("lost_acknowledgement", method="sendDocument")
        path, label, _ = make_document(tmp_path)
        await store.put(path, label)
        world.clock.callLater(2 * 3600.0, lambda: None)
        await until(world, lambda: world.clock.seconds() > 2 * 3600)
        assert len(world.emulator.calls("sendMessage")) == 1


@pytest_twisted.ensureDeferred
async def test_searches_for_what_never_arrives_end(tmp_path):
    """Twelve in an hour, each for what has arrived since the one before, and one when it is over."""
    async with a_world(tmp_path) as world:
        store = world.store()
        world.emulator.faults.add("drop", method="sendDocument")
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        await until(world, lambda: not world.clock.getDelayedCalls())
        assert 10 <= len(world.emulator.calls("sendMessage")) <= 15
        assert {call.arguments["message_id"] for call in world.emulator.calls("forwardMessage")} == {
            str(ref.message_id)  # another bot learned it; no search looked at it
        }
        assert world.memory.kept.late == ()


@pytest_twisted.ensureDeferred
async def test_failed_puts_are_remembered(tmp_path):
    """put gives up with an answer outstanding; asked again, it looks before it sends."""
    async with a_world(tmp_path, upload_attempts=1) as world:
        store = world.store()
        world.emulator.faults.add("lost_acknowledgement", method="sendDocument")
        path, label, _ = make_document(tmp_path)
        with pytest.raises(StoreUnavailable):
            await store.put(path, label)
        assert len(world.intents.open) == 1
        ref = await store.put(path, label)
        assert world.documents() == [(ref.chat_id, ref.message_id)]
        assert len(sent(world)) == 1


@pytest_twisted.ensureDeferred
async def test_a_definite_failure_leaves_no_intent(tmp_path):
    """There is nothing to look for."""
    async with a_world(tmp_path, upload_attempts=2) as world:
        store = world.store()
        world.emulator.faults.add("reset_upload", method="sendDocument", after_bytes=10, times=2)
        path, label, _ = make_document(tmp_path, 1_000_000)
        with pytest.raises(StoreUnavailable):
            await store.put(path, label)
        assert not world.intents.open
        assert world.documents() == []
        assert world.emulator.calls("sendMessage") == []


@pytest_twisted.ensureDeferred
async def test_a_wrong_size_is_not_kept(tmp_path):
    """What the server says it took is compared."""
    async with a_world(tmp_path, upload_attempts=1) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path)
        with pytest.raises(StoreUnavailable, match="bytes"):
            await store.put(path, replace(label, size_bytes=label.size_bytes + 1))
        assert world.documents() == []
        assert not world.intents.open


@pytest_twisted.ensureDeferred
async def test_a_document_that_could_not_be_verified_is_not_stored_twice(tmp_path):
    """The caller comes back with the same label: it gets the same document, if that still exists."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        again = await store.put(path, label)
        assert (again.chat_id, again.message_id) == (ref.chat_id, ref.message_id)
        await store.delete([ref])
        third = await store.put(path, label)
        assert world.documents() == [(third.chat_id, third.message_id)]
        room = world.emulator.state.chat(third.chat_id)
        world.emulator.state.delete_post(world.emulator.state.post(room, 0, third.message_id))
        fourth = await store.put(path, label)
        assert world.documents() == [(fourth.chat_id, fourth.message_id)]
        assert await read(store, fourth) == data


# --- the next start --------------------------------------------------------------------------------


async def kill_in_the_middle(world, made):
    """Begin uploads, have the server store them, and forget them before any answer comes."""
    store = world.store(uploads_per_bot=50, limits=LimitRules(chat_interval_s=0.0))
    world.emulator.faults.add("late_answer", method="sendDocument", seconds=1e7, times=None)
    world.clock.stop_auto_advance()
    uploads = [Deferred.fromCoroutine(store.put(path, label)) for path, label, _ in made]
    await until(world, lambda: len(world.documents()) >= len(made))
    for upload in uploads:
        upload.addErrback(lambda _failure: None)
        upload.cancel()
    world.auto_advance()
    world.emulator.faults.clear()


@pytest_twisted.ensureDeferred
async def test_the_next_start_adopts_what_had_arrived(tmp_path):
    """And put returns it without sending a byte."""
    async with a_world(tmp_path) as world:
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(5)]
        await kill_in_the_middle(world, made)
        before = len(sent(world))
        store = world.store()
        result = await store.reconcile(list(world.intents.open.values()))
        assert (len(result.adopted), result.deleted, result.absent) == (5, 0, 0)
        assert len(world.intents.open) == 5  # until the catalog records them: we may be killed again
        refs = await together(*(store.put(path, label) for path, label, _ in made))
        assert len(sent(world)) == before
        assert world.documents() == sorted((ref.chat_id, ref.message_id) for ref in refs)
        assert await together(*(read(store, ref) for ref in refs)) == [data for _, _, data in made]
        await until(world, lambda: not world.litter())


@pytest_twisted.ensureDeferred
async def test_what_arrives_after_the_next_start_has_looked_is_deleted(tmp_path):
    """The server has a killed process's document and takes seconds to hand it on; a start takes one."""
    async with a_world(tmp_path) as world:
        path, label, _ = make_document(tmp_path)
        world.emulator.faults.add("stall", method="sendDocument", seconds=30.0)
        world.clock.stop_auto_advance()
        upload = Deferred.fromCoroutine(world.store().put(path, label))
        upload.addErrback(lambda _failure: None)
        await until(world, lambda: world.emulator.resting)
        upload.cancel()
        store = world.store(limits=LimitRules(chat_interval_s=0.0))
        reconciled = await store.reconcile(list(world.intents.open.values()))
        assert (reconciled.adopted, reconciled.absent) == ((), 1)
        assert len(world.intents.open) == 1, "a kill now must not lose it"
        world.clock.advance(31.0)
        await until(world, world.documents)
        world.auto_advance()
        ref = await store.put(path, label)
        assert world.documents() == [(ref.chat_id, ref.message_id)]


@pytest_twisted.ensureDeferred
async def test_what_arrives_when_all_is_recorded_is_deleted_by_the_next_start(tmp_path):
    """Two attempts were killed; one is found and recorded, the other arrives when no intent is left."""
    async with a_world(tmp_path) as world:
        path, label, _ = make_document(tmp_path)
        world.emulator.faults.add("stall", method="sendDocument", seconds=300.0)
        world.clock.stop_auto_advance()
        upload = Deferred.fromCoroutine(world.store().put(path, label))
        upload.addErrback(lambda _failure: None)
        await until(world, lambda: world.emulator.resting)
        upload.cancel()
        store = world.store(limits=LimitRules(chat_interval_s=0.0))
        await store.reconcile(list(world.intents.open.values()))
        saved = world.memory.kept  # a kill may come as soon as the document is recorded
        ref = await store.put(path, label)
        world.intents.record(label, ref)
        await store.close()
        world.clock.advance(301.0)
        await until(world, lambda: len(world.documents()) == 2)
        world.memory.kept = saved  # the killed store saves nothing
        world.auto_advance()

        found = await world.store().reconcile([])

        assert found.deleted == 1
        assert world.documents() == [(ref.chat_id, ref.message_id)]


@pytest_twisted.ensureDeferred
async def test_what_arrives_late_of_a_process_that_could_save_nothing_is_deleted(tmp_path):
    """It is killed within a second of its upload; the one after it too, as soon as all is recorded."""
    async with a_world(tmp_path) as world:
        before, old, _ = make_document(tmp_path, 500, number=7)
        first = world.store(limits=LimitRules(chat_interval_s=0.0))
        world.intents.record(old, await first.put(before, old))
        world.memory.kept = None
        path, label, _ = make_document(tmp_path)
        world.emulator.faults.add("stall", method="sendDocument", seconds=30.0)
        world.clock.stop_auto_advance()
        upload = Deferred.fromCoroutine(first.put(path, label))
        upload.addErrback(lambda _failure: None)
        await until(world, lambda: world.emulator.resting)
        upload.cancel()
        assert world.memory.kept is None

        second = world.store(limits=LimitRules(chat_interval_s=0.0))
        assert (await second.reconcile(list(world.intents.open.values()))).absent == 1
        saved = world.memory.kept  # nothing later: it is killed, too
        world.intents.record(label, await second.put(path, label))
        await second.close()
        world.clock.advance(31.0)
        await until(world, lambda: len(world.documents()) == 3)
        world.memory.kept = saved
        world.auto_advance()

        assert (await world.store().reconcile([])).deleted == 1
        recorded = world.intents.recorded.values()
        assert world.documents() == sorted((ref.chat_id, ref.message_id) for ref in recorded)


@pytest_twisted.ensureDeferred
async def test_what_is_looked_for_while_a_put_is_under_way_is_left_to_it(tmp_path):
    """A search for late uploads does not delete the message that a put of the same label adopts."""
    async with a_world(tmp_path) as world:
        path, label, _ = make_document(tmp_path)
        store = world.store(**late_arrival(world), limits=LimitRules(chat_interval_s=0.0))
        await store.delete([await store.put(path, label)])  # its first attempt may arrive still
        world.clock.stop_auto_advance()
        world.emulator.faults.add("lost_acknowledgement", method="sendDocument")
        putting = Deferred.fromCoroutine(store.put(path, label))
        await until(world, lambda: len(sent(world)) == 3 and sent(world)[2].is_over)
        (lost,) = world.documents()
        assert await store._reconciliation.sweep() == 0
        world.auto_advance()
        ref = await putting
        assert (ref.chat_id, ref.message_id) == lost
        assert len(sent(world)) == 3


@pytest_twisted.ensureDeferred
async def test_an_upload_of_long_ago_is_not_looked_for_again(tmp_path):
    """Nothing arrives after an hour: the whole of an upload is given no longer."""
    async with a_world(tmp_path) as world:
        _, label, _ = make_document(tmp_path)
        await world.intents.record_intent(label, bot_id=1, chat_id=world.chats[0].chat_id)
        (intent,) = world.intents.open.values()
        intent.begun_at_s = world.clock.now_s() - 3601.0
        await world.store().reconcile([intent])
        assert not world.intents.open


@pytest_twisted.ensureDeferred
async def test_the_next_start_deletes_what_nobody_wants(tmp_path):
    """The video was removed meanwhile."""
    async with a_world(tmp_path) as world:
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(3)]
        await kill_in_the_middle(world, made)
        store = world.store()
        result = await store.reconcile(
            list(world.intents.open.values()),
            is_wanted=lambda label: label.number != 1,
        )
        assert (len(result.adopted), result.deleted) == (2, 1)
        assert len(world.documents()) == 2
        assert {intent.label.number for intent in world.intents.open.values()} == {0, 2}


@pytest_twisted.ensureDeferred
async def test_a_put_waits_for_the_reconciliation(tmp_path):
    """An ingest that resumes at once does not send what is being looked for."""
    async with a_world(tmp_path) as world:
        made = [make_document(tmp_path, 1000)]
        await kill_in_the_middle(world, made)
        store = world.store()
        path, label, _ = made[0]
        _, ref = await together(store.reconcile(list(world.intents.open.values())), store.put(path, label))
        assert world.documents() == [(ref.chat_id, ref.message_id)]


@pytest_twisted.ensureDeferred
async def test_a_start_without_network_looks_later(tmp_path):
    """reconcile says so; put then looks by itself before it sends."""
    async with a_world(tmp_path, patience_s=20.0) as world:
        made = [make_document(tmp_path, 1000)]
        await kill_in_the_middle(world, made)
        await world.emulator.go_down()
        store = world.store()
        with pytest.raises(StoreUnavailable):
            await store.reconcile(list(world.intents.open.values()))
        await world.emulator.come_back()
        path, label, _ = made[0]
        ref = await store.put(path, label)
        assert world.documents() == [(ref.chat_id, ref.message_id)]


@pytest_twisted.ensureDeferred
async def test_only_what_stands_above_the_floor_is_looked_at(tmp_path):
    """Thirty documents are accounted for; a kill costs one forward, not thirty."""
    async with a_world(tmp_path) as world:
        store = world.store(limits=LimitRules(chat_interval_s=0.0))
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(30)]
        for path, label, _ in made[:29]:
            world.intents.record(label, await store.put(path, label))
        await store.close()
        world.stores.clear()
        forwards = len(world.emulator.calls("forwardMessage"))
        world.emulator.faults.add("late_answer", method="sendDocument", seconds=1e7)
        world.clock.stop_auto_advance()
        upload = Deferred.fromCoroutine(world.store().put(*made[29][:2]))
        await until(world, lambda: len(world.documents()) == 30)
        upload.addErrback(lambda _failure: None)
        upload.cancel()
        world.auto_advance()
        result = await world.store().reconcile(list(world.intents.open.values()))
        assert len(result.adopted) == 1
        assert len(world.emulator.calls("forwardMessage")) - forwards == 1


@pytest_twisted.ensureDeferred
async def test_other_messages_in_the_chat_are_left_alone(tmp_path):
    """What people write, documents of another library, service messages."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path, 1000)
        await store.put(path, replace(label, library_id="f" * 16))
        room = world.emulator.state.chat(world.chats[0].chat_id)
        world.emulator.state.add_post(room, 0, {"kind": "text", "text": "hello"})
        world.intents.open.clear()
        await kill_in_the_middle(world, [make_document(tmp_path, 1000)])
        before = len(world.emulator.state.posts(room))
        await world.store().reconcile(list(world.intents.open.values()))
        assert len(world.emulator.state.posts(room)) == before


@pytest.mark.parametrize("seed", range(8))
@pytest_twisted.ensureDeferred
async def test_kills_at_random_instants(tmp_path, seed):
    """A faulty server and a process that is killed again and again: each document is there once."""
    chance = random.Random(seed)
    async with a_world(tmp_path, limits=LimitRules(chat_interval_s=0.0)) as world:
        for kind in ("html", "drop", "lost_acknowledgement", "reset_upload"):
            world.emulator.faults.add(kind, probability=0.05, times=None)
        made = [make_document(tmp_path, 3000 + n, number=n, seed=n) for n in range(12)]
        recorded = world.intents.recorded
        while len(recorded) < len(made):
            store = world.store()
            running = [Deferred.fromCoroutine(store.reconcile(list(world.intents.open.values())))]
            for path, label, _ in made:
                if label not in recorded:
                    running.append(Deferred.fromCoroutine(put_and_record(world, store, path, label)))
            calls = len(world.emulator.records)
            lifetime = chance.randrange(3, 150)
            await until(
                world,
                lambda calls=calls, lifetime=lifetime: (
                    len(world.emulator.records) >= calls + lifetime or len(recorded) == len(made)
                ),
            )
            for one in running:
                one.addErrback(lambda _failure: None)
                one.cancel()
            saved = world.memory.kept
            await store.close()
            world.memory.kept = saved  # a SIGKILL saves nothing
        world.emulator.faults.clear()
        store = world.store()
        await store.reconcile(list(world.intents.open.values()))
        assert world.documents() == sorted((ref.chat_id, ref.message_id) for ref in recorded.values())
        for _, label, data in made:
            assert await read(store, recorded[label]) == data


async def put_and_record(world, store, path, label):
    """What an ingest does; recording is durable and comes before the intents are forgotten."""
    ref = await store.put(path, label)
    assert len(await read(store, ref)) == label.size_bytes  # a kill may come before it is recorded
    world.intents.record(label, ref)
