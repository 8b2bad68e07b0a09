# SPDX-License-Identifier: MIT
"""
A pytest plugin that points python-telegram-bot's own tests at the emulator.

It runs inside PTB's test process (its own virtual environment), so it imports nothing of ours. What it
needs comes in ``PTB_EMULATOR``, JSON with ``url``, ``info`` (what PTB calls bot_info) and ``report``, the
file into which it writes what became of each test: outcome, methods called, the error's last line. No test
may reach the network: every address but loopback is refused.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from typing import Any

# What PTB_EMULATOR holds.
SETTINGS = json.loads(os.environ["PTB_EMULATOR"])

_real_getaddrinfo = socket.getaddrinfo
_real_connect = socket.socket.connect


def _getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name not in (None, "localhost") and not _is_loopback(name):
        raise socket.gaierror(socket.EAI_NONAME, f"the tests may not reach {name}")
    return _real_getaddrinfo(host, *args, **kwargs)


def _connect(self: socket.socket, address: Any) -> None:
    if self.family != socket.AF_UNIX and not _is_loopback(address[0]):
        raise ConnectionRefusedError(f"the tests may not reach {address[0]}")
    _real_connect(self, address)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _point_at_emulator() -> None:
    """Make the emulator what PTB takes for api.telegram.org, also where a test makes its own Bot."""
    from telegram import Bot
    from telegram.ext import ExtBot

    places = {
        "https://api.telegram.org/bot": f"{SETTINGS['url']}/bot",
        "https://api.telegram.org/file/bot": f"{SETTINGS['url']}/file/bot",
    }
    # The defaults are changed and nothing is wrapped: some tests look at signatures and stack levels.
    for init in (Bot.__init__, ExtBot.__init__):
        init.__defaults__ = tuple(
            places.get(value, value) if isinstance(value, str) else value for value in init.__defaults__ or ()
        )


_TOKEN = re.compile(r"\d{5,}:[A-Za-z0-9_-]+")

_called: list[str] = []
_report: dict[str, dict[str, Any]] = {}


def _note_calls() -> None:
    """Note the methods that a test calls at the emulator: PTB sends them all through here."""
    from telegram.request import HTTPXRequest

    real = HTTPXRequest.do_request

    async def do_request(self: Any, url: str, *args: Any, **kwargs: Any) -> Any:
        if url.startswith(SETTINGS["url"]):
            _called.append("download" if "/file/bot" in url else url.rpartition("/")[2])
        return await real(self, url, *args, **kwargs)

    HTTPXRequest.do_request = do_request  # type: ignore[method-assign]


def pytest_runtest_logreport(report: Any) -> None:
    entry = _report.setdefault(report.nodeid, {"outcome": "passed", "calls": [], "error": ""})
    entry["calls"] += _called
    _called.clear()
    if report.outcome != "passed" and entry["outcome"] == "passed":
        entry["outcome"] = report.outcome
        entry["error"] = _last_line(report)


def _last_line(report: Any) -> str:
    # Without tokens, whole or cut short: messages quote URLs, and the report is kept.
    if report.outcome == "skipped":
        return _TOKEN.sub("[token]", str(getattr(report, "wasxfail", "") or report.longrepr))[-300:]
    crash = getattr(report.longrepr, "reprcrash", None)
    return _TOKEN.sub("[token]", str(crash.message if crash else report.longrepr))[:300]


def pytest_sessionfinish() -> None:
    with open(SETTINGS["report"], "w") as stream:  # noqa: PTH123  nothing but json and os here
        json.dump(_report, stream, indent=1)


def pytest_configure(config: Any) -> None:
    # PTB marks its live tests as flaky, to be run up to three times; here once has to do.
    config.addinivalue_line("markers", "flaky: not repeated here")
    _note_calls()
    socket.getaddrinfo = _getaddrinfo
    socket.socket.connect = _connect  # type: ignore[method-assign]
    from tests.auxil import ci_bots

    ci_bots.BOT_INFO_PROVIDER._cached = SETTINGS["info"]
    # PTB's public test bots are not ours to use, not even by accident.
    for fallback in ci_bots.FALLBACKS:
        fallback.update(SETTINGS["info"])
    ci_bots.FALLBACKS[1]["token"] = SETTINGS["info"]["other_token"]
    _point_at_emulator()
