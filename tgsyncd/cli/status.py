# SPDX-License-Identifier: MIT
"""``tgsyncd status``: what the running daemon does, what waits, and why."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.options import Source, as_json, configured
from tgsyncd.cli.text import printable, render_length, render_table, render_time
from tgsyncd.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tgsyncd.cli.shell import Shell

TIMEOUT_S = 30.0
SHOWN = 10
"""So many waiting and failed files are listed; --json has more."""


@click.command("status")
@as_json
@configured
def command(shell: Shell, source: Source, *, json_output: bool) -> int:
    """Show what the running daemon does now, what waits, what failed and why, and its jobs."""
    config = source.load(shell).config
    status = ask(config.data_dir / "control.sock", "GET", "/status")
    if json_output:
        shell.say_json(status)
    else:
        for line in render_status(status):
            shell.say(line)
    return 0


def ask(path: Path, method: str, url: str, *, timeout_s: float = TIMEOUT_S) -> Mapping[str, Any]:
    """
    Ask the daemon over its Unix socket.

    Raises
        NotFound when no daemon runs with this data folder.
    """
    connection = http.client.HTTPConnection("localhost", timeout=timeout_s)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(timeout_s)
        connection.sock.connect(str(path))
        connection.request(method, url)
        answer: Mapping[str, Any] = json.loads(connection.getresponse().read())
    except OSError as error:
        raise NotFound(
            f"no daemon answers at {path}: {error.strerror or error}",
            hint="start one with: tgsyncd run; or ask as the user that it runs as",
        ) from error
    else:
        return answer
    finally:
        connection.close()


def render_status(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for people."""
    videos = ", ".join(f"{count} {name}" for name, count in sorted(status["videos"].items())) or "none"
    yield f"{status['now']} (running for {render_length(status['uptime_s'])})"
    yield f"videos: {videos}; deletions owed to the store: {status['deletions_owed']}"
    if status["problem"]:
        yield f"NOT WELL: {status['problem']}"
    if status["store_silent"]:
        silent = status["store_silent"]
        yield f"NOT ANSWERED: Telegram, since {render_time(silent['since_s'])}: {silent['reason']}"
    if status["trouble"]:
        trouble = status["trouble"]
        yield f"no video is begun until {render_time(trouble['until_s'])}: {trouble['error']}"
        yield f"  since {render_time(trouble['since_s'])}"
    yield from (f"warning: {doubt}; nothing is withdrawn or deleted" for doubt in status["doubts"])
    yield from _section("waiting", [printable(each["path"]) for each in status["queue"]])
    yield from _section(
        "not taken yet", [f"{printable(path)}: {why}" for path, why in status["waiting"].items()]
    )
    yield from _section("failed", [_failure(each) for each in status["failures"]])
    yield ""
    yield from render_table(
        ("JOB", "LAST RUN", "TOOK", "NEXT RUN", "RESULT"), [_job(j) for j in status["jobs"]]
    )


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"{title}:"
        yield from (f"  {line}" for line in lines[:SHOWN])
        if len(lines) > SHOWN:
            yield f"  and {len(lines) - SHOWN} more"


def _failure(failure: Mapping[str, Any]) -> str:
    due_s = failure["next_attempt_at_s"]
    when = f"again at {render_time(due_s)}" if due_s else "not again until the file changes"
    return f"{printable(failure['path'])}: {failure['error']} ({when})"


def _job(job: Mapping[str, Any]) -> tuple[str, ...]:
    began, took, due = job["last_started_at_s"], job["last_duration_s"], job["next_run_at_s"]
    return (
        job["name"],
        "never" if began is None else render_time(began),
        "now" if job["is_running"] else "" if took is None else f"{took:.1f} s",
        "" if due is None else render_time(due),
        f"FAILED: {job['last_result']}" if job["last_failed"] else job["last_result"],
    )
