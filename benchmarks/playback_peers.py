# SPDX-License-Identifier: MIT
"""
What people put before a slow server instead: nginx with a cache in slices, and rclone with its VFS cache.

Both get the emulator's file URLs, which a client has to have from getFile first. rclone is Debian's package
of that name; without it the benchmarks go on without.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.playback_rig import Rig, free_port, wait_for_port

NGINX = """\
{user}daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    proxy_cache_path {folder}/nginx-cache keys_zone=cache:10m max_size=2g use_temp_path=off;
    server {{
        listen 127.0.0.1:{port};
        location /file/ {{
            slice 1m;
            proxy_cache cache;
            proxy_cache_lock on;
            proxy_cache_key $uri$slice_range;
            proxy_set_header Range $slice_range;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache_valid 200 206 1h;
            proxy_pass http://emulator;
        }}
        # A folder to look into, which rclone needs; nothing is kept here.
        location = /list/ {{ default_type text/html; return 200 '{listing}'; }}
        location /list/ {{ proxy_pass http://emulator{base}; proxy_buffering off; }}
    }}
    upstream emulator {{ server {emulator}; keepalive 32; }}
}}
"""


class Peers:
    """nginx, and rclone where there is one, in front of the files that were asked for."""

    def __init__(self, nginx_url: str, rclone_url: str | None) -> None:
        self._nginx_url = nginx_url
        self._rclone_url = rclone_url

    def urls(self, file_url: str) -> dict[str, str]:
        """Return the URLs of a file behind each."""
        path = urlsplit(file_url).path
        found = {"nginx": self._nginx_url + path}
        if self._rclone_url is not None:
            found["rclone"] = f"{self._rclone_url}/{path.rpartition('/')[2]}"
        return found


@contextlib.contextmanager
def running_peers(rig: Rig, file_urls: list[str]) -> Iterator[Peers]:
    """Run them in front of these files, with nothing kept."""
    with contextlib.ExitStack() as stack:
        folder = rig.folder / f"peers-{free_port()}"
        folder.mkdir()
        base = urlsplit(file_urls[0]).path.rpartition("/")[0] + "/"
        names = [url.rpartition("/")[2] for url in file_urls]
        listing = "".join(f'<a href="{name}">{name}</a>' for name in names)
        port = free_port()
        conf = folder / "nginx.conf"
        emulator = urlsplit(file_urls[0]).netloc
        # Started by root its worker would be nobody, who may not write below our folder.
        user = "user root;\n" if os.geteuid() == 0 else ""
        settings = {
            "user": user,
            "folder": folder,
            "port": port,
            "emulator": emulator,
            "base": base,
            "listing": listing,
        }
        conf.write_text(NGINX.format(**settings))
        stack.enter_context(_process(["nginx", "-c", str(conf), "-p", str(folder)], port, folder))
        nginx_url, rclone_url = f"http://127.0.0.1:{port}", None
        if shutil.which("rclone"):
            port = free_port()
            argv = ["rclone", "serve", "http", f":http,url='{nginx_url}/list/':", "--config", "/dev/null"]
            argv += ["--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "full", "--dir-cache-time", "1h"]
            argv += ["--cache-dir", str(folder / "rclone")]
            stack.enter_context(_process(argv, port, folder))
            rclone_url = f"http://127.0.0.1:{port}"
            # It asks for each file's size once, and remembers: that is not what is measured.
            urllib.request.urlopen(rclone_url + "/", timeout=120).read()
        yield Peers(nginx_url, rclone_url)


@contextlib.contextmanager
def _process(argv: list[str], port: int, folder: Path) -> Iterator[None]:
    log = (folder / f"{argv[0]}.log").open("w")
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for_port(port, process)
        time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(30)
        log.close()
