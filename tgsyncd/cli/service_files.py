# SPDX-License-Identifier: MIT
"""The files of the systemd service, as text: the unit, its drop-in for this configuration, user, folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from tgsyncd.config.reference import render_example

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.resources.abc import Traversable

    from tgsyncd.config.schema import Config

__all__ = ["CONFIG_PATH", "ServiceFile", "hidden_by_the_unit", "plan_service", "secret_files"]

CONFIG_PATH = "/etc/tgsyncd/tgsyncd.yaml"
CREDENTIALS_FOLDER = "/etc/tgsyncd/credentials"
UNITS = "/etc/systemd/system"
DROP_IN = f"{UNITS}/tgsyncd.service.d/10-tgsyncd.conf"
_STATE = {"data_dir": "/var/lib/tgsyncd", "cache_dir": "/var/cache/tgsyncd"}
_HOMES = ("/home", "/root", "/run/user")
"""What ProtectHome= hides."""
_HIDDEN = (*_HOMES, "/tmp", "/var/tmp")  # noqa: S108 - not used, but refused: PrivateTmp= hides it


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFile:
    """A file of the service. ``is_yours``: made when it is missing, and never replaced."""

    path: str
    text: str
    is_yours: bool = False


def read_packaged(name: str) -> str:
    """Return a file for the system, such as ``systemd/tgsyncd.service``: the wheel's, or the clone's."""
    packaged: Traversable = files("tgsyncd").joinpath("service_files")
    root = packaged if packaged.is_dir() else Path(__file__).parents[2]
    return root.joinpath(*name.split("/")).read_text(encoding="utf-8")


def plan_service(*, program: str, config: Config | None, has_socket: bool) -> Sequence[ServiceFile]:
    """
    Return the files to install; ``config`` is the one at ``CONFIG_PATH``, if there is one.

    ``program`` is the absolute path of ``tgsyncd``.
    """
    start = f"ExecStart={_quoted(program)}"
    unit = re.sub(r"(?m)^ExecStart=\S+", lambda _: start, read_packaged("systemd/tgsyncd.service"))
    planned = [
        ServiceFile(
            path="/etc/sysusers.d/tgsyncd.conf", text=read_packaged("config/sysusers.d/tgsyncd.conf")
        ),
        ServiceFile(
            path="/etc/tmpfiles.d/tgsyncd.conf", text=read_packaged("config/tmpfiles.d/tgsyncd.conf")
        ),
        ServiceFile(path=f"{UNITS}/tgsyncd.service", text=unit),
        ServiceFile(path=DROP_IN, text=render_drop_in(config)),
        ServiceFile(path=CONFIG_PATH, text=render_config(), is_yours=True),
    ]
    if has_socket:
        planned.append(
            ServiceFile(path=f"{UNITS}/tgsyncd.socket", text=read_packaged("systemd/tgsyncd.socket"))
        )
    return planned


def render_config() -> str:
    """Return the example with the folders that the unit gives us."""
    text = render_example()
    for option, folder in _STATE.items():
        text = re.sub(rf"^{option}: .*$", f"{option}: {folder}", text, flags=re.MULTILINE)
    return text


def render_drop_in(config: Config | None) -> str:
    """Return what the unit must know of this configuration: folders to write in, homes, credentials."""
    lines = [
        f"# Written by `tgsyncd install-service` from {CONFIG_PATH}: run it again after a change there.",
        "# Your own settings belong into another file: systemctl edit tgsyncd",
        "[Service]",
    ]
    if config is None:
        return "\n".join(lines) + "\n"
    written = _unique(_written_folders(config))
    read = _unique(str(library.source) for library in config.libraries)
    lines += [f'ReadWritePaths="-{_escaped(folder)}"' for folder in written if not _below(folder, _HOMES)]
    at_home = [
        *(("BindPaths", folder) for folder in written),
        *(("BindReadOnlyPaths", each) for each in read),
    ]
    at_home = [(option, folder) for option, folder in at_home if _below(folder, _HOMES)]
    if at_home:
        lines.append("# Homes are empty but for these folders.")
        lines.append("ProtectHome=tmpfs")
        only_read = {folder for _, folder in at_home} - set(written)
        lines += [
            f'{option}="-{_escaped(folder)}"'
            for option, folder in at_home
            if option == "BindPaths" or folder in only_read
        ]
    lines += [f"LoadCredential={name}:{CREDENTIALS_FOLDER}/{name}" for name in credentials(config)]
    return "\n".join(lines) + "\n"


def credentials(config: Config) -> Sequence[str]:
    """Return the names of the systemd credentials that the configuration asks for."""
    names = [bot.credential for bot in config.telegram.bots]
    names += [config.auth.admin_token_credential, config.jellyfin.api_key_credential]
    return _unique(name for name in names if name is not None)


def secret_files(config: Config) -> Sequence[str]:
    """Return the files with secrets that the service's user must be able to read."""
    paths = [bot.token_file for bot in config.telegram.bots]
    paths += [config.auth.admin_token_file, config.jellyfin.api_key_file]
    return _unique(str(path) for path in paths if path is not None)


def hidden_by_the_unit(path: str) -> bool:
    """Tell whether the service would not see this path: homes and temporary folders are hidden."""
    return _below(path, _HIDDEN)


def _written_folders(config: Config) -> Iterable[str]:
    yield from (str(library.publish) for library in config.libraries)
    for library in config.libraries:
        if library.after_publish != "keep":
            yield str(library.source)
        if library.move_to is not None:
            yield str(library.move_to)
    own = [str(config.data_dir), str(config.cache_dir)]
    for folder in (config.publish_dir, config.store_dir, config.data_dir, config.cache_dir):
        # StateDirectory= and CacheDirectory= may be written to anyway.
        if not _below(str(folder), (*_STATE.values(), *(each for each in own if each != str(folder)))):
            yield str(folder)


def _below(path: str, roots: Iterable[str]) -> bool:
    return any(PurePosixPath(path).is_relative_to(root) for root in roots)


def _unique(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _escaped(text: str) -> str:
    """Escape for a quoted string of systemd.syntax(7), where % begins a specifier."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _quoted(program: str) -> str:
    text = _escaped(program).replace("$", "$$")
    return f'"{text}"' if re.search(r"[^\w./-]", program) else text
