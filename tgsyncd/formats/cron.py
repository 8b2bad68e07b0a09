# SPDX-License-Identifier: MIT
"""
PURE: the five fields of a crontab line, as crontab(5) means them.

Sunday is 0 and 7, and when day and weekday are both restricted, either is enough. APScheduler 3 counts from
Monday and wants both (https://github.com/agronholm/apscheduler/issues/286), so weekdays leave here as names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["CronFields", "parse_cron"]

CronFields: TypeAlias = Mapping[str, str]
"""Fields by the names that APScheduler's CronTrigger has: minute, hour, day, month, day_of_week."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ITEM = re.compile(r"(\*|[0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?(?:/([0-9]{1,2}))?", re.ASCII)


def parse_cron(text: str) -> tuple[CronFields, ...]:
    """
    Return the times that a crontab line means: of one set of fields, or of either of two.

    Raises
        ValueError with a sentence for the owner.
    """
    fields = text.split()
    if len(fields) != 5:
        message = f"{text!r} is not five fields as in crontab, such as '0 4 * * *'"
        raise ValueError(message)
    minutes = _read(fields[0], "minute", 0, 59)
    hours = _read(fields[1], "hour", 0, 23)
    days = _read(fields[2], "day of the month", 1, 31)
    months = _read(fields[3], "month", 1, 12, _MONTHS, first_name=1)
    weekdays = {day % 7 for day in _read(fields[4], "weekday", 0, 7, _WEEKDAYS)}
    common = {"minute": _join(minutes, 60), "hour": _join(hours, 24), "month": _join(months, 12)}
    day = _join(days, 31)
    weekday = "*" if len(weekdays) == 7 else ",".join(_WEEKDAYS[each] for each in sorted(weekdays))
    is_possible = min(days) <= max(_DAYS_OF_MONTH[month - 1] for month in months)
    # A field that begins with "*" restricts the other one; else either is enough.
    is_either = not fields[2].startswith("*") and not fields[4].startswith("*")
    if not is_possible and not is_either:
        message = f"{text!r} is a day that no year has"
        raise ValueError(message)
    if not is_either:
        return ({**common, "day": day, "day_of_week": weekday},)
    by_weekday = {**common, "day": "*", "day_of_week": weekday}
    by_day = {**common, "day": day, "day_of_week": "*"}
    return (by_day, by_weekday) if is_possible else (by_weekday,)


def _read(
    text: str, name: str, low: int, high: int, names: tuple[str, ...] = (), *, first_name: int = 0
) -> set[int]:
    numbers = {word: number for number, word in enumerate(names, first_name)}
    found: set[int] = set()
    for item in text.lower().split(","):
        match = _ITEM.fullmatch(item)
        if match is None or (match[1] == "*" and match[2]):
            raise ValueError(_refusal(text, name, low, high, names))
        first, last, step = match[1], match[2], int(match[3] or 1)
        ends = []
        for word in (low, high) if first == "*" else (first, last or (high if match[3] else first)):
            number = numbers.get(str(word), int(word) if str(word).isdigit() else -1)
            ends.append(number)
        if not low <= ends[0] <= ends[1] <= high or step < 1:
            raise ValueError(_refusal(text, name, low, high, names))
        found.update(range(ends[0], ends[1] + 1, step))
    return found


def _refusal(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> str:
    also = f" or {names[0]} to {names[-1]}" if names else ""
    return f"{text!r} is no {name}: {low} to {high}{also}, '*', '1-5', '1,3' and '*/2' are"


def _join(numbers: set[int], all_of_them: int) -> str:
    return "*" if len(numbers) == all_of_them else ",".join(str(number) for number in sorted(numbers))
