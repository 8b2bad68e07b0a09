# SPDX-License-Identifier: MIT
"""A minute of everything at once: nothing wrong is served, and nothing is kept when all have left."""

from __future__ import annotations

import statistics

import pytest

from tests.integration.soak import run_soak


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_minute_of_everything_leaks_nothing(tmp_path):
    """The ten minutes, with their times: ``python -m benchmarks.playback_soak``."""
    report = run_soak(tmp_path, seconds=60, viewers=6, video_every_s=8, film_repeats=3)

    assert report.seen["segment"] > 0, report.seen
    wrong = {what: count for what, count in report.seen.items() if "WRONG" in what or "status" in what}
    assert wrong == {}
    assert report.stored >= 2
    # Looking at what is loaded would stop the reactor for 50 ms and more, again and again.
    assert report.at_rest["objects_passed_over"] > 50_000
    # Bounds for leaks, not figures: what grows with every request would be hundreds here.
    assert report.after["descriptors"] <= report.at_rest["descriptors"] + 16
    assert report.after["threads"] <= report.at_rest["threads"] + 6
    assert report.after["calls"] <= report.at_rest["calls"] + 20
    # 40 MB of cache, and what is being hashed, written and sent of it.
    middle = statistics.median(sample["rss_bytes"] for sample in report.samples[5:15])
    assert report.samples[-1]["rss_bytes"] <= middle + 80_000_000
