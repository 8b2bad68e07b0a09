# SPDX-License-Identifier: MIT
"""Which addresses may stand in a URL that other machines shall open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.config.hosts import (
    InterfaceAddress,
    check_public_host,
    choose_lan_addresses,
    choose_public_urls,
    explain_unreachable,
    is_loopback,
    render_url,
)
from tgsyncd.errors import ConfigError

HOME = [
    InterfaceAddress(interface="lo", address="127.0.0.1"),
    InterfaceAddress(interface="lo", address="::1"),
    InterfaceAddress(interface="docker0", address="172.17.0.1"),
    InterfaceAddress(interface="eth0", address="fe80::1"),
    InterfaceAddress(interface="eth0", address="fd00::5"),
    InterfaceAddress(interface="eth1", address="203.0.114.7"),
    InterfaceAddress(interface="eth0", address="192.168.1.100"),
]


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "[::]", "localhost", "LOCALHOST.", "127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1",
     "169.254.3.4", "fe80::1%eth0", "224.0.0.1", "255.255.255.255", "0.1.2.3", "nas.localhost",
     "nas.localdomain", "x.invalid", "x.test", "", "1.2.3", "localhost.localdomain", "a b", "http:", "-x",
     "x/y"],
)  # fmt: skip
def test_refused(host):
    """Addresses that mean this machine, every machine, or nobody."""
    assert explain_unreachable(host)


@pytest.mark.parametrize(
    "host",
    ["192.168.1.100", "10.0.0.1", "100.64.1.2", "203.0.114.7", "fd00::5", "[fd00::5]", "nas", "nas.local",
     "nas.lan", "tv.example.org"],
)  # fmt: skip
def test_allowed(host):
    """LAN, VPN and public addresses, and names that some resolver may know."""
    assert explain_unreachable(host) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost", "LOCALHOST."])
def test_loopback(host):
    """What a demo on one machine may use."""
    assert is_loopback(host)
    assert not is_loopback("192.168.1.1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("localhost.example.org")


def test_lan_addresses_with_the_likeliest_first():
    """A private IPv4 address comes first; loopback, link-local and container bridges are left out."""
    assert choose_lan_addresses(HOME) == ("192.168.1.100", "203.0.114.7", "fd00::5")


def test_the_refusal_names_the_lan_addresses():
    """The message holds what to write instead."""
    with pytest.raises(ConfigError, match=r"--host: 0\.0\.0\.0") as caught:
        check_public_host("0.0.0.0", HOME, option="--host")

    assert "192.168.1.100" in caught.value.hint


def test_the_refusal_on_a_machine_without_network():
    """There is no address to name, and the hint says so."""
    with pytest.raises(ConfigError) as caught:
        check_public_host("localhost", HOME[:2], option="--host")

    assert "no LAN address" in caught.value.hint


def test_public_urls_are_found_when_none_is_configured():
    """IPv4 only, which is what the server listens on."""
    assert choose_public_urls((), HOME, port=8080) == ("http://192.168.1.100:8080", "http://203.0.114.7:8080")


def test_configured_public_urls_are_taken_as_they_are():
    """Also with a path and behind https."""
    assert choose_public_urls(("https://tv.example.org/x",), [], port=1) == ("https://tv.example.org/x",)
    with pytest.raises(ConfigError, match=r"server\.public_urls: localhost"):
        choose_public_urls(("http://localhost:8080",), HOME, port=1)


def test_no_public_url_at_all():
    """A machine without network needs to be told its address."""
    with pytest.raises(ConfigError, match="no address"):
        choose_public_urls((), HOME[:2], port=8080)


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        ("10.0.0.1", 80, "http://10.0.0.1"),
        ("fd00::5", 8080, "http://[fd00::5]:8080"),
        ("nas", 1, "http://nas:1"),
    ],
)
def test_render_url(host, port, url):
    """IPv6 has brackets, port 80 is left out."""
    assert render_url(host, port) == url


@given(st.text(max_size=40))
def test_no_text_makes_it_fail(host):
    """Whatever is given is judged, not crashed upon."""
    assert explain_unreachable(host) is None or isinstance(explain_unreachable(host), str)


@given(st.ip_addresses())
def test_an_address_is_refused_or_can_be_chosen(address):
    """The rule for what is refused and the rule for what is offered are one rule."""
    chosen = choose_lan_addresses([InterfaceAddress(interface="eth0", address=str(address))])
    assert bool(chosen) == (explain_unreachable(str(address)) is None)


def test_a_machine_with_ipv6_only():
    """Has an address all the same."""
    own = [InterfaceAddress(interface="eth0", address="fd00::5")]
    assert choose_public_urls((), own, port=8080) == ("http://[fd00::5]:8080",)
