# SPDX-License-Identifier: MIT
"""Whole ingests: what is recognised, replaced, resumed, refused; what a slow or lying store does."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater

from tests.clips import make_clip
from tests.integration.home import (
    decode_errors,
    format_duration,
    in_thread,
    make_config,
    probe_packets,
    run,
    running,
    upload,
)
from tgsyncd.errors import PublishConflict, StoreRefused
from tgsyncd.model import Stage

CACHE = Path(__file__).parents[2] / ".cache" / "clips"
SMALL = {"max_bytes": 1_000_000, "first_bytes": [100_000, 200_000]}


@pytest.fixture
def clip(tmp_path):
    """A film of our own, which a test may rename and change."""
    target = tmp_path / "media" / "Film.mp4"
    target.parent.mkdir()
    shutil.copyfile(make_clip("h264-aac", CACHE), target)
    return target


def stored_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "data" / "store").rglob("*") if path.is_file())


def published(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder / "library")) for path in (folder / "library").rglob("*.*"))


@pytest_twisted.ensureDeferred
async def test_the_same_file_again_is_recognised(tmp_path, clip):
    async with running(make_config(tmp_path), listen=False) as app:
        (first,) = await upload(app, clip)
        before = stored_files(tmp_path)
        (again,) = await upload(app, clip)

        assert (first.outcome.action, again.outcome.action) == ("stored", "unchanged")
        assert again.outcome.video_id == first.outcome.video_id
        assert stored_files(tmp_path) == before


@pytest_twisted.ensureDeferred
async def test_a_renamed_file_is_recognised_and_keeps_its_place_in_the_library(tmp_path, clip):
    """Another path would be another item for Jellyfin, without its watch state."""
    async with running(make_config(tmp_path), listen=False) as app:
        await upload(app, clip)
        renamed = clip.rename(clip.with_name("Renamed.mp4"))
        (again,) = await upload(app, renamed)

        assert (again.outcome.video_id, again.outcome.action) == ("film", "unchanged")
        assert app.catalog.video("film").source_path == str(renamed)
        assert published(tmp_path) == ["Film-poster.jpg", "Film.strm"]


@pytest_twisted.ensureDeferred
async def test_a_renamed_file_is_no_copy_of_another_film_in_its_old_place(tmp_path, clip):
    """Both are in the catalog, whichever is looked at first."""
    async with running(make_config(tmp_path), listen=False) as app:
        await upload(app, clip)
        renamed = clip.rename(clip.with_name("Renamed.mp4"))
        # Another one: a box that nobody reads, with other contents.
        clip.write_bytes(renamed.read_bytes() + b"\0\0\0\x0cfree1234")
        moved, new = await upload(app, renamed, clip)

        assert (moved.outcome.video_id, moved.outcome.action) == ("film", "unchanged")
        assert new.outcome.action == "stored"
        sources = {video.source_path: video.video_id for video in app.catalog.videos()}
        assert sources == {str(renamed): "film", str(clip): new.outcome.video_id}


@pytest_twisted.ensureDeferred
async def test_an_error_in_publishing_is_forgotten_when_it_is_published_after_all(tmp_path, clip):
    """The folder was not writable for a while; the next upload writes the files and clears the error."""
    config = make_config(tmp_path)
    blocked = tmp_path / "library"
    blocked.write_text("a file where the folder should be")
    async with running(config, listen=False) as app:
        (failed,) = await upload(app, clip)
        assert failed.error is not None
        assert app.catalog.video("film").error

        blocked.unlink()
        (again,) = await upload(app, clip)
        assert again.error is None
        assert again.outcome.strm.exists()
        assert app.catalog.video("film").error is None


@pytest_twisted.ensureDeferred
async def test_a_touched_file_is_not_stored_again(tmp_path, clip):
    async with running(make_config(tmp_path), listen=False) as app:
        await upload(app, clip)
        os.utime(clip, ns=(1, 1))
        (again,) = await upload(app, clip)

        assert again.outcome.action == "unchanged"
        assert app.catalog.newest_revision("film").source.mtime_ns == 1


@pytest_twisted.ensureDeferred
async def test_a_deleted_strm_is_written_again(tmp_path, clip):
    async with running(make_config(tmp_path), listen=False) as app:
        (first,) = await upload(app, clip)
        first.outcome.strm.unlink()
        await upload(app, clip)

        assert first.outcome.strm.exists()


@pytest_twisted.ensureDeferred
async def test_force_stores_a_second_revision_and_cleanup_frees_the_first(tmp_path, clip):
    async with running(make_config(tmp_path)) as app:
        await upload(app, clip)
        first = stored_files(tmp_path)
        (again,) = await upload(app, clip, force=True)

        assert again.outcome.action == "stored"
        assert app.catalog.video("film").current_revision == 2
        assert set(first) < set(stored_files(tmp_path))
        report = await app.cleanup(hours=0)
        assert report.revisions_deleted == 1
        assert not set(first) & set(stored_files(tmp_path))
        assert await in_thread(decode_errors, app.playlist_url("film")) == ""


@pytest_twisted.ensureDeferred
async def test_changed_contents_replace_the_video_under_the_same_name(tmp_path, clip):
    async with running(make_config(tmp_path)) as app:
        (first,) = await upload(app, clip)
        shutil.copyfile(make_clip("h264-no-audio", CACHE), clip)
        (second,) = await upload(app, clip)

        assert second.outcome.video_id == first.outcome.video_id
        assert second.outcome.strm == first.outcome.strm
        assert app.catalog.video("film").current_revision == 2
        assert await in_thread(decode_errors, app.playlist_url("film")) == ""


@pytest_twisted.ensureDeferred
async def test_what_was_stored_of_a_revision_that_never_played_is_freed_too(tmp_path, clip):
    """Interrupted, and then the source file changed: nobody goes on with the first revision."""
    async with running(make_config(tmp_path, documents=SMALL), listen=False) as app:
        use_store(app, Refusing(app.store, after=2))
        (failed,) = await upload(app, clip)
        assert isinstance(failed.error, StoreRefused)
        abandoned = stored_files(tmp_path)
        assert abandoned
    shutil.copyfile(make_clip("h264-no-audio", CACHE), clip)
    async with running(make_config(tmp_path, documents=SMALL), listen=False) as app:
        (done,) = await upload(app, clip)
        assert done.error is None
        assert app.catalog.video("film").current_revision == 2
        report = await app.cleanup(hours=0)
        assert report.revisions_deleted == 1
        assert not set(abandoned) & set(stored_files(tmp_path))


@pytest_twisted.ensureDeferred
async def test_two_files_of_one_name_become_two_videos(tmp_path, clip):
    other = clip.with_suffix(".mkv")
    shutil.copyfile(make_clip("h264-vfr", CACHE), other)
    async with running(make_config(tmp_path), listen=False) as app:
        outcomes = await upload(app, clip.parent)

        ids = {outcome.outcome.video_id for outcome in outcomes}
        strms = {outcome.outcome.strm for outcome in outcomes}
        assert len(ids) == 2
        assert "film" in ids
        assert len(strms) == 2


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_not_ours_is_not_replaced(tmp_path, clip):
    """The ingest fails with the file's name; the next run publishes when it is gone."""
    foreign = tmp_path / "library" / "Film.strm"
    foreign.parent.mkdir()
    foreign.write_text("http://192.0.2.1/mine\n")
    async with running(make_config(tmp_path), listen=False) as app:
        (failed,) = await upload(app, clip)
        assert isinstance(failed.error, PublishConflict)
        assert foreign.read_text() == "http://192.0.2.1/mine\n"

        foreign.unlink()
        await upload(app, clip)
        assert foreign.read_text() == f"{app.playlist_url('film')}\n"


