# SPDX-License-Identifier: MIT
"""Command lines as text, and what the real programs make of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clips import SRT, make_clip
from tgsyncd.formats import ffmpeg
from tgsyncd.formats.ffmpeg import (
    FORMAT_WHITELIST,
    HARDWARE_ENCODERS,
    EncoderSettings,
    build_cover_argv,
    build_cut_argv,
    build_encoder_test_argv,
    build_probe_argv,
    build_still_argv,
    build_subtitles_argv,
    build_version_argv,
    is_progress_line,
    parse_probe,
    parse_progress,
    parse_version,
)
from tgsyncd.formats.languages import language_alpha3, language_short
from tgsyncd.ingest.plan import PlanOptions, plan_ingest
from tgsyncd.model import SubtitlePlan

CACHE = Path(__file__).parents[2] / ".cache" / "clips"
SAFE = (
    "-max_alloc 536870912 -protocol_whitelist file"
    " -format_whitelist matroska,mov,avi,mpegts,mpeg,flv,asf,ogg,rm,wtv,mxf,nut,dv,nsv,gxf,pva"
    " -analyzeduration 30000000 -probesize 32000000"
)
START = "ffmpeg -nostdin -hide_banner -nostats -v level+warning -progress pipe:2 -stats_period 1"
NO_EXTRAS = "-sn -dn -map_chapters -1 -map_metadata -1"


def run(argv):
    return subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, check=False)


def clip(name):
    """Return the clip, its probe and its plan."""
    path = make_clip(name, CACHE)
    probe = parse_probe(run(build_probe_argv(path)).stdout)
    return path, probe, plan_ingest(probe, ffmpeg_version="5.1")


def cut(path, probe, plan, **options):
    """Cut with the real ffmpeg; return the bytes of each rendition."""
    outputs = []
    for number in range(len(plan.renditions)):
        # One rendition after the other, so that no test needs threads: each alone is pipe:1.
        one = replace(plan, renditions=(plan.renditions[number],))
        done = run(build_cut_argv(path, probe, one, **options))
        assert done.returncode == 0, done.stderr.decode()
        outputs.append(done.stdout)
    return outputs


def describe(data, tmp_path, *what):
    """Return ffprobe's JSON of a stream."""
    path = tmp_path / "stream.bin"
    path.write_bytes(data)
    done = run(["ffprobe", "-v", "error", "-of", "json", *(what or ("-show_streams",)), str(path)])
    assert done.stderr == b""
    return json.loads(done.stdout)


def times(data, tmp_path, kind, entry="pts_time"):
    found = describe(data, tmp_path, "-select_streams", f"{kind}:0", "-show_packets")["packets"]
    return sorted(float(packet[entry]) for packet in found)


# --- as text -----------------------------------------------------------------------------------------


def test_the_command_that_copies_into_mpegts():
    """Flag for flag."""
    path, probe, plan = clip("h264-two-audio")
    assert " ".join(build_cut_argv(path, probe, plan)) == (
        f"{START} {SAFE} -i file:{path} -map 0:0 -map 0:1 -map 0:2 {NO_EXTRAS}"
        " -c:v:0 copy"
        " -c:a:0 copy -metadata:s:a:0 language=eng -metadata:s:a:0 title=Original"
        " -c:a:1 copy -metadata:s:a:1 language=ger"
        " -muxdelay 0 -muxpreload 0 -f mpegts pipe:1"
    )


def test_the_command_that_copies_into_fmp4():
    """One ffmpeg for the picture and each sound track, to file descriptors 1, 3, 4."""
    path, probe, plan = clip("hevc-two-audio")
    flags = "-movflags +frag_keyframe+empty_moov+delay_moov+frag_discont+default_base_moof"
    fmp4 = f"{flags} -frag_duration 1000000 -strict -2 -f mp4"
    assert " ".join(build_cut_argv(path, probe, plan)) == (
        f"{START} {SAFE} -i file:{path}"
        f" -map 0:0 {NO_EXTRAS} -c:v:0 copy -tag:v hvc1 {fmp4} pipe:1"
        f" -map 0:1 {NO_EXTRAS} -c:a:0 copy -metadata:s:a:0 language=eng {fmp4} pipe:3"
        f" -map 0:2 {NO_EXTRAS} -c:a:0 copy -metadata:s:a:0 language=ger {fmp4} pipe:4"
    )


