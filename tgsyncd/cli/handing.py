# SPDX-License-Identifier: MIT
"""Ask a running daemon for something that takes long, over its Unix socket, and hear what happens."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

from tgsyncd import errors
from tgsyncd.cli.runner import interruptible
from tgsyncd.errors import TgsyncdError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["Daemon", "find_daemon"]

SILENCE_S = 60.0
"""The daemon says every 10 s that it is there."""


class Daemon:
    """A connection to a running daemon, for one question."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def ask(
        self,
        route: str,
        question: Mapping[str, Any],
        on_event: Callable[[Mapping[str, Any]], None] = lambda _event: None,
    ) -> Mapping[str, Any]:
        """
        Ask, hand every event to ``on_event``, and return the answer.

        Raises what the daemon raised; TgsyncdError when it went away; Interrupted, after which it goes on.
        """
        try:
            with interruptible():
                return self._ask(route, question, on_event)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TgsyncdError(
                f"the daemon does not answer any more ({error})",
                hint="see: tgsyncd status, and its log; what it had begun goes on when it runs again",
            ) from error
        finally:
            self.close()

    def close(self) -> None:
        """Ask nothing."""
        self._connection.close()

    def _ask(
        self, route: str, question: Mapping[str, Any], on_event: Callable[[Mapping[str, Any]], None]
    ) -> Mapping[str, Any]:
        body = json.dumps(question).encode()
        self._connection.request("POST", route, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        if answer.status != 200:
            raise TgsyncdError(
                f"the daemon does not know how to do this ({answer.status})",
                hint="it is another version: restart it",
            )
        for line in iter(answer.readline, b""):
            value = json.loads(line)
            if "event" in value:
                on_event(value["event"])
            elif "end" in value:
                end: Mapping[str, Any] = value["end"]
                return end
            elif "error" in value:
                raise _error(value)
        raise ConnectionError("it was stopped")


def find_daemon(folder: Path) -> Daemon | None:
    """Return the daemon that runs with this data folder; None when there is none, or not for us."""
    connection = http.client.HTTPConnection("localhost", timeout=SILENCE_S)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(SILENCE_S)
    try:
        connection.sock.connect(str(folder / "control.sock"))
    except OSError:
        connection.close()
        return None
    return Daemon(connection)


def _error(value: Mapping[str, Any]) -> TgsyncdError:
    kind = getattr(errors, str(value.get("kind")), TgsyncdError)
    if not (isinstance(kind, type) and issubclass(kind, TgsyncdError)):
        kind = TgsyncdError
    return kind(str(value["error"]), hint=str(value.get("hint", "")))
