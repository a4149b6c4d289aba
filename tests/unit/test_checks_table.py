"""The table of gates: what SPEC, verdict, manifest and accounts of the holdout make of each row.

``python -m tests.unit.test_checks_table`` writes the table of docs/gates.md anew.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

import tasks.contract.gates as table
from tasks.checks.evidence import Evidence
from tasks.checks.metric import gate, measure_all
from tasks.checks.table import markdown
from tasks.checks.verdict import advice, explain, outcome, private_numbers, tells_of_holdout, verdict_of
from tasks.contract.errors import SpecError
from tasks.contract.gates import GATES, GateRow, gate_row, gate_rows
from tasks.contract.results import Gate
from tasks.contract.spec import GatesSpec, Spec, parse_spec
from tasks.contract.spec.gates import section_of
from tasks.report.verdict import gate_rows as report_rows

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "gates.md"
BEGIN, END = "<!-- table of gates: begin -->\n", "\n<!-- table of gates: end -->"
PLAIN: dict[str, Any] = {"name": "nhefs", "source": {"uri": "builtin:nhefs"}, "roles": {"treatment": "qsmk", "outcome": "wt82_71"}}

#: What a key of each kind takes and refuses.
ACCEPTED = {
    "p-value": (0.5, False),
    "share": (0, 1, False),
    "positive": (7.5, False),
    "margin": (0, 0.9, False),
    "rows": (2, False),
    "count": (1, 1000, False),
    "switch": (True, False),
}
REFUSED = {
    "p-value": (0, 1, True),
    "share": (-0.1, 1.1, True),
    "positive": (0, True),
    "margin": (1, -0.1, True),
    "rows": (1, 2.5, True),
    "count": (0, 1001, 1.5),
    "switch": (0.5,),
}


class Fact(NamedTuple):
    """What is promised of a gate: written down once more, apart from the table."""

    family: str
    kind: str
    default: float | bool
    good: dict[str, float]
    bad: dict[str, float]
    unsure: dict[str, float] | None = None
    holdout: bool = False
    private: bool = False
    added: bool = True


def value(number: float) -> dict[str, float]:
    return {"value": number}


def span(number: float, low: float, high: float) -> dict[str, float]:
    return {"value": number, "low": low, "high": high}


def attack() -> Fact:
    return Fact("attack", "share", False, span(0.02, 0, 0.1), span(0.3, 0.11, 0.5), span(0.05, 0.02, 0.2), private=True)


FACTS = {
    "near_copies": Fact("distance", "p-value", 0.01, value(0.01), value(0.009), None, True, True),
    "exact_copies": Fact("distance", "p-value", 0.01, value(0.01), value(0.009), None, True, True),
    "closeness_z": Fact("distance", "positive", 2.33, value(2.33), value(2.34), None, True, True),
    "closeness_excess": Fact("distance", "share", 0.05, span(0, -0.05, 0.05), span(0.08, 0.051, 0.1), span(0, -0.01, 0.06), True, True),
    "closeness_groups": Fact("distance", "p-value", 0.01, value(0.01), value(0.009), None, True, True),
    "isolated_rows": Fact("distance", "p-value", 0.01, value(0.01), value(0.009), None, True, True),
    "holdout_budget": Fact("distance", "count", 10, value(1), value(0)),
    "holdout_query": Fact("distance", "positive", 4.0, value(4), value(4.1), private=True),
    "dcr_margin": Fact("distance", "margin", 0.2, value(0.8), span(0.79, 0.6, 0.99), span(0.79, 0.6, 1.0), True, True),
    "source_overlap": Fact("overlap", "share", 0.1, value(0.1), value(0.11), added=False),
    "release_overlap": Fact("overlap", "share", 0.1, value(0.1), value(0.11), added=False),
    "source_ess": Fact("overlap", "share", 0.2, value(0.2), value(0.19), added=False),
    "min_arm": Fact("overlap", "rows", 50, value(50), value(49), added=False),
    "calibration": Fact("law", "share", 0.05, value(0.05), value(0.06), added=False),
    "fidelity": Fact("law", "positive", 2.58, value(2.58), value(2.59), added=False),
    "outcome_law": Fact("law", "share", 0.05, span(0, 0, 0.05), span(0.08, 0.051, 0.1), span(0.05, 0, 0.06), added=False),
    "margins": Fact("law", "share", 0.05, value(0.05), value(0.06), added=False),
    "missingness": Fact("law", "share", 0.05, value(0.05), value(0.06), added=False),
    "rmst_fidelity": Fact("law", "positive", 3.5, value(3.5), value(3.6), added=False),
    "curve_distance": Fact("law", "share", 0.05, value(0.05), value(0.06), added=False),
    "event_share": Fact("law", "share", 0.05, value(0.05), value(0.06), added=False),
    "incidence_fidelity": Fact("law", "positive", 3.5, value(3.5), value(3.6), added=False),
    "incidence_distance": Fact("law", "share", 0.05, value(0.05), value(0.06), added=False),
    "cause_share": Fact("law", "share", 0.05, value(0.05), value(0.06), added=False),
    "support": Fact("form", "switch", True, value(0), value(1), added=False),
    "levels": Fact("form", "switch", True, value(0), value(1)),
    "columns": Fact("form", "switch", True, value(0), value(1)),
    "membership_tpr": attack(),
    "membership_auc": attack(),
    "attribute_advantage": attack(),
    "linkability_advantage": attack(),
    "singling_out_advantage": attack(),
}


def broken(rows: tuple[GateRow, ...]) -> Iterator[str]:
    """Tell which promises a table breaks; the table must be the one that is installed."""
    section = section_of(rows)
    names = [row.name for row in rows if row.section == "gates"]
    if sorted(names) != sorted(FACTS):
        yield "names"
        return
    given = section()
    attacks = {name: 0.1 for name, fact in FACTS.items() if fact.family == "attack"}
    if not all(accepts(section, name, threshold) for name, threshold in attacks.items()):
        yield "thresholds of attacks"
        return
    asked = section(**attacks)
    for name, fact in FACTS.items():
        row = gate_row(name)
        assert row is not None
        if row.family != fact.family:
            yield f"{name}: family"
        if row.asked_of_added_rows != fact.added:
            yield f"{name}: asked of added rows"
        if (getattr(given, name), type(getattr(given, name))) != (fact.default, type(fact.default)):
            yield f"{name}: default"
        for accepted in ACCEPTED[fact.kind]:
            if accepts(section, name, accepted) is False:
                yield f"{name}: refuses {accepted}"
        for refused in REFUSED[fact.kind]:
            if accepts(section, name, refused):
                yield f"{name}: takes {refused}"
        for expected, seen in (("pass", fact.good), ("fail", fact.bad), ("inconclusive", fact.unsure)):
            if seen is not None and outcome(gate(name, gates=asked, **seen)) != expected:
                yield f"{name}: {seen} is no {expected}"
        if "low" not in fact.good:  # far on the good side of the bound; no fault at all is meant by a switch
            beyond = value(fact.good["value"] - 10 * (fact.bad["value"] - fact.good["value"]))
            if outcome(gate(name, gates=asked, **beyond)) != ("fail" if fact.kind == "switch" else "pass"):
                yield f"{name}: {beyond}"
        failed = verdict_of(gate(name, gates=asked, **fact.bad))
        if tells_of_holdout([failed]) != fact.holdout:
            yield f"{name}: account of the holdout"
        if (name in private_numbers([failed])) != fact.private:
            yield f"{name}: section on privacy"


def accepts(section: type[Any], name: str, threshold: float) -> bool:
    """Tell whether a SPEC may hold a threshold."""
    try:
        section(**{name: threshold})
    except ValidationError:
        return False
    return True


def test_the_table_keeps_its_promises() -> None:
    assert list(broken(GATES)) == []


def test_defaults_are_those_of_the_oldest_manifest() -> None:
    old = json.loads((ROOT / "tests" / "data" / "manifest-0.1.0.json").read_text())
    now = GatesSpec().model_dump(mode="json")
    assert {name: now[name] for name in old["spec"]["gates"]} == old["spec"]["gates"]
    for each in old["gates"]:
        row = gate_row(each["name"])
        assert row is not None
        assert row.rule == each["rule"]
    assert set(old["privacy"]) - {"holdout"} == {each["name"] for each in old["gates"] if gate_row(each["name"]).private}  # type: ignore[union-attr]


def mutants() -> Iterator[tuple[str, tuple[GateRow, ...]]]:
    """Return tables that differ from the product's in one field of one row, or lack a row."""
    own = [row for row in GATES if row.section == "gates"]
    for row in own:
        changes: dict[str, list[Any]] = {
            "rule": [rule for rule in ("at most", "at least", "equal to") if rule != row.rule],
            "decision": [each for each in ("value", "interval", "ratio") if each != row.decision],
            "threshold": [kind for kind in ACCEPTED if kind != row.threshold],
            "family": [each for each in ("distance", "attack", "overlap", "law", "form") if each != row.family],
            "default": [not row.default] if isinstance(row.default, bool) else [row.default * 2, False],
            "asks_holdout": [not row.asks_holdout],
            "private": [not row.private],
            "asked_of_added_rows": [not row.asked_of_added_rows],
        }
        for field, values in changes.items():
            for each in values:
                mutant = dataclasses.replace(row, **{field: each})
                yield f"{row.name}.{field}={each}", tuple(mutant if other is row else other for other in GATES)
        yield f"without {row.name}", tuple(other for other in GATES if other is not row)


