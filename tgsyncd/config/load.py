# SPDX-License-Identifier: MIT
"""YAML, variables, flags and secrets to one frozen ``Config``; flags win over variables over YAML."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import ifaddr
from pydantic import ValidationError

from tgsyncd.config.environment import read_variables, variable_of
from tgsyncd.config.hosts import InterfaceAddress, check_public_host
from tgsyncd.config.problems import Problem, by_line, explain, line_of, render_location
from tgsyncd.config.schema import Config
from tgsyncd.config.secrets import read_admin_token, read_api_key, read_token
from tgsyncd.config.values import PathBase
from tgsyncd.config.yamltext import MAX_BYTES, YamlTree, parse_yaml
from tgsyncd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

    from pydantic import SecretStr

    from tgsyncd.config.problems import Location


_SECRETS = {("jellyfin", "api_key"), ("auth", "admin_token")}
_WRITE_ONE = "write one with: tgsyncd config example > tgsyncd.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration, the file that it came from (None: defaults), and what its owner should know."""

    config: Config
    path: Path | None
    warnings: tuple[str, ...]

    @property
    def secrets(self) -> tuple[str, ...]:
        """All secrets that were read: what no log may hold."""
        tokens = [bot.token for bot in self.config.telegram.bots]
        tokens += [self.config.auth.admin_token, self.config.jellyfin.api_key]
        return tuple(token.get_secret_value() for token in tokens if token is not None)


def find_config(home: Path, *, etc: Path = Path("/etc")) -> Path | None:
    """Return the configuration file that is read when none is named, or None."""
    candidates = [home / ".config/tgsyncd/tgsyncd.yaml", etc / "tgsyncd/tgsyncd.yaml"]
    return next((path for path in candidates if path.is_file()), None)


def load_config(
    path: Path | None,
    *,
    environ: MutableMapping[str, str],
    flags: Mapping[Location, object],
    home: Path,
    folder: Path,
    addresses: Callable[[], Sequence[InterfaceAddress]] | None = None,
) -> Loaded:
    """
    Read the whole configuration.

    ``path`` is the YAML file, None for defaults, variables and flags alone. ``flags`` maps options to
    values. ``folder`` is what relative paths in variables and flags are relative to; in YAML it is the
    folder of the file. ``addresses`` are those of this machine, which a message may recommend.

    Raises
        ConfigError that lists every problem found, each with its option, line and what is allowed.
    """
    tree = _read_yaml(path)
    variables, warnings = read_variables(environ)
    base = PathBase(home=home, folder=path.absolute().parent if path else folder)
    values: dict[str, Any] = _plain_copy(tree.values)
    problems = [*tree.problems, *_refuse_written_tokens(tree)]
    outside = {**variables, **flags}
    for location, value in outside.items():
        if not _put(values, location, _anchor(value, location, folder, home)):
            problems.append(Problem(location=location[:1], message="this must hold options"))
    config, invalid = _validate(values, base, tree)
    problems += invalid
    if config is not None and not problems:
        config, unusable = _with_secrets(config, environ, tree)
        problems += [*_unreachable_urls(config, tree, addresses), *unusable]
    if problems or config is None:
        raise _refusal(problems, _origins(variables, flags), path)
    return Loaded(config=config, path=path, warnings=warnings)


def check_text(text: str, path: Path, *, home: Path) -> None:
    """
    Check what is going to be a file's text. Reads no variables and no secrets.

    Raises
        ConfigError that lists every problem found, as ``load_config`` would.
    """
    read_structure(text, path, home=home)


def read_structure(text: str, path: Path, *, home: Path) -> Config:
    """
    Return what a file's text says, without variables and secrets: what somebody else than its user may read.

    Raises
        ConfigError that lists every problem found, as ``load_config`` would.
    """
    tree = parse_yaml(text)
    base = PathBase(home=home, folder=path.absolute().parent)
    config, invalid = _validate(_plain_copy(tree.values), base, tree)
    found = [*tree.problems, *_refuse_written_tokens(tree), *invalid]
    if found or config is None:
        raise _refusal(found, {}, path)
    return config


def own_addresses() -> tuple[InterfaceAddress, ...]:
    """Return the addresses of this machine, by interface."""
    return tuple(
        InterfaceAddress(interface=adapter.nice_name, address=ip.ip if isinstance(ip.ip, str) else ip.ip[0])
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    )


