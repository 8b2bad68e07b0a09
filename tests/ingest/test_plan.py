# SPDX-License-Identifier: MIT
"""What becomes of each stream of a source file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tgsyncd.errors import NotAVideo, SourceError
from tgsyncd.ingest.plan import FMP4_AUDIO, TS_AUDIO, PlanOptions, plan_ingest
from tgsyncd.model import (
    AudioStream,
    Colour,
    Container,
    MediaProbe,
    OtherStream,
    RenditionKind,
    SubtitleStream,
    Treatment,
    VideoStream,
)

TS, FMP4 = Container.MPEGTS, Container.FMP4
COPY, TRANSCODE = Treatment.COPY, Treatment.TRANSCODE


def video(codec="h264", pixel_format="yuv420p", **more):
    fields = {"index": 0, "codec": codec, "pixel_format": pixel_format, "width": 1920, "height": 1080}
    return VideoStream(**{**fields, **more})


def audio(codec="aac", index=1, **more):
    return AudioStream(index=index, codec=codec, **{"channels": 2, **more})


def subtitle(index, codec="subrip", language=None, **more):
    return SubtitleStream(index=index, codec=codec, language=language, **more)


def probe(*streams, format_name="matroska,webm"):
    def of(kind):
        return tuple(stream for stream in streams if isinstance(stream, kind))

    return MediaProbe(
        format_name=format_name,
        duration_s=100.0,
        start_s=0.0,
        size_bytes=1,
        bit_rate=None,
        video=of(VideoStream),
        audio=of(AudioStream),
        subtitles=of(SubtitleStream),
        others=of(OtherStream),
        chapters=(),
    )


def plan(*streams, format_name="matroska,webm", **options):
    return plan_ingest(probe(*streams, format_name=format_name), PlanOptions(**options), ffmpeg_version="5.1")


def picture(made):
    (stream,) = [s for s in made.renditions[0].streams if s.kind == "video"]
    return made.renditions[0].container, stream.treatment, stream.codec


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (video(), (TS, COPY, "h264")),
        (video(pixel_format="yuvj420p"), (TS, COPY, "h264")),
        (video(pixel_format="yuv420p10le"), (TS, TRANSCODE, "h264")),
        (video(pixel_format="yuv444p"), (TS, TRANSCODE, "h264")),
        (video(rotation=90), (FMP4, COPY, "h264")),
        (video(sample_aspect_ratio=Fraction(1)), (TS, COPY, "h264")),
        (video(sample_aspect_ratio=Fraction(4, 3)), (FMP4, COPY, "h264")),
        (video("hevc"), (FMP4, COPY, "hevc")),
        (video("hevc", "yuv420p10le", colour=Colour(transfer="smpte2084")), (FMP4, COPY, "hevc")),
        (video("hevc", "yuv422p10le"), (TS, TRANSCODE, "h264")),
        (video("av1"), (FMP4, COPY, "av1")),
        (video("vp9"), (FMP4, COPY, "vp9")),
        (video("vp9", "yuv444p"), (TS, TRANSCODE, "h264")),
        (video("vp8"), (TS, TRANSCODE, "h264")),
        (video("mpeg2video", sample_aspect_ratio=Fraction(16, 11)), (TS, TRANSCODE, "h264")),
        (video("mpeg4"), (TS, TRANSCODE, "h264")),
        (video("vc1"), (TS, TRANSCODE, "h264")),
        (video("theora", rotation=90), (TS, TRANSCODE, "h264")),
        (video("prores", "yuv422p10le"), (TS, TRANSCODE, "h264")),
    ],
)
def test_the_picture_decides_the_container(stream, expected):
    """Copied where players play it, in the container that keeps it whole."""
    assert picture(plan(stream)) == expected


def test_the_owner_may_forbid_or_demand_encoding():
    """video.mode: copy keeps what MPEG-TS can carry, and refuses the rest; transcode encodes everything."""
    assert picture(plan(video(pixel_format="yuv420p10le"), video_mode="copy")) == (TS, COPY, "h264")
    assert picture(plan(video("mpeg2video"), video_mode="copy")) == (TS, COPY, "mpeg2video")
    assert picture(plan(video("hevc", "yuv444p"), video_mode="copy")) == (FMP4, COPY, "hevc")
    assert picture(plan(video(), video_mode="transcode")) == (TS, TRANSCODE, "h264")
    with pytest.raises(SourceError, match=r"video\.mode: auto"):
        plan(video("theora"), video_mode="copy")


def test_b_frames_in_avi_are_encoded_anew():
    """AVI does not say when they are shown; without them H.264 is copied."""
    assert picture(plan(video(has_b_frames=True), format_name="avi"))[1] is TRANSCODE
    assert picture(plan(video(has_b_frames=False), format_name="avi"))[1] is COPY
    assert picture(plan(video(has_b_frames=True)))[1] is COPY


@pytest.mark.parametrize("codec", ["aac", "mp3", "ac3", "eac3"])
def test_common_sound_is_copied_everywhere(codec):
    """In MPEG-TS and in fMP4."""
    for stream in (video(), video("hevc")):
        (_, sound) = plan(stream, audio(codec)).renditions[0].streams
        assert (sound.treatment, sound.codec, sound.reason) == (COPY, codec, "")


@pytest.mark.parametrize("codec", ["opus", "flac"])
def test_opus_and_flac_are_copied_in_fmp4_only(codec):
    """MPEG-TS takes AAC instead, beside a picture that is still copied."""
    (_, sound) = plan(video("vp9"), audio(codec)).renditions[0].streams
    assert (sound.treatment, sound.codec) == (COPY, codec)
    (shown, sound) = plan(video(), audio(codec)).renditions[0].streams
    assert (shown.treatment, sound.treatment, sound.codec) == (COPY, TRANSCODE, "aac")


@pytest.mark.parametrize(
    "stream",
    [
        *[audio(codec) for codec in ("dts", "truehd", "pcm_s16le", "vorbis", "wmav2", "alac", "mp2")],
        audio("aac_latm"),
        audio("aac", profile="LD"),
    ],
)
def test_other_sound_is_encoded_alone(stream):
    """Only the stream that needs it, and the plan says why."""
    (shown, sound) = plan(video(), stream).renditions[0].streams
    assert (shown.treatment, sound.treatment, sound.codec) == (COPY, TRANSCODE, "aac")
    assert "players do not play" in sound.reason


@pytest.mark.parametrize(("channels", "encoded"), [(1, 1), (2, 2), (3, 6), (6, 6), (8, 6)])
def test_encoded_sound_has_a_layout_that_all_decoders_know(channels, encoded):
    """Mono, stereo, 5.1."""
    (_, sound) = plan(video(), audio("dts", channels=channels)).renditions[0].streams
    assert sound.channels == encoded


def test_all_tracks_share_one_ts():
    """With language and title; the default one first, which a web player takes."""
    made = plan(
        video(),
        audio("ac3", 1, language="ger", title="Kommentar"),
        audio("aac", 2, language="eng", is_default=True),
    )
    (main,) = made.renditions
    assert [(s.index, s.language, s.title) for s in main.streams[1:]] == [
        (2, "eng", None),
        (1, "ger", "Kommentar"),
    ]


def test_several_tracks_of_fmp4_are_renditions_of_their_own():
    """A picture without sound, and each track apart, the default one first."""
    made = plan(
        video("hevc"),
        audio("aac", 1, language="eng"),
        audio("ac3", 2, language="ger", title="Deutsch", is_default=True),
    )
    assert [(r.name, r.kind, r.language, r.title, r.is_default) for r in made.renditions] == [
        ("main", RenditionKind.MAIN, None, None, True),
        ("audio-1", RenditionKind.AUDIO, "de", "Deutsch", True),
        ("audio-2", RenditionKind.AUDIO, "en", None, False),
    ]
    assert [[s.index for s in r.streams] for r in made.renditions] == [[0], [2], [1]]
    assert {r.container for r in made.renditions} == {FMP4}


def test_one_track_stays_with_the_picture():
    """Also in fMP4."""
    (main,) = plan(video("hevc"), audio("eac3")).renditions
    assert [s.kind for s in main.streams] == ["video", "audio"]


def test_subtitles_are_named_as_jellyfin_reads_them():
    """Language in its shortest form, forced, SDH; a second of the same kind gets a number."""
    made = plan(
        video(),
        subtitle(2, language="eng"),
        subtitle(3, language="eng", is_forced=True),
        subtitle(4, "ass", language="eng", title="English SDH"),
        subtitle(5, "mov_text", language="en-US"),
        subtitle(6, "webvtt", language="fil", is_hearing_impaired=True),
        subtitle(7),
        subtitle(8, language="../../etc"),
        subtitle(9, language="ger", title="Forced"),
    )
    assert [(s.index, s.suffix) for s in made.subtitles] == [
        (2, ".en.srt"),
        (3, ".en.forced.srt"),
        (4, ".en.sdh.srt"),
        (5, ".2.en.srt"),
        (6, ".fil.sdh.srt"),
        (7, ".srt"),
        (8, ".2.srt"),
        (9, ".de.forced.srt"),
    ]


def test_what_is_left_out_is_named():
    """Second pictures, bitmap subtitles, attachments, data, cover art, sound that nobody can decode."""
    made = plan(
        video(),
        video("mjpeg", index=1),
        audio("unknown", 2),
        audio("dts", 3, channels=0),
        subtitle(4, "hdmv_pgs_subtitle", language="fre"),
        OtherStream(index=5, kind="attachment", codec="ttf", filename="a.ttf"),
        OtherStream(index=6, kind="data", codec="bin_data"),
        OtherStream(index=7, kind="attached_pic", codec="mjpeg"),
    )
    assert {out.index: out.what for out in made.left_out} == {
        1: "second picture (mjpeg)",
        2: "sound (unknown)",
        3: "sound (dts)",
        4: "subtitles (hdmv_pgs_subtitle, fre)",
        5: "attachment (a.ttf)",
        6: "data stream (bin_data)",
        7: "cover art (mjpeg)",
    }
    assert all(out.why for out in made.left_out)


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ([audio(index=0)], "sound only"),
        ([subtitle(0)], "no picture"),
        ([video("unknown")], "does not know"),
        ([video(width=0)], "does not know"),
    ],
)
def test_what_has_no_picture_is_refused(streams, message):
    """With what it is instead."""
    with pytest.raises(NotAVideo, match=message):
        plan(*streams)


def test_sound_that_starts_late_is_measured():
    """From the picture's start; less than 5 s is nothing."""
    assert plan(video(start_s=1.0), audio(start_s=61.5)).late_sound_s == 60.5
    assert plan(video(start_s=0.0), audio(start_s=3.0)).late_sound_s == 0
    assert plan(video(), audio(start_s=60.0), audio("ac3", 2, start_s=0.0)).late_sound_s == 0
    assert plan(video()).late_sound_s == 0


