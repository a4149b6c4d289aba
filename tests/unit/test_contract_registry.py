"""The file name is the key: files are found without being imported, and built from validated parameters."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.contract import registry
from tasks.contract.errors import SpecError
from tasks.contract.registry import KINDS, names, resolve

ROOT = Path(__file__).resolve().parents[2]
METHOD = """
from pydantic import BaseModel, ConfigDict, Field

class Params(BaseModel):
    model_config = ConfigDict(extra="forbid")
    trees: int = Field(10, ge=1)

def build(params):
    return ("built", params.trees)
"""


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kind of its own with two methods, one of which can't be imported, and a private file."""
    folder = tmp_path / "shelf_of_methods"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "forest.py").write_text(METHOD)
    (folder / "broken.py").write_text("raise RuntimeError('imported')\n")
    (folder / "_private.py").write_text("")
    # an entry point as another distribution would declare it
    (tmp_path / "elsewhere.py").write_text(METHOD.replace("built", "third party"))
    info = tmp_path / "thirdparty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thirdparty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[waymint.shelf]\noutside = elsewhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "KINDS", {**KINDS, "shelf": "shelf_of_methods"})
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in {"shelf_of_methods", "elsewhere"}]:
        del sys.modules[name]


@pytest.mark.usefixtures("shelf")
class TestShelf:
    def test_listing_imports_nothing(self) -> None:
        assert names("shelf") == ("broken", "forest", "outside")
        assert "shelf_of_methods.broken" not in sys.modules

    def test_resolving_imports_the_one_file(self) -> None:
        assert resolve("shelf", "forest") == ("built", 10)
        assert resolve("shelf", "forest", {"trees": 3}) == ("built", 3)
        assert "shelf_of_methods.broken" not in sys.modules

    def test_others_offer_theirs_by_entry_point(self) -> None:
        assert resolve("shelf", "outside", {"trees": 2}) == ("third party", 2)

    def test_an_unknown_name_gets_the_nearest_known_one(self) -> None:
        with pytest.raises(SpecError, match="must be one of broken, forest, outside; got 'forrest'") as refusal:
            resolve("shelf", "forrest")
        assert refusal.value.hint == "Did you mean 'forest'?"

    @pytest.mark.parametrize("name", ["_private", "__init__", "../errors", "forest.Params", ""])
    def test_only_listed_names_are_imported(self, name: str) -> None:
        with pytest.raises(SpecError):
            resolve("shelf", name)

    @pytest.mark.parametrize(("params", "where"), [({"trees": 0}, "trees of shelf"), ({"tree": 1}, "tree of shelf")])
    def test_bad_parameters_are_told_by_name(self, params: dict[str, object], where: str) -> None:
        with pytest.raises(SpecError) as refusal:
            resolve("shelf", "forest", params)
        assert where in refusal.value.message
        assert "trees" in refusal.value.hint


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_its_folder_and_its_methods_follow_the_protocol(kind: str) -> None:
    folder = ROOT / KINDS[kind].replace(".", "/")
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert set(names(kind)) == files
    for path in folder.glob("[!_]*.py"):
        text = path.read_text()
        assert "class Params(" in text, path
        assert "def build(" in text, path


def test_listing_every_kind_is_light() -> None:
    program = (
        "import sys; from tasks.contract.registry import KINDS, names; [names(kind) for kind in KINDS]; "
        "print(sorted({'pandas', 'sklearn', 'scipy', 'torch', 'numba', 'great_expectations'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
