# SPDX-License-Identifier: MIT
"""
Check a machine before it is relied upon: ffmpeg, disk, rights, port, address. Each finding has its remedy.

Nothing is changed: a file that proves that a folder can be written to is removed again, and the server that
proves that a public URL leads here lives for as long as one request.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.threads import deferToThreadPool
from twisted.web.resource import Resource
from twisted.web.server import Site

from tgsyncd.errors import FfmpegMissing, TgsyncdError
from tgsyncd.formats.ffmpeg import build_encoder_test_argv

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from twisted.web.iweb import IRequest

    from tgsyncd.ports import ProcessResult, ProcessRunner

MIN_FFMPEG = (5, 1)
"""Debian 12's. What earlier ones make of our options was never tried."""
NEEDED_ENCODERS = ("libx264", "aac", "subrip", "mjpeg")
NEEDED_MUXERS = ("mpegts", "mp4")
SPARE_BYTES = 512 << 20
"""Beyond the spool: the catalog's journal and backup, and what else the machine does."""
_WALL_LIMIT_S = 60.0


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at. ``remedy`` says what to do, and is empty when all is well."""

    level: Level
    subject: str
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What shall be looked at."""

    encoder: str = "libx264"
    writable: Mapping[str, Path]
    """Name of the option → folder that we write to."""
    readable: Mapping[str, Path]
    """Name of the option → folder that we read."""
    visible: Mapping[str, Path]
    """Name of the option → folder that Jellyfin's user reads."""
    room: Mapping[str, tuple[Path, int]]
    """Name of the option → folder, and bytes that it needs."""
    listen: str
    port: int
    public_urls: Sequence[str]


async def examine(
    what: Examination,
    *,
    reactor: Any,
    runner: ProcessRunner,
    fetch: Callable[[str], Awaitable[tuple[int, bytes]]],
) -> Sequence[Finding]:
    """Look at everything, in the order in which things are needed. Never raises for what it finds."""
    findings = [*await check_programs(runner, encoder=what.encoder)]

    async def in_thread(work: Callable[..., Finding], *arguments: object) -> Finding:
        # A folder may be on a NAS that hangs.
        return await deferToThreadPool(reactor, reactor.getThreadPool(), work, *arguments)

    for option, folder in what.writable.items():
        findings.append(await in_thread(check_writable, option, folder))
    for option, folder in what.visible.items():
        findings.append(await in_thread(check_visible, option, folder))
    for option, folder in what.readable.items():
        findings.append(await in_thread(check_readable, option, folder))
    for option, (folder, needed_bytes) in what.room.items():
        findings.append(await in_thread(check_room, option, folder, needed_bytes, shutil.disk_usage))
    findings += await check_reachable(
        reactor, listen=what.listen, port=what.port, public_urls=what.public_urls, fetch=fetch
    )
    return findings


# --- programs ----------------------------------------------------------------------------------------


async def check_programs(runner: ProcessRunner, *, encoder: str) -> Sequence[Finding]:
    """Check ffmpeg and ffprobe: there, new enough, with the encoders and formats that we use."""
    findings = []
    for program in ("ffmpeg", "ffprobe"):
        try:
            version = await _run(runner, [program, "-hide_banner", "-version"])
        except FfmpegMissing as error:
            findings.append(_problem(program, error.message, error.hint or "apt install ffmpeg"))
            continue
        findings.append(judge_version(program, _text(version)))
    if any(finding.level is Level.PROBLEM for finding in findings):
        return findings
    encoders = _text(await _run(runner, ["ffmpeg", "-hide_banner", "-encoders"]))
    muxers = _text(await _run(runner, ["ffmpeg", "-hide_banner", "-muxers"]))
    findings.append(judge_list("encoders", encoders, NEEDED_ENCODERS))
    findings.append(judge_list("formats", muxers, NEEDED_MUXERS))
    if encoder != "libx264":
        result = await _run(runner, build_encoder_test_argv(encoder))
        findings.append(judge_hardware(encoder, result.exit_code, result.stderr_tail))
    return findings


