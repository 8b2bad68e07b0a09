# SPDX-License-Identifier: MIT
"""
Ask ffprobe what a source file is, and say in the owner's words what is wrong with it.

Every error names the file and the next step, and concerns this one file only: the rest of a batch goes on.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from twisted.internet.threads import deferToThread

from tgsyncd.errors import (
    FfmpegError,
    FfmpegMissing,
    FfmpegTimeout,
    NotAVideo,
    SourceDamaged,
    SourceError,
    SourceUnreadable,
)
from tgsyncd.formats.ffmpeg import (
    build_probe_argv,
    build_version_argv,
    parse_probe,
    parse_version,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tgsyncd.model import MediaProbe
    from tgsyncd.ports import ProcessResult, ProcessRunner

__all__ = ["FfmpegVersion", "check_complete", "explain_cut", "ffmpeg_version", "probe_source", "shown_name"]

PROBE_LIMIT_S: Final = 120.0
"""A probe reads at most some 64 MB, more where an index lies at the end; a disk that sleeps wakes in 20 s."""

PROBE_MAX_BYTES: Final = 8 << 20
"""A film's JSON is some 20 kB; a crafted file can claim a million streams."""

MP4_FIRST_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp"})
"""How MP4 and QuickTime begin; ffprobe takes any text named .mp4 for one and misses its index."""

MISSING_END_MIN_S: Final = 1.0
MISSING_END_SHARE: Final = 0.02
MISSING_END_MAX_S: Final = 30.0
"""How much shorter than its header says a file may be: headers round, and count a last subtitle's end."""


async def probe_source(
    path: Path, runner: ProcessRunner, *, wall_limit_s: float = PROBE_LIMIT_S
) -> MediaProbe:
    """
    Return what ffprobe says of a source file.

    Raises
        SourceUnreadable: missing, empty, not a regular file, no permission, or an I/O error.
        NotAVideo: not a container of media that we read.
        SourceDamaged: a container that cannot be read, such as MP4 without its index.
        FfmpegMissing, FfmpegTimeout, FfmpegError: the program, not the file.
    """
    head = await deferToThread(_check_file, path)
    result = await runner.run(
        build_probe_argv(path.absolute()),
        wall_limit_s=wall_limit_s,
        max_stdout_bytes=PROBE_MAX_BYTES,
    )
    if result.timed_out:
        raise FfmpegTimeout(
            f"{shown_name(path)}: ffprobe did not finish within {wall_limit_s:.0f} s.",
            hint="does its disk still answer? Play the file with ffprobe by hand",
        )
    if result.exit_code != 0:
        raise _explain(path, head, result)
    probe = parse_probe(result.stdout)
    if not (probe.video or probe.audio):
        raise _explain(path, head, result)
    return probe


async def ffmpeg_version(runner: ProcessRunner) -> str:
    """
    Return the version of ffmpeg, such as ``5.1.9-0+deb12u1``.

    Raises
        FfmpegMissing when it is not installed or does not run.
    """
    result = await runner.run(build_version_argv(), wall_limit_s=30, max_stdout_bytes=1 << 20)
    version = parse_version(result.stdout)
    if result.exit_code != 0 or not version:
        raise FfmpegMissing(
            f"ffmpeg does not run: {_last_line(result.stderr_tail) or result.exit_code}.",
            hint="install it again: apt-get install --reinstall ffmpeg",
        )
    return version


class FfmpegVersion:
    """
    The version of ffmpeg, asked for once: starting it takes 70 ms, a third of what a small video takes.

    It is told in plans and decides nothing. After an ingest that failed it is asked for again (``forget``):
    another ffmpeg may have been installed.
    """

    def __init__(self, runner: ProcessRunner) -> None:
        self._runner = runner
        self._version = ""

    async def get(self) -> str:
        """Return it. Raises FfmpegMissing when ffmpeg is not installed or does not run."""
        if not self._version:
            self._version = await ffmpeg_version(self._runner)
        return self._version

    def forget(self) -> None:
        """Ask for it the next time."""
        self._version = ""


def explain_cut(path: Path, result: ProcessResult) -> SourceError | FfmpegError | None:
    """
    Return what a run of ``build_cut_argv`` (or of another that reads the source) failed of.

    None when it ended well: that does not say that the source was whole (``check_complete``).
    """
    name, said = shown_name(path), result.stderr_tail
    if result.timed_out:
        return FfmpegTimeout(
            f"{name}: ffmpeg did not finish in time.",
            hint="is its disk, or this machine, much slower than the film plays?",
        )
    if result.exit_code == 0:
        return None
    reason = _first_error(said)
    if re.search(r"Invalid data found|Packet corrupt|corrupt input packet", said):
        return SourceDamaged(
            f"{name} is damaged: {reason}.", hint="copy or download it again, or encode it anew"
        )
    if "No such file or directory" in said:
        return SourceUnreadable(f"{name} is not there any more.", hint="was it moved?")
    if result.exit_code < 0:
        return _killed(name, "ffmpeg", -result.exit_code)
    return FfmpegError(f"{name}: ffmpeg failed: {reason}.", hint="see the log for its last words")


