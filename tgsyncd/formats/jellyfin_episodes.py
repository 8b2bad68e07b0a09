# SPDX-License-Identifier: MIT
"""PURE: show, season and episode in the name of a file and the folders around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tgsyncd.formats.jellyfin_films import read_film
from tgsyncd.formats.jellyfin_guess import guess, letters, plain_title, qualities, trimmed, words_of
from tgsyncd.formats.jellyfin_words import SEASON_FOLDER, SPECIALS_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EpisodeReading", "read_episode", "season_of_folder"]

# An absolute number above this belongs to a show of several seasons: which one, its name does not say.
SINGLE_SEASON_MAX = 99

# More episodes than this in one file is a misreading, such as of a range of a whole season.
SPAN_MAX = 12

_SXXEXX = re.compile(
    r"(?<![a-z0-9])s(?P<season>\d{1,4})[ ._-]*ep?[ ._]?(?P<first>\d{1,4})"
    r"(?P<more>(?:[ ._]*-?[ ._]*e\d{1,4}|-\d{2,3}(?![\dpix]))*)(?!\d)",
    re.IGNORECASE,
)
_NXNN = re.compile(
    r"(?<![a-z0-9])(?P<season>\d{1,2})x(?P<first>\d{2,3})(?P<more>(?:-?x\d{2,3}|-\d{2,3}(?![\dpi]))*)(?!\d)",
    re.IGNORECASE,
)
_IN_WORDS = re.compile(
    r"(?<![a-z0-9])season[ ._-]*(?P<season>\d{1,2})[ ._,-]*(?:episode|ep|e)[ ._-]*"
    r"(?P<first>\d{1,3})(?P<more>)(?!\d)",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)[ ._-](?P<month>0[1-9]|1[0-2])[ ._-](?P<day>0[1-9]|[12]\d|3[01])(?!\d)"
)
_BARE_NUMBER = re.compile(
    r"^(?:(?:episode|ep|e)[ ._-]*)?(?P<first>\d{1,3})(?=$|[ ._-])(?![ ._-]*\d{4})", re.IGNORECASE
)
# "[Group] Title - 05v2 [1080p]": the hyphen with spaces is what tells a number from a title's own.
_ABSOLUTE = re.compile(
    r"^(?:\[[^\]]*\][ _]*)?(?P<title>[^\[\]]*?[^\[\]\s_-])[ _]+-[ _]+(?P<number>\d{1,4})(?:v\d)?"
    r"(?:[ _]+-[ _]+(?P<name>[^\[(]+?))?(?=$|[ _]*[\[(]|[ _]+(?:END|\d{3,4}p))"
)
_SEASON_IN_TITLE = re.compile(
    r"^(?P<title>.*\w)[ ]+(?:s(?:eason[ ]*)?(?P<a>\d{1,2})|(?P<b>\d)(?:st|nd|rd|th)[ ]+season)$",
    re.IGNORECASE,
)
_YEAR_BEHIND = re.compile(r"^(?P<title>.*\w.*?)[ ._]+[(\[]?(?P<year>(?:19|20)\d\d)[)\]]?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeReading:
    """What one name and its folders say of an episode. ``title`` is the show's."""

    title: str
    year: int | None = None
    season: int | None = None
    episodes: tuple[int, ...] = ()
    date: str | None = None
    absolute: int | None = None
    episode_title: str = ""
    quality: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    """What a file name says without its folders."""

    before: str
    season: int | None = None
    episodes: tuple[int, ...] = ()
    date: str | None = None
    absolute: int | None = None
    name: str = ""


def season_of_folder(folder: str) -> int | None:
    """Return the season that a folder holds: 0 for specials, None for a folder of something else."""
    if SPECIALS_FOLDER.match(folder):
        return 0
    match = SEASON_FOLDER.match(folder)
    return int(match["season"]) if match else None


