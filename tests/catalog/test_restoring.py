# SPDX-License-Identifier: MIT
"""Copies of the catalog: made beside a running one, checked, put back; what was stored since is kept."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.contracts.catalog import FILM, OTHER, SOURCE, FakeClock, finish, make_ref, store_rendition
from tgsyncd.catalog import Catalog, CatalogLock, database
from tgsyncd.catalog.backups import backup_name, check_copy, list_backups, make_backup
from tgsyncd.catalog.restoring import restore_catalog
from tgsyncd.errors import CatalogError, CatalogNewer, NotFound, Refused
from tgsyncd.model import VideoId

THIRD, FOURTH = VideoId("third"), VideoId("fourth")
NOW_S = 1_800_000_000.0


async def open_catalog(path):
    return await Catalog.open(path, reactor=reactor, clock=FakeClock())


async def store(catalog, video_id, *, first, documents=3):
    """Store and publish a video with documents of these numbers; return the revision."""
    await catalog.create_video(
        video_id, original_filename=f"{video_id}\udcff.mkv", library="Films", source_path=f"/s/{video_id}.mkv"
    )
    revision = await catalog.begin_revision(video_id, replace(SOURCE, path=f"/s/{video_id}.mkv"))
    rendition = await store_rendition(catalog, revision, documents=documents, video_id=video_id, first=first)
    await finish(catalog, rendition, stream_bytes=documents * 4_000)
    await catalog.record_extra(video_id, revision, name=".en.srt", ref=make_ref(first + 500))
    await catalog.publish_revision(video_id, revision)
    await catalog.record_published_file(video_id, f"/l/{video_id}\udcff.strm", "ab")
    return revision


@pytest.fixture
def place(tmp_path):
    """Where the catalog is, and a copy of it will be."""
    return tmp_path / "data" / "catalog.sqlite3", tmp_path / "data" / "backups" / backup_name(NOW_S)


class Secret:
    def __init__(self):
        self.renewed = 0

    def __call__(self):
        self.renewed += 1


def restore(path, copy, *, exact=False, secret=None):
    return restore_catalog(path, copy, exact=exact, now_s=NOW_S, renew_secret=secret or Secret())


async def reading(path, read):
    catalog = await open_catalog(path)
    try:
        return read(catalog)
    finally:
        await catalog.close()


def plays(catalog, video_id):
    """All that is played of a video: documents with their file_ids, segments."""
    video = catalog.video(video_id)
    (rendition,) = catalog.renditions(video_id, video.current_revision)
    documents = [
        replace(each, document_id=0, uploaded_at_s=0) for each in catalog.documents(rendition.rendition_id)
    ]
    return video.current_revision, documents, catalog.segments(rendition.rendition_id)


@pytest_twisted.ensureDeferred
async def test_a_copy_is_made_beside_a_writer_and_restored(place):
    """Private, whole, one file; afterwards all is as it was, and the mark is there until it is settled."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    before = plays(catalog, FILM)
    make_backup(path, copy)
    await catalog.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [each.name for each in copy.parent.iterdir()] == [copy.name]
    check_copy(copy)
    assert [each.name for each in copy.parent.iterdir()] == [copy.name]  # nothing was made beside it

    secret = Secret()
    report = restore(path, copy, secret=secret)
    assert report.videos == 1
    assert report.kept.name == "catalog.sqlite3-replaced-20270115T080000Z"
    assert not secret.renewed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(each.name for each in path.parent.iterdir() if each.is_file()) == [
        "catalog.sqlite3", "catalog.sqlite3-lock", report.kept.name,
    ]  # fmt: skip
    catalog = await open_catalog(path)
    assert plays(catalog, FILM) == before
    assert catalog.restored().suspects == ()
    await catalog.forget_restored()
    assert catalog.restored() is None
    assert await catalog.integrity_check() == []
    await catalog.close()
    restore(path, report.kept)  # and back again


