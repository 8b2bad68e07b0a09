# SPDX-License-Identifier: MIT
"""What is said of a source file, and what of a file that is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.clips import CLIPS, NOT_UTF8_NAME, ODD_NAMES, copy_as, make_clip
from tests.fakes.scripted_runner import Script, ScriptedResult, ScriptedRunner
from tgsyncd.errors import (
    FfmpegError,
    FfmpegMissing,
    FfmpegTimeout,
    NotAVideo,
    SourceDamaged,
    SourceUnreadable,
    TgsyncdError,
)
from tgsyncd.ingest.plan import plan_ingest
from tgsyncd.ingest.probe import (
    FfmpegVersion,
    check_complete,
    explain_cut,
    ffmpeg_version,
    probe_source,
    shown_name,
)
from tgsyncd.model import MediaProbe
from tgsyncd.processes import TwistedProcessRunner

CACHE = Path(__file__).parents[2] / ".cache" / "clips"


@pytest.fixture
def runner():
    return TwistedProcessRunner(reactor)


async def clip(name):
    return await deferToThread(make_clip, name, CACHE)


PLANNED = [name for name, spec in CLIPS.items() if spec.plays or spec.error_at == "cut"]


@pytest.mark.parametrize("name", PLANNED)
@pytest_twisted.ensureDeferred
async def test_each_clip_is_planned_as_expected(runner, name):
    """Container, treatments, renditions, subtitles and what is left out, as the matrix says."""
    spec = CLIPS[name]
    plan = plan_ingest(await probe_source(await clip(name), runner), ffmpeg_version="5.1")
    streams = [stream for rendition in plan.renditions for stream in rendition.streams]
    assert {rendition.container for rendition in plan.renditions} == {spec.container}
    assert [s.treatment.value for s in streams if s.kind == "video"] == [spec.video]
    assert tuple(s.treatment.value for s in streams if s.kind == "audio") == spec.audio
    assert len(plan.renditions) == spec.renditions
    assert tuple(subtitle.suffix for subtitle in plan.subtitles) == spec.subtitles
    assert len(plan.left_out) == spec.left_out


@pytest.mark.parametrize("name", sorted(set(CLIPS) - set(PLANNED)))
@pytest_twisted.ensureDeferred
async def test_each_bad_clip_is_refused_as_expected(runner, name):
    """By its own error, with a next step."""
    path = await clip(name)
    with pytest.raises(TgsyncdError) as caught:
        plan_ingest(await probe_source(path, runner), ffmpeg_version="5.1")
    assert type(caught.value) is CLIPS[name].error
    assert caught.value.hint


@pytest_twisted.ensureDeferred
async def test_a_probe_tells_what_the_plan_needs(runner):
    """Languages, titles, dispositions, colour, depth, rotation, aspect, fields, chapters."""
    two = await probe_source(await clip("h264-two-audio"), runner)
    assert [(a.codec, a.language, a.title, a.is_default) for a in two.audio] == [
        ("aac", "eng", "Original", True),
        ("ac3", "ger", None, False),
    ]
    hdr = (await probe_source(await clip("hevc-10bit-hdr10"), runner)).video[0]
    assert (hdr.bit_depth, hdr.colour.transfer, hdr.colour.is_hdr) == (10, "smpte2084", True)
    assert (await probe_source(await clip("h264-rotated"), runner)).video[0].rotation == 270
    wide = (await probe_source(await clip("h264-anamorphic"), runner)).video[0]
    assert str(wide.sample_aspect_ratio) == "4/3"
    dvd = (await probe_source(await clip("mpeg2-interlaced"), runner)).video[0]
    assert dvd.is_interlaced
    chapters = (await probe_source(await clip("h264-chapters"), runner)).chapters
    assert [(c.start_s, c.end_s, c.title) for c in chapters] == [(0, 3, "One"), (3, 6, "Two")]
    subtitles = (await probe_source(await clip("h264-three-subtitles"), runner)).subtitles
    assert [(s.codec, s.is_forced) for s in subtitles] == [
        ("subrip", False),
        ("ass", True),
        ("hdmv_pgs_subtitle", False),
    ]
    cover = await probe_source(await clip("h264-cover-art"), runner)
    assert [other.kind for other in cover.others] == ["attached_pic"]
    late = await probe_source(await clip("h264-audio-late"), runner)
    assert late.audio[0].start_s == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize("name", [*ODD_NAMES, NOT_UTF8_NAME], ids=ascii)
@pytest_twisted.ensureDeferred
async def test_any_name_is_only_a_name(runner, tmp_path, name):
    """Spaces, quotes, newline, leading dash, pattern, protocol, 255 bytes, not UTF-8."""
    odd = copy_as(await clip("h264-aac"), tmp_path, name)
    assert (await probe_source(odd, runner)).video[0].codec == "h264"
    assert "\n" not in shown_name(odd)


@pytest_twisted.ensureDeferred
async def test_a_relative_path_is_ours_not_the_childs(runner, tmp_path, monkeypatch):
    """The child works in /."""
    copy_as(await clip("h264-aac"), tmp_path, "-film.mp4")
    monkeypatch.chdir(tmp_path)
    assert (await probe_source(Path("-film.mp4"), runner)).video


async def refused(runner, path, error):
    with pytest.raises(error) as caught:
        await probe_source(path, runner)
    assert type(caught.value) is error
    assert caught.value.hint
    assert shown_name(path) in caught.value.message
    return caught.value.message


@pytest_twisted.ensureDeferred
async def test_what_is_not_a_file_is_named(runner, tmp_path):
    """A folder, nothing at all, a pipe (which would never end), a name too long, a name with NUL."""
    assert "folder" in await refused(runner, tmp_path, SourceUnreadable)
    assert "not there" in await refused(runner, tmp_path / "gone.mp4", SourceUnreadable)
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "regular" in await refused(runner, tmp_path / "pipe.mp4", SourceUnreadable)
    assert "cannot be read" in await refused(runner, tmp_path / ("x" * 300), SourceUnreadable)
    assert "cannot be read" in await refused(runner, tmp_path / "nul\0.mp4", SourceUnreadable)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest_twisted.ensureDeferred
async def test_missing_rights_are_named(runner, tmp_path):
    """With what to do."""
    path = tmp_path / "secret.mp4"
    path.write_bytes(b"x")
    path.chmod(0)
    assert "may not be read" in await refused(runner, path, SourceUnreadable)


@pytest_twisted.ensureDeferred
async def test_damage_is_told_from_what_is_no_video(runner, tmp_path):
    """An MP4 without its index is damaged; text, noise and a playlist of another kind never were videos."""
    assert "moov" in await refused(runner, await clip("moov-missing"), SourceDamaged)
    await refused(runner, await clip("text"), NotAVideo)
    noise = tmp_path / "noise.mkv"
    noise.write_bytes(os.urandom(100_000))
    await refused(runner, noise, NotAVideo)
    zeros = tmp_path / "preallocated.mkv"
    zeros.write_bytes(bytes(100_000))
    await refused(runner, zeros, NotAVideo)


def scripted(**script):
    return ScriptedRunner(reactor, Script(**script))


@pytest_twisted.ensureDeferred
async def test_trouble_with_the_program_is_not_the_files_fault(tmp_path):
    """Missing, too slow, killed, talking nonsense."""
    path = tmp_path / "film.mkv"
    path.write_bytes(b"x")
    with pytest.raises(FfmpegMissing):
        await probe_source(path, scripted(missing=True))
    with pytest.raises(FfmpegTimeout):
        await probe_source(path, scripted(hangs=True), wall_limit_s=0.05)
    with pytest.raises(FfmpegError, match="signal 11"):
        await probe_source(path, scripted(exit_code=-11))
    with pytest.raises(FfmpegError, match="answer"):
        await probe_source(path, scripted(stdout=(b"{oops",)))
    with pytest.raises(FfmpegError, match="ffprobe failed: Something new"):
        await probe_source(path, scripted(exit_code=1, stderr="Something new"))
    with pytest.raises(SourceUnreadable, match="disk"):
        await probe_source(path, scripted(exit_code=1, stderr="film.mkv: Input/output error"))


@pytest_twisted.ensureDeferred
async def test_the_version_of_ffmpeg(runner):
    """Of the one that is installed; one that does not run is missing."""
    assert (await ffmpeg_version(runner))[0].isalnum()
    said = b"ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026\nbuilt with gcc"
    assert await ffmpeg_version(scripted(stdout=(said,))) == "5.1.9-0+deb12u1"
    with pytest.raises(FfmpegMissing, match="libavcodec"):
        await ffmpeg_version(scripted(exit_code=127, stderr="error loading libavcodec.so"))


@pytest_twisted.ensureDeferred
async def test_ffmpeg_is_asked_for_its_version_once():
    """And again after something failed: another may have been installed."""
    runner = scripted(stdout=(b"ffmpeg version 7.1 Copyright",))
    version = FfmpegVersion(runner)
    assert [await version.get(), await version.get()] == ["7.1", "7.1"]
    assert len(runner.argvs) == 1
    version.forget()
    await version.get()
    assert len(runner.argvs) == 2


def a_probe(duration_s):
    return MediaProbe(
        format_name="matroska,webm",
        duration_s=duration_s,
        start_s=0,
        size_bytes=1,
        bit_rate=None,
        video=(),
        audio=(),
        subtitles=(),
        others=(),
        chapters=(),
    )


@pytest.mark.parametrize(
    ("duration_s", "end_s"), [(None, 1), (6, 5.5), (6, 7), (600, 590), (7200, 7171), (0, 0)]
)
def test_a_whole_file_may_end_a_little_early(duration_s, end_s):
    """Headers round, and count a last subtitle's end."""
    check_complete(a_probe(duration_s), end_s)


