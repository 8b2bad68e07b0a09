# SPDX-License-Identifier: MIT
"""
ffmpeg's and ffprobe's command lines, and what they say (PURE).

Safety, on every command line that opens a source file: ``file:`` before the absolute path (a name such as
``concat:a|b`` or ``-f`` is a name), ``-protocol_whitelist file``, and a ``-format_whitelist`` of containers
that hold media themselves. Without the latter a text file named ``film.mp4`` that begins with ``ffconcat``
or ``#EXTM3U`` makes ffmpeg read other files, also under ``-protocol_whitelist file``.

How the stream is written is explained in docs/architecture.md, "Cutting".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tgsyncd.formats.ffprobe import parse_probe
from tgsyncd.formats.languages import language_alpha3
from tgsyncd.model import (
    AudioStream,
    Container,
    IngestPlan,
    MediaProbe,
    PlannedStream,
    RenditionPlan,
    SubtitlePlan,
    Treatment,
    VideoStream,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = [
    "FORMAT_WHITELIST",
    "HARDWARE_ENCODERS",
    "EncoderSettings",
    "build_cover_argv",
    "build_cut_argv",
    "build_encoder_test_argv",
    "build_probe_argv",
    "build_still_argv",
    "build_subtitles_argv",
    "build_version_argv",
    "is_progress_line",
    "parse_probe",
    "parse_progress",
    "parse_version",
]

FORMAT_WHITELIST: Final = "matroska,mov,avi,mpegts,mpeg,flv,asf,ogg,rm,wtv,mxf,nut,dv,nsv,gxf,pva"
"""Demuxers whose media are in the file itself. Never concat, hls, dash, image2, sdp, lavfi and the like."""

HARDWARE_ENCODERS: Final = {
    "none": "libx264",
    "vaapi": "h264_vaapi",
    "qsv": "h264_qsv",
    "nvenc": "h264_nvenc",
}
"""The setting ``video.hardware`` → ffmpeg's encoder."""

KEY_FRAME_EVERY_S: Final = 2
"""Of a transcoded video: segments may start there, and a seek decodes at most this much in vain."""

MAX_ALLOC_BYTES: Final = 512 << 20
"""Of one allocation: more than any picture or index of a real film needs, less than a crafted header asks."""

LATE_STREAM_QUEUE_BYTES: Final = 256 << 20
"""Packets kept while a stream that is to be transcoded has not begun. ffmpeg's default is 50 MB, after which
it allows 128 packets and fails: too little for a film whose DTS audio starts a minute late."""


MAX_DECODER_THREADS: Final = 8

RESUME_EARLY_S: Final = 60.0
"""A resumed transcode enters the source so much earlier, and drops pictures after decoding them: entering
MPEG-PS, which has no index, lands up to some groups of pictures behind the place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """How a picture is encoded anew. Part of what decides the bytes."""

    preset: str = "veryfast"
    """Of libx264: medium takes three times as long for some 10 % fewer bytes."""
    quality: int = 21
    """CRF of libx264, and the constant quality of the hardware encoders."""
    vaapi_device: str = "/dev/dri/renderD128"


def build_version_argv() -> list[str]:
    """Return the command that tells ffmpeg's version on its first line (``parse_version``)."""
    return ["ffmpeg", "-hide_banner", "-nostdin", "-version"]


def build_probe_argv(path: str | Path) -> list[str]:
    """Return the command that describes a source file as JSON (``parse_probe``)."""
    return [
        *("ffprobe", "-hide_banner", "-v", "error", *_safe_input_options()),
        *("-print_format", "json", "-show_format", "-show_streams", "-show_chapters"),
        *("-i", _url(path)),
    ]


