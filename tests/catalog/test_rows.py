# SPDX-License-Identifier: MIT
"""Values survive the way into a row and back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.catalog import PLAN
from tgsyncd.catalog import database, rows
from tgsyncd.errors import CatalogError

file_names = st.binary(max_size=255).map(
    lambda raw: raw.replace(b"\0", b"").decode("utf-8", "surrogateescape")
)


@pytest.fixture(scope="module")
def db():
    with closing(sqlite3.connect(":memory:")) as db:
        database._set_up(db)
        yield db


@given(name=file_names)
def test_any_file_name_comes_back(db, name):
    """Also what is not UTF-8."""
    assert db.execute("SELECT CAST(? AS TEXT)", (rows.text(name),)).fetchone() == (name,)


@given(title=st.text(st.characters(exclude_categories=[])))
def test_any_title_can_be_stored(db, title):
    """Lone surrogates of broken metadata become question marks; nothing fails."""
    (stored,) = db.execute("SELECT CAST(? AS TEXT)", (rows.text(title),)).fetchone()

    try:
        title.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        assert "?" in stored
    else:
        # Escaped bytes that happen to be UTF-8 come back as what they spell.
        assert stored.encode("utf-8", "surrogateescape") == title.encode("utf-8", "surrogateescape")


@given(number=st.integers(0, 2**64 - 1))
def test_64_bits_come_back(number):
    """SQLite's integers are signed."""
    signed = rows.to_signed(number)

    assert -(2**63) <= signed < 2**63
    assert rows.to_unsigned(signed) == number


def test_a_plan_comes_back_and_what_is_unknown_in_it_is_ignored():
    """A plan written by a newer tgsyncd may have more in it."""
    stored = rows.plan_to_json(PLAN)
    assert stored.isascii()
    assert rows.plan_from_json(stored) == PLAN

    more = json.loads(stored)
    more["later"] = more["renditions"][0]["later"] = {"x": 1}
    assert rows.plan_from_json(json.dumps(more)) == PLAN


@pytest.mark.parametrize("stored", ["{}", "not JSON", '{"renditions": 3}'])
def test_a_plan_that_cannot_be_read_says_what_to_do(stored):
    """Instead of a traceback."""
    with pytest.raises(CatalogError) as caught:
        rows.plan_from_json(stored)

    assert "--force" in caught.value.hint
