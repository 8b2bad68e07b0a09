# SPDX-License-Identifier: MIT
"""PURE: the section ``auth``: who may play, and who may look and change."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from tgsyncd.config.section import Section
from tgsyncd.config.values import LocalPath, Name


class Auth(Section):
    """Who may play and who may change things."""

    playback: Literal["auto", "open", "signed"] = Field(
        default="auto",
        description="`open`: who reaches the server can play. `signed`: a `.strm` carries a capability "
        "for its video. `auto`: `tgsyncd run` signs, `serve` and `upload` by hand do not.",
    )
    admin_token_file: LocalPath | None = Field(
        default=None,
        description="File with the token that deleting over HTTP needs (mode 0600), and, while playback is "
        "signed, `/videos`, `/debug` and `/metrics` too; `tgsyncd auth token` makes one. Without a token "
        "nobody may.",
    )
    admin_token_credential: Name | None = Field(
        default=None,
        description="Name of a systemd credential (`LoadCredential=`) that holds that token instead.",
    )
    admin_token: SecretStr | None = Field(
        default=None, exclude=True, repr=False, description="Filled in when the file is read."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.admin_token_file is not None and self.admin_token_credential is not None:
            raise ValueError("name one of admin_token_file and admin_token_credential")
        return self
