# SPDX-License-Identifier: MIT
"""Find where segments of fragmented MP4 may start. Sans-io; see ``cut``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgsyncd.formats import fmp4
from tgsyncd.ingest.cutter import StreamEnd, join_codecs, start_of
from tgsyncd.model import CutPoint

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_INIT_BYTES = 4 << 20
"""ffmpeg's initialization sections have 1 to 20 KB; what is larger is none."""

MAX_MOOF_BYTES = 16 << 20
"""A second of 1,000 frames has a moof of 16 KB; without a duration limit, an hour of one GOP has 5 MB."""


# Boxes that introduce the fragment behind them (8.16); ffmpeg writes none with our flags.
_INTRODUCTIONS = frozenset({b"styp", b"sidx", b"ssix", b"prft", b"emsg"})


class Fmp4Cutter:
    """
    Cut points of fragmented MP4: the ``moof`` boxes whose first picture is a sync sample.

    With ``-frag_duration`` a GOP is several fragments, so not every one is a cut point. Of a stream of
    sound alone, each is. The index at the end (``mfra``) is part of the stream and of no segment: its
    offsets are those of the whole stream.
    """

    def __init__(self) -> None:
        self._pending = b""
        self._at = 0
        """Offset of the first byte not yet looked at: that of ``_pending``, or behind a box being skipped."""
        self._skip = 0
        self._init = b""
        self._introduction: int | None = None
        self._trailer: int | None = None
        self._tracks: dict[int, fmp4.Track] = {}
        self._video: fmp4.Track | None = None
        self._runs = 0
        self._starts: dict[int, float] = {}
        self._ends: dict[int, float] = {}
        self._key_s: float | None = None
        self._key_frames = 0
        self._leads = False

    @property
    def head_bytes(self) -> int:
        return len(self._init)

    @property
    def known(self) -> int:
        if not self._tracks:
            return 0
        if self._trailer is not None:
            return self._trailer
        return self._introduction if self._introduction is not None else self._at - self._skip

    def feed(self, data: bytes) -> Sequence[CutPoint]:
        if self._skip >= len(data):
            self._skip -= len(data)
            return ()
        cuts: list[CutPoint] = []
        position = self._skip
        base = self._at - self._skip
        self._skip = 0
        if self._pending:
            data = self._pending + data
            self._pending = b""
        while position < len(data):
            size = self._take_box(data, position, base + position, cuts)
            if size == 0:
                self._pending = data[position:]
                break
            position += size
        self._at = base + position
        self._skip = max(0, position - len(data))
        return cuts

    def finish(self) -> StreamEnd:
        if self._pending or self._skip:
            raise fmp4.not_fmp4(f"it breaks off inside a box, at byte {self._at}")
        if not self._ends:
            raise fmp4.not_fmp4("it holds neither picture nor sound")
        video = self._video
        video_id = video.track_id if video else -1
        sound = [start for track, start in self._starts.items() if track != video_id]
        return StreamEnd(
            size_bytes=self._at,
            media_end=self._at if self._trailer is None else self._trailer,
            start_s=start_of(self._starts.get(video_id), sound),
            end_s=max(self._ends.values()),
            video_end_s=self._ends.get(video_id),
            independent_segments=not self._leads,
            key_frames=self._key_frames,
            init_section=self._init,
            codecs=join_codecs([track.codec for track in self._tracks.values()]),
            width=video.width if video else 0,
            height=video.height if video else 0,
        )

    def _take_box(self, data: bytes, at: int, here: int, cuts: list[CutPoint]) -> int:
        """Take the box at ``data[at]``; return its size, 0 while more of it is needed."""
        header = fmp4.box_header(data, at)
        if header is None:
            return 0
        kind, _, size = header
        if size == 0:
            raise fmp4.not_fmp4("a box has no length")
        if kind == b"moof":
            return self._take_moof(data, at, here, size, cuts)
        if not self._tracks:
            return self._take_init(data, at, kind, size)
        if kind == b"mfra":
            self._trailer = here
        if kind not in _INTRODUCTIONS:
            self._introduction = None
        elif self._introduction is None:
            self._introduction = here
        return size

    def _take_init(self, data: bytes, at: int, kind: bytes, size: int) -> int:
        if kind == b"mdat" or len(self._init) + size > MAX_INIT_BYTES:
            raise fmp4.not_fmp4("it has no initialization section")
        if at + size > len(data):
            return 0
        self._init += data[at : at + size]
        return size

    def _take_moof(self, data: bytes, at: int, here: int, size: int, cuts: list[CutPoint]) -> int:
        if size > MAX_MOOF_BYTES:
            raise fmp4.not_fmp4(f"a fragment's header has {size} bytes")
        if at + size > len(data):
            return 0
        if not self._tracks:
            self._tracks = {track.track_id: track for track in fmp4.parse_init(self._init)}
            videos = (track for track in self._tracks.values() if track.kind == "video")
            self._video = next(videos, None)
        runs = fmp4.parse_moof(data, at, size, self._tracks)
        start = self._introduction if self._introduction is not None else here
        self._introduction = None
        self._take_runs(start, runs, cuts)
        return size

    def _take_runs(self, offset: int, runs: Sequence[fmp4.Run], cuts: list[CutPoint]) -> None:
        is_first, had_video = not self._runs, self._has_begun(self._video)
        self._runs += len(runs)
        for run in runs:
            track = run.track.track_id
            self._starts.setdefault(track, max(run.least_s, run.track.delay_s))
            self._ends[track] = max(run.end_s, self._ends.get(track, run.end_s))
        if is_first and runs:
            video_s = self._starts.get(self._video.track_id) if self._video else None
            cuts.append(CutPoint(offset=offset, pts_s=start_of(video_s, list(self._starts.values()))))
        for run in runs:
            if run.track is self._video:
                self._take_pictures(run)
                # As in MPEG-TS: what comes before the first picture belongs to the first segment.
                if run.starts_with_sync and had_video:
                    cuts.append(CutPoint(offset=offset, pts_s=run.start_s))
        if self._video is None and runs and not is_first:
            cuts.append(CutPoint(offset=offset, pts_s=runs[0].start_s))

    def _has_begun(self, track: fmp4.Track | None) -> bool:
        return track is not None and track.track_id in self._starts

    def _take_pictures(self, run: fmp4.Run) -> None:
        self._key_frames += run.syncs
        behind_key = self._key_s is not None and not run.starts_with_sync
        if run.leads or (behind_key and self._key_s is not None and run.least_s < self._key_s):
            self._leads = True
        if run.last_sync_s is not None:
            self._key_s = run.last_sync_s
