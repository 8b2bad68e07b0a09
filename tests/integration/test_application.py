# SPDX-License-Identifier: MIT
"""The application as a whole, apart from what it ingests."""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.integration.home import make_config, running
from tgsyncd.errors import ConfigError


@pytest_twisted.ensureDeferred
async def test_an_address_of_another_machine_cannot_be_listened_on_and_the_hint_thinks_of_that(tmp_path):
    """The next step may be another address as well as another port."""
    async with running(make_config(tmp_path), listen=False) as app:
        with pytest.raises(ConfigError) as caught:
            await app.listen(host="203.0.113.1", port=0)
    assert str(caught.value).startswith("cannot listen on 203.0.113.1:0: Cannot assign requested address")
    assert "another machine's address" in caught.value.hint


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_blamed_on_who_may_have_it(tmp_path):
    """Another port is the next step."""
    async with running(make_config(tmp_path)) as app:
        with pytest.raises(ConfigError, match="Address already in use") as caught:
            await app.listen(host="127.0.0.1", port=app.config.server.port)
    assert "server.port" in caught.value.hint
