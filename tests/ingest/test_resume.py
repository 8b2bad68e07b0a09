# SPDX-License-Identifier: MIT
"""Where a rendition goes on when ffmpeg makes other bytes than it did."""

from dataclasses import replace

import pytest

from tgsyncd.ingest.resume import Restart, choose_restart
from tgsyncd.model import (
    Container,
    Document,
    DocumentRef,
    IngestPlan,
    PackLimits,
    PlannedStream,
    RenditionKind,
    RenditionPlan,
    Segment,
    Treatment,
)


def plan(container=Container.MPEGTS, treatment=Treatment.TRANSCODE):
    stream = PlannedStream(
        index=0, kind="video", treatment=treatment, source_codec="mpeg2video", codec="h264"
    )
    main = RenditionPlan(name="main", kind=RenditionKind.MAIN, container=container, streams=(stream,))
    return IngestPlan(
        renditions=(main,),
        subtitles=(),
        left_out=(),
        segment_target_s=6.0,
        limits=PackLimits(),
        encoder="libx264",
        threads=2,
        ffmpeg_version="5.1",
    )


def segment(order):
    return Segment(
        order=order, offset=order * 100, size_bytes=100, start_s=order * 6.0, duration_s=6.0, sha256=""
    )


def document(number, offset, length):
    ref = DocumentRef(chat_id=0, message_id=0, file_unique_id="x", size_bytes=length, sha256="")
    return Document(
        document_id=number, number=number, offset=offset, length=length, ref=ref, uploaded_at_s=0.0
    )


SEGMENTS = [segment(order) for order in range(5)]


def test_a_transcode_goes_on_behind_the_last_segment_that_is_stored_whole():
    stored = [document(0, 0, 150), document(1, 150, 100)]

    assert choose_restart(plan(), SEGMENTS, stored, picture_start_s=0.0) == Restart(
        offset=200, segment_order=2, document_number=2, start_s=12.0
    )


def test_a_document_wholly_behind_the_restart_gives_its_number_back():
    stored = [document(0, 0, 200), document(1, 200, 50)]

    assert choose_restart(plan(), SEGMENTS, stored, picture_start_s=0.0) == Restart(
        offset=200, segment_order=2, document_number=1, start_s=12.0
    )


def test_a_gap_in_what_is_stored_ends_it():
    stored = [document(0, 0, 150), document(2, 250, 100)]

    assert choose_restart(plan(), SEGMENTS, stored, picture_start_s=0.0).offset == 100


def test_nothing_stored_means_from_the_start():
    assert choose_restart(plan(), SEGMENTS, [], picture_start_s=0.0) == Restart()


def test_a_copied_picture_is_cut_again_from_its_start():
    stored = [document(0, 0, 300)]

    assert choose_restart(plan(treatment=Treatment.COPY), SEGMENTS, stored, picture_start_s=0.0) == Restart()


def test_fmp4_is_cut_again_from_its_start():
    stored = [document(0, 0, 300)]

    assert choose_restart(plan(container=Container.FMP4), SEGMENTS, stored, picture_start_s=0.0) == Restart()


def test_the_seek_leaves_out_what_the_muxer_added_to_the_times():
    shifted = [replace(segment, start_s=segment.start_s + 0.08) for segment in SEGMENTS]

    restart = choose_restart(plan(), shifted, [document(0, 0, 100)], picture_start_s=0.0)

    assert restart.start_s == pytest.approx(6.08)
    assert restart.source_s == pytest.approx(6.0)
