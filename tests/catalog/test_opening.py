# SPDX-License-Identifier: MIT
"""Opening, refusing, looking after the file, and sharing it."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.catalog.schema import rows_of, samples_use
from tests.contracts.catalog import (
    FILM,
    MAIN,
    OTHER,
    FakeClock,
    begin,
    make_label,
    make_ref,
    make_segment,
    store_rendition,
)
from tgsyncd.catalog import Catalog, CatalogLock, reader
from tgsyncd.catalog.migrate import load_migrations
from tgsyncd.errors import CatalogError, NotFound, Refused
from tgsyncd.model import Stage


def open_catalog(path, **options):
    return Catalog.open(path, reactor=reactor, clock=FakeClock(), **options)


@pytest_twisted.async_yield_fixture
async def catalog(tmp_path):
    catalog = await open_catalog(tmp_path / "catalog.sqlite3")
    yield catalog
    await catalog.close()


# --- the file ---


@pytest_twisted.ensureDeferred
async def test_a_new_catalog_is_private_and_keeps_its_id(tmp_path):
    """Only its owner reads it: it names every document. A missing directory is made."""
    path = tmp_path / "new" / "catalog.sqlite3"
    ids = iter(["0123456789abcdef", "another"])
    first = await open_catalog(path, new_id=lambda size: next(ids))
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await first.close()

    second = await open_catalog(path, new_id=lambda size: next(ids))

    assert second.library_id() == "0123456789abcdef"
    await second.close()


@pytest_twisted.ensureDeferred
async def test_any_path_will_do(tmp_path):
    """The reader's URI takes no character of the path for its own."""
    path = tmp_path / "a b?mode=rwc#c%20\udcff" / "catalog.sqlite3"
    catalog = await open_catalog(path)

    assert catalog.stats().videos == 0
    await catalog.close()


@pytest_twisted.ensureDeferred
async def test_a_file_left_empty_by_a_kill_becomes_a_catalog(tmp_path):
    """The file is made before its first transaction."""
    path = tmp_path / "catalog.sqlite3"
    path.touch()

    catalog = await open_catalog(path)

    assert await catalog.integrity_check() == []
    await catalog.close()


