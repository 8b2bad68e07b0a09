# SPDX-License-Identifier: MIT
"""``tgsyncd upload`` to Telegram is killed at random instants on a bad day, and loses and doubles nothing."""

import random

import pytest

from tests.integration.telegram_kills import run_telegram_kills

KILLS = 20
"""By hand: ``python -m tests.integration.telegram_kills --kills 100``."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_upload_killed_at_any_instant_over_a_faulty_telegram_is_finished_by_the_next(tmp_path):
    """5 % errors, 5 % truncations, 5 % lost answers: in the end the chats hold what the catalog says."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")

    report = run_telegram_kills(tmp_path, kills=KILLS, seed=seed)

    assert report.kills == KILLS
