"""The record of an outcome's law: plain JSON that a release carries, so that outcomes can be drawn again without its source."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from tasks.contract.errors import StoreError
from tasks.mechanisms.residuals import ArmLaw, BinaryLaw, ContinuousLaw, CountLaw, OutcomeLaw
from tasks.mechanisms.scale import ScaleModel
from tasks.nuisance.design import CategoryTerm, Design, NumericTerm

FORMAT: Literal["waymint-law/1"] = "waymint-law/1"
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Binary(_Plain):
    format: Literal["waymint-law/1"] = FORMAT
    kind: Literal["binary"] = "binary"


class _Count(_Plain):
    format: Literal["waymint-law/1"] = FORMAT
    kind: Literal["count"] = "count"
    dispersion: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(min_length=2, max_length=2)


class _Arm(_Plain):
    centres: list[Number] = Field(min_length=1)
    spreads: list[Number]
    edges: list[Number]

    @model_validator(mode="after")
    def _even(self) -> _Arm:
        if not len(self.centres) == len(self.spreads) == len(self.edges):
            raise ValueError("centres, spreads and edges must be equally many")
        return self


class _Numeric(_Plain):
    column: str
    centre: Number
    scale: Positive
    fill: Number
    low: Number
    high: Number
    missing: Share | None
    square: list[Number] | None = Field(min_length=2, max_length=2)


class _Category(_Plain):
    column: str
    levels: list[str | None]
    shares: list[Share]


class _Scale(_Plain):
    numeric: list[_Numeric]
    category: list[_Category]
    coefficients: list[Number]
    low: Number
    high: Number

    @model_validator(mode="after")
    def _fits(self) -> _Scale:
        if any(len(group.levels) != len(group.shares) for group in self.category):
            raise ValueError("levels and shares of a category must be equally many")
        if len(self.coefficients) != 2 + 2 * _design(self).width:
            raise ValueError("coefficients must be those of the terms")
        return self


class _Continuous(_Plain):
    format: Literal["waymint-law/1"] = FORMAT
    kind: Literal["continuous"] = "continuous"
    arms: list[_Arm] = Field(min_length=2, max_length=2)
    scale: _Scale | None


_ANY: TypeAdapter[_Binary | _Count | _Continuous] = TypeAdapter(Annotated[_Binary | _Count | _Continuous, Field(discriminator="kind")])


def law_bytes(law: OutcomeLaw) -> bytes:
    """Write a law as JSON.

    Parameters
    ----------
    law : OutcomeLaw
        ``BinaryLaw``, ``CountLaw`` or ``ContinuousLaw``.

    Returns
    -------
    bytes
        UTF-8, keys sorted. Numbers stand in the shortest form that reads back as the same float64, so the law read back draws the
        same bytes. There is no row of the source in it: every number rests on at least five rows, see :class:`ArmLaw` and
        :func:`tasks.mechanisms.scale.fit_scale`.
    """
    return json.dumps(_record(law).model_dump(), sort_keys=True, allow_nan=False).encode()


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
    try:
        found = _ANY.validate_python(values)
    except ValidationError as error:
        faults = sorted({".".join(str(part) for part in fault["loc"]) or "law" for fault in error.errors(include_url=False)})
        raise StoreError(
            f"law of {owner} must be of format '{FORMAT}' and complete; got faults in {', '.join(faults[:5])}.",
            "A newer waymint may have written it.",
        ) from None
    if isinstance(found, _Binary):
        return BinaryLaw()
    if isinstance(found, _Count):
        return CountLaw((found.dispersion[0], found.dispersion[1]))
    control, treated = (ArmLaw(np.array(arm.centres), np.array(arm.spreads), np.array(arm.edges)) for arm in found.arms)
    of = found.scale
    return ContinuousLaw(None if of is None else ScaleModel(_design(of), np.array(of.coefficients), of.low, of.high), (control, treated))


def _record(law: OutcomeLaw) -> _Binary | _Count | _Continuous:
    if isinstance(law, BinaryLaw):
        return _Binary()
    if isinstance(law, CountLaw):
        return _Count(dispersion=list(law.dispersion))
    assert isinstance(law, ContinuousLaw)  # fit_law makes no other
    arms = [_Arm(centres=arm.centres.tolist(), spreads=arm.spreads.tolist(), edges=arm.edges.tolist()) for arm in law.arms]
    return _Continuous(arms=arms, scale=None if law.scale is None else _scale(law.scale))


def _scale(model: ScaleModel) -> _Scale:
    numeric = []
    for term in model.design.numeric:
        name, centre, scale, fill, low, high, missing, square = term
        pair = None if square is None else list(square)
        numeric.append(_Numeric(column=name, centre=centre, scale=scale, fill=fill, low=low, high=high, missing=missing, square=pair))
    category = [_Category(column=term.name, levels=list(term.levels), shares=list(term.shares)) for term in model.design.category]
    return _Scale(numeric=numeric, category=category, coefficients=model.coefficients.tolist(), low=model.low, high=model.high)


def _design(of: _Scale) -> Design:
    numeric = (
        NumericTerm(
            each.column,
            each.centre,
            each.scale,
            each.fill,
            each.low,
            each.high,
            each.missing,
            None if each.square is None else (each.square[0], each.square[1]),
        )
        for each in of.numeric
    )
    return Design(tuple(numeric), tuple(CategoryTerm(each.column, tuple(each.levels), tuple(each.shares)) for each in of.category))
