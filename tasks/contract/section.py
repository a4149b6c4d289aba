"""What all sections of a SPEC have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, no silent NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