def judge_version(program: str, text: str) -> Finding:
    """Judge what ``-version`` says. A version without numbers is a build from git: newer than any."""
    found = re.search(r"version n?(\d+)\.(\d+)", text)
    name = text.splitlines()[0].split(" Copyright")[0] if text.strip() else f"{program}: no version"
    if found and (int(found[1]), int(found[2])) < MIN_FFMPEG:
        return _problem(program, f"{name} is too old", "install ffmpeg 5.1 or newer")
    if not text.startswith(f"{program} version"):
        return _problem(program, f"{program} does not run: {name}", "apt install --reinstall ffmpeg")
    return Finding(level=Level.OK, subject=program, message=name)


def judge_list(what: str, text: str, needed: Sequence[str]) -> Finding:
    """Judge what ``-encoders`` or ``-muxers`` list."""
    listed = {line.split()[1] for line in text.splitlines() if len(line.split()) > 1}
    missing = [name for name in needed if name not in listed]
    if missing:
        return _problem(
            f"ffmpeg {what}", f"this ffmpeg lacks {', '.join(missing)}", "install your system's full ffmpeg"
        )
    return Finding(level=Level.OK, subject=f"ffmpeg {what}", message=f"{', '.join(needed)} are there")


def judge_hardware(encoder: str, exit_code: int, stderr: str) -> Finding:
    """Judge an attempt to encode a second with the hardware."""
    if exit_code == 0:
        return Finding(level=Level.OK, subject=encoder, message="the hardware encoder works")
    lines = stderr.strip().splitlines()
    return _problem(
        encoder,
        f"the hardware encoder does not work: {lines[-1] if lines else exit_code}",
        "check video.device, its driver, and that tgsyncd's user is in the group that owns it (render); "
        'or set video.encoder to "none"',
    )


async def _run(runner: ProcessRunner, argv: Sequence[str]) -> ProcessResult:
    return await runner.run(argv, wall_limit_s=_WALL_LIMIT_S, max_stdout_bytes=1 << 20)


def _text(result: ProcessResult) -> str:
    return result.stdout.decode("utf-8", "replace")


# --- folders -----------------------------------------------------------------------------------------


def check_writable(option: str, folder: Path) -> Finding:
    """Write and remove a file. Where the folder is not there yet, its parent must allow to make it."""
    place = _existing(folder)
    try:
        if not place.is_dir():
            raise NotADirectoryError(20, "it is not a folder")
        with tempfile.NamedTemporaryFile(dir=place, prefix=".tgsyncd-doctor-") as file:
            file.write(b"tgsyncd")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return _problem(
            option,
            f"{place} cannot be written to: {error.strerror}",
            f"give it to tgsyncd's user: chown {_user()} '{place}', or choose another {option}",
        )
    made = "can be written to" if place == folder else f"can be made in {place}"
    return Finding(level=Level.OK, subject=option, message=f"{folder} {made}")


def check_visible(option: str, folder: Path) -> Finding:
    """Look for a folder on the way that is closed to other users, such as Jellyfin's."""
    for place in (folder, *folder.parents):
        if place.exists() and not place.stat().st_mode & 0o001:
            return Finding(
                level=Level.WARNING,
                subject=option,
                message=f"{place} is closed to other users, and Jellyfin's may have to read {folder}",
                remedy=f"choose another {option}, or let Jellyfin's user or group enter {place}",
            )
    return Finding(level=Level.OK, subject=option, message=f"{folder} can be reached by other users")


def check_readable(option: str, folder: Path) -> Finding:
    """List a folder that holds source files."""
    try:
        with os.scandir(folder) as entries:
            empty = next(entries, None) is None
    except OSError as error:
        return _problem(
            option,
            f"{folder} cannot be read: {error.strerror}",
            f"mount it, or let {_user()} read it, or correct {option}",
        )
    if empty:
        # An unmounted disk looks like this, and must not be taken for "all videos were deleted".
        return Finding(
            level=Level.WARNING, subject=option, message=f"{folder} is empty", remedy="is it mounted?"
        )
    return Finding(level=Level.OK, subject=option, message=f"{folder} can be read")


