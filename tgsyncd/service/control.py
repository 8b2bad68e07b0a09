# SPDX-License-Identifier: MIT
"""
The Unix socket by which the command line talks to a running daemon.

HTTP over a socket that only our user can open: who opens it could read the catalog as well.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from tgsyncd.errors import TgsyncdError
from tgsyncd.model import VideoId
from tgsyncd.service.answering import Answering

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from twisted.internet.interfaces import IListeningPort
    from twisted.web.server import Request

    from tgsyncd.service.answering import Handler

__all__ = ["Control"]

_log = Logger()

LONGEST_PATH = 100
"""sun_path takes 107 bytes (unix(7))."""


class Control:
    """Listens on ``control.sock`` in the data folder."""

    def __init__(
        self,
        path: Path,
        *,
        reactor: Any,
        status: Callable[[], Mapping[str, Any]],
        run_job: Callable[[str], Coroutine[Any, Any, Mapping[str, Any]]],
        rotate: Callable[[VideoId | None], Coroutine[Any, Any, Mapping[str, Any]]],
        long: Mapping[str, Handler],
    ) -> None:
        self._path = path
        self._reactor = reactor
        root = Resource()
        root.putChild(b"status", _Status(status))
        root.putChild(b"jobs", _Jobs(run_job))
        root.putChild(b"rotate", _Rotate(rotate))
        for name, handler in long.items():
            root.putChild(name.encode(), Answering(handler, reactor=reactor))
        self._site = _QuietSite(root)
        self._port: IListeningPort | None = None

    def listen(self) -> None:
        """Begin; a socket that a killed daemon left is replaced: who holds the lock is alone."""
        if len(bytes(self._path)) > LONGEST_PATH:
            _log.warn("{path} is too long for a socket: `tgsyncd status` will not work", path=str(self._path))
            return
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self._port = self._reactor.listenUNIX(str(self._path), self._site, mode=0o600)

    async def stop(self) -> None:
        """Listen no more."""
        port, self._port = self._port, None
        if port is not None:
            stopped = port.stopListening()
            if isinstance(stopped, Deferred):
                await stopped


class _QuietSite(Site):
    """Says nothing of requests: `tgsyncd status` in a loop is no event for the log."""

    noisy = False

    def log(self, request: object) -> None:
        """Write no access log."""


class _Status(Resource):
    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._status = status

    def render_GET(self, request: Request) -> bytes:  # noqa: N802 - Twisted's name
        """Answer with everything that is going on."""
        return _json(request, self._status())


class _Jobs(Resource):
    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, run_job: Callable[[str], Coroutine[Any, Any, Mapping[str, Any]]]) -> None:
        super().__init__()
        self._run_job = run_job

    def render_POST(self, request: Request) -> Any:  # noqa: N802 - Twisted's name
        """Run the job of this name now, and answer when it has ended."""
        name = b"/".join(request.postpath or []).decode("ascii", "replace")
        work = Deferred.fromCoroutine(self._run_job(name))
        work.addCallbacks(
            lambda report: _finish(request, _json(request, report)),
            lambda failure: _finish(request, _json(request, {"error": str(failure.value)}, code=404)),
        )
        return NOT_DONE_YET


class _Rotate(Resource):
    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self, rotate: Callable[[VideoId | None], Coroutine[Any, Any, Mapping[str, Any]]]) -> None:
        super().__init__()
        self._rotate = rotate

    def render_POST(self, request: Request) -> Any:  # noqa: N802 - Twisted's name
        """Revoke the URLs of ``/rotate/<video_id>``, of all videos without one; answer when it is done."""
        video_id = b"/".join(request.postpath or []).decode("ascii", "replace")
        work = Deferred.fromCoroutine(self._rotate(VideoId(video_id) if video_id else None))
        work.addCallbacks(
            lambda report: _finish(request, _json(request, report)),
            lambda failure: _finish(request, _json(request, _explain(failure.value), code=400)),
        )
        return NOT_DONE_YET


def _explain(error: BaseException) -> Mapping[str, Any]:
    """Return an error for ``cli.control``, which raises it again."""
    if not isinstance(error, TgsyncdError):
        _log.failure("a command over the control socket failed", failure=Failure(error))
        text = "a fault of tgsyncd; the daemon's log says where"
        return {"error": text, "hint": "", "kind": "TgsyncdError"}
    return {"error": error.message, "hint": error.hint, "kind": type(error).__name__}


def _json(request: Request, value: Mapping[str, Any], *, code: int = 200) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(value, default=str).encode() + b"\n"


def _finish(request: Request, body: bytes) -> None:
    with contextlib.suppress(Exception):
        request.write(body)
        request.finish()
