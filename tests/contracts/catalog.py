# SPDX-License-Identifier: MIT
"""What every catalog must do: run by the SQLite one, and by any fake that stands in for it.

class TestMyCatalog(CatalogContract):
    @pytest_twisted.async_yield_fixture
    async def catalog(self, tmp_path, clock):
        ...
        yield reader_and_writer_in_one
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_twisted

from tgsyncd.errors import NotFound, PublishConflict
from tgsyncd.model import (
    Container,
    DocumentLabel,
    DocumentRef,
    IngestPlan,
    LeftOut,
    PackLimits,
    PlannedStream,
    RenditionKind,
    RenditionPlan,
    Segment,
    SourceIdentity,
    Stage,
    SubtitlePlan,
    Treatment,
    VideoId,
    Wanted,
)

FILM = VideoId("film")
OTHER = VideoId("other")


class FakeClock:
    """A wall clock that stands until it is moved."""

    def __init__(self, now_s=1_700_000_000.25):
        self._now_s = now_s

    def now_s(self):
        return self._now_s

    def advance(self, seconds):
        self._now_s += seconds


SOURCE = SourceIdentity(
    path="/videos/Film.mkv",
    size_bytes=5_000,
    mtime_ns=1_600_000_000_123_456_789,
    inode=7,
    device=66,
    sampled_hash="ab",
)

MAIN = RenditionPlan(
    name="main",
    kind=RenditionKind.MAIN,
    container=Container.MPEGTS,
    streams=(
        PlannedStream(index=0, kind="video", treatment=Treatment.COPY, source_codec="h264", codec="h264"),
        PlannedStream(
            index=1,
            kind="audio",
            treatment=Treatment.TRANSCODE,
            source_codec="dts",
            codec="aac",
            language="eng",
            title="Director's commentary",
            is_default=True,
            channels=6,
            reason="players do not play DTS",
        ),
    ),
)
AUDIO = RenditionPlan(
    name="audio-1",
    kind=RenditionKind.AUDIO,
    container=Container.FMP4,
    streams=(),
    language="deu",
    title="Ton",
    is_default=True,
)
PLAN = IngestPlan(
    renditions=(MAIN, AUDIO),
    subtitles=(SubtitlePlan(index=3, codec="subrip", suffix=".en.forced.srt"),),
    left_out=(LeftOut(index=4, what="hdmv_pgs_subtitle", why="bitmap \udcff \U0001f3ac"),),
    segment_target_s=6.0,
    limits=PackLimits(),
    encoder="libx264",
    threads=4,
    ffmpeg_version="5.1.6",
    late_sound_s=1.5,
)


def make_segment(order, *, size_bytes=1_000, **changes):
    """A segment of 6 s whose sha256 tells its order."""
    segment = Segment(
        order=order,
        offset=order * size_bytes,
        size_bytes=size_bytes,
        start_s=order * 6.006,
        duration_s=6.006,
        sha256=f"{order:064x}",
    )
    return replace(segment, **changes)


def make_ref(number, *, size_bytes=4_000, **changes):
    """A document in a chat, whose names tell its number."""
    ref = DocumentRef(
        chat_id=-1_001_234_567_890,
        message_id=100 + number,
        file_unique_id=f"unique-{number}",
        size_bytes=size_bytes,
        sha256=f"{number:064x}",
        file_ids={11: f"file-{number}-of-11", 12: f"file-{number}-of-12"},
    )
    return replace(ref, **changes)


def make_label(number=0, **changes):
    """What a document of the film's main rendition says of itself."""
    label = DocumentLabel(
        library_id="0123456789abcdef",
        video_id=FILM,
        revision=1,
        rendition="main",
        number=number,
        size_bytes=4_000,
        sha256="cd" * 32,
    )
    return replace(label, **changes)


async def begin(catalog, video_id=FILM, source=SOURCE, **changes):
    """Make the video if need be, and its next revision; return the revision's number."""
    source = replace(source, **changes)
    await catalog.create_video(
        video_id, original_filename="Film.mkv", library="films", source_path=source.path
    )
    return await catalog.begin_revision(video_id, source)


async def store_rendition(catalog, revision, *, documents=3, video_id=FILM, first=0, plan=MAIN):
    """Record a rendition of documents of 4,000 bytes with four segments in each; return its id."""
    rendition_id = await catalog.create_rendition(video_id, revision, plan)
    await catalog.record_segments(rendition_id, [make_segment(order) for order in range(documents * 4)])
    for number in range(documents):
        ref = make_ref(first + number)
        await catalog.record_document(
            rendition_id, number=number, offset=number * 4_000, length=4_000, ref=ref
        )
    return rendition_id


