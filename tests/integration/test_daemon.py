# SPDX-License-Identifier: MIT
"""``tgsyncd run`` over an emulated Telegram and a tree of folders: the library ends as it should."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.daemon_checks import Rest, files_below
from tests.integration.daemon_kills import TelegramHome
from tests.integration.daemon_many import run_many
from tests.integration.daemon_world import make_base, with_tail
from tests.integration.telegram_kills import KNOBS, EmulatorProcess
from tests.service.running import Daemon, wait_for

GOLDEN = Path(__file__).parent / "golden" / "library.txt"
"""Written anew by a run with WRITE_GOLDEN in the environment; look at what changed."""
KEEP = {"on_source_removed": "keep", "on_source_renamed": "keep", "on_strm_removed": "restore"}
READABLE = (".strm", ".nfo", ".srt")
SECRET = "0f" * 32
"""Of the capabilities in the .strm files, so that they are the same each time."""


@pytest.fixture
def home(tmp_path):
    """A daemon that is not started, over an emulated Telegram in which nothing fails."""
    emulator = EmulatorProcess(tmp_path / "telegram", bots=2, seed=1)
    emulator.ask("knobs", "POST", **KNOBS)
    home = TelegramHome(tmp_path / "home", KEEP, emulator)
    home.data.mkdir(mode=0o700)
    (home.data / "playback-secret").write_text(SECRET)
    yield home
    home.close()
    emulator.stop()


def render(library: Path) -> str:
    """Every file below the library, and what stands in those that are text."""
    lines = []
    for name in sorted(files_below(library)):
        lines.append(f"== {name}")
        if name.endswith(READABLE):
            lines += (library / name).read_text().splitlines()
    return "\n".join(lines) + "\n"


def film(path: Path, kind: str = "short", tail: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(with_tail(make_base(kind), tail or path.name))
    return path


class NoWorld:
    """For ``Rest``: nothing is known of the source files here."""

    def __init__(self) -> None:
        self.films = {}

    def check_untouched(self) -> None:
        pass


def copy_slowly(home: Daemon, path: Path) -> None:
    """Write a film in pieces; nothing is taken of it meanwhile."""
    whole = with_tail(make_base("short"), path.name)
    with path.open("wb") as file:
        for start in range(0, len(whole), len(whole) // 4 + 1):
            file.write(whole[start : start + len(whole) // 4 + 1])
            file.flush()
            wait_for(lambda: str(path) in home.status()["waiting"], "seen and waiting")
            assert not [name for name in home.strms() if path.stem in name]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_library_fills_by_itself_and_is_what_it_should_be_byte_for_byte(home):
    """Dropped, half-copied, downloaded, renamed, moved, changed and removed files, with what is beside."""
    source = home.source
    home.configure_scan(rest="1.5 s")
    for name in ("Renamed (2003)", "Moved (2004)", "Changed (2005)", "Removed (2006)"):
        film(source / f"{name}.mp4")
    home.start().ready()
    film(source / "Show" / "Season 1" / "Show.S01E02.The.Name.mp4")
    one = film(source / "Film One (1999)" / "Film One (1999).mp4", "noisy")
    one.with_name("Film One (1999).en.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nHello\n")
    one.with_name("poster.png").write_bytes(b"PNG poster")
    film(source / "Film One (1999)" / "Film One (1999)-sample.mp4")
    film(source / ".Hidden (2007).mp4")
    download = film(source / "Downloaded (2002).mp4.part")
    copy_slowly(home, source / "Slow (2001).mp4")
    wait_for(lambda: len(home.strms()) == 7, "the first seven", 240.0)
    assert not [name for name in home.strms() if "Downloaded" in name]
    first = home.plays("Changed (2005).strm")

    download.rename(source / "Downloaded (2002).mp4")
    (source / "Renamed (2003).mp4").rename(source / "Another name (2003).mp4")
    (source / "Box").mkdir()
    (source / "Moved (2004).mp4").rename(source / "Box" / "Moved (2004).mp4")
    film(source / "Changed (2005).mp4", "noisy", "another")
    (source / "Removed (2006).mp4").unlink()
    wait_for(lambda: home.rows("SELECT 1 FROM videos WHERE current_revision = 2"), "the changed one", 240.0)
    wait_for(lambda: len(home.strms()) == 8, "the downloaded one", 240.0)

    rest = Rest(home, NoWorld(), policies=KEEP)
    rest.settle(240.0)
    if "WRITE_GOLDEN" in os.environ:
        GOLDEN.write_text(render(home.library))
    assert render(home.library) == GOLDEN.read_text()
    rest.check(home.stored(), home.known())
    assert rest.played == 8
    assert home.plays("Changed (2005).strm") != first
    assert home.rows("SELECT count(*) FROM videos") == [(8,)]
    assert home.stop(bound_s=60.0) == 0
    assert "Traceback" not in home.text()


def test_many_small_videos_at_once(new_many):
    """By hand: ``python -m tests.integration.daemon_many --videos 500``."""
    run_many(new_many, 40, bound_s=240.0)
    assert new_many.stop(bound_s=60.0) == 0


@pytest.fixture
def new_many(tmp_path):
    daemon = Daemon(tmp_path, ingest={"parallel": 2})
    daemon.start().ready()
    yield daemon
    daemon.close()


def can_mount() -> bool:
    """Whether we may mount in a mount namespace of our own."""
    probe = ["unshare", "-m", "mount", "--bind", "/tmp", "/tmp"]
    return bool(shutil.which("unshare")) and subprocess.run(probe, check=False).returncode == 0


class MountedDaemon(Daemon):
    """A daemon in a mount namespace of its own, in which its source folder is a disk."""

    def __init__(self, folder: Path, **sections) -> None:
        super().__init__(folder, **sections)
        self.disk = folder / "disk"
        self.disk.mkdir()
        script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
        argv = ["unshare", "-m", "sh", "-c", script, "sh", str(self.disk), str(self.source), sys.executable]
        self.program = (
            "-c",
            f"import os, sys; os.execvp('unshare', {argv!r} + ['-m', 'tgsyncd'] + sys.argv[1:])",
        )

    def inside(self, *command: str) -> None:
        """Run a command in the namespace."""
        subprocess.run(["nsenter", "-t", str(self.process.pid), "-m", *command], check=True, timeout=60)


@pytest.mark.skipif(not can_mount(), reason="may not mount; an emptied folder is tested in tests/service")
@pytest.mark.parametrize("action", ["withdraw", "delete"])
def test_an_unmounted_disk_takes_nothing_with_it(tmp_path, action):
    """Neither empty nor with another file system under it; and it goes on when the disk is back."""
    daemon = MountedDaemon(tmp_path, scan={"interval": "1 s", "on_source_removed": action})
    try:
        for number in range(2):
            film(daemon.disk / f"{number}.mp4")
        daemon.start().ready()
        daemon.wait_for_strms("0.strm", "1.strm")

        daemon.inside("umount", "-l", str(daemon.source))
        daemon.wait_for_log("is its disk mounted")
        daemon.wait_for_scans(2)
        daemon.inside("mount", "-t", "tmpfs", "none", str(daemon.source))
        daemon.inside("touch", str(daemon.source / "lost+found"))
        daemon.wait_for_log("another file system")
        daemon.wait_for_scans(2)
        assert daemon.strms() == ["0.strm", "1.strm"]
        daemon.plays("0.strm")

        daemon.inside("umount", str(daemon.source))
        daemon.inside("mount", "--bind", f"/proc/{os.getpid()}/root{daemon.disk}", str(daemon.source))
        film(daemon.disk / "2.mp4")
        daemon.wait_for_strms("0.strm", "1.strm", "2.strm")
        assert daemon.rows("SELECT count(*) FROM revisions") == [(3,)]
    finally:
        daemon.close()


def ask_slowly(home: Daemon, path: str) -> socket.socket:
    """Ask for something, read its first bytes, and pause: most of it stays with the daemon."""
    player = socket.socket()
    player.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    player.settimeout(60)
    player.connect(("127.0.0.1", home.port))
    player.sendall(f"GET {path} HTTP/1.1\r\nHost: 192.0.2.9:8080\r\n\r\n".encode())
    assert player.recv(64).startswith(b"HTTP/1.1 200")
    return player


@pytest.mark.timeout(600)
def test_sigterm_while_something_is_uploaded_and_somebody_plays(home):
    """Within 10 s, and with 0; the upload goes on after the next start, and nothing is stored twice."""
    film(home.source / "First (2001).mp4", "noisy")
    home.start().ready()
    wait_for(lambda: home.strms() == ["First (2001).strm"], "the first film", 240.0)
    home.plays("First (2001).strm")
    home.emulator.ask("knobs", "POST", store_s_per_mib=200.0)
    film(home.source / "Second (2002).mp4", "noisy")
    wait_for(lambda: any(call["ended_s"] is None for call in home.emulator.ask("calls")), "an upload", 240.0)
    url = (home.library / "First (2001).strm").read_text().strip().removeprefix("http://192.0.2.9:8080")
    playlist = home.get(url).decode()
    segment = next(line for line in playlist.splitlines() if line.startswith("http"))
    player = ask_slowly(home, segment.removeprefix("http://192.0.2.9:8080"))

    begun = time.monotonic()
    code = home.stop(bound_s=60.0)
    print(f"stopped with {code} after {time.monotonic() - begun:.1f} s")
    # 143: the machine is so busy that the stop was cut short after 9.5 s, which loses nothing either.
    assert code in {0, 128 + signal.SIGTERM}
    player.close()

    home.emulator.ask("knobs", "POST", **KNOBS)
    home.wait_for_the_store()
    home.start().ready()
    wait_for(lambda: home.strms() == ["First (2001).strm", "Second (2002).strm"], "the second film", 240.0)
    assert home.rows("SELECT count(*) FROM revisions") == [(2,)]
    rest = Rest(home, NoWorld(), policies=KEEP)
    rest.settle(240.0)
    rest.check(home.stored(), home.known())
    assert "Traceback" not in home.text()
