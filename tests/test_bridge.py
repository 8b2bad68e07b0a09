# SPDX-License-Identifier: MIT
"""Deferred ⇄ asyncio."""

from __future__ import annotations

import asyncio

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, succeed

from tgsyncd.bridge import event_loop, from_asyncio, start, to_asyncio


@pytest_twisted.ensureDeferred
async def test_an_asyncio_coroutine_can_be_awaited_by_ours():
    """Its result comes back through real asyncio waiting."""

    async def answer():
        await asyncio.sleep(0)
        return 42

    assert await from_asyncio(answer()) == 42


@pytest_twisted.ensureDeferred
async def test_an_asyncio_error_arrives_unchanged():
    """The exception is the same, so that adapters can translate it."""

    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        await from_asyncio(fail())


@pytest_twisted.ensureDeferred
async def test_cancelling_ends_the_task_and_speaks_twisted():
    """asyncio's CancelledError never reaches our code: it would pass every `except Exception`."""
    seen = []

    async def hang():
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    deferred = from_asyncio(hang())
    event_loop().call_later(0, deferred.cancel)
    with pytest.raises(CancelledError):
        await deferred
    assert seen == ["cleaned up"]


@pytest_twisted.ensureDeferred
async def test_ours_can_be_awaited_by_asyncio():
    """APScheduler's jobs reach us so."""

    async def ours():
        return await succeed(7)

    async def theirs():
        return await to_asyncio(ours())

    assert await from_asyncio(theirs()) == 7


@pytest_twisted.ensureDeferred
async def test_a_background_coroutine_reports_its_failure_once():
    """A failure is handed over; a cancellation is not one."""
    seen = []

    async def fail():
        raise KeyError("x")

    async def hang():
        await Deferred()

    await start(fail(), seen.append)
    hanging = start(hang(), seen.append)
    hanging.cancel()
    await hanging
    assert [failure.type for failure in seen] == [KeyError]
