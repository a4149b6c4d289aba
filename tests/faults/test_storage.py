"""Disks, folders and the source fail in the middle of a release: one error, nothing half visible, and the run goes on afterwards."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.store import open_store
from tasks.contract.errors import SourceError, StoreError, StoreForbidden, StoreMissing, WaymintError
from tasks.publish.releases import verify
from tests.faulty import mint_on, mint_with_fault, mounted
from tests.releasing import files, parts, spec_of, table, write

FITTING, DRAWING, PUBLISHING = "nuisance.fit", "mechanisms.draw", "publish.publish"


@pytest.fixture(scope="module")
def expected(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the parts of a release that nothing has befallen."""
    folder = tmp_path_factory.mktemp("expected")
    assert mint_on(spec_of(source, folder / "store"), folder / "work")["status"] == "published"
    return parts(folder / "store")


def visible(store: Path) -> list[str]:
    """Return the releases that a reader would see."""
    return [path for path in files(store) if path.endswith("/manifest.json")]


def newest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


# -- the workspace -----------------------------------------------------------------------------------------------------
def test_the_workspace_is_deleted(source: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    work, values = tmp_path / "work", spec_of(source, tmp_path / "store")
    with pytest.raises(StoreMissing, match=r"of the workspace .* must stay while the run is under way; it is gone") as lost:
        mint_with_fault(values, work, FITTING, lambda: shutil.rmtree(work))
    assert lost.value.exit_code == 5
    assert "engine.workspace" in lost.value.hint
    assert visible(tmp_path / "store") == []
    mint_on(values, work)
    assert parts(tmp_path / "store") == expected


@pytest.mark.parametrize(
    ("before", "pattern"),
    [(FITTING, "snapshot/part-*.parquet"), pytest.param("mechanisms.anchor", "mechanisms/**/*.model", marks=pytest.mark.slow)],
)
def test_a_file_of_the_workspace_is_cut(source: Path, tmp_path: Path, expected: dict[str, bytes], before: str, pattern: str) -> None:
    work, values = tmp_path / "work", spec_of(source, tmp_path / "store")

    def cut() -> None:
        for path in work.glob(pattern):
            os.truncate(path, path.stat().st_size // 2)

    with pytest.raises(StoreError, match="must be as the run wrote it"):
        mint_with_fault(values, work, before, cut)
    mint_on(values, work)
    assert parts(tmp_path / "store") == expected


@pytest.mark.slow
def test_the_disk_of_the_workspace_fills_up(source: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    values = spec_of(source, tmp_path / "store")
    with mounted(tmp_path / "disk", "8m") as disk:
        with pytest.raises(StoreError, match="workspace of the run must be writable") as full:
            mint_with_fault(values, disk.folder / "work", DRAWING, lambda: disk.fill(8192))
        assert "WAYMINT_WORKSPACE" in full.value.hint
        (disk.folder / "filler").unlink()
        mint_on(values, disk.folder / "work")
    assert parts(tmp_path / "store") == expected


@pytest.mark.slow
def test_the_workspace_turns_read_only(source: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    values = spec_of(source, tmp_path / "store")
    with mounted(tmp_path / "disk", "64m") as disk:
        with pytest.raises(StoreForbidden, match=r"workspace of the run must be writable; .* got 'Read-only file system'"):
            mint_with_fault(values, disk.folder / "work", FITTING, lambda: disk.remount("ro"))
        disk.remount("rw")
        mint_on(values, disk.folder / "work")
    assert parts(tmp_path / "store") == expected


# -- the store ---------------------------------------------------------------------------------------------------------
def test_the_disk_of_the_store_fills_up(source: Path, tmp_path: Path, expected: dict[str, bytes]) -> None:
    work = tmp_path / "work"
    with mounted(tmp_path / "disk", "8m") as disk:
        store = disk.folder / "store"
        values = spec_of(source, store)
        with pytest.raises(StoreError, match="space of store") as full:
            mint_with_fault(values, work, PUBLISHING, lambda: disk.fill(16384))
        assert full.value.exit_code == 5
        assert visible(store) == []
        (disk.folder / "filler").unlink()
        mint_on(values, work)
        assert parts(store) == expected


@pytest.mark.slow
@pytest.mark.parametrize("what", ["read-only", "gone", "a file"])
def test_the_store_is_lost_while_it_publishes(source: Path, tmp_path: Path, expected: dict[str, bytes], what: str) -> None:
    work = tmp_path / "work"
    with mounted(tmp_path / "disk", "64m") as disk:
        store = disk.folder / "store"
        values = spec_of(source, store)

        def replace() -> None:
            store.rename(disk.folder / "elsewhere")
            store.touch()

        faults: dict[str, Callable[[], Any]] = {"read-only": lambda: disk.remount("ro"), "gone": disk.vanish, "a file": replace}
        if what == "gone":  # a share that is unmounted leaves an empty folder: what is published there is whole, with a claim of its own
            assert mint_with_fault(values, work, PUBLISHING, faults[what])["version"] == 1
            assert verify(open_store(str(store)), "trial", 1) == []
            assert parts(store) == expected
            return
        with pytest.raises(StoreError) as lost:
            mint_with_fault(values, work, PUBLISHING, faults[what])
        assert lost.value.exit_code == 5
        assert isinstance(lost.value, StoreForbidden) == (what == "read-only")
        if what == "read-only":
            disk.remount("rw")
        else:
            store.unlink()
            (disk.folder / "elsewhere").rename(store)
        assert visible(store) == []
        mint_on(values, work)
        assert parts(store) == expected


# -- the source --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", ["gone", "cut", "other rows"])
def test_the_source_changes_while_it_is_read(tmp_path: Path, what: str) -> None:
    here = write(table(), tmp_path / "source.parquet")
    store = tmp_path / "store"

    def change() -> None:
        if what == "gone":
            here.unlink()
        elif what == "cut":
            os.truncate(here, here.stat().st_size // 2)
        else:
            write(table(seed=1), here)

    with pytest.raises(SourceError) as lost:
        mint_with_fault(spec_of(here, store), tmp_path / "work", "source.scatter", change)
    assert lost.value.exit_code == 4
    assert files(store) == []


# -- what a killed run left --------------------------------------------------------------------------------------------
def _stop() -> None:
    raise WaymintError("stopped here", "")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cut", "without its receipt", "with another's receipt"])
def test_parts_that_were_damaged_while_nothing_ran_are_made_again(
    source: Path, tmp_path: Path, expected: dict[str, bytes], what: str
) -> None:
    work, values = tmp_path / "work", spec_of(source, tmp_path / "store")
    with pytest.raises(WaymintError, match="stopped here"):
        mint_with_fault(values, work, PUBLISHING, _stop)
    drawn = newest(work, "drawn/copy-0/*.released.parquet")
    if what == "cut":
        os.truncate(drawn, drawn.stat().st_size // 2)
    elif what == "without its receipt":
        Path(f"{drawn}.receipt").unlink()
    else:
        signature, _, body = Path(f"{drawn}.receipt").read_text().partition("\n")
        Path(f"{drawn}.receipt").write_text(f"{signature}\n{json.dumps(json.loads(body) | {'rows': 1})}")
    mint_on(values, work)
    assert parts(tmp_path / "store") == expected
