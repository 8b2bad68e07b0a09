# SPDX-License-Identifier: MIT
"""A line of numbers each day, and what became of them since the last."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from tgsyncd.durable import fsync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tgsyncd.model import CatalogStats

__all__ = ["append_line", "describe", "read_lines", "take_stock"]

KEPT_LINES = 400
"""More than a year of days, 200 kB."""


def take_stock(
    stats: CatalogStats, *, now_s: float, failed: int, cache: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """Return the numbers of this moment."""
    return {
        "at_s": now_s,
        "videos": stats.videos,
        "videos_by_status": dict(stats.videos_by_status),
        "segments": stats.segments,
        "documents": stats.documents,
        "stored_bytes": stats.stored_bytes,
        "deletions_owed": stats.deletions_owed,
        "catalog_file_bytes": stats.file_bytes,
        "failed_files": failed,
        "cache": cache,
    }


def describe(now: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """Return one line for the owner: what there is, and how much of it is new."""

    def amount(key: str, unit: str, scale: int = 1) -> str:
        text = f"{now[key] / scale:,.{1 if scale > 1 else 0}f} {unit}"
        change = 0 if before is None else now[key] - before.get(key, 0)
        return text if not change else f"{text} ({change / scale:+,.{1 if scale > 1 else 0}f})"

    parts = [
        amount("videos", "videos"),
        amount("documents", "documents"),
        amount("stored_bytes", "GB", 10**9),
    ]
    if now["deletions_owed"]:
        parts.append(f"{now['deletions_owed']} deletions owed")
    if now["failed_files"]:
        parts.append(f"{now['failed_files']} files failed")
    return ", ".join(parts)


def read_lines(path: Path) -> Sequence[Mapping[str, Any]]:
    """Return the numbers of earlier days, oldest first; lines that cannot be read are passed over. Blocks."""
    lines = []
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and "at_s" in value:
            lines.append(value)
    return lines


def append_line(path: Path, earlier: Sequence[Mapping[str, Any]], line: Mapping[str, Any]) -> None:
    """Write the file anew with one more line, whole or not at all. Blocks. Raises OSError."""
    temporary = path.with_name(f".{path.name}.part")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        for each in [*earlier, line][-KEPT_LINES:]:
            file.write(json.dumps(each) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync_folder(path.parent)
