# SPDX-License-Identifier: MIT
"""YAML, variables, flags and secrets to one frozen ``Config``; flags win over variables over YAML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ifaddr
from pydantic import ValidationError

from tgsyncd.config.environment import read_variables, variable_of
from tgsyncd.config.hosts import InterfaceAddress
from tgsyncd.config.problems import Problem, explain, render_location
from tgsyncd.config.schema import Bot, Config
from tgsyncd.config.secrets import read_admin_token, read_api_key, read_token
from tgsyncd.config.values import PathBase
from tgsyncd.config.yamltext import YamlTree, parse_yaml
from tgsyncd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

    from tgsyncd.config.problems import Location


_SECRETS = {("jellyfin", "api_key"), ("auth", "admin_token")}


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
) -> Loaded:
    """
    Read the whole configuration.

    ``path`` is the YAML file, None for defaults, variables and flags alone. ``flags`` maps options to
    values. ``folder`` is what relative paths in variables and flags are relative to; in YAML it is the
    folder of the file.

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
    if problems or config is None:
        found = [*problems, *invalid]
        raise ConfigError(_render_problems(found, _origins(variables, flags), path))
    return Loaded(
        config=_with_admin_token(_with_api_key(_with_tokens(config, environ), environ), environ),
        path=path,
        warnings=warnings,
    )


def check_text(text: str, path: Path, *, home: Path) -> None:
    """
    Check what is going to be a file's text. Reads no variables and no secrets.

    Raises
        ConfigError that lists every problem found, as ``load_config`` would.
    """
    tree = parse_yaml(text)
    base = PathBase(home=home, folder=path.absolute().parent)
    config, invalid = _validate(_plain_copy(tree.values), base, tree)
    found = [*tree.problems, *_refuse_written_tokens(tree), *invalid]
    if found or config is None:
        raise ConfigError(_render_problems(found, {}, path))


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
        return parse_yaml(path.read_text("utf-8"))
    except FileNotFoundError as error:
        message = f"there is no configuration file {path}"
        raise ConfigError(message, hint="write one with: tgsyncd config example > tgsyncd.yaml") from error
    except UnicodeDecodeError as error:
        message = f"{path} is not text in UTF-8, so it is no configuration file"
        raise ConfigError(message, hint="write one with: tgsyncd config example > tgsyncd.yaml") from error
    except OSError as error:
        message = f"the configuration file {path} cannot be read: {error.strerror}"
        raise ConfigError(message, hint="let the user that tgsyncd runs as read it") from error


def _validate(values: dict[str, Any], base: PathBase, tree: YamlTree) -> tuple[Config | None, list[Problem]]:
    try:
        return Config.model_validate(values, context=base), []
    except ValidationError as error:
        return None, explain(error.errors(include_url=False), Config, tree.lines)


def _render_problems(problems: Sequence[Problem], origins: Mapping[Location, str], path: Path | None) -> str:
    lines = []
    for problem in problems:
        origin = next((text for at, text in origins.items() if at == problem.location[: len(at)]), None)
        where = origin or (f"{path.name}, line {problem.line}" if path and problem.line else "")
        option = render_location(problem.location)
        lines.append(": ".join(part for part in (where, option, problem.message) if part))
    if len(lines) == 1:
        return lines[0]
    return "\n  ".join([f"{len(lines)} problems in the configuration:", *lines])


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


def _with_tokens(config: Config, environ: MutableMapping[str, str]) -> Config:
    """Read the tokens, when they are needed: a directory store must not fail for a bot's file."""
    if config.store.kind != "telegram":
        return config
    bots: list[Bot] = []
    problems: list[str] = []
    for index, bot in enumerate(config.telegram.bots):
        try:
            token = read_token(bot, environ, option=f"telegram.bots[{index}]")
        except ConfigError as error:
            problems.append(str(error))
        else:
            bots.append(bot.model_copy(update={"token": token}))
    if problems:
        raise ConfigError("\n".join(problems))
    telegram = config.telegram.model_copy(update={"bots": tuple(bots)})
    return config.model_copy(update={"telegram": telegram})


def _with_api_key(config: Config, environ: MutableMapping[str, str]) -> Config:
    if config.jellyfin.url is None:
        return config
    key = read_api_key(config.jellyfin, environ)
    return config.model_copy(update={"jellyfin": config.jellyfin.model_copy(update={"api_key": key})})


def _with_admin_token(config: Config, environ: MutableMapping[str, str]) -> Config:
    auth = config.auth
    token = read_admin_token(auth.admin_token_file, auth.admin_token_credential, environ)
    return config.model_copy(update={"auth": auth.model_copy(update={"admin_token": token})})
