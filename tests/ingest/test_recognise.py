# SPDX-License-Identifier: MIT
"""Recognising a source file, without touching a disk."""

from dataclasses import replace

from tgsyncd.ingest.recognise import Action, recognise
from tgsyncd.model import Revision, SourceIdentity, Stage, Video, VideoId, Wanted

SOURCE = SourceIdentity(
    path="/media/film.mkv", size_bytes=1000, mtime_ns=5, inode=7, device=1, sampled_hash="aa"
)
VIDEO = Video(
    video_id=VideoId("film"),
    original_filename="film.mkv",
    library="",
    source_path=SOURCE.path,
    wanted=Wanted.PUBLISHED,
    current_revision=1,
    capability_generation=0,
    total_duration_s=1.0,
    total_segments=1,
    file_size_bytes=1000,
    status="active",
    stage=Stage.PUBLISHED,
    error=None,
    created_at_s=0.0,
    updated_at_s=0.0,
)


def revision(source=SOURCE, stage=Stage.PUBLISHED):
    return Revision(
        video_id=VIDEO.video_id,
        number=1,
        stage=stage,
        source=source,
        plan=None,
        error=None,
        attempts=0,
        next_attempt_at_s=None,
    )


def ask(identity, *, at_path=None, same_size=(), exists=True, force=False):
    return recognise(
        identity,
        at_path=at_path,
        same_size=same_size,
        still_there={SOURCE.path} if exists else (),
        force=force,
    )


def test_an_unknown_file_is_new():
    assert ask(SOURCE).action is Action.NEW


def test_the_same_file_again_is_nothing_to_do():
    found = ask(SOURCE, at_path=(VIDEO, revision()))

    assert (found.action, found.is_moved) == (Action.NOTHING, False)


def test_an_unfinished_ingest_is_resumed():
    assert ask(SOURCE, at_path=(VIDEO, revision(stage=Stage.PROBED))).action is Action.RESUME


def test_other_contents_at_the_same_path_replace_the_video():
    changed = replace(SOURCE, sampled_hash="bb")

    assert ask(changed, at_path=(VIDEO, revision())).action is Action.REPLACE


def test_a_touched_file_with_the_same_contents_is_not_stored_again():
    found = ask(replace(SOURCE, mtime_ns=6), at_path=(VIDEO, revision()))

    assert (found.action, found.is_moved) == (Action.NOTHING, True)


def test_a_renamed_file_is_recognised_by_its_contents():
    moved = replace(SOURCE, path="/media/new.mkv")

    found = ask(moved, same_size=[(VIDEO, revision())], exists=False)

    assert (found.action, found.video, found.is_moved) == (Action.NOTHING, VIDEO, True)


def test_a_copy_is_recognised_and_leaves_the_first_path_alone():
    copy = replace(SOURCE, path="/media/copy.mkv")

    found = ask(copy, same_size=[(VIDEO, revision())], exists=True)

    assert (found.action, found.is_moved) == (Action.NOTHING, False)


def test_an_equal_size_alone_is_not_the_same_file():
    other = replace(SOURCE, path="/media/other.mkv", sampled_hash="cc")

    assert ask(other, same_size=[(VIDEO, revision())]).action is Action.NEW


def test_force_replaces_a_published_video():
    assert ask(SOURCE, at_path=(VIDEO, revision()), force=True).action is Action.REPLACE


def test_force_resumes_what_is_unfinished_instead_of_beginning_a_third_time():
    unfinished = revision(stage=Stage.PROBED)

    assert ask(SOURCE, at_path=(VIDEO, unfinished), force=True).action is Action.RESUME


def test_force_stores_a_copy_as_a_video_of_its_own():
    copy = replace(SOURCE, path="/media/copy.mkv")

    assert ask(copy, same_size=[(VIDEO, revision())], force=True).action is Action.NEW