KEYS = "-g 600 -force_key_frames expr:gte(t,n_forced*2) -fps_mode vfr"
X264 = "-preset veryfast -crf 21 -sc_threshold 0 -threads:v 2 -x264-params sync-lookahead=0"
BWDIF = "bwdif=mode=send_frame:parity=auto:deint=interlaced"


@pytest.mark.parametrize(
    ("hardware", "before", "upload", "options"),
    [
        ("none", "", "format=yuv420p", f"-c:v libx264 -profile:v high {X264}"),
        (
            "vaapi",
            " -vaapi_device /dev/dri/renderD128",
            "format=nv12,hwupload",
            "-c:v h264_vaapi -profile:v high -rc_mode CQP -qp 21",
        ),
        (
            "qsv",
            "",
            "format=nv12",
            "-c:v h264_qsv -profile:v high -preset veryfast -global_quality 21 -forced_idr 1",
        ),
        (
            "nvenc",
            "",
            "format=yuv420p",
            "-c:v h264_nvenc -profile:v high -preset p4 -rc vbr -cq 21 -b:v 0 -no-scenecut 1 -forced-idr 1",
        ),
    ],
)
def test_the_command_that_encodes(hardware, before, upload, options):
    """For each encoder, also where the machine has none of the hardware."""
    path, probe, _ = clip("mpeg2-interlaced")
    plan = plan_ingest(probe, PlanOptions(hardware=hardware), ffmpeg_version="5.1")
    video, audio = (stream.index for stream in plan.renditions[0].streams)
    assert " ".join(build_cut_argv(path, probe, plan)) == (
        f"{START}{before} -threads 2 {SAFE} -i file:{path} -map 0:{video} -map 0:{audio} {NO_EXTRAS}"
        f" -filter:v:0 {BWDIF},{upload} {options} {KEYS}"
        " -filter:a:0 aresample=async=1,aformat=channel_layouts=stereo -c:a:0 aac -ar:a:0 48000"
        " -b:a:0 192000 -max_muxing_queue_size 1024 -muxing_queue_data_threshold 268435456"
        " -muxdelay 0 -muxpreload 0 -f mpegts pipe:1"
    )


def test_the_hardware_is_touched_only_to_encode():
    """A plan that copies the picture opens no device."""
    path, probe, _ = clip("h264-dts")
    plan = plan_ingest(probe, PlanOptions(hardware="vaapi"), ffmpeg_version="5.1")
    assert "-vaapi_device" not in build_cut_argv(path, probe, plan)


def test_the_decoders_threads_are_bounded():
    """One for each of 64 cores would not fit into the address space allowed."""
    path, probe, plan = clip("mpeg4-mp3")
    argv = build_cut_argv(path, probe, replace(plan, threads=64))
    assert argv[argv.index("-threads") + 1] == "8"
    assert argv[argv.index("-threads:v") + 1] == "64"


def test_settings_of_the_encoder():
    """Preset, quality and device are the owner's."""
    path, probe, plan = clip("mpeg4-mp3")
    settings = EncoderSettings(preset="slow", quality=18, vaapi_device="/dev/dri/renderD129")
    assert "-preset slow -crf 18" in " ".join(build_cut_argv(path, probe, plan, settings=settings))
    plan = replace(plan, encoder="h264_vaapi")
    assert "/dev/dri/renderD129" in build_cut_argv(path, probe, plan, settings=settings)


SUBTITLE = SubtitlePlan(index=2, codec="subrip", suffix=".srt")


