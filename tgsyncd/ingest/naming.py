# SPDX-License-Identifier: MIT
"""
Under which name a video is published, and which files stand beside its ``.strm``.

``read_name`` takes up to 90 ms (guessit): call it in a thread.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tgsyncd.formats.jellyfin import choose_bases, render_nfo
from tgsyncd.formats.jellyfin_names import parse_source_name
from tgsyncd.formats.jellyfin_sidecars import NFO_ENDING, published_endings
from tgsyncd.ingest.publish import choose_base

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tgsyncd.formats.jellyfin_names import SourceName
    from tgsyncd.ingest.publish import PublishSettings

__all__ = ["choose_places", "files_beside", "read_name"]


def read_name(source: Path, settings: PublishSettings) -> SourceName | None:
    """Return what a source file's name says, with its folders inside the library; None when unclear."""
    root = settings.source_root
    relative = source.relative_to(root) if root and source.is_relative_to(root) else Path(source.name)
    return parse_source_name(PurePosixPath(relative), settings.kind)


def choose_places(source: Path, name: SourceName | None, settings: PublishSettings) -> Sequence[Path]:
    """Return where a source file may be published, without ending, the best first."""
    if settings.names == "jellyfin" and name is not None:
        return [settings.root / base for base in choose_bases(name)]
    return [choose_base(source, settings)]


def files_beside(
    stored: Mapping[str, bytes], name: SourceName | None, settings: PublishSettings
) -> dict[str, bytes]:
    """
    Return endings and contents of what is published of the stored extras, and the ``.nfo`` that we make.

    There is none of ours where the source brought one, for trailers and the like, and where it is unclear
    what the video is.
    """
    endings = published_endings([*stored], is_episode=name is not None and name.kind == "episode")
    files = {ending: stored[original] for original, ending in endings.items()}
    if settings.nfo and name is not None and not name.extra_folder:
        files.setdefault(NFO_ENDING, render_nfo(name))
    return files
