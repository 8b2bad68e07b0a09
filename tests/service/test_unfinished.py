# SPDX-License-Identifier: MIT
"""Publishing, withdrawing and deleting that a kill interrupted are brought to their end."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.integration.home import make_config, running, upload
from tgsyncd.daemon import UploadOptions
from tgsyncd.model import UNFINISHED, DocumentLabel, Wanted
from tgsyncd.service.known import known_source
from tgsyncd.service.removal import Removal


def below(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


class House:
    """One published film in a folder of its own."""

    def __init__(self, tmp_path, films, **scan):
        self.source = tmp_path / "source" / "Film (1999)" / "Film.mkv"
        self.source.parent.mkdir(parents=True)
        shutil.copy(films[0], self.source)
        self.library = tmp_path / "library"
        library = {"name": "Films", "source": tmp_path / "source", "publish": self.library}
        self.config = make_config(tmp_path, libraries=[library], scan=scan)
        self.strm = str(self.library / "Film (1999)" / "Film.strm")

    async def fill(self, app) -> Removal:
        (outcome,) = await upload(app, self.source)
        assert outcome.error is None
        return Removal(app, reactor=reactor)

    def is_published(self, app) -> bool:
        return known_source(app.catalog, str(self.source)).is_published


@pytest_twisted.ensureDeferred
async def test_a_strm_that_a_kill_kept_from_being_written_was_not_removed_by_anybody(tmp_path, films):
    """It is written, also where a .strm that somebody removed deletes its video."""
    house = House(tmp_path, films, on_strm_removed="delete")
    async with running(house.config, listen=False) as app:
        removal = await house.fill(app)
        everything = below(house.library)
        await app.catalog.record_published_file("film", house.strm, UNFINISHED)
        Path(house.strm).unlink()
        assert not house.is_published(app)
        for _ in range(3):
            await removal.check_published()
        assert house.is_published(app)
        assert below(house.library) == everything
        assert [each.is_published for each in await app.catalog.known_sources()] == [True]


@pytest_twisted.ensureDeferred
async def test_a_new_revision_is_unfinished_until_its_files_are_written(tmp_path, films):
    """Its subtitles and pictures may be others."""
    house = House(tmp_path, films)
    async with running(house.config, listen=False) as app:
        removal = await house.fill(app)
        poster = next(house.library.rglob("*-poster.jpg"))
        poster.write_bytes(b"of an older revision")
        await app.catalog.publish_revision("film", 1)
        assert not house.is_published(app)
        assert "1 finished" in await removal.check_published()
        assert poster.read_bytes() != b"of an older revision"
        assert house.is_published(app)


@pytest_twisted.ensureDeferred
async def test_a_withdrawal_that_was_begun_is_ended(tmp_path, films):
    """With what the killed writer left, and the folders that become empty; the library's own stays."""
    house = House(tmp_path, films)
    async with running(house.config, listen=False) as app:
        removal = await house.fill(app)
        Path(house.strm).with_name(".Film.strm.part").write_bytes(b"half")
        await app.catalog.set_wanted("film", Wanted.WITHDRAWN)
        await app.catalog.record_published_file("film", house.strm, UNFINISHED)
        await removal.check_published()
        assert below(house.library) == []
        assert house.library.is_dir()
        assert app.catalog.published_files("film") == {}


@pytest_twisted.ensureDeferred
async def test_a_deletion_that_was_begun_leaves_no_video_that_nobody_sees(tmp_path, films):
    """Without its source, which could bring it back, it is published again from the store."""
    house = House(tmp_path, films)
    async with running(house.config, listen=False) as app:
        removal = await house.fill(app)
        everything = below(house.library)
        await app.publisher.withdraw("film")
        await removal.check_published()
        assert below(house.library) == [], "while the source stands, the scan does it"
        house.source.unlink()
        await removal.check_published()
        assert below(house.library) == everything


