# SPDX-License-Identifier: MIT
"""The doctor: each thing that can be wrong is found, and named with its remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Site

from tgsyncd.errors import FfmpegMissing, TgsyncdError
from tgsyncd.maintenance.doctor import (
    Examination,
    Level,
    check_programs,
    check_reachable,
    check_readable,
    check_room,
    check_visible,
    check_writable,
    examine,
    judge_hardware,
    judge_list,
    judge_version,
)

VERSION = "ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2025\nbuilt with gcc"
ENCODERS = " V....D libx264  H.264\n A..... aac  AAC\n S..... subrip  SubRip\n V..... mjpeg  MJPEG\n"
MUXERS = " E mpegts MPEG-TS\n E mp4 MP4\n"


@dataclass
class Programs:
    """A ProcessRunner that answers by the last argument."""

    answers: dict = field(
        default_factory=lambda: {
            ("ffmpeg", "-version"): VERSION,
            ("ffprobe", "-version"): VERSION.replace("ffmpeg", "ffprobe"),
            ("ffmpeg", "-encoders"): ENCODERS,
            ("ffmpeg", "-muxers"): MUXERS,
        }
    )
    hardware_exit: int = 0

    async def run(self, argv, *, wall_limit_s, max_stdout_bytes=0):
        key = (argv[0], argv[-1])
        if argv[-1] == "-":
            return SimpleNamespace(exit_code=self.hardware_exit, stdout=b"", stderr_tail="a\nNo VA display\n")
        if key not in self.answers:
            raise FfmpegMissing(f"{argv[0]} is not installed", hint="apt install ffmpeg")
        return SimpleNamespace(exit_code=0, stdout=self.answers[key].encode(), stderr_tail="")


async def nobody(url):
    raise TgsyncdError("connection refused")


def levels(findings) -> list[Level]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        (VERSION, Level.OK),
        ("ffmpeg version n7.1 Copyright", Level.OK),
        ("ffmpeg version N-118000-g1234 Copyright", Level.OK),
        ("ffmpeg version 4.4.2-0ubuntu Copyright", Level.PROBLEM),
        ("ffmpeg version 5.0.1 Copyright", Level.PROBLEM),
        ("", Level.PROBLEM),
        ("Segmentation fault", Level.PROBLEM),
    ],
)
def test_version(text, level):
    """5.1 and newer, also built from git."""
    finding = judge_version("ffmpeg", text)
    assert finding.level is level
    assert bool(finding.remedy) == (level is not Level.OK)


def test_missing_encoder_is_named():
    """Some builds have no x264."""
    finding = judge_list("encoders", ENCODERS.replace("libx264", "libopenh264"), ("libx264", "aac"))
    assert finding.level is Level.PROBLEM
    assert "libx264" in finding.message


@pytest_twisted.ensureDeferred
async def test_programs_in_order():
    """Everything there is four times ok."""
    assert levels(await check_programs(Programs(), encoder="libx264")) == [Level.OK] * 4


@pytest_twisted.ensureDeferred
async def test_a_missing_program_is_one_problem():
    """What cannot be asked is not reported as well."""
    programs = Programs()
    del programs.answers["ffprobe", "-version"]
    findings = await check_programs(programs, encoder="libx264")
    assert [(each.subject, each.level) for each in findings] == [
        ("ffmpeg", Level.OK),
        ("ffprobe", Level.PROBLEM),
    ]
    assert "apt install" in findings[1].remedy


@pytest_twisted.ensureDeferred
async def test_the_hardware_encoder_is_tried():
    """That it is listed says nothing."""
    findings = await check_programs(Programs(hardware_exit=1), encoder="h264_vaapi")
    assert findings[-1].level is Level.PROBLEM
    assert "No VA display" in findings[-1].message
    assert judge_hardware("h264_vaapi", 0, "").level is Level.OK


def test_writable(tmp_path):
    """A folder, or one that can be made; nothing is left behind."""
    assert check_writable("data_dir", tmp_path).level is Level.OK
    assert check_writable("data_dir", tmp_path / "a" / "b").level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_not_writable(tmp_path):
    """A file where the folder should be, and a place where even root cannot write."""
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", Path("/proc/tgsyncd")):
        finding = check_writable("data_dir", folder)
        assert finding.level is Level.PROBLEM
        assert "data_dir" in finding.remedy


def test_a_library_that_jellyfins_user_cannot_reach_is_named(tmp_path):
    """By the first folder on the way that is closed to others; pytest's own folders are."""
    closed, library = tmp_path / "data", tmp_path / "data" / "published"
    closed.mkdir(mode=0o700)
    for folder in (library, closed):
        finding = check_visible("publish.directory", folder)
        assert finding.level is Level.WARNING
        assert f"{closed} is closed to other users" in finding.message
        assert "publish.directory" in finding.remedy
    assert check_visible("publish.directory", Path("/usr/share")).level is Level.OK
    assert check_visible("publish.directory", Path("/usr/share/not-there-yet")).level is Level.OK


