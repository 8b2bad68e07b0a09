# SPDX-License-Identifier: MIT
"""``tgsyncd upload``: store videos and publish them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.options import Source, as_json, configured, with_public_urls
from tgsyncd.cli.progress import progress_view
from tgsyncd.cli.text import printable, render_bytes
from tgsyncd.errors import ConfigError
from tgsyncd.ingest.scan import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tgsyncd.cli.shell import Shell
    from tgsyncd.daemon import Application, UploadOutcome

_path = click.Path(path_type=Path)


@click.command("upload")
@click.option("--video", "videos", multiple=True, type=_path, help="File or folder; may be repeated.")
@click.argument("paths", nargs=-1, type=_path)
@click.option("--library", help="Library that the videos belong to. [default: by their folder]")
@click.option("--video-id", help="Id of the video, for ever. [default: made of the file name]")
@click.option("--force", is_flag=True, help="Store a file again though it is stored already.")
@click.option(
    "--host",
    envvar="TGSYNCD_HOST",
    help="Address of this machine for the URL in the .strm file. [default: server.public_urls]",
)
@click.option("--port", type=int, envvar="TGSYNCD_PORT", help="Port in that URL. [default: server.port]")
@as_json
@configured
def command(
    shell: Shell,
    source: Source,
    *,
    videos: tuple[Path, ...],
    paths: tuple[Path, ...],
    library: str | None,
    video_id: str | None,
    force: bool,
    host: str | None,
    port: int | None,
    json_output: bool,
) -> int:
    """
    Store videos and publish them.

    Each file is probed, cut into an HLS stream, stored, read back and compared; then its .strm file is
    written. A file that was stored before is recognised and not stored again. Interrupted uploads go on where
    they were when the same command is given again.

    Exit code: that of the first file that failed; the others are stored all the same.
    """
    if not (videos or paths):
        raise ConfigError("no video was given", hint="tgsyncd upload --video FILE_OR_FOLDER")
    loaded = source.load(shell, {} if port is None else {("server", "port"): port})
    config = with_public_urls(shell, loaded, host=host)
    from tgsyncd.daemon import UploadOptions

    options = UploadOptions(force=force, video_id=video_id, library=library)
    chosen = [shell.folder / path for path in (*videos, *paths)]

    async def task(application: Application, _reactor: Any) -> int:
        with progress_view(shell, quiet=json_output) as view:
            outcomes = await application.upload(chosen, options=options, progress=view)
        if json_output:
            shell.say_json([outcome_json(application, outcome) for outcome in outcomes])
        else:
            show_outcomes(shell, application, outcomes)
        return next((outcome.error.exit_code for outcome in outcomes if outcome.error), 0)

    return shell.work(config, task)


def show_outcomes(shell: Shell, application: Application, outcomes: Sequence[UploadOutcome]) -> None:
    """Write what became of each file: results to standard output, errors to standard error."""
    if not outcomes:
        shell.note("no video was found there; of a folder these are taken:")
        shell.note(f"  {' '.join(sorted(VIDEO_SUFFIXES))}")
    for each in outcomes:
        name = printable(each.path.name)
        if each.error is not None:
            shell.note(f"{name}: {printable(each.error.message)}")
            if each.error.hint:
                shell.note(f"  {printable(each.error.hint)}")
        if each.outcome is not None:
            done = each.outcome
            size = f", {render_bytes(done.stored_bytes)} stored" if done.stored_bytes else ""
            kept = f", {render_bytes(done.reused_bytes)} were stored before" if done.reused_bytes else ""
            shell.say(f"{name}: {done.action} as {done.video_id}{size}{kept}")
            for note in done.notes:
                shell.say(f"  {printable(note)}")
            shell.say(f"  .strm     {printable(str(done.strm))}")
            shell.say(f"  playlist  {application.playlist_url(done.video_id)}")
    failed = sum(each.error is not None for each in outcomes)
    if failed and len(outcomes) > 1:
        shell.note(f"{failed} of {len(outcomes)} files failed")


def outcome_json(application: Application, each: UploadOutcome) -> dict[str, object]:
    """Return one outcome as JSON."""
    if each.outcome is None:
        error = each.error
        return {
            "path": str(each.path),
            "error": None
            if error is None
            else {
                "kind": type(error).__name__,
                "message": error.message,
                "hint": error.hint,
                "exit_code": error.exit_code,
            },
        }
    done = each.outcome
    return {
        "path": str(each.path),
        "error": None,
        "video_id": done.video_id,
        "action": done.action,
        "strm": str(done.strm) if done.strm else None,
        "playlist_url": application.playlist_url(done.video_id),
        "stored_bytes": done.stored_bytes,
        "reused_bytes": done.reused_bytes,
        "notes": list(done.notes),
    }
