# SPDX-License-Identifier: MIT
"""``tgsyncd upload``: store videos and publish them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tgsyncd.cli.handing import find_daemon
from tgsyncd.cli.options import Source, as_json, configured, with_public_urls
from tgsyncd.cli.progress import progress_view
from tgsyncd.cli.runner import Interrupted
from tgsyncd.cli.text import printable, render_bytes
from tgsyncd.errors import ConfigError
from tgsyncd.ingest.scan import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tgsyncd.cli.handing import Daemon
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
    they were when the same command is given again. Beside a running daemon they are handed to it and stored
    before what else waits; Ctrl-C then leaves it at work.

    Exit code: that of the first file that failed; the others are stored all the same.
    """
    if not (videos or paths):
        raise ConfigError("no video was given", hint="tgsyncd upload --video FILE_OR_FOLDER")
    loaded = source.load(shell, {} if port is None else {("server", "port"): port})
    chosen = [shell.folder / path for path in (*videos, *paths)]
    daemon = find_daemon(loaded.config.data_dir)
    if daemon is not None:
        if host is not None or port is not None:
            shell.warn("a daemon runs: its own address goes into the .strm, not --host and --port")
        question = {"paths": [str(path) for path in chosen], "force": force, "video_id": video_id,
                    "library": library}  # fmt: skip
        return hand_over(shell, daemon, question, json_output=json_output)
    config = with_public_urls(shell, loaded, host=host)
    from tgsyncd.daemon import UploadOptions
    from tgsyncd.service.handing import outcome_json

    options = UploadOptions(force=force, video_id=video_id, library=library)

    async def task(application: Application, _reactor: Any) -> int:
        with progress_view(shell, quiet=json_output) as view:

            def ended(outcome: UploadOutcome) -> None:
                if not json_output:
                    with view.away():
                        show_outcome(shell, outcome_json(application, outcome))

            outcomes = await application.upload(chosen, options=options, progress=view, ended=ended)
        found = [outcome_json(application, outcome) for outcome in outcomes]
        return report_outcomes(shell, found, json_output=json_output)

    return shell.work(config, task)


def hand_over(shell: Shell, daemon: Daemon, question: Mapping[str, Any], *, json_output: bool) -> int:
    """Let the running daemon store the files; show what happens. Ctrl-C leaves it at work."""
    from tgsyncd.ingest.work import Progress

    if not json_output:
        shell.note("a daemon runs: it stores them, before what else waits")
    try:
        with progress_view(shell, quiet=json_output) as view:

            def show(event: Mapping[str, Any]) -> None:
                if "ended" in event and not json_output:
                    with view.away():
                        show_outcome(shell, event["ended"])
                if "progress" in event:
                    view(Progress(**{**event["progress"], "path": Path(event["progress"]["path"])}))

            outcomes = daemon.ask("/upload", question, show)["outcomes"]
    except Interrupted:
        shell.note("the daemon goes on with it; see: tgsyncd status")
        raise
    return report_outcomes(shell, outcomes, json_output=json_output)


def report_outcomes(shell: Shell, outcomes: Sequence[Mapping[str, Any]], *, json_output: bool) -> int:
    """Show what became of all, each of which was shown as it ended; return the exit code."""
    if json_output:
        shell.say_json(outcomes)
    elif not outcomes:
        shell.note("no video was found there; of a folder these are taken:")
        shell.note(f"  {' '.join(sorted(VIDEO_SUFFIXES))}")
    failed = sum(bool(each["error"]) for each in outcomes)
    if failed and len(outcomes) > 1 and not json_output:
        shell.note(f"{failed} of {len(outcomes)} files failed")
    return next((int(each["error"]["exit_code"]) for each in outcomes if each["error"]), 0)


def show_outcome(shell: Shell, each: Mapping[str, Any]) -> None:
    """Write what became of a file: results to standard output, errors to standard error."""
    name = printable(Path(each["path"]).name)
    if each["error"]:
        shell.note(f"{name}: {printable(each['error']['message'])}")
        if each["error"]["hint"]:
            shell.note(f"  {printable(each['error']['hint'])}")
        return
    stored, reused = each["stored_bytes"], each["reused_bytes"]
    size = f", {render_bytes(stored)} stored" if stored else ""
    kept = f", {render_bytes(reused)} were stored before" if reused else ""
    shell.say(f"{name}: {each['action']} as {each['video_id']}{size}{kept}")
    for note in each["notes"]:
        shell.say(f"  {printable(note)}")
    shell.say(f"  .strm     {printable(str(each['strm']))}")
    shell.say(f"  playlist  {each['playlist_url']}")
