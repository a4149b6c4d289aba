"""Source, workspace and store on an S3 server."""

from __future__ import annotations

import uuid

import pytest

from tests.releasing import Command, Published, finished, parts, save, spec_of

pytestmark = pytest.mark.s3


def _keys(s3_server, bucket: str, prefix: str) -> dict[str, bytes]:
    """Return all objects below a prefix, read past the product."""
    client = s3_server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return {key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in found}


def test_two_writers_on_s3_get_two_versions_of_the_same_bytes(
    published: Published, s3_env, s3_server, bucket: str, command: Command, source, tmp_path
) -> None:
    """Source, workspace and store on S3; two processes of one SPEC at the same time."""
    place = uuid.uuid4().hex
    s3_server.client().put_object(Bucket=bucket, Key=f"{place}/in/table/part-0.parquet", Body=source.read_bytes())
    values = spec_of(f"s3://{bucket}/{place}/in/table", f"s3://{bucket}/{place}/out", engine__workspace=f"s3://{bucket}/{place}/work")
    spec = save(values, tmp_path / "spec.yaml")
    here = Command(command.home)  # with the server's address and keys
    answers = [finished(process) for process in [here.start("release", spec, "--json") for _ in range(2)]]
    assert [answer.code for answer in answers] == [0, 0], [answer.err for answer in answers]
    assert sorted(answer.json()["version"] for answer in answers) == [1, 2]
    out = _keys(s3_server, bucket, f"{place}/out/trial/")
    for version in (1, 2):
        drawn = {path: data for path, data in out.items() if path.startswith(f"v00000{version}/data/")}
        assert list(drawn.values()) == list(parts(published.store).values())
    assert {path.partition("/")[0] for path in out} == {"claims", "v000001", "v000002"}
    assert _keys(s3_server, bucket, f"{place}/work") == {}


def test_the_store_commands_on_s3_and_a_wrong_key(s3_env, s3_server, bucket: str, waymint, source, tmp_path, monkeypatch) -> None:
    store = f"s3://{bucket}/{uuid.uuid4().hex}"
    spec = save(spec_of(source, store), tmp_path / "spec.yaml")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    refused = waymint("release", spec)
    assert refused.code == 5
    assert "Traceback" not in refused.err
    assert "wrong" not in refused.err
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    absent = waymint("release", spec, "--store", f"s3://b{uuid.uuid4().hex[:12]}/x")
    assert absent.code == 5
    assert waymint("release", spec).code == 0
    assert waymint("releases", "verify", f"{store}/trial", "--json").json()["problems"] == []
    assert waymint("releases", "pull", f"{store}/trial@1", "--to", tmp_path / "copy").code == 0
    assert (tmp_path / "copy" / "manifest.json").exists()
