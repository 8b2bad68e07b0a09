# SPDX-License-Identifier: MIT
"""
Put a copy of the catalog in the place of the one that is there. All blocks; nothing else may run.

Everything is prepared in a file beside it and takes its place by one rename. The replaced catalog is kept,
and what must not go back is taken over from it: numbers of revisions (segment URLs carry them and are cached
for ever) and generations of capabilities (what was revoked stays revoked).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import secrets
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tgsyncd.catalog import database
from tgsyncd.catalog.backups import check_copy, open_copy
from tgsyncd.catalog.lock import CatalogLock
from tgsyncd.catalog.migrate import backup_path, load_migrations, prepare
from tgsyncd.catalog.taking_over import TakenOver, take_over
from tgsyncd.errors import CatalogError, Refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["RestoreReport", "restore_catalog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What a restoration did."""

    copy: Path
    kept: Path | None
    """Where the replaced catalog is now; None when there was none."""
    videos: int
    taken: TakenOver
    secret_renewed: bool


def restore_catalog(
    path: Path, copy: Path, *, exact: bool, now_s: float, renew_secret: Callable[[], None]
) -> RestoreReport:
    """
    Replace the catalog by a copy.

    ``renew_secret`` is called, before anything changes, where it cannot be known which capabilities were
    revoked since the copy was made. A kill at any time leaves the old catalog or the new one; done again it
    is completed.

    Raises
        Refused while another process works on the catalog, or when the copy is another library's;
        NotFound, CatalogError, CatalogNewer when the copy is not to be relied upon.
    """
    check_copy(copy)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with CatalogLock(path), database.errors_in_our_words(path):
        staged = path.with_name(f"{path.name}.restoring")
        _remove(staged)
        with closing(open_copy(copy)) as source:
            database.copy_database(source, staged)
        old = _open_old(path)
        try:
            taken, videos = _prepare(staged, copy, old, exact=exact, now_s=now_s)
        finally:
            if old is not None:
                old.close()
        if not taken.knows_generations:
            renew_secret()
        kept = _swap(path, staged, now_s)
    return RestoreReport(
        copy=copy, kept=kept, videos=videos, taken=taken, secret_renewed=not taken.knows_generations
    )


def _open_old(path: Path) -> sqlite3.Connection | None:
    """Open the catalog that is replaced; None when there is none, or nothing of it can be read."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    old = sqlite3.connect(path, isolation_level=None, timeout=1.0)
    try:
        # Any other connection, such as that of `tgsyncd serve`, holds a shared lock in WAL mode.
        old.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        old.execute("BEGIN EXCLUSIVE")
        old.execute("COMMIT")
        is_ours = old.execute("PRAGMA application_id").fetchone() == (database.APPLICATION_ID,)
        is_current = database.user_version(old) == load_migrations()[-1].version
    except sqlite3.OperationalError as error:
        old.close()
        if (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_BUSY:
            raise Refused(
                f"another program has the catalog {path} open", hint="stop it: `tgsyncd serve`, perhaps"
            ) from error
        return None
    except sqlite3.Error:
        old.close()
        return None
    if not (is_ours and is_current):
        # Of another version: it is kept, and nothing is taken over.
        old.close()
        return None
    old.text_factory = bytes_or_text
    return old


def bytes_or_text(raw: bytes) -> str:
    """Read text as the catalog does: file names need not be UTF-8."""
    return raw.decode("utf-8", "surrogateescape")


def _prepare(
    staged: Path, copy: Path, old: sqlite3.Connection | None, *, exact: bool, now_s: float
) -> tuple[TakenOver, int]:
    """Make the staged copy what shall take the catalog's place: upgraded, completed, checked, one file."""
    steps = load_migrations()
    new = prepare(staged, migrations=steps, new_id=secrets.token_hex)
    new.text_factory = bytes_or_text
    try:
        if old is not None and (born := _library(old)) != _library(new):
            if born is not None and _count(old):
                raise Refused(
                    f"{copy} is a copy of another library's catalog",
                    hint="its data_dir is another one; or move the catalog that is there away first",
                )
            old = None
        taken = take_over(new, old, exact=exact)
        mark = json.dumps({"at_s": now_s, "suspects": taken.suspects})
        new.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('restored', ?)", (mark,))
        if findings := database.integrity_check(new):
            raise CatalogError(f"what was restored is not sound: {'; '.join(findings[:3])}")
        videos = _count(new) or 0
        new.execute("PRAGMA journal_mode = DELETE").fetchall()
    finally:
        new.close()
    for step in steps:
        backup_path(staged, step.version).unlink(missing_ok=True)
    database.sync_file(staged)
    return taken, videos


def _library(db: sqlite3.Connection) -> object:
    with suppress(sqlite3.Error):
        return db.execute("SELECT value FROM meta WHERE name = 'library_id'").fetchone()
    return None


def _count(db: sqlite3.Connection) -> int | None:
    with suppress(sqlite3.Error):
        return int(db.execute("SELECT count(*) FROM videos").fetchone()[0])
    return None


def _swap(path: Path, staged: Path, now_s: float) -> Path | None:
    """
    Put the staged file in the catalog's place; return where the replaced one is kept.

    The WAL goes before the rename: SQLite would apply a WAL that is not its own to the new file.
    """
    kept = None
    if path.exists():
        stamp = f"{dt.datetime.fromtimestamp(now_s, dt.UTC):%Y%m%dT%H%M%SZ}"
        kept = path.with_name(f"{path.name}-replaced-{stamp}")
        for ending in ("", "-wal"):
            source, target = path.with_name(path.name + ending), kept.with_name(kept.name + ending)
            if source.exists() and not target.exists():
                os.link(source, target)
        database.sync_file(path.parent)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    database.sync_file(path.parent)
    staged.replace(path)
    database.sync_file(path.parent)
    return kept


def _remove(staged: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        staged.with_name(staged.name + ending).unlink(missing_ok=True)
