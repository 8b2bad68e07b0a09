# SPDX-License-Identifier: MIT
"""A kill at any instant loses nothing that was acknowledged, and needs no hand to recover."""

from __future__ import annotations

import subprocess
import sys


def test_thirty_kills_leave_the_catalog_intact(tmp_path):
    """Sound, and equal to a catalog that was never killed; see ``killing`` (which prints its seed)."""
    argv = [sys.executable, "-m", "tests.catalog.killing", "--kills", "30", str(tmp_path)]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "30 kills" in result.stdout