async def finish(catalog, rendition_id, **changes):
    """Finish a rendition with facts that differ from the defaults in every field."""
    facts = {
        "codecs": "avc1.640028,mp4a.40.2",
        "bandwidth": 8_000_000,
        "average_bandwidth": 4_000_000,
        "width": 1920,
        "height": 1080,
        "frame_rate": 23.976,
        "stream_bytes": 12_000,
        "init_bytes": 0,
        "duration_s": 72.5,
        "independent_segments": True,
    }
    await catalog.finish_rendition(rendition_id, **{**facts, **changes})


class CatalogContract:
    """One test a promise of ``ports.CatalogReader`` and ``ports.CatalogWriter``."""

    @pytest.fixture
    def clock(self):
        return FakeClock()

    # --- nothing there ---

    def test_what_is_not_there_is_none_or_empty(self, catalog):
        """No read raises for something that is not there."""
        assert [
            catalog.video(FILM),
            catalog.video_by_source("/videos/Film.mkv"),
            catalog.revision(FILM, 1),
            catalog.newest_revision(FILM),
            catalog.rendition(FILM, 1, "main"),
            catalog.segment(1, 0),
        ] == [None] * 6
        empty = [
            catalog.videos(),
            catalog.videos_by_size(5_000),
            catalog.renditions(FILM, 1),
            catalog.segments(1),
            catalog.documents(1),
            catalog.documents_covering(1, 0, 1),
            catalog.extras(FILM, 1),
            catalog.published_files(FILM),
            catalog.owed_deletions(10),
        ]
        assert [len(found) for found in empty] == [0] * len(empty)

    def test_the_library_id_is_16_hex_digits_and_stays(self, catalog):
        """The id that documents carry is given at birth."""
        library_id = catalog.library_id()

        assert len(library_id) == 16
        assert int(library_id, 16) >= 0
        assert catalog.library_id() == library_id

    @pytest_twisted.ensureDeferred
    async def test_the_change_number_is_another_one_after_each_commit(self, catalog):
        """What was read may be remembered as long as the number is the same."""
        seen = [catalog.change_number()]
        catalog.video(FILM)
        assert catalog.change_number() == seen[0]

        await catalog.create_video(FILM, original_filename="Film.mkv", library="films", source_path="/f")
        seen.append(catalog.change_number())
        await catalog.set_wanted(FILM, Wanted.WITHDRAWN)
        seen.append(catalog.change_number())
        await catalog.delete_video(FILM)
        seen.append(catalog.change_number())

        assert len(set(seen)) == len(seen)

    # --- videos and revisions ---

    @pytest_twisted.ensureDeferred
    async def test_a_created_video_is_processing_and_has_no_revision(self, catalog, clock):
        """A video without revisions plays nothing."""
        await catalog.create_video(
            FILM, original_filename="Film.mkv", library="films", source_path="/videos/Film.mkv"
        )

        video = catalog.video(FILM)
        assert (video.video_id, video.original_filename, video.library) == (FILM, "Film.mkv", "films")
        assert (video.source_path, video.wanted) == ("/videos/Film.mkv", Wanted.PUBLISHED)
        assert (video.status, video.stage, video.error) == ("processing", Stage.FOUND, None)
        assert video.current_revision is None
        assert video.created_at_s == video.updated_at_s == clock.now_s()
        assert (video.total_segments, video.total_duration_s, video.file_size_bytes) == (0, 0.0, 0)

    @pytest_twisted.ensureDeferred
    async def test_creating_a_video_again_changes_nothing(self, catalog, clock):
        """The first names stay."""
        await begin(catalog)
        before = catalog.video(FILM)
        clock.advance(5)

        await catalog.create_video(FILM, original_filename="x", library="y", source_path="/z")

        assert catalog.video(FILM) == before

    @pytest_twisted.ensureDeferred
    async def test_videos_come_by_their_ids(self, catalog):
        """A listing is in order."""
        for video_id in ["b", "a", "c"]:
            await begin(catalog, VideoId(video_id))

        assert [video.video_id for video in catalog.videos()] == ["a", "b", "c"]
        assert catalog.videos()[0] == catalog.video(VideoId("a"))
        assert [video.video_id for video in catalog.videos(after="a")] == ["b", "c"]
        assert [video.video_id for video in catalog.videos(after="a", limit=1)] == ["b"]
        assert list(catalog.videos(after="c")) == []

    @pytest_twisted.ensureDeferred
    async def test_revisions_count_from_one(self, catalog):
        """Each ingest is a revision of its own; the newest is the one with the highest number."""
        numbers = [await begin(catalog), await begin(catalog, size_bytes=6_000)]

        assert numbers == [1, 2]
        assert catalog.revision(FILM, 1).source == SOURCE
        newest = catalog.newest_revision(FILM)
        assert newest == catalog.revision(FILM, 2)
        assert (newest.number, newest.stage, newest.plan, newest.error) == (2, Stage.FOUND, None, None)
        assert (newest.attempts, newest.next_attempt_at_s) == (0, None)
        assert newest.source.size_bytes == catalog.video(FILM).file_size_bytes == 6_000

    @pytest_twisted.ensureDeferred
    async def test_a_revision_of_no_video_is_refused(self, catalog):
        """A writer learns that its video was deleted."""
        with pytest.raises(NotFound):
            await catalog.begin_revision(FILM, SOURCE)
        await begin(catalog)
        for write in [
            catalog.record_stage(FILM, 9, Stage.STORED),
            catalog.record_error(FILM, 9, "no", None),
            catalog.record_plan(FILM, 9, PLAN),
            catalog.publish_revision(FILM, 9),
            catalog.set_wanted(OTHER, Wanted.WITHDRAWN),
            catalog.create_rendition(FILM, 9, MAIN),
            catalog.record_segments(9, [make_segment(0)]),
            catalog.record_published_file(OTHER, "/library/x.strm", "ab"),
        ]:
            with pytest.raises(NotFound):
                await write
        assert catalog.video(FILM).current_revision is None

    @pytest_twisted.ensureDeferred
    async def test_a_revision_number_never_comes_back(self, catalog):
        """URLs with a number are cached as immutable: another stream must not get the same."""
        await begin(catalog)
        await begin(catalog)
        await catalog.delete_revision(FILM, 2)
        assert await begin(catalog) == 3

        await catalog.delete_video(FILM)

        assert await begin(catalog) == 4
        assert await begin(catalog, OTHER) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_plan_comes_back_as_it_was(self, catalog):
        """What decides the bytes of a revision is stored whole."""
        await begin(catalog)

        await catalog.record_plan(FILM, 1, PLAN)

        revision = catalog.revision(FILM, 1)
        assert revision.plan == PLAN
        assert revision.stage is catalog.video(FILM).stage is Stage.PROBED

    @pytest_twisted.ensureDeferred
    async def test_an_error_keeps_the_stage_and_counts(self, catalog):
        """The stage says where it failed; a later stage clears the error."""
        await begin(catalog)
        await catalog.record_stage(FILM, 1, Stage.STORED)
        for _ in range(2):
            await catalog.record_error(FILM, 1, "disk on fire", 1_800_000_000.5)

        revision, video = catalog.revision(FILM, 1), catalog.video(FILM)
        assert (revision.stage, revision.error, revision.attempts) == (Stage.STORED, "disk on fire", 2)
        assert revision.next_attempt_at_s == 1_800_000_000.5
        assert (video.status, video.stage, video.error) == ("error", Stage.STORED, "disk on fire")

        await catalog.record_error(FILM, 1, "the store is down", 1_800_000_001.0, is_attempt=False)
        revision = catalog.revision(FILM, 1)
        assert (revision.error, revision.attempts) == ("the store is down", 2)

        await catalog.record_stage(FILM, 1, Stage.VERIFIED)
        revision = catalog.revision(FILM, 1)
        assert (revision.error, revision.next_attempt_at_s, revision.attempts) == (None, None, 2)
        assert catalog.video(FILM).status == "processing"

    @pytest_twisted.ensureDeferred
    async def test_a_published_video_is_active_also_while_a_new_revision_fails(self, catalog):
        """What plays, plays; the error of the newer revision shows beside it."""
        await begin(catalog)
        await store_rendition(catalog, 1)
        await catalog.set_wanted(FILM, Wanted.WITHDRAWN)
        await catalog.publish_revision(FILM, 1)
        video = catalog.video(FILM)
        assert (video.status, video.current_revision, video.wanted) == ("active", 1, Wanted.PUBLISHED)
        assert video.stage is Stage.PUBLISHED

        await begin(catalog, size_bytes=9)
        await catalog.record_error(FILM, 2, "cut off", None)

        video = catalog.video(FILM)
        assert (video.status, video.error, video.stage) == ("active", "cut off", Stage.FOUND)
        assert (video.total_segments, video.file_size_bytes) == (12, 5_000)

    @pytest_twisted.ensureDeferred
    async def test_wanted_can_be_changed(self, catalog):
        """Withdrawing keeps what is stored."""
        await begin(catalog)

        await catalog.set_wanted(FILM, Wanted.WITHDRAWN)

        assert catalog.video(FILM).wanted is Wanted.WITHDRAWN

    @pytest_twisted.ensureDeferred
    async def test_changes_move_updated_at(self, catalog, clock):
        """updated_at is the time of the last change of anything of the video."""
        await begin(catalog)
        created = clock.now_s()
        clock.advance(60)
        await store_rendition(catalog, 1)

        video = catalog.video(FILM)
        assert (video.created_at_s, video.updated_at_s) == (created, created + 60)

    # --- source files ---

    @pytest_twisted.ensureDeferred
    async def test_a_video_is_found_by_its_source(self, catalog):
        """Also when the name is not UTF-8, and when inode and device use all 64 bits."""
        odd = replace(SOURCE, path="/videos/\udcfc\udcff 'a\"\n%03d.mkv", inode=2**64 - 1, device=2**63)
        await begin(catalog, source=odd)

        assert catalog.video_by_source(odd.path) == catalog.video(FILM)
        assert catalog.video_by_source(odd.path + "x") is None
        assert catalog.newest_revision(FILM).source == odd
        assert catalog.video(FILM).source_path == odd.path

    @pytest_twisted.ensureDeferred
    async def test_a_moved_source_is_found_at_its_new_path(self, catalog):
        """And no more at the old one, where another file may stand now."""
        await begin(catalog)
        moved = replace(SOURCE, path="/videos/new/Film.mkv", inode=8, mtime_ns=3, device=67)

        await catalog.record_source_path(FILM, moved)

        assert catalog.video_by_source(moved.path).video_id == FILM
        assert catalog.video_by_source(SOURCE.path) is None
        assert catalog.newest_revision(FILM).source == moved

    @pytest_twisted.ensureDeferred
    async def test_candidates_for_the_same_file_have_the_size_of_the_newest_revision(self, catalog):
        """An older revision's size says nothing of the file that stands there now."""
        await begin(catalog)
        await begin(catalog, OTHER)
        await begin(catalog, OTHER, size_bytes=6_000)

        assert list(catalog.videos_by_size(5_000)) == [(catalog.video(FILM), SOURCE)]
        assert [video.video_id for video, _ in catalog.videos_by_size(6_000)] == [OTHER]

    # --- renditions and segments ---

    @pytest_twisted.ensureDeferred
    async def test_a_rendition_is_made_once(self, catalog):
        """A rerun finds the rendition that the killed run made."""
        await begin(catalog)
        audio = await catalog.create_rendition(FILM, 1, AUDIO)
        main = await catalog.create_rendition(FILM, 1, MAIN)

        assert await catalog.create_rendition(FILM, 1, AUDIO) == audio != main
        assert [rendition.name for rendition in catalog.renditions(FILM, 1)] == ["main", "audio-1"]
        found = catalog.rendition(FILM, 1, "audio-1")
        assert (found.rendition_id, found.video_id, found.revision) == (audio, FILM, 1)
        assert (found.kind, found.container) == (RenditionKind.AUDIO, Container.FMP4)
        assert (found.language, found.title, found.is_default) == ("deu", "Ton", True)
        assert (found.is_complete, found.stream_bytes) == (False, 0)

    @pytest_twisted.ensureDeferred
    async def test_a_finished_rendition_is_complete(self, catalog):
        """All that the multivariant playlist says is recorded at the end."""
        await begin(catalog)
        await finish(catalog, await store_rendition(catalog, 1), init_bytes=800)

        found = catalog.rendition(FILM, 1, "main")
        assert found.is_complete
        assert found.independent_segments
        assert (found.codecs, found.bandwidth) == ("avc1.640028,mp4a.40.2", 8_000_000)
        assert (found.average_bandwidth, found.width, found.height) == (4_000_000, 1920, 1080)
        assert (found.frame_rate, found.duration_s) == (23.976, 72.5)
        assert (found.stream_bytes, found.init_bytes) == (12_000, 800)
        assert catalog.video(FILM).total_duration_s == 72.5

    @pytest_twisted.ensureDeferred
    async def test_segments_come_in_order_and_exact(self, catalog):
        """Whatever the order of recording; times are not rounded."""
        await begin(catalog)
        rendition_id = await catalog.create_rendition(FILM, 1, MAIN)
        segments = [make_segment(order, start_s=order / 3, duration_s=1 / 3) for order in range(5)]
        segments[3] = replace(segments[3], discontinuity=True)

        await catalog.record_segments(rendition_id, segments[3:])
        await catalog.record_segments(rendition_id, segments[:3])
        await catalog.record_segments(rendition_id, [])

        assert list(catalog.segments(rendition_id)) == segments
        assert catalog.segment(rendition_id, 3) == segments[3]
        assert catalog.segment(rendition_id, 5) is None
        video = catalog.video(FILM)
        assert video.total_segments == 5
        assert video.total_duration_s == pytest.approx(5 / 3)

    @pytest_twisted.ensureDeferred
    async def test_a_segment_of_the_same_order_is_replaced(self, catalog):
        """A resumed ingest records again what it cuts again."""
        await begin(catalog)
        rendition_id = await store_rendition(catalog, 1, documents=1)
        changed = make_segment(2, size_bytes=77, discontinuity=True)

        await catalog.record_segments(rendition_id, [changed])

        assert catalog.segment(rendition_id, 2) == changed
        assert len(catalog.segments(rendition_id)) == catalog.video(FILM).total_segments == 4

    # --- documents ---

    @pytest_twisted.ensureDeferred
    async def test_a_document_comes_back_with_the_file_ids_of_all_bots(self, catalog, clock):
        """What survives names the document; each bot has its own file_id."""
        await begin(catalog)
        rendition_id = await store_rendition(catalog, 1, documents=2)

        first, second = catalog.documents(rendition_id)
        assert (second.number, second.offset, second.length) == (1, 4_000, 4_000)
        assert (first.ref, second.ref) == (make_ref(0), make_ref(1))
        assert (second.uploaded_at_s, second.verified_at_s) == (clock.now_s(), None)

        await catalog.record_file_id(second.document_id, 12, "anew")
        await catalog.record_file_id(second.document_id, 13, "more")
        await catalog.record_file_id(999, 13, "of nothing")
        assert catalog.documents(rendition_id)[1].ref.file_ids == {11: "file-1-of-11", 12: "anew", 13: "more"}

    @pytest_twisted.ensureDeferred
    async def test_documents_are_verified_one_by_one(self, catalog, clock):
        """Only those that were read back count as verified."""
        await begin(catalog)
        rendition_id = await store_rendition(catalog, 1)
        clock.advance(9)
        first, _, third = catalog.documents(rendition_id)

        await catalog.record_verified([first.document_id, third.document_id])

        verified = [document.verified_at_s for document in catalog.documents(rendition_id)]
        assert verified == [clock.now_s(), None, clock.now_s()]

    @pytest.mark.parametrize(
        ("start", "stop", "numbers"),
        [
            (0, 1, [0]),
            (0, 4_000, [0]),
            (3_999, 4_000, [0]),
            (4_000, 4_001, [1]),
            (3_999, 4_001, [0, 1]),
            (1, 11_999, [0, 1, 2]),
            (11_999, 99_999, [2]),
            (12_000, 12_001, []),
            (5_000, 5_000, []),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_documents_covering_a_range(self, catalog, start, stop, numbers):
        """Those that hold any byte of it, and no other."""
        await begin(catalog)
        rendition_id = await store_rendition(catalog, 1)

        found = catalog.documents_covering(rendition_id, start, stop)

        assert [document.number for document in found] == numbers

    @pytest_twisted.ensureDeferred
    async def test_documents_beside_a_hole_still_cover_what_they_hold(self, catalog):
        """A stream whose middle is not stored yet."""
        await begin(catalog)
        rendition_id = await catalog.create_rendition(FILM, 1, MAIN)
        for number, offset in [(1, 4_000), (3, 12_000)]:
            await catalog.record_document(
                rendition_id, number=number, offset=offset, length=4_000, ref=make_ref(number)
            )

        def covering(start, stop):
            return [document.number for document in catalog.documents_covering(rendition_id, start, stop)]

        assert covering(0, 4_000) == covering(8_000, 12_000) == []
        assert covering(0, 4_001) == covering(7_999, 12_000) == [1]
        assert covering(8_000, 12_001) == [3]
        assert covering(0, 99_999) == [1, 3]

    @pytest_twisted.ensureDeferred
    async def test_a_document_recorded_again_is_there_once(self, catalog):
        """The same place in the store: nothing is owed, and its id stays."""
        await begin(catalog)
        rendition_id = await store_rendition(catalog, 1)
        before = catalog.documents(rendition_id)

        again = await catalog.record_document(
            rendition_id, number=1, offset=4_000, length=4_000, ref=make_ref(1)
        )

        assert again == before[1].document_id
        assert catalog.documents(rendition_id) == before
        assert len(catalog.owed_deletions(10)) == 0

    @pytest_twisted.ensureDeferred
    async def test_a_document_stored_elsewhere_replaces_the_old_one(self, catalog):
        """And the old one is owed to the store as a deletion."""
        await begin(catalog)
        rendition_id = await store_rendition(catalog, 1)

        await catalog.record_document(rendition_id, number=1, offset=4_000, length=4_000, ref=make_ref(50))

        assert [document.ref for document in catalog.documents(rendition_id)] == [
            make_ref(0),
            make_ref(50),
            make_ref(2),
        ]
        assert list(catalog.owed_deletions(10)) == [make_ref(1)]

    @pytest_twisted.ensureDeferred
    async def test_a_document_of_a_deleted_video_is_owed(self, catalog):
        """An upload that ends after its video was deleted leaves nothing behind in the store."""
        await begin(catalog)
        rendition_id = await catalog.create_rendition(FILM, 1, MAIN)
        await catalog.delete_video(FILM)

        with pytest.raises(NotFound):
            await catalog.record_document(rendition_id, number=0, offset=0, length=4_000, ref=make_ref(0))
        with pytest.raises(NotFound):
            await catalog.record_extra(FILM, 1, name=".en.srt", ref=make_ref(1))

        assert list(catalog.owed_deletions(10)) == [make_ref(0), make_ref(1)]

    # --- truncation ---

    @pytest_twisted.ensureDeferred
    async def test_truncation_shortens_the_overlapping_document_and_owes_those_behind(self, catalog):
        """What a resumed transcode makes anew."""
        await begin(catalog)
        rendition_id = await store_rendition(catalog, 1)
        await finish(catalog, rendition_id)

        await catalog.truncate_rendition(rendition_id, segments_from=5, stream_end=5_000)

        documents = catalog.documents(rendition_id)
        assert [(document.offset, document.length) for document in documents] == [(0, 4_000), (4_000, 1_000)]
        assert documents[1].ref == make_ref(1)
        assert [segment.order for segment in catalog.segments(rendition_id)] == [0, 1, 2, 3, 4]
        assert list(catalog.owed_deletions(10)) == [make_ref(2)]
        assert not catalog.rendition(FILM, 1, "main").is_complete
        assert catalog.video(FILM).total_segments == 5
        assert len(catalog.documents_covering(rendition_id, 5_000, 6_000)) == 0

        await catalog.record_document(rendition_id, number=2, offset=5_000, length=4_000, ref=make_ref(60))
        assert [document.end for document in catalog.documents(rendition_id)] == [4_000, 5_000, 9_000]

    @pytest_twisted.ensureDeferred
    async def test_truncation_at_a_documents_end_keeps_it_whole(self, catalog):
        """And truncation to nothing owes everything."""
        await begin(catalog)
        rendition_id = await store_rendition(catalog, 1)

        await catalog.truncate_rendition(rendition_id, segments_from=4, stream_end=4_000)
        assert [document.length for document in catalog.documents(rendition_id)] == [4_000]

        await catalog.truncate_rendition(rendition_id, segments_from=0, stream_end=0)
        assert len(catalog.documents(rendition_id)) == len(catalog.segments(rendition_id)) == 0
        owed = {ref.message_id for ref in catalog.owed_deletions(10)}
        assert owed == {100, 101, 102}

    # --- extras ---

    @pytest_twisted.ensureDeferred
    async def test_an_extra_of_the_same_name_is_replaced_and_owed(self, catalog):
        """One subtitle of a name at a time."""
        await begin(catalog)
        first = await catalog.record_extra(FILM, 1, name=".en.srt", ref=make_ref(0))
        other = await catalog.record_extra(FILM, 1, name="-poster.jpg", ref=make_ref(1))
        await catalog.record_verified([first])

        second = await catalog.record_extra(FILM, 1, name=".en.srt", ref=make_ref(2))

        found = {extra.name: (extra.document_id, extra.ref) for extra in catalog.extras(FILM, 1)}
        assert found == {".en.srt": (second, make_ref(2)), "-poster.jpg": (other, make_ref(1))}
        assert list(catalog.owed_deletions(10)) == [make_ref(0)]
        assert len(catalog.extras(FILM, 2)) == 0

    # --- deleting ---

    @pytest_twisted.ensureDeferred
    async def test_deleting_a_video_owes_all_its_documents_with_their_file_ids(self, catalog):
        """In one transaction: no row is left, no document is forgotten, others are not touched."""
        await begin(catalog)
        rendition_id = await store_rendition(catalog, 1)
        await catalog.record_extra(FILM, 1, name=".en.srt", ref=make_ref(3))
        await catalog.record_published_file(FILM, "/library/Film.strm", "ab")
        await begin(catalog, OTHER)
        kept = await store_rendition(catalog, 1, video_id=OTHER, first=10)

        await catalog.delete_video(FILM)
        await catalog.delete_video(FILM)

        owed = sorted(catalog.owed_deletions(10), key=lambda ref: ref.message_id)
        assert owed == [make_ref(number) for number in range(4)]
        assert catalog.video(FILM) is catalog.revision(FILM, 1) is catalog.rendition(FILM, 1, "main") is None
        left = [
            catalog.segments(rendition_id),
            catalog.documents(rendition_id),
            catalog.extras(FILM, 1),
            catalog.published_files(FILM),
        ]
        assert [len(found) for found in left] == [0, 0, 0, 0]
        assert (len(catalog.documents(kept)), len(catalog.segments(kept))) == (3, 12)

    @pytest_twisted.ensureDeferred
    async def test_deleting_a_revision_leaves_the_others(self, catalog):
        """The superseded revision's documents are owed; what plays goes on."""
        await begin(catalog)
        await store_rendition(catalog, 1)
        await catalog.publish_revision(FILM, 1)
        await begin(catalog)
        kept = await store_rendition(catalog, 2, first=10)
        await catalog.publish_revision(FILM, 2)

        await catalog.delete_revision(FILM, 1)
        await catalog.delete_revision(FILM, 1)

        assert {ref.message_id for ref in catalog.owed_deletions(10)} == {100, 101, 102}
        assert (catalog.video(FILM).current_revision, catalog.video(FILM).status) == (2, "active")
        assert len(catalog.documents(kept)) == 3

        await catalog.delete_revision(FILM, 2)
        assert (catalog.video(FILM).current_revision, catalog.video(FILM).status) == (None, "processing")

    @pytest_twisted.ensureDeferred
    async def test_owed_deletions_are_a_queue(self, catalog):
        """Oldest first, as many as asked for, until they are settled."""
        await begin(catalog)
        await store_rendition(catalog, 1)
        await catalog.truncate_rendition(
            await catalog.create_rendition(FILM, 1, MAIN), segments_from=9, stream_end=8_000
        )
        await catalog.delete_video(FILM)

        assert list(catalog.owed_deletions(1)) == [make_ref(2)]
        assert len(catalog.owed_deletions(10)) == 3

        await catalog.settle_deletions([make_ref(2), make_ref(0), make_ref(77)])
        assert list(catalog.owed_deletions(10)) == [make_ref(1)]

    @pytest_twisted.ensureDeferred
    async def test_what_is_stored_anew_at_the_same_place_is_not_deleted(self, catalog):
        """A directory store gives the same bytes the same place: the debt for it is void."""
        await begin(catalog)
        await store_rendition(catalog, 1, documents=1)
        await catalog.delete_video(FILM)
        assert len(catalog.owed_deletions(10)) == 1

        await store_rendition(catalog, await begin(catalog), documents=1)

        assert len(catalog.owed_deletions(10)) == 0

    # --- intents ---

    @pytest_twisted.ensureDeferred
    async def test_recording_a_document_ends_its_intents_and_no_others(self, catalog):
        """Those of the same label, however often the upload was begun."""
        await begin(catalog)
        rendition_id = await catalog.create_rendition(FILM, 1, MAIN)
        for label in [make_label(0), make_label(0), make_label(1), make_label(0, rendition="audio-1")]:
            await catalog.record_intent(label, bot_id=11, chat_id=-5)
        assert catalog.stats().intents_open == 4

        await catalog.record_document(rendition_id, number=0, offset=0, length=4_000, ref=make_ref(0))

        assert catalog.stats().intents_open == 2

    @pytest_twisted.ensureDeferred
    async def test_recording_an_extra_ends_its_intents_and_no_others(self, catalog):
        """Extras are told apart by their names."""
        await begin(catalog)
        for name in [".en.srt", ".de.srt"]:
            await catalog.record_intent(make_label(rendition="extra", filename=name), bot_id=11, chat_id=-5)

        await catalog.record_extra(FILM, 1, name=".en.srt", ref=make_ref(0))

        assert catalog.stats().intents_open == 1

    @pytest_twisted.ensureDeferred
    async def test_an_intent_can_be_forgotten(self, catalog):
        """Ids are not given twice."""
        first = await catalog.record_intent(make_label(0), bot_id=11, chat_id=-5)
        await catalog.forget_intent(first)
        await catalog.forget_intent(first)

        assert catalog.stats().intents_open == 0
        assert await catalog.record_intent(make_label(0), bot_id=11, chat_id=-5) != first

    # --- published files ---

    @pytest_twisted.ensureDeferred
    async def test_a_source_release_is_owed_when_its_revision_is_published(self, catalog):
        """Not before; once settled it is owed no more, and remembered."""
        await begin(catalog)
        await catalog.owe_source_release(FILM, 1)
        await catalog.owe_source_release(FILM, 1)

        assert catalog.owed_source_releases() == []
        await catalog.publish_revision(FILM, 1)
        assert catalog.owed_source_releases() == [(FILM, 1)]

        await catalog.settle_source_release(FILM, 1)
        await catalog.forget_source_release(FILM, 1)
        assert catalog.owed_source_releases() == []
        assert catalog.is_source_released(FILM, 1)

    @pytest_twisted.ensureDeferred
    async def test_a_source_release_is_forgotten_by_hand_or_with_its_revision(self, catalog):
        """A source that stays; a revision that was replaced and freed."""
        await begin(catalog)
        await catalog.owe_source_release(FILM, 1)
        await catalog.forget_source_release(FILM, 1)
        assert not catalog.is_source_released(FILM, 1)

        await catalog.owe_source_release(FILM, 1)
        await catalog.delete_revision(FILM, 1)
        assert not catalog.is_source_released(FILM, 1)
        with pytest.raises(NotFound):
            await catalog.owe_source_release(FILM, 1)

    @pytest_twisted.ensureDeferred
    async def test_an_id_is_never_given_twice(self, catalog):
        """What is still on its way to a deleted video must not arrive in another one."""
        await begin(catalog)
        first = await catalog.create_rendition(FILM, 1, MAIN)
        assert await catalog.create_rendition(FILM, 1, MAIN) == first
        document = await catalog.record_document(first, number=0, offset=0, length=4, ref=make_ref(1))
        await catalog.delete_video(FILM)
        await begin(catalog, OTHER)
        second = await catalog.create_rendition(OTHER, 1, MAIN)
        assert second != first
        assert document != await catalog.record_document(
            second, number=0, offset=0, length=4, ref=make_ref(2)
        )
        with pytest.raises(NotFound):
            await catalog.record_document(first, number=0, offset=0, length=4, ref=make_ref(1))

    @pytest_twisted.ensureDeferred
    async def test_published_files_are_known_by_path(self, catalog):
        """Recorded before and after they are written; odd names included."""
        await begin(catalog)
        odd = "/library/\udcff.en.srt"
        await catalog.record_published_file(FILM, "/library/Film.strm", "old")
        await catalog.record_published_file(FILM, "/library/Film.strm", "new")
        await catalog.record_published_file(FILM, odd, "cd")
        assert catalog.published_files(FILM) == {"/library/Film.strm": "new", odd: "cd"}

        await catalog.forget_published_file(FILM, odd)
        await catalog.forget_published_file(FILM, odd)
        assert catalog.published_files(FILM) == {"/library/Film.strm": "new"}

    @pytest_twisted.ensureDeferred
    async def test_two_videos_cannot_publish_the_same_file(self, catalog):
        """The second is refused, and the first keeps its file."""
        await begin(catalog)
        await begin(catalog, OTHER)
        await catalog.record_published_file(FILM, "/library/Film.strm", "ab")

        with pytest.raises(PublishConflict):
            await catalog.record_published_file(OTHER, "/library/Film.strm", "cd")
        await catalog.forget_published_file(OTHER, "/library/Film.strm")

        assert catalog.published_files(FILM) == {"/library/Film.strm": "ab"}

    # --- statistics ---

    @pytest_twisted.ensureDeferred
    async def test_stats_count_everything(self, catalog):
        """What ``db-stats`` shows."""
        await begin(catalog)
        await store_rendition(catalog, 1)
        await catalog.record_extra(FILM, 1, name=".en.srt", ref=make_ref(3, size_bytes=5))
        await catalog.publish_revision(FILM, 1)
        await begin(catalog, OTHER)
        await catalog.record_error(OTHER, 1, "no", None)
        await catalog.record_intent(make_label(0), bot_id=11, chat_id=-5)

        stats = catalog.stats()

        assert (stats.videos, dict(stats.videos_by_status)) == (2, {"active": 1, "error": 1})
        assert (stats.revisions, stats.renditions, stats.segments) == (2, 1, 12)
        assert (stats.documents, stats.stored_bytes) == (4, 12_005)
        assert (stats.deletions_owed, stats.intents_open) == (0, 1)
