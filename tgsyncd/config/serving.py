# SPDX-License-Identifier: MIT
"""PURE: the section ``server``: where players are served, under which names, and how many of them."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from tgsyncd.config.section import Section
from tgsyncd.config.values import Port, Url

# Labels with single dots between them: no text can be split in two ways, so none takes long.
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)


def _check_network(value: str) -> str:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        message = f"{value!r} is neither an address nor a network such as 172.18.0.0/16"
        raise ValueError(message) from None
    return value


def _check_host(value: str) -> str:
    if value != "*" and not _HOST_NAME.fullmatch(value):
        message = f"{value!r} is not the name of a host, such as tv.example.org, without scheme and port"
        raise ValueError(message)
    return value.lower()


class Server(Section):
    """The HTTP server that players read from."""

    listen: str = Field(
        default="0.0.0.0",  # noqa: S104 (players are other machines)
        description="Address to listen on; `0.0.0.0` is every IPv4 address of this machine.",
    )
    port: Port = Field(default=8080, description="TCP port to listen on; 0 takes any free one.")
    public_urls: tuple[Url, ...] = Field(
        default=(),
        description="How other machines reach this server. The first goes into `.strm` files; a "
        "playlist uses the one it was asked by. Empty: the LAN address found and `port`.",
    )
    allowed_hosts: tuple[Annotated[str, AfterValidator(_check_host)], ...] = Field(
        default=(),
        description="More names that this server answers to, without port. Those in `public_urls`, literal "
        "addresses and `localhost` need not be here; a request for any other name is refused. `*` "
        "allows all.",
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_check_network)], ...] = Field(
        default=(),
        description="Addresses or networks of your reverse proxies. Only their `X-Forwarded-For` is "
        "believed, and only they may have more connections than one client.",
    )
    max_connections: int = Field(
        default=256,
        ge=8,
        le=10_000,
        description="Most connections at once. When all are taken, one that has sent no request is closed "
        "for the next, else the one that has read nothing for longest.",
    )
    max_connections_per_address: int = Field(
        default=32, ge=2, le=10_000, description="Most connections at once of one client."
    )
