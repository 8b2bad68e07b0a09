# SPDX-License-Identifier: MIT
"""``tgsyncd run`` is killed at random instants while somebody works in its folders, and loses nothing."""

import random

import pytest

from tests.integration.daemon_kills import run_daemon_kills

KILLS = 30
"""In three homes, one of them over an emulated Telegram.
By hand: ``python -m tests.integration.daemon_kills --kills 200``."""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_daemon_killed_at_any_instant_goes_on_as_if_nobody_had(tmp_path):
    """Ingest, publishing, replacing, deleting, cleanup, VACUUM, backup: see ``daemon_checks``."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")

    report = run_daemon_kills(tmp_path, kills=KILLS, seed=seed)

    print(report)
    assert report.kills == KILLS
    assert report.played > 0
