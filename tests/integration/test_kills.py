# SPDX-License-Identifier: MIT
"""``tgsyncd upload`` is killed with SIGKILL at random instants, and loses nothing."""

import random
from functools import partial

import pytest

from tests.integration.kills import SOURCES, Home, make_source, run_kills

KILLS = {"copied": 9, "transcoded": 6}
"""By hand: ``python -m tests.integration.kills --kills 60``."""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", SOURCES)
def test_an_ingest_killed_at_any_instant_is_finished_by_the_next(kind, tmp_path):
    """The catalog is intact after each kill; in the end all is as if nobody had killed anything."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")

    report = run_kills(tmp_path, partial(Home, source=make_source(kind)), kills=KILLS[kind], seed=seed)

    assert report.kills == KILLS[kind]
