# SPDX-License-Identifier: MIT
"""
Listening sockets that systemd opened for us: sd_listen_fds(3), systemd.socket(5).

They stay open in systemd while we restart: who connects meanwhile waits, and is not refused.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from twisted.python.systemd import ListenFDs

from tgsyncd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from twisted.internet.interfaces import IListeningPort, IProtocolFactory

__all__ = ["adopt_sockets", "port_of", "take_sockets"]

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def take_sockets(environ: MutableMapping[str, str]) -> tuple[int, ...]:
    """
    Return the descriptors that systemd passed to this very process; take the variables away.

    No child inherits the sockets: it would keep the port when we have ended.
    """
    # Older systemds and other programs give no names, without which Twisted takes nothing.
    count = environ.get("LISTEN_FDS", "")
    if count.isdecimal() and "LISTEN_FDNAMES" not in environ:
        environ["LISTEN_FDNAMES"] = ":".join(["tgsyncd"] * int(count))
    found = tuple(ListenFDs.fromEnvironment(environ).inheritedDescriptors())
    for name in _VARIABLES:
        environ.pop(name, None)
    for fd in found:
        port_of(fd)
        os.set_inheritable(fd, False)  # noqa: FBT003 - the function's name says it
    return found


def port_of(fd: int) -> int:
    """Return the TCP port of a listening socket. Raises ConfigError when it is something else."""
    try:
        with socket.socket(fileno=os.dup(fd)) as found:
            is_tcp = found.family in {socket.AF_INET, socket.AF_INET6} and found.type == socket.SOCK_STREAM
            if is_tcp and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return int(found.getsockname()[1])
    except OSError as error:
        raise ConfigError(f"descriptor {fd} is no socket: {error.strerror}", hint=_HINT) from error
    raise ConfigError(f"descriptor {fd} is not a TCP socket that listens", hint=_HINT)


_HINT = "tgsyncd.socket names the port: ListenStream=0.0.0.0:8080"


def adopt_sockets(reactor: Any, fds: Sequence[int], factory: IProtocolFactory) -> list[IListeningPort]:
    """Serve on these descriptors, which are the reactor's from now on."""
    ports = []
    for fd in fds:
        with socket.socket(fileno=os.dup(fd)) as found:
            found.setblocking(False)  # noqa: FBT003 - the name says it
            family = found.family
        ports.append(reactor.adoptStreamPort(fd, family, factory))
        os.close(fd)  # The reactor has its own copy: its end must be the end of ours.
    return ports
