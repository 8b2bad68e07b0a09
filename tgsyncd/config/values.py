# SPDX-License-Identifier: MIT
"""PURE: the kinds of value that options have, and how each is read from what people write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo

from tgsyncd.config.units import parse_duration, parse_size


@dataclass(frozen=True, slots=True, kw_only=True)
class PathBase:
    """Validation context: what ``~`` and relative paths mean. Without it paths stay as written."""

    home: Path
    folder: Path


def _resolve(value: Path, info: ValidationInfo) -> Path:
    base = info.context
    if not isinstance(base, PathBase):
        return value
    if value.parts[:1] == ("~",):
        value = base.home.joinpath(*value.parts[1:])
    # normpath's work without os: "a/../b" would hide that one folder lies inside another.
    resolved = base.folder
    for part in value.parts:
        resolved = resolved.parent if part == ".." else resolved / part
    return resolved


def _parse_target(value: object) -> object:
    return value if value == "max" else parse_duration(value)


def _check_cron(value: str) -> str:
    """Crontab's five fields; what stands in them is judged by the scheduler that reads them."""
    if value and not re.fullmatch(r"[0-9a-zA-Z*/,#-]+( +[0-9a-zA-Z*/,#-]+){4}", value.strip()):
        message = f"{value!r} is not five fields as in crontab, such as '0 4 * * *'"
        raise ValueError(message)
    return value.strip()


def _parse_mode(value: object) -> int:
    """YAML reads 0644 as octal 420 and "0644" as text; both mean what chmod means by it."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        message = f"{value!r} is not a file mode such as 0644"
        raise ValueError(message)  # noqa: TRY004 (pydantic lets TypeError through)
    try:
        mode = int(value, 8) if isinstance(value, str) else value
    except ValueError:
        mode = -1
    if not 0 < mode <= 0o777:
        message = f"{value!r} is not a file mode such as 0644"
        raise ValueError(message)
    return mode


def _check_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("a URL starts with http:// or https:// and names a host")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("this URL takes no user, no '?' and no '#'")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port of this URL is no number from 1 to 65535") from None
    return value.rstrip("/")


LocalPath = Annotated[Path, AfterValidator(_resolve)]
Size = Annotated[int, BeforeValidator(parse_size)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
Cron = Annotated[str, AfterValidator(_check_cron)]
Mode = Annotated[int, BeforeValidator(_parse_mode)]
Url = Annotated[str, AfterValidator(_check_url)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
Target = Annotated[float | Literal["max"], BeforeValidator(_parse_target)]
