# SPDX-License-Identifier: MIT
"""
Fragmented MP4 as ffmpeg writes it: boxes, tracks, fragments. Pure: bytes in, values out.

Source: ISO/IEC 14496-12 (section numbers at the functions). Codec strings are in ``mp4codecs``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, NamedTuple

from tgsyncd.errors import FfmpegError
from tgsyncd.formats.mp4codecs import codec_string

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NON_SYNC = 0x0001_0000
"""sample_is_non_sync_sample (8.8.3.1)."""

MAX_SAMPLES = 1 << 20
"""In one run: ffmpeg's are a second long, and sound has at most 384,000 samples in one."""

VISUAL_ENTRY_BYTES = 78
AUDIO_ENTRY_BYTES = 28


def not_fmp4(what: str) -> FfmpegError:
    """Return the error for bytes that ffmpeg should not have written."""
    return FfmpegError(
        f"What ffmpeg wrote is no whole fragmented MP4: {what}.",
        hint="the source file may be damaged; see ffmpeg's own messages",
    )


class Box(NamedTuple):
    """A box inside bytes that are at hand: its type and where its body is."""

    kind: bytes
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One track of the initialization section."""

    track_id: int
    kind: str
    """``video``, ``audio`` or ``other``."""
    timescale: int
    shift_s: float
    """What the edit list adds to media time to give presentation time."""
    delay_s: float
    """When its presentation starts: what is before is cut off (priming of an encoder)."""
    codec: str
    width: int
    height: int
    default_duration: int = 0
    default_flags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one fragment holds of one track, in presentation time."""

    track: Track
    start_s: float
    """Presentation time of the first sample in decoding order."""
    least_s: float
    """Presentation time of the sample shown first."""
    end_s: float
    """End of the sample shown last."""
    starts_with_sync: bool
    leads: bool
    """A sample is shown before a sync sample that precedes it: an open GOP."""
    syncs: int
    last_sync_s: float | None


def box_header(data: bytes, at: int) -> tuple[bytes, int, int] | None:
    """
    Return type, length of the header and length of the whole box at ``at``; None when more is needed.

    A length of 0 ("to the end of the file", 4.2) is returned as it is.
    """
    if at + 8 > len(data):
        return None
    size, kind = struct.unpack_from(">I4s", data, at)
    if size != 1:
        if 0 < size < 8:
            raise not_fmp4("a box is shorter than its header")
        return kind, 8, size
    if at + 16 > len(data):
        return None
    large = struct.unpack_from(">Q", data, at + 8)[0]
    if large < 16:
        raise not_fmp4("a box is shorter than its header")
    return kind, 16, large


def boxes(data: bytes, start: int, stop: int) -> Iterator[Box]:
    """Yield the boxes in ``data[start:stop]``, which must be whole."""
    while start < stop:
        header = box_header(data, start)
        if header is None or header[2] == 0 or start + header[2] > stop:
            raise not_fmp4("a box is longer than what it is in")
        kind, head, size = header
        yield Box(kind, start + head, start + size)
        start += size


def parse_init(data: bytes) -> tuple[Track, ...]:
    """
    Return the tracks of an initialization section.

    Raises
        FfmpegError when it holds no movie box, or a damaged one.
    """
    try:
        return _parse_init(data)
    except (struct.error, IndexError, StopIteration, ZeroDivisionError) as error:
        raise not_fmp4("its initialization section is damaged") from error


def parse_moof(data: bytes, at: int, size: int, tracks: Mapping[int, Track]) -> tuple[Run, ...]:
    """
    Return what the movie fragment box ``data[at:at + size]`` holds, one run a track (8.8.4).

    Raises
        FfmpegError when it is damaged.
    """
    try:
        return tuple(
            run
            for box in boxes(data, at + 8, at + size)
            if box.kind == b"traf" and (run := _parse_traf(data, box, tracks)) is not None
        )
    except (struct.error, IndexError) as error:
        raise not_fmp4("a fragment is damaged") from error


# --- initialization section --------------------------------------------------------------------------


