# SPDX-License-Identifier: MIT
"""Connections to the SQLite file: settings, errors in our words, checks and copies."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from tgsyncd.errors import CatalogError, CatalogUnusable

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

APPLICATION_ID = 1952936804
"""``PRAGMA application_id`` of our files: "tgsd"; set by the first migration."""

WRITER_BUSY_TIMEOUT_MS = 5_000
"""How long a write waits for a write of another process, such as ``upload`` beside ``serve``."""

READER_BUSY_TIMEOUT_MS = 40
"""Readers never wait for writers in WAL mode; only for another process that recovers the WAL after a crash or
closes the file last. Reads run in the reactor thread, which may be held for 50 ms."""

_WAL_KEPT_BYTES = 16 << 20
"""A big transaction leaves a WAL as big; it is cut to this at the next checkpoint."""

_CACHE_KIB = 8 << 10
"""SQLite's page cache of each connection. The inner pages of a million segments are less than 1 MiB."""

_BACKUP_PAGES = 1_000
"""Pages copied at a time: between two steps others may write."""

_DAMAGED_HINT = (
    "stop tgsyncd, and go back to the newest copy: tgsyncd catalog restore --latest; the damaged file is kept"
)


@contextmanager
def errors_in_our_words(path: Path) -> Generator[None, None, None]:
    """Translate sqlite3's and the operating system's errors into CatalogError."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(path, error) from error
    except OSError as error:
        raise CatalogUnusable(
            f"cannot use the catalog {path}: {error.strerror}",
            hint="see who owns its directory, and whether the disk is full",
        ) from error


def translate(path: Path, error: sqlite3.Error) -> CatalogError:
    """Say what a failure of SQLite means for the owner."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code: extended ones add high bits
    hints = {
        sqlite3.SQLITE_CORRUPT: _DAMAGED_HINT,
        sqlite3.SQLITE_NOTADB: _DAMAGED_HINT,
        sqlite3.SQLITE_FULL: "free space on the disk that holds it",
        sqlite3.SQLITE_IOERR: "look for disk errors in the system's journal; a full disk also does this",
        sqlite3.SQLITE_CANTOPEN: "see who owns the file and its directory, and that the directory exists",
        sqlite3.SQLITE_READONLY: "see who owns the file and its directory",
        sqlite3.SQLITE_PERM: "see who owns the file and its directory",
        sqlite3.SQLITE_BUSY: "another process keeps it busy; try again when that has ended",
    }
    damaged = code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
    what = "is damaged" if damaged else "cannot be used"
    kind = CatalogUnusable if code in hints and not damaged else CatalogError
    return kind(f"the catalog {path} {what}: {error}", hint=hints.get(code, ""))


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open the file for writing; transactions are explicit (``isolation_level=None``)."""
    db = sqlite3.connect(
        path, isolation_level=None, timeout=WRITER_BUSY_TIMEOUT_MS / 1000, cached_statements=256
    )
    try:
        _set_up(db)
    except BaseException:
        db.close()
        raise
    return db


def use_wal(db: sqlite3.Connection) -> None:
    """Make commits durable and readers independent of the writer; kept in the file."""
    if db.execute("PRAGMA page_count").fetchone() == (0,):
        # Lets `vacuum` give pages back in small steps; can be chosen only before the first table.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    # FULL syncs the WAL at each commit: what was acknowledged survives a power cut, at some ms a commit.
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_KEPT_BYTES}").fetchall()


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open the file for reading alone; used in the thread that calls this."""
    db = sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?mode=ro",
        uri=True,
        isolation_level=None,
        timeout=READER_BUSY_TIMEOUT_MS / 1000,
        cached_statements=256,
    )
    try:
        _set_up(db)
        db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db


def _set_up(db: sqlite3.Connection) -> None:
    # File names are bytes that need not be UTF-8; see rows.text.
    db.text_factory = _decode
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA trusted_schema = OFF")  # a tampered file cannot call functions from its views
    db.execute("PRAGMA cell_size_check = ON")  # damage is found when a page is read
    db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def user_version(db: sqlite3.Connection) -> int:
    """Return the schema version of the file; 0 for a new one."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def quick_check(db: sqlite3.Connection) -> list[str]:
    """Return what is damaged, quickly: 0.3 s for a million segments. Indexes are not compared."""
    return _findings(db, "PRAGMA quick_check(20)")


def integrity_check(db: sqlite3.Connection) -> list[str]:
    """Return what is damaged, thoroughly, with rows whose parents are missing; empty when all is well."""
    findings = _findings(db, "PRAGMA integrity_check(20)")
    orphans = db.execute('SELECT DISTINCT "table", parent FROM pragma_foreign_key_check').fetchall()
    return [*findings, *(f"rows of {table} have no {parent}" for table, parent in orphans)]


def _findings(db: sqlite3.Connection, pragma: str) -> list[str]:
    return [line for (line,) in db.execute(pragma).fetchall() if line != "ok"]


def copy_database(db: sqlite3.Connection, target: Path) -> None:
    """
    Copy a consistent state of the database to ``target`` (mode 0600), replacing it at once or not at all.

    The copy is checked and synced before it gets its name. Writers are not held up.

    Raises
        CatalogError when the copy is not sound; sqlite3.Error, OSError.
    """
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
            db.backup(copy, pages=_BACKUP_PAGES, sleep=0)
            # One file: a copy in WAL mode would need its -wal when it is opened from a read-only place.
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
            if findings := quick_check(copy):
                message = f"the copy {target} is not sound: {findings[0]}"
                raise CatalogError(message, hint=_DAMAGED_HINT)
        sync_file(partial)
        partial.replace(target)
        sync_file(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Write a file's contents, or a directory's names, to the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def refuse_damaged(path: Path, db: sqlite3.Connection) -> None:
    """Raise CatalogError when quick_check finds anything."""
    if findings := quick_check(db):
        raise CatalogError(f"the catalog {path} is damaged: {'; '.join(findings[:3])}", hint=_DAMAGED_HINT)
