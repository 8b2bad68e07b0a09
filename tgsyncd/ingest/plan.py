# SPDX-License-Identifier: MIT
"""
Decide what becomes of each stream of a source file (PURE).

The picture decides the container, the container decides which sound can be copied:

================================  ===========  ==========================================================
picture                           container    sound copied
================================  ===========  ==========================================================
H.264, 8 bit, 4:2:0               MPEG-TS      AAC, MP3, AC-3, E-AC-3; all tracks in one stream
the same, rotated or anamorphic   fMP4         those, Opus and FLAC
HEVC, AV1, VP9; 8 or 10 bit       fMP4         those, Opus and FLAC
anything else                     MPEG-TS      as H.264: that is what it is encoded to
================================  ===========  ==========================================================

Choices that could have been others:

- H.264 with FLAC or Opus goes into MPEG-TS with its sound encoded to AAC, not into fMP4 with both copied:
  MPEG-TS is what every player and Jellyfin's direct play take for H.264.
- MP3 in fMP4 is copied although Chromium refuses it: ffmpeg, VLC, mpv and television sets play it, and
  Jellyfin encodes it for the browsers that do not.
- fMP4 with two sound tracks or more becomes a picture without sound and one rendition for each track:
  Chromium plays nothing at all of an fMP4 that holds AAC beside AC-3.
- Any aspect ratio of the pixels other than 1:1 goes into fMP4: ffprobe does not tell whether H.264 itself
  says it (then MPEG-TS would keep it) or the container alone (then it would be lost).
- H.264 with B-frames in AVI is encoded anew: AVI knows decoding times only, and ffmpeg, which can work out
  the others for MPEG-4, makes them wrong for H.264.
- The default sound track comes first: MPEG-TS has no such mark, and a web player plays the first one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from tgsyncd.errors import NotAVideo, SourceError
from tgsyncd.formats.ffmpeg import HARDWARE_ENCODERS
from tgsyncd.formats.languages import language_short
from tgsyncd.model import (
    AudioStream,
    Container,
    IngestPlan,
    LeftOut,
    MediaProbe,
    OtherStream,
    PackLimits,
    PlannedStream,
    RenditionKind,
    RenditionPlan,
    SubtitlePlan,
    SubtitleStream,
    Treatment,
    VideoStream,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["PlanOptions", "plan_ingest"]

LATE_AUDIO_S: Final = 5.0
"""Sound that starts later than this behind the picture is named: Jellyfin's probe reads until it meets it."""

TS_AUDIO: Final = frozenset({"aac", "mp3", "ac3", "eac3"})
FMP4_AUDIO: Final = TS_AUDIO | {"opus", "flac"}
ADTS_PROFILES: Final = frozenset({None, "LC", "HE-AAC", "HE-AACv2", "Main"})
"""Of AAC: others (LD, ELD, USAC) have no ADTS header, and browsers do not decode them."""

H264_PIXELS: Final = frozenset({None, "yuv420p", "yuvj420p", "nv12"})
FMP4_VIDEO: Final = frozenset({"hevc", "av1", "vp9"})
FMP4_PIXELS: Final = H264_PIXELS | {"yuv420p10le", "yuv420p10be", "p010le"}
TS_COPYABLE: Final = frozenset({"h264", "mpeg2video"})
"""What ``video.mode: copy`` may put into MPEG-TS; ffmpeg writes others too, but unplayable, with status 0."""

