# SPDX-License-Identifier: MIT
"""The examples in config: reverse proxies that are tried, alerts and a dashboard of metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.cli_shell import FakeCatalog
from tests.service.conftest import films, new_daemon  # noqa: F401
from tests.service.running import ROOT, wait_for
from tgsyncd.metrics import render_metrics
from tgsyncd.playback.counters import Counters

NGINX = (ROOT / "config/nginx/tgsyncd.conf").read_text()
RULES = yaml.safe_load((ROOT / "config/prometheus/tgsyncd.rules.yml").read_text())
DASHBOARD = json.loads((ROOT / "config/grafana/tgsyncd.json").read_text())

SHELF = {"limit_bytes": 10, "used_bytes": 5, "files": 1, "evictions": 0}
CACHE = {
    **Counters(hits=3, misses=1, bytes_served=9).report(),
    "viewers": 2, "fetches_now": 1, "memory": SHELF, "disk": SHELF, "heads": SHELF,
}  # fmt: skip
JOBS = [
    {"name": name, "last_started_at_s": 5.0, "last_duration_s": 1.0, "last_failed": False}
    for name in ("scan", "backup")
]
SERVICE = {
    "problem": "", "store_silent": {"since_s": 7.0, "reason": "x"}, "trouble": None, "queue_length": 1,
    "working_on": [], "failures": [], "doubts": [], "stored_since_start": 4, "uptime_s": 9.0, "jobs": JOBS,
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# --- numbers -----------------------------------------------------------------------------------------


def all_metrics() -> dict[str, set[str]]:
    """Every series that there can be, with the names of its labels."""
    text = render_metrics(FakeCatalog().stats(), SERVICE, cache=CACHE, connections=3).decode()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions():
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_alerts_and_panels_use_what_exists(where, expression):
    """Each metric, and each label that is asked for."""
    known = all_metrics()
    used = re.findall(r"\b((?:tgsyncd|process)_\w+)(?:\{([^}]*)\})?", expression)
    assert used or expression.startswith("up{"), expression
    for name, selector in used:
        assert name in known, f"{where}: {name}"
        labels = set(re.findall(r"(\w+)\s*=", selector)) - {"instance", "job"}
        assert labels <= known[name], f"{where}: {labels}"


def test_every_number_of_ours_is_shown_or_is_there_for_its_owner():
    """A metric that nothing shows is listed here, so that a new one is not forgotten."""
    used = {name for _, text in expressions() for name in re.findall(r"tgsyncd_\w+", text)}
    ours = {name for name in all_metrics() if name.startswith("tgsyncd_")}
    assert ours - used == {
        "tgsyncd_build_info", "tgsyncd_segments", "tgsyncd_documents", "tgsyncd_uploads_open",
        "tgsyncd_catalog_bytes", "tgsyncd_fetches_total", "tgsyncd_fetches_ahead_total",
        "tgsyncd_fetches_running", "tgsyncd_store_silent_since_seconds", "tgsyncd_stored_since_start",
    }  # fmt: skip


def test_labels_are_few_and_none_is_prometheus_own():
    """Statuses, results, places, job names; `job` and `instance` are the scraper's."""
    labels = set().union(*all_metrics().values())
    assert labels == {"version", "status", "result", "place", "job_name"}


def test_values_are_what_was_counted():
    """Also of what is turned around or absent."""
    text = render_metrics(FakeCatalog().stats(), SERVICE, cache=CACHE, connections=3).decode()
    for line in (
        "tgsyncd_store_reachable 0.0",
        "tgsyncd_store_silent_since_seconds 7.0",
        'tgsyncd_segment_requests_total{result="hit"} 3.0',
        "tgsyncd_served_bytes_total 9.0",
        'tgsyncd_cache_limit_bytes{place="disk"} 10.0',
        "tgsyncd_connections 3.0",
        'tgsyncd_videos{status="active"} 2.0',
    ):
        assert f"\n{line}\n" in text
    bare = render_metrics(FakeCatalog().stats(), None).decode()
    assert "tgsyncd_cache_bytes" not in bare
    assert "tgsyncd_healthy" not in bare


