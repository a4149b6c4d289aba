"""Who can read a release learns no count from 1 to 4: not from manifest, schema, codebook, report, warnings or the terminal."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flows.release import describe, mint
from tasks.contract.disclosure import FEW, SMALLEST_CELL, few, rounded, shown_count
from tasks.publish import signatures
from tasks.publish.descriptions.codebook import as_csv, codebook
from tasks.publish.manifest import Manifest
from tasks.publish.releases import verify
from tests.direct import directly, run_of

ROWS = 600
#: Keys under which records count rows of the source.
COUNTS = re.compile(r"^(rows|rows_used|dropped|missing|rare|n|rare_rows|arm\d|treated|control)$")


def planted() -> pd.DataFrame:
    """A table with three rows of everything: a level, a flag, missing cells, rows without an outcome."""
    rng = np.random.default_rng(11)
    sex = rng.choice(["f", "m"], ROWS)
    place = rng.choice(["north", "south", "west"], ROWS).astype(object)
    place[:2], place[2] = "PLANTEDHAMLET", "PLANTEDFARM"
    flag = np.arange(ROWS) % 200 == 7
    age = rng.integers(20, 80, ROWS).astype(float)
    age[[11, 12, 13]] = np.nan
    dose = (rng.integers(0, 4, ROWS)).astype(str)
    a = rng.integers(0, 2, ROWS)
    y = a + 0.02 * np.nan_to_num(age, nan=50) + rng.normal(size=ROWS)
    y[[21, 22, 23]] = np.nan
    return pd.DataFrame({"sex": sex, "place": place, "flag": flag, "age": age, "dose": dose, "a": a, "y": y.round(3)})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, str]:
    """The reply, the store, and what stood on the terminal; signed, as every release of this environment."""
    folder = tmp_path_factory.mktemp("counts")
    planted().to_parquet(folder / "source.parquet")
    (folder / "key").write_bytes(PRIVATE)
    (folder / "key").chmod(0o600)
    gates = dict.fromkeys(["near_copies", "exact_copies", "closeness_z", "closeness_excess", "closeness_groups", "dcr_margin"], False)
    values = {
        "name": "counts",
        "source": {"uri": str(folder / "source.parquet")},
        "roles": {"treatment": "a", "outcome": "y", "missing_outcome": "drop"},
        "covariates": {"synthesizer": "copula"},
        "mechanisms": {"learner": "glm", "folds": 2},
        "release": {"rows": 300, "include_nuisances": True},
        "gates": {**gates, "fidelity": False, "margins": False, "isolated_rows": False, "missingness": False, "outcome_law": False},
        "store": {"uri": str(folder / "store")},
    }
    patch = pytest.MonkeyPatch()
    patch.setenv("WAYMINT_SIGN_KEY", str(folder / "key"))
    patch.setenv("WAYMINT_HOME", str(folder / "home"))
    try:
        lines: list[str] = []
        patch.setattr("infra.logging.PlainDisplay.note", lambda self, text: lines.append(text))
        patch.setattr("infra.logging.PlainDisplay.warn", lambda self, text: lines.append(text))
        reply, _ = directly(mint, run_of(values, folder / "work"))
    finally:
        patch.undo()
    assert reply["status"] == "published", reply["manifest"]["gates"]
    return reply, folder / "store", "\n".join([*lines, *describe(reply)])


PRIVATE, PUBLIC = signatures.new_key_pair()


def counts(value: Any, path: str = "") -> Iterator[tuple[str, int]]:
    """Every whole number that stands under a key that counts rows."""
    if isinstance(value, dict):
        for key, each in value.items():
            if COUNTS.match(key) and isinstance(each, int) and not isinstance(each, bool):
                yield f"{path}.{key}", each
            yield from counts(each, f"{path}.{key}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from counts(each, f"{path}[{number}]")


def test_no_record_shows_a_small_count(release: tuple[dict[str, Any], Path, str]) -> None:
    manifest = release[0]["manifest"]
    shown = dict(counts({name: manifest[name] for name in ("source", "schema", "effects", "overlap", "fidelity")}))
    assert len(shown) > 20
    assert {path: count for path, count in shown.items() if 0 < count < SMALLEST_CELL - 1} == {}
    assert any(count == SMALLEST_CELL - 1 for count in shown.values())  # the planted ones are among them


def test_nothing_is_found_by_subtraction(release: tuple[dict[str, Any], Path, str]) -> None:
    profile = release[0]["manifest"]["source"]["profile"]
    assert (profile["rows_used"], profile["dropped"], profile["rows"]) == (597, 4, 601)
    columns = {column["name"]: column for column in profile["columns"]}
    for column in columns.values():
        if SMALLEST_CELL - 1 in (column["missing"], column["rare"]):
            assert all(count % 5 == 0 for count in (column["levels"] or {}).values()), column
    assert columns["flag"]["levels"] == {"false": 595}
    assert columns["flag"]["rare"] == 4
    assert columns["age"]["missing"] == 4
    assert columns["place"]["rare"] == 0  # three rows count to the most frequent level
    schema = {column["name"]: column for column in release[0]["manifest"]["schema"]["columns"]}
    assert "(other)" not in schema["place"]["levels"]
    assert schema["place"]["rare_into"] in ("north", "south", "west")


def test_no_file_names_what_few_rows_have(release: tuple[dict[str, Any], Path, str]) -> None:
    files = [path for path in release[1].rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        data = path.read_bytes()
        assert b"PLANTED" not in data, path
    for path in (path for path in files if path.suffix == ".html"):
        text = html.unescape(re.sub(r"<[^>]+>", " ", path.read_text("utf-8")))
        assert not re.search(r"\b[1-4] (rows|cells|missing cells|levels? rows)\b", text), path


def test_terminal_and_codebook_say_fewer_than_five(release: tuple[dict[str, Any], Path, str]) -> None:
    reply, _, lines = release
    assert f"597 rows used, {FEW} without treatment or outcome" in lines
    assert f"{FEW} missing cells" in lines
    assert f"with fewer than 5 rows each ({FEW} rows) are counted to its most frequent level" in lines
    assert "PLANTED" not in lines
    assert not re.search(r"\b[1-4] (of \d+ )?(rows|cells|missing)\b", lines)
    book = as_csv(codebook(Manifest.model_validate(reply["manifest"]))).decode()
    assert FEW in book


def test_a_release_of_an_environment_with_a_key_is_signed(release: tuple[dict[str, Any], Path, str]) -> None:
    from infra.store import open_store

    store = open_store(str(release[1]))
    assert verify(store, "counts", 1, signatures.read_public_key(PUBLIC, "test")) == []
    assert "key" not in json.dumps(release[0]["manifest"]["spec"]["store"])


@pytest.mark.parametrize(("count", "shown", "said"), [(0, 0, "0"), (1, 4, FEW), (4, 4, FEW), (5, 5, "5"), (1234, 1234, "1,234")])
def test_the_rule(count: int, shown: int, said: str) -> None:
    assert (shown_count(count), few(count)) == (shown, said)
    assert rounded(count) % 5 == 0
    assert abs(rounded(count) - count) < 3