@pytest_twisted.ensureDeferred
async def test_connections_have_their_settings(catalog):
    """Durable, checked, and not to be tricked by a tampered file."""
    names = [
        "journal_mode",
        "synchronous",
        "foreign_keys",
        "busy_timeout",
        "trusted_schema",
        "cell_size_check",
    ]
    names += ["auto_vacuum", "query_only"]

    def settings(db):
        return {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    both = {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "trusted_schema": 0,
        "cell_size_check": 1,
        "auto_vacuum": 2,
    }
    writer = await catalog._on_writer(settings)
    assert writer == {**both, "synchronous": 2, "busy_timeout": 5000, "query_only": 0}
    reading = settings(catalog._read_db)
    assert reading == {**both, "synchronous": reading["synchronous"], "busy_timeout": 40, "query_only": 1}


@pytest.mark.parametrize("damage", ["text", "another program's", "a page", "cut off"])
@pytest_twisted.ensureDeferred
async def test_what_is_not_a_sound_catalog_is_refused(damage, tmp_path):
    """With the path and the next step, and the file as it was."""
    path = tmp_path / "catalog.sqlite3"
    if damage == "text":
        path.write_text("not a database, but long enough to look like one\n" * 100)
    elif damage == "another program's":
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE bookmarks (url TEXT)")
    else:
        catalog = await open_catalog(path)
        for number in range(20):
            await begin(catalog, f"video-{number}")
        await catalog.close()
        size = path.stat().st_size
        with path.open("r+b") as file:
            if damage == "cut off":
                file.truncate(size - 8192)
            else:
                file.seek(4096 * 2)
                file.write(b"\xff" * (size - 4096 * 3))
    before = path.read_bytes()

    with pytest.raises(CatalogError) as caught:
        await open_catalog(path)

    assert str(path) in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == before


@pytest_twisted.ensureDeferred
async def test_a_directory_in_the_way_is_said(tmp_path):
    """Not a traceback."""
    with pytest.raises(CatalogError) as caught:
        await open_catalog(tmp_path)

    assert str(tmp_path) in caught.value.message
    assert caught.value.hint


# --- reading alone ---


@pytest_twisted.ensureDeferred
async def test_reading_alone_works_beside_a_writer_and_writes_nothing(catalog):
    """``list`` beside a running ingest sees what is committed."""
    beside = await open_catalog(catalog.path, read_only=True)

    await begin(catalog)

    assert beside.video(FILM) == catalog.video(FILM)
    with pytest.raises(CatalogError, match="opened for reading"):
        await beside.set_wanted(FILM, "withdrawn")
    await beside.close()


@pytest_twisted.ensureDeferred
async def test_reading_alone_makes_no_catalog(tmp_path):
    """A typing error in a path leaves no file behind."""
    with pytest.raises(NotFound):
        await open_catalog(tmp_path / "catalog.sqlite3", read_only=True)

    assert list(tmp_path.iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_a_closed_catalog_says_so(tmp_path):
    """Reads and writes after the end are errors of ours; closing twice is none."""
    catalog = await open_catalog(tmp_path / "catalog.sqlite3")
    await catalog.close()
    await catalog.close()

    with pytest.raises(CatalogError, match="closed"):
        catalog.video(FILM)
    with pytest.raises(CatalogError, match="closed"):
        await begin(catalog)


@pytest_twisted.ensureDeferred
async def test_closing_finishes_the_writes_that_were_asked_for(tmp_path):
    """A shutdown loses nothing that it had accepted."""
    path = tmp_path / "catalog.sqlite3"
    catalog = await open_catalog(path)
    writes = [Deferred.fromCoroutine(begin(catalog, f"video-{number}")) for number in range(1)]
    writes += [
        Deferred.fromCoroutine(
            catalog.create_video(f"v{number}", original_filename="", library="", source_path="")
        )
        for number in range(20)
    ]
    closing_ = Deferred.fromCoroutine(catalog.close())
    await gatherResults(writes[1:])
    await closing_
    writes[0].addErrback(lambda failure: failure.trap(CatalogError))  # its second write came after the end

    assert len(rows_of(path)["videos"]) == 21
    assert [file.name for file in path.parent.iterdir()] == ["catalog.sqlite3"]


# --- side by side ---


@pytest_twisted.ensureDeferred
async def test_reads_neither_wait_nor_fail_while_a_transaction_is_open(catalog):
    """They see what was committed before."""
    await begin(catalog)
    rendition_id = await store_rendition(catalog, 1)
    inside, go_on = Deferred(), threading.Event()

    def long_transaction(db):
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE videos SET library = 'changed'")
        db.execute("DELETE FROM rendition_segments")
        db.execute("PRAGMA cache_spill = 1")
        reactor.callFromThread(inside.callback, None)
        go_on.wait()
        db.execute("COMMIT")

    writing = Deferred.fromCoroutine(catalog._on_writer(long_transaction))
    await inside
    try:
        assert catalog.video(FILM).library == "films"
        assert len(catalog.segments(rendition_id)) == 12
        assert len(catalog.documents_covering(rendition_id, 0, 12_000)) == 3
        assert catalog.stats().segments == 12
    finally:
        go_on.set()
    await writing
    assert catalog.video(FILM).library == "changed"


@pytest_twisted.ensureDeferred
async def test_two_programs_write_the_same_catalog(catalog):
    """``serve`` and ``upload`` by hand at the same time: one waits for the other's transaction."""
    second = await open_catalog(catalog.path)
    inside, go_on = Deferred(), threading.Event()

    def hold(db):
        db.execute("BEGIN IMMEDIATE")
        reactor.callFromThread(inside.callback, None)
        go_on.wait()
        db.execute("COMMIT")

    holding = Deferred.fromCoroutine(catalog._on_writer(hold))
    await inside
    waiting = Deferred.fromCoroutine(begin(second))
    assert second.video(FILM) is None
    go_on.set()
    await holding
    await waiting
    await gatherResults(
        [
            Deferred.fromCoroutine(begin(each, f"{name}-{number}"))
            for number in range(10)
            for name, each in [("a", catalog), ("b", second)]
        ]
    )

    assert len(catalog.videos()) == len(second.videos()) == 21
    await second.close()


def test_programs_started_at_once_make_one_catalog(tmp_path):
    """Nobody fails, and all see the same library_id."""
    script = """
import sys
from pathlib import Path
from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from tests.contracts.catalog import FakeClock, begin
from tgsyncd.catalog import Catalog

async def main(reactor):
    sys.stdin.read(1)
    catalog = await Catalog.open(Path(sys.argv[1]), reactor=reactor, clock=FakeClock())
    await begin(catalog, sys.argv[2])
    print(catalog.library_id())
    await catalog.close()

task.react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
"""
    path = tmp_path / "catalog.sqlite3"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path), f"video-{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for number in range(4)
    ]
    for child in children:
        child.stdin.write(b"g")
        child.stdin.flush()
    outputs = [child.communicate()[0].decode() for child in children]

    assert [child.returncode for child in children] == [0] * 4, outputs
    assert len(set(outputs)) == 1
    assert len(rows_of(path)["videos"]) == 4


