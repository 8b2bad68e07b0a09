# SPDX-License-Identifier: MIT
"""What the HTTP server is told by whoever builds it, and what it asks of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tgsyncd.model import VideoId


class AuthMode(StrEnum):
    """Who may read: everybody who reaches us, or who holds a video's capability."""

    OPEN = "open"
    SIGNED = "signed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """
    Settings of the HTTP server.

    ``public_urls`` have no path of ours; the first goes into ``.strm`` files. Without any, playlists name
    the host that the client asked for.
    """

    public_urls: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    """Names we answer to beyond those in ``public_urls``; literal addresses and localhost always are."""
    auth: AuthMode = AuthMode.OPEN
    admin_token: str | None = field(default=None, repr=False)
    capability_secret: bytes = field(default=b"", repr=False)
    error_delay_s: float = 1.0
    """Errors on playback routes wait so long: ffmpeg asks again 550 times in 0.3 s (docs/players.md)."""
    request_deadline_s: float = 10.0
    """From a request's first byte to its last: Twisted's own timer starts anew with each byte."""
    idle_timeout_s: float = 75.0
    """An idle connection is kept so long; hls.js and VLC ask for a segment every 6 s."""
    max_connections: int = 256
    max_connections_per_address: int = 32
    """Of one client; an IPv6 network of 64 bits is one."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and CIDR networks whose X-Forwarded-For is believed, and which are no client themselves."""

    def __post_init__(self) -> None:
        if self.auth is AuthMode.SIGNED and len(self.capability_secret) < 16:
            msg = "signed playback needs a capability secret of at least 16 bytes"
            raise ValueError(msg)


class Actions(Protocol):
    """What the server asks of the program around it."""

    async def delete_video(self, video_id: VideoId) -> Mapping[str, object]:
        """
        Delete a video: published files, rows, documents. Return what was done, for JSON.

        Raises NotFound, Refused, CatalogError; a store that cannot delete now is no error (it is owed).
        """
        ...

    def debug(self) -> Mapping[str, object]:
        """Return status and statistics, for JSON: version, uptime, catalog, store, cache, transfers."""
        ...

    def metrics(self) -> bytes:
        """Return numbers in Prometheus' text format."""
        ...

    def not_ready(self) -> Sequence[str]:
        """Return why the server should get no traffic yet, in words; empty when it is ready."""
        ...
