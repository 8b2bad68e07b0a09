# SPDX-License-Identifier: MIT
"""Secrets come from files that only their owner reads, from systemd credentials, or from variables."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from tgsyncd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from tgsyncd.config.jellyfin import JellyfinSection
    from tgsyncd.config.schema import Bot

_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{10,100}")
# A token is 46 bytes; a path to something large was given by mistake.
_MAX_BYTES = 4096
_MISSING_HINTS = {"auth.admin_token_file": "`tgsyncd auth token --file` makes it, for the user that runs it"}


def read_secret_file(path: Path, *, option: str) -> str:
    """
    Return the first line of a file that only its owner may read.

    Raises
        ConfigError: not there, not readable, empty, or readable by group or others.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        message = f"{option}: {path} cannot be read: {error.strerror}"
        raise ConfigError(message, hint=_MISSING_HINTS.get(option, "")) from error
    if mode & 0o077:
        message = f"{option}: {path} can be read by others (mode {mode:04o})"
        raise ConfigError(message, hint=f"chmod 600 '{path}'")
    return _first_line(content, f"{option}: {path}")


def check_token(token: str, *, option: str) -> SecretStr:
    """Return the token wrapped so that it is never printed. Raises ConfigError when it cannot be one."""
    if not _TOKEN.fullmatch(token):
        message = f"{option}: this is not a bot token (digits, a colon, about 35 characters)"
        raise ConfigError(message, hint="copy it from the message of @BotFather")
    return SecretStr(token)


def read_token(bot: Bot, environ: MutableMapping[str, str], *, option: str) -> SecretStr:
    """
    Return a bot's token from where the configuration says it is.

    A token in a variable is taken out of ``environ``, so that no child process inherits it.

    Raises
        ConfigError that never contains the token.
    """
    if bot.token is not None:
        return check_token(bot.token.get_secret_value(), option=option)
    if bot.token_file is not None:
        where = f"{option}.token_file"
        return check_token(read_secret_file(bot.token_file, option=where), option=where)
    if bot.token_env is not None:
        where = f"{option}.token_env"
        if bot.token_env not in environ:
            message = f"{where}: the environment variable {bot.token_env} is not set"
            raise ConfigError(message)
        return check_token(environ.pop(bot.token_env).strip(), option=where)
    where = f"{option}.credential"
    return check_token(_read_credential(str(bot.credential), environ, where), option=where)


def read_api_key(section: JellyfinSection, environ: MutableMapping[str, str]) -> SecretStr | None:
    """
    Return Jellyfin's API key from where the configuration says it is; None when it names no place.

    A key in a variable is taken out of ``environ``. Raises ConfigError that never contains the key.
    """
    if section.api_key is not None:
        return section.api_key
    if section.api_key_file is not None:
        return SecretStr(read_secret_file(section.api_key_file, option="jellyfin.api_key_file"))
    if section.api_key_env is not None:
        if section.api_key_env not in environ:
            message = f"jellyfin.api_key_env: the environment variable {section.api_key_env} is not set"
            raise ConfigError(message)
        return SecretStr(environ.pop(section.api_key_env).strip())
    if section.api_key_credential is not None:
        where = "jellyfin.api_key_credential"
        return SecretStr(_read_credential(section.api_key_credential, environ, where))
    return None


def read_admin_token(
    file: Path | None, credential: str | None, environ: MutableMapping[str, str]
) -> SecretStr | None:
    """Return the admin token, or None when the configuration names no place. Raises ConfigError."""
    if file is not None:
        return SecretStr(read_secret_file(file, option="auth.admin_token_file"))
    if credential is not None:
        return SecretStr(_read_credential(credential, environ, "auth.admin_token_credential"))
    return None


def _read_credential(name: str, environ: MutableMapping[str, str], option: str) -> str:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        message = f"{option}: there are no credentials: the service was not started by systemd"
        raise ConfigError(message, hint=f"add LoadCredential={name}:/path to the unit")
    path = Path(folder) / name
    try:
        # systemd itself guards this folder; its modes differ from version to version.
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        message = f"{option}: {path} cannot be read: {error.strerror}"
        raise ConfigError(message, hint=f"add LoadCredential={name}:/path to the unit") from error
    return _first_line(content, f"{option}: {path}")


def _first_line(content: bytes, what: str) -> str:
    line = content.split(b"\n", 1)[0].strip()
    if not line or len(content) > _MAX_BYTES:
        message = f"{what} holds no secret: {'too large' if line else 'its first line is empty'}"
        raise ConfigError(message)
    return line.decode("utf-8", "replace")
