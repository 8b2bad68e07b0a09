# SPDX-License-Identifier: MIT
"""PURE: the section that says what playback keeps on this machine."""

from __future__ import annotations

from pydantic import Field

from tgsyncd.config.section import Section
from tgsyncd.config.values import Duration, Size


class CacheSection(Section):
    """What playback keeps of a store that is not on this machine. In `cache_dir`, apart from the memory."""

    memory_bytes: Size = Field(
        default=100_000_000,
        description="Most memory for segments: kept, on their way and being sent. What finds no room is "
        "served as it comes, once for each viewer.",
    )
    memory_duration: Duration = Field(
        default=300.0, ge=0.0, description="A segment leaves the memory so long after its last use."
    )
    disk_bytes: Size = Field(
        default=2_000_000_000, description="Most disk space for segments that were played; 0 keeps none."
    )
    heads_bytes: Size = Field(
        default=5_000_000_000,
        description="Most disk space for the beginnings of videos, about 3.3 MB each, so that starting one "
        "never waits for the store; beyond it the least recently watched go. 0 keeps none.",
    )
    ahead_duration: Duration = Field(
        default=18.0,
        ge=0.0,
        le=300.0,
        description="So much film is fetched ahead of each viewer, less when the memory is short: three "
        "segments by default. 0 fetches nothing that nobody asked for.",
    )
