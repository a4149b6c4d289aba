"""What Prefect shows of runs that published nothing, and how runs of one name take turns, on the session's server."""

from __future__ import annotations

import contextvars
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import flow
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ParameterTypeError

from flows.stages.audits import compose
from flows.stages.turns import LEASE_SECONDS, limit_name, turn
from infra.logging import PlainDisplay
from infra.settings import Settings
from infra.stages import Stages
from tasks.contract.spec import Spec, parse_spec
from tests.direct import DirectWork
from tests.receiver import Receiver, receiver
from tests.releasing import ROOT, manifest, save, spec_of


@pytest.fixture
def client(prefect: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def outer_and_inner(client: SyncPrefectClient, name: str) -> tuple[FlowRun, FlowRun]:
    """Return the latest flow run of a release name, and the one that did its work."""
    of_name = FlowRunFilter(name=FlowRunFilterName(any_=[f"release {name}"]))
    outer = client.read_flow_runs(flow_run_filter=of_name, sort=FlowRunSort.START_TIME_DESC)[0]
    inner = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[outer.id]))
    return outer, client.read_flow_runs(flow_run_filter=inner)[0]


@pytest.fixture
def listener() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def subscribe(client: SyncPrefectClient, listener: Receiver) -> None:
    """Create the automation of docs/operations.md that sends a message when a release is rejected, with a webhook as its block."""
    block = CustomWebhookNotificationBlock(
        name="channel", url=f"{listener.url}/channel", json_data={"subject": "{{subject}}", "text": "{{body}}"}
    )
    identity = block.save("channel", overwrite=True)
    [text] = re.findall(r"```yaml\n(name: tell us of rejected releases\n.+?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL)
    automation = yaml.safe_load(text)
    automation["actions"][0]["block_document_id"] = str(identity)
    client._client.post("/automations/", json=automation | {"enabled": True}).raise_for_status()  # as the docs' command


def message_of(listener: Receiver) -> dict[str, str]:
    """Wait for the message: the server handles events a moment after it has them."""
    end = time.monotonic() + 60
    while not (messages := [each.body for each in listener.posted if each.path == "/channel"]):
        assert time.monotonic() < end, "no message came"
        time.sleep(0.1)
    [message] = messages
    return dict(message)


def test_a_rejected_run_is_rejected_in_both_states_sends_a_message_and_ends_its_lineage(
    waymint: Callable[..., Any],
    client: SyncPrefectClient,
    listener: Receiver,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subscribe(client, listener)
    monkeypatch.setenv("OPENLINEAGE_URL", listener.url)
    values = spec_of(source, tmp_path / "store", name="spurned", covariates__synthesizer="bootstrap", mechanisms__repeats=1)
    answer = waymint("release", save(values, tmp_path / "spec.yaml"), "--json")
    assert answer.code == 3, answer.err
    reply = answer.json()
    failed = [gate["name"] for gate in reply["manifest"]["gates"] if gate["status"] == "failed"]
    outer, inner = outer_and_inner(client, "spurned")
    for run in (outer, inner):
        assert run.state is not None
        assert (run.state.name, run.state.type.value) == ("Rejected", "FAILED")
        assert all(name in str(run.state.message) for name in failed)
    message = message_of(listener)
    assert message["subject"] == "Rejected: spurned"
    assert all(name in message["text"] for name in failed)
    assert f"Report: {reply['uri']}/report.html" in message["text"]
    told = [each.body for each in listener.posted if each.path == "/api/v1/lineage"]
    assert [each["eventType"] for each in told] == ["START", "FAIL"]
    assert {(each["run"]["runId"], each["job"]["name"]) for each in told} == {(str(outer.id), "release.spurned")}
    assert [test["name"] for test in told[1]["run"]["facets"]["test"]["tests"] if test["status"] == "fail"] == failed


def test_a_run_says_its_cost_is_unchanged_the_next_time_and_can_draw_anew(
    waymint: Callable[..., Any], client: SyncPrefectClient, source: Path, tmp_path: Path
) -> None:
    values = spec_of(source, tmp_path / "store", name="steady", release__unchanged="skip", mechanisms__repeats=1)
    spec = save(values, tmp_path / "spec.yaml")
    first = waymint("release", spec)
    assert first.code == 0, first.err
    cost = manifest(tmp_path / "store", "steady")["metrics"]
    assert f"cost      {cost['seconds']:.1f} s, {cost['rows_per_second']:,.0f} rows/s" in first.out
    assert sum(each["seconds"] for each in cost["stages"]) <= cost["seconds"]
    second = waymint("release", spec, "--json")
    assert second.code == 0, second.err
    reply = second.json()
    assert (reply["status"], reply["version"], reply["uri"]) == ("unchanged", 1, f"file://{tmp_path}/store/steady/v000001")
    outer, inner = outer_and_inner(client, "steady")
    assert {outer.state_name, inner.state_name} == {"Unchanged"}
    assert len(list((tmp_path / "store" / "steady").glob("v*"))) == 1
    # a run that draws anew names its seed, keeps the split, and can be audited by the SPEC it was asked for with
    anew = save({**values, "release": {**values["release"], "unchanged": "publish", "seed_from": "run"}}, tmp_path / "anew.yaml")
    third = waymint("release", anew, "--json")
    assert third.code == 0, third.err
    drawn = third.json()["manifest"]
    assert drawn["seed"] == drawn["spec"]["seed"] != values["seed"]
    assert drawn["spec"]["source"]["holdout_seed"] == values["seed"]
    again = compose(f"{tmp_path}/store/steady@2", str(anew), [], "membership", None)
    assert (again.seed, again.split_seed) == (drawn["seed"], values["seed"])


def test_the_server_takes_the_work_pool_of_kubernetes(client: SyncPrefectClient) -> None:
    template = json.loads((ROOT / "infra/k8s/work-pool.json").read_text())
    client._client.post("/work_pools/", json={"name": "pods", "type": "kubernetes", "base_job_template": template}).raise_for_status()
    assert client.read_work_pool("pods").base_job_template == template


def test_rules_that_no_schema_holds_are_the_message_of_the_state(prefect: str, client: SyncPrefectClient, source: Path) -> None:
    from flows.release import release

    values = spec_of(source, "store", name="unruly") | {"outcomes": {"other": {"law": "tilt"}}}
    with pytest.raises(ParameterTypeError):
        release(values)
    run = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1)[0]
    assert run.state is not None
    assert run.state.is_failed()
    assert "outcomes must be named in roles.outcome, 'score'; got 'other'" in str(run.state.message)


class Recorder(PlainDisplay):
    """Keeps what is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def _turn(spec: Spec, home: Path, display: Recorder) -> Any:
    return turn(spec, Settings(home=home), Stages(display, work=DirectWork()))


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return parse_spec(spec_of("x.csv", tmp_path / "store", name="turned"))


def test_a_second_run_waits_for_the_first_wherever_it_is(client: SyncPrefectClient, spec: Spec, tmp_path: Path) -> None:
    """The other run has another home, as on another machine: only Prefect's limit lies between them."""
    here, there = Recorder(), Recorder()
    order: list[str] = []

    def other() -> None:
        with _turn(spec, tmp_path / "there", there):
            order.append("second")

    @flow
    def first() -> None:
        with _turn(spec, tmp_path / "here", here):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(other,))
            thread.start()
            while not there.lines:
                thread.join(0.1)
            order.append("first")
        thread.join(60)

    first()
    assert order == ["first", "second"]
    assert here.lines == []
    assert there.lines == [f"waiting: another run of turned is under way (concurrency limit {limit_name(spec)})"]
    assert client.read_global_concurrency_limit_by_name(limit_name(spec)).active_slots == 0


