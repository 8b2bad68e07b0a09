# SPDX-License-Identifier: MIT
"""PURE: the title, year, edition and part of a film in the name of its file or folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tgsyncd.formats.jellyfin_guess import guess, letters, plain_title, qualities, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FilmReading", "read_film"]

_TITLE_YEAR = re.compile(r"^(?P<title>.*?\w.*?)[ ._]*[(\[](?P<year>(?:18|19|20)\d\d)[)\]](?P<rest>.*)$")
_DISC = re.compile(r"(?:^|[ ._([-]+)(?:cd|dvd|dis[ck])[ ._-]*(?P<part>[1-9]|[a-d])[)\]]?$", re.IGNORECASE)
# Behind a year or a resolution it counts files; behind a title it is a part of that.
_LATE_PART = re.compile(
    r"(?:(?<=[)\]])|(?<=\d{4})|(?<=\d[pi]))[ ._-]*[(\[]?(?:part|pt)[ ._-]*(?P<part>[1-9])[)\]]?$",
    re.IGNORECASE,
)
_TITLE_PART = re.compile(
    r"(?<![a-z0-9])(?:part|chapter|vol(?:ume)?)[ ._-]+(?:\d{1,2}|[ivx]+|one|two|three|four|five)(?![a-z0-9])",
    re.IGNORECASE,
)
_DISC_FILE = re.compile(r"^(?:vts_\d\d_\d|title[ _]?t?\d\d)$", re.IGNORECASE)
_LABEL = re.compile(r"^ ?- ?(?P<label>[^\[\](){}]{3,30})$")
_PLAIN_EDITIONS = frozenset({"Collector", "Deluxe", "Limited", "Special", "Ultimate"})
_3D = re.compile(r"(?<![a-z0-9])3d(?:[ ._-]+(?P<kind>h-?sbs|sbs|h-?tab|tab|mvc))?(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmReading:
    """What one name says of a film."""

    title: str
    year: int | None
    edition: str = ""
    quality: tuple[str, ...] = ()
    part: int | None = None
    is_schematic: bool = False
    """Whether it follows ``Title (Year)``, which is somebody's considered name."""


def read_film(stem: str, folder: str = "") -> FilmReading:
    """
    Read a film's file name; of ``folder``, which it stands in, title and year when they are better.

    They are when they are the same film's and follow ``Title (Year)``, or when the file names no year: the
    files of a release are often called by an abbreviation. A title that is empty was not understood.
    """
    film = _read(stem)
    if not (folder and film.title):
        return film
    around = _read(folder)
    if around.year is None or around.year != (film.year or around.year):
        return film
    if film.is_schematic or not around.title:
        return film
    is_careless = film.title == film.title.lower() and letters(film.title) == letters(around.title)
    if film.year is not None and not (around.is_schematic or is_careless):
        return film
    if not _is_same_or_short(stem, film.title, around.title):
        return film
    return FilmReading(
        title=around.title,
        year=around.year,
        edition=film.edition or around.edition,
        quality=film.quality or around.quality,
        part=film.part,
    )


def _is_same_or_short(stem: str, title: str, folder_title: str) -> bool:
    """Tell an abbreviation, and what a disc calls its files, from another film or a scene of a holiday."""
    mine, theirs = letters(title), letters(folder_title)
    return mine in theirs or theirs in mine or not re.search(r"[ ._]", stem) or bool(_DISC_FILE.match(stem))


def _read(stem: str) -> FilmReading:
    stem, part = _split_part(stem)
    match = _TITLE_YEAR.match(stem)
    guessed = guess(stem, "movie")
    edition = " ".join(filter(None, [_edition(guessed), _three_d(stem)]))
    if match is None:
        return FilmReading(
            title=_guessed_title(stem, guessed),
            year=guessed.get("year"),
            edition=edition,
            quality=qualities(guessed, stem),
            part=part,
        )
    return FilmReading(
        title=plain_title(match["title"]),
        year=int(match["year"]),
        edition=edition or _label(match["rest"], guessed),
        quality=qualities(guessed, stem),
        part=part,
        is_schematic=True,
    )


def _split_part(stem: str) -> tuple[str, int | None]:
    match = _DISC.search(stem) or _LATE_PART.search(stem)
    if match is None:
        return stem, None
    number = match["part"].lower()
    return stem[: match.start()].rstrip(" ._-"), int(number) if number.isdigit() else ord(number) - 96


def _edition(guessed: Mapping[str, Any]) -> str:
    words = words_of(guessed.get("edition"))
    return f"{words} Edition" if words in _PLAIN_EDITIONS else words


def _label(rest: str, guessed: Mapping[str, Any]) -> str:
    """Return the version that somebody named behind ``Title (Year) -``, when it is no quality."""
    match = _LABEL.match(rest)
    if match is None or any(guessed.get(key) for key in ("screen_size", "source", "video_codec")):
        return ""
    return match["label"].strip()


def _guessed_title(stem: str, guessed: Mapping[str, Any]) -> str:
    title = words_of(guessed.get("title"))
    if "date" in guessed:
        return ""  # A home video, which is called by its day.
    if "website" in guessed:
        return title
    # guessit takes "Spider-" of "Spider-Man.2002" for a group: what stands before the year is the title.
    before = plain_title(stem[: stem.rfind(str(guessed["year"]))]) if "year" in guessed else ""
    if before and not letters(before).startswith(letters(title)):
        return before
    if letters(before) == letters(title):
        return before or title
    if not before:
        title = _with_prefix(stem, title)
    alternative = guessed.get("alternative_title")
    if alternative and "year" not in guessed:
        title = f"{title} - {words_of(alternative)}"
    # guessit takes "Part 2" out of "Dune Part 2", which is another film than "Dune".
    part = _TITLE_PART.search(stem)
    if title and part and part[0].lower() not in title.lower():
        title = f"{title} {re.sub(r'[ ._-]+', ' ', part[0])}"
    return title.strip(" -.")


def _with_prefix(stem: str, title: str) -> str:
    """Give back the ``WALL-`` of ``WALL-E.1080p``."""
    match = re.match(r"^(?P<prefix>\w+-)(?P<rest>.*)$", stem)
    if match and title and plain_title(match["rest"]).startswith(title):
        return match["prefix"] + title
    return title


def _three_d(stem: str) -> str:
    match = _3D.search(stem)
    if match is None:
        return ""
    return f"3D {(match['kind'] or '').upper().replace('-', '')}".strip()
