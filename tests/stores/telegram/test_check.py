# SPDX-License-Identifier: MIT
"""What ``doctor`` finds in a Telegram set-up, and what it advises."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import pytest_twisted

from tests.stores.telegram.support import a_world
from tgsyncd.stores.telegram.check import FindingKind, Severity, check_telegram


async def findings(world, **changes):
    return await check_telegram(
        replace(world.settings, **changes),
        reactor=world.reactor,
        timer=world.clock,
        clock=world.clock,
        random=random.Random(1),
    )


def problems(found):
    return {(finding.kind, finding.bot_id) for finding in found if finding.severity is Severity.PROBLEM}


@pytest_twisted.ensureDeferred
async def test_a_good_set_up_has_no_problems_and_is_left_clean(tmp_path):
    """Each bot's token, rights and round trip are named as good; no test document stays."""
    async with a_world(tmp_path, simulated=False) as world:
        found = await findings(world)
        assert {finding.severity for finding in found} == {Severity.OK}
        for bot in world.bots:
            kinds = {finding.kind for finding in found if finding.bot_id == bot.bot_id}
            assert kinds == {FindingKind.TOKEN, FindingKind.RIGHTS, FindingKind.ROUND_TRIP}
        for room in [*world.chats, world.scratch]:
            assert world.emulator.state.posts(room) == []


def revoke(world):
    world.emulator.state.revoke_token(world.bots[0].bot_id)


def kick(world):
    world.emulator.state.set_member(world.chats[0].chat_id, world.bots[0], "kicked")


def demote(world):
    world.emulator.state.set_member(world.chats[0].chat_id, world.bots[0], "member")


def forbid(right):
    def change(world):
        world.emulator.state.set_member(world.chats[0].chat_id, world.bots[0], **{right: False})

    return change


def auto_delete(world):
    world.emulator.state.set_chat(world.chats[0].chat_id, auto_delete_s=86_400)


def protect(world):
    world.emulator.state.set_chat(world.chats[0].chat_id, protected=True)


def no_scratch(world):
    world.emulator.state.set_member(world.scratch.chat_id, world.bots[0], "kicked")


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        (revoke, FindingKind.TOKEN, "BotFather"),
        (kick, FindingKind.CHAT, "administrator"),
        (demote, FindingKind.RIGHTS, "Make it one"),
        (forbid("can_post_messages"), FindingKind.RIGHTS, "Administrators"),
        (forbid("can_edit_messages"), FindingKind.RIGHTS, "Administrators"),
        (forbid("can_delete_messages"), FindingKind.RIGHTS, "Administrators"),
        (auto_delete, FindingKind.AUTO_DELETE, "Off"),
        (protect, FindingKind.PROTECTED, "Restrict Saving Content"),
        (no_scratch, FindingKind.CHAT, "administrator"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_each_fault_of_a_set_up_is_found_with_advice(tmp_path, change, kind, word):
    """By kind, and with the place where to put it right."""
    async with a_world(tmp_path, simulated=False) as world:
        change(world)
        found = await findings(world)
        bad = [finding for finding in found if finding.severity is Severity.PROBLEM]
        assert [finding.kind for finding in bad] == [kind]
        assert word in bad[0].advice


@pytest.mark.parametrize("kind", ["group", "private"])
@pytest_twisted.ensureDeferred
async def test_chats_that_number_messages_per_account_are_refused(tmp_path, kind):
    """No other bot could read what one has stored there."""
    async with a_world(tmp_path, simulated=False) as world:
        room = world.emulator.state.add_chat(kind, bots=world.bots)
        found = await findings(world, chats=(room.chat_id,))
        assert FindingKind.CHAT_KIND in {kind for kind, _ in problems(found)}


@pytest_twisted.ensureDeferred
async def test_a_supergroup_is_as_good_as_a_channel(tmp_path):
    """It has other rights: posting and editing one's own need none."""
    async with a_world(tmp_path, simulated=False) as world:
        room = world.emulator.state.add_chat("supergroup", bots=world.bots)
        assert problems(await findings(world, chats=(room.chat_id,))) == set()


@pytest_twisted.ensureDeferred
async def test_a_migrated_group_is_told_its_new_number(tmp_path):
    """So that it can be written into the configuration."""
    async with a_world(tmp_path, simulated=False) as world:
        group = world.emulator.state.add_chat("group", bots=world.bots)
        new = world.emulator.state.migrate_chat(group.chat_id)
        found = await findings(world, chats=(group.chat_id,))
        assert any(str(new.chat_id) in finding.advice for finding in found)


@pytest_twisted.ensureDeferred
async def test_a_server_that_is_down_is_a_finding(tmp_path):
    """Not an exception."""
    async with a_world(tmp_path, simulated=False) as world:
        await world.emulator.go_down()
        found = await findings(world)
        assert {kind for kind, _ in problems(found)} == {FindingKind.TOKEN}


@pytest_twisted.ensureDeferred
async def test_a_damaged_round_trip_is_found(tmp_path):
    """A bit flip, a refused upload."""
    async with a_world(tmp_path, simulated=False, bots=1) as world:
        world.emulator.faults.add("bit_flip")
        assert FindingKind.ROUND_TRIP in {kind for kind, _ in problems(await findings(world))}
        world.emulator.faults.add("html", method="sendDocument")
        assert FindingKind.ROUND_TRIP in {kind for kind, _ in problems(await findings(world))}


@pytest_twisted.ensureDeferred
async def test_without_a_scratch_chat_there_is_a_warning(tmp_path):
    """It works, and costs."""
    async with a_world(tmp_path, simulated=False, scratch=False) as world:
        found = await findings(world)
        (warning,) = [finding for finding in found if finding.severity is Severity.WARNING]
        assert warning.kind is FindingKind.SCRATCH