def all_commands(path):
    _, probe, plan = clip("h264-aac")
    return {
        "probe": build_probe_argv(path),
        "cut": build_cut_argv(path, probe, plan),
        "resume": build_cut_argv(path, probe, plan, start_s=2),
        "subtitle": build_subtitles_argv(path, [SUBTITLE]),
        "still": build_still_argv(path, 1),
        "cover": build_cover_argv(path, 2),
    }


COMMANDS = ("probe", "cut", "resume", "subtitle", "still", "cover")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_opens_a_source_is_safe(command):
    """One input, with the protocol in its name, and the whitelists before it."""
    argv = all_commands("/films/-f concat:a|b.mp4")[command]
    at = argv.index("-i")
    assert argv.count("-i") == 1
    assert argv[at + 1] == "file:/films/-f concat:a|b.mp4"
    assert " ".join(argv[:at]).count(SAFE) == 1
    assert argv[0] == "ffprobe" or "-nostdin" in argv


# --- hostile files against the real programs ---------------------------------------------------------

HOSTILE = {
    "ffconcat.mp4": "ffconcat version 1.0\nfile canary.mkv\n",
    "ffconcat.mkv": "ffconcat version 1.0\nfile canary.mkv\n",
    "playlist.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:6,\ncanary.mkv\n#EXT-X-ENDLIST\n",
    "playlist.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:6,\ncanary.mkv\n#EXT-X-ENDLIST\n",
    "playlist.ts": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:6,\ncanary.mkv\n#EXT-X-ENDLIST\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "manifest.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    '<Period><AdaptationSet><Representation id="1" bandwidth="1"><BaseURL>canary.mkv</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "index.imf": "<AssetMap><File>canary.mkv</File></AssetMap>",
    "vobsub.idx": "# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n",
}


@pytest.fixture
def hostile(tmp_path):
    shutil.copy(make_clip("h264-no-index", CACHE), tmp_path / "canary.mkv")
    for name, text in HOSTILE.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_danger_is_real(hostile):
    """Without the list of formats ffmpeg reads the canary, with -protocol_whitelist file all the same."""
    unsafe = ["ffmpeg", "-v", "error", "-protocol_whitelist", "file", "-i"]
    out = ["-c", "copy", "-f", "mpegts", "pipe:1"]
    assert len(run([*unsafe, f"file:{hostile}/ffconcat.mp4", *out]).stdout) > 100_000


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_list_of_files_is_never_followed(hostile, name, command):
    """It fails, writes nothing, and opens no file but the one named, and no socket."""
    argv = all_commands(hostile / name)[command]
    trace = hostile / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=open,openat,connect,socket", "-o", str(trace)]
    done = run([*strace, *argv] if shutil.which("strace") else argv)
    assert done.returncode != 0
    assert b"codec_name" not in done.stdout
    assert argv[0] == "ffprobe" or done.stdout == b""
    if trace.exists():
        traced = trace.read_text()
        assert f"/{name}" in traced
        assert "canary" not in traced
        assert "socket(" not in traced


def test_the_installed_ffmpeg_knows_the_formats():
    """A name that it does not know would be silently useless."""
    for name in FORMAT_WHITELIST.split(","):
        said = run(["ffmpeg", "-hide_banner", "-h", f"demuxer={name}"]).stdout.decode()
        assert said.startswith("Demuxer "), name


# --- what comes out ----------------------------------------------------------------------------------


def test_languages_and_titles_survive(tmp_path):
    """Languages in both containers, titles where the container has room for them."""
    (data,) = cut(*clip("h264-two-audio"))
    streams = describe(data, tmp_path)["streams"]
    assert [s.get("tags", {}).get("language") for s in streams] == [None, "eng", "ger"]
    _, *sounds = cut(*clip("hevc-two-audio"))
    assert [describe(s, tmp_path)["streams"][0]["tags"]["language"] for s in sounds] == ["eng", "ger"]


