# SPDX-License-Identifier: MIT
"""The unit's own ExecStart, run as systemd runs it: notify socket, watchdog, credentials, umask, limits."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import pytest
import yaml

from tests.fakes.cli_shell import Commands
from tests.service.conftest import films, new_daemon  # noqa: F401
from tests.service.running import ROOT, Daemon, wait_for


def read_unit(path: Path) -> dict[str, str]:
    unit = RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read(path)
    return dict(unit["Service"])


@pytest.fixture
def service(new_daemon, tmp_path):  # noqa: F811
    """A daemon whose unit was installed into an image."""
    daemon = new_daemon()
    program = daemon.folder / "tgsyncd"
    # The entry point's: the tests' own Python, so that nothing has to be installed.
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tgsyncd "$@"\n')
    program.chmod(0o755)
    commands = Commands(tmp_path)
    # Where tests run is below /tmp, which the verb refuses for a good reason.
    assert commands("install-service", "--root", "image", "--program", "/opt/x/tgsyncd") == 0, commands.err
    unit = read_unit(tmp_path / "image/etc/systemd/system/tgsyncd.service")
    unit["ExecStart"] = (
        unit["ExecStart"]
        .replace("/opt/x/tgsyncd", str(program))
        .replace("/etc/tgsyncd/tgsyncd.yaml", str(daemon.config))
    )
    daemon.unit = unit
    return daemon


def start_as_systemd(daemon: Daemon, **environ: str) -> None:
    """Start ExecStart with the unit's environment, umask, limits and the notify protocol."""
    unit = daemon.unit
    fixed = dict(part.split("=", 1) for part in unit["Environment"].split())

    def before_exec() -> None:
        os.umask(int(unit["UMask"], 8))
        files = int(unit["LimitNOFILE"])
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.setsid()

    with daemon.log.open("a") as log:
        daemon.process = subprocess.Popen(
            shlex.split(unit["ExecStart"]), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=before_exec,
            env={
                "PATH": os.environ["PATH"], **fixed, "HOME": str(daemon.folder),
                "NOTIFY_SOCKET": str(daemon.notify.path), "WATCHDOG_USEC": "2000000",
                "INVOCATION_ID": "0" * 32, "JOURNAL_STREAM": "8:1", **environ,
            },
        )  # fmt: skip
    wait_for(lambda: daemon.notify.has("READY=1") or daemon.process.poll() is not None, "READY=1")
    assert daemon.process.poll() is None, daemon.text()


def test_the_life_of_the_service(service, films):  # noqa: F811
    """Ready, alive, busy, idle, reloading, stopping: what systemd is told, and when."""
    credentials = service.folder / "credentials"
    credentials.mkdir(mode=0o700)
    (credentials / "admin").write_text("a-token-from-systemd\n")
    (credentials / "admin").chmod(0o440)  # as systemd makes them; a plain secret file would be refused
    port = free_port()
    service.configure(
        auth={"admin_token_credential": "admin"},
        server={"public_urls": ["http://192.0.2.9:8080"], "listen": "127.0.0.1", "port": port},
        video={"mode": "transcode", "preset": "veryslow", "threads": 1},
    )
    service.port = port
    shutil.copy(films[0], service.source / "Film.mkv")
    start_as_systemd(service, CREDENTIALS_DIRECTORY=str(credentials))
    service.wait_for_strms("Film.strm")

    # The credential was read, and no log, status or child has it.
    assert json.loads(service.get("/debug", token="a-token-from-systemd"))["version"]
    with pytest.raises(OSError, match="HTTP Error 401"):
        service.get("/debug")
    # Published for Jellyfin's user although the unit's umask is 0077; our own state is closed.
    assert (service.library / "Film.strm").stat().st_mode & 0o777 == 0o644
    assert service.library.stat().st_mode & 0o777 == 0o755
    assert service.data.stat().st_mode & 0o077 == 0
    assert (service.data / "catalog.sqlite3").stat().st_mode & 0o077 == 0

    wait_for(lambda: service.notify.has("STATUS=idle"), "STATUS=idle")
    wait_for(lambda: service.notify.read().count("WATCHDOG=1") > 2, "WATCHDOG=1")
    seen = service.notify.read()
    assert any(message.startswith("STATUS=") and " film" in message for message in seen), seen
    assert all(message.count("\n") <= 1 for message in seen)

    mark = len(seen)
    service.process.send_signal(signal.SIGHUP)  # ExecReload
    wait_for(lambda: "READY=1" in service.notify.read()[mark:], "READY=1 after a reload")
    after = service.notify.read()[mark:]
    reloading = next(message for message in after if message.startswith("RELOADING=1\nMONOTONIC_USEC="))
    assert after.index(reloading) < after.index("READY=1")

    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(int(service.unit["TimeoutStopSec"])) == 0
    assert service.notify.has("STOPPING=1")
    assert "a-token-from-systemd" not in service.text() + "".join(service.notify.messages)
    assert "Traceback" not in service.text()
    # Lines for the journal carry their priority.
    bare = [line for line in service.text().splitlines() if not line.startswith(("<6>", "<4>"))]
    assert bare == []


def test_a_credential_that_is_not_there_is_a_sentence(service):
    """Exit code 2 and the line that is missing in the unit; systemd is told nothing."""
    service.configure(auth={"admin_token_credential": "admin"})
    environ = {"PATH": os.environ["PATH"], "HOME": str(service.folder)}
    done = subprocess.run(
        shlex.split(service.unit["ExecStart"]), cwd=ROOT, capture_output=True, text=True, timeout=120,
        check=False, env={**environ, "NOTIFY_SOCKET": str(service.notify.path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "LoadCredential=admin:" in done.stderr
    assert not service.notify.has("READY=1")
    written = yaml.safe_load(service.config.read_text())
    assert written["auth"] == {"admin_token_credential": "admin"}


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
