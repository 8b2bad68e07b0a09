# SPDX-License-Identifier: MIT
"""YAML text to a plain tree, with the line on which each key stands; what is wrong with it in plain words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tgsyncd.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tgsyncd.config.problems import Location

MAX_BYTES = 256_000
"""The example has 30 kB. YAML is read at some 100 kB a second."""
MAX_VALUES = 20_000
"""Aliases count as often as they are used: ten lines of them can stand for a billion values."""
MAX_DEPTH = 32
MAX_DIGITS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlTree:
    """What a YAML file says: values, and the line (from 1) of each."""

    values: Mapping[str, Any]
    lines: Mapping[Location, int]
    problems: Sequence[Problem]


class _Unusable(Exception):
    """The text can be no configuration."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def parse_yaml(text: str) -> YamlTree:
    """Read YAML. What is wrong with it is in ``problems``; nothing is raised."""
    lines: dict[Location, int] = {}
    try:
        values, problems = _read(text, lines)
    except _Unusable as error:
        problem = Problem(location=(), line=error.line, message=str(error))
        return YamlTree(values={}, lines={}, problems=[problem])
    return YamlTree(values=values, lines=lines, problems=problems)


def _read(text: str, lines: dict[Location, int]) -> tuple[Mapping[str, Any], list[Problem]]:
    if len(text) > MAX_BYTES:
        raise _Unusable(f"this is longer than {MAX_BYTES // 1000} kB, which no configuration is")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        problems = list(_Walk(lines).walk(node, (), ())) if node is not None else []
        values = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        raise _explain(error) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise _Unusable(f"the character U+{code:04X} may not stand in YAML", line) from error
    except RecursionError:
        raise _Unusable(f"this is nested more than {MAX_DEPTH} deep, which no option is") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _Unusable(f"this is not valid YAML: {error}") from error
    if node is not None and values is not None and not isinstance(values, dict):
        raise _Unusable("the file must hold options as 'name: value'", node.start_mark.line + 1)
    return values or {}, problems


class _Walk:
    """Notes the lines below a node, within bounds, before anything is built of it."""

    def __init__(self, lines: dict[Location, int]) -> None:
        self._lines = lines
        self._count = 0

    def walk(self, node: yaml.Node, at: Location, around: tuple[yaml.Node, ...]) -> Iterator[Problem]:
        """Yield keys given twice, of which YAML would keep the last silently. Raises _Unusable."""
        self._count += 1
        if any(node is outer for outer in around):
            raise _Unusable("this holds itself by an alias (*), which no option does", _line(node))
        if self._count > MAX_VALUES:
            message = f"aliases (*) make this more than {MAX_VALUES:,} values, which no configuration has"
            raise _Unusable(message, _line(node))
        if len(around) > MAX_DEPTH:
            raise _Unusable(f"this is nested more than {MAX_DEPTH} deep, which no option is", _line(node))
        if isinstance(node, yaml.ScalarNode):
            _simplify(node)
        elif isinstance(node, yaml.MappingNode):
            yield from self._walk_mapping(node, at, (*around, node))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                here = (*at, index)
                self._lines.setdefault(here, value.start_mark.line + 1)
                yield from self.walk(value, here, (*around, node))

    def _walk_mapping(
        self, node: yaml.MappingNode, at: Location, around: tuple[yaml.Node, ...]
    ) -> Iterator[Problem]:
        seen: dict[Location, int] = {}
        merged = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Unusable("the name of an option must be text", _line(key))
            if key.tag == "tag:yaml.org,2002:merge":
                merged.append(value)
                continue
            # "on", "5" and "~" are names here, not a truth value, a number and nothing.
            key.tag = "tag:yaml.org,2002:str"
            here, line = (*at, str(key.value)), key.start_mark.line + 1
            if here in seen:
                message = f"this key was given before, on line {seen[here]}"
                yield Problem(location=here, line=line, message=message)
                continue
            seen[here] = self._lines[here] = line
            yield from self.walk(value, here, around)
        for value in merged:  # what is merged (<<) gives way to what is written
            for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from self._walk_merged(each, at, around)

    def _walk_merged(self, node: yaml.Node, at: Location, around: tuple[yaml.Node, ...]) -> Iterator[Problem]:
        lines: dict[Location, int] = {}
        outer, self._lines = self._lines, lines
        try:
            yield from self.walk(node, at, around)
        finally:
            self._lines = outer
        for here, line in lines.items():
            outer.setdefault(here, line)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _simplify(node: yaml.ScalarNode) -> None:
    """Let no date be made of text (a folder named 2020-01-01), and no number that takes long."""
    if node.tag == "tag:yaml.org,2002:timestamp":
        node.tag = "tag:yaml.org,2002:str"
    elif node.tag in {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"} and len(node.value) > MAX_DIGITS:
        raise _Unusable("this number is too long", _line(node))


_EXPLANATIONS: tuple[tuple[str, str], ...] = (
    (r"found character '\\t'", "a tab stands here; YAML is indented with blanks"),
    (r"found character '(?P<a>.)'", "text that begins with {a} must stand in quotes"),
    (r"found unexpected end of stream", "a quotation mark is opened here and never closed"),
    (r"expected alphabetic or numeric", "text that begins with * or & must stand in quotes"),
    (r"mapping values are not allowed", "a second ': ' stands here; put text that holds one in quotes"),
    (r"found another document", "a second document begins here ('---'); a configuration is one"),
    (r"undefined alias '(?P<a>[^']*)'", "*{a} means nothing; text that begins with * must stand in quotes"),
    (r"constructor for the tag '(?P<a>[^']*)'", "the tag {a} means nothing here"),
    (r"expected ',' or '(?P<a>[]}}])'", "what is opened here is not closed: a ',' or '{a}' is missing"),
    (r"expected <block end>, but found '-'", "a '-' of a list stands where an option is expected"),
    (r"expected <block end>", "this line is indented as none above it; options of one section begin alike"),
    (r"could not find expected ':'", "the ':' after an option's name is missing"),
)  # fmt: skip
_WHERE_IT_OPENED = ("found unexpected end of stream", "expected ','")


def _explain(error: yaml.MarkedYAMLError) -> _Unusable:
    """Return a sentence for the owner, and the line to look at."""
    problem = str(error.problem or "")
    mark = error.problem_mark
    if problem.startswith(_WHERE_IT_OPENED) and error.context_mark is not None:
        mark = error.context_mark
    words = problem or str(error)
    for pattern, explanation in _EXPLANATIONS:
        found = re.search(pattern, problem)
        if found:
            words = explanation.format(**found.groupdict())
            break
    return _Unusable(f"this is not valid YAML: {words}", mark.line + 1 if mark is not None else None)
