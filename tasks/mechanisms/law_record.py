"""The record of an outcome's law: plain JSON that a release carries, so that outcomes can be drawn again without its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from tasks.contract.errors import StoreError
from tasks.contract.nuisance import Float64
from tasks.contract.registry import names, resolve
from tasks.mechanisms.laws.protocol import LawMethod, OutcomeLaw

FORMAT: Literal["waymint-law/1"] = "waymint-law/1"
#: Kinds of records that are not called by the name of their method: the first version had these.
METHODS = {"count": "negative_binomial", "continuous": "scale"}


def law_bytes(law: OutcomeLaw) -> bytes:
    """Write a law as JSON.

    Parameters
    ----------
    law : OutcomeLaw

    Returns
    -------
    bytes
        UTF-8, keys sorted. Numbers stand in the shortest form that reads back as the same float64, so the law read back draws the
        same bytes. There is no row of the source in it: every number rests on at least five rows.
    """
    method: LawMethod = resolve("law", law.key)
    return json.dumps({"format": FORMAT, **method.write(law)}, sort_keys=True, allow_nan=False).encode()


def outcome_laws_bytes(laws: Mapping[str, OutcomeLaw], correlations: Mapping[str, Float64] | None) -> bytes:
    """Write the laws of several outcomes of a copy as JSON.

    Parameters
    ----------
    laws : mapping
        By the name of the outcome.
    correlations : mapping, optional
        By arm, the correlations of the normal scores that outcomes are driven by, shape (p, p).

    Returns
    -------
    bytes
        UTF-8, keys sorted: ``outcomes`` (``outcome`` and ``law``, each of :func:`law_bytes`) and ``ranks`` (by arm).
    """
    outcomes = [{"outcome": name, "law": json.loads(law_bytes(law))} for name, law in laws.items()]
    ranks = {label: np.round(matrix, 6).tolist() for label, matrix in (correlations or {}).items()}
    return json.dumps({"outcomes": outcomes, "ranks": ranks}, sort_keys=True, allow_nan=False).encode()


def read_law(values: dict[str, Any], owner: str) -> OutcomeLaw:
    """Read what :func:`law_bytes` wrote.

    Parameters
    ----------
    values : dict
        Its JSON object.
    owner : str
        What it belongs to, for the error's text.

    Returns
    -------
    OutcomeLaw

    Raises
    ------
    StoreError
        If it is of another format, or incomplete.
    """
    body = dict(values)
    kind = body.get("kind")
    name = METHODS.get(kind, kind) if isinstance(kind, str) else None
    if body.pop("format", None) != FORMAT or name not in names("law"):
        raise _faulty(owner, ["kind" if values.get("format") == FORMAT else "format"])
    method: LawMethod = resolve("law", name)
    try:
        return method.read(body)
    except ValidationError as error:
        raise _faulty(owner, sorted({".".join(str(part) for part in fault["loc"]) or "law" for fault in error.errors()})) from None


def _faulty(owner: str, faults: list[str]) -> StoreError:
    return StoreError(
        f"law of {owner} must be of format '{FORMAT}' and complete; got faults in {', '.join(faults[:5])}.",
        "A newer waymint may have written it.",
    )
