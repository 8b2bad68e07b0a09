# SPDX-License-Identifier: MIT
"""
PURE: which addresses may stand in a URL that other machines shall open.

A ``.strm`` outlives the evening on which it was written, and every player opens its URL by itself: an
address that means "this machine" or "any address" would make each of them ask itself.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tgsyncd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

# RFC 1123, and the underscore that container names have.
_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?", re.ASCII)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 6761 and RFC 7686: names that no resolver of another machine answers.
_NAMES_OF_NOBODY = (".localhost", ".invalid", ".test", ".example", ".localdomain", ".onion")
# Bridges of containers and virtual machines: addresses that only this machine reaches.
_LOCAL_INTERFACES = ("docker", "br-", "veth", "virbr", "lxc", "lxd", "cni", "podman", "vmnet")


@dataclass(frozen=True, slots=True, kw_only=True)
class InterfaceAddress:
    """One address of this machine."""

    interface: str
    address: str


def choose_lan_addresses(addresses: Sequence[InterfaceAddress]) -> tuple[str, ...]:
    """Return the addresses that other machines can probably use, the likeliest first."""
    usable = []
    for entry in addresses:
        address = _address_of(entry.address)
        if address is None or entry.interface.startswith(_LOCAL_INTERFACES):
            continue
        if not _refusal_of_address(address):
            usable.append(address)
    # IPv4 in a private network is what home players reach; a public address is seldom meant.
    usable.sort(key=lambda found: (found.version, not found.is_private))
    return tuple(dict.fromkeys(str(address) for address in usable))


def explain_unreachable(host: str) -> str | None:
    """Return why other machines cannot reach this host by this name, or None when they may."""
    name = host.strip("[]").rstrip(".").lower()
    if not name:
        return "is empty"
    address = _address_of(name)
    if address is not None:
        return _refusal_of_address(address)
    if name == "localhost" or name.startswith(("localhost.", "ip6-localhost", "ip6-loopback")):
        return "means the machine that opens the URL, not this one"
    if name.endswith(_NAMES_OF_NOBODY):
        return "is a name that other machines cannot resolve"
    if name.replace(".", "").isdigit() or not _NAME.fullmatch(name):
        return "is neither an address nor a name"
    return None


def is_loopback(host: str) -> bool:
    """Tell whether the host means the machine that asks: what a demo on one machine may use."""
    name = host.strip("[]").rstrip(".").lower()
    address = _address_of(name)
    return name == "localhost" if address is None else address.is_loopback


def check_public_host(host: str, own: Sequence[InterfaceAddress], *, option: str) -> None:
    """
    Refuse a host that other machines cannot open.

    Raises
        ConfigError that names the LAN addresses found.
    """
    reason = explain_unreachable(host)
    if reason is None:
        return
    found = choose_lan_addresses(own)
    hint = (
        f"use an address of this machine: {', '.join(found)}"
        if found
        else "no LAN address was found on this machine: connect it, or name the address that players use"
    )
    message = f"{option}: {host} {reason}, and players on other machines shall open this URL"
    raise ConfigError(message, hint=hint)


def check_public_urls(urls: Sequence[str], own: Sequence[InterfaceAddress]) -> None:
    """Refuse public URLs that other machines cannot open. Raises ConfigError."""
    for url in urls:
        check_public_host(urlsplit(url).hostname or "", own, option="server.public_urls")


def render_url(host: str, port: int) -> str:
    """Return ``http://host:port``, with brackets around IPv6 and without port 80."""
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{name}" if port == 80 else f"http://{name}:{port}"


def choose_public_urls(
    configured: Sequence[str], own: Sequence[InterfaceAddress], *, port: int
) -> tuple[str, ...]:
    """
    Return how other machines reach this server: as configured, else by the LAN addresses found.

    Raises
        ConfigError when a configured one cannot work, or none is configured and none found.
    """
    if configured:
        check_public_urls(configured, own)
        return tuple(configured)
    found = choose_lan_addresses(own)
    if not found:
        raise ConfigError(
            "this machine has no address that players on other machines could use",
            hint="connect it to the network, or set server.public_urls or --host",
        )
    # `server.listen` is IPv4 unless somebody configures otherwise, and then public_urls belong to it.
    reached = [address for address in found if ":" not in address] or found
    return tuple(render_url(address, port) for address in reached)


def _address_of(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _refusal_of_address(address: _Address) -> str | None:
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return _refusal_of_address(mapped)
    if address.is_unspecified or (address.version == 4 and address in _THIS_NETWORK):
        return "means every address of this machine and is none of them"
    if address.is_loopback:
        return "means the machine that opens the URL, not this one"
    if address.is_link_local:
        return "is valid on one cable only"
    if address.is_multicast or str(address) == "255.255.255.255":
        return "is not the address of one machine"
    return None


_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
