"""From SPEC files and --set to a SPEC, and what is said of those that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.specfile import literal, load_spec
from tasks.contract.errors import SpecError

TOML = """
name = "trial"
[source]
uri = "table.parquet"
[roles]
treatment = "drug"
outcome = "score"
"""
YAML = "name: trial\nsource: {uri: table.parquet}\nroles: {treatment: drug, outcome: score}\n"


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "spec.toml"
    path.write_text(TOML)
    return path


def test_toml_and_yaml_mean_the_same(toml: Path, tmp_path: Path) -> None:
    yaml = tmp_path / "spec.YML"
    yaml.write_text(YAML)
    assert load_spec(yaml, []) == load_spec(toml, [])
    assert load_spec(toml, []).roles.treatment == "drug"


def test_set_takes_toml_values_and_bare_words_and_the_last_wins(toml: Path) -> None:
    settings = ["release.rows=5_000", "covariates.synthesizer=copula", "gates.fidelity=false", 'roles.covariates=["age", "a b"]']
    spec = load_spec(toml, [*settings, "release.rows=600", "roles.treated=yes please"])
    assert spec.release.rows == 600
    assert spec.covariates.synthesizer == "copula"
    assert spec.gates.fidelity is False
    assert spec.roles.covariates == ("age", "a b")
    assert spec.roles.treated == "yes please"


def test_store_overrides_whatever_its_characters(toml: Path) -> None:
    assert load_spec(toml, ["store.uri=one"], 'two "three" \\four').store.uri == 'two "three" \\four'


@pytest.mark.parametrize(
    ("text", "value"), [("1", 1), ("1.5", 1.5), ("true", True), ('"1"', "1"), ("forest", "forest"), ("", ""), ("[1, 2]", [1, 2])]
)
def test_literal(text: str, value: object) -> None:
    assert literal(text) == value
    assert type(literal(text)) is type(value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("release.rows", "--set must be KEY=VALUE"),
        ("=5", "--set must be KEY=VALUE"),
        ("release..rows=5", "--set must be KEY=VALUE"),
        ("name.x=5", "'name.x' goes below 'name', which is a value"),
        ("release.rows=0", "release.rows of SPEC must be valid"),
        ("release.rows=-1", "release.rows of SPEC must be valid"),
        ("release.rows=many", "release.rows of SPEC must be valid"),
        ("release.row=5", "release.row of SPEC must be a known key"),
        ("name=Upper", "name of SPEC must be valid"),
        ("name=rejected", "reserved"),
        ("gates.fidelity=true", "gates.fidelity of SPEC must be valid"),
        ("engine.dask=yarn", "engine.dask of SPEC must be valid"),
        ("release.copies=inf", "release.copies of SPEC must be valid"),
    ],
)
def test_a_wrong_setting(toml: Path, setting: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(toml, [setting])
    assert message in str(error.value)
    assert error.value.exit_code == 2


def test_the_nearest_known_key_is_suggested(toml: Path) -> None:
    with pytest.raises(SpecError) as error:
        load_spec(toml, ["release.row=5", "sede=1"])
    assert "'rows'" in error.value.hint
    assert "'seed'" in error.value.hint


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.toml", None, "must be a file that exists"),
        ("spec.json", b"{}", "must end in .toml, .yaml or .yml"),
        ("spec.toml", b"name = ", "must be valid TOML"),
        ("spec.toml", b"\xff\xfe", "must be UTF-8"),
        ("spec.yaml", b"a: [1\nb: 2", "must be valid YAML"),
        ("spec.yaml", b"- 1\n- 2", "must be a mapping"),
        ("spec.yaml", b"", "must be a mapping"),
        ("spec.yaml", b"!!python/object/apply:os.system ['true']", "must be valid YAML"),
        ("spec.toml", b"", "name of SPEC must be given"),
    ],
)
def test_a_file_that_is_no_spec(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError) as error:
        load_spec(path, [])
    assert message in error.value.message


def test_a_folder_is_no_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="must be readable"):
        load_spec(tmp_path, [])
