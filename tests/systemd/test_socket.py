# SPDX-License-Identifier: MIT
"""Socket activation: the port is systemd's, and outlives the daemon."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import films, new_daemon  # noqa: F401
from tests.service.running import ROOT, wait_for
from tgsyncd.errors import ConfigError
from tgsyncd.sockets import port_of, take_sockets

# What systemd does between fork and exec: the sockets from 3 on, and the variables (sd_listen_fds(3)).
AS_SYSTEMD = """
import os, sys
count = int(sys.argv[1])
for number, fd in enumerate(map(int, sys.argv[2:2 + count])):
    os.dup2(fd, 3 + number, inheritable=True)
    os.close(fd)
names = ":".join(["tgsyncd.socket"] * count)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count), LISTEN_FDNAMES=names)
os.execv(sys.executable, [sys.executable, "-m", "tgsyncd", *sys.argv[2 + count:]])
"""


def start_with(daemon, *sockets):
    """Start the daemon as systemd does that holds these sockets."""
    # High numbers: 3 and 4 may be ours.
    fds = [os.dup2(each.fileno(), 200 + number) for number, each in enumerate(sockets)]
    try:
        with daemon.log.open("a") as log:
            daemon.process = subprocess.Popen(
                [sys.executable, "-c", AS_SYSTEMD, str(len(fds)), *map(str, fds),
                 "run", "--config", str(daemon.config)],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, pass_fds=fds,
                env={
                    "PATH": os.environ["PATH"], "HOME": str(daemon.folder),
                    "NOTIFY_SOCKET": str(daemon.notify.path), **daemon.environ,
                },
            )  # fmt: skip
    finally:
        for fd in fds:
            os.close(fd)
    wait_for(lambda: daemon.notify.has("READY=1") or daemon.process.poll() is not None, "READY=1")
    assert daemon.process.poll() is None, daemon.text()


@pytest.fixture
def listening():
    """Open a socket as tgsyncd.socket says."""
    opened = []

    def listening(family=socket.AF_INET, address="127.0.0.1"):
        opened.append(socket.create_server((address, 0), family=family, backlog=16))
        return opened[-1]

    yield listening
    for each in opened:
        each.close()


def ask(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/healthz")


def test_a_restart_lets_players_wait(new_daemon, listening, films):  # noqa: F811
    """Who connects while no daemon runs is answered by the next one; no connection is refused."""
    holder = listening()
    daemon = new_daemon()
    shutil.copy(films[0], daemon.source / "Film.mkv")
    start_with(daemon, holder)
    daemon.port = holder.getsockname()[1]
    daemon.wait_for_strms("Film.strm")
    before = daemon.plays("Film.strm")
    assert "the socket is systemd's" in daemon.text()

    # The running one takes no more connections while it drains, and the socket stays.
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(30) == 0
    daemon.notify.read()
    daemon.notify.messages.clear()
    waiting = [http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60) for _ in range(5)]
    for each in waiting:
        ask(each)
    start_with(daemon, holder)
    for each in waiting:
        assert each.getresponse().status == 200
        each.close()
    assert daemon.plays("Film.strm") == before
    assert "Traceback" not in daemon.text()


def test_several_sockets_and_no_copy_in_children(new_daemon, listening, films):  # noqa: F811
    """Both answer; ffmpeg, and whoever outlives us, does not hold the port."""
    sockets = [listening(), listening()]
    if socket.has_dualstack_ipv6():
        sockets.append(listening(socket.AF_INET6, "::1"))
    daemon = new_daemon(video={"mode": "transcode", "preset": "veryslow", "threads": 1})
    shutil.copy(films[0], daemon.source / "Film.mkv")
    start_with(daemon, *sockets)
    for each in sockets:
        connection = http.client.HTTPConnection(*each.getsockname()[:2], timeout=60)
        ask(connection)
        assert connection.getresponse().status == 200
        connection.close()

    def ffmpeg_sockets():
        children = subprocess.run(
            ["pgrep", "-P", str(daemon.process.pid)], capture_output=True, text=True, check=False
        ).stdout.split()
        for child in children:
            process = Path("/proc") / child
            try:
                name = (process / "exe").readlink().name
                links = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
                environ = (process / "environ").read_text()
            except OSError:
                continue
            if name == "ffmpeg":
                return links, environ
        return None

    links, environ = wait_for(ffmpeg_sockets, "ffmpeg")
    ours = {f"socket:[{os.fstat(each.fileno()).st_ino}]" for each in sockets}
    assert not ours & set(links)
    assert "LISTEN_" not in environ
    daemon.stop()
    for each in sockets:  # still open, and still ours
        port_of(each.fileno())


def test_what_is_no_tcp_socket_is_refused(tmp_path, new_daemon):  # noqa: F811
    """A Unix socket, a file: exit code 2 and a sentence."""
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "s"))
    unix.listen()
    with unix, pytest.raises(ConfigError, match="not a TCP socket"):
        port_of(unix.fileno())
    with (tmp_path / "file").open("w") as file, pytest.raises(ConfigError, match="is no socket"):
        port_of(file.fileno())
    with socket.socket() as silent, pytest.raises(ConfigError, match="that listens"):
        port_of(silent.fileno())


def test_sockets_for_another_process_are_left_alone():
    """LISTEN_PID names whom they are for; a shell in between would pass the variables on."""
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "x", "PATH": "/bin"}
    assert take_sockets(environ) == ()
    assert environ == {"PATH": "/bin"}
