"""The SPEC: what it refuses, what it says then, and what its digest stands for."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from tasks.contract.errors import SpecError
from tasks.contract.spec import GatesSpec, Spec, parse_spec

ROOT = Path(__file__).resolve().parents[2]
PLAIN: dict[str, Any] = {"name": "nhefs", "source": {"uri": "builtin:nhefs"}, "roles": {"treatment": "qsmk", "outcome": "wt82_71"}}


def changed(**values: Any) -> dict[str, Any]:
    """Return the plain SPEC with dotted keys (double underscores) set."""
    spec = copy.deepcopy(PLAIN)
    for dotted, value in values.items():
        *sections, key = dotted.split("__")
        place = spec
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = value
    return spec


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_is_a_spec(path: Path) -> None:
    spec = parse_spec(tomllib.loads(path.read_text()))
    assert spec.name == path.stem
    assert spec.store.uri == "file://./releases"


def test_three_keys_are_enough() -> None:
    spec = parse_spec(PLAIN)
    assert (spec.release.rows, spec.release.mode, spec.mechanisms.treatment, spec.covariates.synthesizer) == (
        10_000,
        "hybrid",
        "randomized",
        "auto",
    )


def test_auto_is_the_chain_from_a_million_rows_on() -> None:
    own = parse_spec(PLAIN).covariates
    assert [own.resolved(rows).synthesizer for rows in (1_000, 999_999, 1_000_000)] == ["forest", "forest", "chain"]
    named = parse_spec(changed(covariates__synthesizer="copula")).covariates
    assert named.resolved(2_000_000) == named
    with pytest.raises(SpecError, match="named"):
        parse_spec(changed(covariates={"params": {"trees": 5}}))


@pytest.mark.parametrize(
    ("values", "key", "hint"),
    [
        (changed(relase={"rows": 1}), "relase of SPEC", "'release'"),
        (changed(release__row=1), "release.row of SPEC", "'rows'"),
        (changed(release__rows=0), "release.rows of SPEC", ""),
        (changed(release__mode="half"), "release.mode of SPEC", ""),
        (changed(source__holdout=0.9), "source.holdout of SPEC", ""),
        (changed(source__holdout=float("nan")), "source.holdout of SPEC", ""),
        (changed(mechanisms__probability=1), "mechanisms.probability of SPEC", ""),
        (changed(mechanisms__truncation=0.5), "mechanisms of SPEC", ""),
        (changed(mechanisms__outcome_range=[2, 1]), "mechanisms of SPEC", ""),
        (changed(outcomes={"wt82_71": {"range": [2, 1]}}), "outcomes.wt82_71 of SPEC", ""),
        (changed(outcomes={"wt82": {"law": "tilt"}}), "outcomes must be named in roles.outcome", ""),
        (changed(outcomes={"wt82_71": {"kind": "count"}}, roles__outcome_kind="continuous"), "must be that of roles.outcome_kind", ""),
        (changed(engine__dask="spark"), "engine.dask of SPEC", ""),
        (changed(name="NHEFS"), "name of SPEC", ""),
        (changed(name="a/b"), "name of SPEC", ""),
        (changed(name="rejected"), "name of SPEC", ""),
        (changed(seed=-1), "seed of SPEC", ""),
        (changed(roles__outcome="qsmk"), "roles of SPEC", ""),
        (changed(roles__covariates=["age", "age"]), "roles of SPEC", ""),
        (changed(roles__covariates=["age", "qsmk"]), "roles of SPEC", ""),
        (changed(roles__covariates=[]), "roles of SPEC", ""),
        ({"name": "x", "roles": PLAIN["roles"]}, "source of SPEC must be given.", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_fault_is_told_by_its_key(values: dict[str, Any], key: str, hint: str) -> None:
    with pytest.raises(SpecError) as refusal:
        parse_spec(values)
    assert key in refusal.value.message
    assert hint in refusal.value.hint
    assert refusal.value.hint
    assert refusal.value.exit_code == 2
    assert "pydantic" not in str(refusal.value).lower()


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SpecError) as refusal:
        parse_spec(changed(release__rows=0, source__holdout=2, seed="many"))
    assert all(key in refusal.value.message for key in ("release.rows", "source.holdout", "seed"))


def test_a_long_value_is_cut_short_in_the_message() -> None:
    with pytest.raises(SpecError) as refusal:
        parse_spec(changed(release__mode="x" * 500))
    assert len(refusal.value.message) < 300


def test_a_spec_is_frozen() -> None:
    spec = parse_spec(PLAIN)
    with pytest.raises(ValidationError):
        spec.release.rows = 5  # type: ignore[misc]  # the point of the test


def test_json_and_back_is_the_same_spec() -> None:
    spec = parse_spec(
        changed(roles__covariates=["age", "sex"], gates__near_copies=False, mechanisms__truncation=0.02, roles__treated="yes")
    )
    assert Spec.model_validate(json.loads(spec.model_dump_json())) == spec
    assert Spec.model_validate(json.loads(spec.model_dump_json())).digest() == spec.digest()


class TestDigest:
    def test_defaults_written_out_change_nothing(self) -> None:
        assert parse_spec(changed(release__rows=10_000, source__holdout=0.3)).digest() == parse_spec(PLAIN).digest()

    def test_where_and_how_change_nothing(self) -> None:
        elsewhere = changed(store__uri="s3://bucket/a", engine__workers=7, engine__dask="threads", engine__workspace="/tmp/x")
        assert parse_spec(elsewhere).digest() == parse_spec(PLAIN).digest()

    @pytest.mark.parametrize(
        "values",
        [
            changed(seed=1),
            changed(name="other"),
            changed(release__rows=9_999),
            changed(release__copies=2),
            changed(source__holdout=0.31),
            changed(roles__treated="1"),
            changed(roles__subgroups=["sex"]),
            changed(mechanisms__params={"depth": 3}),
            changed(gates__source_overlap=False),
        ],
        ids=["seed", "name", "rows", "copies", "holdout", "label type", "subgroups", "params", "gate"],
    )
    def test_what_decides_the_bytes_changes_it(self, values: dict[str, Any]) -> None:
        assert parse_spec(values).digest() != parse_spec(PLAIN).digest()

    def test_it_is_the_same_in_another_process(self) -> None:
        program = f"from tasks.contract.spec import parse_spec; print(parse_spec({PLAIN!r}).digest())"
        for hash_seed in ("1", "2"):
            environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
            result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
            assert result.stdout.strip() == parse_spec(PLAIN).digest()


SWITCH = {"const": False, "type": "boolean"}
GATES = sorted(name for name, shape in GatesSpec.model_json_schema()["properties"].items() if SWITCH in shape.get("anyOf", ()))


@pytest.mark.parametrize("gate", GATES)
def test_only_false_switches_a_gate_off(gate: str) -> None:
    assert getattr(parse_spec(changed(**{f"gates__{gate}": False})).gates, gate) is False
    with pytest.raises(SpecError, match=rf"gates\.{gate} of SPEC"):
        parse_spec(changed(**{f"gates__{gate}": True}))
    try:
        kept = getattr(parse_spec(changed(**{f"gates__{gate}": 0})).gates, gate)
    except SpecError:
        return  # 0 is out of this gate's bounds, and that is said: it is not taken for "off"
    assert kept == 0
    assert kept is not False


def test_there_are_gates_to_switch_off() -> None:
    assert {"near_copies", "closeness_z", "fidelity", "min_arm"} <= set(GATES)


def test_the_schema_describes_every_section() -> None:
    schema = Spec.model_json_schema()
    assert set(schema["properties"]) == set(Spec.model_fields)
    assert set(schema["required"]) == {"name", "source", "roles"}
    json.dumps(schema, allow_nan=False)


def test_an_outcomes_section_and_the_older_keys_say_the_same() -> None:
    assert parse_spec(changed()).outcome.model_dump(include={"kind", "law", "range"}) == {"kind": "auto", "law": "auto", "range": None}
    older = parse_spec(changed(mechanisms__outcome_range=[-50, 60], roles__outcome_kind="continuous"))
    newer = parse_spec(changed(outcomes={"wt82_71": {"range": [-50, 60], "kind": "continuous"}}))
    assert older.outcome == newer.outcome
    assert newer.declared_roles.outcome_kind == "continuous"
    assert newer.roles.outcome_kind == "auto"


def test_a_key_that_may_be_left_out_has_one_type_in_the_schema() -> None:
    """Forms show one field for it; null is still read, as manifests write it."""
    sections = Spec.model_json_schema()["$defs"]
    workspace = sections["EngineSpec"]["properties"]["workspace"]
    assert workspace["type"] == "string"
    assert not {"anyOf", "default"} & workspace.keys()
    assert sections["CsvSpec"]["properties"]["decimal"]["enum"] == [".", ","]
    assert parse_spec(changed(engine__workspace=None)).engine.workspace is None


@pytest.mark.parametrize(
    ("release", "allowed"),
    [
        ({"draws": "balanced", "mode": "full"}, False),
        ({"draws": "balanced"}, True),
        ({"include_nuisances": True, "mode": "full"}, False),
        ({"include_nuisances": False, "mode": "full"}, True),
        ({"unchanged": "skip", "seed_from": "run"}, False),
        ({"unchanged": "skip"}, True),
    ],
)
def test_rules_between_keys_of_release_are_in_the_schema_too(release: dict[str, Any], allowed: bool) -> None:
    validator = jsonschema.Draft202012Validator(Spec.model_json_schema())
    values = {**PLAIN, "release": release}
    assert validator.is_valid(values) is allowed
    if allowed:
        parse_spec(values)
    else:
        with pytest.raises(SpecError):
            parse_spec(values)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.name)
def test_the_schema_takes_what_the_examples_say(path: Path) -> None:
    """A Prefect server validates by the schema alone; prefect.yaml's SPEC is an example."""
    values = tomllib.loads(path.read_text())
    faults = [fault.message for fault in jsonschema.Draft202012Validator(Spec.model_json_schema()).iter_errors(values)]
    assert faults == []
    parse_spec(values)
