# SPDX-License-Identifier: MIT
"""Command lines without a process."""

from __future__ import annotations

import pytest

from tests.fakes.cli_shell import Commands


@pytest.fixture
def tgsyncd(tmp_path) -> Commands:
    """``tgsyncd("list", "--json")`` returns the exit code; ``.out`` and ``.err`` hold what was printed."""
    return Commands(tmp_path)
