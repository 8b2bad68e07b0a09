# SPDX-License-Identifier: MIT
"""The main job as a viewer sees it: every player on every packaging, through our own server."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.integration.home import in_thread, make_config, running, upload
from tests.integration.players import contradictions_of_all, make_film
from tests.players import matrix


@pytest.mark.players
@pytest.mark.slow
@pytest.mark.parametrize("packaging", matrix.PACKAGINGS)
@pytest_twisted.ensureDeferred
async def test_every_player_plays_seeks_and_reaches_the_end(packaging, tmp_path):
    """What the table says beforehand: plays, or cannot and why."""
    film = await in_thread(make_film, packaging)
    async with running(make_config(tmp_path, segments={"duration": 4.0})) as app:
        (done,) = await upload(app, film)

        assert await contradictions_of_all(app, done.outcome.video_id, packaging) == []
