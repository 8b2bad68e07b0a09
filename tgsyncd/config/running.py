# SPDX-License-Identifier: MIT
"""PURE: the sections that ``tgsyncd run`` obeys: watching, ingesting, jobs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from tgsyncd.config.hours import check_span
from tgsyncd.config.section import Section
from tgsyncd.config.values import Cron, Duration


class ScanSection(Section):
    """How `tgsyncd run` watches the source folders of the libraries."""

    interval: Duration = Field(
        default=900.0,
        ge=1.0,
        description="Time between two scans of all folders. What inotify misses is found by these.",
        json_schema_extra={"unit": "s"},
    )
    cron: Cron = Field(
        default="",
        description="Scan at these times instead, as in crontab: `0 3 * * *` is each night at three.",
    )
    inotify: bool = Field(
        default=True,
        description="Learn of new files at once from the kernel. Network file systems tell nothing: there "
        "`interval` counts.",
    )
    rest: Duration = Field(
        default=30.0,
        ge=0.0,
        description="A file is taken when its size and times have not changed for so long.",
        json_schema_extra={"unit": "s"},
    )
    holes: Literal["wait", "take"] = Field(
        default="wait",
        description="A file with holes is probably still downloaded into: `wait` until it has none, or "
        "`take` it.",
    )
    partial_suffixes: tuple[str, ...] = Field(
        default=(".part", ".partial", ".crdownload", ".download", ".tmp", ".!qb", ".!ut", ".aria2"),
        description="Suffixes of unfinished downloads: such files are left alone, and a file beside which "
        "one of its name stands (`film.mkv.aria2`) too.",
    )
    samples: bool = Field(
        default=False, description="Take files and folders named as samples (`Film-sample.mkv`, `Sample/`)."
    )
    trailers: bool = Field(
        default=False,
        description="Take files and folders named as trailers (`Film-trailer.mkv`, `Trailers/`).",
    )
    exclude: tuple[str, ...] = Field(
        default=(),
        description="Patterns of what is left alone, such as `*.iso` or `incoming/*`: of a name, or of a "
        "path below the source folder.",
    )
    symlinks: Literal["skip", "follow"] = Field(
        default="skip",
        description="Symbolic links: `skip` them, or `follow` those to files. Those to folders are never "
        "followed.",
    )
    one_file_system: bool = Field(
        default=False, description="Do not go into folders on which another file system is mounted."
    )
    on_source_renamed: Literal["keep", "follow"] = Field(
        default="keep",
        description="A source file has another name or place: `keep` the `.strm` where it is, or let it "
        "`follow`. To Jellyfin a renamed `.strm` is a new item that nobody has watched.",
    )
    on_source_removed: Literal["keep", "withdraw", "delete"] = Field(
        default="keep",
        description="A source file is gone: `keep` the video, `withdraw` its `.strm`, or `delete` the video "
        "with its documents. Nothing happens when more than 10 files and more than 10 % are gone at once, "
        "the folder is empty, or another file system is mounted there.",
    )
    on_strm_removed: Literal["restore", "withdraw", "delete"] = Field(
        default="restore",
        description="Somebody removed a `.strm`, in Jellyfin for instance: `restore` it, `withdraw` what "
        "else is published of the video, or `delete` the video with its documents. Guarded likewise.",
    )


class IngestSection(Section):
    """What `tgsyncd run` does with the files that it finds."""

    parallel: int = Field(
        default=1,
        ge=1,
        le=8,
        description="Videos that are cut and stored at once. They share `spool.max_bytes`, of which each "
        "needs 64 MB.",
    )
    order: Literal["newest", "oldest", "smallest", "name"] = Field(
        default="newest", description="Which of the waiting files is next."
    )
    quiet_hours: tuple[str, ...] = Field(
        default=(),
        description="Hours in which no video is begun, such as `18:00-23:30` (local time). What has begun "
        "goes on.",
    )

    @field_validator("quiet_hours")
    @classmethod
    def _are_hours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_span(text) for text in value)


class JobsSection(Section):
    """When `tgsyncd run` looks after itself: five fields as in crontab, local time; empty is never."""

    cleanup: Cron = Field(
        default="0 4 * * *",
        description="Free replaced revisions and what nobody needs; as `tgsyncd cleanup`.",
    )
    cleanup_keep: Duration = Field(
        default=86_400.0,
        ge=0.0,
        description="What was used or replaced within this time is kept.",
        json_schema_extra={"unit": "s"},
    )
    deletions: Cron = Field(
        default="*/10 * * * *", description="Ask the store again for deletions that it refused or missed."
    )
    backup: Cron = Field(
        default="15 3 * * *", description="Copy the catalog to `backups` in `data_dir`, and check the copy."
    )
    backup_keep: int = Field(default=7, ge=1, le=366, description="So many of these copies are kept.")
    integrity: Cron = Field(
        default="30 4 * * 0", description="Check the catalog thoroughly. Waits while somebody watches."
    )
    vacuum: Cron = Field(
        default="45 4 * * 0",
        description="Give the catalog's unused space back. Waits while somebody watches.",
    )
    reconcile: Cron = Field(
        default="0 5 * * *",
        description="Compare libraries and store with the catalog, as `tgsyncd check`, and write again what "
        "is missing in a library (where `scan.on_strm_removed` is `restore`).",
    )
    reconcile_documents: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="So many documents are read back from the store by each such run, those first that were "
        "not read for longest.",
    )
    statistics: Cron = Field(
        default="55 23 * * *",
        description="Write what there is to the log and to `statistics.jsonl` in `data_dir`.",
    )
