# SPDX-License-Identifier: MIT
"""PURE: a configuration file's text with other ``store`` and ``telegram`` sections, the rest as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tgsyncd.config.schema import Telegram
from tgsyncd.config.yamltext import parse_yaml
from tgsyncd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_HEAD = "# Written by: tgsyncd telegram setup. All options: tgsyncd config example\n"


def render_telegram_sections(
    *,
    token_files: Sequence[Path],
    chats: Sequence[int],
    scratch_chat: int | None,
    base_url: str,
    base_file_url: str,
    local_mode: bool,
) -> Mapping[str, str]:
    """Return the sections ``store`` and ``telegram`` as YAML; defaults are left out. Holds no token."""
    lines = ["telegram:", "  bots:"]
    lines += [f"    - token_file: {_quoted(str(path))}" for path in token_files]
    lines += ["  chats:", *(f"    - {chat}" for chat in chats)]
    if scratch_chat is not None:
        lines.append(f"  scratch_chat: {scratch_chat}")
    default = Telegram()
    if (base_url, base_file_url) != (default.base_url, default.base_file_url):
        lines += [f"  base_url: {_quoted(base_url)}", f"  base_file_url: {_quoted(base_file_url)}"]
    if local_mode:
        lines.append("  local_mode: true")
    return {"store": "store:\n  kind: telegram\n", "telegram": "\n".join(lines) + "\n"}


def replace_sections(text: str, sections: Mapping[str, str]) -> str:
    """
    Return the text with these top-level sections put in the place of those of the same name, or at the end.

    All other lines stay as they are, with their comments.

    Raises
        ConfigError: the text is no YAML, or is written in a way in which this cannot be done.
    """
    tree = parse_yaml(text)
    if tree.problems:
        problem = tree.problems[0]
        raise ConfigError(f"line {problem.line}: {problem.message}" if problem.line else problem.message)
    lines = text.splitlines(keepends=True) or [_HEAD]
    if not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    starts = sorted((line - 1, str(at[0])) for at, line in tree.lines.items() if len(at) == 1)
    missing = dict(sections)
    end = len(lines)
    for start, name in reversed(starts):
        if name in sections:
            lines[start : _without_what_follows(lines, start, end)] = [missing.pop(name)]
        end = start
    result = "".join([*lines, *(f"\n{section}" for section in missing.values())])
    _check_rest(text, result, sections)
    return result


def _quoted(text: str) -> str:
    """Return YAML's double-quoted form: a path may hold quotes, colons and line breaks."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in escaped) + '"'


def _without_what_follows(lines: Sequence[str], start: int, end: int) -> int:
    """Return the section's end: blank lines and comments at the margin belong to what comes after it."""
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1
    return end


def _check_rest(before: str, after: str, sections: Mapping[str, str]) -> None:
    """Flow style ("{store: …}"), several documents and anchors are YAML that lines do not tell apart."""
    tree = parse_yaml(after)
    wanted = {**parse_yaml(before).values, **parse_yaml("".join(sections.values())).values}
    if tree.problems or dict(tree.values) != wanted:
        raise ConfigError(
            "this file is written in a way that cannot be edited",
            hint="write each top-level section on lines of its own, or let another file be written",
        )
