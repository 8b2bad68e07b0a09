# SPDX-License-Identifier: MIT
"""``check``, ``repair`` and the nightly job: what they find, what they mend, what they leave alone."""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.integration.home import make_config, running, upload
from tests.service.running import make_clip
from tgsyncd.errors import NotFound, TgsyncdError
from tgsyncd.model import Wanted
from tgsyncd.service.examining import Examining
from tgsyncd.service.statistics import append_line, describe, read_lines

READ = {"read": True}


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("examining") / "film.mkv", tone_hz=350)


@asynccontextmanager
async def stored(tmp_path, film, **sections):
    """An application with one film, published with a subtitle."""
    source = tmp_path / "source" / "Film.mkv"
    source.parent.mkdir()
    shutil.copy(film, source)
    source.with_name("Film.en.srt").write_text("1\n00:00:00,100 --> 00:00:01,000\nHello\n")
    library = {"name": "Films", "source": source.parent, "publish": tmp_path / "library"}
    config = make_config(tmp_path, libraries=[library], **sections)
    async with running(config, listen=False) as app:
        (outcome,) = await upload(app, source)
        assert outcome.error is None
        yield app, Examining(app, reactor=reactor), tmp_path / "library", source


async def kinds(work, question) -> list[str]:
    """Return what is found, told and reported alike."""
    told = []
    report = await work(question, told.append)
    assert [each["finding"] for each in told if "finding" in each] == report["findings"]
    return sorted(each["kind"] for each in report["findings"])


@pytest_twisted.ensureDeferred
async def test_nothing_is_found_where_nothing_is_wrong(tmp_path, film):
    """With and without reading; of everything and of one video; one that is not there is not found."""
    async with stored(tmp_path, film) as (_, examining, _, _):
        for question in ({}, READ, {"video_id": "film"}):
            report = await examining.check(question, lambda _: None)
            assert (report["findings"], report["left"], report["videos"]) == ([], 0, 1)
            assert report["documents"] >= 3
        with pytest.raises(NotFound):
            await examining.check({"video_id": "fil"}, lambda _: None)
        assert (await examining.reconcile()).endswith("0 videos mended")


@pytest_twisted.ensureDeferred
async def test_files_in_the_library_are_written_again(tmp_path, film):
    """A .strm and a subtitle; a picture and an .nfo that were changed are somebody else's work."""
    async with stored(tmp_path, film) as (_, examining, library, _):
        before = {path.name: path.read_bytes() for path in library.iterdir()}
        (library / "Film.strm").write_text("http://elsewhere/\n")
        (library / "Film.en.srt").write_text("advertisement")
        (library / "Film-poster.jpg").write_bytes(b"another picture")
        (library / "Film.nfo").unlink()
        assert await kinds(examining.check, {}) == ["sidecar-altered", "sidecar-missing", "strm-altered"]
        assert (library / "Film.strm").read_text() == "http://elsewhere/\n"

        report = await examining.repair({}, lambda _: None)
        assert report["left"] == 0
        assert [(each["kind"], each["is_done"]) for each in report["repairs"]] == [("write", True)]
        after = {path.name: path.read_bytes() for path in library.iterdir()}
        assert after.pop("Film-poster.jpg") == b"another picture"
        before.pop("Film-poster.jpg")
        assert after == before
        assert await kinds(examining.check, {}) == []


@pytest_twisted.ensureDeferred
async def test_what_is_wanted_stands_there_and_what_is_not_does_not(tmp_path, film):
    """Publish and withdraw."""
    async with stored(tmp_path, film) as (app, examining, library, _):
        await app.publisher.withdraw("film")
        assert await kinds(examining.check, {}) == ["not-published"]
        await examining.repair({}, lambda _: None)
        assert (library / "Film.strm").exists()
        await app.catalog.set_wanted("film", Wanted.WITHDRAWN)
        assert await kinds(examining.check, {}) == ["not-withdrawn"]
        await examining.repair({}, lambda _: None)
        assert not (library / "Film.strm").exists()
        assert await kinds(examining.check, {}) == []


def last_document(app):
    (main,) = app.catalog.renditions("film", app.catalog.video("film").current_revision)
    return app.config.store_dir / app.catalog.documents(main.rendition_id)[-1].ref.file_unique_id


