# SPDX-License-Identifier: MIT
"""
The media matrix: small real files of every kind that an owner may have, made once by ffmpeg and cached.

``CLIPS`` says for each what must come of it; ``make_clip(name, cache_dir)`` returns its path. A clip's key
is the hash of how it is made and of ffmpeg's version, so that a changed recipe makes a new file.
``BIG_CLIPS`` (some 30 MB and 400 MB) are made the same way, but are not part of the matrix.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tgsyncd.errors import NotAVideo, SourceDamaged, SourceUnreadable, TgsyncdError
from tgsyncd.model import Container

TS = Container.MPEGTS
FMP4 = Container.FMP4


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """How a clip is made, and what must come of it."""

    filename: str
    steps: tuple[tuple[str, ...], ...] = ()
    """Commands; ``{out}`` is the clip, ``{tmp}`` a directory for what it is made of."""
    content: str | None = None
    """The whole clip, where it is a text."""
    noise_mb: int = 0
    """So much raw 640x360 noise, which no encoder can make small, is put into ``{tmp}/noise.yuv``."""
    before: Callable[[Path], None] | None = None
    """Writes what the steps need into ``{tmp}``."""
    after: Callable[[Path], None] | None = None
    """Changes the clip when the steps are done."""
    error: type[TgsyncdError] | None = None
    """None: it plays. Else what its ingest must raise."""
    error_at: str = "probe"
    """``probe``, ``plan`` or ``cut``: when the error can be known."""
    container: Container = TS
    video: str = "copy"
    audio: tuple[str, ...] = ("copy",)
    """Treatment of each sound track, in the order of the plan."""
    renditions: int = 1
    subtitles: tuple[str, ...] = ()
    left_out: int = 0
    offset_tolerance_s: float = 0.04
    """How much the start of the sound may move against that of the picture."""
    duration_tolerance_s: float = 0.05
    notes: str = ""

    @property
    def plays(self) -> bool:
        return self.error is None


def make_clip(name: str, cache_dir: Path) -> Path:
    """Return the clip of this name, made now if it is not in the cache."""
    spec = CLIPS.get(name) or BIG_CLIPS[name]
    made_by = (_code(spec.before), _code(spec.after), SRT, ASS, _ffmpeg())
    recipe = repr((spec.filename, spec.steps, spec.content, spec.noise_mb, made_by))
    key = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    path = cache_dir / f"{name}-{key}" / spec.filename
    if path.exists():
        return path
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir) as tmp:
        made = Path(tmp) / "made"
        made.mkdir()
        _make(spec, made / spec.filename, Path(tmp))
        try:
            made.rename(path.parent)
        except OSError:  # somebody else was faster
            if not path.exists():
                raise
    return path


def _make(spec: ClipSpec, out: Path, tmp: Path) -> None:
    if spec.content is not None:
        out.write_text(spec.content)
    if spec.noise_mb:
        _write_noise(tmp / "noise.yuv", spec.noise_mb)
    if spec.before:
        spec.before(tmp)
    for step in spec.steps:
        argv = [word.replace("{out}", str(out)).replace("{tmp}", str(tmp)) for word in step]
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise RuntimeError(f"{argv}\n{done.stderr.decode(errors='replace')}")
    if spec.after:
        spec.after(out)


def _code(function: Callable[[Path], None] | None) -> bytes:
    return function.__code__.co_code + repr(function.__code__.co_consts).encode() if function else b""


@cache
def _ffmpeg() -> str:
    return subprocess.run(
        ["ffmpeg", "-version"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[0]


# --- parts of recipes --------------------------------------------------------------------------------

X264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -crf 28"
X264_GOP1 = f"{X264} -g 24 -keyint_min 24 -sc_threshold 0"
AAC = "-c:a aac -b:a 64k"
X265 = "-c:v libx265 -preset ultrafast -crf 30 -x265-params log-level=error:keyint=24:open-gop=0"
FFMPEG = ("ffmpeg", "-nostdin", "-v", "error", "-y")


def picture(rate: str = "24", duration_s: float = 6, size: str = "320x180") -> tuple[str, ...]:
    return ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}:duration={duration_s}")


def sound(duration_s: float = 6, channels: int = 2, frequency: int = 440) -> tuple[str, ...]:
    tone = f"sin({frequency}*2*PI*t)/8"
    layout = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 6: "5.1", 8: "7.1"}[channels]
    expressions = "|".join([tone] * channels)
    return ("-f", "lavfi", "-i", f"aevalsrc={expressions}:c={layout}:s=48000:d={duration_s}")


def encode(options: str, *inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ffmpeg command that encodes inputs (by default a picture and a sound) to ``{out}``."""
    inputs = inputs or (picture(), sound())
    return (*FFMPEG, *(word for one in inputs for word in one), *options.split(), "{out}")


