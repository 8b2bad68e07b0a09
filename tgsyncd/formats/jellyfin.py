# SPDX-License-Identifier: MIT
"""
PURE: what Jellyfin reads: names of published files, and ``.nfo``.

::

    The.Matrix.1999.1080p.mkv      The Matrix (1999)/The Matrix (1999).strm
    show/S1/show.s01e02e03.mkv     Show/Season 01/Show S01E02-E03.strm
    Film (1999)/Extras/Making.mkv  Film (1999)/extras/Making.strm

Jellyfin's rules (Emby.Naming): all versions of a film begin with the whole name of its folder, what follows
`` - `` is the version's name. A name that ends in ``part1``, ``cd1`` or ``disc1`` is stacked with its
neighbours into one item, which a ``.strm`` does not survive: the parts of a film are versions of it, with
their number written out.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from tgsyncd.formats.jellyfin_words import NUMBER_WORDS, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tgsyncd.formats.jellyfin_names import SourceName

__all__ = ["choose_bases", "is_nfo", "render_nfo"]

# A published base name has 216 bytes (ingest.names): title, " (1999)" (7), ids and label (3 + 30) fit.
TITLE_MAX_BYTES = 110
IDS_MAX_BYTES = 60
LABEL_MAX_BYTES = 30

EXTRA_MAX_BYTES = 200

# What Windows and SMB refuse in names, and what separates folders.
_UNSAFE = re.compile(r'[<>:"/\\|?*]')


def choose_bases(name: SourceName) -> tuple[PurePosixPath, ...]:
    """
    Return where a video may be published, relative to the library and without ending; the best first.

    The others are for a place that another video holds: they say what tells the versions apart.
    """
    return tuple(dict.fromkeys(_bases(name)))


def _bases(name: SourceName) -> Iterator[PurePosixPath]:
    folder = _folder(name)
    if name.extra_folder:
        yield folder / name.extra_folder / (_fit(_safe(name.stem), EXTRA_MAX_BYTES) or "extra")
        return
    stem = folder.name if name.kind == "film" else _episode_stem(name)
    for known in range(len(name.quality) + 1):
        words = [name.edition, *name.quality[:known], _part(name.part)]
        label = _fit(_safe(" ".join(word for word in words if word)), LABEL_MAX_BYTES)
        yield folder / (f"{stem} - {label}" if label else stem)


def _folder(name: SourceName) -> PurePosixPath:
    title = _fit(_safe(name.title), TITLE_MAX_BYTES)
    year = f" ({name.year})" if name.year else ""
    ids = ""
    for provider, number in name.ids:
        more = f" [{provider}id-{number}]"
        ids += more if len(ids) + len(more) <= IDS_MAX_BYTES else ""
    top = PurePosixPath(f"{title}{year}{ids}")
    if name.kind == "film" or name.season is None:
        return top
    return top / f"Season {name.season:02d}"


def _episode_stem(name: SourceName) -> str:
    title = _fit(_safe(name.title), TITLE_MAX_BYTES)
    if name.date is not None:
        return f"{title} {name.date}"
    if name.absolute is not None:
        # "- 1071" would be read as season 10, episode 71, by Jellyfin too.
        return f"{title} EP{name.absolute}"
    first, last = name.episodes[0], name.episodes[-1]
    number = f"S{name.season or 0:02d}E{first:02d}"
    # A range says that all between are there.
    if len(name.episodes) > 1 and name.episodes == tuple(range(first, last + 1)):
        number += f"-E{last:02d}"
    return f"{title} {number}"


def _part(part: int | None) -> str:
    return f"Part {NUMBER_WORDS[part - 1]}" if part else ""


def _safe(text: str) -> str:
    return clean(_UNSAFE.sub("", text)).lstrip(". ").rstrip(". ") or "-"


def _fit(text: str, limit: int) -> str:
    """Shorten to so many bytes; a hash keeps two long names apart."""
    if text == "-" or len(text.encode()) <= limit:
        return "" if text == "-" else text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text.encode()[: limit - 9].decode('utf-8', 'ignore').rstrip()}-{digest}"


_ROOTS = re.compile(
    r"^\ufeff?\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--.*?-->\s*)*<(?:movie|episodedetails|video|musicvideo)[\s>]",
    re.DOTALL,
)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def is_nfo(data: bytes) -> bool:
    """Tell whether an ``.nfo`` is one that Jellyfin reads; those of releases are pictures made of letters."""
    return bool(_ROOTS.match(data[:65536].decode("utf-8", "replace")))


def render_nfo(name: SourceName) -> bytes:
    """
    Return an ``.nfo`` with what the source's name says: title, year, season, episode, ids.

    Nothing is said that is not known: what an ``.nfo`` says, Jellyfin does not ask its providers for.
    Runtime and codecs are left out because it ignores them for videos (MetadataService).
    """
    blocks = [_film_nfo(name)] if name.kind == "film" else _episode_nfos(name)
    text = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n' + "".join(blocks)
    return text.encode()


def _film_nfo(name: SourceName) -> str:
    rows = [_row("title", name.title)]
    if name.year:
        rows.append(_row("year", name.year))
    for index, (provider, number) in enumerate(name.ids):
        default = ' default="true"' if index == 0 else ""
        rows.append(f'  <uniqueid type="{provider}"{default}>{escape(number)}</uniqueid>\n')
    return f"<movie>\n{''.join(rows)}</movie>\n"


def _episode_nfos(name: SourceName) -> list[str]:
    """One block for each episode in the file, as Kodi and Jellyfin want it."""
    if name.date is not None or name.absolute is not None:
        return [_episode_block(name, None)]
    return [_episode_block(name, number) for number in name.episodes]


def _episode_block(name: SourceName, number: int | None) -> str:
    rows = []
    if name.episode_title and len(name.episodes) <= 1:
        rows.append(_row("title", name.episode_title))
    rows.append(_row("showtitle", name.title))
    if number is not None:
        rows += [_row("season", name.season or 0), _row("episode", number)]
    elif name.absolute is not None:
        rows.append(_row("episode", name.absolute))
    if name.date is not None:
        rows.append(_row("aired", name.date))
    return f"<episodedetails>\n{''.join(rows)}</episodedetails>\n"


def _row(tag: str, value: object) -> str:
    return f"  <{tag}>{escape(_NOT_XML.sub('', str(value)))}</{tag}>\n"
