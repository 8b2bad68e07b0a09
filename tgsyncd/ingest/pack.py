# SPDX-License-Identifier: MIT
"""
Decide where segments and documents of a stream end. Pure and deterministic.

The packer is told how far the stream has come and where it may be cut; it answers with marks (a segment
ends here, a document ends here), in the order of the stream, and with the offset up to which nothing
will change any more. Whoever moves the bytes can therefore write each of them once: of the document
that is being filled only the last ``max_waste`` of it is ever undecided (15 % of 19.9 MB: 3 MB).

The same stream gives the same marks, in whatever pieces it arrives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from tgsyncd.errors import ConfigError
from tgsyncd.model import CutPoint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tgsyncd.model import PackLimits

SMALLEST_DOCUMENT_BYTES = 64
"""Below this the sizes of filled documents could not differ."""

SIZE_STEPS = 16
SIZE_STEP_BYTES = 1021
"""Filled documents shrink by 0 to 15 steps in turn: the cloud throttles uploads of identical size. The
whole costs 0.04 % of a document on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEnd:
    """A segment is the bytes ``[start, offset)`` of the stream."""

    order: int
    start: int
    offset: int
    start_s: float
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentEnd:
    """A document is the bytes ``[start, offset)`` of the stream."""

    number: int
    start: int
    offset: int
    is_filled: bool
    """It was filled to its capacity, rather than ended with a segment or with the stream."""


class Packing(NamedTuple):
    """What is decided now: ends, by offset, and the offset below which all is decided."""

    marks: list[SegmentEnd | DocumentEnd]
    settled: int


class Packer:
    """
    Say where segments and documents end.

    Segments end at the cut nearest to ``segment_target_s``. With a target of None (``max``) each document
    ends one segment: at the document's last cut where that wastes little, else at the first cut behind
    the document, because a document is filled rather than left half empty.

    Documents end with the last segment that ends inside them when that leaves at most ``max_waste`` of
    them empty, else they are filled. The first ones are small and always filled.

    Raises
        ConfigError for limits that cannot be kept.
    """

    def __init__(
        self,
        limits: PackLimits,
        segment_target_s: float | None,
        *,
        first_document_number: int = 0,
        first_segment_order: int = 0,
        base_offset: int = 0,
    ) -> None:
        _check(limits)
        self._limits = limits
        self._target_s = segment_target_s
        self._settled = base_offset
        self._marks: list[SegmentEnd | DocumentEnd] = []

        self._document = first_document_number
        self._document_start = base_offset
        self._candidate: CutPoint | None = None
        self._capacity = self._capacity_after(0)

        self._order = first_segment_order
        self._segment_start: CutPoint | None = None
        self._last_cut: CutPoint | None = None
        self._owes_end = False

    @property
    def document(self) -> int:
        """The number of the document being filled."""
        return self._document

    @property
    def capacity(self) -> int:
        """The most bytes that the document being filled can get."""
        return self._capacity

    def feed(self, known: int, cuts: Iterable[CutPoint]) -> Packing:
        """
        Take cut points (by offset), and that none will come below ``known``.

        The first cut point is where the first segment starts; it may come late.
        """
        for cut in cuts:
            self._advance(cut.offset)
            self._cut(cut)
        self._advance(known)
        return self._answer(known)

    def finish(self, media_end: int, end_s: float, size: int) -> Packing:
        """Take the end of the stream: of its media in bytes and seconds, and of its last byte."""
        self._advance(media_end)
        start = self._segment_start
        if start is not None and media_end > start.offset:
            self._end_segment_at(media_end, end_s)
            self._segment_start = None
            self._note_candidate(CutPoint(offset=media_end, pts_s=end_s))
        self._advance(size)
        if size > self._document_start:
            self._end_document(size, is_filled=False)
        return self._answer(size)

    # --- segments ------------------------------------------------------------------------------------

    def _cut(self, cut: CutPoint) -> None:
        start, last = self._segment_start, self._last_cut
        self._last_cut = cut
        if start is None or last is None:
            self._segment_start = cut
            return
        # Time that stands still or runs backwards would make a segment of no or negative duration.
        if cut.pts_s <= start.pts_s or cut.offset <= start.offset:
            return
        if self._target_s is None:
            if self._owes_end:
                self._end_segment(cut)
            self._note_candidate(cut)
            return
        elapsed = cut.pts_s - start.pts_s
        following = elapsed + (cut.pts_s - last.pts_s)
        if abs(elapsed - self._target_s) <= abs(following - self._target_s):
            self._end_segment(cut)
            self._note_candidate(cut)

    def _end_segment(self, cut: CutPoint) -> None:
        self._end_segment_at(cut.offset, cut.pts_s)
        self._segment_start = cut
        self._owes_end = False

    def _end_segment_at(self, offset: int, end_s: float) -> None:
        start = self._segment_start
        assert start is not None
        self._marks.append(
            SegmentEnd(
                order=self._order,
                start=start.offset,
                offset=offset,
                start_s=start.pts_s,
                duration_s=end_s - start.pts_s,
            )
        )
        self._order += 1

    # --- documents -----------------------------------------------------------------------------------

    def _note_candidate(self, cut: CutPoint) -> None:
        if cut.offset - self._document_start >= self._least:
            self._candidate = cut

    def _advance(self, known: int) -> None:
        while known >= self._document_start + self._capacity:
            candidate = self._candidate
            if candidate is None:
                self._end_document(self._document_start + self._capacity, is_filled=True)
                self._owes_end = True
                continue
            start = self._segment_start
            if self._target_s is None and start is not None and candidate.offset > start.offset:
                self._end_segment(candidate)
            self._end_document(candidate.offset, is_filled=False)

    def _end_document(self, offset: int, *, is_filled: bool) -> None:
        self._marks.append(
            DocumentEnd(
                number=self._document,
                start=self._document_start,
                offset=offset,
                is_filled=is_filled,
            )
        )
        size = offset - self._document_start
        self._document += 1
        self._document_start = offset
        self._candidate = None
        self._capacity = self._capacity_after(size)

    def _capacity_after(self, previous_bytes: int) -> int:
        limits, number = self._limits, self._document
        firsts = limits.first_documents_bytes
        base = limits.document_max_bytes
        if number < len(firsts):
            base = min(base, firsts[number])
        step = min(SIZE_STEP_BYTES, base // (4 * SIZE_STEPS))
        capacity = base - number % SIZE_STEPS * step
        return capacity - 1 if capacity == previous_bytes else capacity

    @property
    def _least(self) -> int:
        """The least size at which the document being filled may end with a segment."""
        if self._document < len(self._limits.first_documents_bytes):
            return self._capacity
        return self._capacity - int(self._capacity * self._limits.max_waste)

    def _answer(self, known: int) -> Packing:
        sure = self._document_start + self._least
        if self._candidate is not None:
            sure = self._candidate.offset
        self._settled = max(self._settled, min(known, sure))
        marks, self._marks = self._marks, []
        return Packing(marks, self._settled)


def _check(limits: PackLimits) -> None:
    smallest = min((limits.document_max_bytes, *limits.first_documents_bytes))
    if smallest < SMALLEST_DOCUMENT_BYTES:
        raise ConfigError(
            f"A document of {smallest} bytes is too small; give {SMALLEST_DOCUMENT_BYTES} or more."
        )
    if not 0 <= limits.max_waste < 1:
        raise ConfigError(f"The share of a document left empty must be in [0, 1), not {limits.max_waste}.")
