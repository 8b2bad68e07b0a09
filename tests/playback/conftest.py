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


@pytest_twisted.async_yield_fixture()
async def cached(tmp_path):
    """A server whose one video, of 5.6 MB a segment, is in the disk cache and nowhere else."""
    from twisted.internet import reactor

    from tests.playback.raw import eventually, fetch
    from tests.playback.streams import Server, ts_stream
    from tgsyncd.playback.engine import CacheSettings, Engine

    def make_engine(catalog, store):
        settings = CacheSettings(folder=tmp_path / "cache", heads_bytes=0, ahead_s=0.0)
        return Engine(catalog, store, reactor, cache=settings)

    server = await Server.start(tmp_path, make_engine=make_engine)
    server.stream = ts_stream((30_000, 30_000, 30_000))
    await server.add("movie", server.stream, document_bytes=20_000_000)
    for order in range(3):
        await fetch(server, f"/segment/movie/1/main/segment_{order:04d}.ts")
    disk = server.engine.report
    await eventually(lambda: disk()["disk"]["files"] == 3)
    await server.engine.close()
    server.store.documents.clear()
    yield server
    await server.stop()


@pytest.fixture(autouse=True)
def _engines_are_closed():
    yield
    from tests.playback.cached import Cached

    Cached.close_all()
