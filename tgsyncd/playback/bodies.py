# SPDX-License-Identifier: MIT
"""
Bodies on their way to a client: back-pressure, the early first byte, verification, the last resort.

A player takes any 4xx or 5xx on a segment as the end of direct play. So once a segment is known to exist,
its answer is 200 or 206, and either complete or aborted (docs/players.md).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from tgsyncd.errors import DocumentCorrupt, StoreError, VideoGone
from tgsyncd.playback.sendfile import Sender
from tgsyncd.playback.spans import FileSpan
from tgsyncd.playback.wire import limit_unsent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.server import Request

_log = Logger()

CHUNK_BYTES = 256 * 1024

UNSENT_BYTES = 64 * 1024
"""What stands in the kernel's buffer beyond what is on its way: enough for 1 Gbit/s, at half a ms a turn."""

UNSENT_FILE_BYTES = 256 * 1024
"""The same of a file that the kernel sends: nothing of it is anywhere else, so it may be more."""


TURN_BYTES = 16 << 20
"""So much is sent over one connection until the others have a turn: 5 ms, if it is taken as fast as that."""


@implementer(IPushProducer)
class Outlet:
    """
    The way to one client: says when it takes no more.

    Twisted asks to pause at 64 KiB of unsent bytes, so a client holds at most that and one chunk. A client
    that reads slowly, or not at all, is waited for without limit: a paused player and ffmpeg's early request
    for the next segment look just like that. Since when it took nothing is told to the connection.
    """

    def __init__(self, request: Request, reactor: IReactorTime) -> None:
        self._request = request
        self._reactor = reactor
        self._channel: Any = request.channel
        self._is_paused = False
        self._waiting: Deferred[None] | None = None
        self._sender = Sender.over(request, self._note_progress)
        request.registerProducer(self, True)  # noqa: FBT003 (Twisted's signature: streaming)

    def pauseProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """Stop writing until resumed."""
        self._is_paused = True

    def resumeProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """Go on writing. May come without a pause before."""
        self._is_paused = False
        if self._sender is not None and self._sender.is_sending:
            self._sender.turn()
            return
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:  # noqa: N802 (Twisted's name)
        """Do nothing: the end of the connection is told by ``notifyFinish``."""

    async def write(self, data: bytes) -> None:
        """Write, then wait until the client has taken it."""
        if len(data) > 1:  # more than the early first byte
            self._limit_unsent(UNSENT_BYTES)
        self._request.write(data)
        if self._is_paused:
            self._channel.stalled_since_s = self._reactor.seconds()
            self._waiting = Deferred()
            await self._waiting
            self._channel.stalled_since_s = None

    async def send(self, span: FileSpan) -> None:
        """Have the kernel send a part of a file, then wait until it has taken it. Raises OSError."""
        assert self._sender is not None
        self._limit_unsent(UNSENT_FILE_BYTES)
        position = span.start
        while position < span.stop:
            end, is_here = span.look(position)
            if not is_here:
                self._request.write(b"")  # the head need not wait for the disk
                await span.bring(position, end)
            self._note_progress()
            head = self._channel.take_head(self._request)
            await self._sender.send(span.fd, position, end, head=head)
            self._channel.stalled_since_s = None
            self._request.sentLength += end - position
            self._channel.in_a_row_bytes += end - position
            position = end
            if self._channel.in_a_row_bytes >= TURN_BYTES:
                self._channel.in_a_row_bytes = 0
                await deferLater(self._reactor, 0)

    def _limit_unsent(self, most_bytes: int) -> None:
        if self._channel.unsent_limit_bytes != most_bytes:
            self._channel.unsent_limit_bytes = most_bytes
            limit_unsent(self._channel.transport, most_bytes)

    def _note_progress(self) -> None:
        self._channel.stalled_since_s = self._reactor.seconds()

    def close(self) -> None:
        """End the answer."""
        self._request.unregisterProducer()
        self._request.finish()

    def abort(self) -> None:
        """Reset the connection, so that no client takes what it has for the whole."""
        self._request.unregisterProducer()
        transport: Any = self._request.channel.transport
        if transport is not None:
            transport.abortConnection()


def can_send_files(request: Request) -> bool:
    """Tell whether ``deliver`` takes spans for this request."""
    return Sender.over(request) is not None


def deliver(
    request: Request,
    chunks: AsyncGenerator[bytes | FileSpan, None],
    *,
    first_byte: bytes,
    name: str,
    reactor: IReactorTime,
    abort_delay_s: float,
) -> None:
    """
    Send the chunks as the body, whose headers are set; return at once.

    ``first_byte`` (or nothing) is known without asking the store, and goes out with the headers: hls.js gives
    up when no byte of the body came within 10 s. ``name`` is for the log. A client that goes away cancels.
    """
    outlet = Outlet(request, reactor)
    pumping = Deferred.fromCoroutine(_pump(outlet, chunks, first_byte))
    gone = request.notifyFinish()
    gone.addErrback(lambda _: pumping.cancel())

    def failed(failure: Failure) -> Deferred[None] | None:
        if failure.check(CancelledError):
            return None
        if failure.check(VideoGone):
            _log.info("{name} ends here: {error}", name=name, error=failure.value)
        elif failure.check(StoreError, OSError):
            _log.error("{name} broken off: {error}", name=name, error=failure.value)
        else:
            _log.failure("{name} broken off", failure=failure, name=name)
        # The wait is for ffmpeg and hls.js, which ask again at once.
        aborting = deferLater(reactor, abort_delay_s, outlet.abort)
        # Not an errback: the one before has made a success of it.
        gone.addBoth(lambda _: aborting.cancel())
        return aborting.addErrback(_ignore_cancellation)

    pumping.addErrback(failed)


def _ignore_cancellation(failure: Failure) -> None:
    failure.trap(CancelledError)


async def _pump(outlet: Outlet, chunks: AsyncGenerator[bytes | FileSpan, None], first_byte: bytes) -> None:
    try:
        if first_byte:
            await outlet.write(first_byte)
        async for chunk in chunks:
            if isinstance(chunk, FileSpan):
                # What a file holds was verified when it was opened, its first byte too.
                await outlet.send(chunk.after(len(first_byte)))
                first_byte = b""
                continue
            data = chunk
            if first_byte:
                if not chunk.startswith(first_byte):
                    raise DocumentCorrupt(f"the first byte is {chunk[:1].hex()}, not {first_byte.hex()}")
                data, first_byte = chunk[1:], b""
            await outlet.write(data)
    finally:
        await chunks.aclose()
    outlet.close()


async def verified(
    chunks: AsyncGenerator[bytes, None], *, size_bytes: int, sha256: str
) -> AsyncGenerator[bytes, None]:
    """
    Pass on the chunks, but the last one only when all of them match the sha256.

    Raises
        DocumentCorrupt.
    """
    digest, passed = hashlib.sha256(), 0
    try:
        async for chunk in chunks:
            digest.update(chunk)
            passed += len(chunk)
            if passed >= size_bytes and digest.hexdigest() != sha256:
                raise DocumentCorrupt("what the store sent is not what was stored (sha256 differs)")
            yield chunk
    finally:
        await chunks.aclose()


async def sliced(body: bytes) -> AsyncGenerator[bytes, None]:
    """Yield a body that is in memory."""
    for start in range(0, len(body), CHUNK_BYTES):
        yield body[start : start + CHUNK_BYTES]