MUTANTS = dict(mutants())


@pytest.mark.parametrize("name", MUTANTS)
def test_no_row_can_change_unseen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "GATES", MUTANTS[name])
    assert list(broken(MUTANTS[name]))


def test_every_row_says_what_readers_need() -> None:
    for field in ("title", "expectation"):
        texts = [getattr(row, field) for row in GATES]
        assert all(texts)
        assert len(set(texts)) == len(texts)
    for row in GATES:
        assert row.description
        assert row.description[-1] not in ".;"
        assert row.advice.endswith((".", ")"))
        assert row.meaning.endswith(".")


def test_the_page_of_the_gates_holds_the_table() -> None:
    page = DOCS.read_text()
    assert page.split(BEGIN)[1].split(END)[0] == markdown(GATES)


def test_report_and_terminal_give_the_same_advice() -> None:
    bad = Gate(name="closeness_z", value=9.0, threshold=2.33, rule="at most", passed=False, status="failed", outcome="fail")
    (row,) = report_rows([bad.model_dump()])
    assert row["advice"] == advice(bad)
    assert advice(bad) in explain([bad])[-1]
    good = bad.model_copy(update={"passed": True, "status": "passed", "outcome": "pass"})
    assert report_rows([good.model_dump()])[0]["advice"] == ""


