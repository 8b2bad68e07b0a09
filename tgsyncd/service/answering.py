# SPDX-License-Identifier: MIT
"""
Long questions over the control socket: answered line by line, each line a JSON object.

``{"event": …}`` tells what happens meanwhile; a line without anything in it, now and then, that we are still
there; the last is ``{"end": …}`` or ``{"error": …, "hint": …, "kind": …}``. Whoever asked may go away: the
work goes on without him.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from tgsyncd.errors import ConfigError, TgsyncdError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from twisted.python.failure import Failure
    from twisted.web.server import Request

    Event = Mapping[str, Any]
    Handler = Callable[[Event, Callable[[Event], None]], Coroutine[Any, Any, Event]]
    """Is given the question and a function that tells the asker something; returns the answer."""

__all__ = ["Answering", "explain"]

_log = Logger()

ALIVE_S = 10.0
MAX_QUESTION_BYTES = 1 << 20


class Answering(Resource):
    """A route that takes a JSON object by POST and answers in lines."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, handler: Handler, *, reactor: Any) -> None:
        super().__init__()
        self._handler = handler
        self._reactor = reactor

    def render_POST(self, request: Request) -> Any:  # noqa: N802 - Twisted's name
        """Begin the work, and answer while it goes on."""
        lines = _Lines(request, self._reactor)
        work = Deferred.fromCoroutine(self._work(request, lines))
        work.addCallbacks(lambda end: lines.end({"end": end}), lambda failure: lines.end(explain(failure)))
        return NOT_DONE_YET

    async def _work(self, request: Request, lines: _Lines) -> Event:
        assert request.content is not None
        try:
            question = json.loads(request.content.read(MAX_QUESTION_BYTES) or b"{}")
        except ValueError as error:
            raise ConfigError("the question is not JSON") from error
        return await self._handler(question, lines.tell)


@implementer(IPushProducer)
class _Lines:
    """Writes lines to a client that may be slow, stopped, or gone: then events are left out."""

    def __init__(self, request: Request, reactor: Any) -> None:
        self._request = request
        self._is_open = True
        self._is_paused = False
        request.setHeader(b"Content-Type", b"application/x-ndjson")
        request.notifyFinish().addErrback(self._note_gone)
        request.registerProducer(self, True)  # noqa: FBT003 - Twisted's signature
        self._alive = LoopingCall(self.tell, {})
        self._alive.clock = reactor
        self._alive.start(ALIVE_S)

    def tell(self, event: Event) -> None:
        """Write an event."""
        if self._is_open and not self._is_paused:
            self._write({"event": event} if event else {})

    def end(self, last: Event) -> None:
        """Write the last line, also to a client that is slow, and finish."""
        if self._alive.running:
            self._alive.stop()
        if self._is_open:
            self._write(last)
            self._is_open = False
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Leave events out from now on."""
        self._is_paused = True

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Tell events again."""
        self._is_paused = False

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Tell nothing any more."""
        self._is_open = False

    def _write(self, value: Event) -> None:
        self._request.write(json.dumps(value, default=str).encode() + b"\n")

    def _note_gone(self, _failure: Failure) -> None:
        self._is_open = False
        if self._alive.running:
            self._alive.stop()


def explain(failure: Failure) -> Event:
    """Return an error for ``cli.handing``, which raises it again."""
    error = failure.value
    if isinstance(error, TgsyncdError):
        return {"error": error.message, "hint": error.hint, "kind": type(error).__name__}
    if isinstance(error, CancelledError):
        return {"error": "the daemon was stopped", "hint": "", "kind": "TgsyncdError"}
    _log.failure("a command over the control socket failed", failure=failure)
    return {"error": "a fault of tgsyncd; the daemon's log says where", "hint": "", "kind": "TgsyncdError"}
