# SPDX-License-Identifier: MIT
"""A reader of what is lost is held, not refused: a player takes an error for the end of the film."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from twisted.internet.task import deferLater

from tgsyncd.errors import DocumentCorrupt, DocumentMissing, VideoGone

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sized

    from twisted.internet.interfaces import IReactorTime

    _T = TypeVar("_T", bound=Sized)
else:
    _T = TypeVar("_T")

ASKED_AGAIN_S = 25.0
"""Each time costs the store some messages in the scratch chat, where it makes sure."""


async def held(
    open_from: Callable[[int], AsyncGenerator[_T, None]],
    start: int,
    stop: int,
    *,
    reactor: IReactorTime,
    held_s: float,
) -> AsyncGenerator[_T, None]:
    """
    Yield what ``open_from(position)`` yields of ``[start, stop)``.

    When it says that the bytes are lost, it is asked again now and then, for ``held_s`` without a byte: a
    repair may bring them back. A part that was sent and is wrong is not mended that way, and a video that was
    deleted does not come back: these are raised at once.
    """
    position, ends_s = start, None
    while position < stop:
        chunks = open_from(position)
        try:
            async for chunk in chunks:
                position += len(chunk)
                ends_s = None
                yield chunk
        except VideoGone:
            raise
        except (DocumentMissing, DocumentCorrupt) as error:
            if isinstance(error, DocumentCorrupt) and position > start:
                raise
            now_s = reactor.seconds()
            ends_s = now_s + held_s if ends_s is None else ends_s
            if now_s >= ends_s:
                raise
            await chunks.aclose()
            await deferLater(reactor, min(ASKED_AGAIN_S, ends_s - now_s))
        finally:
            await chunks.aclose()
