# SPDX-License-Identifier: MIT
"""Progress of an upload: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol, Self

from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from tgsyncd.cli.text import printable, render_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from tgsyncd.cli.shell import Shell
    from tgsyncd.daemon import Progress


class ProgressView(Protocol):
    """Shows progress while it is entered."""

    def __call__(self, progress: Progress) -> None:
        """Show where one file is."""
        ...

    def away(self) -> AbstractContextManager[object]:
        """Return what takes the view off the screen while something else is written."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def progress_view(shell: Shell, *, quiet: bool) -> ProgressView:
    """Return the view that suits standard error; ``quiet`` is for ``--json``."""
    if quiet:
        return PlainProgress(None)
    return BarProgress(shell) if shell.err.is_terminal else PlainProgress(shell)


class PlainProgress:
    """A line when a file enters a stage, and for each tenth of it that is stored."""

    def __init__(self, shell: Shell | None) -> None:
        self._shell = shell
        self._shown: tuple[object, str, int] | None = None

    def __call__(self, progress: Progress) -> None:
        """Write a line if there is something new."""
        tenth = int(10 * _share(progress))
        now = (progress.path, progress.stage, tenth)
        if self._shell is None or now == self._shown:
            return
        self._shown = now
        detail = f" {tenth * 10} %, {render_bytes(progress.cut_bytes)}" if progress.stage == "store" else ""
        self._shell.note(f"{printable(progress.path.name)}: {progress.stage}{detail}")

    def away(self) -> AbstractContextManager[object]:
        """Nothing to take away."""
        return nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class BarProgress:
    """One line for each file: stage, bar, bytes, speed, time left."""

    def __init__(self, shell: Shell) -> None:
        self._bars = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[stage]:8}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            _BytesColumn(),
            TimeRemainingColumn(compact=True),
            console=shell.err,
            transient=True,
        )
        self._tasks: dict[object, TaskID] = {}

    def __call__(self, progress: Progress) -> None:
        """Move the file's bar."""
        task = self._tasks.get(progress.path)
        if task is None:
            for other in self._tasks.values():
                self._bars.remove_task(other)
            self._tasks.clear()
            name = printable(progress.path.name)
            task = self._bars.add_task(
                name if len(name) <= 40 else f"{name[:39]}…", total=1.0, stage="", cut_bytes=0
            )
            self._tasks[progress.path] = task
        self._bars.update(
            task, completed=_share(progress), stage=progress.stage, cut_bytes=progress.cut_bytes
        )

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take the bars away: standard output may be the same terminal."""
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class _BytesColumn(ProgressColumn):
    """Bytes cut so far, and how many a second."""

    def render(self, task: Task) -> Text:
        cut = int(task.fields["cut_bytes"])
        elapsed_s = task.elapsed or 0.0
        speed = f" {render_bytes(cut / elapsed_s)}/s" if elapsed_s > 1 and cut else ""
        return Text(f"{render_bytes(cut)}{speed}")


def _share(progress: Progress) -> float:
    """How much of the file is done, 0 to 1. Everything behind storing it takes a moment."""
    if progress.stage in {"extras", "verify", "publish"}:
        return 1.0
    if not progress.duration_s:
        return 0.0
    return min(1.0, progress.position_s / progress.duration_s)