def test_rotation_aspect_and_colour_survive(tmp_path):
    """Where the container can say them, which is why it was chosen."""
    (data,) = cut(*clip("h264-rotated"))
    (matrix,) = describe(data, tmp_path)["streams"][0]["side_data_list"]
    assert matrix["rotation"] == -90
    (data,) = cut(*clip("h264-anamorphic"))
    assert describe(data, tmp_path)["streams"][0]["sample_aspect_ratio"] == "4:3"
    (data,) = cut(*clip("hevc-10bit-hdr10"))
    hdr = describe(data, tmp_path)["streams"][0]
    assert (hdr["color_transfer"], hdr["codec_tag_string"]) == ("smpte2084", "hvc1")
    first = describe(data, tmp_path, "-select_streams", "v:0", "-show_frames", "-read_intervals", "%+#1")
    assert {"Mastering display metadata", "Content light level metadata"} <= {
        side["side_data_type"] for side in first["frames"][0]["side_data_list"]
    }


def test_a_transcode_has_key_frames_every_two_seconds(tmp_path):
    """And nowhere else; 8 bit, 4:2:0, even sizes, HDR brought down to BT.709."""
    (data,) = cut(*clip("prores-hlg-odd"))
    video = describe(data, tmp_path)["streams"][0]
    assert (video["codec_name"], video["pix_fmt"], video["width"], video["height"]) == (
        "h264",
        "yuv420p",
        322,
        180,
    )
    assert (video["color_transfer"], video["color_primaries"]) == ("bt709", "bt709")
    packets = describe(data, tmp_path, "-select_streams", "v:0", "-show_packets")["packets"]
    starts = [float(packet["pts_time"]) for packet in packets if "K" in packet["flags"]]
    assert [round(start - starts[0], 2) for start in starts] == [0, 2, 4]


@pytest.mark.parametrize(
    ("name", "channels", "layout"),
    [("h264-pcm-7.1", 6, "5.1"), ("h264-pcm-quad", 6, "5.1"), ("h264-pcm", 2, "stereo")],
)
def test_encoded_sound_has_a_common_layout(tmp_path, name, channels, layout):
    """Whatever the source had."""
    (data,) = cut(*clip(name))
    sound = describe(data, tmp_path)["streams"][1]
    assert (sound["codec_name"], sound["channels"], sound["channel_layout"]) == ("aac", channels, layout)


@pytest.mark.parametrize("name", ["h264-two-audio", "hevc-two-audio", "mpeg2-ac3", "theora-vorbis"])
def test_the_same_command_writes_the_same_bytes(name):
    """Which is what resuming by skipping rests on; copied and encoded."""
    made = clip(name)
    first = cut(*made)
    assert all(cut(*made) == first for _ in range(3))


