# SPDX-License-Identifier: MIT
"""PURE: the words in names that mean something to Jellyfin (Emby.Naming/Common/NamingOptions.cs)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = [
    "EXTRA_FOLDERS",
    "EXTRA_SUFFIX",
    "EXTRA_WORDS",
    "IDENTIFIER",
    "NUMBER_WORDS",
    "SEASON_FOLDER",
    "SPECIALS_FOLDER",
    "clean",
    "find_ids",
    "without_ids",
]

EXTRA_FOLDERS: Final = {
    "behind the scenes": "behind the scenes",
    "bonus": "extras",
    "clips": "clips",
    "deleted scenes": "deleted scenes",
    "extra": "extras",
    "extras": "extras",
    "featurette": "featurettes",
    "featurettes": "featurettes",
    "interviews": "interviews",
    "other": "other",
    "scenes": "scenes",
    "shorts": "shorts",
    "trailer": "trailers",
    "trailers": "trailers",
}
"""Folders whose videos accompany the film or show above, and what Jellyfin calls them."""

EXTRA_WORDS: Final = {
    "behindthescenes": "behind the scenes",
    "clip": "clips",
    "deleted": "deleted scenes",
    "deletedscene": "deleted scenes",
    "extra": "extras",
    "featurette": "featurettes",
    "interview": "interviews",
    "other": "other",
    "scene": "scenes",
    "short": "shorts",
    "trailer": "trailers",
}
"""Endings of file names (``Film-trailer.mkv``), and the folder that says the same."""

EXTRA_SUFFIX: Final = re.compile(
    r"^(?P<owner>.*?)(?:(?:^|[ ._])*-[ ._]*(?P<word>"
    + "|".join(EXTRA_WORDS)
    + r")|[._]*(?P<trailer>trailer))$",
    re.IGNORECASE,
)

IDENTIFIER: Final = re.compile(
    r"[ ._]*[\[{(](?P<provider>tmdb|imdb|tvdb)(?:id)?[-=](?P<id>tt\d{5,10}|\d{1,10})[\]})]", re.IGNORECASE
)

SEASON_FOLDER: Final = re.compile(
    r"^(?:season|series|staffel|saison|temporada|s)[ ._-]*(?P<season>\d{1,4})(?:[ ._-]*[(\[].*)?$",
    re.IGNORECASE,
)

SPECIALS_FOLDER: Final = re.compile(r"^(?:specials?|ovas?|season[ ._-]*0+|s0+)$", re.IGNORECASE)

NUMBER_WORDS: Final = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")


def find_ids(*names: str) -> tuple[tuple[str, str], ...]:
    """Return provider and id of every ``[tmdbid-603]`` (also ``{tmdb-603}``); the first name wins."""
    found: dict[str, str] = {}
    for name in names:
        for match in IDENTIFIER.finditer(name):
            found.setdefault(match["provider"].lower(), match["id"])
    return tuple(sorted(found.items()))


def without_ids(name: str) -> str:
    """Return the name without its ids."""
    return IDENTIFIER.sub("", name).strip()


def clean(text: str) -> str:
    """Return NFC without control characters and bytes that are no text."""
    kept = "".join(
        " " if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} else char
        for char in unicodedata.normalize("NFC", text)
    )
    return re.sub(r"\s+", " ", kept).strip()