PLUGIN = '''"""A check from elsewhere: one row and one file."""

from pydantic import BaseModel

from tasks.checks.metric import gate
from tasks.contract.gates import GateRow


class Params(BaseModel):
    """None."""


GATES = (
    GateRow("drift", "law", "at most", "share", 0.25, "Drift", "How far it drifts.", "largest drift", "Drift less.", asks_holdout=True,
            private=True),
)


class Check:
    """Measures a constant."""

    def measure(self, evidence, gates):
        """Return it."""
        return [gate("drift", 0.5, gates, detail="a constant")]


def build(params):
    """Return the check."""
    return Check()
'''


@pytest.fixture
def drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "drifting.py").write_text(PLUGIN)
    info = tmp_path / "drifting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: drifting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[waymint.check]\ndrift = drifting\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("drifting", None)


@pytest.mark.usefixtures("drift")
def test_a_plug_in_adds_a_gate_with_one_row_and_one_file() -> None:
    assert [row.name for row in gate_rows()] == [row.name for row in GATES] + ["drift"]
    spec = parse_spec(PLAIN | {"gates": {"drift": 0.4, "fidelity": 3.0}})
    assert Spec.model_validate(json.loads(spec.model_dump_json())).digest() == spec.digest() != parse_spec(PLAIN).digest()
    (metric,) = measure_all(Evidence(), spec.gates)
    failed = verdict_of(metric)
    assert (failed.name, failed.threshold, failed.rule, failed.outcome) == ("drift", 0.4, "at most", "fail")
    assert measure_all(Evidence(), GatesSpec())[0].threshold == 0.25
    assert measure_all(Evidence(), GatesSpec(drift=False))[0].threshold is None
    assert "Drift less. gates.drift = false" in "\n".join(explain([failed]))
    assert (tells_of_holdout([failed]), private_numbers([failed])) == (True, {"drift": 0.5})
    shown = report_rows([failed.model_dump()])[0]
    assert (shown["title"], shown["meaning"], shown["advice"]) == ("Drift", "How far it drifts.", advice(failed))
    assert "| `gates.drift` | 0.25 | law | at most |" in markdown(gate_rows())
    schema = GatesSpec.model_json_schema()
    assert schema["properties"]["drift"]["default"] == 0.25
    assert schema["additionalProperties"] is False
    for values, text in (({"drift": 2}, "gates of SPEC must be valid: drift"), ({"drfit": 0.1}, "gates.drfit of SPEC must be a known key")):
        with pytest.raises(SpecError, match=re.escape(text)):
            parse_spec(PLAIN | {"gates": values})


if __name__ == "__main__":
    before, rest = DOCS.read_text().split(BEGIN)
    DOCS.write_text(before + BEGIN + markdown(GATES) + END + rest.split(END)[1])
