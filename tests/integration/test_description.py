# SPDX-License-Identifier: MIT
"""What describes picture and sound survives: rotation, colours, aspect ratio, languages, titles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytest_twisted

from tests.clips import make_clip
from tests.integration.home import in_thread, make_config, run, running, upload

CACHE = Path(__file__).parents[2] / ".cache" / "clips"
COLOURS = ("color_primaries", "color_transfer", "color_space", "pix_fmt")


def describe(target: str) -> list[dict]:
    """What ffprobe says of each stream, cover pictures and subtitles left out."""
    answer = run(["ffprobe", "-v", "error", "-of", "json", "-show_streams", target])
    streams = json.loads(answer.stdout)["streams"]
    return [
        stream
        for stream in streams
        if stream["codec_type"] in {"video", "audio"} and not stream["disposition"]["attached_pic"]
    ]


async def before_and_after(name: str, tmp_path: Path, *, url: str = "stream") -> tuple[list, list]:
    """Describe a clip, and what our server plays of it: as one file, or as a playlist."""
    clip = await in_thread(make_clip, name, CACHE)
    async with running(make_config(tmp_path)) as app:
        (done,) = await upload(app, clip)
        video_id = done.outcome.video_id
        container = app.catalog.renditions(video_id, 1)[0].container
        stream = f"{app.public_url}/stream/{video_id}{container.stream_suffix}"
        target = stream if url == "stream" else app.playlist_url(video_id)
        return await in_thread(describe, str(clip)), await in_thread(describe, target)


def rotation(stream: dict) -> int:
    return next((data["rotation"] for data in stream.get("side_data_list", []) if "rotation" in data), 0)


@pytest_twisted.ensureDeferred
async def test_a_phone_video_stays_turned(tmp_path):
    before, after = await before_and_after("h264-rotated", tmp_path, url="playlist")

    assert rotation(before[0]) != 0
    assert rotation(after[0]) == rotation(before[0])


@pytest_twisted.ensureDeferred
async def test_an_aspect_ratio_that_only_the_container_tells_survives(tmp_path):
    before, after = await before_and_after("h264-anamorphic", tmp_path, url="playlist")

    assert before[0]["sample_aspect_ratio"] == "4:3"
    assert after[0]["sample_aspect_ratio"] == "4:3"


@pytest_twisted.ensureDeferred
async def test_hdr_stays_hdr(tmp_path):
    before, after = await before_and_after("hevc-10bit-hdr10", tmp_path, url="playlist")

    assert before[0]["color_transfer"] == "smpte2084"
    assert [after[0][key] for key in COLOURS] == [before[0][key] for key in COLOURS]
    assert after[0]["codec_tag_string"] == "hvc1"


@pytest.mark.parametrize("name", ["h264-two-audio"])
@pytest_twisted.ensureDeferred
async def test_every_sound_track_keeps_its_language(name, tmp_path):
    before, after = await before_and_after(name, tmp_path)

    languages = [stream["tags"]["language"] for stream in before if stream["codec_type"] == "audio"]
    kept = [stream["tags"].get("language") for stream in after if stream["codec_type"] == "audio"]
    assert len(set(languages)) == 2
    assert sorted(kept) == sorted(languages)


@pytest_twisted.ensureDeferred
async def test_several_sound_tracks_beside_hevc_are_told_apart_by_the_playlist(tmp_path):
    clip = await in_thread(make_clip, "hevc-two-audio", CACHE)
    async with running(make_config(tmp_path)) as app:
        (done,) = await upload(app, clip)
        answer = await in_thread(run, ["curl", "-sf", app.playlist_url(done.outcome.video_id)])
        text = answer.stdout.decode()

        before = await in_thread(describe, str(clip))
        sounds = [stream for stream in before if stream["codec_type"] == "audio"]
        assert text.count("#EXT-X-MEDIA:TYPE=AUDIO") >= len(sounds)
        for rendition in app.catalog.renditions(done.outcome.video_id, 1):
            if rendition.language:
                assert f'LANGUAGE="{rendition.language}"' in text