@pytest_twisted.ensureDeferred
async def test_what_was_stored_since_is_taken_over(place):
    """New videos, and newer revisions, with all their rows; numbers and revocations do not go back."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    await store(catalog, OTHER, first=10)
    make_backup(path, copy)
    await store(catalog, THIRD, first=20)
    assert await store(catalog, OTHER, first=30) == 2
    await catalog.delete_revision(OTHER, 1)
    await catalog.settle_deletions(catalog.owed_deletions(100))
    for _ in range(3):
        await catalog.revoke_capabilities(FILM)
    await catalog.begin_revision(FILM, SOURCE)
    await catalog.delete_revision(FILM, 2)
    now = {video_id: plays(catalog, video_id) for video_id in (FILM, OTHER, THIRD)}
    files = catalog.published_files(THIRD)
    extras = catalog.extras(THIRD, 1)
    await catalog.close()

    report = restore(path, copy)

    assert (report.taken.adopted, report.taken.newer) == ((THIRD,), (OTHER,))
    assert (report.taken.lost, report.taken.suspects) == ((), ())
    catalog = await open_catalog(path)
    assert {video_id: plays(catalog, video_id) for video_id in now} == now
    assert catalog.published_files(THIRD) == files
    assert [extra.ref for extra in catalog.extras(THIRD, 1)] == [extra.ref for extra in extras]
    assert catalog.video(THIRD).original_filename == "third\udcff.mkv"
    assert catalog.video(FILM).capability_generation == 4
    assert await catalog.begin_revision(FILM, SOURCE) == 3  # 2 was given out
    assert catalog.owed_deletions(100) == []  # what was replaced in the copy is nobody's debt
    await catalog.close()


@pytest_twisted.ensureDeferred
async def test_exactly_the_copy(place):
    """--exact leaves the videos as they were; what may be gone is suspect, revocations still hold."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    await store(catalog, OTHER, first=10)
    make_backup(path, copy)
    await store(catalog, THIRD, first=20)
    await store(catalog, OTHER, first=30)
    await catalog.delete_revision(OTHER, 1)
    await catalog.settle_deletions(catalog.owed_deletions(100))
    await catalog.revoke_all_capabilities()
    await catalog.close()

    report = restore(path, copy, exact=True)

    assert (report.taken.adopted, report.taken.newer, report.taken.suspects) == ((), (), (OTHER,))
    videos = await reading(
        path,
        lambda catalog: [
            (each.video_id, each.current_revision, each.capability_generation) for each in catalog.videos()
        ],
    )
    assert sorted(videos) == sorted([(FILM, 1, 2), (OTHER, 1, 2)])


@pytest_twisted.ensureDeferred
async def test_a_deleted_video_comes_back_as_long_as_the_store_has_it(place):
    """Its deletion is still owed: then it is not any more. It was carried out: then the video is suspect."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    await store(catalog, OTHER, first=10)
    make_backup(path, copy)
    await catalog.delete_video(FILM)
    await catalog.settle_deletions(catalog.owed_deletions(100))
    await catalog.delete_video(OTHER)
    await store(catalog, THIRD, first=20)
    await catalog.delete_video(THIRD)
    owed = [ref.message_id for ref in catalog.owed_deletions(100)]
    await catalog.close()
    assert len(owed) == 8

    report = restore(path, copy)

    assert report.taken.suspects == (FILM,)
    catalog = await open_catalog(path)
    left = [ref.message_id for ref in catalog.owed_deletions(100)]
    assert sorted(left) == [120, 121, 122, 620]  # the third's, which nobody wants
    plays(catalog, OTHER)
    await catalog.close()


@pytest_twisted.ensureDeferred
async def test_a_damaged_catalog_gives_what_can_be_read_of_it(place):
    """A video whose rows do not fit together any more is lost; the others are taken over."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    make_backup(path, copy)
    await store(catalog, THIRD, first=20)
    await store(catalog, FOURTH, first=30)
    await catalog.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM documents WHERE message_id = 131")
        db.execute("DELETE FROM owed_deletions")
        db.commit()

    report = restore(path, copy)

    assert (report.taken.adopted, report.taken.lost) == ((THIRD,), (FOURTH,))
    assert await reading(path, lambda catalog: catalog.video(FOURTH)) is None


@pytest.mark.parametrize("seed", range(4))
@pytest_twisted.ensureDeferred
async def test_whatever_is_damaged_what_is_restored_is_sound_and_plays(place, seed):
    """Pages overwritten at random: a video is taken over whole or not at all; nothing is silently wrong."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    make_backup(path, copy)
    for number in range(6):
        await store(catalog, VideoId(f"v{number}"), first=1000 * (number + 1), documents=9)
    expected = {video.video_id: plays(catalog, video.video_id) for video in catalog.videos()}
    await catalog.close()
    random, content = Random(seed), bytearray(path.read_bytes())
    pages = len(content) // 4096
    for page in random.sample(range(pages), random.randint(1, max(2, pages // 6))):
        content[page * 4096 + 100 : (page + 1) * 4096] = random.randbytes(3996)
    path.write_bytes(content)

    report = restore(path, copy)

    catalog = await open_catalog(path)
    assert await catalog.integrity_check() == []
    videos = {video.video_id for video in catalog.videos()}
    assert videos == {FILM, *report.taken.adopted}
    for video_id in videos:
        revision, documents, segments = plays(catalog, video_id)
        wanted = expected[video_id]
        assert sum(each.length for each in documents) == sum(each.length for each in wanted[1])
        assert (revision, len(segments)) == (wanted[0], len(wanted[2]))
    await catalog.close()


@pytest.mark.parametrize("state", ["missing", "rubbish", "truncated", "empty"])
@pytest_twisted.ensureDeferred
async def test_without_a_readable_catalog_nothing_is_believed(place, state):
    """Every video is suspect, signed URLs are renewed, numbers skip what may have been given out."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    make_backup(path, copy)
    await store(catalog, THIRD, first=20)
    await catalog.close()
    whole = path.read_bytes()
    broken = {"rubbish": b"\0" * len(whole), "truncated": whole[:3000], "empty": b""}
    if state == "missing":
        path.unlink()
    else:
        path.write_bytes(broken[state])

    secret = Secret()
    report = restore(path, copy, secret=secret)

    assert report.taken.suspects is None
    assert secret.renewed == 1
    assert report.secret_renewed
    if state != "missing":
        assert report.kept.read_bytes() == broken[state]
    catalog = await open_catalog(path)
    assert catalog.restored().suspects is None
    plays(catalog, FILM)
    assert await catalog.begin_revision(FILM, SOURCE) > 1_000
    await catalog.close()


