# SPDX-License-Identifier: MIT
"""Deleting: young messages by the hundred, old ones by editing, refusals handed back."""

from __future__ import annotations

import pytest_twisted

from tests.contracts.store import make_document
from tests.stores.telegram.support import a_world
from tgsyncd.stores.telegram.limits import LimitRules

DAY_S = 86_400
FAST = LimitRules(chat_interval_s=0.0, messages_per_minute=10_000)


async def put_many(world, store, tmp_path, count, first=0):
    refs = []
    for number in range(first, first + count):
        path, label, _ = make_document(tmp_path, 100 + number, number=number)
        refs.append(await store.put(path, label))
    return refs


@pytest_twisted.ensureDeferred
async def test_young_documents_go_by_the_hundred(tmp_path):
    """130 documents are two requests, and no message budget."""
    async with a_world(tmp_path, limits=FAST) as world:
        store = world.store()
        refs = await put_many(world, store, tmp_path, 130)
        assert list(await store.delete(refs)) == []
        assert world.documents() == []
        assert len(world.emulator.calls("deleteMessages")) == 2
        assert world.emulator.calls("editMessageMedia") == []


@pytest_twisted.ensureDeferred
async def test_the_old_are_told_from_the_young_by_halving(tmp_path):
    """40 old and 24 young: a handful of requests finds the border, the old are replaced."""
    async with a_world(tmp_path, limits=FAST) as world:
        store = world.store()
        old = await put_many(world, store, tmp_path, 40)
        world.clock.advance(3 * DAY_S)
        young = await put_many(world, store, tmp_path, 24, first=40)
        assert list(await store.delete([*young, *old])) == []
        assert world.documents() == []
        assert len(world.emulator.calls("deleteMessages")) <= 8
        assert len(world.emulator.calls("editMessageMedia")) == 40


@pytest_twisted.ensureDeferred
async def test_a_replaced_document_holds_its_bytes_no_more(tmp_path):
    """The message stays, tiny; asked again, it counts as deleted."""
    async with a_world(tmp_path) as world:
        store = world.store()
        (ref,) = await put_many(world, store, tmp_path, 1)
        world.clock.advance(3 * DAY_S)
        assert list(await store.delete([ref])) == []
        (post,) = world.emulator.state.posts(world.chats[0])
        assert post.message_id == ref.message_id
        assert list(await store.delete([ref])) == []
        assert not await store.exists(ref)


@pytest_twisted.ensureDeferred
async def test_what_nobody_may_delete_comes_back(tmp_path):
    """The bots lost their rights: all refs are returned, nothing raises, and later it works."""
    async with a_world(tmp_path, patience_s=5.0) as world:
        store = world.store()
        refs = await put_many(world, store, tmp_path, 3)
        room = world.chats[0].chat_id
        for bot in world.bots:
            world.emulator.state.set_member(room, bot, "kicked")
        left = await store.delete(refs)
        assert sorted(ref.message_id for ref in left) == [ref.message_id for ref in refs]
        for bot in world.bots:
            world.emulator.state.set_member(room, bot)
        world.clock.advance(3600)
        assert list(await store.delete(refs)) == []


@pytest_twisted.ensureDeferred
async def test_one_that_cannot_be_edited_stops_no_other(tmp_path):
    """A forwarded message is never editable: it comes back alone."""
    async with a_world(tmp_path) as world:
        store = world.store()
        refs = await put_many(world, store, tmp_path, 3)
        world.clock.advance(3 * DAY_S)
        world.emulator.faults.add(
            "error",
            method="editMessageMedia",
            code=400,
            description="Bad Request: message can't be edited",
            times=2,
        )
        left = await store.delete(refs)
        assert [ref.message_id for ref in left] == [refs[0].message_id]


@pytest_twisted.ensureDeferred
async def test_uploads_go_before_deletions_that_cost_messages(tmp_path):
    """Both want the same slots: the document that somebody waits for is first."""
    async with a_world(tmp_path, bots=1) as world:
        from twisted.internet.defer import Deferred

        store = world.store()
        old = await put_many(world, store, tmp_path, 4)
        world.clock.advance(3 * DAY_S)
        deleting = Deferred.fromCoroutine(store.delete(old))
        path, label, _ = make_document(tmp_path, 1000, number=50)
        await store.put(path, label)
        assert len(world.emulator.calls("editMessageMedia")) <= 1
        assert list(await deleting) == []
