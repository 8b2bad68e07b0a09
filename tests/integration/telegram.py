# SPDX-License-Identifier: MIT
"""A Telegram for whole runs: the emulator with bots and chats, and what tgsyncd is told of it."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from twisted.internet import reactor

from tests.emulator.server import Emulator
from tests.fakes.simulated_clock import RealClock
from tgsyncd import assembly
from tgsyncd.stores.telegram.limits import LimitRules

HURRIED = LimitRules(messages_per_minute=10_000, chat_interval_s=0.0, bot_messages_per_second=1_000)
"""No limits to speak of: a test that is not about them should not wait for them."""

# 100 kB is the least that the configuration takes; small clips become several documents so.
SMALL_DOCUMENTS = {"max_bytes": 1_000_000, "first_bytes": [100_000] * 16}


@contextmanager
def hurried(**changes):
    """Keep Telegram's limits as ``HURRIED`` has them, and ``changes`` of TelegramSettings, in the block."""
    before = assembly.telegram_settings
    assembly.telegram_settings = lambda config: replace(before(config), limits=HURRIED, **changes)
    try:
        yield
    finally:
        assembly.telegram_settings = before


@dataclass
class Telegram:
    """An emulator with bots, storage chats and a scratch chat that is none of them."""

    emulator: Emulator
    chats: list
    scratch: object
    bots: list = field(default_factory=list)

    def sections(self, *, bots=None) -> dict:
        """The parts of a configuration that name it; ``bots`` in another order or number."""
        return {
            "store": {"kind": "telegram"},
            "telegram": {
                "bots": [{"token": bot.token} for bot in bots or self.bots],
                "chats": [chat.chat_id for chat in self.chats],
                "scratch_chat": self.scratch.chat_id,
                "base_url": self.emulator.base_url,
                "base_file_url": self.emulator.base_file_url,
            },
            "documents": SMALL_DOCUMENTS,
        }

    def documents(self) -> list[tuple[int, int]]:
        """Return (chat_id, message_id) of everything that stands in the storage chats."""
        return sorted(
            (chat.chat_id, post.message_id) for chat in self.chats for post in self.emulator.state.posts(chat)
        )

    def renew_tokens(self) -> None:
        """Have BotFather give every bot a new token."""
        self.bots = [self.emulator.state.renew_token(bot.bot_id) for bot in self.bots]


@asynccontextmanager
async def a_telegram(folder: Path, *, bots: int = 1, chats: int = 1, **changes):
    """Run one in this process, in real time."""
    emulator = Emulator(reactor, RealClock(reactor), folder / "telegram")
    made = [emulator.state.add_bot(f"bot{number}") for number in range(bots)]
    rooms = [emulator.state.add_chat("channel", bots=made) for _ in range(chats)]
    scratch = emulator.state.add_chat("supergroup", bots=made)
    await emulator.start()
    try:
        with hurried(**changes):
            yield Telegram(emulator, rooms, scratch, made)
    finally:
        await emulator.stop()


def recorded(app, video_id: str) -> list:
    """Return the DocumentRefs that the catalog has of a video, extras included."""
    refs = []
    for revision in range(1, app.catalog.newest_revision(video_id).number + 1):
        for rendition in app.catalog.renditions(video_id, revision):
            refs += [document.ref for document in app.catalog.documents(rendition.rendition_id)]
        refs += [extra.ref for extra in app.catalog.extras(video_id, revision)]
    return refs
