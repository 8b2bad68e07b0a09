# SPDX-License-Identifier: MIT
"""The section ``server``: who is a proxy, which names are ours."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tgsyncd.assembly import server_settings
from tgsyncd.config.schema import Config
from tgsyncd.config.serving import Server


def test_what_is_configured_reaches_the_server():
    """Each option by its name."""
    given = {
        "allowed_hosts": ["NAS.home", "tv", "*"],
        "trusted_proxies": ["127.0.0.1", "172.18.0.0/16", "fd00::/8"],
        "max_connections": 100,
        "max_connections_per_address": 10,
    }
    settings = server_settings(Config.model_validate({"server": given}), b"s" * 32)
    assert settings.allowed_hosts == ("nas.home", "tv", "*")
    assert settings.trusted_proxies == ("127.0.0.1", "172.18.0.0/16", "fd00::/8")
    assert (settings.max_connections, settings.max_connections_per_address) == (100, 10)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("allowed_hosts", ["http://nas"], "without scheme and port"),
        ("allowed_hosts", ["nas:8080"], "without scheme and port"),
        ("allowed_hosts", [""], "not the name of a host"),
        ("allowed_hosts", ["a" * 60 + "." + "b" * 200], "not the name of a host"),
        ("trusted_proxies", ["traefik"], "neither an address nor a network"),
        ("trusted_proxies", ["10.0.0.0/99"], "neither an address nor a network"),
        ("max_connections", 1, "greater than or equal to 8"),
        ("max_connections_per_address", 1, "greater than or equal to 2"),
    ],
)
def test_what_makes_no_sense_is_refused(option, value, message):
    """In words that say what is allowed."""
    with pytest.raises(ValidationError, match=message):
        Server.model_validate({option: value})
