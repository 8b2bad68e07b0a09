# SPDX-License-Identifier: MIT
"""An emulator in the test's own process, on simulated time that moves when nothing is in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest_twisted
import treq
from twisted.web.client import Agent, HTTPConnectionPool

from tests.emulator.server import Emulator
from tests.fakes.simulated_clock import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.emulator.values import Bot, Chat


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def result(self) -> Any:
        assert self.body["ok"], self.body
        return self.body["result"]


class Rig:
    """The emulator, two bots that run a channel, and a bare HTTP client."""

    def __init__(self, emulator: Emulator, clock: SimulatedClock, reactor: Any) -> None:
        self.emulator = emulator
        self.clock = clock
        self.reactor = reactor
        self.state = emulator.state
        self.one: Bot = self.state.add_bot("one")
        self.two: Bot = self.state.add_bot("two")
        self.channel: Chat = self.state.add_chat("channel", bots=[self.one, self.two])
        self.scratch: Chat = self.state.add_chat("supergroup", bots=[self.one, self.two])
        # treq's multipart uploads break on kept-alive connections of the asyncio reactor.
        self.pool = HTTPConnectionPool(reactor, persistent=False)
        self.http = treq.client.HTTPClient(Agent(reactor, pool=self.pool))

    async def call(self, method: str, *, bot: Bot | None = None, files: Any = None, **values: Any) -> Answer:
        bot = bot or self.one
        url = f"{self.emulator.base_url}{bot.token}/{method}"
        if files:
            response = await self.http.post(url, data=values, files=files)
        else:
            response = await self.http.post(url, json=values)
        return await self._answer(response)

    async def _answer(self, response: Any) -> Answer:
        headers = {
            name.decode().lower(): values[0].decode() for name, values in response.headers.getAllRawHeaders()
        }
        raw = await response.content()
        body: Any = raw
        if headers.get("content-type") == "application/json":
            import json

            body = json.loads(raw)
        return Answer(response.code, body, headers)

    async def send(
        self,
        data: bytes,
        *,
        bot: Bot | None = None,
        name: str = "a.ts",
        chat: Chat | None = None,
        **values: Any,
    ) -> Answer:
        import io

        chat = chat or self.channel
        return await self.call(
            "sendDocument", bot=bot, files={"document": (name, io.BytesIO(data))},
            chat_id=str(chat.chat_id), **values,
        )  # fmt: skip

    async def download(
        self, path: str, *, bot: Bot | None = None, headers: Any = None, method: str = "GET"
    ) -> Answer:
        url = f"{self.emulator.base_file_url}{(bot or self.one).token}/{path}"
        return await self._answer(await self.http.request(method, url, headers=headers or {}))


@pytest_twisted.async_yield_fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    from twisted.internet import reactor

    clock = SimulatedClock()
    clock.auto_advance(reactor)
    emulator = Emulator(reactor, clock, tmp_path / "state")
    await emulator.start()
    yield Rig(emulator, clock, reactor)
    clock.stop_auto_advance()
    await emulator.stop()