def check_room(option: str, folder: Path, needed_bytes: int, usage: Callable[[Path], Any]) -> Finding:
    """Compare the free space with what is needed."""
    place = _existing(folder)
    try:
        free_bytes = usage(place).free
    except OSError as error:
        return _problem(option, f"{place}: {error.strerror}", f"choose another {option}")
    message = f"{_gigabytes(free_bytes)} are free in {place}"
    if free_bytes < needed_bytes:
        return _problem(
            option,
            f"{message}, {_gigabytes(needed_bytes)} are needed",
            f"free some, or choose another {option} or smaller limits",
        )
    return Finding(level=Level.OK, subject=option, message=message)


def _existing(folder: Path) -> Path:
    return next((place for place in _upwards(folder) if place.exists()), Path("/"))


def _upwards(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.parents


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"


def _user() -> str:
    return str(os.geteuid())


# --- network -----------------------------------------------------------------------------------------


class _Marker(Resource):
    """Answers everything with one secret: who receives it has reached this very process."""

    isLeaf = True  # noqa: N815  Twisted's name

    def __init__(self, marker: bytes) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._marker = marker

    def render_GET(self, request: IRequest) -> bytes:  # noqa: ARG002, N802  Twisted's signature
        return self._marker


async def check_reachable(
    reactor: Any,
    *,
    listen: str,
    port: int,
    public_urls: Sequence[str],
    fetch: Callable[[str], Awaitable[tuple[int, bytes]]],
) -> Sequence[Finding]:
    """
    Check that the port is free and that each public URL leads to it.

    From this machine: a firewall between it and the players is not seen.
    """
    marker = secrets.token_hex(16).encode()
    kind: Any = TCP6ServerEndpoint if ":" in listen else TCP4ServerEndpoint
    try:
        endpoint = kind(reactor, port, interface=listen)
        listening = await endpoint.listen(Site(_Marker(marker)))
    except CannotListenError as error:
        return await _taken(error, port, public_urls, fetch)
    subject = f"port {port}"
    findings = [Finding(level=Level.OK, subject=subject, message=f"{listen}:{port} is free")]
    try:
        findings += [await _leads_here(url, marker, fetch) for url in public_urls]
    finally:
        stopped = listening.stopListening()
        if isinstance(stopped, Deferred):
            await stopped
    return findings


async def _taken(
    error: CannotListenError,
    port: int,
    public_urls: Sequence[str],
    fetch: Callable[[str], Awaitable[tuple[int, bytes]]],
) -> Sequence[Finding]:
    for url in public_urls:
        try:
            status, body = await fetch(f"{url}/healthz")
        except TgsyncdError:
            continue
        if status == 200 and body.lstrip().startswith(b"{"):
            message = f"a server, probably tgsyncd, answers at {url}"
            return [Finding(level=Level.OK, subject=f"port {port}", message=message)]
    return [
        _problem(
            f"port {port}",
            f"cannot listen on it: {error.socketError}",
            f"see who does: ss -ltnp 'sport = :{port}'; or choose another server.port",
        )
    ]


async def _leads_here(
    url: str, marker: bytes, fetch: Callable[[str], Awaitable[tuple[int, bytes]]]
) -> Finding:
    remedy = "check the address, the port, the firewall and the reverse proxy; players will use this URL"
    try:
        status, body = await fetch(f"{url}/doctor")
    except TgsyncdError as error:
        return _problem(url, f"nobody answers: {error.message}", remedy)
    if body != marker:
        return _problem(url, f"somebody else answers there (status {status})", remedy)
    return Finding(level=Level.OK, subject=url, message="leads to this machine")


def _problem(subject: str, message: str, remedy: str) -> Finding:
    return Finding(level=Level.PROBLEM, subject=subject, message=message, remedy=remedy)
