# SPDX-License-Identifier: MIT
"""The SQLite catalog runs the catalog contract, and keeps promises of its own."""

from __future__ import annotations

import pytest_twisted
from twisted.internet import reactor

from tests.contracts.catalog import CatalogContract
from tgsyncd.catalog import Catalog


class TestSqliteCatalog(CatalogContract):
    @pytest_twisted.async_yield_fixture
    async def catalog(self, tmp_path, clock):
        catalog = await Catalog.open(tmp_path / "catalog.sqlite3", reactor=reactor, clock=clock)
        yield catalog
        await catalog.close()
