"""What all sections of a SPEC have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, no silent NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _is_false(value: object) -> object:
    """Let false through and nothing that equals it: a threshold of 0 is a number."""
    if value is not False:
        raise ValueError("input should be a number, or false to switch the gate off")
    return value


Off = Annotated[Literal[False], BeforeValidator(_is_false)]
