# SPDX-License-Identifier: MIT
"""Who may ask for what: Host names, public URLs, capabilities, the admin token. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tgsyncd.model import VideoId

_CAPABILITY_BYTES = 24  # 192 bits; 128 would do (ASVS 5.0, 11.5.1). 32 characters, no padding.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


def capability_for(secret: bytes, video_id: VideoId, generation: int) -> str:
    """
    Return the text that opens one video for reading: ``/p/<capability>/...``.

    It holds until the video's generation is raised or the secret is changed.
    """
    message = f"tgsyncd playback 1\0{video_id}\0{generation}".encode()
    digest = hmac.digest(secret, message, hashlib.sha256)[:_CAPABILITY_BYTES]
    return base64.urlsafe_b64encode(digest).decode("ascii")


def capability_opens(capability: str | None, *, secret: bytes, video_id: VideoId, generation: int) -> bool:
    """Compare in constant time."""
    expected = capability_for(secret, video_id, generation)
    return hmac.compare_digest((capability or "").encode(), expected.encode())


def bearer_matches(header: str | None, token: str) -> bool:
    """Tell whether an Authorization header carries this token; compared in constant time."""
    scheme, _, given = (header or "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
    return scheme.lower() == "bearer" and same


def parse_host(header: str) -> tuple[str, int | None] | None:
    """Split a Host header into a lower-case name, without brackets, and a port; None when it is nonsense."""
    match = _HOST.fullmatch(header.strip())
    if match is None:
        return None
    name = match[1].strip("[]").lower().rstrip(".")
    return (name, int(match[2]) if match[2] else None) if name else None


def host_is_allowed(header: str, names: Collection[str]) -> bool:
    """
    Tell whether a request for this Host is meant for us.

    Only a name can be rebound to our address by somebody else's DNS, so literal addresses and
    ``localhost`` are always allowed; ``*`` among the names allows all.
    """
    parsed = parse_host(header)
    if parsed is None:
        return False
    name = parsed[0]
    return name in names or "*" in names or name == "localhost" or _is_address(name)


def allowed_names(public_urls: Sequence[str], more: Sequence[str]) -> frozenset[str]:
    """Return the names we answer to: those in our public URLs, and those configured."""
    from_urls = (urlsplit(url).hostname for url in public_urls)
    return frozenset(name.lower().rstrip(".") for name in (*from_urls, *more) if name)


def choose_base_url(host: str | None, public_urls: Sequence[str], *, is_secure: bool) -> str:
    """
    Return the base of absolute URLs: the public URL that the request came by, else the first.

    Without public URLs it is what the client itself asked for, which works for a server tried by hand.
    """
    parsed = parse_host(host) if host else None
    if parsed:
        for url in public_urls:
            if _is_asked_by(url, *parsed):
                return url.rstrip("/")
    if public_urls:
        return public_urls[0].rstrip("/")
    return f"{'https' if is_secure else 'http'}://{host or 'localhost'}"


def _is_asked_by(url: str, name: str, port: int | None) -> bool:
    parts = urlsplit(url)
    default = _DEFAULT_PORTS.get(parts.scheme)
    return parts.hostname == name and (parts.port or default) == (port or default)


@lru_cache(maxsize=256)
def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
