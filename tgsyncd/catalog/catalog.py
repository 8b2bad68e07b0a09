# SPDX-License-Identifier: MIT
"""The catalog that the rest of the program holds: opening, closing, looking after the file."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Self, TypeVar

from tgsyncd.catalog import database
from tgsyncd.catalog.migrate import Migration, known_version, load_migrations, prepare
from tgsyncd.catalog.reader import Reader
from tgsyncd.catalog.survey import Survey
from tgsyncd.catalog.thread import ThreadsafeReactor, WriterThread
from tgsyncd.catalog.writer import Writer
from tgsyncd.errors import NotFound, Refused

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tgsyncd import ports

Result = TypeVar("Result")

_VACUUM_STEP_PAGES = 2_000
"""8 MiB are given back in one step, some 50 ms; other writes get in between two steps."""


class Catalog(Reader, Writer, Survey):
    """
    ``ports.CatalogReader`` and ``ports.CatalogWriter`` on one SQLite file.

    Any number of processes may have it open side by side; see ``CatalogLock`` for what must not run twice.
    """

    def __init__(
        self,
        path: Path,
        clock: ports.Clock,
        thread: WriterThread,
        write_db: sqlite3.Connection | None,
    ) -> None:
        self.path = path
        self._clock = clock
        self._thread = thread
        self._write_db = write_db
        with database.errors_in_our_words(path):
            self._read_db = database.connect_reader(path)

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        reactor: ThreadsafeReactor,
        clock: ports.Clock,
        read_only: bool = False,
        migrations: Sequence[Migration] | None = None,
        new_id: Callable[[int], str] = secrets.token_hex,
    ) -> Self:
        """
        Open the catalog; make it when there is none, upgrade it when it is older, and check it.

        An upgrade first copies the file to ``<path>-backup-v<N>``. With ``read_only`` nothing is made,
        upgraded or checked, and writes raise.

        Args:
            path: The SQLite file, on a local disk (not NFS: its locks are not to be trusted).
            reactor: Where the writer thread reports.
            clock: Tells the times that are recorded.
            read_only: For commands that only look.
            migrations: Instead of those of the program, for tests.
            new_id: Makes so many random bytes, in hex, for the id of a new library.

        Raises:
            CatalogNewer when a newer tgsyncd wrote it; CatalogError when it is damaged, not ours, or cannot
            be opened; NotFound or Refused when ``read_only`` meets no file, or an older one.
        """
        steps = load_migrations() if migrations is None else migrations
        thread = WriterThread(reactor)

        def prepare_file() -> sqlite3.Connection | None:
            with database.errors_in_our_words(path):
                if read_only:
                    _require_current(path, steps[-1].version)
                    return None
                return prepare(path, migrations=steps, new_id=new_id)

        try:
            write_db = await thread.run(prepare_file)
            return cls(path, clock, thread, write_db)
        except BaseException:
            thread.stop()
            raise

    async def close(self) -> None:
        """Finish the writes that were asked for, and close the file. Idempotent."""
        write_db, self._write_db = self._write_db, None
        read_db, self._read_db = self._read_db, None
        if read_db is not None:
            read_db.close()
        if write_db is not None:
            # The last connection to close writes the WAL back into the file and removes it.
            await self._thread.run(write_db.close)
        self._thread.stop()

    async def _survey(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        if self._write_db is None and self._read_db is not None:
            with database.errors_in_our_words(self.path):
                return job(self._read_db)
        return await self._on_writer(job)

    async def integrity_check(self) -> list[str]:
        """Return what is damaged (SQLite's integrity_check and foreign_key_check); empty when all is well."""
        return await self._on_writer(database.integrity_check)

    async def backup_to(self, path: Path) -> None:
        """Copy the catalog as it is now to ``path`` (mode 0600), checked; a file there is replaced."""
        await self._on_writer(lambda db: database.copy_database(db, path))

    async def vacuum(self) -> int:
        """Give free pages back to the file system, in steps; return how many bytes became free."""
        before = self.stats().free_bytes
        while await self._on_writer(_vacuum_step):
            pass
        await self._on_writer(_truncate_wal)
        return before - self.stats().free_bytes


def _require_current(path: Path, newest: int) -> None:
    if not path.exists():
        message = f"there is no catalog {path}"
        raise NotFound(message, hint="`tgsyncd upload` makes one")
    db = database.connect_reader(path)
    try:
        version = known_version(path, db, newest)
    finally:
        db.close()
    if version < newest:
        raise Refused(
            f"the catalog {path} has version {version} and must be upgraded to {newest}",
            hint="start the daemon, or run `tgsyncd check`",
        )


def _vacuum_step(db: sqlite3.Connection) -> bool:
    """Give back some pages; tell whether there are more."""
    before = _free_pages(db)
    db.execute(f"PRAGMA incremental_vacuum({_VACUUM_STEP_PAGES})").fetchall()
    after = _free_pages(db)
    return 0 < after < before


def _free_pages(db: sqlite3.Connection) -> int:
    (pages,) = db.execute("PRAGMA freelist_count").fetchone()
    return int(pages)


def _truncate_wal(db: sqlite3.Connection) -> None:
    # The file itself shrinks at the checkpoint.
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
