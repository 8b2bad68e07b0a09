# SPDX-License-Identifier: MIT
"""The store contract, over the Bot API emulator."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.contracts.store import StoreContract
from tests.stores.telegram.support import end_world, make_world


class TestTelegramStore(StoreContract):
    """Two bots, one channel, the emulator as lenient as it is by itself."""

    deleted_cannot_be_opened = False

    @pytest_twisted.async_yield_fixture
    async def world(self, tmp_path):
        world = await make_world(tmp_path)
        yield world
        await end_world(world)

    @pytest.fixture
    def store(self, world):
        self.world = world
        return world.store()

    async def truncate_stored(self, store, ref):
        (post,) = self.world.emulator.state.posts(self.world.chats[0])
        file = self.world.emulator.state.file(post.content["file"])
        file.path.write_bytes(file.path.read_bytes()[:-1000])
        self.world.emulator.state._run(
            "UPDATE files SET size = ? WHERE number = ?", file.size_bytes - 1000, file.number
        )
