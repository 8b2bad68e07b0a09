# SPDX-License-Identifier: MIT
"""
Parts of files over plain TCP by ``os.sendfile``: no copy, and nothing of a slow reader's in our memory.

Twisted has no sendfile. Its transport calls its producer whenever its buffer is empty and the socket takes
more: that is when this writes past it. ``Sender.over`` tells where that can be done; elsewhere (TLS, a
transport that it does not know) bodies are read and written instead, which is ``bodies.py``'s.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from tgsyncd.errors import DocumentCorrupt
from tgsyncd.playback.wire import is_plain_tcp

if TYPE_CHECKING:
    from twisted.web.server import Request

_NEEDED = ("dataBuffer", "_tempDataLen", "producerPaused", "streamingProducer", "socket", "startWriting")
"""What is used of ``twisted.internet.abstract.FileDescriptor`` beyond its interfaces."""


class Sender:
    """
    Sends files over one connection, in turn with what Twisted writes there.

    Its owner is the connection's producer and calls ``turn`` whenever it is told to resume.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._fd = -1
        self._position = self._stop = 0
        self._waiting: Deferred[None] | None = None

    @classmethod
    def over(cls, request: Request) -> Sender | None:
        """Return a sender over the request's connection, or None where that cannot be done."""
        channel = request.channel
        transport: Any = channel.transport if channel is not None else None
        is_plain = is_plain_tcp(transport) and hasattr(os, "sendfile")
        if not is_plain or not all(hasattr(transport, name) for name in _NEEDED):
            return None
        is_ours = transport.producer is channel and bool(transport.streamingProducer)
        return cls(transport) if is_ours else None

    async def send(self, fd: int, start: int, stop: int) -> None:
        """
        Send bytes ``[start, stop)`` of the file, after what was written before, until the kernel has them.

        Blocks as long as reading the file does. A connection that is lost meanwhile is for its owner to
        notice, who cancels this. Raises OSError, DocumentCorrupt.
        """
        self._fd, self._position, self._stop = fd, start, stop
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        try:
            self._ask_for_a_turn()
            await waiting
        finally:
            self._waiting = None

    @property
    def is_sending(self) -> bool:
        """Whether ``send`` waits for turns."""
        return self._waiting is not None

    def turn(self) -> None:
        """Send what the socket takes now."""
        if self._transport.dataBuffer or self._transport._tempDataLen:  # noqa: SLF001 (see _NEEDED)
            self._ask_for_a_turn()
            return
        try:
            self._send_some()
        except ConnectionError:
            self._transport.abortConnection()
        except Exception as error:  # noqa: BLE001 (it is the waiting sender's)
            if self._waiting is not None:
                self._waiting.errback(error)

    def _send_some(self) -> None:
        while self._position < self._stop:
            try:
                sent = os.sendfile(
                    self._transport.socket.fileno(), self._fd, self._position, self._stop - self._position
                )
            except (BlockingIOError, InterruptedError):
                self._ask_for_a_turn()
                return
            if not sent:
                raise DocumentCorrupt("a file of the cache is shorter than it was")
            self._position += sent
        if self._waiting is not None:
            self._waiting.callback(None)

    def _ask_for_a_turn(self) -> None:
        # As FileDescriptor.write does when its buffer is full: doWrite then resumes the producer.
        self._transport.producerPaused = True
        self._transport.startWriting()