def build_cut_argv(
    path: str | Path,
    probe: MediaProbe,
    plan: IngestPlan,
    *,
    start_s: float | None = None,
    timestamp_offset_s: float = 0.0,
    settings: EncoderSettings | None = None,
) -> list[str]:
    """
    Return the one command that makes all renditions of a plan.

    Rendition 0 goes to file descriptor 1 of the child, the others to 3, 4, ... in order. All pipes must
    be read at the same time: ffmpeg stops at the one that is full. Progress goes to standard error
    (``parse_progress``).

    ``start_s`` resumes a transcode frame-accurately: the first picture written is the first one at or
    after so many seconds from the source's first timestamp, and it is a key frame. Timestamps are those of
    the source plus ``timestamp_offset_s``: what the first run added to them to make room for B-frames, which
    is its first picture's time less ``video.start_s - probe.start_s``.
    """
    settings = settings or EncoderSettings()
    argv = [*_ffmpeg(), "-progress", "pipe:2", "-stats_period", "1"]
    argv += _decoder_options(plan, settings)
    if start_s is not None:
        # A millisecond less, since a container may have rounded the timestamp that we aim at.
        start_s = max(0.0, start_s - 0.001)
        argv += ["-ss", f"{max(0.0, start_s - RESUME_EARLY_S):.6f}"]
    argv += [*_safe_input_options(), "-i", _url(path)]
    for number, rendition in enumerate(plan.renditions):
        argv += _rendition(probe, plan, rendition, settings)
        if start_s is not None:
            # Said outright: sound that is copied shall not begin where the input was entered.
            argv += ["-ss", f"{min(start_s, RESUME_EARLY_S):.6f}", "-copypriorss", "0"]
            argv += ["-output_ts_offset", f"{start_s + timestamp_offset_s:.6f}"]
        argv.append("pipe:1" if number == 0 else f"pipe:{number + 2}")
    return argv


def build_subtitles_argv(path: str | Path, subtitles: Sequence[SubtitlePlan]) -> list[str]:
    """
    Return the command that writes text subtitles as SubRip: the first to descriptor 1, others to 3, 4, ...

    All in one run: they are interleaved with the film, and each run reads all of it.
    """
    argv = [*_ffmpeg(), *_safe_input_options(), "-i", _url(path)]
    for number, subtitle in enumerate(subtitles):
        argv += ["-map", f"0:{subtitle.index}", "-map_metadata", "-1", "-map_chapters", "-1"]
        argv += ["-c:s", "srt", "-f", "srt", "pipe:1" if number == 0 else f"pipe:{number + 2}"]
    return argv


def build_still_argv(path: str | Path, at_s: float, *, max_width: int = 1280) -> list[str]:
    """Return the command that writes the picture at ``at_s`` seconds as JPEG with square pixels."""
    scale = rf"scale=w='trunc(min({max_width}\,iw*max(sar\,1))/2)*2':h='trunc(ow/dar/2)*2',setsar=1"
    return [
        *(*_ffmpeg(), "-ss", f"{at_s:.3f}", *_safe_input_options(), "-i", _url(path)),
        *("-map", "0:V:0", "-frames:v", "1", "-vf", scale, "-map_metadata", "-1"),
        *("-pix_fmt", "yuvj420p", "-strict", "unofficial", "-q:v", "4", "-f", "mjpeg", "pipe:1"),
    ]


def build_cover_argv(path: str | Path, index: int) -> list[str]:
    """Return the command that writes an attached picture as it is (JPEG or PNG) to standard output."""
    return [
        *(*_ffmpeg(), *_safe_input_options(), "-i", _url(path)),
        *("-map", f"0:{index}", "-frames:v", "1", "-c", "copy", "-f", "image2pipe", "pipe:1"),
    ]


def build_encoder_test_argv(encoder: str, settings: EncoderSettings | None = None) -> list[str]:
    """
    Return the command that encodes ten generated pictures: exit status 0 says that the encoder works.

    That ffmpeg lists an encoder says nothing about the machine. The only command with ``lavfi``; no file.
    """
    settings = settings or EncoderSettings()
    device = ["-vaapi_device", settings.vaapi_device] if encoder == "h264_vaapi" else []
    return [
        *(*_ffmpeg(), *device, "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"),
        *("-frames:v", "10", "-vf", _upload_filter(encoder)),
        *(*_encoder_options(encoder, 1, settings), "-f", "null", "-"),
    ]


# --- what ffmpeg says --------------------------------------------------------------------------------

_PROGRESS_KEYS: Final = re.compile(
    r"(frame|fps|stream_\d+_\d+_q|bitrate|total_size|out_time(_us|_ms)?|dup_frames|drop_frames"
    r"|speed|progress)=\s*\S*\s*"
)


def is_progress_line(line: str) -> bool:
    """Tell whether a line of standard error is one of ``-progress``."""
    return _PROGRESS_KEYS.fullmatch(line) is not None


