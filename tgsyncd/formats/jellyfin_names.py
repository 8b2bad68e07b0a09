# SPDX-License-Identifier: MIT
"""
PURE: what the name and the folders of a source file say.

Names that already follow a scheme are read by expressions of our own, which keep their punctuation; the
rest is left to ``guessit``. What neither understands is None: a wrong name would put a video under somebody
else's title, the source's own name at worst under none.

``guessit`` takes 5 to 90 ms for a name, so not on the reactor thread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tgsyncd.formats.jellyfin_episodes import EpisodeReading, read_episode, season_of_folder
from tgsyncd.formats.jellyfin_films import read_film
from tgsyncd.formats.jellyfin_guess import letters
from tgsyncd.formats.jellyfin_words import (
    EXTRA_FOLDERS,
    EXTRA_SUFFIX,
    EXTRA_WORDS,
    clean,
    find_ids,
    without_ids,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

__all__ = ["LibraryKind", "SourceName", "parse_source_name"]

LibraryKind = Literal["movies", "shows", "mixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceName:
    """What the name and folders of a source file say."""

    kind: Literal["film", "episode"]
    title: str
    """Of the film, or of the show."""
    year: int | None = None
    ids: tuple[tuple[str, str], ...] = ()
    """Provider (``tmdb``, ``imdb``, ``tvdb``) and id, of the film or the show."""
    season: int | None = None
    episodes: tuple[int, ...] = ()
    date: str | None = None
    """Of an episode that is told by its day, such as ``2024-01-15``."""
    absolute: int | None = None
    """Of an anime episode whose season its name does not say."""
    episode_title: str = ""
    edition: str = ""
    """What is always said, such as ``Director's Cut`` or ``3D HSBS``."""
    quality: tuple[str, ...] = ()
    """What tells two versions apart, such as ``1080p``, ``Blu-ray``."""
    part: int | None = None
    """Of a film in several files, from 1."""
    extra_folder: str = ""
    """Jellyfin's folder for what accompanies a film or show; empty for the film or episode itself."""
    stem: str = ""
    """The source file's, cleaned: what an extra is called."""


def parse_source_name(path: PurePosixPath, kind: LibraryKind = "mixed") -> SourceName | None:
    """
    Return what ``path`` (relative to the library's source folder) says; None when that is not clear.

    ``kind`` is the library's: one of movies holds no episodes whatever numbers a name has, and one of shows
    no films.
    """
    found = _parse([clean(part) for part in path.parent.parts], clean(path.stem), kind)
    # Of "???.mkv" nothing would be left that every file system takes.
    return found if found and letters(found.title) else None


def _parse(folders: Sequence[str], stem: str, kind: LibraryKind) -> SourceName | None:
    inside = _extra_folder_index(folders, stem)
    if inside is not None:
        found = _parse_folder(folders[:inside], kind)
        extra = EXTRA_FOLDERS[folders[inside].lower()]
        return found and replace(found, extra_folder=extra, stem=stem)
    suffix = EXTRA_SUFFIX.match(stem)
    if suffix is None:
        return _parse_file(folders, stem, kind)
    owner = suffix["owner"]
    found = _parse_file(folders, owner, kind) if owner else None
    around = _parse_folder(folders, kind)
    # "Film (1999)/Making of-featurette.mkv" names itself, not a film.
    if found is None or (found.kind == "film" and around and around.year and not found.year):
        found = around
    extra = EXTRA_WORDS[(suffix["word"] or suffix["trailer"]).lower()]
    return found and replace(found, extra_folder=extra, stem=stem, part=None)


def _extra_folder_index(folders: Sequence[str], stem: str) -> int | None:
    """Find the folder of extras; at the top of a library "Extras" is a series of the BBC."""
    if re.search(r"(?<![a-z0-9])s\d{1,2}e\d", stem, re.IGNORECASE):
        return None
    for index, folder in enumerate(folders):
        if index > 0 and folder.lower() in EXTRA_FOLDERS:
            return index
    return None


def _parse_folder(folders: Sequence[str], kind: LibraryKind) -> SourceName | None:
    """Return the film or show that a folder belongs to."""
    if not folders:
        return None
    season = season_of_folder(folders[-1])
    if season is not None and len(folders) > 1:
        film = read_film(without_ids(folders[-2]))
        ids = find_ids(folders[-2])
        return SourceName(kind="episode", title=film.title, year=film.year, ids=ids, season=season)
    film = read_film(without_ids(folders[-1]))
    if not film.title:
        return None
    return SourceName(
        kind="episode" if kind == "shows" else "film",
        title=film.title,
        year=film.year,
        ids=find_ids(folders[-1]),
    )


def _parse_file(folders: Sequence[str], stem: str, kind: LibraryKind) -> SourceName | None:
    bare_folders = [without_ids(folder) for folder in folders]
    if kind != "movies":
        episode = read_episode(bare_folders, without_ids(stem), is_show=kind == "shows")
        if episode is not None:
            return _episode(episode, find_ids(*reversed(folders), stem), stem)
    if kind == "shows":
        return None
    film = read_film(without_ids(stem), bare_folders[-1] if bare_folders else "")
    ids = find_ids(stem, *folders[-1:])
    if not film.title or not (film.year or ids or _stands_for_itself(film.title, bare_folders)):
        return None
    return SourceName(
        kind="film",
        title=film.title,
        year=film.year,
        ids=ids,
        edition=film.edition,
        quality=film.quality,
        part=film.part,
        stem=stem,
    )


def _stands_for_itself(title: str, folders: Sequence[str]) -> bool:
    """Tell "Casablanca" from "Day 1" in a folder of a holiday, which says little without its folder."""
    return not folders or letters(read_film(folders[-1]).title) == letters(title)


def _episode(found: EpisodeReading, ids: tuple[tuple[str, str], ...], stem: str) -> SourceName:
    return SourceName(
        kind="episode",
        title=found.title,
        year=found.year,
        ids=ids,
        season=found.season,
        episodes=found.episodes,
        date=found.date,
        absolute=found.absolute,
        episode_title=found.episode_title,
        quality=found.quality,
        stem=stem,
    )
