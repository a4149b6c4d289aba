"""The SPEC's section of gates: one threshold for each row of the table, and what some of them are measured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, TypeAdapter, ValidationError, create_model, model_validator
from pydantic_core import CoreSchema, InitErrorDetails

from tasks.contract.gates import GATES, GateRow, gate_row, plugin_rows
from tasks.contract.gates.row import Threshold
from tasks.contract.spec.section import Off, Section

# bounds stand on the number, not on the field, where False would have to meet them; strict, so that true is no 1.0
_KINDS: Mapping[Threshold, Any] = {
    "p-value": Annotated[float, Field(gt=0, lt=1, strict=True)] | Off,
    "share": Annotated[float, Field(ge=0, le=1, strict=True)] | Off,
    "positive": Annotated[float, Field(gt=0, strict=True)] | Off,
    "margin": Annotated[float, Field(ge=0, lt=1, strict=True)] | Off,
    "rows": Annotated[int, Field(ge=2, strict=True)] | Off,
    "count": Annotated[int, Field(ge=1, le=1000, strict=True)] | Off,
    "switch": bool,
}


class GateSettings(Section):
    """Thresholds of the gates. ``false`` switches a gate off, and the manifest says so. docs/gates.md explains each number."""

    # a plug-in's key is not known here: the validator below lets it through, and no other
    model_config = ConfigDict(extra="allow")

    closeness_margin: float = Field(0.05, ge=0, lt=1, description="share of copied rows whose effect on closeness is allowed for")
    holdout_noise: float = Field(0.1, gt=0, le=10, description="noise scale sigma of Thresholdout, in units of holdout_query")
    min_reference_rows: int = Field(100, ge=20, description="fewest training rows, and fewest holdout rows, that distance gates need")
    distance_rows: int = Field(20_000, ge=100, description="most rows of each table that distance gates use (hash samples)")
    overlap_bound: float | Literal["auto"] = Field("auto", description='d of the overlap gates; "auto" is the truncation of mechanisms')
    inconclusive: Literal["warn", "fail"] = Field("warn", description="whether an inconclusive gate is a warning or a failure")

    @model_validator(mode="after")
    def _plugin_keys(self) -> GateSettings:
        """Validate the keys that belong to plug-ins by their rows; refuse all others."""
        extra: dict[str, Any] = self.__pydantic_extra__ or {}
        for name, value in extra.items():
            row = plugin_rows().get(name)
            if row is None:
                fault = InitErrorDetails(type="extra_forbidden", loc=(name,), input=value)
                raise ValidationError.from_exception_data("GatesSpec", [fault])
            try:
                extra[name] = TypeAdapter(_KINDS[row.threshold]).validate_python(value)
            except ValidationError as error:
                raise ValueError(f"{name} {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the keys of plug-ins too, and allow no others."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        for row in plugin_rows().values():
            threshold_schema = TypeAdapter(_KINDS[row.threshold]).json_schema()
            schema["properties"][row.name] = threshold_schema | {"default": row.default, "description": row.description}
        schema["additionalProperties"] = False
        return schema

    def value(self, row: GateRow) -> float | bool:
        """Return the value of a gate's key; False where it is switched off."""
        threshold: float | bool = getattr(self, row.name, row.default)
        return threshold

    def limit(self, name: str) -> float | None:
        """Return the limit of a gate's number, None where the gate is switched off.

        Parameters
        ----------
        name : str
            Of a row of the table.
        """
        row = gate_row(name)
        assert row is not None, name
        return row.limit(self.value(row))


def section_of(rows: tuple[GateRow, ...]) -> type[GateSettings]:
    """Return the section that has a key for each of the rows whose threshold stands in ``gates``."""
    keys: dict[str, Any] = {
        row.name: (_KINDS[row.threshold], Field(row.default, description=row.description)) for row in rows if row.section == "gates"
    }
    return create_model("GatesSpec", __base__=GateSettings, __module__=__name__, __doc__=GateSettings.__doc__, **keys)


if TYPE_CHECKING:

    class GatesSpec(GateSettings):
        """The section with all its keys; thresholds are read by :meth:`limit` and :meth:`value`."""

        def __init__(self, **values: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

else:
    GatesSpec = section_of(GATES)
