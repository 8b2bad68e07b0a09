# SPDX-License-Identifier: MIT
"""The command as a process: the reactor, signals, real files, real HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 120


@pytest.fixture
def environ(tmp_path) -> dict[str, str]:
    """A home of its own and nothing that configures."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT),
        "TGSYNCD_SERVER_PUBLIC_URLS": "http://192.0.2.9:8080",
    }


@pytest.fixture
def run(tmp_path, environ):
    """Run ``tgsyncd`` to its end."""

    def run(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-m", "tgsyncd", *arguments],
            cwd=tmp_path,
            env={**environ, **more},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )

    return run


@pytest.fixture
def start(tmp_path, environ):
    """Start ``tgsyncd``; whatever still runs at the end is killed."""
    running = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", "tgsyncd", *arguments],
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_until(stream, pattern: str) -> re.Match[str]:
    """Read lines until one matches; the end of the stream is a failure that shows what came."""
    seen = []
    for line in stream:
        seen.append(line)
        if found := re.search(pattern, line):
            return found
    raise AssertionError("".join(seen))


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Four seconds of H.264 and AAC."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    picture = "testsrc2=size=320x180:rate=25:duration=4"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", "sine=duration=4"]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "50", "-c:a", "aac"]
    subprocess.run([*command, *codecs, str(path)], check=True, timeout=WAIT_S)
    return path


def test_version(run):
    """The version is that of the package."""
    result = run("--version")
    assert result.stdout.startswith("tgsyncd, version ")


def test_help_does_not_import_the_world(run):
    """Asking for help takes no half second of imports: no Klein, no catalog, no Telegram."""
    code = (
        "import sys; sys.argv = ['tgsyncd', '--help']\n"
        "from tgsyncd.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('klein', 'telegram', 'tgsyncd.daemon') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=WAIT_S, check=True
    )
    assert result.stdout.endswith("[]\n")


def test_upload_list_delete(run, clip, tmp_path):
    """A video's whole life, each step a process of its own."""
    done = run("upload", "--video", str(clip), "--json")
    assert done.returncode == 0, done.stderr
    (outcome,) = json.loads(done.stdout)
    strm = Path(outcome["strm"])
    assert strm.read_text() == "http://192.0.2.9:8080/playlist/clip.m3u8\n"

    (video,) = json.loads(run("list", "--json").stdout)
    assert (video["video_id"], video["status"]) == ("clip", "active")
    assert json.loads(run("db-stats", "--json").stdout)["videos"] == 1

    again = run("upload", str(clip))
    assert again.returncode == 0
    assert "unchanged as clip" in again.stdout

    gone = run("delete", "--video-id", "clip")
    assert gone.returncode == 0, gone.stderr
    assert not strm.exists()
    assert json.loads(run("list", "--json").stdout) == []
    assert run("delete", "--video-id", "clip").returncode == 3
    store = tmp_path / "home/.local/share/tgsyncd/store"
    assert store.is_dir()
    assert [path for path in store.rglob("*") if path.is_file()] == []


def test_ctrl_c_during_an_upload(start, run, clip, environ):
    """Ends with 130 and without a traceback; the same command then finishes the work."""
    environ |= {"TGSYNCD_VIDEO_MODE": "transcode", "TGSYNCD_VIDEO_PRESET": "veryslow"}
    process = start("upload", str(clip))
    read_until(process.stderr, r"store 0 %")
    process.send_signal(signal.SIGINT)

    _, rest = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    finished = run("upload", str(clip))
    assert finished.returncode == 0, finished.stderr
    assert "resumed as clip" in finished.stdout


def test_a_bad_file_does_not_stop_the_others(run, clip, tmp_path):
    """Exit code 5, and the good file is stored."""
    (tmp_path / "a.mp4").write_text("no video at all")
    (tmp_path / "b.mp4").write_bytes(clip.read_bytes())

    result = run("upload", "a.mp4", "b.mp4", "missing.mp4")

    assert result.returncode == 5
    assert "a.mp4" in result.stderr
    assert "missing.mp4" in result.stderr
    assert "b.mp4: stored as b" in result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_serve_until_a_signal(start, number, code):
    """Serves on a free port of its own, answers, and ends cleanly."""
    process = start("serve", "--host", "127.0.0.1", "--port", "0")
    port = read_until(process.stderr, r"listening on 127\.0\.0\.1, port (\d+)")[1]

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/test-jellyfin.m3u8", timeout=30) as answer:
        assert answer.read().startswith(b"#EXTM3U")
    process.send_signal(number)

    _, rest = process.communicate(timeout=WAIT_S)
    assert process.returncode == code, rest
    assert "stopping" in rest
    assert "Traceback" not in rest


