# SPDX-License-Identifier: MIT
"""What a scan means: new, changed, resting, vanished."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgsyncd.ingest.folders import WalkRules, folders_below, walk_folder
from tgsyncd.ingest.watching import FoundFile, Resting, Walk, choose_files, find_vanished, judge_vanished
from tgsyncd.model import KnownSource, Stage, VideoId, Wanted

RULES = WalkRules(partial_suffixes=(".part", ".!qb", ".aria2"))


def found(path="/films/a.mkv", *, size=10, at_s=100.0, **more) -> FoundFile:
    times = {"mtime_ns": int(at_s * 1e9), "ctime_ns": int(at_s * 1e9)}
    return FoundFile(path=path, size_bytes=size, device=1, **{**times, **more})


def known(path="/films/a.mkv", *, size=10, at_s=100.0, **more) -> KnownSource:
    facts = {
        "video_id": VideoId("a"),
        "library": "Films",
        "path": path,
        "size_bytes": size,
        "mtime_ns": int(at_s * 1e9),
        "device": 1,
        "stage": Stage.PUBLISHED,
        "is_failed": False,
        "attempts": 0,
        "next_attempt_at_s": None,
        "wanted": Wanted.PUBLISHED,
        "is_published": True,
    }
    return KnownSource(**{**facts, **more})


def walk(*files, root="/films", **more) -> Walk:
    return Walk(**{"root": root, "root_device": 1, "is_empty": False, "files": files, **more})


def test_a_file_that_stood_still_long_enough_has_rested_at_first_sight():
    """What stands there when the daemon starts need not wait."""
    assert Resting(30.0).observe(found(at_s=100.0), 130.0) == 0


def test_a_file_rests_from_its_last_change():
    """A change begins the rest anew."""
    resting = Resting(30.0)
    assert resting.observe(found(at_s=100.0), 110.0) == 20.0
    assert resting.observe(found(at_s=115.0, size=20), 120.0) == 25.0
    assert resting.observe(found(at_s=115.0, size=20), 145.0) == 0


def test_an_old_modification_time_is_not_believed():
    """Copying programs set it; the change time they cannot set."""
    assert Resting(30.0).observe(found(mtime_ns=0, ctime_ns=int(100e9)), 101.0) == 29.0


def test_a_time_in_the_future_is_waited_out_by_our_clock():
    """A file server with another clock."""
    resting = Resting(30.0)
    assert resting.observe(found(at_s=9999.0), 100.0) == 30.0
    assert resting.observe(found(at_s=9999.0), 129.0) == 1.0
    assert resting.observe(found(at_s=9999.0), 130.0) == 0


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 3)), min_size=1, max_size=20))
def test_a_file_never_counts_within_the_rest_of_a_change_that_was_seen(steps):
    """Whatever the order of looks and changes."""
    resting, now, size, changed = Resting(30.0), 1000.0, 1, 1000.0
    for wait, new_size in steps:
        now += wait
        if new_size != size:
            size, changed = new_size, now
        ready = resting.observe(found(size=size, at_s=changed), now) == 0
        assert not ready or now - changed >= 30.0 - 1e-6


@pytest.mark.parametrize(
    ("source", "is_chosen"),
    [
        (None, True),
        (known(), False),
        (known(size=11), True),
        (known(at_s=101.0), True),
        (known(stage=Stage.PROBED), True),
        (known(stage=Stage.PROBED, is_failed=True), False),
        (known(stage=Stage.PROBED, is_failed=True, next_attempt_at_s=5.0), True),
        (known(is_published=False), True),
        (known(is_published=False, wanted=Wanted.WITHDRAWN), False),
    ],
)
def test_which_files_are_looked_at(source, is_chosen):
    """New, changed, unfinished; not what is stored, given up, or withdrawn by hand."""
    files = choose_files([found()], {} if source is None else {source.path: source})
    assert bool(files) is is_chosen


def test_what_is_not_seen_is_gone():
    """Of this folder, and not of one with a name that begins alike."""
    sources = [known("/films/a.mkv"), known("/films/b.mkv"), known("/films2/c.mkv")]
    assert find_vanished(walk(found("/films/a.mkv")), sources) == [sources[1]]


def test_what_was_moved_or_cannot_be_seen_is_not_gone():
    """A new file of the same size is probably it; a folder without permission hides what is in it."""
    source = known("/films/a.mkv")
    assert find_vanished(walk(found("/films/new.mkv")), [source]) == []
    assert find_vanished(walk(unreadable=("/films",)), [source]) == []
    assert find_vanished(walk(found("/films/new.mkv", size=11)), [source]) == [source]


def sources(count: int) -> list[KnownSource]:
    return [known(f"/films/{number}.mkv") for number in range(count)]


@pytest.mark.parametrize(
    ("vanished", "total", "is_believed"),
    [(1, 1, True), (10, 10, True), (11, 11, False), (11, 110, True), (11, 109, False), (100, 1000, True)],
)
def test_a_mass_disappearance_is_not_believed(vanished, total, is_believed):
    """More than 10 and more than 10 %."""
    verdict = judge_vanished(walk(), sources(vanished), total)
    assert bool(verdict.gone) is is_believed
    assert bool(verdict.doubt) is not is_believed


@pytest.mark.parametrize(
    "change", [{"root_device": None}, {"is_empty": True}, {"root_device": 2}], ids=["gone", "empty", "other"]
)
def test_a_disk_that_is_not_there_takes_nothing_with_it(change):
    """Not even one file."""
    verdict = judge_vanished(replace(walk(), **change), sources(1), 100)
    assert not verdict.gone
    assert verdict.doubt


def test_the_walk_takes_films_and_nothing_else(tmp_path):
    """By suffix; no downloads, hidden files, samples, trailers, links, empty files, excluded names."""
    taken = ["A.mkv", "B/C.MP4", "B/Sampler.mkv"]
    passed_over = [
        ".a.mkv", "G.mkv.part", "D.mkv", "D.mkv.aria2", ".x/A.mkv", "Sample/A.mkv", "F-sample.mkv",
        "Trailers/A.mkv", "F-trailer.mp4", "notes.txt", "incoming/A.mkv", "skipped.mkv",
    ]  # fmt: skip
    for name in [*taken, *passed_over]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "empty.mkv").touch()
    (tmp_path / "link.mkv").symlink_to(tmp_path / "A.mkv")
    (tmp_path / "loop").symlink_to(tmp_path)
    rules = replace(RULES, exclude=("incoming/*", "skip*"))

    seen = walk_folder(tmp_path, rules)

    assert [os.path.relpath(file.path, tmp_path) for file in seen.files] == taken
    assert seen.root_device == tmp_path.stat().st_dev
    everything = replace(RULES, samples=True, trailers=True, follow_symlinks=True)
    names = {os.path.relpath(file.path, tmp_path) for file in walk_folder(tmp_path, everything).files}
    assert {"Sample/A.mkv", "F-trailer.mp4", "link.mkv", "skipped.mkv"} <= names
    below = walk_folder(tmp_path, rules, below=tmp_path / "B")
    assert [os.path.relpath(file.path, tmp_path) for file in below.files] == taken[1:]
    assert {path.name for path in folders_below(tmp_path, rules)} >= {"B"}
    assert {path.name for path in folders_below(tmp_path, rules)}.isdisjoint({".x", "Sample", "loop"})


def test_a_preallocated_file_has_holes(tmp_path):
    """As torrent clients make them: the whole size at once."""
    path = tmp_path / "A.mkv"
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.truncate(10_000_000)
    (seen,) = walk_folder(tmp_path, RULES).files
    assert seen.has_holes
    path.write_bytes(b"x" * 100_000)
    (seen,) = walk_folder(tmp_path, RULES).files
    assert not seen.has_holes


def test_an_empty_and_a_missing_folder_are_told_apart(tmp_path):
    """Both mean that nothing is gone."""
    assert walk_folder(tmp_path, RULES).is_empty
    assert walk_folder(tmp_path / "none", RULES).root_device is None
