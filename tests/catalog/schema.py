# SPDX-License-Identifier: MIT
"""Schemas compared by what they mean, and frozen dumps of the released ones.

``python -m tests.catalog.schema`` writes ``versions/v<N>.sql`` of the newest version: run it once, when a
version is released, and never again for that version.
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from tests.contracts import catalog as samples
from tgsyncd.catalog import CacheUse, database, migrate, write_releases, write_streams, write_videos
from tgsyncd.catalog.transaction import Transaction

VERSIONS = Path(__file__).parent / "versions"


def schema_of(path):
    """Everything a statement can notice of the schema: not the spelling of the DDL, but its meaning."""
    with closing(sqlite3.connect(path)) as db:
        names = db.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_stat%'"
        ).fetchall()
        found = {
            "user_version": db.execute("PRAGMA user_version").fetchone(),
            "application_id": db.execute("PRAGMA application_id").fetchone(),
        }
        for kind, name, table, sql in names:
            found[kind, name] = _meaning(db, kind, name, table, sql)
        return found


def _meaning(db, kind, name, table, sql):
    if kind == "table":
        return {
            "columns": sorted(row[1:] for row in db.execute(f"PRAGMA table_xinfo('{name}')")),
            "keys": sorted(row[2:] for row in db.execute(f"PRAGMA foreign_key_list('{name}')")),
            "options": sorted(row[3:] for row in db.execute(f"PRAGMA table_list('{name}')")),
            "checks": sorted(
                _bare(check) for check in re.findall(r"CHECK\s*\((?:[^()]|\([^()]*\))*\)", _uncommented(sql))
            ),
        }
    if kind == "index":
        columns = db.execute(f"PRAGMA index_xinfo('{name}')").fetchall()
        return {"table": table, "columns": [row[2:] for row in columns], "sql": _bare(sql or "")}
    return {"table": table, "sql": _bare(sql)}


def _uncommented(sql):
    return re.sub(r"--[^\n]*", "", sql)


def _bare(sql):
    return re.sub(r"\s+", " ", _uncommented(sql)).strip()


def rows_of(path):
    """Return the rows of every table, sorted."""
    with closing(sqlite3.connect(path)) as db:
        db.text_factory = bytes
        tables = [
            name.decode() for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            table: sorted(db.execute(f'SELECT * FROM "{table}"').fetchall(), key=repr) for table in tables
        }


def load_dump(dump, path):
    """Make a catalog file of a frozen dump."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.executescript(dump.read_text())


def fill(db):
    """Write something into every table, through the program's own writes."""
    tx = Transaction(db=db, now_s=1_700_000_000.5)
    for video_id in [samples.FILM, samples.OTHER, "gone"]:
        write_videos.create_video(
            tx,
            video_id,
            original_filename="Film \udcff.mkv",
            library="films",
            source_path=f"/videos/{video_id}\udcff.mkv",
        )
        write_videos.begin_revision(tx, video_id, samples.SOURCE)
        write_videos.record_plan(tx, video_id, 1, samples.PLAN)
        rendition_id = write_streams.create_rendition(tx, video_id, 1, samples.MAIN)
        write_streams.record_segments(tx, rendition_id, [samples.make_segment(order) for order in range(8)])
        for number in range(2):
            ref = samples.make_ref(rendition_id * 10 + number)
            write_streams.record_document(
                tx, rendition_id, number=number, offset=number * 4_000, length=4_000, ref=ref
            )
        ref = samples.make_ref(rendition_id * 10 + 5)
        write_streams.record_extra(tx, video_id, 1, name=".en.srt", ref=ref)
        write_videos.record_published_file(tx, video_id, f"/library/{video_id}.strm", "ab")
        write_streams.record_intent(tx, samples.make_label(9, video_id=video_id), bot_id=11, chat_id=-5)
        use = samples_use(video_id)
        write_videos.record_cache_use(tx, [use])
    write_releases.owe_source_release(tx, samples.FILM, 1)
    write_videos.publish_revision(tx, samples.FILM, 1)
    write_videos.record_error(tx, samples.OTHER, 1, "cut off", 1_700_000_600.0)
    write_videos.delete_video(tx, "gone")


def samples_use(video_id):
    """What the cache saw of one segment."""
    return CacheUse(
        video_id=video_id,
        revision=1,
        rendition="main",
        segment_filename="segment_0000.ts",
        cached_at_s=1.0,
        accesses=2,
        last_accessed_s=3.0,
        cache_size_bytes=1_000,
    )


def freeze(target):
    """Write the dump of the newest version, with rows in every table."""
    migrations = migrate.load_migrations()
    version = migrations[-1].version
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "catalog.sqlite3"
        with closing(migrate.prepare(path, migrations=migrations, new_id=lambda size: "f0" * size)) as db:
            db.execute("BEGIN")
            fill(db)
            db.execute("COMMIT")
            # File names need not be UTF-8, a dump must be: those bytes are written as escapes.
            db.text_factory = lambda raw: raw.decode("utf-8", "replace")
            dump = "\n".join(db.iterdump())
    header = f"PRAGMA user_version = {version};\nPRAGMA application_id = {database.APPLICATION_ID};\n"
    target.write_text(header + dump + "\n", encoding="utf-8")


if __name__ == "__main__":
    freeze(VERSIONS / f"v{migrate.load_migrations()[-1].version}.sql")
