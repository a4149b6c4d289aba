"""The S3 server answers 503, answers late, closes connections, refuses the clock or is gone: retried, or told in one error."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.store import open_store
from tasks.contract.errors import StoreConflict, StoreError, StoreForbidden, StoreUnavailable
from tests.faulty import mint_on, mint_with_fault
from tests.proxy import Proxy, proxy_of
from tests.releasing import ROOT, spec_of
from tests.s3 import Server

pytestmark = pytest.mark.s3

PART = b"x" * 200_000


@pytest.fixture
def proxied(s3_env: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Put a proxy between this process and the server."""
    with proxy_of(s3_env.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


@pytest.fixture
def prefix(bucket: str) -> str:
    return f"s3://{bucket}/{uuid.uuid4().hex}"


def names(server: Server, prefix: str) -> list[str]:
    """Return what lies below a prefix, seen past the proxy."""
    bucket, _, folder = prefix.removeprefix("s3://").partition("/")
    answer = server.client().list_objects_v2(Bucket=bucket, Prefix=f"{folder}/")
    return [each["Key"].removeprefix(f"{folder}/") for each in answer.get("Contents", ())]


@pytest.mark.parametrize("how", ["busy", "closed", "cut"])
def test_a_put_that_fails_three_times(proxied: Proxy, s3_env: Server, prefix: str, how: str) -> None:
    store = open_store(prefix)
    proxied.fail(how, times=3)
    store.put("part", PART)
    assert proxied.failed == 3
    assert store.get("part") == PART
    assert names(s3_env, prefix) == ["part"]


def test_a_claim_whose_answer_is_lost_is_still_won_by_one(proxied: Proxy, prefix: str) -> None:
    """The server writes, the answer is cut: the repeated request is refused there, and the bytes decide."""
    store = open_store(prefix)
    store.put("warm", b"")
    results: list[object] = []

    def claim(token: bytes) -> None:
        try:
            open_store(prefix).put_new("owner", token)
            results.append(token)
        except StoreConflict:
            results.append(None)

    proxied.fail("cut", times=2)
    writers = [threading.Thread(target=claim, args=(f"writer {number}".encode(),)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    winners = [each for each in results if each is not None]
    assert len(results) == 4
    assert winners == [store.get("owner")]


@pytest.mark.parametrize("how", ["busy", pytest.param("closed", marks=pytest.mark.slow)])
def test_a_server_that_never_recovers(proxied: Proxy, s3_env: Server, prefix: str, how: str) -> None:
    proxied.fail(how)
    with pytest.raises(StoreUnavailable) as lost:
        open_store(prefix).put("part", PART)
    assert lost.value.retryable
    assert lost.value.exit_code == 5
    assert "AWS_ENDPOINT_URL" in lost.value.hint
    assert 3 <= proxied.failed <= 10
    assert names(s3_env, prefix) == []


def test_a_server_that_answers_late(proxied: Proxy, prefix: str) -> None:
    proxied.fail("slow")
    store = open_store(prefix)
    store.put("part", PART)
    assert store.get("part") == PART


@pytest.mark.slow
def test_a_large_object_that_is_cut_leaves_nothing_to_see(proxied: Proxy, s3_env: Server, prefix: str) -> None:
    """Above 64 MB an object travels in parts: it is there whole, or not at all."""
    store = open_store(prefix)
    proxied.bytes = 40 * 2**20
    proxied.fail("cut")
    with pytest.raises(StoreError):
        store.put("large", bytes(80 * 2**20))
    assert names(s3_env, prefix) == []
    proxied.fail("no")
    store.put("large", bytes(80 * 2**20))
    assert names(s3_env, prefix) == ["large"]


_SKEWED = """
import datetime, sys
import botocore.auth, botocore.compat, botocore.utils
real = botocore.compat.get_current_datetime
late = lambda remove_tzinfo=True: real(remove_tzinfo) + datetime.timedelta(seconds=float(sys.argv[2]))
for module in (botocore.auth, botocore.compat, botocore.utils):
    if hasattr(module, "get_current_datetime"):
        module.get_current_datetime = late
from infra.store import open_store
from tasks.contract.errors import StoreError
try:
    open_store(sys.argv[1]).put("part", b"x")
except StoreError as error:
    print(type(error).__name__, error.message)
else:
    print("written")
"""


SKEWS = [
    (86_400, "refused"),
    *(pytest.param(*skew, marks=pytest.mark.slow) for skew in ((-86_400, "refused"), (120, "written"), (-120, "written"))),
]


@pytest.mark.parametrize(("seconds", "answer"), SKEWS)
def test_a_clock_that_is_wrong(s3_env: Server, prefix: str, seconds: int, answer: str) -> None:
    """A client's clock that runs minutes off is no matter; one that is a day off is refused by the server, and told so."""
    done = subprocess.run(
        [sys.executable, "-c", _SKEWED, prefix, str(seconds)], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if answer == "written":
        assert done.stdout == "written\n"
    else:
        assert done.stdout.startswith(("StoreForbidden access to store", "StoreUnavailable store"))
        assert names(s3_env, prefix) == []


@pytest.mark.slow
@pytest.mark.parametrize(("how", "before"), [("busy", "publish.publish"), ("closed", "publish.draft")])
def test_a_release_whose_server_fails_while_it_publishes(
    proxied: Proxy, s3_env: Server, prefix: str, source: Path, tmp_path: Path, how: str, before: str
) -> None:
    """For good: one error and nothing to see. Then the server is back, and the same run publishes."""
    values, work = spec_of(source, prefix), tmp_path / "work"
    with pytest.raises(StoreUnavailable) as lost:
        mint_with_fault(values, work, before, lambda: proxied.fail(how))
    assert lost.value.exit_code == 5
    assert not [name for name in names(s3_env, prefix) if name.endswith("manifest.json")]
    proxied.fail("no")
    reply = mint_on(values, work)
    assert (reply["status"], reply["version"]) == ("published", 1)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["busy", "cut", "slow"])
def test_a_release_whose_server_fails_for_a_while(
    proxied: Proxy, s3_env: Server, prefix: str, source: Path, tmp_path: Path, how: str
) -> None:
    values = spec_of(source, prefix)
    reply = mint_with_fault(values, tmp_path / "work", "publish.draft", lambda: proxied.fail(how, times=3))
    assert reply["status"] == "published"
    listed = {file["path"] for file in reply["manifest"]["files"]}
    folder = "trial/v000001/"
    assert {name.removeprefix(folder) for name in names(s3_env, prefix) if name.startswith(folder)} == listed | {"manifest.json"}


@pytest.mark.slow
def test_credentials_that_are_withdrawn(s3_env: Server, prefix: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, work = spec_of(source, prefix), tmp_path / "work"

    def withdraw() -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "withdrawn")

    with pytest.raises(StoreForbidden) as lost:
        mint_with_fault(values, work, "publish.publish", withdraw)
    assert "access to store" in lost.value.message
    assert "withdrawn" not in str(lost.value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_env.secret_key)
    assert mint_on(values, work)["version"] == 1
