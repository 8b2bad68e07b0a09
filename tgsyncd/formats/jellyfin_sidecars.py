# SPDX-License-Identifier: MIT
"""
PURE: which of the files beside a video belong to it, and by which ending Jellyfin finds them.

Jellyfin's rules: MediaBrowser.LocalMetadata/Images/LocalImageProvider.cs and EpisodeLocalImageProvider.cs,
MediaBrowser.XbmcMetadata/Providers, Emby.Naming/ExternalFiles/ExternalPathParser.cs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tgsyncd.formats.languages import language_short

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["NFO_ENDING", "Sidecar", "match_sidecars", "merge_sidecars", "published_endings"]

NFO_ENDING: Final = ".nfo"

# A published base name has room for an ending of 24 bytes (ingest.names).
ENDING_MAX_BYTES: Final = 24

SUBTITLE_SUFFIXES: Final = frozenset({".ass", ".srt", ".ssa"})
"""``.vtt`` is listed by Jellyfin and not shown (jellyfin#6561), the others need no help of ours."""

# svg, gif and tbn are read too, and no artwork that people have.
IMAGE_SUFFIXES: Final = frozenset({".jpeg", ".jpg", ".png", ".webp"})

_FLAGS: Final = {
    "cc": "sdh",
    "default": "default",
    "forced": "forced",
    "foreign": "forced",
    "hi": "sdh",
    "sdh": "sdh",
}

_ROLES: Final = {
    "backdrop": "fanart",
    "background": "fanart",
    "banner": "banner",
    "clearart": "clearart",
    "clearlogo": "logo",
    "cover": "poster",
    "default": "poster",
    "disc": "disc",
    "discart": "disc",
    "fanart": "fanart",
    "folder": "poster",
    "landscape": "landscape",
    "logo": "logo",
    "movie": "poster",
    "poster": "poster",
    "thumb": "thumb",
}
"""What artwork is called, and the one name of several under which it is published."""

# In a film's own folder these belong to it without its name. "thumb" is a film's landscape there.
_PREFERENCE: Final = ("poster", "folder", "cover", "default", "movie", "fanart", "backdrop", "background")


_EPISODE: Final = re.compile(r"(?<![a-z0-9])(?:s\d{1,4}[ ._-]*e\d|\d{1,2}x\d\d)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """A file beside a source file, and the ending that it gets behind the published base name."""

    name: str
    ending: str


def match_sidecars(stem: str, siblings: Sequence[str], *, is_alone: bool = False) -> tuple[Sidecar, ...]:
    """
    Return which of ``siblings`` (file names in the source's folder) belong to the video ``stem``.

    ``is_alone`` says that the folder holds no other video: files such as ``poster.jpg`` and ``movie.nfo``
    are this film's then. Of several that would get one ending the best named wins; of subtitles in the same
    language all stay, with a number.
    """
    # "poster.jpg" beside the only episode of a season is the season's.
    is_alone = is_alone and not _EPISODE.search(stem)
    others = [name for name in siblings if _suffix(name)]
    found: list[Sidecar] = []
    taken: set[str] = set()
    for name in sorted(others, key=lambda name: (_rank(stem, name), len(name), name)):
        for ending in _endings(stem, name, is_alone=is_alone):
            # One poster is enough, a .jpg or a .png.
            if _place(ending) not in taken:
                taken.add(_place(ending))
                found.append(Sidecar(name=name, ending=ending))
                break
    return tuple(sorted(found, key=lambda sidecar: sidecar.ending))


def merge_sidecars(made: Mapping[str, bytes], beside: Mapping[str, bytes]) -> dict[str, bytes]:
    """
    Return endings and contents of both.

    A picture beside the source replaces the still that we made; a subtitle beside it does not replace one
    inside it, which may be in another language than its name says, but gets a number.
    """
    places = {_place(ending) for ending in beside if ending.startswith("-")}
    merged = {ending: data for ending, data in made.items() if _place(ending) not in places}
    for ending, data in beside.items():
        merged[_free(ending, merged)] = data
    return merged


def published_endings(stored: Iterable[str], *, is_episode: bool) -> dict[str, str]:
    """
    Return stored endings with those under which they are published.

    What begins with a dot and holds no subtitle or ``.nfo`` (chapters) is not. A film has a poster; an
    episode has one picture, which is called thumb (EpisodeLocalImageProvider).
    """
    endings = {ending: ending for ending in stored if _is_published(ending)}
    if not is_episode:
        return endings
    kept = {each: each for each in endings if not each.startswith("-") or _place(each) == "-thumb"}
    if not any(_place(each) == "-thumb" for each in kept):
        kept |= {each: f"-thumb{_suffix(each)}" for each in endings if _place(each) == "-poster"}
    return kept


def _is_published(ending: str) -> bool:
    return ending.startswith("-") or ending == NFO_ENDING or _suffix(ending) in SUBTITLE_SUFFIXES


def _place(ending: str) -> str:
    """Return what of a picture's ending there is only one of: ``-poster``, as .jpg or .png."""
    return ending.partition(".")[0] if ending.startswith("-") else ending


def _free(ending: str, taken: Mapping[str, object]) -> str:
    if ending not in taken or ending.startswith("-") or ending == NFO_ENDING:
        return ending
    words = ending.removeprefix(".").split(".")
    at = 0 if words[0] in {*_FLAGS.values()} or len(words) == 1 else 1
    for number in range(2, 100):
        candidate = "." + ".".join([*words[:at], str(number), *words[at:]])
        if candidate not in taken:
            return candidate
    return ending


def _rank(stem: str, name: str) -> int:
    """Order what is named for the video before what is named for its folder."""
    base = _base(name)
    if base.startswith(stem):
        # "X-poster.jpg" says more than "X.jpg".
        return 1 if base == stem and _suffix(name) in IMAGE_SUFFIXES else 0
    return 2 + (_PREFERENCE.index(base.lower()) if base.lower() in _PREFERENCE else len(_PREFERENCE))


def _endings(stem: str, name: str, *, is_alone: bool) -> Iterator[str]:
    suffix = _suffix(name)
    base = _base(name)
    if suffix in SUBTITLE_SUFFIXES:
        yield from _subtitle_endings(stem, base, suffix)
    elif suffix == NFO_ENDING:
        if base == stem or (is_alone and base.lower() == "movie"):
            yield NFO_ENDING
    elif suffix in IMAGE_SUFFIXES:
        role = _role(stem, base, is_alone=is_alone)
        if role:
            yield f"-{role}{suffix}"


def _role(stem: str, base: str, *, is_alone: bool) -> str:
    if base == stem:
        return "poster"
    if base.startswith(f"{stem}-"):
        return _ROLES.get(base[len(stem) + 1 :].lower(), "")
    return _ROLES.get(base.lower(), "") if is_alone else ""


def _subtitle_endings(stem: str, base: str, suffix: str) -> Iterator[str]:
    """Return ``.de.forced.srt`` and then, for what has that already, ``.de.2.forced.srt``."""
    if base != stem and not base.startswith(f"{stem}."):
        return
    words = [word.strip().lower() for word in base[len(stem) :].split(".") if word.strip()]
    flags = list(dict.fromkeys(_FLAGS[word] for word in words if word in _FLAGS))
    language = next(filter(None, (_language(word) for word in words if word not in _FLAGS)), "")
    for number in ("", *map(str, range(2, 100))):
        ending = "".join(f".{word}" for word in (language, number, *flags) if word) + suffix
        if len(ending) <= ENDING_MAX_BYTES:
            yield ending


_LANGUAGE_NAMES: Final = {
    "chinese": "zh",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
}


def _language(word: str) -> str:
    """Return ``pt-BR`` for ``pt-br``, ``en`` for ``eng`` and ``English``; nothing for what is no language."""
    if word in _LANGUAGE_NAMES:
        return _LANGUAGE_NAMES[word]
    match = re.fullmatch(r"([a-z]{2,3})(?:[-_]([a-z]{2}))?", word)
    if match is None:
        return ""
    short = language_short(match[1])
    return f"{short}-{match[2].upper()}" if short and match[2] else short or ""


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower() if "." in name else ""


def _base(name: str) -> str:
    return name[: name.rfind(".")]
