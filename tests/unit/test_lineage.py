"""OpenLineage events: sent by the client of the standard to a file and to a server, read back as the standard names things."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openlineage.client.event_v2 import RunEvent
from openlineage.client.serde import Serde

from infra.lineage import PRODUCER, lineage
from tasks.contract.errors import SourceError
from tasks.contract.spec import Spec, parse_spec
from tests.receiver import Receiver, receiver

ROOT = Path(__file__).resolve().parents[2]
RUN = str(uuid.UUID(int=17))
MANIFEST = json.loads((ROOT / "tests/data/manifest-0.1.0.json").read_text())


@pytest.fixture
def spec() -> Spec:
    values = {"name": MANIFEST["name"], "source": {"uri": "s3://bucket/tables/a.parquet"}, "roles": {"treatment": "a", "outcome": "y"}}
    return parse_spec({**values, "store": {"uri": "s3://bucket/releases"}})


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "events.jsonl"
    for name, value in {"TYPE": "file", "LOG_FILE_PATH": str(path), "APPEND": "true"}.items():
        monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
    return path


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def _reply(status: str) -> dict[str, Any]:
    return {"status": status, "uri": "s3://bucket/releases/x", "version": None if status == "rejected" else 1, "manifest": MANIFEST}


def _tell(spec: Spec, status: str) -> None:
    warnings: list[str] = []
    with lineage(spec, "release", RUN, warnings.append) as conclude:
        conclude(_reply(status))
    assert warnings == []


def test_a_published_release_is_a_version_with_columns_rows_and_gates(spec: Spec, log: Path) -> None:
    _tell(spec, "published")
    start, complete = events(log)
    assert [each["eventType"] for each in (start, complete)] == ["START", "COMPLETE"]
    assert {(each["run"]["runId"], each["job"]["name"], each["producer"]) for each in (start, complete)} == {
        (RUN, f"release.{MANIFEST['name']}", PRODUCER)
    }
    assert start["outputs"] == []
    [source], [release] = complete["inputs"], complete["outputs"]
    assert (source["namespace"], source["name"]) == ("s3://bucket", "tables/a.parquet")
    assert source["facets"]["version"]["datasetVersion"] == MANIFEST["source"]["fingerprint"]
    assert source["inputFacets"]["dataQualityMetrics"]["rowCount"] == MANIFEST["source"]["rows"]
    assert (release["namespace"], release["name"]) == ("s3://bucket", f"releases/{MANIFEST['name']}")
    assert release["facets"]["version"]["datasetVersion"] == str(MANIFEST["version"])
    names = [column["name"] for column in MANIFEST["schema"]["columns"]]
    assert [field["name"] for field in release["facets"]["schema"]["fields"]] == names
    rows = sum(file["rows"] or 0 for file in MANIFEST["files"])
    assert release["outputFacets"]["outputStatistics"]["rowCount"] == rows
    tests = complete["run"]["facets"]["test"]["tests"]
    assert {test["name"]: test["status"] for test in tests}.keys() == {gate["name"] for gate in MANIFEST["gates"]}
    assert {test["status"] for test in tests} <= {"pass", "fail", "skip"}


def test_what_is_written_is_what_the_standard_reads(spec: Spec, log: Path) -> None:
    """The client's own classes validate an event when it is made: times, URIs, the id of the run."""
    _tell(spec, "published")
    for event in events(log):
        assert event["schemaURL"] == RunEvent._get_schema()
        facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
        for dataset in (*event["inputs"], *event["outputs"]):
            facets += [*dataset.get("facets", {}).values(), *dataset.get("inputFacets", {}).values()]
        assert facets
        assert all(facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/") for facet in facets)
        assert json.loads(Serde.to_json(event)) == event


def test_a_rejected_run_fails_with_its_gates_and_writes_nothing(spec: Spec, log: Path) -> None:
    _tell(spec, "rejected")
    last = events(log)[-1]
    assert (last["eventType"], last["outputs"]) == ("FAIL", [])
    assert last["run"]["facets"]["errorMessage"]["message"].startswith("gates failed: ")


def test_an_unchanged_run_completes_and_writes_nothing(spec: Spec, log: Path) -> None:
    _tell(spec, "unchanged")
    assert (events(log)[-1]["eventType"], events(log)[-1]["outputs"]) == ("COMPLETE", [])


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (SourceError("uri of source must be there; it is not."), "FAIL", "uri of source must be there; it is not."),
        (ValueError("a cell: 17.3"), "FAIL", "ValueError"),
        (KeyboardInterrupt(), "ABORT", "KeyboardInterrupt"),
    ],
    ids=["ours", "foreign", "interrupt"],
)
def test_an_error_ends_the_run_and_only_ours_are_quoted(spec: Spec, log: Path, error: BaseException, kind: str, message: str) -> None:
    with pytest.raises(type(error)), lineage(spec, "release", RUN, pytest.fail):
        raise error
    last = events(log)[-1]
    assert (last["eventType"], last["run"]["facets"]["errorMessage"]["message"]) == (kind, message)