@pytest_twisted.ensureDeferred
async def test_damaged_documents_are_stored_again_from_an_unchanged_source(tmp_path, film):
    """Sizes are always looked at, bytes with --read; a source that is another file mends nothing."""
    async with stored(tmp_path, film) as (app, examining, library, source):
        path = last_document(app)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        assert await kinds(examining.check, {}) == []
        assert await kinds(examining.check, READ) == ["document-corrupt"]
        path.unlink()
        assert await kinds(examining.check, {}) == ["document-missing"]
        with pytest.raises(
            TgsyncdError, match=r", 1 problem left: film: document 0 of main is not in the store"
        ):
            await examining.reconcile()

        original = source.read_bytes()
        source.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        report = await examining.repair({}, lambda _: None)
        assert (report["left"], report["repairs"][0]["is_done"]) == (1, False)
        assert "is another one now" in report["repairs"][0]["words"]

        source.write_bytes(original)
        report = await examining.repair(READ, lambda _: None)
        assert (report["left"], report["repairs"][0]["is_done"]) == (0, True)
        assert await kinds(examining.check, READ) == []
        assert app.catalog.video("film").current_revision == 2
        assert (library / "Film.strm").exists()


@pytest_twisted.ensureDeferred
async def test_a_stream_with_a_hole_is_found_by_the_catalog_alone(tmp_path, film):
    """A row that is gone."""
    async with stored(tmp_path, film) as (app, examining, _, _):
        await app.catalog._on_writer(
            lambda db: db.execute("DELETE FROM rendition_segments WHERE segment_order = 0")
        )
        assert await kinds(examining.check, {}) == ["stream-incomplete"]


@pytest_twisted.ensureDeferred
async def test_strays_are_named_and_left_alone(tmp_path, film):
    """Old ones; a fresh one may be a put under way, and other files are not ours."""
    async with stored(tmp_path, film) as (app, examining, _, _):
        fresh = app.config.store_dir / "gone/1/main/000000-0123456789abcdef.bin"
        fresh.parent.mkdir(parents=True)
        fresh.write_bytes(b"stray")
        (app.config.store_dir / "notes.txt").write_text("mine")
        assert await kinds(examining.check, {}) == []
        from tgsyncd.stores import directory

        settled, directory.SETTLED_S = directory.SETTLED_S, -3600.0
        try:
            report = await examining.repair({}, lambda _: None)
        finally:
            directory.SETTLED_S = settled
        assert [each["kind"] for each in report["findings"]] == ["document-stray"]
        assert report["findings"][0]["words"] == "1 documents (5 bytes) below gone are not in the catalog"
        assert (report["left"], fresh.exists()) == (1, True)


@pytest_twisted.ensureDeferred
async def test_a_library_whose_disk_is_away_is_one_finding(tmp_path, film):
    """Nothing is written into the empty place."""
    async with stored(tmp_path, film) as (_, examining, library, _):
        library.rename(tmp_path / "away")
        report = await examining.repair({}, lambda _: None)
        assert [each["kind"] for each in report["findings"]] == ["library-missing"]
        assert (report["left"], library.exists()) == (1, False)


@pytest.mark.parametrize(("action", "is_mended"), [("restore", True), ("withdraw", False)])
@pytest_twisted.ensureDeferred
async def test_the_nightly_job_restores_where_that_is_wanted(tmp_path, film, action, is_mended):
    """As ``scan.on_strm_removed`` says of .strm files; and it reads documents back in turn."""
    scan = {"on_strm_removed": action}
    jobs = {"reconcile_documents": 2}
    async with stored(tmp_path, film, scan=scan, jobs=jobs, verify="none") as (app, examining, library, _):
        (library / "Film.en.srt").unlink()
        words = await examining.reconcile()
        assert words.endswith("1 videos mended" if is_mended else "0 videos mended")
        assert (library / "Film.en.srt").exists() is is_mended
        count = "SELECT count(*) FROM documents WHERE verified_at IS NOT NULL"
        assert await app.catalog._on_writer(lambda db: db.execute(count).fetchone()) == (2,)
        await examining.reconcile()
        assert await app.catalog._on_writer(lambda db: db.execute(count).fetchone()) == (3,)


def test_statistics_are_kept_for_a_year_and_a_bit(tmp_path):
    """Whole lines only; what cannot be read is passed over."""
    path = tmp_path / "statistics.jsonl"
    assert read_lines(path) == []
    for number in range(403):
        append_line(path, read_lines(path), {"at_s": number})
    assert [line["at_s"] for line in read_lines(path)] == list(range(3, 403))
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open("a") as file:
        file.write('{"at_s": 1\n"text"\n')
    assert len(read_lines(path)) == 400


def test_statistics_tell_what_is_new():
    """Against the line before."""
    now = {
        "videos": 12,
        "documents": 1234,
        "stored_bytes": 24_500_000_000,
        "deletions_owed": 0,
        "failed_files": 2,
    }
    before = {"videos": 10, "documents": 1234, "stored_bytes": 20_000_000_000}
    assert describe(now, before) == "12 videos (+2), 1,234 documents, 24.5 GB (+4.5), 2 files failed"
    assert describe(now, None) == "12 videos, 1,234 documents, 24.5 GB, 2 files failed"