def check_complete(probe: MediaProbe, end_s: float, *, name: str = "") -> None:
    """
    Compare the end of the stream that was cut with the duration that the source's header promises.

    ``end_s`` is the end of the last packet, in seconds from the first. A Matroska file that was cut off in
    the middle still promises its whole duration, and ffmpeg ends with status 0.

    Raises
        SourceDamaged when the end is missing.
    """
    if probe.duration_s is None:
        return
    allowed_s = min(MISSING_END_MAX_S, max(MISSING_END_MIN_S, MISSING_END_SHARE * probe.duration_s))
    missing_s = probe.duration_s - end_s
    if missing_s > allowed_s:
        raise SourceDamaged(
            f"{name or 'The source'}: it breaks off after {end_s:.0f} s of {probe.duration_s:.0f} s.",
            hint="copy or download it again; an unfinished download is taken up when it is whole",
        )


def shown_name(path: Path) -> str:
    """Return the file's name for a message: quoted, with what is not printable escaped."""
    name = "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode()
        for char in os.fsencode(path.name).decode("utf-8", "replace")
    )
    return f"“{name}”"


def _check_file(path: Path) -> bytes:
    """
    Refuse what ffprobe would explain badly, or never finish reading (a FIFO); return the first bytes.

    Blocks: for a thread.
    """
    head = b""
    name = shown_name(path)
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            with path.open("rb", buffering=0) as file:
                head = file.read(16)
    except FileNotFoundError as error:
        raise SourceUnreadable(
            f"{name} is not there.", hint="was it moved, or is its disk not mounted?"
        ) from error
    except PermissionError as error:
        raise SourceUnreadable(
            f"{name} may not be read by the user that runs tgsyncd.",
            hint="give that user read rights to the file and its folders",
        ) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SourceUnreadable(
            f"{name} cannot be read: {reason}.", hint="check the disk that it is on"
        ) from error
    if stat.S_ISDIR(found.st_mode):
        raise SourceUnreadable(f"{name} is a folder.", hint="name the files in it, or scan it")
    if not stat.S_ISREG(found.st_mode):
        raise SourceUnreadable(
            f"{name} is not a regular file.", hint="tgsyncd reads files, not devices or pipes"
        )
    if found.st_size == 0:
        raise SourceUnreadable(f"{name} is empty (0 bytes).", hint="copy or download it again, or remove it")
    return head


def _explain(path: Path, head: bytes, result: ProcessResult) -> SourceError | FfmpegError:
    """Turn ffprobe's last words into an error that tells what to do."""
    name, said = shown_name(path), result.stderr_tail
    if "moov atom not found" in said and head[4:8] in MP4_FIRST_BOXES:
        return SourceDamaged(
            f"{name} lacks its index (the moov box): it was not written to its end.",
            hint="finish the download, or copy it again",
        )
    if "not on whitelist" in said:
        return NotAVideo(
            f"{name} is not a container of video that tgsyncd reads.",
            hint="playlists, lists of files and sound files are not taken: remux it to .mkv or .mp4",
        )
    if "Input/output error" in said:
        return SourceUnreadable(f"{name}: the disk reports an error while reading.", hint="check that disk")
    if result.exit_code < 0:
        return _killed(name, "ffprobe", -result.exit_code)
    if "Invalid data found" in said or "moov atom" in said or result.exit_code == 0:
        return NotAVideo(
            f"{name} is not a video, or its beginning is damaged.",
            hint="try to play it; copy or download it again",
        )
    return FfmpegError(
        f"{name}: ffprobe failed: {_last_line(said) or f'exit status {result.exit_code}'}",
        hint="run ffprobe on it by hand",
    )


def _killed(name: str, program: str, signal: int) -> FfmpegError:
    return FfmpegError(
        f"{name}: {program} was ended by signal {signal}.",
        hint="the file asks for more memory or time than is allowed, or ffmpeg is broken",
    )


def _first_error(said: str) -> str:
    """Return the first of ffmpeg's lines that is an error: what comes later follows from it."""
    errors = re.findall(r"\[(?:error|fatal)\] (.*)", said)
    return (errors[0] if errors else _last_line(said) or "it did not say why").rstrip(".")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
