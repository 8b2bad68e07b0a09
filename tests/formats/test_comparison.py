# SPDX-License-Identifier: MIT
"""What plays is what was stored, or it is said in which way not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.formats.comparison import (
    PictureSummary,
    build_file_packets_argv,
    build_url_packets_argv,
    compare,
    summarise_packets,
)

SOURCE = PictureSummary(codec="h264", frames=500, length_s=20.0)


def test_packets_are_counted_from_the_first_key_frame():
    """What stands before it cannot be shown; packets come in decoding order."""
    csv = "packet,0.00,0.04,__\npacket,0.04,0.04,K__\npacket,0.12,0.04,__\npacket,0.08,0.04,__\nstream,hevc\n"
    assert summarise_packets(csv) == PictureSummary(codec="hevc", frames=3, length_s=pytest.approx(0.12))


def test_packets_without_times_are_left_out():
    """ffprobe says N/A where a container does not know."""
    assert summarise_packets("packet,N/A,N/A,K_\npacket,1.0,N/A,K_\n").frames == 1


def test_nothing():
    """An empty answer is no picture."""
    assert summarise_packets("").frames == 0
    assert compare(SOURCE, summarise_packets("")) == ["nothing plays"]


def test_equal_is_no_problem():
    """Also when the start is elsewhere and rounding differs."""
    assert compare(SOURCE, PictureSummary(codec="h264", frames=500, length_s=20.04)) == []


def test_a_lost_frame_is_seen():
    """One of five hundred."""
    assert compare(SOURCE, PictureSummary(codec="h264", frames=499, length_s=19.96)) == [
        "the source has 500 frames, 499 play"
    ]


def test_a_longer_result_is_seen():
    """More than 50 ms."""
    assert compare(SOURCE, PictureSummary(codec="h264", frames=500, length_s=20.06)) == [
        "the source is 20.000 s long, 20.060 s play"
    ]


def test_a_transcoded_picture_may_have_other_frames():
    """Its length counts."""
    assert compare(SOURCE, PictureSummary(codec="mpeg2video", frames=480, length_s=20.09)) == []


@given(st.text())
def test_no_text_makes_it_fail(text):
    """Whatever ffprobe prints."""
    assert summarise_packets(text).frames >= 0


def test_a_source_file_sees_no_network_and_a_url_no_file():
    """Each command is given the protocols that it needs."""
    file = build_file_packets_argv(Path("/x/-v.mp4"))
    assert file[file.index("-protocol_whitelist") + 1] == "file"
    assert file[-1] == "file:/x/-v.mp4"
    url = build_url_packets_argv("http://x/y.m3u8")
    assert "file" not in url[url.index("-protocol_whitelist") + 1].split(",")
