# SPDX-License-Identifier: MIT
"""The line in ``systemctl status``: since when Telegram is silent."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import socket

from tests.service.conftest import films, new_daemon  # noqa: F401
from tests.service.running import wait_for


def test_a_telegram_that_does_not_answer_is_in_the_line_the_status_and_the_numbers(new_daemon, films):  # noqa: F811
    """With the time at which it began; the log says it once."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: who connects is refused
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        daemon = new_daemon()
        for name, secret in (
            ("bot", "123456789:AAcanarycanarycanarycanarycanary123"),
            ("admin", "admin-token"),
        ):
            (daemon.folder / name).write_text(f"{secret}\n")
            (daemon.folder / name).chmod(0o600)
        daemon.configure(
            store={"kind": "telegram"},
            telegram={
                "bots": [{"token_file": "bot"}], "chats": [-1001234567890], "scratch_chat": -1001234567891,
                "base_url": f"{address}/bot", "base_file_url": f"{address}/file/bot",
            },
            auth={"admin_token_file": "admin"},
        )  # fmt: skip
        daemon.environ = {"WATCHDOG_USEC": "6000000"}
        shutil.copy(films[0], daemon.source / "Film.mkv")
        begun = dt.datetime.now().astimezone().replace(second=0, microsecond=0)
        daemon.start().ready()
        wait_for(lambda: daemon.notify.has("Telegram does not answer since"), "the line", bound_s=240)
        line = next(each for each in daemon.notify.messages if "Telegram does not answer" in each)
        since = dt.datetime.strptime(line.partition("since ")[2][:16], "%Y-%m-%d %H:%M").astimezone()
        assert begun <= since <= dt.datetime.now().astimezone()
        assert "1 waiting" in line or "film" in line

        status = daemon.status()
        assert begun.timestamp() - 1 <= status["store_silent"]["since_s"]
        assert status["store_silent"]["reason"]
        debug = json.loads(daemon.get("/debug", token="admin-token"))
        # Of two clocks the difference is taken: a turn of the second may lie between two looks.
        assert abs(debug["service"]["store_silent"]["since_s"] - status["store_silent"]["since_s"]) <= 1
        assert "\ntgsyncd_store_reachable 0.0\n" in daemon.get("/metrics", token="admin-token").decode()
        daemon.wait_for_log("Telegram does not answer since")
        assert daemon.text().count("warn: Telegram does not answer since") == 1
        assert "AAcanary" not in daemon.text()
        assert daemon.stop() == 0
