# SPDX-License-Identifier: MIT
"""
The packer's laws, on streams of a few hundred bytes: sizes are scaled down, the rules are the same.

All laws are checked on the same 10,000 examples: most of the time goes into making them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgsyncd.errors import ConfigError
from tgsyncd.ingest.pack import DocumentEnd, Packer, SegmentEnd
from tgsyncd.model import CutPoint, PackLimits

EXAMPLES = settings(max_examples=10_000, deadline=None)


@dataclass(frozen=True)
class Stream:
    """A stream as the packer sees it, and in which pieces it comes."""

    limits: PackLimits
    target_s: float | None
    cuts: tuple[CutPoint, ...]
    media_end: int
    end_s: float
    size: int
    pieces: tuple[int, ...]
    first_comes_late: bool


@st.composite
def streams(draw) -> Stream:
    most = draw(st.integers(64, 400))
    limits = PackLimits(
        document_max_bytes=most,
        first_documents_bytes=tuple(draw(st.lists(st.integers(64, 500), max_size=2))),
        max_waste=draw(st.sampled_from([0.0, 0.15, 0.15, 0.5])),
    )
    gaps = draw(
        st.lists(
            st.tuples(
                st.integers(1, 300),
                # Time may stand still or run backwards where a source is damaged.
                st.sampled_from([0.04, 1.0, 2.0, 2.0, 5.0, 9.5, 0.0, -1.0]),
            ),
            min_size=1,
            max_size=25,
        )
    )
    offset, at_s = draw(st.integers(0, 30)), draw(st.sampled_from([0.0, 0.083, 5.0]))
    cuts, latest_s = [CutPoint(offset=offset, pts_s=at_s)], at_s
    for size, gap_s in gaps[:-1]:
        offset, at_s = offset + size, at_s + gap_s
        latest_s = max(latest_s, at_s)
        cuts.append(CutPoint(offset=offset, pts_s=at_s))
    media_end = offset + gaps[-1][0]
    size = media_end + draw(st.sampled_from([0, 0, 1, 50, 500]))
    return Stream(
        limits=limits,
        target_s=draw(st.sampled_from([None, 0.5, 6.0, 6.0, 20.0])),
        cuts=tuple(cuts),
        media_end=media_end,
        end_s=latest_s + 0.04,
        size=size,
        pieces=tuple(draw(st.lists(st.integers(1, 200), max_size=40))),
        first_comes_late=draw(st.booleans()),
    )


def pack(stream: Stream, pieces: tuple[int, ...], *, first_comes_late: bool = False):
    """Feed the stream in pieces; return all marks. What holds at every step is asserted here."""
    packer = Packer(stream.limits, stream.target_s)
    waiting = list(stream.cuts)
    marks, known, settled = [], 0, 0
    for piece in (*pieces, stream.media_end):
        known = min(known + piece, stream.media_end)
        ready = [cut for cut in waiting if cut.offset < known]
        if first_comes_late and len(ready) < 2 and len(waiting) == len(stream.cuts):
            ready = [] if known < stream.media_end else ready
        waiting = waiting[len(ready) :]
        packing = packer.feed(known, ready)
        assert settled <= packing.settled <= known
        assert all(mark.offset <= packing.settled for mark in packing.marks)
        # What a pump has to hold in memory.
        assert known - packing.settled <= stream.limits.max_waste * stream.limits.document_max_bytes
        settled = packing.settled
        marks += packing.marks
    assert not waiting
    packing = packer.finish(stream.media_end, stream.end_s, stream.size)
    assert packing.settled == stream.size
    marks += packing.marks
    assert [mark.offset for mark in marks] == sorted(mark.offset for mark in marks)
    documents = [mark for mark in marks if isinstance(mark, DocumentEnd)]
    segments = [mark for mark in marks if isinstance(mark, SegmentEnd)]
    return documents, segments


def check_that_nothing_is_missing_or_twice(stream, documents, segments):
    """Documents cover every byte; segments every byte from the first cut to the end of the media."""
    assert documents[0].start == 0
    assert documents[-1].offset == stream.size
    assert all(a.offset == b.start for a, b in pairwise(documents))
    assert [document.number for document in documents] == list(range(len(documents)))
    assert segments[0].start == stream.cuts[0].offset
    assert segments[-1].offset == stream.media_end
    assert all(a.offset == b.start for a, b in pairwise(segments))
    assert [segment.order for segment in segments] == list(range(len(segments)))
    assert {segment.start for segment in segments} <= {cut.offset for cut in stream.cuts}


def check_durations(stream, segments):
    """The sum of durations is end minus first start; no segment lasts no time."""
    assert all(segment.duration_s > 0 for segment in segments)
    total = sum(segment.duration_s for segment in segments)
    assert total == pytest.approx(stream.end_s - stream.cuts[0].pts_s, abs=1e-6)
    assert all(a.start_s + a.duration_s == pytest.approx(b.start_s) for a, b in pairwise(segments))


def check_sizes(stream, documents):
    """No document is empty or too large, the first ones are as small as asked, sizes vary."""
    limits = stream.limits
    sizes = [document.offset - document.start for document in documents]
    assert all(0 < size <= limits.document_max_bytes for size in sizes)
    for size, most in zip(sizes, limits.first_documents_bytes, strict=False):
        assert size <= most
    for document, most in zip(documents[:-1], limits.first_documents_bytes, strict=False):
        assert document.is_filled
        assert document.offset - document.start >= min(most, limits.document_max_bytes) * 3 // 4
    for one, other in pairwise(documents):
        if one.is_filled and other.is_filled:
            assert one.offset - one.start != other.offset - other.start


def check_waste(stream, documents, segments):
    """The waste rule, in both directions."""
    limits = stream.limits
    ends = {segment.offset for segment in segments}
    for document in documents[len(limits.first_documents_bytes) : -1]:
        size = document.offset - document.start
        if document.is_filled:
            least = size - int(size * limits.max_waste)
            assert not any(document.start + least <= end < document.offset for end in ends)
        else:
            # Up to a quarter of so small a document may go for unequal sizes.
            assert size >= (1 - limits.max_waste) * limits.document_max_bytes * 3 // 4 - 1
            assert document.offset in ends


def check_pieces(stream, documents, segments):
    """Any chunking gives the same ends, also when the first cut point comes with the second."""
    assert (documents, segments) == pack(stream, ())


def check_max(stream, documents, segments):
    """``segments.duration: max``: between two ends of segments a document ends."""
    if stream.target_s is not None:
        return
    ends = [document.offset for document in documents]
    for one, other in pairwise(segments[:-1]):
        assert any(one.offset < end <= other.offset for end in ends)


@EXAMPLES
@given(streams())
def test_the_laws_of_packing_hold_for_any_stream(stream):
    """Covered without gap or overlap, within all limits, wasting little, the same however it comes."""
    documents, segments = pack(stream, stream.pieces, first_comes_late=stream.first_comes_late)
    check_that_nothing_is_missing_or_twice(stream, documents, segments)
    check_durations(stream, segments)
    check_sizes(stream, documents)
    check_waste(stream, documents, segments)
    check_max(stream, documents, segments)
    check_pieces(stream, documents, segments)


def regular(gop_bytes: int, gop_s: float, gops: int) -> tuple[CutPoint, ...]:
    return tuple(CutPoint(offset=n * gop_bytes, pts_s=n * gop_s) for n in range(gops))


def run(limits: PackLimits, target_s: float | None, cuts: tuple[CutPoint, ...], size: int, end_s: float):
    stream = Stream(limits, target_s, cuts, size, end_s, size, (), first_comes_late=False)
    return pack(stream, (1_000_000,) * (size // 1_000_000))


def test_segments_end_at_the_cut_nearest_to_the_target():
    """GOPs of 2.5 s and a target of 6 s: 5 s (off by 1) is nearer than 7.5 s (off by 1.5)."""
    _, segments = run(PackLimits(), 6.0, regular(1000, 2.5, 8), 8000, 20.0)
    assert [segment.duration_s for segment in segments] == [5.0, 5.0, 5.0, 5.0]


def test_a_film_is_stored_in_small_first_documents_and_then_in_nearly_full_ones():
    """8 Mbit/s, 2 s GOPs, 6 s segments of 6 MB, limits as they are by default."""
    documents, segments = run(PackLimits(), 6.0, regular(2_000_000, 2.0, 60), 120_000_000, 120.0)
    assert len(segments) == 20
    sizes = [document.offset - document.start for document in documents]
    assert sizes[0] == 4_000_000
    assert sizes[1] == 8_000_000 - 1021
    assert all(16_915_000 <= size <= 19_900_000 for size in sizes[2:-1])
    # 12 MB are gone for the first two; then 18 MB a document: three whole segments.
    assert [document.is_filled for document in documents[:4]] == [True, True, False, False]


def test_a_gop_larger_than_documents_goes_on_in_the_next():
    """One key frame in 100 MB: one segment, documents all filled."""
    documents, segments = run(PackLimits(), 6.0, regular(0, 0.0, 1), 100_000_000, 600.0)
    assert [(segment.start, segment.offset, segment.duration_s) for segment in segments] == [
        (0, 100_000_000, 600.0)
    ]
    assert all(document.is_filled for document in documents[:-1])
    assert len(documents) == 7


def test_max_ends_documents_and_segments_together_where_it_can():
    """``max``, GOPs of 2 MB: documents of 18 MB (9 GOPs), each one segment."""
    limits = PackLimits(first_documents_bytes=())
    documents, segments = run(limits, None, regular(2_000_000, 2.0, 27), 54_000_000, 54.0)
    assert [document.offset for document in documents] == [segment.offset for segment in segments]
    assert [segment.duration_s for segment in segments] == [18.0, 18.0, 18.0]


def test_a_second_run_goes_on_where_the_first_one_ended():
    """Numbers, orders and offsets continue."""
    packer = Packer(PackLimits(), 6.0, first_document_number=5, first_segment_order=9, base_offset=1000)
    packer.feed(1500, [CutPoint(offset=1000, pts_s=50.0)])
    segment, document = packer.finish(2000, 56.0, 2000).marks
    assert segment == SegmentEnd(order=9, start=1000, offset=2000, start_s=50.0, duration_s=6.0)
    assert document == DocumentEnd(number=5, start=1000, offset=2000, is_filled=False)


@pytest.mark.parametrize(
    "limits",
    [
        PackLimits(document_max_bytes=10),
        PackLimits(first_documents_bytes=(1,)),
        PackLimits(max_waste=1.0),
        PackLimits(max_waste=-0.1),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(limits):
    """Before a byte is cut."""
    with pytest.raises(ConfigError):
        Packer(limits, 6.0)