def test_a_taken_port_is_a_sentence(start, run):
    """Exit code 2 and what to do about it."""
    process = start("serve", "--host", "127.0.0.1", "--port", "0")
    port = read_until(process.stderr, r"port (\d+)")[1]

    result = run("serve", "--host", "127.0.0.1", "--port", port, TGSYNCD_DATA_DIR="other")

    assert result.returncode == 2, result.stderr
    assert "--port" in result.stderr
    assert "Traceback" not in result.stderr


def test_demo_once(run, clip, tmp_path):
    """The whole job on a video of one's own: stored, served, played back, the same."""
    result = run("demo", "--once", "--video", str(clip), "--dir", "shown")

    assert result.returncode == 0, result.stderr
    assert "played back over HTTP: 100 frames, 4.000 s, the same as the source" in result.stdout
    assert [path.name for path in (tmp_path / "shown" / "library").rglob("*.strm")] == ["clip.strm"]
    assert not (tmp_path / "home").exists()


def test_demo_makes_its_own_clip_and_runs_until_ctrl_c(start):
    """Prints what to open, and each of it answers."""
    process = start("demo", "--host", "127.0.0.1", "--port", "0")
    playlist = read_until(process.stdout, r"playlist +(\S+)")[1]
    page = read_until(process.stdout, r"page +(\S+)")[1]

    for url, content in ((playlist, b"#EXTM3U"), (page, b"<!doctype html>")):
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.read(200).lower().startswith(content.lower())
    process.send_signal(signal.SIGINT)

    _, rest = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130, rest
    assert "only this machine can open 127.0.0.1" in rest


def test_demo_fails_when_the_video_cannot_be_stored(run, tmp_path):
    """The exit code is the error's."""
    (tmp_path / "a.mp4").write_text("no video")
    assert run("demo", "--once", "--video", "a.mp4").returncode == 5


def test_the_token_stays_out_of_sight(run, environ):
    """A token in a variable is used, and appears in nothing that is printed, even at -vv."""
    token = "123456789:AAcanarycanarycanarycanarycanary123"
    environ["TGSYNCD_TELEGRAM_BASE_URL"] = "http://127.0.0.1:9/bot"
    result = run("list", "-vv", TGSYNCD_BOT_TOKEN=token, TGSYNCD_CHAT_ID="-1001234567890")
    assert token not in result.stdout + result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "169.254.1.2", "x.invalid"])
def test_demo_takes_loopback_and_nothing_else_that_nobody_can_open(run, host, tmp_path):
    """Refused before anything is written."""
    result = run("demo", "--host", host)
    assert result.returncode == 2
    assert "--host" in result.stderr
    assert not (tmp_path / "demo-data").exists()


def test_telegram_in_one_command_without_a_file(run, clip, tmp_path, environ):
    """A token and a chat on the command line store a video in Telegram; the token is printed nowhere."""
    emulator = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.emulator",
            "--port",
            "0",
            "--state",
            tmp_path / "telegram",
            "--bots",
            "1",
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        base_url = read_until(emulator.stdout, r"^base_url +(\S+)")[1]
        base_file_url = read_until(emulator.stdout, r"^base_file_url +(\S+)")[1]
        token = read_until(emulator.stdout, r"^bot +(\S+)")[1]
        chat = read_until(emulator.stdout, r"^chat +(\S+).*Storage")[1]
        environ["TGSYNCD_TELEGRAM_BASE_URL"] = base_url
        environ["TGSYNCD_TELEGRAM_BASE_FILE_URL"] = base_file_url

        done = run("upload", str(clip), "--bot-token", token, "--chat-id", chat, "-vv")
        assert done.returncode == 0, done.stderr
        assert "stored as clip" in done.stdout
        assert "every user of this machine can see a token" in done.stderr
        gone = run("delete", "--video-id", "clip", "-vv", TGSYNCD_BOT_TOKEN=token, TGSYNCD_CHAT_ID=chat)
        assert gone.returncode == 0, gone.stderr
        assert token not in done.stdout + done.stderr + gone.stdout + gone.stderr
    finally:
        emulator.kill()
        emulator.communicate()
