# SPDX-License-Identifier: MIT
"""Daemons, and films for them."""

from __future__ import annotations

import pytest

from tests.service.running import Daemon, make_clip


@pytest.fixture
def new_daemon(tmp_path):
    """Make a daemon that is not started; whatever runs at the end is killed."""
    made = []

    def make(**sections) -> Daemon:
        folder = tmp_path / f"home{len(made)}"
        folder.mkdir()
        made.append(Daemon(folder, **sections))
        return made[-1]

    yield make
    for daemon in made:
        daemon.close()


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Four different small films."""
    folder = tmp_path_factory.mktemp("films")
    return [make_clip(folder / f"{number}.mkv", tone_hz=200 + 100 * number) for number in range(4)]
