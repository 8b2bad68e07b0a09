# SPDX-License-Identifier: MIT
"""PURE: the libraries, pairs of folders."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tgsyncd.config.section import Section
from tgsyncd.config.values import LocalPath, Name


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
    jellyfin_path: str | None = Field(
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


def library_problems(libraries: tuple[Library, ...]) -> list[str]:
    """Return what is wrong with the libraries as a whole, in words."""
    problems = []
    names = [library.name for library in libraries]
    problems += [f"two libraries are named {name!r}" for name in {*names} if names.count(name) > 1]
    for library in libraries:
        # A folder that is read and written at once would find what it published.
        if library.source == library.publish:
            problems.append(f"library {library.name!r}: source and publish are the same folder")
        problems += [
            f"library {library.name!r}: publish lies inside the source of {other.name!r}"
            for other in libraries
            if other.source in library.publish.parents
        ]
        problems += _release_problems(library, libraries)
    return problems


def _release_problems(library: Library, libraries: tuple[Library, ...]) -> list[str]:
    if library.after_publish != "move":
        return []
    if library.move_to is None:
        return [f"library {library.name!r}: after_publish is move, which needs the folder move_to"]
    # What lies there would be found by the next scan, and be watched for vanishing.
    return [
        f"library {library.name!r}: move_to lies inside the source of {other.name!r}"
        for other in libraries
        if other.source == library.move_to or other.source in library.move_to.parents
    ]
