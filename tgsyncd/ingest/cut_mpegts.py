# SPDX-License-Identifier: MIT
"""Find where segments of MPEG-TS may start. Sans-io; see ``cut``."""

from __future__ import annotations

import re
from collections import deque
from itertools import pairwise
from statistics import median_low
from typing import TYPE_CHECKING

from tgsyncd.formats import mpegts
from tgsyncd.ingest.cutter import StreamEnd, join_codecs, start_of
from tgsyncd.model import CutPoint

if TYPE_CHECKING:
    from collections.abc import Sequence

# The second byte of the packets in which a PES packet or a table begins.
_UNIT_START = re.compile(rb"[\x40-\x7f\xc0-\xff]")
_SNIFF_PACKETS = 64
_SNIFF_TRIES = 8


class _Timeline:
    """The presentation times of one elementary stream, in 1/90000 s."""

    def __init__(self, stream: mpegts.TsStream) -> None:
        self.stream = stream
        self.codec = ""
        self.tries = 0
        self.first: int | None = None
        self.last: int | None = None
        self.latest = 0
        # The last pictures in the order shown may be spread over a GOP's reordering, at most 16 frames.
        self._recent: deque[int] = deque(maxlen=32)

    def note(self, pts: int) -> None:
        self.last = pts
        if self.first is None:
            self.first = self.latest = pts
        elif pts < self.first:
            self.first = pts
        self.latest = max(self.latest, pts)
        self._recent.append(pts)

    @property
    def end(self) -> int:
        """End of the frame shown last, which lasts as long as most before it."""
        times = sorted(self._recent)
        gaps = [later - time for time, later in pairwise(times) if later > time]
        # A single frame says nothing of its length: a frame of 25 a second is within 40 ms of any.
        return self.latest + (median_low(gaps) if gaps else mpegts.PTS_HZ // 25)


class TsCutter:
    """
    Cut points of MPEG-TS: where PAT, PMT and the start of a key frame follow one another.

    ffmpeg writes the tables before each key frame (before each of successive ones only with
    ``-mpegts_flags +pat_pmt_at_frames``), so a segment that starts there can be played alone. Of a stream
    of sound alone, each place where the tables precede the first sound track will do.

    Only the packets in which something begins are looked at one by one; they are found by searching
    every 188th byte.
    """

    head_bytes = 0

    def __init__(self) -> None:
        self._carry = b""
        self._base = 0
        self._pmt_pid: int | None = None
        self._pmt = b""
        self._timelines: dict[int, _Timeline] = {}
        self._lead: _Timeline | None = None
        """The stream at whose frames segments start: the picture, else the first sound."""

        # The tables seen last, as long as nothing else has followed them: their start and their end.
        self._tables = -1
        self._tables_end = -1

        self._reference: int | None = None
        self._first_given = False
        self._key_pts: int | None = None
        self._key_frames = 0
        self._leads = False

    @property
    def known(self) -> int:
        return self._tables if self._tables_end == self._base else self._base

    def feed(self, data: bytes) -> Sequence[CutPoint]:
        if self._carry:
            data = self._carry + data
        packets = len(data) // mpegts.PACKET_BYTES
        whole = packets * mpegts.PACKET_BYTES
        if data[: whole : mpegts.PACKET_BYTES].count(mpegts.SYNC_BYTE) != packets:
            raise mpegts.not_mpegts(f"a packet near byte {self._base} has no sync byte")
        cuts: list[CutPoint] = []
        done = self._scan(data, whole, cuts)
        self._carry = data[done:]
        self._base += done
        return cuts

    def finish(self) -> StreamEnd:
        if self._carry:
            raise mpegts.not_mpegts(f"it breaks off inside a packet, at byte {self._base}")
        timelines = [line for line in self._timelines.values() if line.first is not None]
        if not timelines:
            raise mpegts.not_mpegts("it holds neither picture nor sound")
        video = next((line for line in timelines if line.stream.kind == "video"), None)
        start_s = self._start_s()
        return StreamEnd(
            size_bytes=self._base,
            media_end=self._base,
            start_s=start_s,
            end_s=max(line.end for line in timelines) / mpegts.PTS_HZ,
            video_end_s=video.end / mpegts.PTS_HZ if video else None,
            independent_segments=not self._leads,
            key_frames=self._key_frames,
            init_section=b"",
            codecs=join_codecs([line.codec for line in timelines]),
            width=0,
            height=0,
            late_cuts=() if self._first_given else (CutPoint(offset=0, pts_s=start_s),),
        )

    def _scan(self, data: bytes, whole: int, cuts: list[CutPoint]) -> int:
        """Look at the packets in which something begins; return how far: up to a table not yet whole."""
        timelines = self._timelines
        for match in _UNIT_START.finditer(data[1 : whole : mpegts.PACKET_BYTES]):
            at = match.start() * mpegts.PACKET_BYTES
            pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
            timeline = timelines.get(pid)
            if timeline is not None:
                self._take_frame(timeline, data, at, cuts)
            elif pid in {mpegts.PAT_PID, self._pmt_pid}:
                packets = mpegts.table_packets(data, at)
                if at + packets * mpegts.PACKET_BYTES > whole:
                    return at
                self._take_table(pid, data, at, packets)
        return whole

    def _take_table(self, pid: int, data: bytes, at: int, packets: int) -> None:
        here = self._base + at
        section = mpegts.join_section(data, at, packets)
        if pid == mpegts.PAT_PID:
            self._pmt_pid = mpegts.parse_pat(section)
            self._tables = here
        elif here != self._tables_end:
            return
        elif section != self._pmt:
            self._pmt = section
            self._take_programme(mpegts.parse_pmt(section))
        self._tables_end = here + packets * mpegts.PACKET_BYTES

    def _take_programme(self, streams: Sequence[mpegts.TsStream]) -> None:
        for stream in streams:
            if stream.kind != "other" and stream.pid not in self._timelines:
                self._timelines[stream.pid] = _Timeline(stream)
        lines = list(self._timelines.values())
        self._lead = next((line for line in lines if line.stream.kind == "video"), None)
        if self._lead is None and lines:
            self._lead = lines[0]

    def _take_frame(self, timeline: _Timeline, data: bytes, at: int, cuts: list[CutPoint]) -> None:
        start = mpegts.parse_pes_start(data, at)
        if start.pts is None:
            return
        near = timeline.last if timeline.last is not None else self._reference
        pts = mpegts.unwrap(start.pts, near)
        if self._reference is None:
            self._reference = pts
        is_first = timeline.first is None
        timeline.note(pts)
        if not timeline.codec and timeline.tries < _SNIFF_TRIES:
            self._sniff(timeline, start, data, at)
        if timeline is not self._lead:
            return
        is_video = timeline.stream.kind == "video"
        if is_video:
            self._take_picture(pts, is_key=start.is_key)
        # What comes before the first picture belongs to the first segment, at 0, which needs a picture.
        if not is_first and (start.is_key or not is_video):
            self._give_cut(self._base + at, pts, cuts)

    def _take_picture(self, pts: int, *, is_key: bool) -> None:
        if is_key:
            self._key_pts = pts
            self._key_frames += 1
        elif self._key_pts is not None and pts < self._key_pts:
            self._leads = True

    def _give_cut(self, here: int, pts: int, cuts: list[CutPoint]) -> None:
        if here != self._tables_end:
            return
        if not self._first_given:
            # Given with the second: by now every stream that starts with the first picture has begun.
            self._first_given = True
            cuts.append(CutPoint(offset=0, pts_s=self._start_s()))
        cuts.append(CutPoint(offset=self._tables, pts_s=pts / mpegts.PTS_HZ))

    def _start_s(self) -> float:
        starts = [
            (line.stream.kind, line.first / mpegts.PTS_HZ)
            for line in self._timelines.values()
            if line.first is not None
        ]
        video_s = next((start_s for kind, start_s in starts if kind == "video"), None)
        return start_of(video_s, [start_s for _, start_s in starts])

    def _sniff(self, timeline: _Timeline, start: mpegts.PesStart, data: bytes, at: int) -> None:
        if timeline.stream.kind == "video" and not start.is_key:
            return
        timeline.tries += 1
        frame = mpegts.elementary_bytes(data, timeline.stream.pid, start, at, _SNIFF_PACKETS)
        timeline.codec = mpegts.codec_string(timeline.stream, frame)