def test_panels_do_not_overlap_and_have_ids_of_their_own():
    """Grafana would move them about."""
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


# --- reverse proxies ---------------------------------------------------------------------------------


@pytest.fixture
def nginx(tmp_path):
    """Start nginx with the example, but without TLS, in front of a port; return its own."""
    if not shutil.which("nginx"):
        pytest.skip("no nginx")
    started = []

    def start(upstream: int, port: int) -> None:
        text = NGINX.replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
        text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
        text = re.sub(r"(?m)^ *ssl_certificate.*\n", "", text)
        text = text.replace("/var/log/nginx/tgsyncd.log", f"{tmp_path}/access.log")
        (tmp_path / "tgsyncd.conf").write_text(text)
        places = "".join(
            f"    {name}_temp_path {tmp_path}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        conf = tmp_path / "nginx.conf"
        conf.write_text(
            f"daemon off;\npid {tmp_path}/nginx.pid;\nerror_log {tmp_path}/error.log;\n"
            "events { worker_connections 64; }\n"
            f"http {{\n{places}    include {tmp_path}/tgsyncd.conf;\n}}\n"
        )
        tested = subprocess.run(
            ["nginx", "-t", "-c", conf, "-p", tmp_path, "-e", tmp_path / "early.log"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert tested.returncode == 0, tested.stderr
        started.append(
            subprocess.Popen(
                ["nginx", "-c", conf, "-p", tmp_path, "-e", tmp_path / "early.log"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )  # fmt: skip
        wait_for(lambda: is_open(port) or started[-1].poll() is not None, "nginx")
        assert started[-1].poll() is None, (tmp_path / "error.log").read_text()

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_films_play_through_nginx_and_its_log_has_no_capability(new_daemon, films, nginx, tmp_path):  # noqa: F811
    """The playlist names the proxy, Range goes through, strangers do not see the numbers."""
    port = free_port()
    home = f"http://tv.example.org:{port}"
    daemon = new_daemon()
    daemon.configure(server={"public_urls": [home], "trusted_proxies": ["127.0.0.1"]})
    shutil.copy(films[0], daemon.source / "Film.mkv")
    daemon.start().ready()
    nginx(daemon.port, port)
    daemon.wait_for_strms("Film.strm")

    def get(url: str, **headers: str):
        """Ask as a player does for whom that name leads here."""
        assert url.startswith(home)
        request = urllib.request.Request(url.replace("tv.example.org", "127.0.0.1", 1), headers=headers)
        request.add_header("Host", f"tv.example.org:{port}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()

    url = (daemon.library / "Film.strm").read_text().strip()
    assert url.startswith(f"{home}/p/")
    segments = [line for line in get(url)[1].decode().splitlines() if line.startswith("http")]
    assert segments
    assert all(segment.startswith(f"{home}/p/") for segment in segments)
    whole = get(segments[0])[1]
    assert get(segments[0], Range="bytes=188-375") == (206, whole[188:376])
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{home}/metrics")
    # nginx lets this machine ask; that tgsyncd answers is seen by its words.
    assert "needs an admin token" in refused.value.read().decode()

    capability = url.split("/")[4]
    log = tmp_path / "access.log"
    wait_for(lambda: log.exists() and "/metrics" in log.read_text(), "the access log")
    assert capability not in log.read_text()
    assert "/p/-/playlist/film.m3u8" in log.read_text()
    assert capability not in daemon.text()


def test_caddy_understands_its_example():
    """Where there is a Caddy."""
    if not shutil.which("caddy"):
        pytest.skip("no caddy")
    command = ["caddy", "validate", "--adapter", "caddyfile", "--config", ROOT / "config/caddy/Caddyfile"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