def _read_yaml(path: Path | None) -> YamlTree:
    if path is None:
        return YamlTree(values={}, lines={}, problems=[])
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES * 2)
    except FileNotFoundError as error:
        message = f"there is no configuration file {path}"
        raise ConfigError(message, hint=_WRITE_ONE) from error
    except OSError as error:
        message = f"the configuration file {path} cannot be read: {error.strerror}"
        raise ConfigError(message, hint="let the user that tgsyncd runs as read it") from error
    try:
        return parse_yaml(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ConfigError(f"{path.name} is text in UTF-16", hint="save it as UTF-8") from error
        if b"\0" in data:
            message = f"{path} is not text in UTF-8, so it is no configuration file"
            raise ConfigError(message, hint=_WRITE_ONE) from error
        line = data.count(b"\n", 0, error.start) + 1
        message = f"{path.name}, line {line}: a character here is not UTF-8"
        raise ConfigError(message, hint="save the file as UTF-8") from error


def _validate(values: dict[str, Any], base: PathBase, tree: YamlTree) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(values, context=base), []
    except ValidationError as error:
        return None, explain(error.errors(include_url=False), Config, tree.lines)


def _refusal(problems: Sequence[Problem], origins: Mapping[Location, str], path: Path | None) -> ConfigError:
    """Return the error that names all problems, in the order of their lines."""
    lines = []
    for problem in by_line(problems):
        origin = next((text for at, text in origins.items() if at == problem.location[: len(at)]), None)
        where = origin or (f"{path.name}, line {problem.line}" if path and problem.line else "")
        where = where or (path.name if path else "")
        option = render_location(problem.location)
        lines.append(": ".join(part for part in (where, option, problem.message) if part))
    if len(lines) == 1:
        return ConfigError(lines[0], hint=problems[0].hint)
    hinted = [
        f"{line} ({problem.hint})" if problem.hint else line
        for line, problem in zip(lines, by_line(problems), strict=True)
    ]
    return ConfigError("\n  ".join([f"{len(lines)} problems in the configuration:", *hinted]))


def _origins(
    variables: Mapping[Location, object], flags: Mapping[Location, object]
) -> Mapping[Location, str]:
    return {
        **{at: f"environment variable {variable_of(at)}" for at in variables},
        **dict.fromkeys(flags, "command line"),
    }


def _refuse_written_tokens(tree: YamlTree) -> list[Problem]:
    """Find tokens in YAML, which the schema would take: it has a place for those read from files."""
    return [
        Problem(
            location=at,
            line=line,
            message="a token does not belong into this file; put it into a file of mode 0600 and name "
            "that as token_file, or use token_env or credential",
        )
        for at, line in tree.lines.items()
        if (at[:2] == ("telegram", "bots") and at[-1] == "token") or at in _SECRETS
    ]


def _plain_copy(value: Any) -> Any:
    if isinstance(value, dict):
        # An empty section ("server:" and nothing below) means its defaults.
        return {str(key): _plain_copy(inner) for key, inner in value.items() if inner is not None}
    return value


def _put(values: dict[str, Any], location: Location, value: object) -> bool:
    for part in location[:-1]:
        inner = values.setdefault(str(part), {})
        if not isinstance(inner, dict):
            return False
        values = inner
    if value is None:
        values.pop(str(location[-1]), None)
    else:
        values[str(location[-1])] = value
    return True


def _anchor(value: object, location: Location, folder: Path, home: Path) -> object:
    """Make relative paths from flags and variables absolute: they are relative to where the user stands."""
    if isinstance(value, Path):
        return folder / value
    name = str(location[-1])
    is_path = name in {"directory", "data_dir", "cache_dir", "admin_token_file"}
    if is_path and isinstance(value, str):
        return home / value[2:] if value.startswith("~/") else folder / value
    return value


def _unreachable_urls(
    config: Config, tree: YamlTree, addresses: Callable[[], Sequence[InterfaceAddress]] | None
) -> list[Problem]:
    """Find public URLs that other machines cannot open."""
    problems = []
    for index, url in enumerate(config.server.public_urls):
        at = ("server", "public_urls", index)
        option = render_location(at)
        try:
            check_public_host(urlsplit(url).hostname or "", (addresses or own_addresses)(), option=option)
        except ConfigError as error:
            message = error.message.removeprefix(f"{option}: ")
            problems.append(
                Problem(location=at, line=line_of(at, tree.lines), message=message, hint=error.hint)
            )
    return problems


def _with_secrets(
    config: Config, environ: MutableMapping[str, str], tree: YamlTree
) -> tuple[Config, list[Problem]]:
    """Read the secrets that are needed: a directory store must not fail for a bot's file."""
    by_name = {render_location(at): at for at in tree.lines}
    problems: list[Problem] = []

    def read(reader: Callable[[], SecretStr | None]) -> SecretStr | None:
        try:
            return reader()
        except ConfigError as error:
            option, _, message = error.message.partition(": ")
            at = by_name.get(option)
            if at is None:
                problems.append(Problem(location=(), message=error.message, hint=error.hint))
            else:
                line = line_of(at, tree.lines)
                problems.append(Problem(location=at, line=line, message=message, hint=error.hint))
            return None

    auth, telegram, jellyfin = config.auth, config.telegram, config.jellyfin
    if config.store.kind == "telegram":
        bots = []
        for index, bot in enumerate(telegram.bots):
            token = read(partial(read_token, bot, environ, option=f"telegram.bots[{index}]"))
            bots.append(bot.model_copy(update={"token": token}))
        telegram = telegram.model_copy(update={"bots": tuple(bots)})
    if jellyfin.url is not None:
        key = read(lambda: read_api_key(jellyfin, environ))
        jellyfin = jellyfin.model_copy(update={"api_key": key})
    token = read(lambda: read_admin_token(auth.admin_token_file, auth.admin_token_credential, environ))
    auth = auth.model_copy(update={"admin_token": token})
    sections = {"telegram": telegram, "jellyfin": jellyfin, "auth": auth}
    return config.model_copy(update=sections), problems
