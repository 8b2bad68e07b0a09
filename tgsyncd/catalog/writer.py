# SPDX-License-Identifier: MIT
"""
Writes: each is one transaction on the writer thread, and durable when it returns.

What happens inside is in ``write_videos`` and ``write_streams``; here each of those functions is made a
coroutine that begins, commits, and translates errors.
"""

from __future__ import annotations

import functools
import sqlite3
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from tgsyncd.catalog import write_releases, write_streams, write_videos
from tgsyncd.catalog.database import errors_in_our_words
from tgsyncd.catalog.transaction import CommitThenRaise, Transaction
from tgsyncd.errors import CatalogError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tgsyncd import ports
    from tgsyncd.catalog.thread import WriterThread

Params = ParamSpec("Params")
Result = TypeVar("Result")


def _durable(
    body: Callable[Concatenate[Transaction, Params], Result],
) -> Callable[Concatenate[Writer, Params], Coroutine[Any, Any, Result]]:
    """Make a function of a transaction into a coroutine that returns when it is committed."""

    async def write(self: Writer, /, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        return await self._commit(lambda tx: body(tx, *args, **kwargs))

    functools.update_wrapper(write, body)
    return write


class Writer:
    """The writes of ``ports.CatalogWriter``, and some more."""

    path: Path
    _clock: ports.Clock
    _write_db: sqlite3.Connection | None
    _thread: WriterThread

    create_video = _durable(write_videos.create_video)
    begin_revision = _durable(write_videos.begin_revision)
    record_source_path = _durable(write_videos.record_source_path)
    record_plan = _durable(write_videos.record_plan)
    record_stage = _durable(write_videos.record_stage)
    record_error = _durable(write_videos.record_error)
    create_rendition = _durable(write_streams.create_rendition)
    record_segments = _durable(write_streams.record_segments)
    record_document = _durable(write_streams.record_document)
    truncate_rendition = _durable(write_streams.truncate_rendition)
    finish_rendition = _durable(write_streams.finish_rendition)
    record_extra = _durable(write_streams.record_extra)
    record_verified = _durable(write_streams.record_verified)
    record_file_id = _durable(write_streams.record_file_id)
    learn_file_id = _durable(write_streams.learn_file_id)
    publish_revision = _durable(write_videos.publish_revision)
    record_published_file = _durable(write_videos.record_published_file)
    forget_published_file = _durable(write_videos.forget_published_file)
    set_wanted = _durable(write_videos.set_wanted)
    forget_restored = _durable(write_videos.forget_restored)
    revoke_capabilities = _durable(write_videos.revoke_capabilities)
    revoke_all_capabilities = _durable(write_videos.revoke_all_capabilities)
    delete_video = _durable(write_videos.delete_video)
    forget_empty_videos = _durable(write_videos.forget_empty_videos)
    bury_video = _durable(write_videos.bury_video)
    delete_revision = _durable(write_videos.delete_revision)
    owe_deletions = _durable(write_streams.owe_deletions)
    settle_deletions = _durable(write_streams.settle_deletions)
    record_intent = _durable(write_streams.record_intent)
    forget_intent = _durable(write_streams.forget_intent)
    record_cache_use = _durable(write_videos.record_cache_use)
    forget_cache_metadata = _durable(write_videos.forget_cache_metadata)
    owe_source_release = _durable(write_releases.owe_source_release)
    settle_source_release = _durable(write_releases.settle_source_release)
    forget_source_release = _durable(write_releases.forget_source_release)

    async def _commit(self, body: Callable[[Transaction], Result]) -> Result:
        now_s = self._clock.now_s()
        return await self._on_writer(lambda db: _transact(Transaction(db=db, now_s=now_s), body))

    async def _on_writer(self, job: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run the job on the writer thread with its connection, outside any transaction."""
        db = self._write_db
        if db is None:
            message = f"the catalog {self.path} is closed, or was opened for reading"
            raise CatalogError(message)

        def work() -> Result:
            with errors_in_our_words(self.path):
                return job(db)

        return await self._thread.run(work)


def _transact(tx: Transaction, body: Callable[[Transaction], Result]) -> Result:
    # IMMEDIATE waits for the write lock here, where waiting is possible: a transaction that began as a
    # read fails at its first write when another process wrote in between.
    tx.db.execute("BEGIN IMMEDIATE")
    try:
        result = body(tx)
        tx.db.execute("COMMIT")
    except CommitThenRaise as outcome:
        tx.db.execute("COMMIT")
        raise outcome.error from None
    except BaseException as error:
        if tx.db.in_transaction:  # after some errors, such as a full disk, SQLite has rolled back already
            tx.db.execute("ROLLBACK")
        if _lacks_parent(error):
            message = "what this belongs to was deleted meanwhile"
            raise NotFound(message) from error
        raise
    return result


def _lacks_parent(error: BaseException) -> bool:
    return (
        isinstance(error, sqlite3.IntegrityError)
        and error.sqlite_errorcode == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY
    )