def test_the_plan_says_what_decides_the_bytes():
    """Encoder, threads, segment target and ffmpeg's version."""
    made = plan(video("vc1"), hardware="vaapi", threads=3, segment_target_s=None)
    assert (made.encoder, made.threads, made.ffmpeg_version) == ("h264_vaapi", 3, "5.1")
    assert made.segment_target_s is None
    assert made.transcodes_video


# --- whatever a file may hold ------------------------------------------------------------------------

LANGUAGES = (None, "eng", "ger", "en-US", "x", "", "日本語")


def every(make, **fields):
    """Return a strategy for all combinations of the fields: one draw a stream, for 10,000 quick examples."""
    combinations = product(*fields.values())
    return st.sampled_from([make(**dict(zip(fields, c, strict=True)), index=0) for c in combinations])


STREAMS = st.one_of(
    every(
        VideoStream,
        codec=("h264", "hevc", "av1", "vp9", "mpeg2video", "theora", "unknown"),
        pixel_format=(None, "yuv420p", "yuv420p10le", "yuv444p"),
        width=(0, 1921),
        height=(180,),
        rotation=(0, 90),
        sample_aspect_ratio=(None, Fraction(1), Fraction(4, 3)),
        has_b_frames=(False, True),
    ),
    every(
        AudioStream,
        codec=("aac", "mp3", "ac3", "eac3", "opus", "flac", "dts", "pcm_s16le", "unknown"),
        profile=(None, "LC", "ELD"),
        channels=(0, 1, 2, 5, 8),
        sample_rate=(0, 44_100, 192_000),
        start_s=(None, 70.0),
        language=LANGUAGES,
        is_default=(False, True),
    ),
    every(
        SubtitleStream,
        codec=("subrip", "ass", "hdmv_pgs_subtitle", "dvb_teletext"),
        language=LANGUAGES,
        is_forced=(False, True),
        is_hearing_impaired=(False, True),
    ),
    every(OtherStream, kind=("attached_pic", "attachment", "data", "unknown"), codec=("x",)),
)


