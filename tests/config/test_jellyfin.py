# SPDX-License-Identifier: MIT
"""Where Jellyfin's key comes from, and where it does not go."""

from __future__ import annotations

import pytest

from tgsyncd.config.load import load_config
from tgsyncd.errors import ConfigError

KEY = "0123456789abcdef0123456789abcdef"


def load(tmp_path, text, environ=None):
    path = tmp_path / "tgsyncd.yaml"
    path.write_text(text)
    return load_config(
        path, environ={} if environ is None else environ, flags={}, home=tmp_path, folder=tmp_path
    )


def test_from_a_file_that_its_owner_alone_reads(tmp_path):
    """Relative to the YAML file; a file that others can read is refused."""
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    file.chmod(0o600)
    text = "jellyfin:\n  url: http://10.0.0.2:8096/\n  api_key_file: key\n"
    loaded = load(tmp_path, text)
    assert loaded.config.jellyfin.url == "http://10.0.0.2:8096"
    assert loaded.config.jellyfin.api_key.get_secret_value() == KEY
    assert KEY in loaded.secrets
    assert KEY not in repr(loaded)
    assert KEY not in loaded.config.model_dump_json()

    file.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        load(tmp_path, text)


def test_from_a_variable_that_no_child_inherits(tmp_path):
    """It is taken out of the environment."""
    environ = {"JELLYFIN_KEY": KEY}
    loaded = load(tmp_path, "jellyfin:\n  url: http://j:1\n  api_key_env: JELLYFIN_KEY\n", environ)
    assert loaded.config.jellyfin.api_key.get_secret_value() == KEY
    assert environ == {}
    with pytest.raises(ConfigError, match="JELLYFIN_KEY is not set"):
        load(tmp_path, "jellyfin:\n  url: http://j:1\n  api_key_env: JELLYFIN_KEY\n")


def test_from_a_credential_of_systemd(tmp_path):
    """As LoadCredential= gives it."""
    (tmp_path / "jellyfin").write_text(KEY)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    loaded = load(tmp_path, "jellyfin:\n  url: http://j:1\n  api_key_credential: jellyfin\n", environ)
    assert loaded.config.jellyfin.api_key.get_secret_value() == KEY


def test_not_from_the_yaml_file(tmp_path):
    """Nor is it shown in the message that says so."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"jellyfin:\n  url: http://j:1\n  api_key: {KEY}\n")
    assert "does not belong into this file" in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("more", ["", "  api_key_env: A\n  api_key_file: b\n"])
def test_an_address_needs_exactly_one_place(tmp_path, more):
    """None and two are refused."""
    with pytest.raises(ConfigError, match="exactly one of api_key_file"):
        load(tmp_path, f"jellyfin:\n  url: http://j:1\n{more}")


def test_without_an_address_nothing_is_read(tmp_path):
    """A key file that is not there is no trouble then."""
    assert load(tmp_path, "jellyfin:\n  api_key_file: missing\n").config.jellyfin.api_key is None
