# SPDX-License-Identifier: MIT
"""Shared set-up. pytest-twisted installs the asyncio reactor (``--reactor=asyncio``) before anything else."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import HealthCheck, settings
from twisted.internet import asyncioreactor

# pytest-twisted installs it too, but only after conftest files were imported: those of a folder named on
# the command line may import Klein, which would install the default reactor.
if "twisted.internet.reactor" not in sys.modules:
    asyncioreactor.install()

pytest_plugins = ["tests.canary_logs"]

# The same examples at every run where nobody watches; anew at every run by hand, where a find is welcome. No
# deadlines and no complaints of slowness anywhere: machines are noisy.
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("ci", derandomize=True, **_CALM)
settings.register_profile("hand", **_CALM)
settings.load_profile("ci" if os.environ.get("CI") else "hand")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take minutes, so that no worker is left alone with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
