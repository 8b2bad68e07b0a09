# SPDX-License-Identifier: MIT
"""Attempts that may arrive late: how long they are remembered, and from which message id on looked for."""

from __future__ import annotations

from dataclasses import replace

from tgsyncd.model import DocumentLabel
from tgsyncd.stores.telegram.late import (
    GIVEN_UP_S,
    KEPT_LATE,
    LATEST_ARRIVAL_S,
    LateUpload,
    LateUploads,
)
from tgsyncd.stores.telegram.marks import Ticket
from tgsyncd.stores.telegram.memory import Remembered, parse_remembered, render_remembered

NOW_S = 1_795_334_400.0
CHAT = -1001
LABEL = DocumentLabel(
    library_id="0" * 16,
    video_id="film",
    revision=1,
    rendition="main",
    number=0,
    size_bytes=1000,
    sha256="5" * 64,
)


def noted(intent_id=1, floor=10, now_s=NOW_S, late=None):
    """Return the attempts, with one more."""
    late = late or LateUploads()
    late.note(Ticket(intent_id=intent_id, chat_id=CHAT, floor=floor), LABEL, now_s)
    return late


def test_a_search_is_not_repeated_below_where_it_ended():
    late = noted()
    late.note_looked_for(late.known, 25, NOW_S + 60)
    assert [one.floor for one in late.known] == [25]
    late.note_looked_for(late.known, 20, NOW_S + 120)
    assert [one.floor for one in late.known] == [25]


def test_one_that_is_remembered_keeps_its_floor():
    late = noted(floor=10)
    assert late.note(Ticket(intent_id=1, chat_id=CHAT, floor=30), LABEL, NOW_S).floor == 10


def test_only_a_search_that_began_after_the_latest_arrival_is_the_last():
    late = noted()
    late.note_looked_for(late.known, 25, NOW_S + LATEST_ARRIVAL_S - 1)
    assert late.known
    late.note_looked_for(late.known, 25, NOW_S + LATEST_ARRIVAL_S)
    assert late.known == ()


def test_a_clock_that_was_set_back_keeps_nothing_for_ever():
    late = noted(now_s=NOW_S + 10 * 86_400)
    late.note_looked_for(late.known, 25, NOW_S)
    assert late.known == ()
    late = noted(now_s=NOW_S + 10 * 86_400)
    late.give_up(CHAT, NOW_S)
    assert late.known == ()


def test_a_search_says_nothing_of_what_it_did_not_look_for():
    late = noted(1)
    before = late.known
    noted(2, late=late)
    late.note_looked_for(before, 25, NOW_S + 60)
    assert [one.floor for one in late.known] == [25, 10]


def test_a_chat_that_cannot_be_searched_for_a_day_is_given_up():
    late = noted(1)
    noted(2, now_s=NOW_S + 60, late=late)
    late.give_up(CHAT, NOW_S + GIVEN_UP_S - 1)
    assert len(late.known) == 2
    late.give_up(CHAT + 1, NOW_S + 2 * GIVEN_UP_S)
    assert len(late.known) == 2
    late.give_up(CHAT, NOW_S + GIVEN_UP_S)
    assert [one.intent_id for one in late.known] == [2]


def test_there_is_a_bound():
    late = LateUploads()
    for intent_id in range(KEPT_LATE + 5):
        noted(intent_id, late=late)
    assert [one.intent_id for one in late.known] == list(range(5, KEPT_LATE + 5))


def test_what_is_saved_is_read():
    extra = replace(LABEL, filename="film.srt")
    other = LateUpload(intent_id=2, chat_id=CHAT, floor=3, noted_at_s=1.5, label=extra)
    late = (*noted().known, other)
    assert parse_remembered(render_remembered(Remembered(late=late))).late == late