@pytest.mark.parametrize("early_s", [60.0, 1.0])
@pytest.mark.parametrize("name", ["mpeg2-ac3", "theora-vorbis", "prores-hlg-odd", "h264-10bit"])
def test_a_resumed_transcode_goes_on_with_the_next_picture(tmp_path, monkeypatch, name, early_s):
    """The same pictures from there on, at the same times, a key frame first, and the sound not before it."""
    monkeypatch.setattr(ffmpeg, "RESUME_EARLY_S", early_s)
    path, probe, plan = clip(name)
    (whole,) = cut(path, probe, plan)
    pictures = times(whole, tmp_path, "v")
    offset_s = pictures[0] - (probe.video[0].start_s - probe.start_s)
    goes_on_at = pictures[len(pictures) // 2 + 5]
    (rest,) = cut(path, probe, plan, start_s=goes_on_at - offset_s, timestamp_offset_s=offset_s)
    expected = [time for time in pictures if time >= goes_on_at]
    assert times(rest, tmp_path, "v") == pytest.approx(expected, abs=0.011)
    packets = describe(rest, tmp_path, "-select_streams", "v:0", "-show_packets")["packets"]
    assert "K" in packets[0]["flags"]
    sound = times(rest, tmp_path, "a")
    assert sound[0] == pytest.approx(goes_on_at, abs=0.15)
    assert sound[-1] == pytest.approx(times(whole, tmp_path, "a")[-1], abs=0.05)


def test_text_subtitles_become_srt():
    """SubRip and ASS, without ASS's markup of positions; UTF-8."""
    path, _, plan = clip("h264-three-subtitles")
    texts = [run(build_subtitles_argv(path, [s])).stdout.decode() for s in plan.subtitles]
    # Matroska moved all by 21 ms, the length of the sound's priming.
    assert texts[0].strip() == SRT.replace(",000", ",021").strip()
    assert "<i>Hallo</i>" in texts[1]


@pytest.mark.parametrize(
    ("name", "size"),
    [("h264-aac", (320, 180)), ("h264-anamorphic", (426, 180)), ("h264-rotated", (180, 320))],
)
def test_a_still_is_a_jpeg_with_square_pixels(tmp_path, name, size):
    """Of the film's shape; turned as it is shown."""
    path, _, _ = clip(name)
    done = run(build_still_argv(path, 3))
    assert done.stdout.startswith(b"\xff\xd8")
    still = describe(done.stdout, tmp_path)["streams"][0]
    assert abs(still["width"] - size[0]) <= 2
    assert abs(still["height"] - size[1]) <= 2


def test_a_large_still_is_made_smaller(tmp_path):
    """To the width asked for."""
    path, _, _ = clip("h264-aac")
    still = describe(run(build_still_argv(path, 1, max_width=160)).stdout, tmp_path)["streams"][0]
    assert (still["width"], still["height"]) == (160, 90)


def test_cover_art_comes_out_as_it_is():
    """Byte for byte a JPEG."""
    path, probe, _ = clip("h264-cover-art")
    done = run(build_cover_argv(path, probe.others[0].index))
    assert done.stdout.startswith(b"\xff\xd8")
    assert done.stdout.endswith(b"\xff\xd9")


def test_an_encoder_is_tried_before_it_is_trusted():
    """libx264 works; each other ends with a status, not with a question."""
    assert run(build_encoder_test_argv("libx264")).returncode == 0
    for encoder in HARDWARE_ENCODERS.values():
        assert isinstance(run(build_encoder_test_argv(encoder)).returncode, int)


# --- what the programs say ---------------------------------------------------------------------------


def test_progress_is_read_and_told_from_messages():
    """Every line that the real ffmpeg writes for -progress is known as one."""
    path, probe, plan = clip("h264-aac")
    lines = run(build_cut_argv(path, probe, plan)).stderr.decode().splitlines()
    assert len(lines) > 5
    assert [line for line in lines if not is_progress_line(line)] == []
    assert max(filter(None, map(parse_progress, lines))) == pytest.approx(6, abs=0.1)
    for line in ("[warning] speed=1", "out_time_us=N/A", "", "Invalid data found", "frame"):
        assert parse_progress(line) is None
    assert not is_progress_line("[mov @ 0x1] [error] frame=1")


def test_the_version_is_read():
    """Debian's, a release's, a nightly's; nothing from something else."""
    assert parse_version(run(build_version_argv()).stdout)
    assert parse_version(b"ffmpeg version n7.1 Copyright") == "n7.1"
    assert parse_version(b"ffmpeg version N-1-gabc Copyright") == "N-1-gabc"
    assert parse_version(b"sh: ffmpeg: not found") == ""


@pytest.mark.parametrize(
    ("said", "alpha3", "short"),
    [
        ("eng", "eng", "en"),
        ("en", "eng", "en"),
        ("en-US", "eng", "en"),
        ("GER", "ger", "de"),
        ("deu", "deu", "de"),
        ("fil", "fil", "fil"),
        ("und", None, None),
        (None, None, None),
        ("", None, None),
        ("English", None, None),
        ("xx", None, "xx"),
        ("../", None, None),
    ],
)
def test_language_codes(said, alpha3, short):
    """Three letters for containers, the shortest for HLS and Jellyfin, none for what is no code."""
    assert (language_alpha3(said), language_short(said)) == (alpha3, short)
