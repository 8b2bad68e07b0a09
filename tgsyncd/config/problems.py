# SPDX-License-Identifier: MIT
"""PURE: what is wrong with a configuration, in sentences that name option, line and allowed values."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from tgsyncd.config.section import SEVERAL
from tgsyncd.config.units import parse_duration, parse_size, render_duration, render_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic.fields import FieldInfo

Location = tuple[str | int, ...]
"""Where in the tree: ``("libraries", 0, "name")``."""

# A bot token: the bot's id, a colon, 35 characters today. Nothing that looks like one is ever printed.
_TOKEN = re.compile(r"(?<![0-9])[0-9]{5,}:[A-Za-z0-9_-]{20,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong."""

    location: Location
    message: str
    line: int | None = None
    hint: str = ""


def render_location(location: Location) -> str:
    """Return ``libraries[0].name``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def redact(text: str) -> str:
    """Return the text without anything that looks like a bot token."""
    return _TOKEN.sub("[token]", text)


def explain(
    errors: Sequence[Mapping[str, Any]], root: type[BaseModel], lines: Mapping[Location, int]
) -> list[Problem]:
    """Translate pydantic's error records into problems, by line."""
    problems = [
        Problem(location=location, line=line_of(location, lines), message=redact(message))
        for error in errors
        for location, message in _each_problem(error, root)
    ]
    return by_line(problems)


def by_line(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems in the order in which somebody mends them; those without a line come first."""
    return sorted(problems, key=lambda problem: (problem.line or 0, render_location(problem.location)))


def line_of(location: Location, lines: Mapping[Location, int]) -> int | None:
    """Return the line of the key, or of the nearest section around it: a missing key has none of its own."""
    for end in range(len(location), 0, -1):
        if location[:end] in lines:
            return lines[location[:end]]
    return None


def _each_problem(error: Mapping[str, Any], root: type[BaseModel]) -> Iterator[tuple[Location, str]]:
    at: Location = error["loc"]
    if error["type"] == SEVERAL:
        for below, message in error["ctx"]["problems"]:
            yield (*at, *below), message
    else:
        yield at, _sentence(error, root)


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that was probably meant."""
    matches = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return matches[0] if matches else None


def _sentence(error: Mapping[str, Any], root: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(error["loc"], root)
    if kind == "literal_error":
        return _not_allowed(error["input"], context["expected"])
    if kind == "missing":
        return "this option is needed and is not there"
    if kind == "value_error":
        return str(context["error"])
    if kind in {"greater_than_equal", "less_than_equal"}:
        return _out_of_bounds(context, _option_at(error["loc"], root))
    message = str(error["msg"])
    return _PLAIN.get(kind, message[:1].lower() + message[1:])


_PLAIN = {
    "int_parsing": "this must be a whole number",
    "int_type": "this must be a whole number",
    "int_from_float": "this must be a whole number",
    "int_parsing_size": "this number is too long",
    "finite_number": "this must be a number",
    "float_parsing": "this must be a number",
    "float_type": "this must be a number",
    "bool_parsing": "this must be true or false",
    "bool_type": "this must be true or false",
    "string_type": "this must be text (in quotes, when it looks like a number)",
    "path_type": "this must be a path",
    "tuple_type": "this must be a list, such as [one, two]",
    "model_type": "this must hold options as 'name: value'",
    "string_pattern_mismatch": "this may hold letters, digits, blank, '.', '_' and '-', at most 64",
}


def _unknown_key(location: Location, root: type[BaseModel]) -> str:
    section, key = _section_at(location[:-1], root), str(location[-1])
    if key == "token":
        return (
            "a token does not belong into this file; put it into a file of mode 0600 and name that as "
            "token_file, or use token_env or credential"
        )
    known = [name for name, info in section.model_fields.items() if not info.exclude]
    meant = nearest(key, known) or " or ".join(_options_named(key, root, ""))
    guess = f"; did you mean {meant}?" if meant else "."
    return f"there is no option of this name{guess} Known here: {', '.join(known)}"


def _options_named(key: str, section: type[BaseModel], at: str) -> Iterator[str]:
    """Yield the options of other sections that have exactly this name: it is indented wrongly."""
    for name, info in section.model_fields.items():
        inner = model_of(info.annotation)
        if name == key and at and not info.exclude:
            yield f"{at}{name}"
        if inner is not None:
            is_one = isinstance(info.annotation, type)
            yield from _options_named(key, inner, f"{at}{name}." if is_one else f"{at}{name}[…].")


def _not_allowed(given: object, expected: str) -> str:
    allowed = re.findall(r"'([^']*)'", expected)
    meant = nearest(str(given), allowed)
    guess = f" (did you mean {meant}?)" if meant else ""
    return f"{given!r} is not one of {', '.join(allowed)}{guess}"


def _out_of_bounds(context: Mapping[str, Any], option: FieldInfo | None) -> str:
    bound = context.get("ge", context.get("le"))
    readers = [getattr(each, "func", None) for each in option.metadata] if option else []
    if parse_size in readers:
        text = render_size(int(bound))
    elif parse_duration in readers:
        text = render_duration(float(bound))
    else:
        text = f"{bound:,}"
    return f"this must be at {'least' if 'ge' in context else 'most'} {text}"


def _option_at(location: Location, root: type[BaseModel]) -> FieldInfo | None:
    names = [part for part in location if isinstance(part, str)]
    return _section_at(tuple(names[:-1]), root).model_fields.get(names[-1]) if names else None


def _section_at(location: Location, root: type[BaseModel]) -> type[BaseModel]:
    section = root
    for part in location:
        if isinstance(part, str):
            info = section.model_fields.get(part)
            section = (model_of(info.annotation) if info else None) or section
    return section


def model_of(annotation: object) -> type[BaseModel] | None:
    """Return the section that an option holds, be it one or a list of them; None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = model_of(inner)
        if found:
            return found
    return None
