# SPDX-License-Identifier: MIT
"""Bots come and go, are told to wait, get new tokens: the library stays, the reader does not notice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredSemaphore

from tests.contracts.store import make_document, read, together
from tests.stores.telegram.support import a_world, until
from tgsyncd.errors import (
    DocumentCorrupt,
    DocumentMissing,
    StoreRefused,
    StoreUnavailable,
)
from tgsyncd.stores.telegram.limits import LimitRules
from tgsyncd.stores.telegram.settings import BotSettings, Token

SIZE = 2_000_000
THREE_HOURS = 10_800


def settings_for(world, *bots):
    return {"bots": tuple(BotSettings(token=Token(bot.token)) for bot in bots)}


# --- flood waits -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_flood_wait_is_no_attempt(tmp_path):
    """One attempt is allowed, and ten waits pass without consuming it."""
    async with a_world(tmp_path, bots=1, upload_attempts=1) as world:
        store = world.store()
        world.emulator.faults.add("flood", method="sendDocument", times=10, retry_after_s=THREE_HOURS)
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        assert world.documents() == [(ref.chat_id, ref.message_id)]
        assert world.clock.seconds() >= 10 * THREE_HOURS
        assert len(world.emulator.calls("sendDocument")) == 11


@pytest_twisted.ensureDeferred
async def test_a_flood_wait_stops_no_other_bot(tmp_path):
    """One bot waits three hours; the documents go by the other, now."""
    async with a_world(tmp_path, bots=2) as world:
        store = world.store()
        waiting = world.bots[0].bot_id
        world.emulator.faults.add(
            "flood", method="sendDocument", bot_id=waiting, times=None, retry_after_s=THREE_HOURS
        )
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(8)]
        await together(*(store.put(path, label) for path, label, _ in made))
        assert world.clock.seconds() < 60
        assert len(world.emulator.calls("sendDocument", bot_id=waiting)) <= 4


@pytest_twisted.ensureDeferred
async def test_a_flood_wait_stops_no_playback(tmp_path):
    """The uploader may not even call getFile for three hours; another bot reads."""
    async with a_world(tmp_path, bots=2) as world:
        path, label, data = make_document(tmp_path)
        ref = await world.store().put(path, label)
        uploader, *_ = ref.file_ids
        ref = replace(ref, file_ids={uploader: ref.file_ids[uploader]})
        world.emulator.faults.add(
            "flood", method="getFile", bot_id=uploader, times=None, retry_after_s=THREE_HOURS
        )
        assert await read(world.store(), ref) == data
        assert world.clock.seconds() < 60


@pytest_twisted.ensureDeferred
async def test_a_wait_is_kept_over_a_restart(tmp_path):
    """The next start does not even try before the time."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path)
        pair = (world.bots[0].bot_id, world.chats[0].chat_id)
        world.clock.stop_auto_advance()
        world.emulator.faults.add("flood", method="sendDocument", retry_after_s=THREE_HOURS)
        upload = Deferred.fromCoroutine(store.put(path, label))
        upload.addErrback(lambda _failure: None)
        await until(world, lambda: store.limits.blocked_until_s(world.clock.now_s(), *pair) > 0)
        world.clock.advance(2)
        await until(world, lambda: world.memory.kept is not None)
        upload.cancel()
        blocked = world.memory.kept

        world.auto_advance()
        await store.close()
        world.memory.kept = blocked
        await world.store().put(path, label)
        first, second = world.emulator.calls("sendDocument")
        assert second.started_s - first.started_s >= THREE_HOURS


@pytest.mark.parametrize(("count_per", "bots"), [("chat_bot", 1), ("chat_bot", 2), ("chat", 2)])
@pytest_twisted.ensureDeferred
async def test_twenty_a_minute_are_used(tmp_path, count_per, bots):
    """Nearly every slot is used; counted per bot nearly nothing is refused, per chat a handful."""
    async with a_world(tmp_path, bots=bots) as world:
        world.emulator.knobs.change(messages_per_minute=20, messages_per_s=1.0, burst=5, count_per=count_per)
        store = world.store()
        count = 60 * bots
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(count)]
        await together(*(store.put(path, label) for path, label, _ in made))
        per_minute = 20 * (bots if count_per == "chat_bot" else 1)
        ideal_s = (count / per_minute - 1) * 60
        refused = [call for call in world.emulator.calls("sendDocument") if call.status == 429]
        assert len(refused) <= (0 if count_per == "chat_bot" else 16)  # two waves of 8
        assert world.clock.seconds() <= ideal_s / 0.9 + 20
        assert len(world.documents()) == count


