# SPDX-License-Identifier: MIT
"""``tgsyncd delete``: delete a video for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.options import Source, as_json, configured
from tgsyncd.cli.text import printable
from tgsyncd.model import VideoId

if TYPE_CHECKING:
    from tgsyncd.cli.shell import Shell
    from tgsyncd.daemon import Application


@click.command("delete")
@click.option("--video-id", required=True, help="Id of the video, as `tgsyncd list` shows it.")
@as_json
@configured
def command(shell: Shell, source: Source, *, video_id: str, json_output: bool) -> int:
    """
    Delete a video: its published files, its rows, its documents.

    The source file is never touched. Documents that the store does not delete now stay in a queue;
    `tgsyncd cleanup` asks again.
    """
    config = source.load(shell).config

    async def task(application: Application, _reactor: Any) -> int:
        done = await application.delete_video(VideoId(video_id))
        if json_output:
            shell.say_json(
                {
                    "video_id": done.video_id,
                    "documents_deleted": done.documents_deleted,
                    "documents_owed": done.documents_owed,
                    "files_removed": [str(path) for path in done.files_removed],
                }
            )
            return 0
        shell.say(f"{done.video_id}: deleted, with {done.documents_deleted} documents")
        for path in done.files_removed:
            shell.say(f"  removed {printable(str(path))}")
        if done.documents_owed:
            shell.warn(f"{done.documents_owed} documents are still to be deleted; tgsyncd cleanup asks again")
        return 0

    return shell.work(config, task)