def parse_progress(line: str) -> float | None:
    """Return the seconds of the output written so far, when the line tells them."""
    match = re.fullmatch(r"out_time_us=(-?\d+)", line.strip())
    return max(0.0, int(match[1]) / 1e6) if match else None


def parse_version(stdout: bytes) -> str:
    """Return the version from ``ffmpeg -version``, such as ``5.1.9-0+deb12u1``; empty when not there."""
    match = re.match(rb"ff(?:mpeg|probe) version (\S+)", stdout)
    return match[1].decode("ascii", "replace") if match else ""


# --- parts of a command line -------------------------------------------------------------------------


def _ffmpeg() -> list[str]:
    return ["ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-v", "level+warning"]


def _safe_input_options() -> list[str]:
    # Both programs must look equally far ahead: streams of MPEG-PS and TS are numbered as they are found.
    return [
        *("-max_alloc", str(MAX_ALLOC_BYTES)),
        *("-protocol_whitelist", "file", "-format_whitelist", FORMAT_WHITELIST),
        *("-analyzeduration", "30000000", "-probesize", "32000000"),
    ]


def _url(path: str | Path) -> str:
    return f"file:{path}"


def _decoder_options(plan: IngestPlan, settings: EncoderSettings) -> list[str]:
    if not plan.transcodes_video:
        return []
    device = ["-vaapi_device", settings.vaapi_device] if plan.encoder == "h264_vaapi" else []
    # ffmpeg would take one for each core, each with its own 2160p pictures: 32 of them do not fit into 4 GiB.
    return [*device, "-threads", str(min(plan.threads, MAX_DECODER_THREADS))]


def _rendition(
    probe: MediaProbe, plan: IngestPlan, rendition: RenditionPlan, settings: EncoderSettings
) -> list[str]:
    argv = [word for stream in rendition.streams for word in ("-map", f"0:{stream.index}")]
    # Chapters would become a text track in MP4. Languages and titles are named one by one below.
    argv += ["-sn", "-dn", "-map_chapters", "-1", "-map_metadata", "-1"]
    counts = {"video": 0, "audio": 0}
    for stream in rendition.streams:
        specifier = f"{stream.kind[0]}:{counts[stream.kind]}"
        counts[stream.kind] += 1
        argv += _stream(specifier, stream, probe, plan, settings)
        argv += _stream_metadata(specifier, stream)
    if any(stream.treatment is Treatment.TRANSCODE for stream in rendition.streams):
        argv += ["-max_muxing_queue_size", "1024"]
        argv += ["-muxing_queue_data_threshold", str(LATE_STREAM_QUEUE_BYTES)]
    return argv + _container(rendition)


def _container(rendition: RenditionPlan) -> list[str]:
    if rendition.container is Container.MPEGTS:
        # The muxer writes PAT and PMT before each key frame; without delays it starts at 0, not at 1.4 s.
        return ["-muxdelay", "0", "-muxpreload", "0", "-f", "mpegts"]
    hevc = any(s.codec == "hevc" for s in rendition.streams)
    return [
        # Apple's players take parameter sets from the sample description only, which "hvc1" promises.
        *(("-tag:v", "hvc1") if hevc else ()),
        # delay_moov: AC-3, E-AC-3 and FLAC need their first packet for the header, and audio that starts
        # late keeps its offset. frag_duration: memory stays flat in a group of pictures of 400 MB.
        *("-movflags", "+frag_keyframe+empty_moov+delay_moov+frag_discont+default_base_moof"),
        *("-frag_duration", "1000000", "-strict", "-2", "-f", "mp4"),
    ]


def _stream(
    specifier: str,
    stream: PlannedStream,
    probe: MediaProbe,
    plan: IngestPlan,
    settings: EncoderSettings,
) -> list[str]:
    if stream.treatment is Treatment.COPY:
        return [f"-c:{specifier}", "copy", *_copy_filter(specifier, stream, probe)]
    if stream.kind == "video":
        video = next(s for s in probe.video if s.index == stream.index)
        filters = [*_picture_filters(video), _upload_filter(plan.encoder)]
        return [
            *(f"-filter:{specifier}", ",".join(filters)),
            *_encoder_options(plan.encoder, plan.threads, settings),
        ]
    audio = next(s for s in probe.audio if s.index == stream.index)
    return _audio_options(specifier, stream, audio)


