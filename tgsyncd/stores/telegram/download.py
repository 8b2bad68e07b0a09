# SPDX-License-Identifier: MIT
"""
One attempt at a byte range over HTTP: treq unbuffered, with back-pressure and an idle timeout.

Nothing is retried here; ``reading`` does that, from the byte reached. The errors below say what may
help. URLs contain the bot token: no error and no log line here carries one.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Any

from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure
    from twisted.web.iweb import IBodyProducer, IResponse

CHUNK_MAX_BYTES = 256 * 1024

PAUSE_ABOVE_BYTES = CHUNK_MAX_BYTES - 64 * 1024
"""A paused transport may still deliver one read of 64 KiB."""

CONNECTIONS_PER_HOST = 32
"""Kept open between requests: treq's default of 2 would open a connection for nearly each."""

_EXPIRED = frozenset({401, 403, 404, 410})
"""404 is an expired file_path; short periods of 401 have been seen (telegram-bot-api#779)."""


class DownloadError(Exception):
    """A download ended early."""


class LinkExpired(DownloadError):
    """The server knows no such file_path (any more): ask getFile again."""


class ServerBusy(DownloadError):
    """The server answered 429 or 5xx."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(f"the file server answered {status}")
        self.retry_after_s = retry_after_s


class Interrupted(DownloadError):
    """Reset, stalled, or the body was shorter than announced: go on at the byte reached."""


class WrongLength(DownloadError):
    """The file is not as long as it should be."""

    def __init__(self, found_bytes: int, expected_bytes: int) -> None:
        super().__init__(f"the server has {found_bytes} bytes, {expected_bytes} were stored")


@implementer(IAgent)
class _IdentityAgent:
    """Ask for the bytes as they are: treq would ask for gzip, and Range counts encoded bytes."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,  # noqa: N803 - IAgent's name
    ) -> Deferred[IResponse]:
        headers = headers.copy() if headers is not None else Headers()
        headers.setRawHeaders(b"accept-encoding", [b"identity"])
        return self._agent.request(method, uri, headers, bodyProducer)


def make_client(reactor: Any, *, connect_timeout_s: float) -> tuple[HTTPClient, HTTPConnectionPool]:
    """Return a client for ``Downloader``, and its pool, which the owner closes."""
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = CONNECTIONS_PER_HOST
    pool.cachedConnectionTimeout = 60
    pool.retryAutomatically = False  # reading decides, from the byte reached
    agent = Agent(reactor, connectTimeout=connect_timeout_s, pool=pool)
    return HTTPClient(_IdentityAgent(agent)), pool


class Downloader:
    """Fetches byte ranges of files on the Bot API's file server."""

    def __init__(self, client: HTTPClient, clock: IReactorTime, *, idle_timeout_s: float) -> None:
        self._client = client
        self._clock = clock
        self._idle_timeout_s = idle_timeout_s
        self.honours_ranges = False
        """A range was asked for and came alone, the last time that one was asked for."""

    async def stream(self, url: str, start: int, stop: int, size_bytes: int) -> AsyncGenerator[bytes, None]:
        """
        Yield bytes ``[start, stop)`` of a file of ``size_bytes``, in chunks of at most 256 KiB.

        Closing it closes the connection. Raises a DownloadError when it ends early; what was
        yielded until then is right.
        """
        body = _Body(self._clock, self._idle_timeout_s)
        try:
            skip = await self._begin(body, url, start, stop, size_bytes)
            left = stop - start
            while left:
                data = await body.read()
                if not data:
                    raise Interrupted(f"the body ended {left} bytes early")
                if skip >= len(data):
                    skip -= len(data)
                    continue
                data = data[skip : skip + left]
                skip = 0
                left -= len(data)
                for at in range(0, len(data), CHUNK_MAX_BYTES):
                    yield data[at : at + CHUNK_MAX_BYTES]
        finally:
            body.abort()

    async def _begin(self, body: _Body, url: str, start: int, stop: int, size_bytes: int) -> int:
        """Send the request; return how many bytes of the body stand before ``start``."""
        headers = Headers()
        if (start, stop) != (0, size_bytes):
            headers.setRawHeaders(b"range", [b"bytes=%d-%d" % (start, stop - 1)])
        response = await self._request(url, headers)
        try:
            skip = _bytes_to_skip(response, start, stop, size_bytes)
        except DownloadError:
            response.deliverBody(body)
            body.abort()
            raise
        if headers.hasHeader(b"range"):
            self.honours_ranges = response.code == 206
        response.deliverBody(body)
        return skip

    async def _request(self, url: str, headers: Headers) -> Any:
        """Send the request; wait for the answer's head as long as for any other byte."""
        deferred = self._client.get(url, headers=headers, unbuffered=True, allow_redirects=False)
        timed_out = False

        def give_up() -> None:
            nonlocal timed_out
            timed_out = True
            deferred.cancel()

        timer = self._clock.callLater(self._idle_timeout_s, give_up)
        try:
            return await deferred
        except CancelledError:
            if not timed_out:
                raise
            raise Interrupted(f"no answer for {self._idle_timeout_s:g} s") from None
        except Exception as error:  # noqa: BLE001 - whatever it is, there was no answer
            if timed_out:
                raise Interrupted(f"no answer for {self._idle_timeout_s:g} s") from None
            if _was_cancelled(error):
                raise CancelledError from None
            # Only the class: a foreign message could name the URL.
            raise Interrupted(f"no answer: {_name_of(error)}") from None
        finally:
            if timer.active():
                timer.cancel()


