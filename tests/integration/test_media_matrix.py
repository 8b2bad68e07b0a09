# SPDX-License-Identifier: MIT
"""Every kind of source file, from the disk to a player over HTTP, or to an error that says what is wrong."""

from __future__ import annotations

import math
import urllib.request
from pathlib import Path

import pytest
import pytest_twisted

from tests.clips import CLIPS, NOT_UTF8_NAME, ODD_NAMES, copy_as, make_clip
from tests.integration.home import (
    decode_errors,
    in_thread,
    make_config,
    probe_packets,
    run,
    running,
    sound_behind_picture_s,
    upload,
)
from tgsyncd.model import Container, Treatment

CACHE = Path(__file__).parents[2] / ".cache" / "clips"

PLAYING = [name for name, spec in CLIPS.items() if spec.plays]
FAILING = [name for name, spec in CLIPS.items() if not spec.plays]


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAYING)
@pytest_twisted.ensureDeferred
async def test_a_clip_plays_back_as_it_was(name, tmp_path):
    """Silent decoding, the right duration, the same frames, sound in step, key frames first."""
    clip = await in_thread(make_clip, name, CACHE)
    async with running(make_config(tmp_path)) as app:
        (result,) = await upload(app, clip)
        assert result.error is None
        await check_playback(app, result.outcome.video_id, clip, tmp_path)


@pytest.mark.parametrize("name", FAILING)
@pytest_twisted.ensureDeferred
async def test_a_bad_file_is_named_and_the_batch_goes_on(name, tmp_path):
    """A typed error with the file's trouble in words; the good file behind it is ingested all the same."""
    bad = await in_thread(make_clip, name, CACHE)
    good = await in_thread(make_clip, "h264-aac", CACHE)
    async with running(make_config(tmp_path), listen=False) as app:
        failed, stored = await upload(app, bad, good)

        assert type(failed.error) is CLIPS[name].error, failed
        assert len(str(failed.error)) > 20
        assert stored.error is None
        assert [path.name for path in (tmp_path / "library").rglob("*.strm")] == [f"{good.stem}.strm"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*ODD_NAMES, NOT_UTF8_NAME], ids=ascii)
@pytest_twisted.ensureDeferred
async def test_any_file_name_is_only_a_name(name, tmp_path):
    """Spaces, quotes, newlines, patterns, 255 bytes: the video plays and its files can be written."""
    clip = await in_thread(make_clip, "h264-three-subtitles", CACHE)
    odd = copy_as(clip, tmp_path, name)
    async with running(make_config(tmp_path)) as app:
        (result,) = await upload(app, odd)
        assert result.error is None
        url = app.playlist_url(result.outcome.video_id)

        assert result.outcome.strm.read_text() == f"{url}\n"
        assert await in_thread(decode_errors, url) == ""
        assert len(list((tmp_path / "library").rglob("*.srt"))) == len(
            CLIPS["h264-three-subtitles"].subtitles
        )


@pytest.mark.slow
@pytest.mark.parametrize("duration", [2.0, "max"])
@pytest_twisted.ensureDeferred
async def test_other_segment_lengths_play_as_well(duration, tmp_path):
    """Short segments, and one segment per document."""
    clip = await in_thread(make_clip, "h264-aac", CACHE)
    config = make_config(
        tmp_path,
        segments={"duration": duration},
        documents={"max_bytes": 1_000_000, "first_bytes": [100_000]},
    )
    async with running(config) as app:
        (result,) = await upload(app, clip)
        await check_playback(app, result.outcome.video_id, clip, tmp_path)


async def check_playback(app, video_id, clip: Path, tmp_path: Path) -> None:
    """Compare what our server plays with the source."""
    url = app.playlist_url(video_id)
    video = app.catalog.video(video_id)
    plan = app.catalog.revision(video_id, video.current_revision).plan
    main = app.catalog.renditions(video_id, video.current_revision)[0]
    picture = plan.renditions[0].streams[0]
    is_copied = picture.treatment is Treatment.COPY

    assert await in_thread(decode_errors, url) == ""
    base = f"{app.public_url}/segment/{video_id}/{main.revision}/{main.name}"
    await in_thread(check_segments, base, main.container, app.catalog.segments(main.rendition_id), tmp_path)
    check_documents(app, video_id, plan)

    source = await in_thread(probe_packets, str(clip))
    played = await in_thread(probe_packets, url)
    total_s = sum(segment.duration_s for segment in app.catalog.segments(main.rendition_id))
    # What is before the first key frame cannot be shown, and ffmpeg leaves it out.
    expected_s = source.last_end_s - min([source.first_key_s, *source.audio_pts[:1]])
    assert total_s == pytest.approx(expected_s, abs=0.05)
    assert played.last_end_s - min([*played.video_pts, *played.audio_pts]) == pytest.approx(
        expected_s, abs=0.05
    )
    if is_copied:
        assert len(played.video_pts) == source.frames_from_first_key
    before_s = await in_thread(sound_behind_picture_s, str(clip))
    if before_s is not None:
        assert await in_thread(sound_behind_picture_s, url) == pytest.approx(before_s, abs=0.04)


def check_segments(base: str, container, segments, tmp_path: Path) -> None:
    """Each segment alone begins with a key frame."""
    init = fetch(f"{base}/init.mp4") if container is Container.FMP4 else b""
    path = tmp_path / "segment"
    first = ["-select_streams", "v:0", "-read_intervals", "%+#1"]
    what = ["-show_entries", "packet=flags", "-of", "csv=p=0"]
    for segment in segments:
        data = fetch(f"{base}/segment_{segment.order:04d}{container.segment_suffix}")
        assert len(data) == segment.size_bytes
        path.write_bytes(init + data)
        flags = run(["ffprobe", "-v", "error", *first, *what, path]).stdout.decode()
        assert flags.startswith("K"), f"segment {segment.order} starts with {flags!r}"


def check_documents(app, video_id, plan) -> None:
    """Every document is within the limit, and together they are the stream."""
    revision = app.catalog.video(video_id).current_revision
    for rendition in app.catalog.renditions(video_id, revision):
        at = 0
        for document in app.catalog.documents(rendition.rendition_id):
            assert document.offset == at
            assert document.ref.size_bytes <= plan.limits.document_max_bytes
            at = document.end
        assert at == rendition.stream_bytes
        durations = [segment.duration_s for segment in app.catalog.segments(rendition.rendition_id)]
        assert all(math.isfinite(duration) and duration > 0 for duration in durations)


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()
