# SPDX-License-Identifier: MIT
"""PURE: the libraries, pairs of folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tgsyncd.config.section import Section
from tgsyncd.config.values import LocalPath, Name, TheirPath

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_LIBRARIES = 200
"""Each is compared with each."""


class Library(Section):
    """A pair of folders: videos are read from one and published into the other."""

    name: Name = Field(description="What the library is called in lists and logs.")
    source: LocalPath = Field(
        description="Folder of the video files. It is only read, unless `after_publish` says else."
    )
    publish: LocalPath = Field(description="Folder for the `.strm` files: the Jellyfin library.")
    kind: Literal["movies", "shows", "mixed"] = Field(
        default="mixed", description="What the folder holds; as in Jellyfin."
    )
    names: Literal["mirror", "jellyfin"] = Field(
        default="mirror",
        description="`mirror` keeps the names of files and folders. `jellyfin` makes them "
        "`Film (1999)/Film (1999).strm` and `Show/Season 01/Show S01E02.strm`; what cannot be understood "
        "keeps its name, and what is published its place.",
    )
    nfo: bool = Field(
        default=True,
        description="Write an `.nfo` with title, year and ids where the source has none beside it.",
    )
    jellyfin_path: TheirPath | None = Field(
        default=None,
        description="What Jellyfin calls the folder `publish`, when it runs in a container or elsewhere.",
    )
    after_publish: Literal["keep", "move", "delete"] = Field(
        default="keep",
        description="What becomes of a source file when its video is published: `keep` it, `move` it to "
        "`move_to`, or `delete` it. First every document of the video, subtitles and pictures "
        "included, is read back from the store and compared. A file that changed meanwhile is left alone, "
        "and `delete` also leaves one of which something could not be stored (`tgsyncd upload` names it).",
    )
    move_to: LocalPath | None = Field(
        default=None,
        description="Folder for `after_publish: move`, outside of every `source`. The folders below `source` "
        "are kept in it.",
    )


At = tuple[str | int, ...]
"""An option below ``libraries``: ``(0, "publish")``."""


def library_problems(libraries: tuple[Library, ...]) -> list[tuple[At, str]]:
    """Return what is wrong with the libraries as a whole: the option, and a sentence."""
    problems: list[tuple[At, str]] = []
    first: dict[str, int] = {}
    for index, library in enumerate(libraries):
        if first.setdefault(library.name, index) != index:
            problems.append(((index, "name"), f"another library is named {library.name!r} already"))
        problems += [((index, key), message) for key, message in _overlaps(index, libraries)]
        problems += [((index, "move_to"), message) for message in _release_problems(library, libraries)]
    return problems


def _overlaps(index: int, libraries: tuple[Library, ...]) -> Iterator[tuple[str, str]]:
    library = libraries[index]
    # A folder that is read and written at once would find what it published.
    if library.source == library.publish:
        yield "publish", "this is the source folder too; the library needs a folder of its own"
        return
    for number, other in enumerate(libraries):
        if _is_below(library.publish, other.source):
            yield "publish", f"this lies inside the source of {other.name!r}, which is only read"
        if number < index and library.source == other.source:
            yield "source", f"this is the source of {other.name!r} already"
        if _is_below(library.source, other.publish):
            yield "source", f"this lies in what {other.name!r} publishes: Jellyfin would show videos twice"


def _is_below(path: Path, folder: Path) -> bool:
    return folder in path.parents


def _release_problems(library: Library, libraries: tuple[Library, ...]) -> list[str]:
    if library.after_publish != "move":
        return []
    if library.move_to is None:
        return ["after_publish is move, which needs the folder move_to"]
    # What lies there would be found by the next scan, and be watched for vanishing.
    return [
        f"this lies inside the source of {other.name!r}"
        for other in libraries
        if other.source == library.move_to or _is_below(library.move_to, other.source)
    ]
