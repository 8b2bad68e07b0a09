# SPDX-License-Identifier: MIT
"""PURE: the schema as a YAML file to copy (``tgsyncd.yaml.example``) and as docs/configuration.md."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from tgsyncd.config.environment import variables
from tgsyncd.config.problems import model_of, render_location
from tgsyncd.config.schema import Config
from tgsyncd.config.units import render_duration, render_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from tgsyncd.config.problems import Location

_HEAD = """\
# Configuration of tgsyncd. Every option is here with its default; remove what you do not change.
# Sizes take kB, MB, GB or KiB, MiB, GiB; durations ms, s, min, h, d. Relative paths are relative to this
# file, ~ is your home. Check a change with: tgsyncd config check
"""

_EXAMPLES = {
    "libraries": """\
#  - name: Films
#    source: /srv/films
#    publish: /srv/jellyfin/films
#    kind: movies
""",
    "telegram.bots": """\
#    - token_file: /etc/tgsyncd/bot-1.token
#    - credential: bot-2
""",
    "telegram.chats": "#    - -1001234567890\n",
    "server.public_urls": "#    - http://192.168.1.100:8080\n",
    "server.allowed_hosts": "#    - nas.home\n",
    "server.trusted_proxies": "#    - 127.0.0.1\n#    - 172.18.0.0/16\n",
}


def render_example() -> str:
    """Return the example file. It reads as the defaults."""
    return f"{_HEAD}\n" + "\n".join(_example_section(Config, ()))


def render_reference() -> str:
    """Return the options as Markdown: one table a section."""
    parts = []
    for at, section in _sections(Config, ()):
        name = render_location(at)
        title = f"`{name}`" if name else "Top level"
        parts.append(f"## {title}\n\n{(section.__doc__ or '').strip()}\n")
        parts.append("| option | default | allowed | meaning |\n| --- | --- | --- | --- |")
        for key, info in _plain_fields(section):
            parts.append(
                f"| `{key}` | {_default_text(key, info)} | {_allowed_text(key, info)} | {info.description} |"
            )
        parts.append("")
    rows = [f"| `{name}` | `{render_location(at)}` |" for name, at in sorted(variables().items())]
    parts += ["## Environment variables\n", "| variable | option |\n| --- | --- |", *rows]
    return "\n".join(parts) + "\n"


def _sections(section: type[BaseModel], at: Location) -> Iterator[tuple[Location, type[BaseModel]]]:
    yield at, section
    for key, info in section.model_fields.items():
        inner = model_of(info.annotation)
        if inner is not None:
            suffix = "" if isinstance(info.annotation, type) else "[]"
            yield from _sections(inner, (*at, f"{key}{suffix}"))


def _plain_fields(section: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [
        (key, info)
        for key, info in section.model_fields.items()
        if not info.exclude and not (isinstance(info.annotation, type) and model_of(info.annotation))
    ]


def _example_section(section: type[BaseModel], at: Location) -> Iterator[str]:
    indent = "  " * len(at)
    for key, info in section.model_fields.items():
        if info.exclude:
            continue  # filled in when the file is read: a secret
        inner = model_of(info.annotation)
        here = (*at, key)
        if inner is not None and isinstance(info.annotation, type):
            yield f"{_comment(inner.__doc__ or '', '')}{key}:\n" + "".join(_example_section(inner, here))
            continue
        example = _EXAMPLES.get(render_location(here), "")
        more = f"{indent}# Instead of [], for example:\n{example}" if example else ""
        yield f"{_comment(_note(info), indent)}{indent}{key}: {_yaml_text(key, info)}\n{more}"


def _note(info: FieldInfo) -> str:
    choices = _choices(info)
    return f"{info.description} One of: {', '.join(choices)}." if choices else f"{info.description}"


def _comment(text: str, indent: str) -> str:
    width = 100 - len(indent)
    lines = textwrap.wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)
    return "".join(f"{indent}# {line}\n" for line in lines)


def _yaml_text(key: str, info: FieldInfo) -> str:
    value, key = info.default, _unit_key(key, info)
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return f"[{', '.join(_scalar(key, each) for each in value)}]"
    return _scalar(key, value)


def _unit_key(key: str, info: FieldInfo) -> str:
    """Return the key, or ``duration`` for an option that is one by another name."""
    extra = info.json_schema_extra
    return "duration" if isinstance(extra, dict) and extra.get("unit") == "s" else key


def _scalar(key: str, value: Any) -> str:
    text = str(value)
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif key.endswith("_mode") and isinstance(value, int):
        text = f'"{value:04o}"'
    elif key.endswith("bytes"):
        text = render_size(value)
    elif key.endswith("duration") and isinstance(value, float):
        text = render_duration(value)
    elif value == "none" or (isinstance(value, str) and value[:1] in "*!"):
        text = f'"{value}"'
    return text


def _default_text(key: str, info: FieldInfo) -> str:
    if info.is_required():
        return "needed"
    text = _yaml_text(key, info)
    return "" if text in {"null", "[]"} else f"`{text}`"


def _allowed_text(key: str, info: FieldInfo) -> str:
    choices = _choices(info)
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    bounds: dict[str, Any] = {}
    for each in info.metadata:
        bounds |= {name: getattr(each, name) for name in ("ge", "le") if hasattr(each, name)}
    words = [
        f"{word} {_scalar(_unit_key(key, info), bounds[name])}"
        for name, word in (("ge", "at least"), ("le", "at most"))
        if name in bounds
    ]
    return " and ".join(words)


def _choices(info: FieldInfo) -> list[str]:
    if get_origin(info.annotation) is Literal:
        return [str(choice) for choice in get_args(info.annotation)]
    return []