def av(filename: str, options: str, **expected) -> ClipSpec:
    return ClipSpec(filename=filename, steps=(encode(options),), **expected)


def _cut_in_half(out: Path) -> None:
    os.truncate(out, out.stat().st_size // 2)


def _rotate(out: Path) -> None:
    """Turn the first track by 90 degrees, as a phone does: in the matrix of its tkhd box."""
    data = bytearray(out.read_bytes())
    matrix = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    turned = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 180 << 16, 0, 0x40000000)
    at = data.index(matrix, data.index(b"tkhd"))
    data[at : at + 36] = turned
    out.write_bytes(data)


SRT = "1\n00:00:01,000 --> 00:00:02,000\nHello\n\n2\n00:00:03,000 --> 00:00:05,000\nWorld\n"
ASS = (
    "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\n"
    "Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold,"
    " Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow,"
    " Alignment, MarginL, MarginR, MarginV, Encoding\n"
    "Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\n\n[Events]\n"
    "Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
    "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\i1}Hallo{\\i0}\n"
)


def _write_subtitles(tmp: Path) -> None:
    (tmp / "s.srt").write_text(SRT)
    (tmp / "s.ass").write_text(ASS)
    (tmp / "s.sup").write_bytes(_pgs(90_000) + _pgs(180_000))
    (tmp / "font.ttf").write_bytes(b"\0\1\0\0" + bytes(60))


def _pgs(pts: int) -> bytes:
    """Return one Presentation Graphic display set: an 8x2 picture of one colour."""

    def segment(kind: int, payload: bytes) -> bytes:
        return b"PG" + struct.pack(">IIBH", pts, 0, kind, len(payload)) + payload

    lines = b"\x00\x88\x01\x00\x00" * 2
    composition = struct.pack(">HHBHBBBB", 320, 180, 16, 1, 0x80, 0, 0, 1)
    return b"".join(
        (
            segment(0x16, composition + struct.pack(">HBBHH", 0, 0, 0, 10, 10)),
            segment(0x17, struct.pack(">BBHHHH", 1, 0, 10, 10, 8, 2)),
            segment(0x14, bytes((0, 0, 1, 200, 128, 128, 255))),
            segment(
                0x15,
                struct.pack(">HBB", 0, 0, 0xC0)
                + (len(lines) + 4).to_bytes(3, "big")
                + struct.pack(">HH", 8, 2)
                + lines,
            ),
            segment(0x80, b""),
        )
    )


def _write_chapters(tmp: Path) -> None:
    (tmp / "chapters").write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=3\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1\nSTART=3\nEND=6\ntitle=Two\n"
    )


