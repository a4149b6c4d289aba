"""From plain values to a SPEC, with errors that name key, value and rule."""

from __future__ import annotations

import difflib
import json
import math
from typing import Any

from pydantic import BaseModel, ValidationError

from tasks.contract.errors import SpecError
from tasks.contract.spec.whole import Spec


def parse_spec(values: dict[str, Any]) -> Spec:
    """Validate plain values into a SPEC, with an error that names key, value and rule.

    Parameters
    ----------
    values : dict
        As read from TOML, YAML or JSON.

    Returns
    -------
    Spec

    Raises
    ------
    SpecError
        With every fault listed; unknown keys get the nearest known one.
    """
    try:
        return Spec.model_validate(values)
    except ValidationError as error:
        faults, hints = [], []
        for fault in error.errors(include_url=False):
            where = [str(part) for part in fault["loc"] if not _is_branch(part)]
            key = ".".join(where)
            if fault["type"] == "extra_forbidden":
                faults.append(f"{key} of SPEC must be a known key; there is none of that name.")
                hints.append(_nearest(where))
            elif fault["type"] == "missing":
                faults.append(f"{key} of SPEC must be given.")
            else:
                text = fault["msg"].removeprefix("Value error, ")
                whose = f"{key} of SPEC" if key else "SPEC"
                faults.append(f"{whose} must be valid: {text[:1].lower()}{text[1:]}; got {_short(fault['input'])}.")
        # pydantic reports one fault per branch of a union: say each key once
        unique = list(dict.fromkeys(faults))
        raise SpecError(" ".join(unique), " ".join(h for h in dict.fromkeys(hints) if h) or "See 'waymint schema'.") from None


def _is_branch(part: object) -> bool:
    """Return whether a part of an error's location names a union branch and not a key."""
    text = str(part)
    return text in {"float", "int", "str", "bool", "constrained-float", "constrained-int"} or "[" in text


def _short(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _nearest(where: list[str]) -> str:
    """Suggest the known key closest to an unknown one."""
    model: type[BaseModel] = Spec
    for part in where[:-1]:
        field = model.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return ""
        model = field.annotation
    keys = list(model.model_fields)
    close = difflib.get_close_matches(where[-1], keys, n=1)
    return f"Did you mean '{close[0]}'?" if close else f"Known keys there: {', '.join(keys)}."
