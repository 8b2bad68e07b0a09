# SPDX-License-Identifier: MIT
"""Real-world file names: what Jellyfin gets to see, and what an independent parser makes of it."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest
from guessit import guessit
from hypothesis import given, settings
from hypothesis import strategies as st

from tgsyncd.formats.jellyfin import choose_bases
from tgsyncd.formats.jellyfin_names import SourceName, parse_source_name
from tgsyncd.ingest.names import PUBLISH_NAME_MAX_BYTES, publish_name

ROWS = [
    tuple(cell.strip() for cell in line.split(" | "))
    for line in Path(__file__).with_name("jellyfin_names.txt").read_text().splitlines()
    if not line.startswith("#")
]
NAMED = [base for _, _, base in ROWS if base != "-"]
EXTRAS = re.compile(r"/(?:extras|featurettes|behind the scenes|deleted scenes|trailers|interviews)/")

# What guessit itself reads wrongly; Jellyfin reads them, as the rules below say.
BEYOND_GUESSIT = {"(500) Days of Summer (2009)", "[REC] (2007)", "1923 S01E02", "10x10 (2018)"}

FILM = re.compile(r"^(?P<title>.+) \((?P<year>\d{4})\)|^(?P<plain>.+?)(?: - Part \w+)?$")
EPISODE = re.compile(r"^(?P<title>.+) S(?P<season>\d{2,4})E(?P<first>\d{2,})(?:-E(?P<last>\d{2,}))?$")


def base_of(source: str, kind: str = "mixed") -> str:
    found = parse_source_name(PurePosixPath(source), kind)
    return str(choose_bases(found)[0]) if found else "-"


def letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()


def guessed_title(found) -> str:
    """Put together again what guessit takes apart."""
    alternative = found.get("alternative_title", "")
    words = [found["title"], *([alternative] if isinstance(alternative, str) else alternative)]
    return " ".join(words)


def test_the_corpus_is_large():
    """At least 150 names, each once."""
    assert len({(kind, source) for kind, source, _ in ROWS}) == len(ROWS) >= 150


@pytest.mark.parametrize(("kind", "source", "base"), ROWS, ids=[source for _, source, _ in ROWS])
def test_a_name_becomes_jellyfins(kind, source, base):
    """The corpus, line by line."""
    assert base_of(source, kind) == base


@pytest.mark.parametrize("base", sorted({*NAMED}))
def test_guessit_reads_it_as_intended(base):
    """The other way round, by a parser that knows nothing of ours: title, year, season and episodes."""
    name = PurePosixPath(base).name
    if name in BEYOND_GUESSIT or EXTRAS.search(base):
        return
    found = guessit(f"{name}.mkv")
    episode = EPISODE.match(name)
    if episode:
        first, last = int(episode["first"]), int(episode["last"] or episode["first"])
        episodes = found["episode"] if isinstance(found["episode"], list) else [found["episode"]]
        assert found["season"] == int(episode["season"])
        assert episodes == [*range(first, last + 1)]
        assert letters(episode["title"]).startswith(letters(guessed_title(found)))
    elif " EP" in name:
        assert name == f"{found['title']} EP{found['episode']}"
    elif "date" in found:
        assert name == f"{found['title']} {found['date'].isoformat()}"
    else:
        film = FILM.match(name)
        assert str(found.get("year", "")) == (film["year"] or "")
        assert letters(film["title"] or film["plain"]).startswith(letters(guessed_title(found)))


# Emby.Naming/Common/NamingOptions.cs, as far as it concerns what we write.
STACKED = re.compile(
    r"^(.*?)(?:(?<=[\]\)\}])|[ _.-]+)[\(\[]?(cd|dvd|part|pt|dis[ck])[ _.-]*([0-9]+|[a-d])[\)\]]?$",
    re.IGNORECASE,
)
IGNORED = re.compile(r"(^|/)(sample|\..*|metadata|subs|extrafanart|@eadir)(/|$)", re.IGNORECASE)
JELLYFIN_EPISODE = re.compile(
    r"[Ss](?P<season>[0-9]+)[ ._-]*[Ee](?P<first>[0-9]+)(?:-[Ee]?(?P<last>[0-9]+))?"
)
JELLYFIN_SEASON = re.compile(r"^Season (?P<season>\d+)$")


@pytest.mark.parametrize("base", sorted({*NAMED}))
def test_jellyfins_own_rules_read_it(base):
    """No stacking, nothing that is ignored, versions that begin with their folder, seasons that agree."""
    path = PurePosixPath(base)
    assert not IGNORED.search(base)
    if EXTRAS.search(base):
        return
    assert not STACKED.match(path.name)
    season = JELLYFIN_SEASON.match(path.parent.name)
    if season is None:
        rest = path.name.removeprefix(path.parent.name)
        assert rest == "" or rest.startswith(" - ") or " EP" in rest
        return
    episode = JELLYFIN_EPISODE.search(path.name)
    if episode:
        assert int(episode["season"]) == int(season["season"])
        show = path.parts[0].partition(" (")[0].partition(" [")[0]
        assert path.name.startswith(show)


def test_versions_are_told_apart_when_the_place_is_taken():
    """The plain name first, then with the resolution, then with more."""
    found = parse_source_name(PurePosixPath("Film.1999.1080p.BluRay.x264-GRP.mkv"))
    assert [str(base) for base in choose_bases(found)] == [
        "Film (1999)/Film (1999)",
        "Film (1999)/Film (1999) - 1080p",
        "Film (1999)/Film (1999) - 1080p Blu-ray",
        "Film (1999)/Film (1999) - 1080p Blu-ray H.264",
        "Film (1999)/Film (1999) - 1080p Blu-ray H.264 GRP",
    ]


def test_two_parts_never_share_a_name():
    """Nor do they with the whole."""
    bases = [base_of(f"Film (1999)/Film (1999) {part}.avi") for part in ("cd1", "cd2")]
    assert bases == ["Film (1999)/Film (1999) - Part One", "Film (1999)/Film (1999) - Part Two"]


def test_an_episode_title_is_kept_for_the_nfo():
    """It is not in the name, which shall not change with a better title."""
    found = parse_source_name(PurePosixPath("Show.S01E02.The.Name.Of.It.720p.mkv"))
    assert found.episode_title == "The Name Of It"


words = st.text(alphabet=st.characters(exclude_characters="/\0", codec=None), min_size=1, max_size=250)


@settings(max_examples=150, deadline=None)
@given(st.lists(words, max_size=2), words, st.sampled_from(["movies", "shows", "mixed"]))
def test_any_name_gives_a_place_inside_the_library_or_none(folders, stem, kind):
    """Never absolute, never upwards, never hidden, never too long, never empty."""
    found = parse_source_name(PurePosixPath(*folders, f"{stem}.mkv"), kind)
    for base in choose_bases(found) if found else ():
        assert not base.is_absolute()
        for part in base.parts:
            check_part(part)


pieces = st.text(alphabet=st.characters(exclude_characters="/\0", codec="utf-8"), max_size=300)


@settings(max_examples=1000, deadline=None)
@given(
    pieces.filter(lambda text: re.search(r"\w", text)),
    st.none() | st.integers(1880, 2035),
    st.lists(
        st.tuples(st.sampled_from(["imdb", "tmdb", "tvdb"]), st.from_regex(r"\A[0-9]{1,10}\Z")), max_size=4
    ),
    pieces,
    st.lists(pieces, max_size=4),
    st.none() | st.integers(1, 9),
)
def test_every_part_keeps_the_byte_limit(title, year, ids, edition, quality, part):
    """A published base name leaves room for the longest ending and the affixes of a temporary file."""
    name = SourceName(
        kind="film",
        title=title,
        year=year,
        ids=tuple(ids),
        edition=edition,
        quality=tuple(quality),
        part=part,
    )
    for base in choose_bases(name):
        for each in base.parts:
            check_part(each)


def check_part(part: str) -> None:
    assert part not in {"", ".", ".."}
    assert not part.startswith(".")
    assert len(part.encode()) <= PUBLISH_NAME_MAX_BYTES
    # What it goes through once more before it is written changes nothing.
    assert publish_name(part) == part


def documented() -> list[tuple[str, str]]:
    page = (Path(__file__).parents[2] / "docs" / "jellyfin.md").read_text()
    table = page.partition("| source | published |")[2].partition("\n\n")[0]
    return re.findall(r"^\| `([^`]+)` \| `([^`]+)\.strm`", table, re.MULTILINE)


def test_the_documentation_has_examples():
    """Most rows of its table name one file."""
    assert len(documented()) >= 10


@pytest.mark.parametrize(("source", "published"), documented())
def test_the_documentation_tells_the_truth(source, published):
    """The table in docs/jellyfin.md, "Names"."""
    assert published in {base_of(source), base_of(source, "shows")}
