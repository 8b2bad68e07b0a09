# SPDX-License-Identifier: MIT
"""
Connections: how many, how long a request may take to arrive, and nothing of its body kept.

Twisted's own timer starts anew with each byte while a request arrives (a byte a minute lasts for days), and
it keeps request bodies in memory and on disk. No route of ours takes a body.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure  # noqa: TC002 (beside its default)
from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
    from twisted.web.resource import IResource

    from tgsyncd.playback.settings import ServerSettings


class DiscardedBody(io.BytesIO):
    """Takes a request's body and keeps nothing of it."""

    def write(self, data: Any) -> int:
        """Forget the data."""
        return len(data)


class Channel(HTTPChannel):
    """One connection: a request must be here within a time that no byte prolongs."""

    maxHeaders = 100  # noqa: N815 (Twisted's name)
    site: ServerSite
    _deadline: IDelayedCall | None = None
    is_answering = False
    stalled_since_s: float | None = None
    """Since when the client takes nothing of what is there for it."""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Start the clock at the first byte of a request."""
        if self._deadline is None and not self.is_answering:
            self._deadline = self.callLater(self.site.request_deadline_s, self._overdue)
        super().dataReceived(data)

    def allContentReceived(self) -> None:  # noqa: N802 (Twisted's name)
        """Stop the clock: the request is here."""
        self._stop_clock()
        self.is_answering = True
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:  # noqa: N802 (Twisted's name)
        """Be ready for the next request."""
        self.is_answering = False
        super().requestDone(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 (Twisted's name)
        """Forget the connection."""
        self._stop_clock()
        self.site.connections.discard(self)
        super().connectionLost(reason)

    def _stop_clock(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _overdue(self) -> None:
        self._deadline = None
        transport: Any = self.transport
        transport.abortConnection()


class ServerSite(Site):
    """The site: counts connections, logs no URLs (they carry capabilities)."""

    protocol = Channel  # type: ignore[assignment]  # Twisted names the wrapper that picks HTTP/2
    displayTracebacks = False  # noqa: N815 (Twisted's name)
    noisy = False
    _log = Logger()

    def __init__(self, resource: IResource, *, settings: ServerSettings, reactor: IReactorTime) -> None:
        super().__init__(resource, timeout=settings.idle_timeout_s, reactor=reactor)
        self.request_deadline_s = settings.request_deadline_s
        self._max_connections = settings.max_connections
        self.connections: set[Channel] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: N802 (Twisted's name)
        """Take a connection, or none when there are too many."""
        if len(self.connections) >= self._max_connections:
            self._log.warn("{count} connections are open: one more refused", count=self._max_connections)
            return None
        channel = super().buildProtocol(addr)
        self.connections.add(channel)
        return channel

    def getContentFile(self, length: int | None) -> DiscardedBody:  # noqa: N802 (Twisted's name)
        """Return where a request's body goes."""
        del length
        return DiscardedBody()

    def log(self, request: Any) -> None:
        """Log nothing: an access log is the reverse proxy's work, and would hold capabilities."""
