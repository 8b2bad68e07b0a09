# SPDX-License-Identifier: MIT
"""Writing what ``telegram setup`` found out: whole files or none."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from tgsyncd.durable import fsync_folder
from tgsyncd.errors import ConfigError

PRIVATE = 0o600
PUBLIC = 0o644


def read_text(path: Path) -> str | None:
    """Return a file's text, None when there is none. Raises ConfigError when it cannot be read."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"{path} cannot be read: {reason}") from error


def write_whole(path: Path, text: str, *, mode: int) -> None:
    """
    Put a file with this text in place at once: at no time does it hold less than all of it.

    A file that is there is replaced, and keeps its owner and mode unless ``mode`` is private.

    Raises
        ConfigError when it cannot be written; then nothing is left behind.
    """
    path = path.resolve()  # a link to the file stays a link
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made with mode 0600: a token is never there for others to read, not even for a moment.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritten(path, error) from error
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            _give_rights(file.fileno(), path, mode)
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError | UnicodeEncodeError):
            raise _unwritten(path, error) from error
        raise
    fsync_folder(path.parent)


def _give_rights(descriptor: int, path: Path, mode: int) -> None:
    before = path.stat() if mode != PRIVATE and path.exists() else None
    os.fchmod(descriptor, before.st_mode & 0o7777 if before else mode)
    if before:
        # Only root may give files away; nobody else needs to.
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, before.st_uid, before.st_gid)


def _unwritten(path: Path, error: OSError | UnicodeEncodeError) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) else "its text is no UTF-8"
    return ConfigError(f"{path} cannot be written: {reason}", hint="choose another place with --config")
