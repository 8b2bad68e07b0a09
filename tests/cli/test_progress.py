# SPDX-License-Identifier: MIT
"""Progress: a bar on a terminal, plain lines elsewhere, nothing beside JSON."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

from rich.console import Console

from tgsyncd.cli.progress import BarProgress, PlainProgress, progress_view
from tgsyncd.ingest.pipeline import Progress


def at(stage: str, **changes) -> Progress:
    return Progress(video_id=None, path=Path("/x/A\nb.mkv"), stage=stage, **changes)


def shell(*, terminal: bool):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    return SimpleNamespace(err=console, note=console.print)


def test_plain_lines_are_few():
    """One a stage and one for each tenth, however often ffmpeg reports."""
    outside = shell(terminal=False)
    with progress_view(outside, quiet=False) as view:
        view(at("probe"))
        for step in range(1001):
            view(at("store", position_s=step / 10, duration_s=100.0, cut_bytes=step * 1000))
        view(at("publish"))

    lines = outside.err.file.getvalue().splitlines()
    assert len(lines) == 13
    assert lines[0] == "A\\x0ab.mkv: probe"
    assert lines[6] == "A\\x0ab.mkv: store 50 %, 500 kB"


def test_a_film_of_unknown_length():
    """There is no share to show, and nothing fails."""
    outside = shell(terminal=False)
    PlainProgress(outside)(at("store", position_s=5.0))
    assert "store 0 %" in outside.err.file.getvalue()


def test_quiet_prints_nothing():
    """For --json."""
    outside = shell(terminal=True)
    with progress_view(outside, quiet=True) as view:
        view(at("probe"))
    assert outside.err.file.getvalue() == ""


def test_a_bar_goes_away_while_something_else_is_written():
    """And comes back; plain lines have nothing to take away."""
    outside = shell(terminal=True)
    with progress_view(outside, quiet=False) as view:
        view(at("store", position_s=25.0, duration_s=100.0))
        with view.away():
            assert not outside.err._live_stack
            outside.err.print("a.mkv: stored")
        assert outside.err._live_stack
    assert "a.mkv: stored" in outside.err.file.getvalue()
    with progress_view(shell(terminal=False), quiet=False) as view, view.away():
        pass


def test_a_bar_on_a_terminal():
    """Name, stage, share and bytes; one line a file."""
    outside = shell(terminal=True)
    view = progress_view(outside, quiet=False)
    assert isinstance(view, BarProgress)
    with view:
        view(at("store", position_s=25.0, duration_s=100.0, cut_bytes=5_000_000))
        view(Progress(video_id=None, path=Path("/x/second.mkv"), stage="probe"))
        view(at("store", position_s=50.0, duration_s=100.0, cut_bytes=7_000_000))
    text = outside.err.file.getvalue()
    assert "50 %" in text
    assert "7.0 MB" in text
    assert "\nb.mkv" not in text
