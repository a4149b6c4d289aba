"""Write docs/spec.md: every key of a SPEC, from the models that validate it.

Usage: spec_reference.py [--check]. With ``--check`` nothing is written; exit code 1 means that the stored page is out of date.
"""

from __future__ import annotations

import json
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasks.contract.registry import EXTRAS, KINDS
from tasks.contract.spec import Spec

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "spec.md"

HEAD = """\
# SPEC reference

This page lists every key of a SPEC with its type, range, default and an example. A SPEC is a TOML or YAML file;
[examples/nhefs.toml](../examples/nhefs.toml) is a short one. Only `name`, `source.uri`, `roles.treatment` and
`roles.outcome` are required.

    waymint schema                                  # the same as JSON Schema
    waymint check SPEC                              # all faults of a SPEC and its table, without a run
    waymint release SPEC --set release.rows=5000    # change a key for one run; the value is TOML

An unknown key is an error. A range such as [0, 1) contains 0 and not 1. "—" means that the key has no default and may
be left out.

`.venv/bin/python .ci/spec_reference.py` writes this page from the models in `tasks/contract/spec/`.
"""

#: Tables by the name of a column: the heading of their example, and the model of one.
NAMED = {"outcomes": ("outcomes.score", "OutcomeSpec"), "labels": ("labels.age", "LabelSpec")}

#: Keys that do not stand beside the others of their table: they have an example of their own, headed by a sentence and these lines.
APART = {
    "outcomes.score": (frozenset({"event", "cause", "horizon", "times"}), "A time to event:", ["[outcomes.days]", 'kind = "survival"']),
    "roles": (frozenset({"outcomes", "visits"}), "Several outcomes:", ["[roles]", 'treatment = "drug"']),
}

#: Words of a section's heading, beside the model's docstring.
PARAMS = {
    "synthesizer": ("Parameters of synthesizers", "Keys of `[covariates.params]`, and of `params` in `compare.synthesizers`."),
    "learner": ("Parameters of learners", "Keys of `[mechanisms.params]`, and of `params` of a learner in `[simulate]`."),
}


def toml(value: Any) -> str:
    """Write a value as TOML on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + " }" if value else "{ }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= 10_000 and float(value).is_integer():
        return f"{int(value):_}"
    return json.dumps(value, ensure_ascii=False)


def code(value: Any) -> str:
    """Write a value as code in a cell of a table."""
    return f"`{toml(value)}`".replace("|", r"\|")


def bounds(schema: dict[str, Any]) -> str:
    """Return the range of a number, or an empty string."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    open_low, open_high = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
    if low is None and high is None:
        return ""
    if high is None:
        return f" {'>' if open_low else '≥'} {low:,}"
    ceiling = "2^63" if high == 2**63 else f"{high:,}"
    if low is None:
        return f" {'<' if open_high else '≤'} {ceiling}"
    return f" in {'(' if open_low else '['}{low:,}, {ceiling}{')' if open_high else ']'}"