@pytest.mark.parametrize(("bots", "chats"), [(2, 2), (1, 3), (3, 1)])
@pytest_twisted.ensureDeferred
async def test_bots_and_chats_share_the_documents_evenly(tmp_path, bots, chats):
    """Each bot has as many in each chat as any other, though a third of the uploads takes much longer."""
    limits = LimitRules(chat_interval_s=0.0, messages_per_minute=1000)
    async with a_world(tmp_path, bots=bots, chats=chats, limits=limits) as world:
        store = world.store()
        world.emulator.knobs.change(latency_s=0.2)
        world.emulator.faults.add(
            "late_answer", method="sendDocument", seconds=7.0, probability=0.3, times=None
        )
        places = DeferredSemaphore(6)
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(36)]

        async def put_and_verify(path, label, data):
            async with places:
                assert await read(store, await store.put(path, label)) == data

        await together(*(put_and_verify(*each) for each in made))
        sent = Counter((call.bot_id, call.chat_id) for call in world.emulator.calls("sendDocument"))
        assert len(sent) == bots * chats
        assert max(sent.values()) - min(sent.values()) <= 1
        assert world.clock.seconds() < 60, "or the first have left the window"


@pytest_twisted.ensureDeferred
async def test_another_bot_learns_each_document_at_once(tmp_path):
    """The ref names two bots, the verification goes through the one that did not store it."""
    async with a_world(tmp_path, bots=3) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        uploader, other = ref.file_ids
        assert await read(store, ref) == data
        assert {call.bot_id for call in world.emulator.calls("download")} == {other}
        world.emulator.state.revoke_token(uploader)
        assert await read(world.store(), ref) == data
        assert len(world.emulator.calls("forwardMessage")) == 1


@pytest_twisted.ensureDeferred
async def test_teaching_another_bot_never_waits(tmp_path):
    """The scratch chat is closed for three hours: the document is stored now, known to one bot."""
    async with a_world(tmp_path) as world:
        store = world.store()
        world.emulator.faults.add("flood", method="forwardMessage", times=None, retry_after_s=THREE_HOURS)
        for number in range(3):
            path, label, _ = make_document(tmp_path, number=number)
            ref = await store.put(path, label)
            assert len(ref.file_ids) == 1
        assert world.clock.seconds() < 60


# --- bots that are lost ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["revoked", "kicked everywhere"])
@pytest_twisted.ensureDeferred
async def test_a_bot_lost_in_the_middle_of_a_download(tmp_path, how):
    """The reader gets every byte in order: another bot derives its own file_id and goes on."""
    async with a_world(tmp_path) as world:
        world.emulator.knobs.change(download_bytes_per_s=500_000.0)
        store = world.store()
        path, label, data = make_document(tmp_path, SIZE)
        ref = await store.put(path, label)
        uploader, *_ = ref.file_ids
        ref = replace(ref, file_ids={uploader: ref.file_ids[uploader]})
        await store.close()
        store = world.store()
        got = bytearray()
        async for chunk in store.open(ref, 0, SIZE):
            if len(got) < SIZE // 3 <= len(got) + len(chunk):
                lose(world, uploader, how)
            got += chunk
        assert bytes(got) == data
        (other,) = {bot.bot_id for bot in world.bots} - {uploader}
        assert [bot_id for _, bot_id, _ in world.learned] == [other]


def lose(world, bot_id, how):
    if how == "revoked":
        world.emulator.state.revoke_token(bot_id)
    else:
        for room in [*world.chats, world.scratch]:
            world.emulator.state.set_member(room.chat_id, bot_id, "kicked")
        world.emulator.faults.add("temporarily_unavailable", method="getFile", bot_id=bot_id, times=None)
    world.emulator.state.expire_paths()
    for channel in list(world.emulator._channels):  # what the server had begun to send ends here
        channel.transport.abortConnection()


@pytest_twisted.ensureDeferred
async def test_uploads_go_on_without_a_revoked_or_kicked_bot(tmp_path):
    """Three bots, one revoked, one kicked: the third takes all, and no attempt is lost."""
    async with a_world(tmp_path, bots=3, upload_attempts=1) as world:
        store = world.store()
        revoked, kicked, well = (bot.bot_id for bot in world.bots)
        world.emulator.state.revoke_token(revoked)
        world.emulator.state.set_member(world.chats[0].chat_id, kicked, "kicked")
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(6)]
        refs = await together(*(store.put(path, label) for path, label, _ in made))
        assert {bot_id for ref in refs for bot_id in ref.file_ids} == {well}


@pytest_twisted.ensureDeferred
async def test_a_bot_that_comes_back_is_used_again(tmp_path):
    """A spell of 401 takes nobody out for good."""
    async with a_world(tmp_path, bots=1) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        world.emulator.faults.add("error", code=401, times=3)
        assert await read(store, ref) == data
        await store.put(path, replace(label, number=1))