# --- the lock ---


def test_the_lock_names_its_holder_and_is_given_back(tmp_path):
    """One ingest at a time, where it is asked for."""
    script = """
import os, sys
from pathlib import Path
from tgsyncd.catalog import CatalogLock
with CatalogLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
    path = tmp_path / "catalog.sqlite3"
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"held\n"

    lock = CatalogLock(path)
    with pytest.raises(Refused, match=f"process {child.pid} "):
        lock.acquire()

    child.kill()
    child.communicate()
    with lock:
        lock.acquire()
        with pytest.raises(Refused):
            CatalogLock(path).acquire()
    lock.release()
    with CatalogLock(path):
        pass


def test_a_lock_that_cannot_be_made_says_so(tmp_path):
    """Such as in a directory that is not there."""
    with pytest.raises(CatalogError, match="lock file"):
        CatalogLock(tmp_path / "no" / "catalog.sqlite3").acquire()


@pytest_twisted.ensureDeferred
async def test_the_lock_keeps_no_reader_and_no_writer_out(tmp_path):
    """Only who asks for the lock is refused."""
    path = tmp_path / "catalog.sqlite3"
    with CatalogLock(path):
        catalog = await open_catalog(path)
        await begin(catalog)
        await catalog.close()


# --- what is more than the ports ask ---


@pytest_twisted.ensureDeferred
async def test_cache_use_adds_up(catalog):
    """Counters are added, times are the latest; what belongs to no video is left out."""
    await begin(catalog)
    use = samples_use(FILM)
    await catalog.record_cache_use([use, samples_use(OTHER)])
    await catalog.record_cache_use([use])

    (found,) = catalog.cache_metadata()
    assert (found.video_id, found.revision, found.rendition) == (FILM, 1, "main")
    assert (found.segment_filename, found.cached_at_s) == ("segment_0000.ts", 1.0)
    assert (found.access_count, found.last_accessed_s, found.cache_size_bytes) == (4, 3.0, 1_000)
    assert list(catalog.cache_metadata(FILM)) == [found]
    assert list(catalog.cache_metadata(OTHER)) == list(catalog.cache_metadata(limit=0)) == []

    assert await catalog.forget_cache_metadata(3.0) == 0
    assert await catalog.forget_cache_metadata(3.5) == 1


@pytest_twisted.ensureDeferred
async def test_cache_use_goes_with_its_revision(catalog):
    """Statistics of what is deleted are deleted."""
    await begin(catalog)
    await begin(catalog, OTHER)
    await catalog.record_cache_use([samples_use(FILM), samples_use(OTHER)])

    await catalog.delete_revision(FILM, 1)
    assert [found.video_id for found in catalog.cache_metadata()] == [OTHER]
    await catalog.delete_video(OTHER)
    assert len(catalog.cache_metadata()) == 0


@pytest_twisted.ensureDeferred
async def test_open_intents_are_told(catalog):
    """What a start after a kill has to look for in the chat."""
    label = make_label(3)
    intent_id = await catalog.record_intent(label, bot_id=11, chat_id=-5)

    (intent,) = catalog.intents()

    assert (intent.intent_id, intent.label, intent.bot_id, intent.chat_id) == (intent_id, label, 11, -5)
    assert intent.begun_at_s == FakeClock().now_s()


@pytest_twisted.ensureDeferred
async def test_orphans_can_be_owed(catalog):
    """Once, with the file_ids that are known."""
    await catalog.owe_deletions([make_ref(1), make_ref(2, file_ids={})])
    await catalog.owe_deletions([make_ref(1)])

    assert list(catalog.owed_deletions(9)) == [make_ref(1), make_ref(2, file_ids={})]
    await catalog.settle_deletions(catalog.owed_deletions(9))
    assert await catalog.integrity_check() == []
    assert (
        await catalog._on_writer(lambda db: db.execute("SELECT * FROM owed_deletion_files").fetchall()) == []
    )


@pytest_twisted.ensureDeferred
async def test_superseded_revisions_are_told_until_they_are_deleted(tmp_path):
    """The old documents are freed a day after the new ones play."""
    clock = FakeClock(1_000.0)
    catalog = await Catalog.open(tmp_path / "catalog.sqlite3", reactor=reactor, clock=clock)
    await begin(catalog)
    await begin(catalog)
    await catalog.publish_revision(FILM, 1)
    await catalog.publish_revision(FILM, 1)
    assert catalog.superseded_revisions(9e9) == []
    clock.advance(10)
    await catalog.publish_revision(FILM, 2)

    assert catalog.superseded_revisions(1_009.0) == []
    assert catalog.superseded_revisions(1_010.0) == [(FILM, 1)]
    await catalog.publish_revision(FILM, 1)
    assert catalog.superseded_revisions(9e9) == [(FILM, 2)]
    await catalog.delete_revision(FILM, 2)
    assert catalog.superseded_revisions(9e9) == []
    await catalog.close()


@pytest_twisted.ensureDeferred
async def test_due_revisions_are_told(catalog):
    """Those whose next attempt is planned, the longest due first."""
    for video_id, at in [(FILM, 20.0), (OTHER, 10.0), ("third", 30.0), ("never", None)]:
        await begin(catalog, video_id)
        await catalog.record_error(video_id, 1, "no", at)

    assert [revision.video_id for revision in catalog.revisions_due(20.0)] == [OTHER, FILM]
    await catalog.record_stage(OTHER, 1, Stage.PROBED)
    assert [revision.video_id for revision in catalog.revisions_due(20.0)] == [FILM]
    assert [revision.number for revision in catalog.revisions(FILM)] == [1]


@pytest_twisted.ensureDeferred
async def test_what_was_revoked_stays_so_when_the_video_is_deleted_and_comes_back(catalog):
    """Its id is the same; no generation that was ever given out opens it again."""
    given_out = set()
    for rotations in (0, 3, 0, 1):
        await begin(catalog)
        given_out.add(catalog.video(FILM).capability_generation)
        for _ in range(rotations):
            given_out.add(await catalog.revoke_capabilities(FILM))
        await catalog.delete_video(FILM)
        await catalog.create_video(FILM, original_filename="x", library="y", source_path="/z")
        assert catalog.video(FILM).capability_generation not in given_out
        await catalog.delete_video(FILM)


@pytest_twisted.ensureDeferred
async def test_capabilities_are_revoked_by_a_new_generation(catalog):
    """One video's URLs, not the others'."""
    await begin(catalog)
    await begin(catalog, OTHER)

    assert await catalog.revoke_capabilities(FILM) == 2

    assert (catalog.video(FILM).capability_generation, catalog.video(OTHER).capability_generation) == (2, 1)
    with pytest.raises(NotFound):
        await catalog.revoke_capabilities("nobody")


@pytest_twisted.ensureDeferred
async def test_the_publisher_of_a_file_is_known(catalog):
    """What stands in the library and is not listed is not ours."""
    await begin(catalog)
    await catalog.record_published_file(FILM, "/library/\udcff.strm", "ab")

    assert catalog.publisher_of("/library/\udcff.strm") == FILM
    assert catalog.publisher_of("/library/other.strm") is None


# --- looking after the file ---


@pytest_twisted.ensureDeferred
async def test_a_backup_is_a_whole_catalog(catalog, tmp_path):
    """Private, checked, one file, replacing the last one; and it opens."""
    await begin(catalog)
    await store_rendition(catalog, 1)
    target = tmp_path / "copy.sqlite3"
    target.write_text("yesterday's")

    await catalog.backup_to(target)

    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert rows_of(target) == rows_of(catalog.path)
    assert {file.name for file in tmp_path.iterdir() if "copy" in file.name} == {"copy.sqlite3"}
    copy = await open_catalog(target)
    assert copy.video(FILM) == catalog.video(FILM)
    await copy.close()


@pytest_twisted.ensureDeferred
async def test_a_backup_that_fails_leaves_nothing(catalog, tmp_path):
    """And says where it failed."""
    with pytest.raises(CatalogError):
        await catalog.backup_to(tmp_path / "no" / "copy.sqlite3")
    (tmp_path / "full").mkdir()
    with pytest.raises(CatalogError):
        await catalog.backup_to(tmp_path / "full")

    assert list((tmp_path / "full").iterdir()) == []
    assert not [file for file in tmp_path.iterdir() if "partial" in file.name]


@pytest_twisted.ensureDeferred
async def test_vacuum_gives_the_space_of_deleted_videos_back(catalog):
    """In steps; the rows that are left are the same."""
    await begin(catalog)
    rendition_id = await store_rendition(catalog, 1)
    await begin(catalog, OTHER)
    big = await catalog.create_rendition(OTHER, 1, MAIN)
    await catalog.record_segments(big, [make_segment(order) for order in range(30_000)])
    full = catalog.stats().file_bytes
    await catalog.delete_video(OTHER)
    assert catalog.stats().free_bytes > 2_000_000

    freed = await catalog.vacuum()

    assert freed > 2_000_000
    assert catalog.stats().free_bytes == 0
    assert catalog.path.stat().st_size == catalog.stats().file_bytes <= full - freed
    assert len(catalog.segments(rendition_id)) == 12
    assert await catalog.integrity_check() == []
    assert await catalog.vacuum() == 0


@pytest_twisted.ensureDeferred
async def test_integrity_check_names_rows_without_parents(catalog):
    """What somebody did by hand, with foreign keys off."""
    await begin(catalog)
    await store_rendition(catalog, 1)

    def tamper(db):
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DELETE FROM renditions")
        db.execute("PRAGMA foreign_keys = ON")

    await catalog._on_writer(tamper)

    findings = await catalog.integrity_check()
    assert sorted(findings) == [
        "rows of documents have no renditions",
        "rows of rendition_segments have no renditions",
    ]


@pytest_twisted.ensureDeferred
async def test_a_hand_in_the_shell_owes_deletions_too(catalog):
    """The debt is made by the schema, not by the program's care."""
    await begin(catalog)
    await store_rendition(catalog, 1)
    with closing(sqlite3.connect(catalog.path)) as db:
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("DELETE FROM videos")
        db.commit()

    assert list(catalog.owed_deletions(9)) == [make_ref(0), make_ref(1), make_ref(2)]


