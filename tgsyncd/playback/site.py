# SPDX-License-Identifier: MIT
"""
Connections: how many, how long a request may take to arrive, and nothing of its body kept.

Twisted's own timer starts anew with each byte while a request arrives (a byte a minute lasts for days), and
it keeps request bodies in memory and on disk. No route of ours takes a body.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure  # noqa: TC002 (beside its default)
from twisted.web.http import HTTPChannel
from twisted.web.server import Request, Site

from tgsyncd.playback.clients import client_of, group_of, is_trusted, parse_networks, redact_path
from tgsyncd.playback.crowd import Seat, choose_to_close
from tgsyncd.playback.wire import is_plain_tcp, untaken_bytes

if TYPE_CHECKING:
    from collections.abc import Collection

    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
    from twisted.web.http_headers import Headers
    from twisted.web.resource import IResource

    from tgsyncd.playback.settings import ServerSettings

_stdlib_log = logging.getLogger(__name__)
"""Knows the level that is logged (``logs.begin_logging``)."""

LINGER_S = 5.0
"""So often a connection that is to be closed is looked at: whether its client has everything by now."""

REPORT_S = 60.0
"""A crowd is reported so often, not once for each connection."""


class DiscardedBody(io.BytesIO):
    """Takes a request's body and keeps nothing of it."""

    def write(self, data: Any) -> int:
        """Forget the data."""
        return len(data)


