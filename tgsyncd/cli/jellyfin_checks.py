# SPDX-License-Identifier: MIT
"""What ``doctor`` finds out about Jellyfin: its address, the API key, and its libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgsyncd.errors import TgsyncdError
from tgsyncd.maintenance.doctor import Finding, Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.config.schema import Config

OLDEST_VERSION = (10, 9)
"""What the calls that we make were read from; older ones were never tried."""


async def examine_jellyfin(config: Config, *, reactor: Any) -> Sequence[Finding]:
    """Ask Jellyfin for its version and its libraries; no finding where none is configured."""
    from treq.client import HTTPClient
    from twisted.web.client import Agent

    from tgsyncd.assembly import jellyfin_settings
    from tgsyncd.jellyfin.check import check_jellyfin
    from tgsyncd.jellyfin.client import JellyfinClient

    settings = jellyfin_settings(config)
    if settings is None:
        return []
    subject = f"Jellyfin at {settings.url}"
    http = HTTPClient(Agent(reactor, connectTimeout=10))
    client = JellyfinClient(settings, http=http, clock=reactor)
    roots = [settings.their_path(library.publish) for library in config.libraries]
    try:
        version, troubles = await check_jellyfin(client, settings, roots)
    except TgsyncdError as error:
        return [Finding(level=Level.PROBLEM, subject=subject, message=error.message, remedy=error.hint)]
    return [
        judge_version(subject, version),
        *(_missing_library(subject, trouble) for trouble in troubles),
    ]


def judge_version(subject: str, version: str) -> Finding:
    """Judge Jellyfin's version; the API key was accepted, else it would not have told."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST_VERSION:
        return Finding(
            level=Level.WARNING,
            subject=subject,
            message=f"version {version or 'unknown'}: older than 10.9, with which it was never tried",
            remedy="update Jellyfin",
        )
    message = f"version {version} answers, and accepts the API key"
    return Finding(level=Level.OK, subject=subject, message=message)


def _missing_library(subject: str, trouble: str) -> Finding:
    message, _, remedy = trouble.partition(": ")
    return Finding(level=Level.WARNING, subject=subject, message=message, remedy=remedy)
