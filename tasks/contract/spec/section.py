"""What all sections of a SPEC have in common."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, no silent NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe a key that may be left out by the one type that it has where it is given: forms show one field."""
        schema = handler(core_schema)
        for field in handler.resolve_ref_schema(schema).get("properties", {}).values():
            kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
            if len(kinds) == 1 and field.get("default", ...) is None:
                del field["anyOf"], field["default"]
                field.update(kinds[0])
        return schema


def never_together(**values: object) -> dict[str, Any]:
    """Return the JSON Schema of a rule between keys of a section: not all of them have these values.

    A validator says the same to who reads errors; the schema lets a Prefect server refuse a run before it exists.
    """
    return {"not": {"properties": {key: {"const": value} for key, value in values.items()}, "required": list(values)}}


def _is_false(value: object) -> object:
    """Let false through and nothing that equals it: a threshold of 0 is a number."""
    if value is not False:
        raise ValueError("input should be a number, or false to switch the gate off")
    return value


Off = Annotated[Literal[False], BeforeValidator(_is_false)]