def test_readable(tmp_path):
    """Files: ok. Nothing: perhaps not mounted. No folder: a problem."""
    assert check_readable("libraries[A].source", tmp_path).level is Level.WARNING
    (tmp_path / "film.mkv").touch()
    assert check_readable("libraries[A].source", tmp_path).level is Level.OK
    assert check_readable("libraries[A].source", tmp_path / "no").level is Level.PROBLEM


def test_room(tmp_path):
    """Asked of the folder that exists, compared with what is needed."""
    asked = []

    def usage(place):
        asked.append(place)
        return SimpleNamespace(free=10**9)

    assert check_room("data_dir", tmp_path / "later", 10**9, usage).level is Level.OK
    finding = check_room("data_dir", tmp_path, 10**9 + 1, usage)
    assert finding.level is Level.PROBLEM
    assert "1.0 GB" in finding.message
    assert asked == [tmp_path, tmp_path]


async def over_http(url):
    """Fetch as a player does, without the name's help."""
    from twisted.web.client import Agent, readBody

    response = await Agent(reactor).request(b"GET", url.encode())
    return response.code, await readBody(response)


@pytest_twisted.ensureDeferred
async def test_a_public_url_that_leads_here():
    """Proved by a request that comes back to this very process, also below a path."""
    endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    free = await endpoint.listen(Site(Resource()))
    port = free.getHost().port
    await free.stopListening()

    findings = await check_reachable(
        reactor,
        listen="127.0.0.1",
        port=port,
        public_urls=[f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/below"],
        fetch=over_http,
    )
    assert levels(findings) == [Level.OK] * 3


@pytest_twisted.ensureDeferred
async def test_a_public_url_that_leads_elsewhere():
    """Another server answers there, or nobody does."""

    async def another(url):
        return 200, b"<html>router</html>"

    for fetch, word in ((another, "somebody else"), (nobody, "nobody answers")):
        findings = await check_reachable(
            reactor, listen="127.0.0.1", port=0, public_urls=["http://x"], fetch=fetch
        )
        assert levels(findings) == [Level.OK, Level.PROBLEM]
        assert word in findings[1].message


@pytest_twisted.ensureDeferred
async def test_a_taken_port():
    """By tgsyncd itself that is fine; by somebody else the remedy says how to see whom."""
    taken = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(Resource()))
    port = taken.getHost().port

    async def healthy(url):
        return (200, b'{"status": "ok"}') if url.endswith("/healthz") else (404, b"")

    try:
        for fetch, level in ((healthy, Level.OK), (nobody, Level.PROBLEM)):
            (finding,) = await check_reachable(
                reactor, listen="127.0.0.1", port=port, public_urls=["http://x"], fetch=fetch
            )
            assert finding.level is level
        assert "ss -ltnp" in finding.remedy
    finally:
        await taken.stopListening()


@pytest_twisted.ensureDeferred
async def test_the_whole_examination(tmp_path):
    """In the order in which things are needed, each with its subject."""
    (tmp_path / "films").mkdir()
    findings = await examine(
        Examination(
            writable={"data_dir": tmp_path / "data"},
            readable={"libraries[A].source": tmp_path / "films"},
            visible={"publish.directory": tmp_path / "data" / "published"},
            room={"data_dir": (tmp_path, 1)},
            listen="127.0.0.1",
            port=0,
            public_urls=[],
        ),
        reactor=reactor,
        runner=Programs(),
        fetch=nobody,
    )
    assert [finding.subject for finding in findings] == [
        "ffmpeg",
        "ffprobe",
        "ffmpeg encoders",
        "ffmpeg formats",
        "data_dir",
        "publish.directory",
        "libraries[A].source",
        "data_dir",
        "port 0",
    ]