@pytest_twisted.ensureDeferred
async def test_subtitles_still_and_chapters_are_stored_and_the_first_two_published(tmp_path):
    clip = await in_thread(make_clip, "h264-three-subtitles", CACHE)
    async with running(make_config(tmp_path), listen=False) as app:
        (result,) = await upload(app, clip)

        video_id = result.outcome.video_id
        names = {extra.name for extra in app.catalog.extras(video_id, 1)}
        endings = {name.removeprefix(clip.stem) for name in published(tmp_path)}
        assert "-poster.jpg" in names
        assert any(name.endswith(".srt") for name in names)
        assert endings == (names - {".chapters.json"}) | {".strm"}
        assert any("left out" in note for note in result.outcome.notes)


@pytest_twisted.ensureDeferred
async def test_cover_art_of_the_source_is_the_poster(tmp_path):
    clip = await in_thread(make_clip, "h264-cover-art", CACHE)
    cover = await in_thread(
        run, ["ffmpeg", "-v", "error", "-i", clip, "-map", "0:v:1", "-c", "copy", "-f", "image2pipe", "-"]
    )
    async with running(make_config(tmp_path), listen=False) as app:
        await upload(app, clip)

        (poster,) = (tmp_path / "library").glob("*-poster.*")
        assert poster.read_bytes() == cover.stdout


