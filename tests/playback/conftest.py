# SPDX-License-Identifier: MIT
"""A server with nothing in it."""

from __future__ import annotations

import pytest
import pytest_twisted


@pytest_twisted.async_yield_fixture()
async def server(tmp_path):
    # Imported late: Klein and twisted.internet.reactor install a reactor, and conftest files come before
    # pytest-twisted installs ours.
    from tests.playback.streams import Server

    running = await Server.start(tmp_path)
    yield running
    await running.stop()


@pytest.fixture(autouse=True)
def _engines_are_closed():
    yield
    from tests.playback.cached import Cached

    Cached.close_all()
