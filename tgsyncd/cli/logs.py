# SPDX-License-Identifier: MIT
"""The log of a command: warnings, or more with ``-v``, as lines on standard error without secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger, LogLevel

from tgsyncd.cli.text import printable, render_time
from tgsyncd.logs import begin_logging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tgsyncd.cli.shell import Shell

_LEVELS = ("warn", "info", "debug")


def begin_log(shell: Shell, verbosity: int) -> None:
    """Send log events to standard error, at a level that ``-v`` and ``-vv`` raise."""
    begin_logging(
        lambda level, text: shell.note(f"{level}: {text}"),
        shell.redactor,
        level=_LEVELS[min(verbosity, len(_LEVELS) - 1)],
    )


_CHATTER = frozenset({"debug", "info"})
"""What libraries say at these levels is for those who look for a fault."""

# sd-daemon(3): how a line tells the journal its priority.
_PRIORITIES = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}
FIELDS = ("video_id", "document", "path", "library", "job", "strm", "error")
"""What an event may say about itself beside its text."""


def begin_service_log(shell: Shell, verbosity: int, log_format: str) -> None:
    """
    Send log events of a daemon to standard error, from INFO up, with ``-v`` from DEBUG up.

    ``text`` has times, ``json`` is an object a line, ``journal`` has priorities; ``auto`` is ``journal``
    under systemd and ``text`` elsewhere.
    """
    if log_format == "auto":
        log_format = "journal" if "JOURNAL_STREAM" in shell.environ else "text"
    render = {"text": render_text, "json": render_json, "journal": render_journal}[log_format]

    def write(level: str, text: str, event: Mapping[str, Any]) -> None:
        source = str(event.get("log_namespace", ""))
        if level in _CHATTER and event and not verbosity and not source.startswith("tgsyncd"):
            return  # Twisted names each port and each connection's factory that it begins and ends.
        if "log_failure" not in event:
            text = printable(text)  # One event, one line: a file's name may hold line breaks.
        shell.err.file.write(shell.redactor.redact(render(level, text, event)) + "\n")
        shell.err.file.flush()

    begin_logging(
        lambda level, text: write(level, text, {}),
        shell.redactor,
        level="debug" if verbosity else "info",
        write_event=write,
    )
    ours = Logger(namespace="tgsyncd.cli")
    shell.lines.write = lambda level, note: ours.emit(LogLevel.levelWithName(level), "{note}", note=note)


def render_text(level: str, text: str, event: Mapping[str, Any]) -> str:
    """Return ``2026-11-22T10:20:30Z info: text``."""
    return f"{render_time(event.get('log_time', 0.0))} {level}: {text}"


def render_journal(level: str, text: str, event: Mapping[str, Any]) -> str:
    """Return the text with its priority before each line; the journal has the time."""
    del event
    return "\n".join(f"<{_PRIORITIES.get(level, 6)}>{line}" for line in text.splitlines())


def render_json(level: str, text: str, event: Mapping[str, Any]) -> str:
    """Return one JSON object in one line."""
    fields = {name: str(event[name]) for name in FIELDS if event.get(name) is not None}
    head = {"time": render_time(event.get("log_time", 0.0)), "level": level, "message": text}
    return json.dumps({**head, **fields}, ensure_ascii=False)
