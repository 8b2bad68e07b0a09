# SPDX-License-Identifier: MIT
"""docs/catalog.md describes the schema that there is."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from tgsyncd.catalog.migrate import load_migrations

ROOT = Path(__file__).parents[2]


def make_database():
    db = sqlite3.connect(":memory:")
    for migration in load_migrations():
        db.executescript(migration.sql)
    return db


def columns_by_table():
    with closing(make_database()) as db:
        tables = db.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {table: [row[1] for row in db.execute(f"PRAGMA table_info('{table}')")] for (table,) in tables}


def described():
    """Return the columns that each section's table names."""
    sections = re.split(r"^### (\w+)$", (ROOT / "docs/catalog.md").read_text(), flags=re.MULTILINE)
    return {
        name: re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)))
        for name, text in zip(sections[1::2], sections[2::2], strict=True)
    }


def test_every_table_and_column_is_described():
    """And none that is not there."""
    found, documented = columns_by_table(), described()
    documented["segments"] = sorted({*documented["segments"], *documented["rendition_segments"][1:]})

    assert {table: sorted(columns) for table, columns in found.items()} == {
        table: sorted(columns) for table, columns in documented.items()
    }


def test_every_trigger_is_described():
    """What happens by itself must be known."""
    with closing(make_database()) as db:
        names = db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()

    text = (ROOT / "docs/catalog.md").read_text()
    assert [name for (name,) in names if f"`{name}`" not in text] == []


def test_every_column_has_a_comment():
    """The file explains itself to whoever looks with the sqlite3 shell."""
    with closing(make_database()) as db:
        statements = db.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        bare = {}
        for table, sql in statements:
            for (column,) in db.execute(f"SELECT name FROM pragma_table_info('{table}')"):
                if not re.search(rf"^\s+{column}\b[^\n]*--", sql, re.MULTILINE):
                    bare.setdefault(table, []).append(column)

    assert bare == {}
