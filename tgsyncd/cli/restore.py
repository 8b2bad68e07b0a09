# SPDX-License-Identifier: MIT
"""``tgsyncd restore``: a video back from the store, as an ordinary file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.options import Source, as_json, configured
from tgsyncd.cli.text import printable, render_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tgsyncd.cli.shell import Shell
    from tgsyncd.daemon import Application
    from tgsyncd.maintenance.restore import RestoreFormat


@click.command("restore")
@click.option("--video-id", required=True, help="The video.")
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    default=Path(),
    help="File, or folder in which it gets its source's name. [default: the current folder]",
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["auto", "stream", "mkv", "mp4"]),
    default="auto",
    show_default=True,
    help="The stream as it is stored, or made into mkv or mp4 without encoding anything.",
)
@click.option("--no-sidecars", is_flag=True, help="Leave out subtitles, pictures and .nfo.")
@as_json
@configured
def command(
    shell: Shell,
    source: Source,
    *,
    video_id: str,
    to: Path,
    file_format: RestoreFormat,
    no_sidecars: bool,
    json_output: bool,
) -> int:
    """
    Write a stored video to a file: every document is verified, nothing is encoded.

    Subtitles, pictures and .nfo are written beside it. A file that stands there is not replaced. A running
    daemon is not disturbed.
    """
    config = source.load(shell).config

    async def task(application: Application, reactor: Any) -> int:
        from twisted.internet.threads import deferToThread

        from tgsyncd.assembly import process_limits
        from tgsyncd.ingest.names import check_video_id
        from tgsyncd.maintenance.restore import Restorer
        from tgsyncd.processes import TwistedProcessRunner

        # It writes a file as long as the film, and nothing else.
        limits = replace(process_limits(config), file_size_bytes=None)
        restorer = Restorer(
            application.catalog,
            application.store.open,
            runner=TwistedProcessRunner(reactor, limits),
            in_thread=deferToThread,
            on_bytes=_teller(shell) if not json_output else lambda _done, _total: None,
        )
        restored = await restorer.restore(
            check_video_id(video_id), shell.folder / to, file_format=file_format, sidecars=not no_sidecars
        )
        if json_output:
            shell.say_json(
                {
                    "path": restored.path,
                    "size_bytes": restored.size_bytes,
                    "sidecars": list(restored.sidecars),
                }
            )
        else:
            for path in (restored.path, *restored.sidecars):
                shell.say(printable(str(path)))
        return 0

    return shell.work(config, task)


def _teller(shell: Shell) -> Callable[[int, int], None]:
    """Return what writes a line for each tenth."""
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // max(total, 1)
        if tenth > told:
            told = tenth
            shell.note(f"{tenth * 10} %, {render_bytes(done)}")

    return tell
