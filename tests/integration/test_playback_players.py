# SPDX-License-Identifier: MIT
"""Players with a buffer over a line with errors and jitter: what the benchmark measures, in small."""

from __future__ import annotations

import pytest_twisted

from benchmarks.playback_players import measure


@pytest_twisted.ensureDeferred
async def test_viewers_do_not_stall_and_nothing_is_downloaded_twice(tmp_path):
    """Two of them, three quarters of a minute each, in simulated time."""
    figures = await measure(tmp_path, 48, [2], seeks=False)
    found = {figure.what: figure.value for figure in figures}
    assert found["2 viewers: stalled"] == 0
    assert found["2 viewers: downloaded / served"] <= 1.10