@st.composite
def probes(draw):
    """Draw any streams in any order, numbered as ffprobe numbers them."""
    streams = draw(st.lists(STREAMS, min_size=1, max_size=7))
    numbered = [replace(stream, index=index) for index, stream in enumerate(streams)]
    return probe(*numbered, format_name=draw(st.sampled_from(["matroska,webm", "avi", "mpegts"])))


OPTIONS = st.sampled_from(
    [
        PlanOptions(video_mode=mode, hardware=hardware)
        for mode in ("auto", "copy", "transcode")
        for hardware in ("none", "vaapi", "qsv", "nvenc")
    ]
)


@settings(max_examples=10_000, deadline=None)
@given(source=probes(), options=OPTIONS)
def test_any_source_is_planned_whole(source, options):
    """Each stream once or left out with a reason; the containers' rules hold; the same again is the same."""
    try:
        made = plan_ingest(source, options, ffmpeg_version="5.1")
    except SourceError:
        return
    check_each_stream_once(source, made)
    check_containers(made)
    suffixes = [subtitle.suffix for subtitle in made.subtitles]
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix.endswith(".srt") and "/" not in suffix for suffix in suffixes)
    assert plan_ingest(source, options, ffmpeg_version="5.1") == made


def check_each_stream_once(source, made):
    planned = [stream.index for rendition in made.renditions for stream in rendition.streams]
    planned += [subtitle.index for subtitle in made.subtitles]
    planned += [out.index for out in made.left_out]
    everything = (*source.video, *source.audio, *source.subtitles, *source.others)
    assert sorted(planned) == sorted(stream.index for stream in everything)
    assert all(out.what and out.why for out in made.left_out)


def check_containers(made):
    main, *others = made.renditions
    assert (main.name, main.kind, main.streams[0].kind) == ("main", RenditionKind.MAIN, "video")
    assert len({rendition.name for rendition in made.renditions}) == len(made.renditions)
    allowed_sound = TS_AUDIO if main.container is TS else FMP4_AUDIO
    allowed_picture = {"h264", "mpeg2video"} if main.container is TS else {"h264", "hevc", "av1", "vp9"}
    assert main.streams[0].codec in allowed_picture
    for rendition in made.renditions:
        assert rendition.container is main.container
        assert {s.codec for s in rendition.streams if s.kind == "audio"} <= allowed_sound
        for stream in rendition.streams:
            assert (stream.treatment is TRANSCODE) == bool(stream.reason)
    if main.container is FMP4:
        assert len(main.streams) <= 2
        assert not others or len(main.streams) == 1
    for rendition in others:
        assert (rendition.kind, len(rendition.streams)) == (RenditionKind.AUDIO, 1)
    assert sum(rendition.is_default for rendition in others) == bool(others)
