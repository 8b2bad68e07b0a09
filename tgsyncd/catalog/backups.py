# SPDX-License-Identifier: MIT
"""Copies of the catalog: making one by hand, listing them, checking one thoroughly. All blocks."""

from __future__ import annotations

import datetime as dt
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from tgsyncd.catalog import database
from tgsyncd.catalog.migrate import known_version, load_migrations
from tgsyncd.errors import CatalogError, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Backup", "backup_name", "check_copy", "list_backups", "make_backup"]

_NAME = re.compile(r"catalog-(\d{8}T\d{6})Z\.sqlite3", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One copy of the catalog."""

    path: Path
    made_at_s: float
    """By its name, else by the file's time."""
    size_bytes: int
    videos: int
    problem: str
    """Why it cannot be relied upon; empty when nothing was found at a glance."""


def backup_name(now_s: float) -> str:
    """Return the name of a copy that is made now; names sort by time."""
    return f"catalog-{dt.datetime.fromtimestamp(now_s, dt.UTC):%Y%m%dT%H%M%SZ}.sqlite3"


def make_backup(catalog_path: Path, target: Path) -> None:
    """
    Copy a catalog, also one that is in use, to ``target`` (mode 0600), checked.

    Raises
        NotFound when there is no catalog; CatalogError.
    """
    if not catalog_path.exists():
        raise NotFound(f"there is no catalog {catalog_path}", hint="`tgsyncd upload` makes one")
    with database.errors_in_our_words(catalog_path):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with closing(database.connect_reader(catalog_path)) as db:
            database.copy_database(db, target)


def list_backups(folder: Path) -> Sequence[Backup]:
    """Return the copies in the folder, the newest first, looked at quickly."""
    found = sorted(folder.glob("catalog-*.sqlite3"), reverse=True) if folder.is_dir() else []
    return [_look(path) for path in found]


def check_copy(path: Path) -> None:
    """
    Check a copy thoroughly: whole, ours, and of a version that this program knows.

    Raises
        NotFound, CatalogError, CatalogNewer.
    """
    if not path.is_file():
        raise NotFound(f"there is no file {path}", hint="`tgsyncd catalog backups` lists what there is")
    with database.errors_in_our_words(path), closing(open_copy(path)) as db:
        if not known_version(path, db, load_migrations()[-1].version):
            raise CatalogError(f"{path} is empty", hint="choose another: `tgsyncd catalog backups`")
        findings = database.integrity_check(db)
    if findings:
        raise CatalogError(
            f"{path} is damaged: {'; '.join(findings[:3])}",
            hint="choose another: `tgsyncd catalog backups`",
        )


def open_copy(path: Path) -> sqlite3.Connection:
    """Open a copy for reading; nothing is made beside it, even where it was copied in WAL mode."""
    wal = path.with_name(f"{path.name}-wal")
    immutable = "" if wal.exists() else "&immutable=1"
    return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro{immutable}", uri=True)


def _look(path: Path) -> Backup:
    videos, problem = 0, ""
    try:
        status = path.stat()
        with closing(open_copy(path)) as db:
            known_version(path, db, load_migrations()[-1].version)
            (videos,) = db.execute("SELECT count(*) FROM videos").fetchone()
    except (sqlite3.Error, CatalogError, OSError) as error:
        problem = str(error)
    match = _NAME.fullmatch(path.name)
    made_at_s = status.st_mtime
    if match:
        made = dt.datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)
        made_at_s = made.timestamp()
    return Backup(
        path=path, made_at_s=made_at_s, size_bytes=status.st_size, videos=int(videos), problem=problem
    )
