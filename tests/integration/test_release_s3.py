"""Source, workspace and store on an S3 server."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.releasing import Command, Published, finished, parts, save, spec_of

pytestmark = pytest.mark.s3


def _keys(s3_server, bucket: str, prefix: str) -> dict[str, bytes]:
    """Return all objects below a prefix, read past the product."""
    client = s3_server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in found}


@pytest.fixture
def place(s3_env, s3_server, bucket: str, source: Path) -> str:
    """Put the source into a folder of its own in the bucket; return the folder's URI."""
    folder = uuid.uuid4().hex
    s3_server.client().put_object(Bucket=bucket, Key=f"{folder}/in/table/part-0.parquet", Body=source.read_bytes())
    return f"s3://{bucket}/{folder}"


def test_source_and_store_on_s3(published: Published, place: str, s3_server, bucket: str, waymint, tmp_path: Path) -> None:
    answer = waymint("release", save(spec_of(f"{place}/in/table", f"{place}/out"), tmp_path / "spec.yaml"), "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["uri"] == f"{place}/out/trial/v000001"
    out = _keys(s3_server, bucket, f"{place}/out/trial/".removeprefix(f"s3://{bucket}/"))
    assert {path: data for path, data in out.items() if path.endswith(".parquet")} == {
        f"v000001/{path}": data for path, data in parts(published.store).items()
    }
    assert waymint("releases", "verify", f"{place}/out/trial", "--json").json()["problems"] == []
    assert waymint("releases", "pull", f"{place}/out/trial@1", "--to", tmp_path / "copy").code == 0
    descriptions = {"codebook.csv", "codebook.html", "croissant.json", "datapackage.json", "odcs.yaml"}
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {"checks", "data", "manifest.json", "report.html"} | descriptions
    assert waymint("releases", "show", f"{place}/out/trial@2").code == 5


def test_a_wrong_key_is_told_before_any_work(place: str, waymint, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    for number, (uri, code) in enumerate([(source, 5), (f"{place}/in/table", 4)]):
        refused = waymint("release", save(spec_of(uri, f"{place}/out"), tmp_path / f"{number}.yaml"))
        assert refused.code == code, refused.err
        assert "read source" not in refused.err
        assert "not-the-secret" not in refused.err
        assert "Traceback" not in refused.err


@pytest.mark.slow
def test_two_writers_at_once_get_two_versions(
    published: Published, place: str, s3_server, bucket: str, command: Command, tmp_path: Path
) -> None:
    """Two processes of one SPEC, workspace on S3 too: each has a workspace and a version of its own, and the bytes are the same."""
    values = spec_of(f"{place}/in/table", f"{place}/out", engine__workspace=f"{place}/work")
    spec = save(values, tmp_path / "spec.yaml")
    here = Command(command.home)  # with the server's address and keys
    answers = [finished(process) for process in [here.start("release", spec, "--json") for _ in range(2)]]
    assert [answer.code for answer in answers] == [0, 0], [answer.err for answer in answers]
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2]
    out = _keys(s3_server, bucket, f"{place}/out/trial/".removeprefix(f"s3://{bucket}/"))
    for version in (1, 2):
        drawn = {path.partition("/")[2]: data for path, data in out.items() if path.startswith(f"v00000{version}/data/")}
        assert drawn == parts(published.store)
    assert {path.partition("/")[0] for path in out} == {"claims", "v000001", "v000002"}
    assert _keys(s3_server, bucket, f"{place}/work".removeprefix(f"s3://{bucket}/")) == {}
