"""Codebook, Data Package, Croissant and data contract: complete, valid by the formats' own validators, silent on small counts."""

from __future__ import annotations

import csv
import io
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tasks.contract.errors import SpecError
from tasks.contract.gates import GATES
from tasks.contract.spec import parse_spec
from tasks.publish.descriptions.codebook import Level, as_csv, as_html, codebook
from tasks.publish.descriptions.files import descriptions
from tasks.publish.descriptions.labels import label_faults
from tasks.publish.manifest import Manifest
from tests.publishing import OLD_MANIFEST as OLD
from tests.publishing import old_manifest
from tests.reporting import HOSTILE, schema

LABELS = {
    "x": {"label": "Body <b>mass</b>", "unit": "kg"},
    "site": {"label": "Hospital", "values": {"north": "Northern"}},
    "drug": {"label": "Drug", "values": {"0": "placebo", "1": "verum"}},
}
ABOUT = {"title": "A trial", "description": "Patients.", "licence": "CC-BY-4.0", "creators": ["Clinic A", "Clinic B"]}


def with_column(name: str, **values: Any) -> Manifest:
    """Return the manifest with one column of its table changed."""
    columns = [{**column, **values} if column["name"] == name else column for column in OLD["schema"]["columns"]]
    return Manifest.model_validate({**OLD, "schema": {**OLD["schema"], "columns": columns}})


def test_the_codebook_names_every_column_once() -> None:
    entries = codebook(old_manifest())
    assert [entry.column for entry in entries if entry.role != "truth"] == [column["name"] for column in OLD["schema"]["columns"]]
    by_name = {entry.column: entry for entry in entries}
    assert [level.value for level in by_name["site"].levels] == ["north", "south", "west"]
    assert by_name["lab"].missing == pytest.approx(188 / 900)
    assert (by_name["x"].type, by_name["x"].logical, by_name["x"].kind, by_name["x"].decimals) == ("double", "number", "continuous", 2)
    assert by_name["drug"].drawn == f"design '{OLD['spec']['mechanisms']['treatment']}'"
    assert [level.value for level in by_name["drug"].levels] == ["0", "1"]
    assert by_name["score"].role == "outcome"
    rows = list(csv.DictReader(io.StringIO(as_csv(entries).decode())))
    assert [row["column"] for row in rows] == list(by_name)
    assert (rows[0]["decimals"], rows[1]["levels"]) == ("2", "north; south; west")


@pytest.mark.parametrize(("missing", "text"), [(0, "0"), (1, "fewer than 5 cells"), (4, "fewer than 5 cells"), (5, "0.00555556")])
def test_a_small_count_of_missing_cells_is_not_given_away(missing: int, text: str) -> None:
    for count in {missing, OLD["schema"]["rows"] - missing} if 0 < missing < 5 else {missing}:
        record = with_column("lab", missing=count)
        rows = {row["column"]: row for row in csv.DictReader(io.StringIO(as_csv(codebook(record)).decode()))}
        assert rows["lab"]["missing"] == text
        for content in descriptions(record).values():
            assert b"%d missing" % count not in content


def test_no_description_gives_away_a_range() -> None:
    record = with_column("x", low=-12.345678, high=98.765432)
    for content in descriptions(record).values():
        assert b"12.345678" not in content
        assert b"98.765432" not in content


def test_columns_that_waymint_adds_are_described_where_they_are_released() -> None:
    release = {**OLD["spec"]["release"], "include_nuisances": True}
    entries = codebook(old_manifest(release=release))
    assert [entry.column for entry in entries[-3:]] == ["waymint_g", "waymint_q0", "waymint_q1"]
    assert {entry.role for entry in entries[-3:]} == {"truth"}
    plain = codebook(old_manifest(release={**release, "include_nuisances": False}))
    assert len(plain) == len(entries) - 3
    arms = {**OLD["schema"], "arms": ["0", "1", "2"]}
    several = codebook(Manifest.model_validate({**OLD, "schema": arms, "spec": {**OLD["spec"], "release": release}}))
    assert [entry.column for entry in several[len(plain) :]] == [f"waymint_{name}" for name in ("g1", "g2", "q0", "q1", "q2")]
    augmented = codebook(Manifest.model_validate({**OLD, "profile": "augment"}))
    assert [(entry.column, entry.logical) for entry in augmented[len(plain) :]] == [("waymint_added", "boolean")]


def test_labels_of_the_spec_reach_every_description_and_are_escaped() -> None:
    record = old_manifest(labels=LABELS, about=ABOUT)
    entries = codebook(record)
    assert (entries[0].label, entries[0].unit, entries[1].levels[0]) == ("Body <b>mass</b>", "kg", Level("north", "Northern"))
    page = as_html(entries, record).decode()
    assert "Body &lt;b&gt;mass&lt;/b&gt;" in page
    assert "north = Northern" in page
    assert "20.9 %" in page
    assert "Codebook of A trial" in page
    texts = {path: content.decode() for path, content in descriptions(record).items()}
    assert all("Hospital" in text and "Northern" in text for text in texts.values())
    assert all("CC-BY-4.0" in texts[path] and "Clinic B" in texts[path] for path in ("datapackage.json", "croissant.json", "odcs.yaml"))
    package = json.loads(texts["datapackage.json"])
    drug = next(field for field in package["resources"][0]["schema"]["fields"] if field["name"] == "drug")
    assert drug["categories"] == [{"value": 0, "label": "placebo"}, {"value": 1, "label": "verum"}]
    assert drug["constraints"] == {"required": True, "enum": [0, 1]}


