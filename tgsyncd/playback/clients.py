# SPDX-License-Identifier: MIT
"""Who a client is, also behind reverse proxies that are ours; and what of a URL may be logged. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_HOPS = 32
"""No chain of proxies is longer; what is longer is somebody's play."""

_IPV6_GROUP_BITS = 64
"""A home has that much (RFC 6177), and each of its addresses at once if it likes."""

_CAPABILITY_IN_PATH = re.compile(r"(?<=/p/)[^/?#\s]+")


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and CIDR networks. Raises ValueError."""
    return tuple(ipaddress.ip_network(text.strip(), strict=False) for text in texts)


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Tell whether this is the address of a proxy of ours."""
    parsed = _parse(address)
    return parsed is not None and any(parsed in network for network in trusted)


def client_of(peer: str, forwarded_for: Sequence[str], trusted: Sequence[Network]) -> str:
    """
    Return the address of the client: the peer, or who that says it speaks for if it is a proxy of ours.

    ``forwarded_for`` are the ``X-Forwarded-For`` headers in order. Each proxy adds at the end whom it heard,
    so they are believed from the end, for as long as those who wrote them are trusted; what the client
    wrote itself is never reached. What is no address ends it there.
    """
    client, hops = peer, ",".join(forwarded_for).split(",")[-MAX_HOPS:]
    while hops and is_trusted(client, trusted):
        address = _parse(_without_port(hops.pop().strip().strip('"')))
        if address is None:
            break
        client = str(address)
    return client


def group_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the 64 bits of IPv6 that one home has."""
    parsed = _parse(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, _IPV6_GROUP_BITS), strict=False))
    return str(parsed) if parsed is not None else address


def redact_path(path: str) -> str:
    """Return a URL's path without the capability in it, nor a query."""
    return _CAPABILITY_IN_PATH.sub("[redacted]", path.partition("?")[0])


def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:192.0.2.1, as a socket for both shows IPv4
    return mapped or address


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, _, port = text.partition(":")
    return host if ":" not in port else text