def _find(data: bytes, parent: Box, *path: bytes) -> Box | None:
    for kind in path:
        found = next((box for box in boxes(data, parent.start, parent.stop) if box.kind == kind), None)
        if found is None:
            return None
        parent = found
    return parent


def _parse_init(data: bytes) -> tuple[Track, ...]:
    moov = _find(data, Box(b"", 0, len(data)), b"moov")
    if moov is None:
        raise not_fmp4("it has no movie box before its first fragment")
    mvhd = next(box for box in boxes(data, moov.start, moov.stop) if box.kind == b"mvhd")
    timescale = struct.unpack_from(">I", data, mvhd.start + (20 if data[mvhd.start] else 12))[0]
    defaults = _parse_trex(data, moov)
    return tuple(
        _parse_trak(data, box, timescale, defaults)
        for box in boxes(data, moov.start, moov.stop)
        if box.kind == b"trak"
    )


def _parse_trex(data: bytes, moov: Box) -> dict[int, tuple[int, int]]:
    """Return default duration and flags by track (8.8.3)."""
    mvex = _find(data, moov, b"mvex")
    if mvex is None:
        raise not_fmp4("it is not fragmented")
    defaults = {}
    for box in boxes(data, mvex.start, mvex.stop):
        if box.kind == b"trex":
            track_id, _, duration, _, flags = struct.unpack_from(">5I", data, box.start + 4)
            defaults[track_id] = (duration, flags)
    return defaults


def _parse_trak(
    data: bytes, trak: Box, movie_timescale: int, defaults: Mapping[int, tuple[int, int]]
) -> Track:
    tkhd, mdhd = _find(data, trak, b"tkhd"), _find(data, trak, b"mdia", b"mdhd")
    hdlr = _find(data, trak, b"mdia", b"hdlr")
    stsd = _find(data, trak, b"mdia", b"minf", b"stbl", b"stsd")
    if tkhd is None or mdhd is None or hdlr is None or stsd is None:
        raise not_fmp4("a track lacks its headers")
    track_id = struct.unpack_from(">I", data, tkhd.start + (20 if data[tkhd.start] else 12))[0]
    timescale = struct.unpack_from(">I", data, mdhd.start + (20 if data[mdhd.start] else 12))[0]
    handler = data[hdlr.start + 8 : hdlr.start + 12]
    kind = {b"vide": "video", b"soun": "audio"}.get(handler, "other")
    codec, width, height = _parse_entry(data, stsd, kind)
    duration, flags = defaults.get(track_id, (0, 0))
    delay_s, skip_s = _parse_edits(data, trak, movie_timescale, timescale)
    return Track(
        track_id=track_id,
        kind=kind,
        timescale=timescale,
        shift_s=delay_s - skip_s,
        delay_s=delay_s,
        codec=codec,
        width=width,
        height=height,
        default_duration=duration,
        default_flags=flags,
    )


def _parse_entry(data: bytes, stsd: Box, kind: str) -> tuple[str, int, int]:
    """Return codec string and picture size of the first sample entry (8.5.2)."""
    entry = next(boxes(data, stsd.start + 8, stsd.stop))
    if kind == "other":
        return "", 0, 0
    fixed = VISUAL_ENTRY_BYTES if kind == "video" else AUDIO_ENTRY_BYTES
    width, height = struct.unpack_from(">2H", data, entry.start + 24) if kind == "video" else (0, 0)
    children = {box.kind: data[box.start : box.stop] for box in boxes(data, entry.start + fixed, entry.stop)}
    return codec_string(entry.kind, children), width, height


def _parse_edits(data: bytes, trak: Box, movie_timescale: int, timescale: int) -> tuple[float, float]:
    """Return by how much an edit list delays, and how much media it leaves out, in seconds (8.6.6)."""
    elst = _find(data, trak, b"edts", b"elst")
    if elst is None:
        return 0.0, 0.0
    form = struct.Struct(">QqI" if data[elst.start] else ">IiI")
    count = struct.unpack_from(">I", data, elst.start + 4)[0]
    delay_s = 0.0
    for number in range(count):
        length, media_time, _ = form.unpack_from(data, elst.start + 8 + number * form.size)
        if media_time >= 0:
            return delay_s, media_time / timescale
        delay_s += length / movie_timescale
    return delay_s, 0.0