@pytest_twisted.ensureDeferred
async def test_a_bad_copy_is_refused_before_anything_changes(place):
    """Missing, cut off, not ours, of a newer program, of another library."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    make_backup(path, copy)
    await catalog.close()
    before = path.read_bytes()
    bad = copy.with_name("bad.sqlite3")

    with pytest.raises(NotFound):
        restore(path, bad)
    for content in (b"", b"rubbish" * 1000, copy.read_bytes()[:-9000]):
        bad.write_bytes(content)
        with pytest.raises(CatalogError):
            restore(path, bad)
    shutil.copy(copy, bad)
    with closing(sqlite3.connect(bad)) as db:
        db.execute("PRAGMA user_version = 900")
    with pytest.raises(CatalogNewer):
        restore(path, bad)
    bad.unlink()
    with closing(sqlite3.connect(bad)) as db:
        db.execute("CREATE TABLE t (x)")
    with pytest.raises(CatalogError, match="not a catalog"):
        restore(path, bad)
    other = await open_catalog(path.parent / "other.sqlite3")
    await other.close()
    shutil.copy(path.parent / "other.sqlite3", bad)
    with pytest.raises(Refused, match="another library"):
        restore(path, bad)

    assert path.read_bytes() == before
    assert not list(path.parent.glob("*replaced*"))


@pytest_twisted.ensureDeferred
async def test_while_somebody_works_on_it_nothing_is_replaced(place):
    """A daemon or upload holds the lock; `serve` by hand has it open."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    make_backup(path, copy)
    with pytest.raises(Refused, match="has the catalog"):
        restore(path, copy)
    await catalog.close()
    with CatalogLock(path), pytest.raises(Refused, match="process"):
        restore(path, copy)
    restore(path, copy)


@pytest_twisted.ensureDeferred
async def test_an_older_copy_is_upgraded(place):
    """As a catalog would be that an older program left."""
    path, copy = place
    copy.parent.mkdir(parents=True)
    with closing(sqlite3.connect(copy)) as db:
        db.executescript((Path(__file__).parent / "versions" / "v1.sql").read_text())
    report = restore(path, copy)
    catalog = await open_catalog(path)
    assert len(catalog.videos()) == report.videos
    assert catalog.stats().schema_version > 1
    await catalog.close()
    assert [each.name for each in path.parent.glob("*restoring*")] == []


def test_copies_are_listed_the_newest_first(tmp_path):
    """With their times, and what is wrong with them."""
    for name in ("catalog-20260101T000000Z.sqlite3", "catalog-20260301T000000Z.sqlite3", "other.txt"):
        (tmp_path / name).write_bytes(b"rubbish" * 100)
    found = list_backups(tmp_path)
    assert [each.path.name for each in found] == [
        "catalog-20260301T000000Z.sqlite3", "catalog-20260101T000000Z.sqlite3",
    ]  # fmt: skip
    assert all(each.problem for each in found)
    assert found[1].made_at_s == 1_767_225_600
    assert list_backups(tmp_path / "none") == []


class Killed(BaseException):
    """Nothing of the process goes on after this."""


@pytest_twisted.ensureDeferred
async def test_a_kill_at_any_step_leaves_the_old_catalog_or_the_new_one(place, tmp_path, monkeypatch):
    """Each is whole, and the same command completes it."""
    path, copy = place
    catalog = await open_catalog(path)
    await store(catalog, FILM, first=0)
    make_backup(path, copy)
    await store(catalog, OTHER, first=10)
    await catalog.delete_video(FILM)
    await catalog.close()
    before = tmp_path / "before.sqlite3"
    shutil.copy(path, before)
    sync, seen, steps = database.sync_file, [], 0

    def killed_after(count):
        def sync_file(target):
            sync(target)
            if len(seen) == count:
                raise Killed
            seen.append(target)

        return sync_file

    outcomes = set()
    while True:
        for each in path.parent.glob("catalog.sqlite3*"):
            each.unlink()
        shutil.copy(before, path)
        seen.clear()
        monkeypatch.setattr(database, "sync_file", killed_after(steps))
        try:
            restore(path, copy, exact=True)
        except Killed:
            steps += 1
        else:
            break
        finally:
            monkeypatch.setattr(database, "sync_file", sync)
        videos = await reading(path, lambda catalog: tuple(video.video_id for video in catalog.videos()))
        outcomes.add(videos)
        restore(path, copy, exact=True)
        videos = await reading(path, lambda catalog: tuple(video.video_id for video in catalog.videos()))
        assert videos == (FILM,)
        kept = sorted(path.parent.glob("catalog.sqlite3-replaced-*"))
        assert len(kept) == 1
        assert not list(path.parent.glob("*.restoring*"))
    assert outcomes == {(OTHER,), (FILM,)}
    assert steps > 4
