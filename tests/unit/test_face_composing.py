"""A SPEC from frames, dictionaries, files, URIs and keywords."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import waymint
from tasks.contract.spec import Spec, parse_spec
from tests.releasing import save, spec_of, table
from waymint.composing import composed
from waymint.results import Release


def compose(data: Any, spec: Any = None, settings: Any = None, **given: Any) -> Spec:
    with composed(data, spec, {key.replace("__", "."): value for key, value in given.items()}, settings) as whole:
        return whole


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAYMINT_HOME", str(tmp_path / "home"))


def test_a_spec_in_all_its_forms_is_the_same(tmp_path: Path) -> None:
    values = spec_of("x.csv", tmp_path)
    path = save(values, tmp_path / "spec.yaml")
    whole = parse_spec(values)
    assert compose(values) == compose(path) == compose(str(path)) == compose(whole) == whole


def test_a_spec_that_was_given_is_not_changed(tmp_path: Path) -> None:
    values = spec_of("x.csv", tmp_path)
    assert compose(values, settings={"release.rows": 77}).release.rows == 77
    assert values["release"]["rows"] == 500


def test_a_frame_with_two_names_is_enough() -> None:
    with composed(table(50), None, {"roles.treatment": "drug", "roles.outcome": "score"}, None) as spec:
        assert Path(spec.source.uri).exists()
        assert spec.name == "drug-score"
        assert spec.store.uri == "file://./releases"
        assert (spec.roles.treatment, spec.roles.outcome) == ("drug", "score")
    assert not Path(spec.source.uri).exists()


def test_a_frame_takes_the_place_of_the_specs_source(tmp_path: Path) -> None:
    spec = compose(table(50), spec_of("x.csv", tmp_path, source__holdout=0.4))
    assert spec.source.uri.endswith("frame.parquet")
    assert spec.source.holdout == 0.4
    assert spec.name == "trial"


def test_keywords_win_over_the_spec_and_settings_over_keywords(tmp_path: Path) -> None:
    values = spec_of("x.csv", tmp_path)
    assert compose(values, name="other").name == "other"
    assert compose(values, settings={"name": "third"}, name="other").name == "third"
    assert compose(values, name=None).name == "trial"


def test_a_uri_is_a_table() -> None:
    assert compose("builtin:nhefs", roles__treatment="qsmk", roles__outcome="wt82_71").source.uri == "builtin:nhefs"


def test_a_release_knows_its_roles(tmp_path: Path) -> None:
    release = Release({"uri": "file:///s/trial/v000001", "manifest": {"name": "trial", "version": 1, "spec": spec_of("x.csv", tmp_path)}})
    spec = compose(release)
    assert (spec.source.uri, spec.name, spec.roles.treatment) == ("file:///s/trial/v000001", "trial", "drug")


@pytest.mark.parametrize(
    ("data", "arguments", "message"),
    [
        ("x.csv", {}, "treatment must name a column; got nothing."),
        ("x.csv", {"roles__treatment": "a"}, "outcome must name a column; got nothing."),
        ({"name": "x", "rolls": {}}, {"roles__treatment": "a", "roles__outcome": "y"}, "rolls of SPEC must be a known key"),
        ({"name": object()}, {}, "SPEC must hold plain values"),
        ("none.toml", {}, "SPEC must be a file that exists; got 'none.toml'"),
        ({"name": "trial"}, {"settings": {"name.x": 1}}, "'name.x' goes below 'name', which is a value"),
        ({"name": "trial"}, {"spec": {"name": "trial"}}, "spec must be given once"),
    ],
)
def test_mistakes_name_the_key(data: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(waymint.SpecError) as caught:
        compose(data, **arguments)
    assert message in str(caught.value)


def test_a_frame_needs_workers_of_this_machine() -> None:
    with pytest.raises(waymint.SpecError, match="must be 'auto', 'local' or 'threads' for a frame"):
        compose(table(50), roles__treatment="drug", roles__outcome="score", settings={"engine.dask": "tcp://far:8786"})