TEXT_SUBTITLES: Final = frozenset(
    {"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text", "subviewer", "subviewer1"}
    | {"microdvd", "sami", "realtext", "stl", "jacosub", "mpl2", "pjs", "vplayer", "eia_608"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What the owner may decide."""

    video_mode: Literal["auto", "copy", "transcode"] = "auto"
    hardware: Literal["none", "vaapi", "qsv", "nvenc"] = "none"
    threads: int = 2
    """Of the encoder. x264's bytes differ with it: a resumed transcode keeps the number it began with."""
    segment_target_s: float | None = 6.0
    """None: one segment per document."""
    limits: PackLimits = field(default_factory=PackLimits)


def plan_ingest(probe: MediaProbe, options: PlanOptions | None = None, *, ffmpeg_version: str) -> IngestPlan:
    """
    Return what is copied, what is encoded anew and what is left out: each source stream exactly once.

    Raises
        NotAVideo when there is no picture; SourceError when ``video.mode`` forbids what would be needed.
    """
    options = options or PlanOptions()
    video = _choose_video(probe)
    picture, container = _plan_video(probe, video, options)
    sounds = [_plan_audio(audio, container) for audio in _default_first(probe.audio) if _usable(audio)]
    return IngestPlan(
        renditions=_arrange(picture, sounds, container),
        subtitles=_plan_subtitles(probe.subtitles),
        left_out=tuple(_left_out(probe, video)),
        segment_target_s=options.segment_target_s,
        limits=options.limits,
        encoder=HARDWARE_ENCODERS[options.hardware],
        threads=options.threads,
        ffmpeg_version=ffmpeg_version,
        late_sound_s=_late_audio_s(video, probe.audio),
    )


# --- the picture -------------------------------------------------------------------------------------


def _choose_video(probe: MediaProbe) -> VideoStream:
    for video in probe.video:
        if video.width and video.height and video.codec != "unknown":
            return video
    if probe.video:
        raise NotAVideo(
            "Its picture is of a kind that ffmpeg does not know.",
            hint="a newer ffmpeg may; or it is encrypted or incomplete",
        )
    if probe.audio:
        raise NotAVideo("It holds sound only.", hint="tgsyncd takes films and episodes, not music")
    raise NotAVideo("There is no picture in it.", hint="check that it is the file you mean")


def _plan_video(
    probe: MediaProbe, video: VideoStream, options: PlanOptions
) -> tuple[PlannedStream, Container]:
    reason = _why_transcode_video(probe, video, options)
    if reason:
        return _planned(video, "video", "h264", reason), Container.MPEGTS
    if video.codec in FMP4_VIDEO or (video.codec == "h264" and _needs_container(video)):
        return _planned(video, "video", video.codec), Container.FMP4
    return _planned(video, "video", video.codec), Container.MPEGTS


def _why_transcode_video(probe: MediaProbe, video: VideoStream, options: PlanOptions) -> str:
    if options.video_mode == "transcode":
        return "video.mode is transcode"
    if options.video_mode == "copy":
        if video.codec not in TS_COPYABLE | FMP4_VIDEO:
            raise SourceError(
                f"Its picture ({video.codec}) cannot be copied into a stream.",
                hint="set video.mode: auto to have it encoded",
            )
        return ""
    if video.has_b_frames and video.codec in {"h264", "hevc"} and probe.format_name == "avi":
        return "AVI does not say when its B-frames are shown"
    return _why_unplayable(video)


def _why_unplayable(video: VideoStream) -> str:
    if video.codec == "h264":
        known = H264_PIXELS
    elif video.codec in FMP4_VIDEO:
        known = FMP4_PIXELS
    else:
        return f"players do not play {video.codec}"
    return "" if video.pixel_format in known else f"players do not play {video.codec} {video.pixel_format}"


def _needs_container(video: VideoStream) -> bool:
    """Tell whether the picture is shown turned or stretched, which MPEG-TS cannot say."""
    return bool(video.rotation) or video.sample_aspect_ratio not in {None, 1}


# --- the sound ---------------------------------------------------------------------------------------


def _usable(audio: AudioStream) -> bool:
    return audio.codec != "unknown" and audio.channels > 0 and audio.sample_rate > 0


def _default_first(audio: Sequence[AudioStream]) -> list[AudioStream]:
    default = next((stream for stream in audio if stream.is_default and _usable(stream)), None)
    return [] if not audio else sorted(audio, key=lambda s: (s is not default, s.index))


def _plan_audio(audio: AudioStream, container: Container) -> PlannedStream:
    copied = TS_AUDIO if container is Container.MPEGTS else FMP4_AUDIO
    if audio.codec not in copied:
        where = "MPEG-TS" if container is Container.MPEGTS else "fMP4"
        return _planned(audio, "audio", "aac", f"players do not play {audio.codec} in {where}")
    if audio.codec == "aac" and audio.profile not in ADTS_PROFILES:
        return _planned(audio, "audio", "aac", f"players do not play AAC {audio.profile}")
    return _planned(audio, "audio", audio.codec)


def _late_audio_s(video: VideoStream, audio: Sequence[AudioStream]) -> float:
    starts = [stream.start_s for stream in audio if _usable(stream) and stream.start_s is not None]
    if not starts:
        return 0.0
    late_s = min(starts) - (video.start_s or 0.0)
    return round(late_s, 3) if late_s > LATE_AUDIO_S else 0.0


def _planned(stream: VideoStream | AudioStream, kind: str, codec: str, reason: str = "") -> PlannedStream:
    channels = stream.channels if isinstance(stream, AudioStream) else 0
    return PlannedStream(
        index=stream.index,
        kind=kind,
        treatment=Treatment.TRANSCODE if reason else Treatment.COPY,
        source_codec=stream.codec,
        codec=codec,
        language=stream.language,
        title=stream.title,
        is_default=stream.is_default,
        channels=_encoded_channels(channels) if reason else channels,
        reason=reason,
    )


def _encoded_channels(channels: int) -> int:
    """Return 1, 2 or 6: the layouts that every AAC decoder knows. 7.1 is mixed down."""
    return channels if channels <= 2 else 6


# --- renditions --------------------------------------------------------------------------------------


def _arrange(
    picture: PlannedStream, sounds: Sequence[PlannedStream], container: Container
) -> tuple[RenditionPlan, ...]:
    apart = container is Container.FMP4 and len(sounds) > 1
    main = RenditionPlan(
        name="main",
        kind=RenditionKind.MAIN,
        container=container,
        streams=(picture,) if apart else (picture, *sounds),
        is_default=True,
    )
    if not apart:
        return (main,)
    return (main, *(_sound_rendition(number, sound) for number, sound in enumerate(sounds, 1)))


def _sound_rendition(number: int, sound: PlannedStream) -> RenditionPlan:
    return RenditionPlan(
        name=f"audio-{number}",
        kind=RenditionKind.AUDIO,
        container=Container.FMP4,
        streams=(sound,),
        language=language_short(sound.language),
        title=sound.title,
        is_default=number == 1,
    )


# --- subtitles, and what is left out -----------------------------------------------------------------


def _plan_subtitles(subtitles: Sequence[SubtitleStream]) -> tuple[SubtitlePlan, ...]:
    plans: list[SubtitlePlan] = []
    for subtitle in subtitles:
        if subtitle.codec in TEXT_SUBTITLES:
            taken = {plan.suffix for plan in plans}
            suffix = _free_suffix(_subtitle_words(subtitle), taken)
            plans.append(SubtitlePlan(index=subtitle.index, codec=subtitle.codec, suffix=suffix))
    return tuple(plans)


def _subtitle_words(subtitle: SubtitleStream) -> list[str]:
    title = (subtitle.title or "").lower()
    language = language_short(subtitle.language)
    words = [language] if language else []
    if subtitle.is_forced or re.search(r"\bforced\b", title):
        words.append("forced")
    if subtitle.is_hearing_impaired or re.search(r"\b(sdh|cc|hearing impaired)\b", title):
        words.append("sdh")
    return words


def _free_suffix(words: Sequence[str], taken: set[str]) -> str:
    """Return ``.en.forced.srt``; a second one becomes ``.2.en.forced.srt``, which Jellyfin titles "2"."""
    number = 1
    while True:
        numbered = [str(number), *words] if number > 1 else list(words)
        suffix = "".join(f".{word}" for word in (*numbered, "srt"))
        if suffix not in taken:
            return suffix
        number += 1


def _left_out(probe: MediaProbe, used: VideoStream) -> Iterable[LeftOut]:
    for video in probe.video:
        if video is not used:
            yield LeftOut(
                index=video.index,
                what=f"second picture ({video.codec})",
                why="a stream carries one picture",
            )
    for audio in probe.audio:
        if not _usable(audio):
            yield LeftOut(
                index=audio.index,
                what=f"sound ({audio.codec})",
                why="ffmpeg cannot decode it, or it is empty",
            )
    for subtitle in probe.subtitles:
        if subtitle.codec not in TEXT_SUBTITLES:
            yield LeftOut(
                index=subtitle.index,
                what=_named(f"subtitles ({subtitle.codec}", subtitle.language),
                why="they are pictures or of a kind that ffmpeg does not write as text",
            )
    for other in probe.others:
        yield _left_out_other(other)


def _named(what: str, language: str | None) -> str:
    return f"{what}, {language})" if language else f"{what})"


def _left_out_other(other: OtherStream) -> LeftOut:
    what, why = {
        "attached_pic": ("cover art", "it goes beside the stream, not into it"),
        "attachment": ("attachment", "streams carry no files"),
    }.get(other.kind, (f"{other.kind} stream", "players have no use for it"))
    name = other.filename or other.codec
    return LeftOut(index=other.index, what=f"{what} ({name})", why=why)