@pytest_twisted.ensureDeferred
async def test_delete_removes_documents_rows_and_published_files(tmp_path, clip):
    async with running(make_config(tmp_path), listen=False) as app:
        await upload(app, clip)
        outcome = await app.delete_video("film")

        assert outcome.documents_owed == 0
        assert stored_files(tmp_path) == []
        assert published(tmp_path) == []
        assert app.catalog.video("film") is None
        assert clip.exists()


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_transcode_goes_on_in_the_middle_when_the_encoder_makes_other_bytes(tmp_path):
    """Another ffmpeg or GPU: what is stored stays, a discontinuity marks the seam, nothing is missing."""
    clip = await in_thread(make_clip, "mpeg2-ac3", CACHE)
    config = make_config(tmp_path, documents=SMALL, segments={"duration": 2.0})
    async with running(config, listen=False) as app:
        # The third document is refused: two are stored.
        use_store(app, Refusing(app.store, after=2))
        (failed,) = await upload(app, clip)
        assert isinstance(failed.error, StoreRefused), failed
        kept = app.catalog.documents(app.catalog.renditions(clip.stem, 1)[0].rendition_id)
        assert kept
    other = config.model_copy(update={"video": config.video.model_copy(update={"crf": 30})})
    async with running(other) as app:
        (done,) = await upload(app, clip)
        assert done.error is None
        video_id = done.outcome.video_id
        rendition = app.catalog.renditions(video_id, 1)[0]
        segments = app.catalog.segments(rendition.rendition_id)
        documents = app.catalog.documents(rendition.rendition_id)
        url = app.playlist_url(video_id)

        assert documents[0].document_id == kept[0].document_id
        (seam,) = (segment.offset for segment in segments if segment.discontinuity)
        assert done.outcome.reused_bytes == seam
        source = await in_thread(probe_packets, str(clip))
        played = await in_thread(probe_packets, url)
        assert len(played.video_pts) == len(source.video_pts)
        lasts_s = source.last_end_s - min([*source.video_pts, *source.audio_pts])
        assert await in_thread(format_duration, url) == pytest.approx(lasts_s, abs=0.1)
        assert await in_thread(decode_errors, url) == ""


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_transcode_may_be_interrupted_again_after_it_went_on_in_the_middle(tmp_path):
    """A document shortened by the first seam is not mistaken for the beginning."""
    clip = await in_thread(make_clip, "mpeg2-ac3", CACHE)
    small = {"max_bytes": 1_000_000, "first_bytes": [100_000, 100_000, 100_000]}
    config = make_config(tmp_path, documents=small, segments={"duration": 1.0})
    for crf, puts in ((20, 2), (30, 1), (25, 10_000)):
        other = config.model_copy(update={"video": config.video.model_copy(update={"crf": crf})})
        async with running(other) as app:
            use_store(app, Refusing(app.store, after=puts))
            (done,) = await upload(app, clip)
            if done.error is None:
                url = app.playlist_url(done.outcome.video_id)
                source = await in_thread(probe_packets, str(clip))
                played = await in_thread(probe_packets, url)
                assert len(played.video_pts) == len(source.video_pts)
                assert await in_thread(decode_errors, url) == ""
    assert done.error is None


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_copy_whose_bytes_differ_begins_anew_and_frees_what_was_stored(tmp_path, clip):
    """Another ffmpeg's muxer: a copied picture can only be cut from its start."""
    config = make_config(tmp_path, documents=SMALL)
    async with running(config) as app:
        use_store(app, Refusing(app.store, after=2))
        await upload(app, clip)
        use_store(app, app.store)
        kept = app.catalog.documents(app.catalog.renditions("film", 1)[0].rendition_id)[0]
        # As if another ffmpeg had made it: the same place and size, other bytes.
        stored = tmp_path / "data" / "store" / kept.ref.file_unique_id
        await app.catalog.truncate_rendition(1, segments_from=0, stream_end=0)
        foreign = replace(kept.ref, sha256="0" * 64, file_unique_id="film/1/main/foreign.bin")
        shutil.copyfile(stored, tmp_path / "data" / "store" / foreign.file_unique_id)
        await app.catalog.record_document(1, number=0, offset=0, length=kept.length, ref=foreign)
        (done,) = await upload(app, clip)

        assert done.error is None
        assert await in_thread(decode_errors, app.playlist_url("film")) == ""
        await app.cleanup(hours=0)
        assert not (tmp_path / "data" / "store" / foreign.file_unique_id).exists()
        assert await in_thread(decode_errors, app.playlist_url("film")) == ""


@pytest.mark.slow
@pytest_twisted.ensureDeferred
async def test_a_second_run_stores_only_what_is_missing(tmp_path, clip):
    config = make_config(tmp_path, documents=SMALL)
    async with running(config, listen=False) as app:
        use_store(app, Refusing(app.store, after=2))
        await upload(app, clip)
        kept = app.catalog.documents(app.catalog.renditions("film", 1)[0].rendition_id)
        counting = Refusing(app.store, after=10_000)
        use_store(app, counting)
        (done,) = await upload(app, clip)

        documents = app.catalog.documents(app.catalog.renditions("film", 1)[0].rendition_id)
        assert done.outcome.action == "resumed"
        assert done.outcome.reused_bytes == sum(document.length for document in kept)
        extras = app.catalog.extras("film", 1)
        assert counting.puts == len(documents) - len(kept) + len(extras)