@pytest_twisted.ensureDeferred
async def test_without_any_bot_both_directions_say_what_to_do(tmp_path):
    """Refused, with a hint, after some patience: not "try again", not "missing"."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        for bot in world.bots:
            world.emulator.state.revoke_token(bot.bot_id)
        world.emulator.state.expire_paths()
        for attempt in (store.put(path, replace(label, number=1)), read(store, ref)):
            with pytest.raises(StoreRefused) as caught:
                await attempt
            assert "doctor" in caught.value.hint
        assert list(await store.delete([ref])) == [ref]


@pytest_twisted.ensureDeferred
async def test_new_tokens_and_another_order_leave_the_library_intact(tmp_path):
    """The bots are known by their ids: every file_id goes on working, nothing is derived."""
    async with a_world(tmp_path) as world:
        made = [make_document(tmp_path, 1000 + n, number=n, seed=n) for n in range(4)]
        store = world.store()
        refs = [await store.put(path, label) for path, label, _ in made]
        renewed = [world.emulator.state.renew_token(bot.bot_id) for bot in world.bots]
        store = world.store(**settings_for(world, *reversed(renewed)))
        for ref, (_, _, data) in zip(refs, made, strict=True):
            assert await read(store, ref) == data
        assert not world.learned


@pytest_twisted.ensureDeferred
async def test_wholly_new_bots_read_the_library(tmp_path):
    """All old bots are gone; a new administrator of the chat derives what it needs, once each."""
    async with a_world(tmp_path) as world:
        path, label, data = make_document(tmp_path)
        ref = await world.store().put(path, label)
        await until(world, lambda: not world.litter())
        new = world.emulator.state.add_bot("new")
        for room in [*world.chats, world.scratch]:
            world.emulator.state.set_member(room.chat_id, new)
        for bot in world.bots:
            world.emulator.state.revoke_token(bot.bot_id)
        store = world.store(**settings_for(world, new))
        before = len(world.emulator.calls("forwardMessage"))
        for _ in range(3):
            assert await read(store, ref) == data
        assert len(world.emulator.calls("forwardMessage")) == before + 1
        ((_, bot_id, file_id),) = world.learned
        assert bot_id == new.bot_id
        kept = replace(ref, file_ids={**ref.file_ids, bot_id: file_id})
        assert await read(world.store(**settings_for(world, new)), kept) == data
        assert len(world.emulator.calls("forwardMessage")) == before + 1
        await until(world, lambda: not world.litter())


@pytest_twisted.ensureDeferred
async def test_without_a_scratch_chat_forwards_go_through_the_chat_itself(tmp_path):
    """And are deleted there."""
    async with a_world(tmp_path, scratch=False) as world:
        path, label, data = make_document(tmp_path)
        ref = await world.store().put(path, label)
        world.emulator.state.revoke_token(next(iter(ref.file_ids)))
        world.emulator.state.expire_paths()
        assert await read(world.store(), ref) == data
        await until(world, lambda: world.documents() == [(ref.chat_id, ref.message_id)])


@pytest_twisted.ensureDeferred
async def test_a_group_that_became_a_supergroup(tmp_path):
    """Uploads go on under the new number."""
    async with a_world(tmp_path) as world:
        group = world.emulator.state.add_chat("group", bots=world.bots)
        store = world.store(chats=(group.chat_id,))
        path, label, data = make_document(tmp_path)
        new = world.emulator.state.migrate_chat(group.chat_id)
        ref = await store.put(path, label)
        assert ref.chat_id == new.chat_id
        assert await read(store, ref) == data


# --- loss, and what is not loss --------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_unavailable_for_long_is_not_missing(tmp_path):
    """For ten minutes everything says "wrong file_id or temporarily unavailable"."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, data = make_document(tmp_path)
        ref = await store.put(path, label)
        fault = world.emulator.faults.add("temporarily_unavailable", method="getFile", times=None)
        with pytest.raises(StoreUnavailable):
            await read(store, ref)
        world.emulator.faults.remove(fault)
        assert await read(store, ref) == data


@pytest.mark.parametrize("bots", [1, 2])
@pytest_twisted.ensureDeferred
async def test_a_message_and_file_that_are_gone_are_missing(tmp_path, bots):
    """All evidence there can be: no file_id works and every bot says that the message is gone."""
    async with a_world(tmp_path, bots=bots) as world:
        world.emulator.knobs.change(deleted_files_work=False)
        store = world.store()
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        assert await read(store, ref)
        assert list(await store.delete([ref])) == []
        with pytest.raises(DocumentMissing):
            await read(world.store(), ref)
        assert not await store.exists(ref)


@pytest_twisted.ensureDeferred
async def test_a_document_replaced_by_something_shorter_is_corrupt(tmp_path):
    """Somebody edited the message: the size tells."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        world.clock.advance(3 * 86_400)
        assert list(await store.delete([ref])) == []
        assert world.documents() == []
        assert not await store.exists(ref)
        with pytest.raises(DocumentCorrupt):
            await read(world.store(), replace(ref, file_ids={}))


@pytest_twisted.ensureDeferred
async def test_protected_content_is_named(tmp_path):
    """A chat that restricts saving cannot be read by a new bot, and says so at once."""
    async with a_world(tmp_path) as world:
        store = world.store()
        path, label, _ = make_document(tmp_path)
        ref = await store.put(path, label)
        world.emulator.state.set_chat(ref.chat_id, protected=True)
        with pytest.raises((StoreRefused, StoreUnavailable)):
            await store.exists(ref)