def _copy_filter(specifier: str, stream: PlannedStream, probe: MediaProbe) -> list[str]:
    if probe.format_name != "avi" or stream.kind != "video":
        return []
    # AVI knows decoding times only, and -fflags +genpts shifts H.264 by two frames. The plan copies H.264
    # from AVI where it has no B-frames: then a picture is shown when it is decoded.
    return [f"-bsf:{specifier}", "setts=pts=DTS"]


def _picture_filters(video: VideoStream) -> list[str]:
    filters = []
    if video.is_interlaced:
        filters.append("bwdif=mode=send_frame:parity=auto:deint=interlaced")
    if video.colour.is_hdr:
        filters.append(_tone_map(video))
    if video.width % 2 or video.height % 2:
        filters.append("scale=w=trunc(iw/2)*2:h=trunc(ih/2)*2")
    return filters


def _tone_map(video: VideoStream) -> str:
    """Return filters from PQ or HLG to what every screen shows. Needs ffmpeg with zimg, as Debian's has."""
    primaries = video.colour.primaries or "bt2020"
    matrix = video.colour.matrix or "bt2020nc"
    return (
        # What the container says and the pictures may not: zscale refuses what nobody has named.
        f"setparams=color_primaries={primaries}:color_trc={video.colour.transfer}:colorspace={matrix}"
        ",zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=0"
        ",zscale=t=bt709:m=bt709:r=tv"
    )


def _upload_filter(encoder: str) -> str:
    return {"h264_vaapi": "format=nv12,hwupload", "h264_qsv": "format=nv12"}.get(encoder, "format=yuv420p")


def _encoder_options(encoder: str, threads: int, settings: EncoderSettings) -> list[str]:
    quality = str(settings.quality)
    special = {
        # The bytes differ with the number of threads, which is why it is part of the plan. With a thread
        # for looking ahead they differ from run to run (1 of 20 with two threads); a resumed transcode
        # would meet other bytes than those it stored.
        "libx264": [
            *("-preset", settings.preset, "-crf", quality, "-sc_threshold", "0"),
            *("-threads:v", str(threads), "-x264-params", "sync-lookahead=0"),
        ],
        "h264_vaapi": ["-rc_mode", "CQP", "-qp", quality],
        "h264_qsv": ["-preset", "veryfast", "-global_quality", quality, "-forced_idr", "1"],
        "h264_nvenc": [
            *("-preset", "p4", "-rc", "vbr", "-cq", quality, "-b:v", "0"),
            *("-no-scenecut", "1", "-forced-idr", "1"),
        ],
    }
    return [
        *("-c:v", encoder, "-profile:v", "high", *special[encoder]),
        # A group of pictures never ends before the next forced key frame, at up to 120 frames a second.
        *("-g", "600", "-force_key_frames", f"expr:gte(t,n_forced*{KEY_FRAME_EVERY_S})"),
        *("-fps_mode", "vfr"),
    ]


def _audio_options(specifier: str, stream: PlannedStream, audio: AudioStream) -> list[str]:
    channels = stream.channels
    filters = [
        # Gaps in the source are filled with silence: otherwise all that follows would be early.
        "aresample=async=1",
        f"aformat=channel_layouts={_LAYOUTS.get(channels, '5.1')}",
    ]
    rate = audio.sample_rate if audio.sample_rate in _AAC_RATES else 48_000
    return [
        *(f"-filter:{specifier}", ",".join(filters)),
        *(f"-c:{specifier}", "aac", f"-ar:{specifier}", str(rate)),
        *(f"-b:{specifier}", str(_aac_bit_rate(channels))),
    ]


_LAYOUTS: Final = {1: "mono", 2: "stereo"}
_AAC_RATES: Final = frozenset({32_000, 44_100, 48_000})


def _aac_bit_rate(channels: int) -> int:
    """Return bits per second at which ffmpeg's AAC is hard to tell from its source."""
    return 96_000 * channels if channels <= 2 else 72_000 * channels


def _stream_metadata(specifier: str, stream: PlannedStream) -> list[str]:
    argv = []
    language = language_alpha3(stream.language)
    if language:
        argv += [f"-metadata:s:{specifier}", f"language={language}"]
    if stream.title:
        argv += [f"-metadata:s:{specifier}", f"title={stream.title}"]
    return argv
