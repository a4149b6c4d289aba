"""Whoever can write to a store can't make a run delete, overwrite or read anything outside it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from infra.stores.file import FileStore
from tasks.contract.errors import StoreError, StoreLink
from tasks.publish.collect import gc
from tasks.publish.layout import release_key
from tasks.publish.releases import list_releases, pull, verify
from tests.publishing import NAME, publish

PLACES = ("v000001", "v000001/data", "v000001/data/copy-0", "claims", "claims/v000001")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A tree outside the store, of folders and files as a release has them."""
    folder = tmp_path / "foreign"
    for path in ("manifest.json", "part-00000.parquet", "data/copy-0/part-00000.parquet", "copy-0/part-00000.parquet", "owner.json"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("precious")
        os.utime(folder / path, (1, 1))
    return folder


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["linked/a", "linked/deep/a"])
def test_no_act_of_the_store_goes_through_a_link(tmp_path: Path, name: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "store"
    (outside / "deep").mkdir(parents=True)
    (outside / "a").write_text("precious")
    (outside / "deep/a").write_text("precious")
    store = FileStore(root)
    store.put("b", b"")
    (root / "linked").symlink_to(outside)
    acts = (
        lambda: store.get(name),
        lambda: store.exists(name),
        lambda: store.put(name, b"other"),
        lambda: store.put_new(name, b"other"),
        lambda: store.delete(name),
        lambda: list(store.list(name)),
    )
    for act in acts:
        with pytest.raises(StoreError, match="must be plain files"):
            act()
    assert content(outside) == {"a": "precious", "deep/a": "precious"}
    assert [item.key for item in store.list("")] == ["b", "linked"]


def test_an_object_that_is_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("precious")
    store = FileStore(tmp_path / "store")
    store.put("folder/b", b"")
    (tmp_path / "store/folder/a").symlink_to(tmp_path / "outside")
    os.mkfifo(tmp_path / "store/folder/pipe")
    for key in ("folder/a", "folder/pipe"):
        for act in (store.get, store.exists, lambda key: store.put_new(key, b"other")):
            with pytest.raises(StoreError, match="must be plain files"):
                act(key)
    store.put("folder/a", b"own")  # takes the link's place
    store.delete("folder/pipe")
    assert (tmp_path / "outside").read_text() == "precious"
    assert store.get("folder/a") == b"own"


def test_temporary_files_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store/.waymint-tmp").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="must be plain files"):
        FileStore(tmp_path / "store").put("a", b"1")
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("place", PLACES)
def test_collecting_garbage_deletes_nothing_behind_a_link(tmp_path: Path, foreign: Path, place: str) -> None:
    before = content(foreign)
    store = FileStore(tmp_path / "store")
    link = tmp_path / "store" / NAME / place
    link.parent.mkdir(parents=True)
    link.symlink_to(foreign)
    gc(store, NAME, 0.0, time.time() + 10)
    assert content(foreign) == before


@pytest.mark.parametrize("place", PLACES)
def test_publishing_writes_and_deletes_nothing_behind_a_link(tmp_path: Path, foreign: Path, place: str) -> None:
    before = content(foreign)
    store = FileStore(tmp_path / "store")
    link = tmp_path / "store" / NAME / place
    link.parent.mkdir(parents=True)
    link.symlink_to(foreign)
    try:
        version = publish(store, "run-1")
    except StoreLink:
        pass
    else:
        assert version == 2  # the number with the link counts as used
        assert verify(store, NAME, version) == []
    assert content(foreign) == before


@pytest.mark.parametrize("path", ["data", "data/copy-0", "data/copy-0/part-00000.parquet", "report.html"])
def test_a_release_with_a_link_in_it_is_not_sound(tmp_path: Path, path: str) -> None:
    store = FileStore(tmp_path / "store")
    version = publish(store, "run-1")
    assert verify(store, NAME, version) == []
    part = tmp_path / "store" / release_key(NAME, version, path)
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    assert {"link"} <= {problem.fault for problem in verify(store, NAME, version)}
    with pytest.raises(StoreError):
        pull(store, NAME, version, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_link_beside_the_files_of_a_release_is_extra(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    version = publish(store, "run-1")
    (tmp_path / "store" / release_key(NAME, version, "more")).symlink_to(tmp_path)
    assert [(problem.path, problem.fault) for problem in verify(store, NAME, version)] == [("more", "extra")]
    assert [info.version for info in list_releases(store)] == [version]