@pytest_twisted.ensureDeferred
async def test_the_segments_view_has_the_names_of_urls(catalog):
    """For whoever looks with the sqlite3 shell."""
    await begin(catalog)
    await store_rendition(catalog, 1, documents=1)

    rows = catalog._rows(
        "SELECT video_id, rendition, filename, segment_order, file_size, sha256, created_at FROM segments"
    )

    assert rows[1] == (FILM, "main", "segment_0001.ts", 1, 1_000, make_segment(1).sha256, 1_700_000_000.0)


@pytest_twisted.ensureDeferred
async def test_a_failed_write_changes_nothing_and_the_next_one_works(catalog):
    """Each write is one transaction: here the second segment is refused by the schema."""
    await begin(catalog)
    rendition_id = await catalog.create_rendition(FILM, 1, MAIN)

    with pytest.raises(CatalogError):
        await catalog.record_segments(rendition_id, [make_segment(0), make_segment(1, size_bytes=0)])

    assert len(catalog.segments(rendition_id)) == 0
    await catalog.record_segments(rendition_id, [make_segment(0)])
    assert len(catalog.segments(rendition_id)) == 1


def test_reads_are_indexed(tmp_path):
    """No read of one thing looks at every row of a table; lists may."""
    lists = {"_ALL_VIDEOS", "_STATS", "_CACHE", "_OWED", "_RELEASES"}
    statements = {name: value for name, value in vars(reader).items() if re.fullmatch("_[A-Z_]+", name)}
    plans = {}
    db = sqlite3.connect(":memory:")
    for migration in load_migrations():
        db.executescript(migration.sql)
    for name, sql in statements.items():
        unnamed = max(sql.count("?"), 1) if "?1" not in sql else 3
        plan = db.execute(f"EXPLAIN QUERY PLAN {sql}", [0] * (unnamed if "?" in sql else 0)).fetchall()
        plans[name] = [line for *_, line in plan if line.startswith("SCAN")]
    db.close()

    assert len(plans) > 15
    scanning = {name: scans for name, scans in plans.items() if scans and name not in lists}
    assert scanning == {"_CACHE_OF_ALL": ["SCAN cache_metadata USING INDEX cache_metadata_by_use"]}