def _write_noise(path: Path, megabytes: int) -> None:
    chance = random.Random(megabytes)
    with path.open("wb") as file:
        for _ in range(megabytes * 1_000_000 // 345_600):
            file.write(chance.randbytes(345_600))


NOISE = ("-f", "rawvideo", "-pixel_format", "yuv420p", "-video_size", "640x360")


# --- the matrix --------------------------------------------------------------------------------------

CLIPS: dict[str, ClipSpec] = {
    # H.264: MPEG-TS, copied
    "h264-aac": av("h264.mp4", f"{X264_GOP1} {AAC} -movflags +faststart"),
    "h264-moov-at-end": av("moov-at-end.mp4", f"{X264_GOP1} {AAC}"),
    "h264-one-key-frame": av("one-key-frame.mkv", f"{X264} -g 9999 -sc_threshold 0 {AAC}"),
    "h264-all-intra": av("all-intra.mp4", f"{X264} -g 1 {AAC}"),
    "h264-open-gop": av(
        "open-gop.mkv",
        f"{X264} -preset veryfast -bf 3 -x264-params open-gop=1:keyint=24:min-keyint=12:scenecut=0 {AAC}",
        notes="pictures before the key frame in time follow it in the file",
    ),
    "h264-b-pyramid": av(
        "b-pyramid.mp4",
        f"{X264} -preset veryfast -bf 7 -x264-params b-pyramid=normal:keyint=48:b-adapt=0 {AAC}",
    ),
    "h264-vfr": av("vfr.mkv", f"-vf select=lt(t\\,2)+not(mod(n\\,5)) -fps_mode vfr {X264} -g 12 {AAC}"),
    "h264-interlaced": av(
        "interlaced.mkv",
        f"-vf interlace -flags +ildct+ilme {X264} -preset veryfast -x264-params tff=1:keyint=24 {AAC}",
    ),
    "h264-29.97": ClipSpec(
        filename="29.97.mp4",
        steps=(encode(f"{X264_GOP1} {AAC}", picture("30000/1001"), sound()),),
    ),
    "h264-59.94": ClipSpec(
        filename="59.94.mp4",
        steps=(encode(f"{X264_GOP1} {AAC}", picture("60000/1001"), sound()),),
    ),
    "h264-ac3": av("ac3.mkv", f"{X264_GOP1} -c:a ac3"),
    "h264-eac3": av("eac3.mkv", f"{X264_GOP1} -c:a eac3"),
    "h264-mp3": av("mp3.mkv", f"{X264_GOP1} -c:a libmp3lame"),
    "h264-no-audio": ClipSpec(filename="no-audio.mp4", steps=(encode(X264_GOP1, picture()),), audio=()),
    "h264-audio-late": ClipSpec(
        filename="audio-late.mkv",
        steps=(encode(f"{X264_GOP1} {AAC}", picture(), ("-itsoffset", "3", *sound(3))),),
        notes="its sound starts 3 s after the picture",
    ),
    "h264-dts-audio-late": ClipSpec(
        filename="dts-audio-late.mkv",
        steps=(encode(f"{X264_GOP1} -strict -2 -c:a dca", picture(), ("-itsoffset", "3", *sound(3))),),
        audio=("transcode",),
    ),
    "h264-video-late": ClipSpec(
        filename="video-late.mkv",
        steps=(encode(f"{X264_GOP1} {AAC}", ("-itsoffset", "1", *picture()), sound(7)),),
    ),
    "h264-two-audio": ClipSpec(
        filename="two-audio.mkv",
        steps=(
            encode(
                f"{X264_GOP1} -map 0:v -map 1:a -map 2:a -c:a:0 aac -c:a:1 ac3"
                " -metadata:s:a:0 language=eng -metadata:s:a:0 title=Original"
                " -metadata:s:a:1 language=ger -disposition:a:0 default -disposition:a:1 0",
                *(picture(), sound(), sound(frequency=880)),
            ),
        ),
        audio=("copy", "copy"),
    ),
    "h264-three-subtitles": ClipSpec(
        filename="three-subtitles.mkv",
        before=_write_subtitles,
        steps=(
            encode(
                f"{X264_GOP1} {AAC} -map 0 -map 1 -map 2 -map 3 -map 4 -c:s copy"
                " -metadata:s:s:0 language=eng -metadata:s:s:1 language=ger"
                " -disposition:s:1 forced -metadata:s:s:2 language=fre"
                " -attach {tmp}/font.ttf -metadata:s:t mimetype=font/ttf",
                picture(),
                sound(),
                ("-i", "{tmp}/s.srt"),
                ("-i", "{tmp}/s.ass"),
                ("-i", "{tmp}/s.sup"),
            ),
        ),
        subtitles=(".en.srt", ".de.forced.srt"),
        left_out=2,
        notes="SubRip, ASS (forced), PGS, and a font",
    ),
    "h264-mov-text": ClipSpec(
        filename="mov-text.mp4",
        before=_write_subtitles,
        steps=(
            encode(
                f"{X264_GOP1} {AAC} -c:s mov_text -metadata:s:s:0 language=eng",
                *(picture(), sound(), ("-i", "{tmp}/s.srt")),
            ),
        ),
        subtitles=(".en.srt",),
    ),
    "h264-cover-art": ClipSpec(
        filename="cover-art.mp4",
        steps=(
            (*FFMPEG, *picture(duration_s=1), "-frames:v", "1", "{tmp}/cover.jpg"),
            encode(
                f"-map 0 -map 1 -map 2 {X264_GOP1} {AAC} -c:v:1 copy -disposition:v:1 attached_pic",
                *(picture(), sound(), ("-i", "{tmp}/cover.jpg")),
            ),
        ),
        left_out=1,
    ),
    "h264-chapters": ClipSpec(
        filename="chapters.mp4",
        before=_write_chapters,
        steps=(
            encode(
                f"{X264_GOP1} {AAC} -map 0 -map 1 -map_chapters 2",
                *(picture(), sound(), ("-f", "ffmetadata", "-i", "{tmp}/chapters")),
            ),
        ),
        left_out=1,
        notes="MP4 keeps chapters as a text track of its own, which is data",
    ),
    "h264-timecode": av(
        "timecode.mov", f"{X264_GOP1} {AAC} -timecode 01:00:00:00", left_out=1, notes="a data track"
    ),
    "h264-no-index": ClipSpec(
        filename="no-index.mkv",
        steps=(
            (*FFMPEG, *picture(), *sound(), *f"{X264_GOP1} {AAC}".split(), "{tmp}/a.mkv"),
            ("sh", "-c", "ffmpeg -nostdin -v error -i {tmp}/a.mkv -c copy -f matroska - | cat > {out}"),
        ),
        notes="written to a pipe: no cues, no duration",
    ),
    "h264-ts": av("h264.ts", f"{X264_GOP1} {AAC}"),
    "h264-ts-mp2": av("mp2.ts", f"{X264_GOP1} -c:a mp2", audio=("transcode",)),
    "h264-edit-list": ClipSpec(
        filename="edit-list.mp4",
        steps=(
            (*FFMPEG, *picture(), *sound(), *f"{X264} -bf 2 -g 48 {AAC}".split(), "{tmp}/a.mp4"),
            (*FFMPEG, "-ss", "1", "-i", "{tmp}/a.mp4", "-c", "copy", "{out}"),
        ),
        notes="trimmed without encoding: an edit list hides its first second",
    ),
    "h264-flv": av("h264.flv", f"{X264_GOP1} {AAC}"),
    "h264-avi": av("h264.avi", f"{X264} -g 24 -c:a libmp3lame", notes="no pts in AVI"),
    "h264-avi-b-frames": av(
        "b-frames.avi",
        f"{X264} -preset veryfast -bf 2 -g 24 -c:a libmp3lame",
        video="transcode",
        offset_tolerance_s=0.1,
        duration_tolerance_s=0.1,
        notes="AVI does not say when B-frames are shown: a decoder begins two frames after the first time",
    ),
    # H.264 that MPEG-TS would spoil: fMP4, copied
    "h264-rotated": av("rotated.mp4", f"{X264_GOP1} {AAC}", after=_rotate, container=FMP4, notes="a phone's"),
    "h264-anamorphic": av("anamorphic.mkv", f"-vf setsar=4/3 {X264_GOP1} -c:a libopus", container=FMP4),
    # H.264 whose sound is encoded anew
    "h264-dts": av("dts.mkv", f"{X264_GOP1} -strict -2 -c:a dca", audio=("transcode",)),
    "h264-flac": av("flac.mkv", f"{X264_GOP1} -c:a flac", audio=("transcode",)),
    "h264-pcm": av("pcm.mov", f"{X264_GOP1} -c:a pcm_s16le", audio=("transcode",)),
    "h264-truehd": av("truehd.mkv", f"{X264_GOP1} -strict -2 -c:a truehd", audio=("transcode",)),
    "h264-alac": av("alac.mp4", f"{X264_GOP1} -c:a alac", audio=("transcode",)),
    "h264-vorbis": av("vorbis.mkv", f"{X264_GOP1} -c:a libvorbis", audio=("transcode",)),
    "h264-opus": av("opus.mkv", f"{X264_GOP1} -c:a libopus", audio=("transcode",)),
    "h264-pcm-7.1": ClipSpec(
        filename="pcm-7.1.mkv",
        steps=(encode(f"{X264_GOP1} -c:a pcm_s24le", picture(), sound(channels=8)),),
        audio=("transcode",),
    ),
    "h264-pcm-quad": ClipSpec(
        filename="pcm-quad.mkv",
        steps=(encode(f"{X264_GOP1} -c:a pcm_s16le", picture(), sound(channels=4)),),
        audio=("transcode",),
    ),
    # HEVC, AV1, VP9: fMP4, copied
    "hevc-8bit": av("hevc.mkv", f"{X265} {AAC} -pix_fmt yuv420p", container=FMP4),
    "hevc-10bit-hdr10": av(
        "hdr10.mkv",
        f"{X265}:hdr10=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"
        ":max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)"
        "WP(15635,16450)L(10000000,1)"
        f" -pix_fmt yuv420p10le -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc {AAC}",
        container=FMP4,
    ),
    "hevc-ts-ac3": av("hevc.ts", f"{X265} -pix_fmt yuv420p -c:a ac3", container=FMP4),
    "hevc-flac": av("hevc-flac.mkv", f"{X265} -pix_fmt yuv420p -c:a flac", container=FMP4),
    "hevc-mp3": av("hevc-mp3.mkv", f"{X265} -pix_fmt yuv420p -c:a libmp3lame", container=FMP4),
    "hevc-two-audio": ClipSpec(
        filename="hevc-two-audio.mkv",
        steps=(
            encode(
                f"{X265} -pix_fmt yuv420p -map 0:v -map 1:a -map 2:a -c:a:0 aac -c:a:1 ac3"
                " -metadata:s:a:0 language=eng -metadata:s:a:1 language=ger",
                *(picture(), sound(), sound(frequency=880)),
            ),
        ),
        container=FMP4,
        audio=("copy", "copy"),
        renditions=3,
    ),
    "hevc-audio-late": ClipSpec(
        filename="hevc-audio-late.mkv",
        steps=(encode(f"{X265} -pix_fmt yuv420p -c:a ac3", picture(), ("-itsoffset", "3", *sound(3))),),
        container=FMP4,
    ),
    "av1-opus": av(
        "av1.mkv", "-c:v libsvtav1 -preset 12 -g 24 -svtav1-params tune=0 -c:a libopus", container=FMP4
    ),
    "vp9-opus": av(
        "vp9.webm",
        "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 24 -b:v 300k -c:a libopus",
        container=FMP4,
    ),
    # pictures that are encoded anew
    "mpeg2-ac3": ClipSpec(
        filename="mpeg2.mpg",
        steps=(encode("-c:v mpeg2video -b:v 1M -c:a ac3 -f vob", picture("25", size="352x288"), sound()),),
        video="transcode",
    ),
    "mpeg2-interlaced": ClipSpec(
        filename="mpeg2-interlaced.mpg",
        steps=(
            encode(
                "-vf interlace,setsar=16/11 -c:v mpeg2video -flags +ildct+ilme -b:v 1M -c:a mp2 -f vob",
                picture("25", size="352x288"),
                sound(),
            ),
        ),
        video="transcode",
        audio=("transcode",),
    ),
    "mpeg4-mp3": av(
        "mpeg4.avi",
        "-c:v mpeg4 -bf 2 -g 48 -b:v 500k -c:a libmp3lame",
        video="transcode",
        offset_tolerance_s=0.05,
        notes="B-frames in AVI: a decoder begins one frame after the first time",
    ),
    "theora-vorbis": av(
        "theora.ogv", "-c:v libtheora -b:v 500k -c:a libvorbis", video="transcode", audio=("transcode",)
    ),
    "wmv-wma": av(
        "wmv2.wmv",
        "-c:v wmv2 -b:v 500k -c:a wmav2",
        video="transcode",
        audio=("transcode",),
        offset_tolerance_s=0.08,
        notes="the decoder of WMA swallows its first frame",
    ),
    "h264-10bit": av("hi10p.mkv", f"{X264_GOP1} {AAC} -pix_fmt yuv420p10le", video="transcode"),
    "h264-444": av("hi444.mkv", f"{X264_GOP1} {AAC} -pix_fmt yuv444p", video="transcode"),
    "prores-hlg-odd": ClipSpec(
        filename="prores.mov",
        steps=(
            encode(
                "-vf setparams=color_primaries=bt2020:color_trc=arib-std-b67:colorspace=bt2020nc:range=tv"
                f" -c:v prores_ks -profile:v 3 -pix_fmt yuv422p10le {AAC}",
                *(picture(size="322x181"), sound()),
            ),
        ),
        video="transcode",
        notes="HDR that must become SDR, and an odd height",
    ),
    # not to be ingested
    "cut-off-mkv": av(
        "cut-off.mkv", f"{X264_GOP1} {AAC}", after=_cut_in_half, error=SourceDamaged, error_at="cut"
    ),
    "cut-off-mp4": av(
        "cut-off.mp4",
        f"{X264_GOP1} {AAC} -movflags +faststart",
        after=_cut_in_half,
        error=SourceDamaged,
        error_at="cut",
    ),
    "moov-missing": av("moov-missing.mp4", f"{X264_GOP1} {AAC}", after=_cut_in_half, error=SourceDamaged),
    "zero-bytes": ClipSpec(filename="empty.mp4", content="", error=SourceUnreadable),
    "text": ClipSpec(filename="text.mp4", content="Call me Ishmael.\n" * 100, error=NotAVideo),
    "ffconcat": ClipSpec(
        filename="ffconcat.mp4",
        content="ffconcat version 1.0\nfile canary.mkv\n",
        error=NotAVideo,
    ),
    "m3u8": ClipSpec(
        filename="playlist.mp4",
        content="#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\ncanary.mkv\n#EXT-X-ENDLIST\n",
        error=NotAVideo,
    ),
    "sdp": ClipSpec(
        filename="sdp.mp4",
        content="v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        error=NotAVideo,
    ),
    "audio-only": ClipSpec(
        filename="music.m4a", steps=(encode(AAC, sound()),), error=NotAVideo, error_at="plan"
    ),
}

BIG_CLIPS: dict[str, ClipSpec] = {
    "h264-60mbit": ClipSpec(
        filename="60mbit.mkv",
        noise_mb=35,
        steps=(
            encode(
                "-c:v libx264 -preset ultrafast -b:v 60M -maxrate 60M -bufsize 60M -g 9999"
                f" -sc_threshold 0 {AAC}",
                (*NOISE, "-framerate", "25", "-i", "{tmp}/noise.yuv"),
                sound(4),
            ),
        ),
        notes="60 Mbit/s, one group of pictures of 30 MB: more than a document",
    ),
    "h264-400mb-one-key-frame": ClipSpec(
        filename="400mb.mkv",
        noise_mb=60,
        steps=(
            encode(
                f"-c:v libx264 -preset ultrafast -qp 8 -g 99999 -sc_threshold 0 {AAC} -shortest",
                ("-stream_loop", "-1", *NOISE, "-framerate", "25", "-i", "{tmp}/noise.yuv"),
                sound(48),
            ),
        ),
        notes="one key frame in some 400 MB",
    ),
}

ODD_NAMES: tuple[str, ...] = (
    "with spaces.mp4",
    "quote'and\"quotes.mp4",
    "ünïcödé 映画 🎬.mp4",
    "line\nbreak.mp4",
    "-leading-dash.mp4",
    "%03d.mp4",
    "concat:a|b.mp4",
    "back\\slash [brackets] {braces} $HOME `id` *?.mp4",
    "x" * 251 + ".mp4",
)
"""Names under which any clip must behave as it does under its own."""

NOT_UTF8_NAME = os.fsdecode(b"not-utf8-\xff.mp4")


def copy_as(clip: Path, directory: Path, name: str) -> Path:
    """Return a copy of the clip of another name (a hard link where that works)."""
    target = directory / name
    try:
        os.link(clip, target)
    except OSError:
        shutil.copyfile(clip, target)
    return target