_CONTENT_RANGE = re.compile(rb"bytes (\d{1,15})-(\d{1,15})/(\d{1,15}|\*)")


def _bytes_to_skip(response: Any, start: int, stop: int, size_bytes: int) -> int:
    """Check the answer's head; return how many bytes of its body stand before ``start``."""
    code: int = response.code
    if code in _EXPIRED:
        raise LinkExpired(f"the file server answered {code}")
    if code == 416:
        raise WrongLength(start, size_bytes)
    if code == 206:
        return _check_content_range(response, start, stop, size_bytes)
    if code == 200:
        length = response.length
        if isinstance(length, int) and length != size_bytes:
            raise WrongLength(length, size_bytes)
        return start
    if code == 429 or code >= 500:
        raise ServerBusy(code, _retry_after_s(response))
    raise Interrupted(f"the file server answered {code}")


def _check_content_range(response: Any, start: int, stop: int, size_bytes: int) -> int:
    values = response.headers.getRawHeaders(b"content-range", [b""])
    match = _CONTENT_RANGE.fullmatch(values[0].strip())
    if match is None or int(match[1]) > start or int(match[2]) < start:
        raise Interrupted("the file server sent another range than it was asked for")
    if match[3] != b"*" and int(match[3]) != size_bytes:
        raise WrongLength(int(match[3]), size_bytes)
    if int(match[2]) + 1 < stop and match[3] == b"*":
        raise Interrupted("the file server sent less than it was asked for")
    return start - int(match[1])


def _retry_after_s(response: Any) -> float | None:
    values = response.headers.getRawHeaders(b"retry-after", [])
    return float(values[0]) if values and values[0].isdigit() else None


def _was_cancelled(error: Exception) -> bool:
    """Tell whether our reader left: Twisted's client wraps that when the request was sent already."""
    return any(isinstance(reason.value, CancelledError) for reason in getattr(error, "reasons", ()))


def _name_of(error: BaseException | None) -> str:
    """Name the cause within Twisted's wrappers, by class only."""
    reasons = getattr(error, "reasons", None)
    if isinstance(reasons, list) and reasons:
        return type(reasons[0].value).__name__
    return type(error).__name__


class _Body(Protocol):
    """A response body that waits for its reader: at most 256 KiB of it are here unread."""

    def __init__(self, clock: IReactorTime, idle_timeout_s: float) -> None:
        self._clock = clock
        self._idle_timeout_s = idle_timeout_s
        self._chunks: deque[bytes] = deque()
        self._unread_bytes = 0
        self._paused = False
        self._waiter: Deferred[None] | None = None
        self._end: Exception | None = None
        self._complete = False
        self._timer: Any = None

    async def read(self) -> bytes:
        """Return the next bytes, or b"" behind the last. Raises Interrupted."""
        if not self._chunks and not self._ended:
            self._waiter = Deferred()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._chunks:
            data = self._chunks.popleft()
            self._unread_bytes -= len(data)
            if self._paused and self._unread_bytes <= PAUSE_ABOVE_BYTES // 2:
                self._resume()
            return data
        if self._end is not None:
            raise self._end
        return b""

    def abort(self) -> None:
        """Close the connection unless the body was read to its end."""
        self._stop_timer()
        self._chunks.clear()
        if self._ended:
            return
        self._end = Interrupted("closed by the reader")
        transport: Any = self.transport
        # The response's transport proxy has no abortConnection. Without it a TLS connection that
        # is not read would linger until the server's own timeout.
        while (inner := getattr(transport, "_producer", None)) is not None:
            transport = inner
        abort = getattr(transport, "abortConnection", None)
        if abort is not None:
            abort()
        elif transport is not None:
            transport.loseConnection()

    # --- Protocol ----------------------------------------------------------------------------------

    def connectionMade(self) -> None:  # noqa: N802 - IProtocol's name
        """Begin to wait for bytes."""
        self._start_timer()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - IProtocol's name
        """Keep bytes for the reader; pause when it is behind."""
        if self._ended:
            return
        self._chunks.append(data)
        self._unread_bytes += len(data)
        self._stop_timer()
        if self._unread_bytes >= PAUSE_ABOVE_BYTES and not self._paused:
            self._paused = True
            self._call_transport("pauseProducing")
        else:
            self._start_timer()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - IProtocol's name
        """Note how the body ended."""
        self._stop_timer()
        # PotentialDataLoss: neither a length nor chunks were announced; the reader counts.
        self._complete = isinstance(reason.value, ResponseDone | PotentialDataLoss)
        if not self._complete and self._end is None:
            self._end = Interrupted(f"the connection broke: {_name_of(reason.value)}")
        self._wake()

    # --- inside ------------------------------------------------------------------------------------

    @property
    def _ended(self) -> bool:
        return self._complete or self._end is not None

    def _resume(self) -> None:
        self._paused = False
        self._start_timer()
        self._call_transport("resumeProducing")

    def _call_transport(self, name: str) -> None:
        # There is none any more when the last bytes came together with the end.
        if self.transport is not None and not self._ended:
            getattr(self.transport, name)()

    def _start_timer(self) -> None:
        self._stop_timer()
        if not self._ended:
            self._timer = self._clock.callLater(self._idle_timeout_s, self._stalled)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _stalled(self) -> None:
        self.abort()
        self._end = Interrupted(f"no byte for {self._idle_timeout_s:g} s")
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.called:
            self._waiter.callback(None)
