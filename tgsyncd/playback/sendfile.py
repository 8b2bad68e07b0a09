# SPDX-License-Identifier: MIT
"""
Parts of files over plain TCP by ``os.sendfile``: no copy, and nothing of a slow reader's in our memory.

Twisted has no sendfile. When its transport's buffer is empty, and until the part of the file is sent, this
stands in for the transport's ``doWrite``: what the reactor calls whenever the socket takes more. (Being
called as a producer instead costs two epoll_ctl and 15 us each time.) ``Sender.over`` tells where that can
be done; elsewhere (TLS, a transport that it does not know) bodies are read and written, by ``bodies.py``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet import main
from twisted.internet.defer import Deferred

from tgsyncd.errors import DocumentCorrupt
from tgsyncd.playback.wire import is_plain_tcp, send_more_follows

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.server import Request

_NEEDED = (
    "dataBuffer",
    "_tempDataLen",
    "producerPaused",
    "streamingProducer",
    "socket",
    "startWriting",
    "doWrite",
)
"""What is used of ``twisted.internet.abstract.FileDescriptor`` beyond its interfaces."""


class Sender:
    """
    Sends files over one connection, in turn with what Twisted writes there.

    Its owner is the connection's producer and calls ``turn`` whenever it is told to resume. ``on_progress``
    is called when the client has taken something.
    """

    def __init__(self, transport: Any, on_progress: Callable[[], None]) -> None:
        self._transport = transport
        self._on_progress = on_progress
        self._fd = -1
        self._position = self._stop = 0
        self._waiting: Deferred[None] | None = None

    @classmethod
    def over(cls, request: Request, on_progress: Callable[[], None] = lambda: None) -> Sender | None:
        """Return a sender over the request's connection, or None where that cannot be done."""
        channel = request.channel
        transport: Any = channel.transport if channel is not None else None
        is_plain = is_plain_tcp(transport) and hasattr(os, "sendfile")
        if not is_plain or not all(hasattr(transport, name) for name in _NEEDED):
            return None
        is_ours = transport.producer is channel and bool(transport.streamingProducer)
        return cls(transport, on_progress) if is_ours else None

    @property
    def is_sending(self) -> bool:
        """Whether ``send`` waits."""
        return self._waiting is not None

    async def send(self, fd: int, start: int, stop: int, *, head: bytes = b"") -> None:
        """
        Send ``head`` and bytes ``[start, stop)`` of the file, after what was written before.

        Returns when the kernel has them. Blocks as long as reading the file does. A connection that is lost
        meanwhile is for its owner to notice, who cancels this. Raises OSError, DocumentCorrupt.
        """
        self._fd, self._position, self._stop = fd, start, stop
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        try:
            self._begin_at_once(head)
            if not waiting.called:
                self.turn()
            await waiting
        finally:
            self._waiting = None
            self._step_back()

    def _begin_at_once(self, head: bytes) -> None:
        """Send as much as the socket takes now: two turns of the reactor less."""
        if self._is_behind():
            self._transport.doWrite()  # what was written just now, most of the time
        if self._is_behind():
            self._transport.write(head)
        elif send_more_follows(self._transport, head):
            self._do_write()

    def turn(self) -> None:
        """Begin to send, or do so as soon as what was written before is gone."""
        if self._is_behind():
            self._step_back()  # doWrite may have resumed us, and then the rest of the head was written
            # As FileDescriptor.write does when its buffer is full: doWrite then resumes the producer.
            self._transport.producerPaused = True
        elif "doWrite" not in vars(self._transport):  # abortConnection puts something there, too
            self._transport.doWrite = self._do_write
        self._transport.startWriting()

    def _is_behind(self) -> bool:
        """Tell whether something that was written before is still to be sent."""
        return bool(self._transport.dataBuffer or self._transport._tempDataLen)  # noqa: SLF001 (see _NEEDED)

    def _do_write(self) -> Exception | None:
        """Send what the socket takes now. Returns what FileDescriptor.doWrite does."""
        waiting = self._waiting
        if waiting is None:
            self._step_back()
            return None
        try:
            self._send_some()
        except ConnectionError:
            self._step_back()
            return main.CONNECTION_LOST
        except Exception as error:  # noqa: BLE001 (it is the waiting sender's)
            self._step_back()
            waiting.errback(error)
        return None

    def _send_some(self) -> None:
        socket = self._transport.socket.fileno()
        while self._position < self._stop:
            try:
                sent = os.sendfile(socket, self._fd, self._position, self._stop - self._position)
            except (BlockingIOError, InterruptedError):
                return
            if not sent:
                raise DocumentCorrupt("a file of the cache is shorter than it was")
            self._position += sent
            self._on_progress()
        self._step_back()
        if self._waiting is not None:
            self._waiting.callback(None)

    def _step_back(self) -> None:
        """Let the transport write itself. It is still called once, and stops that when it has nothing."""
        if vars(self._transport).get("doWrite") == self._do_write:
            del self._transport.doWrite