@pytest.mark.parametrize("damage", ["flip", "remove"])
@pytest_twisted.ensureDeferred
async def test_what_a_killed_run_did_not_read_back_is_read_by_the_next(tmp_path, clip, damage):
    """A document that turns out to be damaged, or gone, is stored again in the same run."""
    async with running(make_config(tmp_path, documents=SMALL, verify="none"), listen=False) as app:
        use_store(app, Refusing(app.store, after=2))
        await upload(app, clip)
        kept = app.catalog.documents(app.catalog.renditions("film", 1)[0].rendition_id)[1]
    stored = tmp_path / "data" / "store" / kept.ref.file_unique_id
    data = stored.read_bytes()
    stored.unlink()
    if damage == "flip":
        stored.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    async with running(make_config(tmp_path, documents=SMALL)) as app:
        (done,) = await upload(app, clip)

        assert done.error is None
        assert app.catalog.newest_revision("film").stage is Stage.PUBLISHED
        assert await in_thread(decode_errors, app.playlist_url("film")) == ""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["h264-60mbit", "h264-400mb-one-key-frame"])
@pytest_twisted.ensureDeferred
async def test_a_group_of_pictures_larger_than_the_spool_is_stored_through_it(name, tmp_path):
    """The spool stays below its limit while the store is slow: the pipe is not read, ffmpeg waits."""
    clip = await in_thread(make_clip, name, CACHE)
    config = make_config(tmp_path, spool={"max_bytes": 64_000_000})
    seen = []

    def look():
        files = (tmp_path / "data" / "spool").rglob("*.document")
        seen.append(sum(size_of(path) for path in files))

    async with running(config) as app:
        use_store(app, Slow(app.store, 0.05))
        looking = LoopingCall(look)
        looking.start(0.02)
        (done,) = await upload(app, clip)
        looking.stop()

        assert done.error is None
        assert max(seen) <= 64_000_000
        rendition = app.catalog.renditions(done.outcome.video_id, 1)[0]
        documents = app.catalog.documents(rendition.rendition_id)
        sizes = [document.ref.size_bytes for document in documents]
        assert max(sizes) <= 19_900_000
        assert all(one != next_one for one, next_one in pairwise(sizes))
        assert await in_thread(decode_errors, app.playlist_url(done.outcome.video_id)) == ""


@pytest_twisted.ensureDeferred
async def test_cancelling_stops_ffmpeg_and_the_next_run_goes_on(tmp_path, clip):
    """Ctrl-C in the middle: no child, no thread, no spool file is left; nothing stored is lost."""
    config = make_config(tmp_path, documents=SMALL)
    async with running(config, listen=False) as app:
        use_store(app, Slow(app.store, 0.2))
        running_upload = Deferred.fromCoroutine(upload(app, clip))
        while not stored_files(tmp_path):
            await deferLater(reactor, 0.01)
        running_upload.cancel()
        with pytest.raises(BaseException):  # noqa: B017  CancelledError of one kind or another
            await running_upload
        assert not list((tmp_path / "data" / "spool").rglob("*.document"))
        use_store(app, app.store)
        (done,) = await upload(app, clip)

        assert done.error is None
        assert app.catalog.newest_revision("film").stage is Stage.PUBLISHED


def use_store(app, store):
    """Put something between the pipeline and its store."""
    app.pipeline.tools = replace(app.pipeline.tools, store=store)


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Wrapped:
    """A store in front of another one."""

    def __init__(self, store):
        self.store = store

    async def put(self, path, label):
        return await self.store.put(path, label)

    def open(self, ref, start, stop):
        return self.store.open(ref, start, stop)

    async def exists(self, ref):
        return await self.store.exists(ref)

    async def delete(self, refs):
        return await self.store.delete(refs)


class Refusing(Wrapped):
    """Takes so many documents and no more."""

    def __init__(self, store, *, after):
        super().__init__(store)
        self.after = after
        self.puts = 0

    async def put(self, path, label):
        if self.puts >= self.after:
            raise StoreRefused("no more")
        self.puts += 1
        return await super().put(path, label)


class Slow(Wrapped):
    """Takes its time for each document."""

    def __init__(self, store, seconds):
        super().__init__(store)
        self.seconds = seconds

    async def put(self, path, label):
        await deferLater(reactor, self.seconds)
        return await super().put(path, label)
