# SPDX-License-Identifier: MIT
"""
Bring a catalog to the schema that this program knows: forwards only, all or nothing, with a copy first.

All pending migrations run in one transaction, each setting its ``user_version``. With one transaction per
file, a failure in the second would leave a schema that neither the old program nor the new one opens.
"""

from __future__ import annotations

import os
import re
import sqlite3
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from tgsyncd.catalog import database
from tgsyncd.errors import CatalogError, CatalogNewer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

LIBRARY_ID_BYTES = 8  # 16 hex digits: no two libraries of one owner share a chat by accident


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    sql: str


def load_migrations() -> tuple[Migration, ...]:
    """Return the migrations that come with the program, by version."""
    found = []
    for entry in files("tgsyncd.catalog.migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", entry.name):
            sql = entry.read_text(encoding="utf-8")
            found.append(Migration(version=int(match[1]), name=match[2], sql=sql))
    return tuple(sorted(found, key=lambda migration: migration.version))


def split_statements(sql: str) -> Iterator[str]:
    """Yield the statements of a script (``executescript`` would commit our transaction first)."""
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement  # comments, or a statement whose semicolon was forgotten: not to be dropped


def prepare(
    path: Path, *, migrations: Sequence[Migration], new_id: Callable[[int], str]
) -> sqlite3.Connection:
    """
    Open the file for writing, make or migrate it, check it, and return the connection.

    Raises
        CatalogNewer before anything is written; CatalogError when it is damaged or not ours.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _touch_private(path)
    db = database.connect_writer(path)
    try:
        version = known_version(path, db, migrations[-1].version)
        if version:
            database.refuse_damaged(path, db)
        database.use_wal(db)
        if version < migrations[-1].version:
            if version:
                database.copy_database(db, backup_path(path, version))
            _upgrade(path, db, migrations)
        _give_library_id(db, new_id)
    except BaseException:
        db.close()
        raise
    return db


def backup_path(path: Path, version: int) -> Path:
    """Return where the copy made before an upgrade from ``version`` stands."""
    return path.with_name(f"{path.name}-backup-v{version}")


def known_version(path: Path, db: sqlite3.Connection, newest: int) -> int:
    """Return the file's schema version; refuse what is newer, or not a catalog at all."""
    version = database.user_version(db)
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (objects,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application_id != database.APPLICATION_ID and (version or objects or application_id):
        raise CatalogError(
            f"{path} is an SQLite file, but not a catalog of tgsyncd",
            hint="name another file in the configuration",
        )
    if version > newest:
        raise CatalogNewer(
            f"the catalog {path} has version {version}; this tgsyncd knows versions up to {newest}",
            hint="install the newer tgsyncd again, or put back the backup copy beside the catalog",
        )
    return version


def _touch_private(path: Path) -> None:
    # SQLite gives the -wal and -shm files the mode of the database; its own default would be 0644.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    database.sync_file(path.parent)


def _upgrade(path: Path, db: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    # Rebuilding a table drops the old one, which would delete its children; checked below instead. The
    # setting cannot be changed inside a transaction.
    db.execute("PRAGMA foreign_keys = OFF")
    db.execute("BEGIN IMMEDIATE")
    try:
        version = database.user_version(db)  # again: another process may have upgraded it meanwhile
        for migration in migrations:
            if migration.version > version:
                _apply(db, migration)
        _refuse_orphans(path, db)
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # after some errors SQLite has rolled back by itself
            db.execute("ROLLBACK")
        raise
    db.execute("PRAGMA foreign_keys = ON")


def _refuse_orphans(path: Path, db: sqlite3.Connection) -> None:
    if orphan := db.execute("PRAGMA foreign_key_check").fetchone():
        raise CatalogError(f"upgrading {path} would leave rows of {orphan[0]} without parents")


def _apply(db: sqlite3.Connection, migration: Migration) -> None:
    for statement in split_statements(migration.sql):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {migration.version:d}")


def _give_library_id(db: sqlite3.Connection, new_id: Callable[[int], str]) -> None:
    if db.execute("SELECT 1 FROM meta WHERE name = 'library_id'").fetchone() is None:
        sql = "INSERT INTO meta (name, value) VALUES ('library_id', ?) ON CONFLICT DO NOTHING"
        db.execute(sql, (new_id(LIBRARY_ID_BYTES),))
