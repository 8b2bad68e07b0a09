# SPDX-License-Identifier: MIT
"""Read what stands beside a source file: ``.nfo``, artwork, subtitles. Blocks: call it in a thread."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.logger import Logger

from tgsyncd.formats.jellyfin import is_nfo
from tgsyncd.formats.jellyfin_sidecars import NFO_ENDING, match_sidecars, merge_sidecars
from tgsyncd.ingest.folders import is_sample_or_trailer
from tgsyncd.ingest.scan import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["add_sidecars", "read_sidecars"]

_log = Logger()

MAX_SIDECAR_BYTES = 16 << 20
"""A poster in print quality has 5 MB; a document may have 19.9 MB."""


def add_sidecars(source: Path, made: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what was made of the source's own streams together with what stands beside it, which wins."""
    return merge_sidecars(made, read_sidecars(source))


def read_sidecars(source: Path) -> dict[str, bytes]:
    """Return endings and contents. What cannot be read is named in the log and left out."""
    try:
        with os.scandir(source.parent) as entries:
            siblings = [entry.name for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return {}
    is_alone = sum(_is_film(name) for name in siblings) <= 1
    found: dict[str, bytes] = {}
    for sidecar in match_sidecars(source.stem, siblings, is_alone=is_alone):
        data = _read(source.parent / sidecar.name)
        # Those of releases are pictures made of letters, over which Jellyfin stumbles.
        if data and (sidecar.ending != NFO_ENDING or is_nfo(data)):
            found[sidecar.ending] = data
    return found


def _is_film(name: str) -> bool:
    """Tell whether a file is a video that artwork may be of: releases bring samples along."""
    path = Path(name)
    return path.suffix.lower() in VIDEO_SUFFIXES and not is_sample_or_trailer(path.stem)


def _read(path: Path) -> bytes:
    try:
        # O_NONBLOCK: a pipe that stands there would hold the thread for ever.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            data = file.read(MAX_SIDECAR_BYTES + 1) or b""
    except OSError as error:
        _log.warn("{path} is left out: {why}", path=str(path), why=error.strerror)
        return b""
    if len(data) > MAX_SIDECAR_BYTES:
        _log.warn("{path} is left out: it is larger than 16 MiB", path=str(path))
        return b""
    return data
