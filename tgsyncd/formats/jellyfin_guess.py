# SPDX-License-Identifier: MIT
"""PURE: ``guessit`` for messy names, and what of its answer is used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["guess", "letters", "plain_title", "qualities", "trimmed", "words_of"]


def guess(name: str, kind: Literal["movie", "episode"] | None = None) -> Mapping[str, Any]:
    """Return what guessit makes of a file name without its suffix; nothing when it fails."""
    # Imported here: it takes 0.12 s, which no verb but those that publish need wait for.
    from guessit import guessit  # noqa: PLC0415
    from guessit.api import GuessitException  # noqa: PLC0415

    try:
        # With a suffix, else the last ".word" of a title would be taken for one.
        return dict(guessit(f"{name}.mkv", {"type": kind} if kind else None))
    except GuessitException:
        return {}


def words_of(value: object) -> str:
    """Return one text of what may be several."""
    if isinstance(value, list):
        return " ".join(str(each) for each in value)
    return "" if value is None else str(value)


def qualities(guessed: Mapping[str, Any], stem: str) -> tuple[str, ...]:
    """Return what tells versions of a video apart, the best known first."""
    texts = [words_of(guessed.get(key)) for key in ("screen_size", "source", "video_codec")]
    # A group at the beginning may be "Spider" of "Spider-Man".
    group = words_of(guessed.get("release_group"))
    if not stem.startswith(group):
        texts.append(group)
    return tuple(text for text in texts if text)


def plain_title(text: str) -> str:
    """
    Return a title as people write it: ``Agents.of.S.H.I.E.L.D`` is ``Agents of S.H.I.E.L.D``.

    Dots and underscores are spaces where there are no others; dots between single letters stay.
    """
    text = re.sub(r"^\s*\[[^\]]*\][ ._]*(?=[^\s(\[])", "", text)
    if " " not in text.strip():
        text = re.sub(r"(?<=\w\w)\.|\.(?=\w\w)|_", " ", text)
    return trimmed(re.sub(r"\s+", " ", text.replace("_", " ")))


def trimmed(text: str) -> str:
    """Return the text without separators around it; a bracket that was opened at its end is one."""
    return text.lstrip(" -_.,").rstrip(" -_.,([{")


def letters(text: str) -> str:
    """Return what two spellings of a title share."""
    return "".join(char for char in text.casefold() if char.isalnum())