class Channel(HTTPChannel):
    """One connection: a request must be here within a time that no byte prolongs."""

    maxHeaders = 100  # noqa: N815 (Twisted's name)
    site: ServerSite
    peer = ""
    client = ""
    """The client's address, also behind a proxy of ours; that of the last request."""
    group = ""
    """What limits count it as; empty when it is a proxy's and carries no request."""
    is_answering = False
    stalled_since_s: float | None = None
    """Since when the client takes nothing of what is there for it, while it is answered."""
    unsent_limit_bytes = 0
    """What the kernel was told to take beyond what it can send; 0 for nothing."""
    idle_since_s = 0.0
    in_a_row_bytes = 0
    """Of files, by the kernel, over all answers since the other connections were given a turn."""
    _keeps_head = False
    _head = b""
    _deadline: IDelayedCall | None = None
    _lingering: IDelayedCall | None = None

    def connectionMade(self) -> None:  # noqa: N802 (Twisted's name)
        """Start the clock of the first request."""
        super().connectionMade()
        self.idle_since_s = self.site.now_s()
        self._start_clock()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 (Twisted's name)
        """Start the clock when a request has begun to arrive and is not here yet."""
        super().dataReceived(data)
        has_begun = bool(self.requests or self._buffer)
        if has_begun and self._deadline is None and not self.is_answering:
            self._start_clock()

    def allContentReceived(self) -> None:  # noqa: N802 (Twisted's name)
        """Stop the clock: the request is here."""
        self._stop_clock()
        self.is_answering = True
        if self.site.seat_request(self):
            super().allContentReceived()
        else:
            self._abort()

    def requestDone(self, request: Request) -> None:  # noqa: N802 (Twisted's name)
        """Be ready for the next request."""
        self.is_answering, self.stalled_since_s = False, None
        self.idle_since_s = self.site.now_s()
        self.site.unseat_request(self)
        super().requestDone(request)

    def writeHeaders(  # noqa: N802 (Twisted's name)
        self, version: bytes, code: bytes, reason: bytes, headers: Headers
    ) -> None:
        """Write the head of an answer in one piece: Twisted's 50 pieces take four times as long."""
        lines = [b"%b %b %b" % (version, code, reason)]
        lines += [b"%b: %b" % (name, each) for name, values in headers.getAllRawHeaders() for each in values]
        head = b"\r\n".join((*lines, b"", b""))
        transport: Any = self.transport
        if self._keeps_head:
            self._head = head
        else:
            transport.write(head)

    def take_head(self, request: Request) -> bytes:
        """Return the head of an answer, for who sends it himself; empty when it was written already."""
        if request.startedWriting:
            return b""
        self._keeps_head = True
        try:
            request.write(b"")
        finally:
            self._keeps_head = False
        head, self._head = self._head, b""
        return head

    def timeoutConnection(self) -> None:  # noqa: N802 (Twisted's name)
        """Close an idle connection, unless its client has not taken all of the last answer yet."""
        if untaken_bytes(self.transport):
            self.setTimeout(self.site.idle_timeout_s)
        else:
            super().loseConnection()

    def loseConnection(self) -> None:  # noqa: N802 (Twisted's name)
        """
        Say that there is no more, and close when the client has everything.

        Closed at once, the kernel would go on alone, and give up on a paused player after some minutes.
        """
        transport: Any = self.transport
        if self._lingering is not None or not is_plain_tcp(transport):
            super().loseConnection()
            return
        transport.unregisterProducer()
        transport.loseWriteConnection()
        self._lingering = self.callLater(LINGER_S, self._linger)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 (Twisted's name)
        """Forget the connection."""
        self._stop_clock()
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        self.site.connections.discard(self)
        super().connectionLost(reason)

    def seat(self, number: int) -> Seat:
        """Describe the connection as it is now."""
        if self.is_answering:
            return Seat(number=number, stalled_since_s=self.stalled_since_s)
        if untaken_bytes(self.transport):
            return Seat(number=number, stalled_since_s=self.idle_since_s)
        return Seat(number=number, asks_since_s=self.idle_since_s)

    def close_for_another(self) -> None:
        """Make room, at once."""
        self.site.connections.discard(self)
        self._abort()

    def _linger(self) -> None:
        if untaken_bytes(self.transport):
            self._lingering = self.callLater(LINGER_S, self._linger)
        else:
            super().loseConnection()

    def _start_clock(self) -> None:
        self._deadline = self.callLater(self.site.request_deadline_s, self._overdue)

    def _stop_clock(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _overdue(self) -> None:
        self._deadline = None
        self._abort()

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()


class ServerSite(Site):
    """The site: counts connections, and logs URLs without the capabilities in them, at debug level."""

    protocol = Channel  # type: ignore[assignment]  # Twisted names the wrapper that picks HTTP/2
    displayTracebacks = False  # noqa: N815 (Twisted's name)
    noisy = False
    _log = Logger()

    def __init__(self, resource: IResource, *, settings: ServerSettings, reactor: IReactorTime) -> None:
        super().__init__(resource, timeout=settings.idle_timeout_s, reactor=reactor)
        self.now_s = reactor.seconds
        self.request_deadline_s = settings.request_deadline_s
        self.idle_timeout_s = settings.idle_timeout_s
        self.connections: set[Channel] = set()
        self._max_connections = settings.max_connections
        self._max_of_one = settings.max_connections_per_address
        self._trusted = parse_networks(settings.trusted_proxies)
        self._refused = self._closed = 0
        self._reported_s: float | None = None

    def buildProtocol(self, addr: IAddress | None) -> Any:  # noqa: N802 (Twisted's name)
        """Take a connection, or none when there are too many."""
        peer = str(getattr(addr, "host", "") or "")
        group = "" if is_trusted(peer, self._trusted) else group_of(peer)
        if not self._make_room(group):
            self._refused += 1
            self._report_crowd()
            return None
        channel: Channel = super().buildProtocol(addr)
        channel.peer = channel.client = peer
        channel.group = group
        self.connections.add(channel)
        return channel

    def seat_request(self, channel: Channel) -> bool:
        """Note whose request this is when a proxy of ours brought it; return whether it may be answered."""
        if channel.group:
            return True
        forwarded = channel.requests[-1].requestHeaders.getRawHeaders("X-Forwarded-For") or []
        channel.client = client_of(channel.peer, forwarded, self._trusted)
        group = group_of(channel.client)
        if is_trusted(channel.client, self._trusted):
            return True  # its own question, about our health perhaps
        if not self._make_room_for(group):
            self._refused += 1
            self._report_crowd()
            return False
        channel.group = group
        return True

    def unseat_request(self, channel: Channel) -> None:
        """Note that the request is answered: a proxy's connection is nobody's again."""
        if is_trusted(channel.peer, self._trusted):
            channel.group = ""

    def getContentFile(self, length: int | None) -> DiscardedBody:  # noqa: N802 (Twisted's name)
        """Return where a request's body goes."""
        del length
        return DiscardedBody()

    def log(self, request: Any) -> None:
        """Log an answer at debug level: an access log is the reverse proxy's work."""
        if not _stdlib_log.isEnabledFor(logging.DEBUG):
            return  # at any other level it would cost each request 40 us
        self._log.debug(
            "{client} {method} {path} {code} {size} bytes",
            client=getattr(request.channel, "client", ""),
            method=request.method.decode("latin-1"),
            path=redact_path(request.uri.decode("latin-1")),
            code=request.code,
            size=request.sentLength,
        )

    # --- who goes ------------------------------------------------------------------------------------

    def _make_room(self, group: str) -> bool:
        return self._make_room_for(group) and self._close_down_to(self.connections, self._max_connections)

    def _make_room_for(self, group: str) -> bool:
        if not group:
            return True
        same = [channel for channel in self.connections if channel.group == group]
        return self._close_down_to(same, self._max_of_one)

    def _close_down_to(self, connections: Collection[Channel], most: int) -> bool:
        """Have one place free among so many; return whether it is."""
        if len(connections) < most:
            return True
        channels = list(connections)
        seats = (channel.seat(number) for number, channel in enumerate(channels))
        chosen = choose_to_close(seats, self.now_s())
        if chosen is None:
            return False
        channels[chosen].close_for_another()
        self._closed += 1
        self._report_crowd()
        return True

    def _report_crowd(self) -> None:
        now_s = self.now_s()
        if self._reported_s is not None and now_s - self._reported_s < REPORT_S:
            return
        self._log.warn(
            "{count} connections are open: {closed} that were idle or stalled closed, {refused} refused",
            count=len(self.connections),
            closed=self._closed,
            refused=self._refused,
        )
        self._reported_s, self._refused, self._closed = now_s, 0, 0
