# SPDX-License-Identifier: MIT
"""PURE: ``TGSYNCD_…`` environment variables: one for each option that is a plain value or a list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgsyncd.config.problems import model_of, nearest
from tgsyncd.config.schema import Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

    from tgsyncd.config.problems import Location

PREFIX = "TGSYNCD_"
# Read by the command line, where they are the same as flags.
FLAGS = ("TGSYNCD_BOT_TOKEN", "TGSYNCD_CHAT_ID", "TGSYNCD_CONFIG", "TGSYNCD_HOST", "TGSYNCD_PORT")


def variable_of(location: Location) -> str:
    """Return the variable's name: ``("spool", "max_bytes")`` is ``TGSYNCD_SPOOL_MAX_BYTES``."""
    return PREFIX + "_".join(str(part).upper() for part in location)


def variables() -> Mapping[str, Location]:
    """Return all variables with the option that each sets."""
    return {variable_of(location): location for location in _plain_options(Config, ())}


def read_variables(environ: Mapping[str, str]) -> tuple[Mapping[Location, object], tuple[str, ...]]:
    """Return the options set by variables, and a warning for each variable that sets none."""
    known = variables()
    found: dict[Location, object] = {}
    warnings = []
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or name in FLAGS:
            continue
        if name in known:
            found[known[name]] = _value_of(text, known[name])
        else:
            meant = nearest(name.lower(), [other.lower() for other in (*known, *FLAGS)])
            guess = f"; did you mean {meant.upper()}?" if meant else ""
            warnings.append(f"the environment variable {name} sets nothing{guess}")
    return found, tuple(warnings)


def _plain_options(section: type[BaseModel], at: Location) -> Iterator[Location]:
    for name, info in section.model_fields.items():
        inner = model_of(info.annotation)
        if info.exclude:
            continue  # A secret: a variable that stays in the environment would reach every child.
        if inner is None:
            yield (*at, name)
        elif isinstance(info.annotation, type):  # one section; a list of sections has no variable
            yield from _plain_options(inner, (*at, name))


def _value_of(text: str, location: Location) -> object:
    section: type[BaseModel] = Config
    for part in location[:-1]:
        section = model_of(section.model_fields[str(part)].annotation) or section
    is_list = str(section.model_fields[str(location[-1])].annotation).startswith("tuple[")
    if is_list:
        return [part.strip() for part in text.split(",") if part.strip()]
    return text or None
