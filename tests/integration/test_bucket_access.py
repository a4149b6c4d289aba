"""Buckets as their owners run them: few rights, encryption and owner in every request, throttling, uploads that break off."""

from __future__ import annotations

import json
import pickle
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.store import open_store
from infra.stores import s3
from infra.stores.s3 import S3Options, S3Store
from tasks.contract.errors import StoreError, StoreForbidden, StoreUnavailable
from tasks.contract.spec import StoreSpec
from tasks.publish.layout import manifest_key, part_path, release_key
from tasks.publish.releases import gc, list_releases, pull, verify
from tests.proxy import Proxy, proxy_of
from tests.publishing import NAME, prepare, publish
from tests.s3 import SHARED, Server

pytestmark = pytest.mark.s3
DOCS = Path(__file__).parents[2] / "docs/security.md"


def policy(name: str, prefix: str) -> str:
    """Return a policy of the documentation for the shared bucket."""
    (text,) = re.findall(rf"<!-- policy: {name} -->\n```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
    return json.dumps(json.loads(text)).replace("BUCKET", SHARED).replace("PREFIX", prefix)


@pytest.fixture
def prefix(s3_env: Server) -> str:
    """A prefix of its own in the shared bucket, protected by the documented bucket policy."""
    client, prefix = s3_env.client(), uuid.uuid4().hex
    if not any(bucket["Name"] == SHARED for bucket in client.list_buckets()["Buckets"]):
        client.create_bucket(Bucket=SHARED)
    client.put_bucket_policy(Bucket=SHARED, Policy=policy("bucket", prefix))
    return prefix


def become(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"{role}key123")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{role}secret123")


def test_a_writer_publishes_and_can_delete_no_release(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    become("writer", monkeypatch)
    store = open_store(f"s3://{SHARED}/{prefix}")
    assert publish(store, "run-1") == 1
    assert verify(store, NAME, 1) == []
    for key in (manifest_key(NAME, 1), release_key(NAME, 1, part_path(0, 0))):
        with pytest.raises(StoreForbidden):
            store.delete(key)
    prepare(store, "run-2")  # a writer that dies: what it left stays, and harms nobody
    with pytest.raises(StoreForbidden):
        gc(store, NAME, 0.0, 1e12)
    assert publish(store, "run-3") == 3
    assert [info.version for info in list_releases(store)] == [1, 3]
    store.put(f"{NAME}/claims/access-x.json", b"{}")
    store.delete(f"{NAME}/claims/access-x.json")
    with pytest.raises(StoreForbidden):
        open_store(f"s3://other-{SHARED}/{prefix}").put("x", b"1")


def test_a_reader_reads_and_writes_nothing(prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish(open_store(f"s3://{SHARED}/{prefix}"), "run-1")
    become("reader", monkeypatch)
    store = open_store(f"s3://{SHARED}/{prefix}")
    assert verify(store, NAME) == []
    assert pull(store, NAME, None, tmp_path / "copy").version == 1
    for act in (
        lambda: store.put("x", b"1"),
        lambda: store.put_new("x", b"1"),
        lambda: store.delete(manifest_key(NAME, 1)),
        lambda: publish(store, "run-2"),
    ):
        with pytest.raises(StoreForbidden) as refused:
            act()
        assert refused.value.exit_code == 5


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every request that a store's client sends, as it goes out."""
    sent: list[Any] = []
    plain = s3.open_client

    def watched() -> Any:
        client = plain()
        client.meta.events.register("before-send.s3", lambda request, **_: sent.append(request))
        return client

    monkeypatch.setattr(s3, "open_client", watched)
    return sent


def test_requests_name_owner_key_and_checksum_and_list_below_the_prefix(s3_env: Server, bucket: str, requests: list[Any]) -> None:
    base = f"s3://{bucket}/{uuid.uuid4().hex}"
    store = open_store(base, options=StoreSpec(uri=base, bucket_owner="111122223333"))
    publish(store, "run-1")
    verify(store, NAME, 1)
    store.delete(f"{NAME}/other")
    assert {request.method for request in requests} >= {"GET", "PUT", "DELETE"}
    assert all(request.headers["x-amz-expected-bucket-owner"] in (b"111122223333", "111122223333") for request in requests)
    for request in requests:
        if request.method == "PUT":
            assert any(name.lower().startswith("x-amz-checksum-") for name in request.headers), dict(request.headers)
        if "list-type=2" in request.url:
            assert f"prefix={base.rpartition('/')[2]}%2F" in request.url
    requests.clear()
    encrypted = S3Store(bucket, "x", S3Options(kms_key="alias/releases"))
    with pytest.raises(StoreError):  # the server has no KMS; Amazon's answer was not tried
        encrypted.put("a", b"1")
    sent = {name.lower(): value for name, value in requests[0].headers.items()}
    assert sent["x-amz-server-side-encryption"] in (b"aws:kms", "aws:kms")
    assert sent["x-amz-server-side-encryption-aws-kms-key-id"] in (b"alias/releases", "alias/releases")


def test_options_come_from_the_spec_then_the_environment_and_travel(s3_env: Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYMINT_S3_KMS_KEY", "alias/site")
    monkeypatch.setenv("WAYMINT_S3_BUCKET_OWNER", "999988887777")
    uri = f"s3://{bucket}/x"
    for options, expected in (
        (None, S3Options("alias/site", "999988887777")),
        (StoreSpec(uri=uri, kms_key="alias/own"), S3Options("alias/own", "999988887777")),
    ):
        store = open_store(uri, options=options)
        assert isinstance(store, S3Store)
        assert store._options == pickle.loads(pickle.dumps(store))._options == expected


@pytest.fixture
def proxy(s3_env: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxy_of(s3_env.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def test_a_throttled_request_is_tried_again_as_often_as_aws_settings_say(
    proxy: Proxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"s3://{bucket}/{uuid.uuid4().hex}")
    proxy.fail("busy", 3)
    store.put("a", b"1")
    assert proxy.failed == 3
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    once = open_store(f"s3://{bucket}/{uuid.uuid4().hex}")
    proxy.fail("busy", 3)
    with pytest.raises(StoreUnavailable):
        once.put("a", b"1")
    assert proxy.failed == 1
    proxy.fail("no")
    assert store.get("a") == b"1"


def test_an_upload_in_parts_that_breaks_off_leaves_nothing(
    proxy: Proxy, s3_env: Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3, "_PART", 5 * 2**20)
    prefix = uuid.uuid4().hex
    store = open_store(f"s3://{bucket}/{prefix}")
    assert isinstance(store, S3Store)
    events = store._client.meta.events
    parts: list[int] = []

    def count(params: Any, **_: Any) -> None:
        parts.append(1)
        if len(parts) == 2:
            proxy.fail("closed")

    events.register("before-call.s3.UploadPart", count)
    events.register("before-call.s3.AbortMultipartUpload", lambda **_: proxy.fail("no"))
    with pytest.raises(StoreUnavailable):
        store.put("large", b"x" * (14 * 2**20))
    proxy.fail("no")
    assert len(parts) >= 2
    assert not store.exists("large")
    assert not s3_env.client().list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    open_store(f"s3://{bucket}/{prefix}").put("large", b"x" * (14 * 2**20))
    assert len(store.get("large")) == 14 * 2**20
