# SPDX-License-Identifier: MIT
"""What becomes of a source file when its video is published: never a file in doubt."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from tests.integration.home import make_config, running, upload
from tests.integration.telegram import a_telegram
from tests.service.running import make_clip
from tgsyncd.daemon import Application, UploadOptions
from tgsyncd.ingest import release
from tgsyncd.model import Wanted
from tgsyncd.service.housekeeping import Housekeeping


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("release") / "film.mkv", tone_hz=330)


@pytest.fixture(scope="session")
def film_with_font(tmp_path_factory, film):
    """With an attachment, which nothing stores."""
    folder = tmp_path_factory.mktemp("font")
    (folder / "font.ttf").write_bytes(b"no real font")
    argv = ["-i", film, "-map", "0", "-c", "copy", "-attach", folder / "font.ttf"]
    argv += ["-metadata:s:t", "mimetype=application/x-truetype-font", folder / "film.mkv"]
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-y", *argv], check=True, timeout=60)
    return folder / "film.mkv"


class Home:
    """A library whose source files are released."""

    def __init__(self, folder: Path, after_publish: str, **sections) -> None:
        self.source = folder / "source"
        self.moved = folder / "moved"
        self.library = folder / "library"
        self.source.mkdir(exist_ok=True)
        self.config = make_config(
            folder,
            libraries=[
                {
                    "name": "Films",
                    "source": self.source,
                    "publish": self.library,
                    "after_publish": after_publish,
                    "move_to": self.moved if after_publish == "move" else None,
                }
            ],
            **sections,
        )

    def put(self, film: Path, name: str = "Film/Film.mkv") -> Path:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy2(film, path))

    @asynccontextmanager
    async def open(self):
        async with running(self.config, listen=False) as app:
            yield app


@pytest.fixture
def home(tmp_path):
    def make(after_publish: str, **sections) -> Home:
        return Home(tmp_path, after_publish, **sections)

    return make


def housekeeping(app: Application) -> Housekeeping:
    return Housekeeping(app, reactor=reactor, clock=app._clock, is_watched=lambda: False)


def verified(app: Application) -> list[float | None]:
    """When each document was read back, sidecars included."""
    documents = [
        each for r in app.catalog.renditions("film", 1) for each in app.catalog.documents(r.rendition_id)
    ]
    return [each.verified_at_s for each in [*documents, *app.catalog.extras("film", 1)]]


@pytest_twisted.ensureDeferred
async def test_a_source_is_deleted_when_everything_was_read_back(home, film):
    """Also where nothing was verified before; what stands beside and is stored goes too, the rest stays."""
    at = home("delete", verify="none")
    source = at.put(film)
    (source.parent / "Film.en.srt").write_text("1\n00:00:00,100 --> 00:00:01,000\nHello\n")
    (source.parent / "notes.txt").write_text("mine")
    async with at.open() as app:
        (outcome,) = await upload(app, source)
        assert outcome.error is None
        assert "its source file was deleted" in outcome.outcome.notes
        assert None not in verified(app)
        assert len(app.catalog.extras("film", 1)) >= 2
        assert app.catalog.owed_source_releases() == []
        assert app.catalog.is_source_released("film", 1)
        (known,) = await app.catalog.known_sources()
        assert known.is_released
    assert sorted(path.name for path in source.parent.iterdir()) == ["notes.txt"]
    assert (at.library / "Film" / "Film.strm").exists()


@pytest_twisted.ensureDeferred
async def test_a_source_is_moved_with_its_folders(home, film):
    """The folder that became empty goes; the place in the library stays."""
    at = home("move")
    source = at.put(film)
    async with at.open() as app:
        await upload(app, source)
    assert (at.moved / "Film" / "Film.mkv").read_bytes() == film.read_bytes()
    assert (at.moved / "Film" / "Film.mkv").stat().st_mtime_ns == film.stat().st_mtime_ns
    assert list(at.source.iterdir()) == []
    assert (at.library / "Film" / "Film.strm").exists()


@pytest_twisted.ensureDeferred
async def test_another_file_in_the_way_is_not_replaced(home, film):
    """The moved file gets a mark in its name; an equal one is taken for the moved one."""
    at = home("move")
    source = at.put(film)
    target = at.moved / "Film" / "Film.mkv"
    target.parent.mkdir(parents=True)
    target.write_text("something else")
    async with at.open() as app:
        await upload(app, source)
    assert target.read_text() == "something else"
    assert (at.moved / "Film" / "Film [film.1].mkv").read_bytes() == film.read_bytes()


@pytest_twisted.ensureDeferred
async def test_a_move_to_another_file_system_copies_compares_and_then_deletes(home, film, monkeypatch):
    """With its times; nothing half done is left."""
    at = home("move")
    source = at.put(film)

    rename = Path.rename

    def refuse(self, target):
        if not self.name.startswith("."):
            raise OSError(18, "Invalid cross-device link")
        return rename(self, target)

    monkeypatch.setattr(release.Path, "rename", refuse)
    async with at.open() as app:
        await upload(app, source)
        target = at.moved / "Film" / "Film.mkv"
        assert target.read_bytes() == film.read_bytes()
        assert not source.exists()
    assert target.stat().st_mtime_ns == film.stat().st_mtime_ns
    assert [path.name for path in target.parent.iterdir()] == ["Film.mkv"]


async def leave_owed(app, source):
    """As a kill between publishing and taking the source away leaves it."""
    app.pipeline._releaser.release = nothing
    await upload(app, source)
    del app.pipeline._releaser.release
    assert app.catalog.owed_source_releases() == [("film", 1)]


async def nothing(*_):
    return release.Release(what="later", words="killed here")


@pytest.mark.parametrize("after", ["before", "after"])
@pytest_twisted.ensureDeferred
async def test_what_a_kill_left_owed_is_done_by_the_job(home, film, after):
    """Killed before the file went, or after it and before that was noted."""
    at = home("delete")
    source = at.put(film)
    async with at.open() as app:
        await leave_owed(app, source)
    if after == "after":
        source.unlink()
    async with at.open() as app:
        assert await housekeeping(app).releases() == "1 source files moved or deleted, 0 kept, 0 later"
        assert await housekeeping(app).releases() == "none owed"
        assert app.catalog.is_source_released("film", 1)
    assert not source.exists()


@pytest_twisted.ensureDeferred
async def test_a_move_that_was_killed_before_its_last_step_is_finished(home, film):
    """The copy stands there already, under its name."""
    at = home("move")
    source = at.put(film)
    async with at.open() as app:
        await leave_owed(app, source)
        target = at.moved / "Film" / "Film.mkv"
        target.parent.mkdir(parents=True)
        shutil.copy2(source, target)
        await housekeeping(app).releases()
    assert not source.exists()
    assert sorted(path.name for path in target.parent.iterdir()) == ["Film.mkv"]


@pytest_twisted.ensureDeferred
async def test_a_source_that_changed_is_never_touched(home, film):
    """Not by one byte in the middle, with the old times."""
    at = home("delete")
    source = at.put(film)
    async with at.open() as app:
        await leave_owed(app, source)
        before = source.stat()
        data = bytearray(source.read_bytes())
        data[len(data) // 2] ^= 1
        source.write_bytes(data)
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert await housekeeping(app).releases() == "0 source files moved or deleted, 1 kept, 0 later"
        assert not app.catalog.is_source_released("film", 1)
    assert source.exists()


@pytest.mark.parametrize("which", ["stream", "sidecar"])
@pytest_twisted.ensureDeferred
async def test_a_source_stays_when_a_document_reads_back_wrong(home, film, which):
    """Of the stream or beside it: then the source is all there is."""
    at = home("delete", verify="none")
    source = at.put(film)
    async with at.open() as app:
        await leave_owed(app, source)
        (main,) = app.catalog.renditions("film", 1)
        stored = (
            app.catalog.documents(main.rendition_id) if which == "stream" else app.catalog.extras("film", 1)
        )
        path = at.config.store_dir / stored[-1].ref.file_unique_id
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        assert await housekeeping(app).releases() == "0 source files moved or deleted, 1 kept, 0 later"
    assert source.exists()


@pytest_twisted.ensureDeferred
async def test_a_source_stays_while_its_strm_does_not_stand_there(home, film):
    """Or is not wanted; later is early enough."""
    at = home("delete")
    source = at.put(film)
    async with at.open() as app:
        await leave_owed(app, source)
        strm = app.strm_path("film")
        strm.rename(strm.with_suffix(".away"))
        assert await housekeeping(app).releases() == "0 source files moved or deleted, 0 kept, 1 later"
        strm.with_suffix(".away").rename(strm)
        await app.catalog.set_wanted("film", Wanted.WITHDRAWN)
        assert await housekeeping(app).releases() == "0 source files moved or deleted, 0 kept, 1 later"
        assert source.exists()
        await app.catalog.set_wanted("film", Wanted.PUBLISHED)
        assert await housekeeping(app).releases() == "1 source files moved or deleted, 0 kept, 0 later"
    assert not source.exists()


@pytest_twisted.ensureDeferred
async def test_a_source_that_holds_what_is_not_stored_is_moved_and_never_deleted(home, film_with_font):
    """Fonts and subtitles that are pictures would be lost."""
    at = home("delete")
    source = at.put(film_with_font)
    async with at.open() as app:
        (outcome,) = await upload(app, source)
        assert "holds what is not stored: attachment (font.ttf)" in outcome.outcome.notes[-1]
    assert source.exists()


@pytest_twisted.ensureDeferred
async def test_a_link_and_a_file_outside_the_library_are_left_alone(home, film, tmp_path):
    """The file that a link leads to is not ours to delete."""
    at = home("delete")
    elsewhere = Path(shutil.copy2(film, tmp_path / "elsewhere.mkv"))
    link = at.source / "Link.mkv"
    link.symlink_to(elsewhere)
    async with at.open() as app:
        (outcome,) = await upload(app, link)
        assert "it is a link" in outcome.outcome.notes[-1]
        assert app.ingest_options(elsewhere, UploadOptions(library="Films")).release is None
    assert link.is_symlink()
    assert elsewhere.exists()


@pytest_twisted.ensureDeferred
async def test_a_library_that_keeps_again_forgets_what_it_owed(home, film):
    """The owner changed his mind before the file went."""
    at = home("delete")
    source = at.put(film)
    async with at.open() as app:
        await leave_owed(app, source)
    async with home("keep").open() as app:
        assert await housekeeping(app).releases() == "0 source files moved or deleted, 1 kept, 0 later"
        assert await housekeeping(app).releases() == "none owed"
    assert source.exists()


class Killed(BaseException):
    """What nothing catches: as far as this process goes, a SIGKILL."""


def kill_at_commit(app: Application, number: int) -> list[int]:
    """Let the process die just before its so manieth write to the catalog; return a list that counts them."""
    commits, commit = [0], app.catalog._commit

    async def counted(body):
        commits[0] += 1
        if commits[0] == number:
            raise Killed
        return await commit(body)

    app.catalog._commit = counted
    return commits


@pytest.fixture(scope="module")
def commits_of_one(tmp_path_factory, film):
    """How many writes to the catalog one film takes, from its beginning to the end of its source file."""
    counts = []

    async def count():
        at = Home(tmp_path_factory.mktemp("counting"), "delete")
        source = at.put(film)
        async with at.open() as app:
            counts.append(kill_at_commit(app, 0))
            await upload(app, source)

    pytest_twisted.blockon(Deferred.fromCoroutine(count()))
    return counts[0][0]


@pytest.mark.parametrize("before_the_end", [0, 1, 3, 6, 7])
@pytest_twisted.ensureDeferred
async def test_a_kill_before_any_of_the_last_writes_loses_nothing(home, film, commits_of_one, before_the_end):
    """The source stands there, or all of it was read back and plays; the next run comes to the same end."""
    at = home("delete", verify="none")
    source = at.put(film)
    async with at.open() as app:
        kill_at_commit(app, commits_of_one - before_the_end)
        with suppress(Killed):
            await upload(app, source)
        del app.catalog._commit
        assert source.exists() or None not in verified(app)
        assert source.exists() or app.catalog.is_source_released("film", 1)
    async with at.open() as app:
        await housekeeping(app).releases()
        if source.exists():  # the scan, or the job that finishes what is half published
            await upload(app, source)
            await housekeeping(app).releases()
        assert not source.exists()
        assert None not in verified(app)
        (known,) = await app.catalog.known_sources()
        assert (known.is_released, known.is_published) == (True, True)
        assert app.catalog.owed_source_releases() == []
    assert (at.library / "Film" / "Film.strm").exists()


@pytest.mark.parametrize("is_damaged", [False, True])
@pytest_twisted.ensureDeferred
async def test_in_telegram_nothing_is_deleted_unread(home, film, tmp_path, is_damaged):
    """Every document is downloaded once more where the ingest verified none; one wrong bit keeps the file."""
    async with a_telegram(tmp_path, bots=1, chats=1) as telegram:
        at = home("delete", verify="none", **telegram.sections())
        source = at.put(film)
        async with at.open() as app:
            await leave_owed(app, source)
            assert set(verified(app)) == {None}
            if is_damaged:
                telegram.emulator.faults.add(kind="bit_flip", times=1000)
            words = await housekeeping(app).releases()
            assert words.startswith("0 source files" if is_damaged else "1 source files"), words
            assert (None in verified(app)) is is_damaged
    assert source.exists() is is_damaged
