# SPDX-License-Identifier: MIT
"""YAML text to a plain tree, with the line on which each key stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tgsyncd.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tgsyncd.config.problems import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlTree:
    """What a YAML file says: values, and the line (from 1) of each."""

    values: Mapping[str, Any]
    lines: Mapping[Location, int]
    problems: Sequence[Problem]


def parse_yaml(text: str) -> YamlTree:
    """Read YAML. What is wrong with it is in ``problems``; nothing is raised."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        what = error.problem or "this is not YAML"
        return _failed(Problem(location=(), line=line, message=f"this is not valid YAML: {what}"))
    except (yaml.YAMLError, ValueError) as error:
        return _failed(Problem(location=(), line=None, message=f"this is not valid YAML: {error}"))
    if values is None:
        values = {}
    if not isinstance(values, dict):
        return _failed(Problem(location=(), line=1, message="the file must hold options as 'name: value'"))
    lines: dict[Location, int] = {}
    problems = list(_walk(node, (), lines)) if node is not None else []
    return YamlTree(values=values, lines=lines, problems=problems)


def _failed(problem: Problem) -> YamlTree:
    return YamlTree(values={}, lines={}, problems=[problem])


def _walk(node: yaml.Node, at: Location, lines: dict[Location, int]) -> Iterator[Problem]:
    """Note the lines below ``node``; yield keys given twice, of which YAML would keep the last silently."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, str(key.value))
            line = key.start_mark.line + 1
            if here in lines:
                message = f"this key was given before, on line {lines[here]}"
                yield Problem(location=here, line=line, message=message)
            lines[here] = line
            yield from _walk(value, here, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*at, index)
            lines[here] = value.start_mark.line + 1
            yield from _walk(value, here, lines)
