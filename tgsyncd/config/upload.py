# SPDX-License-Identifier: MIT
"""PURE: how much of the line uploads may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from tgsyncd.config.hours import check_span, is_within
from tgsyncd.config.section import Section
from tgsyncd.config.units import parse_size
from tgsyncd.config.values import Size

if TYPE_CHECKING:
    import datetime as dt

LEAST_BYTES_PER_S = 16_000
"""A document of 19.9 MB takes 20 minutes then; much slower, and connections would be given up."""


class UploadSection(Section):
    """How fast documents are sent to the store. Those that are only linked on the same disk do not count."""

    bytes_per_s: Size = Field(
        default=0,
        description="Most bytes a second that all uploads take together, such as `500 kB`: at least 16 kB; 0 "
        "is no limit.",
    )
    hours: tuple[str, ...] = Field(
        default=(),
        description="Other limits at some hours, such as `18:00-23:30 250 kB` (local time); with 0 there is "
        "none then. The first that fits counts.",
    )

    @field_validator("bytes_per_s")
    @classmethod
    def _is_possible(cls, value: int) -> int:
        if 0 < value < LEAST_BYTES_PER_S:
            raise ValueError("an upload needs at least 16 kB a second; 0 is no limit")
        return value

    @field_validator("hours")
    @classmethod
    def _are_limits(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            cls._is_possible(_parse(text)[1])
        return value


def limit_at(section: UploadSection, now: dt.datetime) -> int | None:
    """Return the bytes a second that uploads may take at this local time; None is no limit."""
    for text in section.hours:
        span, limit = _parse(text)
        if is_within(span, now):
            return limit or None
    return section.bytes_per_s or None


def _parse(text: str) -> tuple[str, int]:
    span, _, limit = text.partition(" ")
    if not limit:
        message = f"{text!r} is not hours and a limit such as 18:00-23:30 250 kB"
        raise ValueError(message)
    return check_span(span), parse_size(limit)
