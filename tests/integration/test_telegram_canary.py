# SPDX-License-Identifier: MIT
"""The bot token appears nowhere: logs at DEBUG, what others see of the processes, all that is served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

import pytest_twisted

from tests.canary import CANARY, search
from tests.clips import make_clip
from tests.integration.home import in_thread, make_config, running, upload
from tests.integration.telegram import SMALL_DOCUMENTS, a_telegram
from tests.integration.telegram_kills import faulty_emulator

CLIPS = Path(__file__).parents[2] / ".cache" / "clips"


def run_upload(folder: Path, emulator, *, redact: bool = True) -> int:
    """``tgsyncd upload -vv`` as its own process, with the token in its environment; all it says is kept."""
    chat_id, scratch_id = emulator.new_chat("Storage"), emulator.new_chat("Scratch")
    config = folder / "tgsyncd.yaml"
    config.write_text(
        json.dumps(
            {
                "data_dir": str(folder / "data"),
                "cache_dir": str(folder / "cache"),
                "publish": {"directory": str(folder / "library")},
                "server": {"public_urls": ["http://192.0.2.1:8080"]},
                "store": {"kind": "telegram"},
                "telegram": {
                    "bots": [{"token_env": "A_TOKEN"}],
                    "chats": [chat_id],
                    "scratch_chat": scratch_id,
                    "base_url": emulator.base_url,
                    "base_file_url": emulator.base_file_url,
                },
                "documents": SMALL_DOCUMENTS,
                # Encoded anew, so that ffmpeg can be looked at.
                "video": {"mode": "transcode", "threads": 1},
            }
        )
    )
    environ = (
        os.environ | {"A_TOKEN": emulator.tokens[0]} | ({} if redact else {"TGSYNCD_TEST_UNREDACTED": "1"})
    )
    argv = [sys.executable, "-m", "tests.integration.telegram_cli", "upload", "-vv", "--config", str(config)]
    argv += ["--video", str(make_clip("h264-aac", CLIPS))]
    seen: set[bytes] = set()
    with (folder / "debug.log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ)
        while process.poll() is None:
            seen |= look_at_processes(process.pid)
            time.sleep(0.01)
    (folder / "processes.txt").write_bytes(b"\n".join(sorted(seen)))
    return process.returncode


def look_at_processes(pid: int) -> set[bytes]:
    """Return what any user sees of a process and its children, and the environment of the children."""
    seen = set()
    try:
        seen.add(Path(f"/proc/{pid}/cmdline").read_bytes())
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            seen.add(command)
            if command.split(b"\0")[0].endswith((b"ffmpeg", b"ffprobe")):  # no more a copy of its parent
                seen.add(b"environ " + Path(f"/proc/{child}/environ").read_bytes())
    except OSError:
        pass  # it has ended
    return seen


def test_an_upload_at_debug_writes_the_token_nowhere(tmp_path):
    """On a bad day: PTB, httpx and Twisted speak, requests fail, and are repeated."""
    (tmp_path / "home").mkdir()
    with faulty_emulator(tmp_path / "telegram", seed=1) as emulator:
        exit_code = run_upload(tmp_path / "home", emulator)
        log = (tmp_path / "home" / "debug.log").read_text()
        assert exit_code == 0, log[-2000:]
    assert "/bot[redacted]/sendDocument" in log
    processes = (tmp_path / "home" / "processes.txt").read_bytes()
    assert b"\nenviron " in processes
    assert b"libx264" in processes
    assert list(search([tmp_path])) == []


def test_without_the_redaction_the_search_finds_it(tmp_path):
    """So that the test above can fail."""
    (tmp_path / "home").mkdir()
    with faulty_emulator(tmp_path / "telegram", seed=1) as emulator:
        run_upload(tmp_path / "home", emulator, redact=False)
    assert {hit.path.name for hit in search([tmp_path])} == {"debug.log"}
    (tmp_path / "home" / "debug.log").unlink()  # the session's own search comes later


@pytest_twisted.ensureDeferred
async def test_nothing_that_is_served_raised_or_shown_holds_the_token(tmp_path):
    """Playlists, pages, JSON, errors of every kind of trouble, and what objects print as."""
    clip = await in_thread(make_clip, "h264-aac", CLIPS)
    shown: list[str] = []
    async with a_telegram(tmp_path, bots=2, patience_s=1.0) as telegram:
        config = make_config(tmp_path, **telegram.sections())
        async with running(config) as app:
            (done,) = await upload(app, clip)
            video_id = done.outcome.video_id
            for path in (
                f"/playlist/{video_id}.m3u8", f"/playlist/{video_id}/1/main.m3u8", f"/play/{video_id}",
                "/videos", f"/videos/{video_id}", "/debug", f"/debug/{video_id}", "/healthz", "/readyz",
                "/metrics", "/test-jellyfin.m3u8", "/nothing", f"/segment/{video_id}/segment_9999.ts",
            ):  # fmt: skip
                shown.append(await in_thread(fetch, f"{app.public_url}{path}"))
            shown += [repr(config), str(config), repr(app.store), str(vars(app)), config.model_dump_json()]
            for fault in (
                {"kind": "error", "code": 401},
                {"kind": "error", "code": 404},
                {"kind": "error", "code": 400},
            ):
                telegram.emulator.faults.clear()
                telegram.emulator.faults.add(**fault, times=None)
                (failed,) = await upload(app, clip, force=True)
                shown += [repr(failed.error), "".join(traceback.format_exception(failed.error))]
                shown.append(str(app.catalog.newest_revision(video_id)))
    (tmp_path / "shown.txt").write_text("\n".join(shown))
    assert CANARY in telegram.bots[0].token
    assert len(shown) > 20
    assert list(search([tmp_path])) == []


def fetch(url: str) -> str:
    """Return head and body, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return f"{answer.headers}{answer.read().decode('utf-8', 'backslashreplace')}"
    except urllib.error.HTTPError as error:
        return f"{error.headers}{error.read().decode('utf-8', 'backslashreplace')}"


def test_a_token_on_the_command_line_is_taken_with_a_warning(tmp_path):
    """And is in no line that is written; only ``ps`` shows it, as the warning says."""
    token = f"700000001:AA{CANARY}0123456789abcdefghij"
    argv = [sys.executable, "-m", "tgsyncd", "upload", "-vv", "--bot-token", token, "--chat-id", "-1001"]
    done = subprocess.run(
        [*argv, "--video", str(tmp_path / "nothing.mkv"), "--host", "http://192.0.2.1:8080"],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        env=os.environ | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "can see a token on the command line" in done.stderr
    (tmp_path / "said.txt").write_text(done.stdout + done.stderr)
    assert list(search([tmp_path])) == []
