# SPDX-License-Identifier: MIT
"""PURE: what all parts of the configuration have in common."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Sequence

SEVERAL = "several_problems"
"""Type of the error that holds problems of several options."""


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse ``port: yes``, which Python would take for 1."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        each = value if isinstance(value, list) else [value]
        if any(isinstance(one, bool) for one in each) and _takes_numbers_only(annotation):
            raise ValueError("this must be a number, not true or false")
        return value


def _takes_numbers_only(annotation: object) -> bool:
    kinds = typing.get_args(annotation) or (annotation,)
    return bool({int, float} & {*kinds}) and bool not in kinds


def refuse(problems: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
    """
    Refuse what a validator looks at, for each of these problems; nothing happens without one.

    A problem is the option, as seen from the validator's own, and a sentence. Raises PydanticCustomError.
    """
    if problems:
        raise PydanticCustomError(SEVERAL, "several problems", {"problems": list(problems)})
