# SPDX-License-Identifier: MIT
"""PURE: the section that says where Jellyfin is, so that it can be told what was published."""

from __future__ import annotations

from typing import Self

from pydantic import Field, SecretStr, model_validator

from tgsyncd.config.section import Section
from tgsyncd.config.values import LocalPath, Name, Url


class JellyfinSection(Section):
    """The Jellyfin that shows the libraries. Its key comes from one of three places, never from this file."""

    url: Url | None = Field(
        default=None,
        description="Its address, for example `http://192.168.1.100:8096`. Empty: it is told nothing and "
        "finds new videos by its own scans.",
    )
    api_key_file: LocalPath | None = Field(
        default=None, description="File with an API key; only its owner may read it (mode 0600)."
    )
    api_key_env: Name | None = Field(default=None, description="Environment variable that holds the key.")
    api_key_credential: Name | None = Field(
        default=None, description="Name of a systemd credential (`LoadCredential=`) that holds the key."
    )
    probe_after_publish: bool = Field(
        default=True,
        description="Let Jellyfin look into each new video once, so that its duration and tracks are known "
        "before anybody presses Play.",
    )
    api_key: SecretStr | None = Field(
        default=None, exclude=True, repr=False, description="Filled in when the file is read."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        places = [self.api_key_file, self.api_key_env, self.api_key_credential, self.api_key]
        named = sum(place is not None for place in places)
        if self.url is not None and named != 1:
            raise ValueError("url needs exactly one of api_key_file, api_key_env and api_key_credential")
        return self
