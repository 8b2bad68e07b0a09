# SPDX-License-Identifier: MIT
"""python-telegram-bot's own tests, against the emulator: exactly those pass and fail that are known to."""

from __future__ import annotations

import subprocess

import pytest

from tests.ptb import runner


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ptbs_own_tests(tmp_path):
    """What passed passes, what fails fails for a reason that is written down, and nothing else fails."""
    try:
        runner.source()
        runner.interpreter()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"PTB's tests come from PyPI, which does not answer: {error}")
    outcome = runner.run(tmp_path)
    expected = runner.Expected.load()
    assert "WHY?" not in expected.failed.values()
    if runner.version() == expected.version:
        assert outcome.exercised == set(expected.exercised)
        assert set(outcome.failed) == set(expected.failed)
        assert set(outcome.beyond) == set(expected.beyond)
    else:
        # Another version of PTB: tests come and go, but none that passed may begin to fail.
        assert set(expected.exercised) & set(outcome.failed) == set()
        assert len(outcome.exercised) >= len(expected.exercised) * 0.9


def test_a_made_picture_is_what_it_says(tmp_path):
    """The made PNG has the size in bytes and pixels that PTB's tests expect, and is well formed."""
    from tests.emulator.methods_files import ogg_duration_s, picture_size
    from tests.ptb import fixtures

    picture = tmp_path / "x.png"
    picture.write_bytes(fixtures.render_png(fixtures.PNG_SIDE, fixtures.PNG_BYTES))
    assert picture.stat().st_size == fixtures.PNG_BYTES
    assert picture_size(picture) == (fixtures.PNG_SIDE, fixtures.PNG_SIDE)
    sound = tmp_path / "x.ogg"
    sound.write_bytes(fixtures.render_ogg(fixtures.OGG_S, fixtures.OGG_BYTES))
    assert sound.stat().st_size == fixtures.OGG_BYTES
    assert ogg_duration_s(sound) == fixtures.OGG_S