def read_episode(folders: Sequence[str], stem: str, *, is_show: bool) -> EpisodeReading | None:
    """
    Read an episode's file name in its folders (the outermost first).

    ``is_show`` is what the library says: without it only what cannot be a film is an episode.
    """
    season = season_of_folder(folders[-1]) if folders else None
    show_folders = folders[:-1] if season is not None else folders
    is_show = is_show or season is not None
    numbers = _read_numbers(stem, season=season, is_show=is_show)
    if numbers is None:
        return None
    title, year = _choose_show(numbers.before, show_folders, is_below=season is not None)
    if not title:
        return None
    guessed = guess(stem, "episode")
    return EpisodeReading(
        title=title,
        year=year,
        season=numbers.season,
        episodes=numbers.episodes,
        date=numbers.date,
        absolute=numbers.absolute,
        episode_title=numbers.name or _guessed_episode_title(guessed),
        quality=qualities(guessed, stem),
    )


def _read_numbers(stem: str, *, season: int | None, is_show: bool) -> _Numbers | None:
    for pattern in (_SXXEXX, _NXNN, _IN_WORDS):
        match = pattern.search(stem)
        if match is not None:
            return _Numbers(
                before=stem[: match.start()],
                season=int(match["season"]),
                episodes=_span(int(match["first"]), match["more"]),
            )
    match = _DATE.search(stem)
    # A home video begins with its day; it is no episode of the folder that it lies in.
    if match is not None and (is_show or match.start() > 0):
        date = f"{match['year']}-{match['month']}-{match['day']}"
        return _Numbers(before=stem[: match.start()], season=int(match["year"]), date=date)
    absolute = _read_absolute(stem, season)
    if absolute is not None or not is_show:
        return absolute
    match = _BARE_NUMBER.match(stem)
    if match is not None and season is not None:
        return _Numbers(before="", season=season, episodes=(int(match["first"]),))
    return _read_guessed(stem, season)


def _span(first: int, more: str) -> tuple[int, ...]:
    """Return all episodes of ``E01E02``, ``E01-E03`` and ``E01-03``."""
    numbers = [first, *(int(number) for number in re.findall(r"\d+", re.sub(r"\d+x", "", more)))]
    if len(numbers) == 2 and "-" in more and first < numbers[1] < first + SPAN_MAX:
        return tuple(range(first, numbers[1] + 1))
    return tuple(dict.fromkeys(numbers))


def _read_absolute(stem: str, season: int | None) -> _Numbers | None:
    match = _ABSOLUTE.match(stem)
    if match is None or 1900 <= (number := int(match["number"])) <= 2099:
        return None
    title = plain_title(match["title"])
    name = (match["name"] or "").strip()
    inner = _SEASON_IN_TITLE.match(title)
    if inner is not None:
        title, season = inner["title"], int(inner["a"] or inner["b"])
    if season is None and number > SINGLE_SEASON_MAX:
        return _Numbers(before=title, absolute=number, name=name)
    return _Numbers(before=title, season=1 if season is None else season, episodes=(number,), name=name)


def _read_guessed(stem: str, season: int | None) -> _Numbers | None:
    guessed = guess(stem, "episode")
    episodes = guessed.get("episode")
    season = guessed.get("season") if season is None else season
    if isinstance(season, list) or not isinstance(episodes, int | list):
        return None
    return _Numbers(
        before=words_of(guessed.get("title")),
        season=1 if season is None else season,
        episodes=tuple(episodes) if isinstance(episodes, list) else (episodes,),
    )


def _choose_show(before: str, folders: Sequence[str], *, is_below: bool) -> tuple[str, int | None]:
    """
    Return title and year of the show: its folder's, when that is the same show's.

    The folder is what all episodes share, so that none becomes a show of its own for a missing year.
    """
    mine, year = _title_and_year(before)
    folder = folders[-1] if folders else ""
    if not folder:
        return mine, year
    around = read_film(folder)
    if not mine or is_below or (letters(mine) == letters(around.title)):
        return _folder_title(folder), around.year or year
    return mine, year


def _folder_title(folder: str) -> str:
    found = _title_and_year(folder)
    return found[0] if " " in folder or "." not in folder else read_film(folder).title


def _title_and_year(text: str) -> tuple[str, int | None]:
    text = trimmed(text)
    match = _YEAR_BEHIND.match(text)
    if match is None:
        return plain_title(text), None
    return plain_title(match["title"]), int(match["year"])


def _guessed_episode_title(guessed: Mapping[str, Any]) -> str:
    return (
        words_of(guessed.get("episode_title")) if not isinstance(guessed.get("episode_title"), list) else ""
    )