# --- fragments ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Traf:
    """What is gathered of one track's fragment, in units of its timescale."""

    duration: int
    flags: int
    at: int = 0
    first: int | None = None
    least: int = 0
    end: int = 0
    starts_with_sync: bool = False
    leads: bool = False
    syncs: int = 0
    sync_time: int | None = None


def _parse_traf(data: bytes, traf: Box, tracks: Mapping[int, Track]) -> Run | None:
    """Return the run of one traf (8.8.6), None for one without samples or of an unknown track."""
    state, track = _Traf(0, 0), None
    for box in boxes(data, traf.start, traf.stop):
        if box.kind == b"tfhd":
            track = _parse_tfhd(data, box, tracks, state)
        elif box.kind == b"tfdt":
            # ffmpeg writes a start before 0 (priming) as a negative number.
            state.at = struct.unpack_from(">q" if data[box.start] else ">I", data, box.start + 4)[0]
        elif box.kind == b"trun":
            _parse_trun(data, box, state)
    if track is None or state.first is None:
        return None
    return Run(
        track=track,
        start_s=state.first / track.timescale + track.shift_s,
        least_s=state.least / track.timescale + track.shift_s,
        end_s=state.end / track.timescale + track.shift_s,
        starts_with_sync=state.starts_with_sync,
        leads=state.leads,
        syncs=state.syncs,
        last_sync_s=None if state.sync_time is None else state.sync_time / track.timescale + track.shift_s,
    )


def _parse_tfhd(data: bytes, box: Box, tracks: Mapping[int, Track], state: _Traf) -> Track | None:
    """Take the fragment's defaults (8.8.7)."""
    present, track_id = struct.unpack_from(">2I", data, box.start)
    track = tracks.get(track_id)
    if track is None:
        return None
    state.duration, state.flags = track.default_duration, track.default_flags
    at = box.start + 8 + (8 if present & 0x01 else 0) + (4 if present & 0x02 else 0)
    if present & 0x08:
        state.duration = struct.unpack_from(">I", data, at)[0]
        at += 4
    at += 4 if present & 0x10 else 0
    if present & 0x20:
        state.flags = struct.unpack_from(">I", data, at)[0]
    return track


def _parse_trun(data: bytes, box: Box, state: _Traf) -> None:
    """Take the samples of one track run (8.8.8)."""
    present, count = struct.unpack_from(">2I", data, box.start)
    at = box.start + 8 + (4 if present & 0x01 else 0)
    first_flags = None
    if present & 0x04:
        first_flags = struct.unpack_from(">I", data, at)[0]
        at += 4
    fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if present & bit]
    if not count:
        return
    if count > MAX_SAMPLES or at + 4 * len(fields) * count > box.stop:
        raise not_fmp4("a run of samples is cut short")
    words = struct.unpack_from(f">{len(fields) * count}I", data, at)
    columns = {bit: words[number :: len(fields)] for number, bit in enumerate(fields)}
    durations = columns.get(0x100, (state.duration,) * count)
    flags = list(columns.get(0x400, (state.flags,) * count))
    if first_flags is not None:
        flags[0] = first_flags
    # Version 0 of the box has unsigned offsets, which never reach 2**31 in practice.
    offsets = [v - (1 << 32) if v >> 31 else v for v in columns.get(0x800, (0,) * count)]
    _take_samples(state, durations, offsets, flags)


def _take_samples(
    state: _Traf, durations: Sequence[int], offsets: Sequence[int], flags: Sequence[int]
) -> None:
    decode = list(accumulate(durations, initial=state.at))
    shown = list(map(add, decode, offsets))
    if state.first is None:
        state.first = state.least = shown[0]
        state.starts_with_sync = not flags[0] & NON_SYNC
    state.at = decode[-1]
    state.least = min(state.least, *shown)
    state.end = max(state.end, *map(add, shown, durations))
    for time, flag in zip(shown, flags, strict=True):
        if not flag & NON_SYNC:
            state.sync_time = time
            state.syncs += 1
        elif state.sync_time is not None and time < state.sync_time:
            state.leads = True