def kind_of(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Say in words what values a schema allows."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return "a table" if definitions[name]["type"] == "object" else kind_of(definitions[name], definitions)
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(code(each) for each in schema["enum"])
    if "anyOf" in schema:
        kinds = [kind_of(each, definitions) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return "[" + ", ".join(kind_of(each, definitions) for each in schema["prefixItems"]) + "]"
        case "array":
            return f"list of {kind_of(schema['items'], definitions)}"
        case "object":
            inner = schema.get("additionalProperties")
            return f"table of {kind_of(inner, definitions)}" if isinstance(inner, dict) and inner else "table"
        case "string":
            return "text"
        case "boolean":
            return "`true`, `false`"
        case "number":
            return "number" + bounds(schema)
        case "integer":
            return "integer" + bounds(schema)
    return "any value"


def default_of(name: str, schema: dict[str, Any], model: dict[str, Any]) -> str:
    """Return the default of a key as a cell."""
    if name in model.get("required", ()):
        return "required"
    default = schema.get("default")
    return "—" if default is None or default == {} else code(default)


def rows_of(model: dict[str, Any], definitions: dict[str, Any], left_out: frozenset[str] = frozenset()) -> list[str]:
    """Return the table of a model's keys."""
    lines = ["| key | values | default | meaning |", "|---|---|---|---|"]
    for name, schema in model["properties"].items():
        if name not in left_out:
            meaning = schema["description"].replace("|", r"\|")
            lines.append(f"| `{name}` | {kind_of(schema, definitions)} | {default_of(name, schema, model)} | {meaning} |")
    return lines


def example_of(model: dict[str, Any], left_out: frozenset[str] = frozenset()) -> list[str]:
    """Return a line of TOML for each key: an example where the model has one, else the default."""
    lines = []
    for name, schema in model["properties"].items():
        value = schema["examples"][0] if "examples" in schema else schema.get("default")
        if name not in left_out and value is not None:
            lines.append(f"{name} = {toml(value)}")
    return lines


def section(
    heading: str, table: str, model: dict[str, Any], definitions: dict[str, Any], left_out: frozenset[str] = frozenset()
) -> list[str]:
    """Return the part of the page for one model."""
    about = [" ".join(model["description"].replace("``", "`").split())] if table else []
    header = [f"[{table}]"] if table else []
    apart, sentence, lines = APART.get(table, (frozenset(), "", []))
    example = ["```toml", *header, *example_of(model, left_out | apart), "```"]
    if apart:
        example += ["", sentence, "", "```toml", *lines, *example_of(model, frozenset(model["properties"]) - apart), "```"]
    return [f"## {heading}", "", *about, *([""] if about else []), *rows_of(model, definitions, left_out), "", "Example:", "", *example, ""]


def methods(kind: str) -> dict[str, type[BaseModel]]:
    """Return the parameters of every method of a kind by its key."""
    folder = import_module(KINDS[kind])
    return {each.name: import_module(f"{folder.__name__}.{each.name}").Params for each in pkgutil.iter_modules(folder.__path__)}


def params_of(kind: str) -> list[str]:
    """Return the part of the page for the parameters of a kind's methods."""
    title, about = PARAMS[kind]
    lines = [f"## {title}", "", about, ""]
    for name, params in methods(kind).items():
        extra = EXTRAS.get((kind, name))
        needs = f" It needs `pip install 'waymint[{extra[0]}]'`." if extra else ""
        schema = params.model_json_schema()
        if schema.get("properties"):
            lines += [f"### `{name}`", "", *([needs.strip(), ""] if needs else []), *rows_of(schema, schema.get("$defs", {})), ""]
        else:
            lines += [f"### `{name}`", "", f"It has no parameters.{needs}", ""]
    return lines


def page() -> str:
    """Return the page."""
    whole = Spec.model_json_schema()
    definitions = whole["$defs"]
    tables = {
        name: definitions[schema["$ref"].rsplit("/", 1)[1]]
        for name, schema in whole["properties"].items()
        if "$ref" in schema
    }  # fmt: skip
    names = list(whole["properties"])
    sections = frozenset(tables) | frozenset(NAMED)
    lines = [*HEAD.splitlines(), "", *section("Keys outside sections", "", whole, definitions, sections)]
    for name in names:
        if name in NAMED:
            example, model = NAMED[name]
            lines += section(f"`[{name}.NAME]`", example, definitions[model], definitions)
        elif name in tables:
            lines += section(f"`[{name}]`", name, tables[name], definitions)
        if name == "source":
            lines += section("`[source.csv]`", "source.csv", definitions["CsvSpec"], definitions)
        if name == "compare":
            lines += section("`[[compare.synthesizers]]`", "[compare.synthesizers]", definitions["Candidate"], definitions)
    for kind in PARAMS:
        lines += params_of(kind)
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write or check the page; return the exit code."""
    if "--check" in sys.argv:
        fresh = PAGE.exists() and PAGE.read_text() == page()
        sys.stdout.write("" if fresh else "docs/spec.md is not what the models give: python .ci/spec_reference.py\n")
        return 0 if fresh else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