@pytest.mark.parametrize(("duration_s", "end_s"), [(6, 3), (6, 4.9), (600, 580), (7200, 7000), (7200, 0)])
def test_a_missing_end_is_damage(duration_s, end_s):
    """Named with how much there is."""
    with pytest.raises(SourceDamaged, match=f"film: it breaks off after {end_s:.0f} s of {duration_s} s"):
        check_complete(a_probe(duration_s), end_s, name="film")


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (ScriptedResult(exit_code=0), None),
        (ScriptedResult(exit_code=-9, timed_out=True), FfmpegTimeout),
        (ScriptedResult(exit_code=-9), FfmpegError),
        (ScriptedResult(exit_code=1, stderr_tail="[error] Cannot load nvcuda"), FfmpegError),
        (ScriptedResult(exit_code=1, stderr_tail="x.mkv: No such file or directory"), SourceUnreadable),
        (
            ScriptedResult(
                exit_code=1,
                stderr_tail="[mov @ 0x1] [error] Invalid NAL unit size\n[error] Invalid data found when",
            ),
            SourceDamaged,
        ),
    ],
)
def test_a_failed_run_is_explained(result, error):
    """By what the owner can do about it."""
    explained = explain_cut(Path("/films/film.mkv"), result)
    assert type(explained) is (type(None) if error is None else error)
    assert explained is None or ("“film.mkv”" in explained.message and explained.hint)
