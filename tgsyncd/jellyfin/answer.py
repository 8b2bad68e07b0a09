# SPDX-License-Identifier: MIT
"""The whole body of an answer, bounded, and a connection that is closed when nobody waits for it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.iweb import IResponse

__all__ = ["ANSWER_MAX_BYTES", "Answer", "read_answer"]

Answer: TypeAlias = tuple[int, bytes]
"""Status and body."""

# 200 items with their paths are some 300 KB.
ANSWER_MAX_BYTES = 16 << 20


def read_answer(response: IResponse) -> Deferred[Answer]:
    """Return status and body. Cancelling closes the connection."""
    body = _Body(response.code)
    response.deliverBody(body)
    return body.done


class _Body(Protocol):
    def __init__(self, status: int) -> None:
        self._status = status
        self._chunks: list[bytes] = []
        self._size = 0
        self.done: Deferred[Answer] = Deferred(lambda _: self._close())

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - IProtocol's name
        self._size += len(data)
        if self._size > ANSWER_MAX_BYTES:
            self._close()
            self._fail(ValueError(f"its answer is longer than {ANSWER_MAX_BYTES:,} bytes"))
            return
        self._chunks.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - IProtocol's name
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback((self._status, b"".join(self._chunks)))
        else:
            self._fail(reason.value or ConnectionError("the connection was lost"))

    def _close(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()

    def _fail(self, error: BaseException) -> None:
        if not self.done.called:
            self.done.errback(error)
