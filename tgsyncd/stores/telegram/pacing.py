# SPDX-License-Identifier: MIT
"""Let httpx send the bodies of uploads at the pace of a throttle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tgsyncd.bridge import to_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tgsyncd.stores.throttle import Throttle

__all__ = ["pacing_hook"]

SMALL_BYTES = 64 << 10
"""A request whose body is not longer is no upload: reads and deletions do not wait behind uploads."""


def pacing_hook(throttle: Throttle) -> Callable[[httpx.Request], Awaitable[None]]:
    """
    Return a hook for ``httpx.AsyncClient(event_hooks={"request": [...]})``.

    It is asyncio-coloured. A transport of our own would do as well, but httpx takes no proxy from the
    environment then.
    """

    async def hook(request: httpx.Request) -> None:
        length = int(request.headers.get("Content-Length", "0"))
        if length > SMALL_BYTES and isinstance(request.stream, httpx.AsyncByteStream):
            request.stream = _PacedStream(request.stream, throttle)

    return hook


class _PacedStream(httpx.AsyncByteStream):
    """A body whose pieces (64 KiB of a file) wait for their turn before they are sent."""

    def __init__(self, stream: httpx.AsyncByteStream, throttle: Throttle) -> None:
        self._stream = stream
        self._throttle = throttle

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            # httpx' write timeout counts from when the piece is there: waiting here costs nothing of it.
            await to_asyncio(self._throttle.pass_bytes(len(chunk)))
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
