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
from tgsyncd.formats.cron import parse_cron

_VARIABLE = re.compile(r"\$(\{[A-Za-z_]+\}|[A-Z_]+)(/|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathBase:
    """Validation context: what ``~`` and relative paths mean. Without it paths stay as written."""

    home: Path
    folder: Path


def _check_path(value: object) -> object:
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise ValueError(f"a path cannot {'hold a NUL character' if value else 'be empty'}")
    if value.startswith("~") and value != "~" and not value.startswith("~/"):
        message = f"{value!r}: only ~/ is understood, which is your own home; write the whole path"
        raise ValueError(message)
    if _VARIABLE.match(value):
        message = f"{value!r}: variables are not replaced in paths; write the whole path"
        raise ValueError(message)
    return value


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


def _check_their_path(value: str) -> str:
    """Jellyfin's own path may be one of Windows: a drive, or a server after two backslashes."""
    if not re.match(r"/|\\\\|[A-Za-z]:[/\\]", value):
        message = f"{value!r} is not a whole path such as /media/films or D:\\media\\films"
        raise ValueError(message)
    return value


def _parse_target(value: object) -> object:
    return value if value == "max" else parse_duration(value)


def _check_cron(value: str) -> str:
    """Crontab's five fields, or nothing."""
    if value.strip():
        parse_cron(value)
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
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("this URL has a '[' without its ']'") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("a URL starts with http:// or https:// and names a host")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("this URL takes no user, no '?' and no '#'")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port of this URL is no number from 1 to 65535") from None
    return value.rstrip("/")


LocalPath = Annotated[Path, BeforeValidator(_check_path), AfterValidator(_resolve)]
TheirPath = Annotated[str, AfterValidator(_check_their_path)]
Size = Annotated[int, BeforeValidator(parse_size)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
Cron = Annotated[str, AfterValidator(_check_cron)]
Mode = Annotated[int, BeforeValidator(_parse_mode)]
Url = Annotated[str, AfterValidator(_check_url)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")]
Target = Annotated[float | Literal["max"], BeforeValidator(_parse_target)]