def test_nothing_is_sent_where_nothing_is_configured(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with lineage(spec, "release", RUN, pytest.fail) as conclude:
        conclude(_reply("published"))
    assert list(tmp_path.iterdir()) == []


def test_a_catalogue_that_is_down_is_a_warning(spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(tmp_path / "absent" / "events.jsonl"))
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__APPEND", "true")
    warnings: list[str] = []
    with lineage(spec, "release", RUN, warnings.append) as conclude:
        conclude(_reply("published"))
    assert [text.split(" was ")[0] for text in warnings] == ["no lineage event START", "no lineage event COMPLETE"]


def test_a_wrong_configuration_is_a_warning(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "pigeon")
    warnings: list[str] = []
    with lineage(spec, "release", RUN, warnings.append):
        pass
    assert len(warnings) == 1
    assert "configuration can't be used" in warnings[0]


# -- over HTTP ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A server that takes events, named as docs/operations.md names one."""
    with receiver() as server:
        monkeypatch.setenv("OPENLINEAGE_URL", server.url)
        monkeypatch.setenv("OPENLINEAGE_API_KEY", "secret")
        yield server


def test_a_server_takes_the_same_events_as_a_file(spec: Spec, catalogue: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tell(spec, "published")
    assert {(each.path, each.headers["authorization"]) for each in catalogue.posted} == {("/api/v1/lineage", "Bearer secret")}
    monkeypatch.delenv("OPENLINEAGE_URL")
    for name, value in {"TYPE": "file", "LOG_FILE_PATH": str(tmp_path / "log"), "APPEND": "true"}.items():
        monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
    _tell(spec, "published")
    timeless = [
        [{**event, "eventTime": ""} for event in each] for each in ([one.body for one in catalogue.posted], events(tmp_path / "log"))
    ]
    assert timeless[0] == timeless[1]


def test_a_server_that_is_busy_is_asked_again(spec: Spec, catalogue: Receiver) -> None:
    catalogue.refusals += [503, 500]
    _tell(spec, "unchanged")
    assert [each.body["eventType"] for each in catalogue.posted] == ["START", "COMPLETE"]


def test_a_server_that_refuses_events_is_a_warning_without_its_secret(spec: Spec, catalogue: Receiver) -> None:
    catalogue.refusals += [403, 422]
    warnings: list[str] = []
    with lineage(spec, "release", RUN, warnings.append) as conclude:
        conclude(_reply("published"))
    assert warnings == [f"no lineage event {kind} was sent (HTTPError)" for kind in ("START", "COMPLETE")]
    assert catalogue.posted == []


def test_a_server_that_is_not_there_is_a_warning(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "http")
        monkeypatch.setenv("OPENLINEAGE__TRANSPORT__URL", f"http://127.0.0.1:{probe.getsockname()[1]}")
        monkeypatch.setenv("OPENLINEAGE__TRANSPORT__RETRY", '{"total": 1}')
        warnings: list[str] = []
        with lineage(spec, "release", RUN, warnings.append) as conclude:
            conclude(_reply("published"))
    assert warnings == [f"no lineage event {kind} was sent (ConnectionError)" for kind in ("START", "COMPLETE")]