@pytest_twisted.ensureDeferred
async def test_a_video_without_its_source_stays_withdrawn_where_that_is_wanted(tmp_path, films):
    """on_source_removed: withdraw."""
    house = House(tmp_path, films, on_source_removed="withdraw")
    async with running(house.config, listen=False) as app:
        removal = await house.fill(app)
        await app.publisher.withdraw("film")
        house.source.unlink()
        await removal.check_published()
        assert below(house.library) == []


@pytest_twisted.ensureDeferred
async def test_a_video_that_was_withdrawn_meanwhile_is_not_published(tmp_path, films):
    """Nor do two who publish it at once disturb each other."""
    house = House(tmp_path, films)
    async with running(house.config, listen=False) as app:
        await house.fill(app)
        video = app.catalog.video("film")
        options = app.ingest_options(house.source, UploadOptions())

        def publish():
            return Deferred.fromCoroutine(app.pipeline.publish_files(video, 1, house.source, options))

        assert await gatherResults([publish(), publish()]) == [Path(house.strm)] * 2
        await app.catalog.set_wanted("film", Wanted.WITHDRAWN)
        await app.publisher.withdraw("film")
        assert await publish() is None
        assert below(house.library) == []


@pytest_twisted.ensureDeferred
async def test_a_buried_video_is_one_transaction(tmp_path, films):
    """One revision is left, which is not tried; all documents are owed."""
    house = House(tmp_path, films)
    async with running(house.config, listen=False) as app:
        await house.fill(app)
        documents = app.catalog.stats().documents
        await app.publisher.withdraw("film")
        await app.catalog.bury_video("film", "somebody removed it")
        (left,) = app.catalog.revisions("film")
        assert (left.number, left.error, left.next_attempt_at_s) == (2, "somebody removed it", None)
        assert app.catalog.video("film").current_revision is None
        assert app.catalog.stats().documents == 0
        assert len(app.catalog.owed_deletions(100)) == documents > 1


@pytest_twisted.ensureDeferred
async def test_documents_of_a_killed_ingest_that_never_goes_on_are_removed(tmp_path, films):
    """Stored, not recorded, and its source has changed since: only the newest revision goes on."""
    house = House(tmp_path, films)
    async with running(house.config, listen=False) as app:
        await house.fill(app)
        spooled = tmp_path / "document"
        spooled.write_bytes(b"document")
        label = DocumentLabel(
            library_id=app.catalog.library_id(), video_id="film", revision=1, rendition="main",
            number=99, size_bytes=8, sha256=hashlib.sha256(b"document").hexdigest(),
        )  # fmt: skip
        ref = await app.store.put(spooled, label)
        await app.settle_deletions()
        assert await app.store.exists(ref), "the revision may go on"
        await app.catalog.begin_revision("film", app.catalog.revision("film", 1).source)
        await app.settle_deletions()
        assert not await app.store.exists(ref)
        assert not app.catalog.intents()


@pytest_twisted.ensureDeferred
async def test_a_video_that_never_got_a_revision_is_forgotten(tmp_path, films):
    """Killed at its very beginning, and its source file never came again."""
    house = House(tmp_path, films)
    async with running(house.config, listen=False) as app:
        await app.catalog.create_video("gone", original_filename="x", library="", source_path="/gone.mkv")
        await house.fill(app)
        assert [video.video_id for video in app.catalog.videos()] == ["film"]


@pytest_twisted.ensureDeferred
async def test_what_is_being_ingested_is_not_finished_by_others(tmp_path, films):
    """It may be about to be published at another place."""
    house = House(tmp_path, films)
    async with running(house.config, listen=False) as app:
        removal = await house.fill(app)
        await app.catalog.record_published_file("film", house.strm, UNFINISHED)
        app.pipeline._running.add("film")
        await removal.check_published()
        assert not house.is_published(app)
        app.pipeline._running.clear()
        await removal.check_published()
        assert house.is_published(app)
