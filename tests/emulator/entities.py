# SPDX-License-Identifier: MIT
"""``parse_mode``: Markdown, MarkdownV2 and HTML to text and entities. PURE; the common marks, not all."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from tests.emulator.wire import failure

_LEGACY = {"```": "pre", "*": "bold", "_": "italic", "`": "code"}
_V2 = {
    "```": "pre", "__": "underline", "||": "spoiler", "*": "bold", "_": "italic", "~": "strikethrough",
    "`": "code",
}  # fmt: skip
_LEGACY_ESCAPABLE = "_*`["
_V2_ESCAPABLE = "_*[]()~`>#+-=|{}.!\\"
_V2_RESERVED = frozenset(_V2_ESCAPABLE) - {"\\"}
_TAGS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline", "ins": "underline",
    "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough", "code": "code",
    "pre": "pre", "a": "text_link", "tg-spoiler": "spoiler",
}  # fmt: skip

Entities = list[dict[str, Any]]


def parse_text(text: str, mode: str) -> tuple[str, Entities]:
    """Return the plain text and its entities; raises ApiError for what cannot be parsed."""
    if not mode:
        return text, []
    if mode.lower() == "html":
        return _parse_html(text)
    if mode.lower() == "markdown":
        return _Marks(text, _LEGACY, _LEGACY_ESCAPABLE, reserved=frozenset()).parse()
    if mode.lower() == "markdownv2":
        return _Marks(text, _V2, _V2_ESCAPABLE, reserved=_V2_RESERVED).parse()
    raise failure("unsupported parse_mode")


def utf16_length(text: str) -> int:
    """Entities count in UTF-16 code units."""
    return len(text.encode("utf-16-le")) // 2


class _Marks:
    """Both kinds of Markdown: marks that open and close, escapes, links."""

    def __init__(self, text: str, marks: dict[str, str], escapable: str, *, reserved: frozenset[str]) -> None:
        self._text = text
        self._marks = marks
        self._escapable = escapable
        self._reserved = reserved
        self._at = 0
        self._out = ""
        self._open: list[tuple[str, int, int]] = []
        self._entities: Entities = []

    def parse(self) -> tuple[str, Entities]:
        while self._at < len(self._text):
            self._step()
        if self._open:
            raise self._unclosed(self._open[-1][2])
        return self._out, sorted(self._entities, key=lambda entity: entity["offset"])

    def _step(self) -> None:
        character = self._text[self._at]
        following = self._text[self._at + 1 : self._at + 2]
        if character == "\\" and following and following in self._escapable:
            self._out += following
            self._at += 2
        elif mark := next((m for m in self._marks if self._text.startswith(m, self._at)), ""):
            self._toggle(mark)
        elif character == "[" and "](" in self._text[self._at :]:
            self._link()
        elif character in self._reserved:
            raise failure(
                f"can't parse entities: Character '{character}' is reserved and must be escaped with"
                " the preceding '\\'"
            )
        else:
            self._out += character
            self._at += 1

    def _toggle(self, mark: str) -> None:
        if self._open and self._open[-1][0] == mark:
            _, start, _ = self._open.pop()
            self._add(self._marks[mark], start)
        else:
            self._open.append((mark, utf16_length(self._out), self._at))
        self._at += len(mark)

    def _link(self) -> None:
        label, _, rest = self._text[self._at + 1 :].partition("](")
        url, closing, _ = rest.partition(")")
        if not closing:
            raise self._unclosed(self._at)
        start = utf16_length(self._out)
        self._out += label
        self._add("text_link", start, url=url)
        self._at += len(label) + len(url) + 4

    def _add(self, kind: str, start: int, **more: str) -> None:
        length = utf16_length(self._out) - start
        if length:
            self._entities.append({"offset": start, "length": length, "type": kind, **more})

    def _unclosed(self, at: int) -> Exception:
        offset = len(self._text[:at].encode())
        return failure(f"can't parse entities: Can't find end of the entity starting at byte offset {offset}")


class _Html(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out = ""
        self.entities: Entities = []
        self._open: list[tuple[str, int, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            raise failure(f'can\'t parse entities: Unsupported start tag "{tag}" at byte offset 0')
        more = {"url": dict(attrs).get("href") or ""} if tag == "a" else {}
        self._open.append((tag, utf16_length(self.out), more))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            raise failure(f'can\'t parse entities: Unexpected end tag "{tag}"')
        _, start, more = self._open.pop()
        length = utf16_length(self.out) - start
        self.entities.append({"offset": start, "length": length, "type": _TAGS[tag], **more})

    def handle_data(self, data: str) -> None:
        self.out += data


def _parse_html(text: str) -> tuple[str, Entities]:
    parser = _Html()
    parser.feed(text)
    parser.close()
    if parser._open:
        raise failure("can't parse entities: Can't find end tag")
    return parser.out, sorted(parser.entities, key=lambda entity: entity["offset"])
