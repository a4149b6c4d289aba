"""What differs between two releases."""

import math

import pytest

from tasks.contract.refs import FileRef
from tasks.contract.results import Gate
from tasks.publish.releases import diff
from tests.publishing import manifest_of


def test_a_release_equals_itself():
    manifest = manifest_of(1, "r")
    found = diff(manifest, manifest)
    assert found.same
    assert found.identical
    assert found.spec == found.packages == ()
    assert [(effect.key, effect.difference) for effect in found.effects] == [("source.ate", 0.0), ("truth.ate", 0.0)]


def test_every_kind_of_difference():
    file = FileRef(path="data/copy-0/part-00000.parquet", rows=40, bytes=1, sha256="0" * 64)
    left = manifest_of(1, "r", packages={"numpy": "1", "old": "1"})
    right = manifest_of(
        2,
        "s",
        (file,),
        spec={"name": "nhefs", "release": {"rows": 40}, "seed": 2},
        packages={"numpy": "2"},
        effects={"source": {"ate": {"estimate": 3.5, "se": 0.4}}, "release": {"ate": {"estimate": 3.0, "se": None}}},
        table={"columns": [{"name": "w", "type": "string"}, {"name": "x", "type": "double"}]},
        gates=(Gate(name="fidelity", value=9.0, threshold=2.58, rule="at most", passed=False, status="failed"),),
    )
    found = diff(left, right)
    assert not found.same
    assert (found.left, found.right, found.rows) == ("nhefs@1", "nhefs@2", (0, 40))
    assert [(change.key, change.left, change.right) for change in found.spec] == [("release.rows", 30, 40), ("seed", None, 2)]
    assert [(change.key, change.left, change.right) for change in found.packages] == [("numpy", "1", "2"), ("old", "1", None)]
    assert [(c.key, c.left, c.right) for c in found.table] == [
        ("columns.w.type", "double", "string"),
        ("columns.x.name", None, "x"),
        ("columns.x.type", None, "double"),
    ]
    assert [(change.key, change.left, change.right) for change in found.gates] == [("fidelity", "passed", "failed")]
    effects = {effect.key: effect for effect in found.effects}
    ate = effects["source.ate"]
    assert ate.difference == pytest.approx(0.5)
    assert ate.se == pytest.approx(math.sqrt(0.3**2 + 0.4**2))
    assert ate.z == pytest.approx(1.0)
    assert (effects["release.ate"].left, effects["release.ate"].right, effects["release.ate"].difference) == (None, 3.0, None)
    assert (effects["truth.ate"].left, effects["truth.ate"].right) == (3.1, None)


def test_an_effect_without_error_has_no_z():
    left = manifest_of(1, "r", effects={"source": {"ate": {"estimate": 1.0, "se": 0.0}}})
    found = diff(left, left.model_copy(update={"effects": {"source": {"ate": {"estimate": 2.0, "se": 0.0}}}}))
    assert found.effects[0].difference == 1.0
    assert found.effects[0].z is None
    assert not found.same


def test_the_same_words_over_other_bytes_are_not_identical():
    part = FileRef(path="data/copy-0/part-00000.parquet", rows=40, bytes=1, sha256="0" * 64)
    left, right = manifest_of(1, "r", (part,)), manifest_of(2, "s", (part.model_copy(update={"sha256": "1" * 64}),))
    found = diff(left, right)
    assert (found.same, found.data, found.identical) == (True, False, False)
    report = FileRef(path="report.html", rows=None, bytes=1, sha256="2" * 64)
    assert diff(left, left.model_copy(update={"version": 2, "files": (part, report)})).identical
