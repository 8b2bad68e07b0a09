# SPDX-License-Identifier: MIT
"""
The last step of every test session: no token stands in anything that the tests wrote.

A plugin for pytest, loaded by ``tests/conftest.py``. It keeps the DEBUG logs of python-telegram-bot, httpx,
httpcore, APScheduler and Twisted of the whole session, as tgsyncd itself would write them, beside the tests'
temporary folders, and then searches all of them for the canary.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from twisted.logger import formatEvent, globalLogPublisher

from tests.canary import Hit, search
from tgsyncd.logs import CHATTY, RedactingObserver, Redactor

if TYPE_CHECKING:
    from pathlib import Path

LOG_NAME = "debug.log"


class SessionLog(logging.Handler):
    """One file for stdlib's records and Twisted's events, written through tgsyncd's redaction."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.DEBUG)
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        self._observer = RedactingObserver(self._write, Redactor())
        globalLogPublisher.addObserver(self._observer)
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._observer({"log_format": "{text}", "text": self.format(record), "log_system": record.name})

    def close(self) -> None:
        if not self._file.closed:
            globalLogPublisher.removeObserver(self._observer)
            logging.getLogger().removeHandler(self)
            self._file.close()
        super().close()

    def _write(self, event: dict) -> None:
        text = formatEvent(event) or ""
        if "log_failure" in event:
            text += event["log_failure"].getTraceback()
        self._file.write(text + "\n")


_log = pytest.StashKey[SessionLog]()
_hits = pytest.StashKey[list[Hit]]()


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    base = session.config._tmp_path_factory.getbasetemp()
    session.config.stash[_log] = SessionLog(base / LOG_NAME)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let the chatty speak, whom a test of the logs may have silenced."""
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.DEBUG)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    log = session.config.stash.get(_log, None)
    if log is None:
        return
    log.close()
    if hasattr(session.config, "workerinput"):
        return  # A worker of pytest-xdist: its folders stand in those of the process that searches.
    hits = list(search([session.config._tmp_path_factory.getbasetemp()]))
    session.config.stash[_hits] = hits
    if hits:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say it among the last lines, where whoever sees a run fail looks first."""
    for hit in config.stash.get(_hits, []):
        terminalreporter.write_line(f"TOKEN WRITTEN: {hit}", red=True)
