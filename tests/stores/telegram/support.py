# SPDX-License-Identifier: MIT
"""The Telegram store over the emulator: what its tests share."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from twisted.internet.defer import Deferred

from tests.emulator.server import Emulator
from tests.fakes.simulated_clock import EPOCH_S, RealClock, SimulatedClock
from tgsyncd.stores.telegram.settings import BotSettings, TelegramSettings, Token
from tgsyncd.stores.telegram.store import TelegramStore

LOOKS_ON_THE_WIRE = 100
"""A request and its answer need some ten turns of the reactor, connecting included."""


@dataclass
class Intent:
    intent_id: int
    label: object
    bot_id: int
    chat_id: int
    begun_at_s: float = EPOCH_S


class MemoryIntents:
    """The intents of a catalog, in memory."""

    def __init__(self):
        self.open = {}
        self.begun = 0
        self.recorded = {}

    async def record_intent(self, label, *, bot_id, chat_id):
        self.begun += 1
        self.open[self.begun] = Intent(self.begun, label, bot_id, chat_id)
        return self.begun

    async def forget_intent(self, intent_id):
        self.open.pop(intent_id, None)

    def record(self, label, ref):
        """What ``CatalogWriter.record_document`` does: it ends all intents of the label."""
        self.recorded[label] = ref
        self.open = {key: intent for key, intent in self.open.items() if intent.label != label}

    def is_recorded(self, chat_id, message_id):
        places = {(ref.chat_id, ref.message_id) for ref in self.recorded.values()}
        return (chat_id, message_id) in places


class KeptMemory:
    """A state file, in memory."""

    def __init__(self):
        self.kept = None

    def load(self):
        from tgsyncd.stores.telegram.memory import Remembered

        return self.kept or Remembered()

    async def save(self, remembered):
        self.kept = remembered


@dataclass
class World:
    """An emulator with bots and chats, and stores on it."""

    reactor: object
    clock: object
    emulator: object
    bots: list
    chats: list
    scratch: object
    settings: TelegramSettings
    intents: MemoryIntents = field(default_factory=MemoryIntents)
    memory: KeptMemory = field(default_factory=KeptMemory)
    learned: list = field(default_factory=list)
    stores: list = field(default_factory=list)
    last_seen: tuple[int, int] = (0, 0)
    looks: int = 0

    def store(self, *, throttle=None, **changes):
        """Make a store; a second one is "the next start"."""
        store = TelegramStore(
            replace(self.settings, **changes),
            reactor=self.reactor,
            timer=self.clock,
            clock=self.clock,
            random=random.Random(1),
            intents=self.intents,
            memory=self.memory,
            throttle=throttle,
            on_file_id=lambda ref, bot_id, file_id: self.learned.append((ref, bot_id, file_id)),
        )
        self.stores.append(store)
        return store

    def auto_advance(self):
        """Let simulated time pass by itself."""
        self.clock.auto_advance(self.reactor)
        self.clock.add_probe(self.is_busy)

    def is_busy(self):
        """Tell whether a request may be between a client and the emulator: time must not pass then.

        On a loaded machine the sockets take longer than the few turns of the reactor that the clock waits:
        each look comes after one turn at least, however little the machine gives us. What stays under way
        without any sign of life is a reader that does not read, and does not keep time from passing.
        """
        under_way = sum(
            store._fleet.bot(bot).calls_under_way for store in self.stores for bot in store._fleet.bot_ids
        )
        under_way += sum(store._links.in_use.total() for store in self.stores)
        seen = (under_way, self.clock.touches)
        self.looks = self.looks + 1 if seen == self.last_seen else 0
        self.last_seen = seen
        return under_way > len(self.emulator.resting) and self.looks < LOOKS_ON_THE_WIRE

    def documents(self, chat=None):
        """Return (chat_id, message_id) of every document of ours that stands in a storage chat."""
        chats = self.chats if chat is None else [chat]
        return sorted(
            (room.chat_id, post.message_id)
            for room in chats
            for post in self.emulator.state.posts(self.emulator.state.chat(room.chat_id))
            if str(post.content.get("caption", "")).startswith("tgsyncd 1")
        )

    def litter(self):
        """Return the messages that are left in the scratch chat."""
        return self.emulator.state.posts(self.scratch)


async def make_world(tmp_path, *, bots=2, chats=1, simulated=True, scratch=True, local=False, **settings):
    from twisted.internet import reactor

    clock = SimulatedClock() if simulated else RealClock(reactor)
    emulator = Emulator(reactor, clock, tmp_path / "telegram", local=local)
    made = [emulator.state.add_bot(f"bot{n}") for n in range(bots)]
    rooms = [emulator.state.add_chat("channel", bots=made) for _ in range(chats)]
    scratch_room = emulator.state.add_chat("channel", bots=made) if scratch else None
    await emulator.start()
    world = World(
        reactor=reactor,
        clock=clock,
        emulator=emulator,
        bots=made,
        chats=rooms,
        scratch=scratch_room,
        settings=TelegramSettings(
            bots=tuple(BotSettings(token=Token(bot.token)) for bot in made),
            chats=tuple(room.chat_id for room in rooms),
            scratch_chat=scratch_room.chat_id if scratch_room else None,
            base_url=emulator.base_url,
            base_file_url=emulator.base_file_url,
            local_mode=local,
            **settings,
        ),
    )
    if simulated:
        world.auto_advance()
    return world


async def end_world(world):
    for store in world.stores:
        await store.close()
    await world.emulator.stop()
    if isinstance(world.clock, SimulatedClock):
        world.clock.stop_auto_advance()


@asynccontextmanager
async def a_world(tmp_path, **arguments):
    world = await make_world(tmp_path, **arguments)
    try:
        yield world
    finally:
        await end_world(world)


async def until(world, condition):
    """Wait, in real time, for what the sockets bring."""
    limit_s = world.reactor.seconds() + 20
    while not condition():
        assert world.reactor.seconds() < limit_s, "waited in vain"
        await real_time(world, 0.005)


async def real_time(world, seconds):
    """Let real time pass."""
    turn = Deferred()
    world.reactor.callLater(seconds, turn.callback, None)
    await turn