def test_many_levels_are_cut_on_the_page_only() -> None:
    record = with_column("site", levels=[f"site {number:03d}" for number in range(200)])
    content = descriptions(record)
    page = content["codebook.html"].decode()
    assert ("site 029" in page, "site 030" in page, "and 170 more" in page) == (True, False, True)
    assert b"site 199" in content["codebook.csv"]


def test_the_same_manifest_gives_the_same_bytes() -> None:
    assert descriptions(old_manifest()) == descriptions(Manifest.model_validate(json.loads(json.dumps(OLD))))


def test_the_data_package_is_valid() -> None:
    from frictionless import Package

    package = Package.from_descriptor(json.loads(descriptions(old_manifest(labels=LABELS, about=ABOUT))["datapackage.json"]))
    (resource,) = package.resources
    assert [resource.path, *resource.extrapaths] == [file.path for file in old_manifest().files if file.path.startswith("data/")]
    assert resource.schema.field_names == [entry.column for entry in codebook(old_manifest())]
    assert resource.schema.get_field("day").type == "datetime"


def test_the_croissant_is_valid(tmp_path: Path) -> None:
    import mlcroissant

    path = tmp_path / "croissant.json"
    path.write_bytes(descriptions(old_manifest(about=ABOUT))["croissant.json"])
    dataset = mlcroissant.Dataset(path)
    assert dataset.metadata.issues.errors == set()
    assert dataset.metadata.issues.warnings == set()
    (records,) = dataset.metadata.record_sets
    assert [field.name for field in records.fields] == [entry.column for entry in codebook(old_manifest())]


def test_the_data_contract_is_valid_and_its_rules_are_the_gates() -> None:
    from open_data_contract_standard.model import OpenDataContractStandard

    content = descriptions(old_manifest(labels=LABELS, about=ABOUT))["odcs.yaml"]
    contract = yaml.safe_load(content)
    standard = json.loads(files("open_data_contract_standard").joinpath("schema.json").read_text("utf-8"))
    jsonschema.Draft201909Validator(standard).validate(contract)
    assert OpenDataContractStandard.from_string(content.decode()).apiVersion == "v3.1.0"
    rows, *rules = contract["schema"][0]["quality"]
    assert (rows["metric"], rows["mustBe"]) == ("rowCount", old_manifest().rows)
    gates = [gate for gate in old_manifest().gates if gate.status != "off"]
    assert [rule["name"] for rule in rules] == [gate.name for gate in gates]
    assert [rule["implementation"]["threshold"] for rule in rules] == [gate.threshold for gate in gates]
    titles = {row.name: row.title for row in GATES}
    assert all(rule["description"].startswith(titles[rule["name"]]) for rule in rules)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft201909Validator(standard).validate(
            {**contract, "schema": [{**contract["schema"][0], "quality": [{"type": "custom"}]}]}
        )


def test_a_label_of_a_column_that_is_not_released_is_refused() -> None:
    table = schema()
    spec = {"name": "trial", "source": {"uri": "trial.csv"}, "roles": {"treatment": "drug", "outcome": "score"}}
    first = table.columns[0].name
    labelled = parse_spec({**spec, "labels": {first: "A column", "waymint_g": "Propensity", "nothing": {"unit": "kg"}}})
    assert labelled.labels[first].label == "A column"
    (fault,) = label_faults(labelled, table)
    assert fault.message == "labels.nothing of SPEC must name a released column; got 'nothing'."
    assert first in fault.hint
    with pytest.raises(SpecError, match=r"labels\.x\.units"):
        parse_spec({**spec, "labels": {"x": {"units": "kg"}}})


def test_hostile_names_stay_valid_in_every_format(tmp_path: Path) -> None:
    import mlcroissant
    from frictionless import Package

    table = schema()
    texts = {column.name: {"label": f"{HOSTILE} label", "unit": "<&>"} for column in table.columns}
    record = old_manifest(table=table.model_dump(mode="json"), labels=texts, about={"title": HOSTILE, "creators": [HOSTILE]})
    content = descriptions(record)
    (tmp_path / "croissant.json").write_bytes(content["croissant.json"])
    dataset = mlcroissant.Dataset(tmp_path / "croissant.json")
    assert dataset.metadata.issues.errors == set()
    names = [entry.column for entry in codebook(record)]
    assert [field.name for field in dataset.metadata.record_sets[0].fields] == names
    assert Package.from_descriptor(json.loads(content["datapackage.json"])).resources[0].schema.field_names == names
    assert [each["name"] for each in yaml.safe_load(content["odcs.yaml"])["schema"][0]["properties"]] == names
    assert b"<script>" not in content["codebook.html"]
