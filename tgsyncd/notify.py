# SPDX-License-Identifier: MIT
"""Tell systemd how we are: sd_notify(3), one datagram a message. Without systemd nothing is sent."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["Notifier"]

_log = Logger()


class Notifier:
    """Sends to the socket that ``$NOTIFY_SOCKET`` names. Sending never raises and never blocks."""

    def __init__(self, address: str | None = None, *, watchdog_s: float | None = None) -> None:
        self._address = address
        self.watchdog_s = watchdog_s
        """Within this time systemd wants to hear of us (WatchdogSec=); None: it does not wait."""
        self._last_status = ""

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Notifier:
        """Take the variables of systemd out of the environment, so that no child answers for us."""
        address = environ.pop("NOTIFY_SOCKET", None)
        usec, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_ours = not pid or pid == str(os.getpid())
        watchdog_s = int(usec) / 1e6 if usec.isdecimal() and is_ours and int(usec) else None
        return cls(address, watchdog_s=watchdog_s)

    @property
    def is_watched(self) -> bool:
        """Tell whether anybody listens."""
        return self._address is not None

    def ready(self) -> None:
        """Say that we serve."""
        self._send("READY=1")

    def reloading(self, monotonic_usec: int) -> None:
        """Say that the configuration is read again; ``ready`` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={monotonic_usec}")

    def stopping(self) -> None:
        """Say that we are about to end."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """Show one line in ``systemctl status``; sent when it differs from the last one."""
        line = " ".join(text.split())
        if line != self._last_status:
            self._last_status = line
            self._send(f"STATUS={line}")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        # A name that begins with @ is in the abstract namespace, whose first byte is 0.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # noqa: FBT003 - the name says it
                sender.sendto(message.encode("utf-8", "replace"), address)
        except OSError as error:
            _log.warn(
                "systemd was not told {message}: {error}",
                message=message.split("\n", maxsplit=1)[0],
                error=error,
            )
