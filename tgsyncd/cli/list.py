# SPDX-License-Identifier: MIT
"""``tgsyncd list``: list the videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.options import Source, as_json, configured
from tgsyncd.cli.text import printable, render_bytes, render_length, render_table, render_time

if TYPE_CHECKING:
    from tgsyncd.catalog.catalog import Catalog
    from tgsyncd.cli.shell import Shell
    from tgsyncd.model import Video


@click.command("list")
@as_json
@configured
def command(shell: Shell, source: Source, *, json_output: bool) -> int:
    """List the videos: id, status, length, size, segments, file name; below, what went wrong with which."""
    config = source.load(shell).config

    async def task(catalog: Catalog | None, _reactor: Any) -> int:
        videos = catalog.videos() if catalog else ()
        if json_output:
            shell.say_json([video_json(video) for video in videos])
            return 0
        if not videos:
            shell.note("no videos yet; store one with: tgsyncd upload --video FILE")
            return 0
        head = ("VIDEO", "STATUS", "LENGTH", "SIZE", "SEGMENTS", "FILE")
        for line in render_table(head, [_row(video) for video in videos]):
            shell.say(line)
        for video in videos:
            if video.error:
                shell.say(f"{video.video_id}: {printable(video.error)}")
        return 0

    return shell.look(config, task)


def _row(video: Video) -> tuple[str, ...]:
    return (
        video.video_id,
        _status(video),
        render_length(video.total_duration_s),
        render_bytes(video.file_size_bytes),
        str(video.total_segments),
        printable(video.original_filename),
    )


def _status(video: Video) -> str:
    if not video.error:
        return video.status
    failed = f"error after {video.stage}"
    return failed if video.status == "error" else f"{video.status}, {failed}"


def video_json(video: Video) -> dict[str, object]:
    """Return one video as JSON."""
    return {
        "video_id": video.video_id,
        "status": video.status,
        "stage": video.stage.value,
        "error": video.error,
        "wanted": video.wanted.value,
        "library": video.library,
        "original_filename": video.original_filename,
        "source_path": video.source_path,
        "current_revision": video.current_revision,
        "total_duration_s": video.total_duration_s,
        "total_segments": video.total_segments,
        "file_size_bytes": video.file_size_bytes,
        "created_at": render_time(video.created_at_s),
        "updated_at": render_time(video.updated_at_s),
    }
