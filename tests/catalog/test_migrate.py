# SPDX-License-Identifier: MIT
"""Schemas go forwards only, all or nothing, with a copy first; every old version ends as a fresh one."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.catalog.schema import VERSIONS, load_dump, rows_of, schema_of
from tests.contracts.catalog import FILM, FakeClock
from tgsyncd.catalog import Catalog
from tgsyncd.catalog.migrate import Migration, backup_path, load_migrations, split_statements
from tgsyncd.errors import CatalogError, CatalogNewer, Refused

NOW = load_migrations()
NEWEST = NOW[-1].version
DUMPS = sorted(VERSIONS.glob("v*.sql"))

# Made up: what a later version may want to do: a column, a table with a trigger, a table rebuilt.
COLUMN = Migration(
    version=NEWEST + 1,
    name="ratings",
    sql="""
    -- A comment with a semicolon; and an 'apostrophe
    ALTER TABLE videos ADD COLUMN rating INTEGER;  -- stars; 1 to 5
    CREATE TABLE ratings (video_id TEXT NOT NULL REFERENCES videos ON DELETE CASCADE, stars INTEGER) STRICT;
    CREATE TRIGGER rated AFTER INSERT ON ratings BEGIN
        UPDATE videos SET rating = NEW.stars WHERE video_id = NEW.video_id;
    END;
    """,
)
REBUILD = Migration(
    version=NEWEST + 2,
    name="rebuild",
    sql="""
    CREATE TABLE new_extras (
        extra_id INTEGER NOT NULL PRIMARY KEY, video_id TEXT NOT NULL, revision INTEGER NOT NULL,
        name TEXT NOT NULL, kind TEXT NOT NULL DEFAULT 'subtitle', UNIQUE (video_id, revision, name),
        FOREIGN KEY (video_id, revision) REFERENCES revisions (video_id, number) ON DELETE CASCADE) STRICT;
    INSERT INTO new_extras SELECT *, 'subtitle' FROM extras;
    DROP TABLE extras;
    ALTER TABLE new_extras RENAME TO extras;
    """,
)
BROKEN = Migration(
    version=NEWEST + 2,
    name="broken",
    sql="DELETE FROM published_files; ALTER TABLE nothing ADD COLUMN x INTEGER;".replace("; A", ";\nA"),
)
ORPHANS = Migration(version=NEWEST + 1, name="orphans", sql="DELETE FROM renditions WHERE rendition_id = 1;")


async def opened(path, migrations=NOW):
    """Open and close: what is left is the file."""
    catalog = await Catalog.open(path, reactor=reactor, clock=FakeClock(), migrations=migrations)
    await catalog.close()


@pytest.fixture
def old(tmp_path):
    """A catalog of the newest released version with rows in every table."""
    path = tmp_path / "catalog.sqlite3"
    load_dump(VERSIONS / f"v{NEWEST}.sql", path)
    return path


def test_migrations_are_numbered_from_one_without_a_hole():
    """And there is a frozen dump of every version."""
    assert [migration.version for migration in NOW] == list(range(1, len(NOW) + 1))
    assert [dump.stem for dump in DUMPS] == [f"v{migration.version}" for migration in NOW]


def test_migrations_leave_transactions_to_the_program():
    """A COMMIT in the middle would make half a schema durable."""
    for migration in NOW:
        words = {
            statement.split("--")[0].split()[0].upper()
            for statement in split_statements(strip(migration.sql))
        }
        assert not words & {"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "VACUUM"}


def strip(sql):
    """Without lines that are comments only."""
    return "\n".join(line for line in sql.splitlines() if line.strip() and not line.strip().startswith("--"))


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
@pytest_twisted.ensureDeferred
async def test_a_released_version_is_frozen(dump, tmp_path):
    """The migrations up to a version still make what was released under its number."""
    load_dump(dump, tmp_path / "released")

    await opened(tmp_path / "made", NOW[: int(dump.stem[1:])])

    assert schema_of(tmp_path / "made") == schema_of(tmp_path / "released")


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.stem)
@pytest_twisted.ensureDeferred
async def test_every_old_version_ends_equal_to_a_fresh_one(dump, tmp_path):
    """With the same library_id, and sound."""
    path = tmp_path / "old"
    load_dump(dump, path)
    await opened(tmp_path / "fresh")

    catalog = await Catalog.open(path, reactor=reactor, clock=FakeClock())

    assert catalog.library_id() == "f0" * 8
    assert catalog.video(FILM).status == "active"
    assert catalog.revision(FILM, 1).plan is not None
    assert await catalog.integrity_check() == []
    await catalog.close()
    assert schema_of(path) == schema_of(tmp_path / "fresh")


@pytest_twisted.ensureDeferred
async def test_a_frozen_dump_has_rows_in_every_table(tmp_path):
    """An upgrade of empty tables proves little."""
    load_dump(VERSIONS / f"v{NEWEST}.sql", tmp_path / "old")

    assert [table for table, rows in rows_of(tmp_path / "old").items() if not rows] == []


@pytest_twisted.ensureDeferred
async def test_a_later_version_upgrades_with_all_rows_and_a_copy(old, tmp_path):
    """Made-up migrations: the machinery, before it is needed."""
    before = rows_of(old)
    later = (*NOW, COLUMN, REBUILD)

    await opened(old, later)
    await opened(tmp_path / "fresh", later)

    assert schema_of(old) == schema_of(tmp_path / "fresh")
    after = rows_of(old)
    changed = {table for table in before if before[table] != after[table]}
    assert changed == {"videos", "extras"}
    assert [row[:-1] for row in after["extras"]] == before["extras"]
    assert len(after["documents"]) == len(before["documents"])
    copy = backup_path(old, NEWEST)
    assert copy.name == f"catalog.sqlite3-backup-v{NEWEST}"
    assert rows_of(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    await opened(copy)  # by the program of that version


@pytest_twisted.ensureDeferred
async def test_a_failed_upgrade_changes_nothing(old):
    """Neither the migration that fails nor those before it; the next start tries again."""
    before = (schema_of(old), rows_of(old))

    with pytest.raises(CatalogError, match="nothing"):
        await opened(old, (*NOW, COLUMN, BROKEN))

    assert (schema_of(old), rows_of(old)) == before
    assert rows_of(backup_path(old, NEWEST)) == before[1]
    await opened(old)
    await opened(old, (*NOW, COLUMN, REBUILD))


@pytest_twisted.ensureDeferred
async def test_an_upgrade_that_leaves_orphans_is_refused(old):
    """Foreign keys are off while tables are rebuilt, and checked before the commit."""
    before = rows_of(old)

    with pytest.raises(CatalogError, match="without parents"):
        await opened(old, (*NOW, ORPHANS))

    assert rows_of(old) == before


@pytest_twisted.ensureDeferred
async def test_foreign_keys_hold_after_an_upgrade(old):
    """They were off for it."""
    catalog = await Catalog.open(old, reactor=reactor, clock=FakeClock(), migrations=(*NOW, COLUMN))

    await catalog.delete_video(FILM)

    assert catalog.renditions(FILM, 1) == []
    assert await catalog.integrity_check() == []
    await catalog.close()


@pytest_twisted.ensureDeferred
async def test_a_newer_catalog_is_refused_untouched(old):
    """An old program must not write what it does not understand."""
    await opened(old, (*NOW, COLUMN))
    before = old.read_bytes()

    with pytest.raises(CatalogNewer, match=f"version {NEWEST + 1}"):
        await opened(old)

    assert old.read_bytes() == before
    with pytest.raises(CatalogNewer):
        await Catalog.open(old, reactor=reactor, clock=FakeClock(), read_only=True)


@pytest_twisted.ensureDeferred
async def test_reading_alone_does_not_upgrade(old):
    """A command that only looks leaves the file to those that write."""
    before = old.read_bytes()
    with pytest.raises(Refused, match="must be upgraded"):
        await Catalog.open(old, reactor=reactor, clock=FakeClock(), read_only=True, migrations=(*NOW, COLUMN))

    assert old.read_bytes() == before


@pytest_twisted.ensureDeferred
async def test_an_upgrade_done_by_another_process_is_not_done_again(old):
    """Two programs started at once: the second finds the version changed when it gets the lock."""
    later = (*NOW, COLUMN)
    with closing(sqlite3.connect(old, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        opening = Deferred.fromCoroutine(
            Catalog.open(old, reactor=reactor, clock=FakeClock(), migrations=later)
        )
        while not backup_path(old, NEWEST).exists():
            await deferLater(reactor, 0.01, lambda: None)
        for statement in split_statements(COLUMN.sql):
            other.execute(statement)
        other.execute(f"PRAGMA user_version = {COLUMN.version}")
        other.execute("COMMIT")

    catalog = await opening

    assert catalog.stats().schema_version == COLUMN.version
    await catalog.close()


def test_statements_are_split_where_sqlite_ends_them():
    """Semicolons in comments, strings and triggers end nothing; a forgotten one drops nothing."""
    statements = [statement.strip() for statement in split_statements(COLUMN.sql)]
    assert [len(statements), statements[-1][:14], statements[-1][-4:]] == [3, "CREATE TRIGGER", "END;"]
    assert list(split_statements("SELECT 1;\nSELECT 2")) == ["SELECT 1;\n", "SELECT 2"]
