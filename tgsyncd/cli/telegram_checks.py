# SPDX-License-Identifier: MIT
"""What ``doctor`` and ``telegram setup`` find out about Telegram, in the words of ``doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tgsyncd.cli.text import printable
from tgsyncd.errors import TgsyncdError
from tgsyncd.maintenance.doctor import Finding, Level
from tgsyncd.model import DOCUMENT_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tgsyncd.cli.shell import Shell
    from tgsyncd.config.schema import Config
    from tgsyncd.stores.telegram import check
    from tgsyncd.stores.telegram.settings import TelegramSettings

    Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]

_MARKS = {"ok": "ok     ", "warning": "WARNING", "problem": "PROBLEM"}


async def examine_telegram(config: Config, *, reactor: Any, fetch: Fetch) -> Sequence[Finding]:
    """
    Look at the servers, the bots and the chats of a configuration whose store is Telegram.

    Each bot stores, reads and deletes a small document in each chat.
    """
    from tgsyncd.assembly import telegram_settings

    settings = telegram_settings(config)
    findings = [await check_server(url, fetch) for url in server_roots(settings)]
    findings += check_document_size(config.documents.max_bytes)
    found = await ask_telegram(settings, reactor=reactor, round_trip=True)
    return [*findings, *map(to_finding, found)]


async def ask_telegram(
    settings: TelegramSettings, *, reactor: Any, round_trip: bool
) -> Sequence[check.Finding]:
    """Run the store's own checks against the wall clock."""
    # Imported here: python-telegram-bot takes a third of a second.
    from tgsyncd.daemon import WallClock
    from tgsyncd.stores.telegram.check import check_telegram

    return await check_telegram(settings, reactor=reactor, clock=WallClock(reactor), round_trip=round_trip)


def server_roots(settings: TelegramSettings) -> Sequence[str]:
    """Return the addresses that must answer: of the methods, and of the files where they come over HTTP."""
    urls = [settings.base_url] if settings.local_mode else [settings.base_url, settings.base_file_url]
    parts = [urlsplit(url) for url in urls]
    return list(dict.fromkeys(f"{each.scheme}://{each.netloc}" for each in parts))


async def check_server(root: str, fetch: Fetch) -> Finding:
    """Check that something answers at the address; a Bot API server says 404 there."""
    try:
        await fetch(f"{root}/")
    except TgsyncdError as error:
        remedy = (
            "check the network, the firewall and telegram.base_url; is the Bot API server running? "
            "(documents are not downloaded through proxies)"
        )
        message = f"nobody answers: {error.message}"
        return Finding(level=Level.PROBLEM, subject=root, message=message, remedy=remedy)
    return Finding(level=Level.OK, subject=root, message="the Bot API server answers")


def check_document_size(max_bytes: int) -> Sequence[Finding]:
    """Warn of documents that only a local Bot API server will ever return."""
    if max_bytes <= DOCUMENT_MAX_BYTES:
        return []
    return [
        Finding(
            level=Level.WARNING,
            subject="documents.max_bytes",
            message=f"documents of up to {max_bytes:,} bytes can never be read through api.telegram.org "
            "again: without a local Bot API server the library would be lost",
            remedy=f"to be able to go back, set it to {DOCUMENT_MAX_BYTES:,}",
        )
    ]


def to_finding(found: check.Finding) -> Finding:
    """Return what the store found as one of doctor's findings."""
    subject = found.kind.value.replace("-", " ")
    if found.bot_id is not None:
        subject += f" of bot {found.bot_id}"
    if found.chat_id is not None:
        subject += f" in chat {found.chat_id}"
    return Finding(
        level=Level(found.severity.value),
        subject=subject,
        message=found.text.rstrip("."),
        remedy=found.advice,
    )


def finding_lines(shell: Shell, finding: Finding) -> list[str]:
    """Return a finding as lines, without secrets: a server may say anything in its answers."""
    clean = shell.redactor.redact
    lines = [f"{_MARKS[finding.level]} {finding.subject}: {clean(printable(finding.message))}"]
    if finding.remedy:
        lines.append(f"        {clean(printable(finding.remedy))}")
    return lines


def finding_json(shell: Shell, finding: Finding) -> dict[str, str]:
    """Return a finding as JSON, without secrets."""
    return {
        "level": finding.level.value,
        "subject": finding.subject,
        "message": shell.redactor.redact(finding.message),
        "remedy": shell.redactor.redact(finding.remedy),
    }