@pytest.mark.parametrize("forgotten", [False, True], ids=["leased", "lease lost with a restart"])
def test_the_turn_of_a_killed_run_is_taken_at_once(client: SyncPrefectClient, spec: Spec, tmp_path: Path, forgotten: bool) -> None:
    name, shown = limit_name(spec), Recorder()
    client.upsert_global_concurrency_limit_by_name(name, 1)
    lease = client.increment_concurrency_slots_with_lease([name], 1, "concurrency", LEASE_SECONDS).json()["lease_id"]
    if forgotten:
        client.release_concurrency_slots_with_lease(lease)
        client.increment_concurrency_slots([name], 1, "concurrency")
    (tmp_path / "home" / "locks").mkdir(parents=True, mode=0o700)
    (tmp_path / "home").chmod(0o700)
    (tmp_path / "home" / "locks" / f"turn-{name}.lock").write_text(f'{{"lease": "{lease}"}}')

    @flow
    def next_run() -> None:
        with _turn(spec, tmp_path / "home", shown):
            assert client.read_global_concurrency_limit_by_name(name).active_slots == 1

    next_run()
    assert shown.lines == []
    assert client.read_global_concurrency_limit_by_name(name).active_slots == 0


def test_a_run_that_waited_too_long_goes_on(client: SyncPrefectClient, spec: Spec, tmp_path: Path) -> None:
    name, shown = limit_name(spec), Recorder()
    client.upsert_global_concurrency_limit_by_name(name, 1)
    client.increment_concurrency_slots_with_lease([name], 1, "concurrency", LEASE_SECONDS)
    impatient = spec.model_copy(update={"engine": spec.engine.model_copy(update={"timeout": 0.1})})

    @flow
    def run() -> str:
        with _turn(impatient, tmp_path / "home", shown):
            return "worked"

    assert run() == "worked"
    assert shown.lines[1] == "warning: the other run did not end within engine.timeout; going on beside it"
