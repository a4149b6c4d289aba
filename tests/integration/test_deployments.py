"""A real Prefect server, a real process worker, the deployments of prefect.yaml: what programs start and operators see."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from tasks.contract.spec import Spec, parse_spec
from tests.forms import BROWSER, form
from tests.site import ROOT, Site, site, write_source

__all__ = ["site"]

FILE = ROOT / "prefect.yaml"
NAMES = [f"{name}-on-demand" for name in ("release", "audit", "compare", "simulate", "augment")]

pytestmark = pytest.mark.timeout(500)


def test_the_file_names_no_machine() -> None:
    config = yaml.safe_load(FILE.read_text())
    assert "pull" not in config
    assert not any("pull" in deployment for deployment in config["deployments"])
    entrypoints = {deployment["entrypoint"] for deployment in config["deployments"]}
    assert entrypoints == {"flows/release.py:release", "flows/audit.py:audit_release"} | {
        f"flows/{name}.py:{name}" for name in ("compare", "simulate", "augment", "watch")
    }


def test_the_specs_of_the_file_are_the_example() -> None:
    example = parse_spec(tomllib.loads((ROOT / "examples/nhefs.toml").read_text()))
    skipping = example.model_copy(update={"release": example.release.model_copy(update={"unchanged": "skip"})})
    for deployment in yaml.safe_load(FILE.read_text())["deployments"]:
        if deployment["entrypoint"] == "flows/audit.py:audit_release":
            assert deployment["parameters"] == {"release": f"{example.store.uri}/{example.name}", "source": example.source.uri}
        else:
            assert list(deployment["parameters"]) == ["spec"]
            repeats = deployment["name"].endswith("-on-demand")
            assert parse_spec(deployment["parameters"]["spec"]) == (example if repeats else skipping)


def test_the_deployments_are_on_the_server(site: Site) -> None:
    found = {deployment["name"]: deployment for deployment in site.ask("deployments/filter", {})}
    assert set(found) >= {"release-nightly", "release-on-change", "watch-source", *NAMES}
    nightly, on_demand = found["release-nightly"], found["release-on-demand"]
    assert [entry["schedule"]["cron"] for entry in nightly["schedules"]] == ["0 2 * * *"]
    assert [entry["active"] for entry in nightly["schedules"]] == [True]
    assert on_demand["schedules"] == []
    # the UI draws its form from this: one parameter, with the SPEC's own schema
    schema = on_demand["parameter_openapi_schema"]
    assert list(schema["properties"]) == ["spec"]
    definitions = json.loads(json.dumps(schema["definitions"]).replace("#/definitions/", "#/$defs/"))
    whole = definitions.pop("Spec")
    assert whole | {"$defs": definitions} == Spec.model_json_schema()
    [automation] = site.ask("automations/filter", {})
    assert automation["trigger"]["expect"] == ["waymint.source.changed"]
    assert [action["deployment_id"] for action in automation["actions"]] == [found["release-on-change"]["id"]]


@pytest.mark.browser
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on the path")
def test_the_form_of_a_run_has_a_field_for_every_key(site: Site) -> None:
    """The picture in the docs is ``python -m tests.forms SERVER docs/run-form.png``."""
    page = form(site.url.removesuffix("/api"), "--dump-dom")
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    sections = [name for name in Spec.model_fields if hasattr(Spec.model_fields[name].annotation, "model_fields")]
    for key in (*sections, "name", "seed", "holdout_seed", "seed_from", "unchanged"):
        assert f" {key.replace('_', ' ').title()} " in words, key
    # a key that may be left out is one field, and no choice between a type and none
    assert " Holdout Seed (Optional) seed of the split into training rows and holdout; where left out: seed Roles " in words


def test_a_run_without_a_worker_is_late_and_then_publishes(site: Site) -> None:
    assert (site.late["state_name"], site.late["state_type"]) == ("Late", "SCHEDULED")
    run = site.ended(site.late)
    assert run["state_type"] == "COMPLETED", site.logs(run)
    [manifest] = site.published("demanded")
    assert sum(file["rows"] or 0 for file in manifest["files"] if file["path"].startswith("data/copy-0/")) == 300


def test_the_page_of_a_run_says_what_was_published(site: Site) -> None:
    """Goes on from the release that the test before published."""
    [manifest], run = site.published("demanded"), site.ended(site.late)
    artifacts, uri = site.artifacts(run), f"file://{site.folder}/store/demanded/v000001"
    assert set(artifacts) == {"progress", "stages", "gates", "release-demanded", "report-demanded"}
    page = artifacts["release-demanded"]["data"]
    assert f"# demanded version 1\n\n**Published.**\n\n- release: `{uri}`" in page
    assert f"[{uri}/report.html]" in artifacts["report-demanded"]["data"] + page
    for section in ("Effect (ATE)", "Error of the effect by step", "Gates", "Cost"):
        assert f"\n## {section}\n" in page
    for gate in manifest["gates"]:
        assert f"| {gate['name']} |" in page
    for where in ("source", "release"):
        assert f"| {where} | {manifest['effects'][where]['ate']['estimate']:.4g} |" in page
    assert '"fit treatment and outcome"' in artifacts["stages"]["data"]
    logged = site.logs(run)
    assert "fit treatment and outcome: done in" in logged
    stages = {each["stage"] for each in manifest["metrics"]["stages"]}
    assert {"read source: plan", "fit treatment and outcome", "draw release"} <= stages
    assert manifest["metrics"]["rows_per_second"] == pytest.approx(300 / manifest["metrics"]["seconds"], rel=0.02)
    assert manifest["metrics"]["peak_mib"] > 100


def test_an_event_of_a_release_starts_what_comes_after_it(site: Site) -> None:
    """An automation on ``waymint.release.published`` audits every release of one name, with the URI of its event."""
    site.folder.joinpath("automation.yaml").write_text(yaml.safe_dump(_automation(site)))
    site.prefect("automation", "create", "--from-file", str(site.folder / "automation.yaml"))
    run = site.ended(site.run("release/release-on-demand", site.spec("followed")))
    assert run["state_type"] == "COMPLETED", site.logs(run)
    [event] = site.events("waymint.release.published", "waymint.release.followed")
    [manifest] = site.published("followed")
    payload = event["payload"]
    assert (event["resource"]["waymint.uri"], event["resource"]["waymint.version"]) == (payload["uri"], str(payload["version"]))
    assert (payload["version"], payload["failed"], payload["run"]) == (1, [], manifest["run"])
    assert {gate["name"] for gate in payload["gates"]} == {gate["name"] for gate in manifest["gates"]}
    assert payload["effect"]["release"]["estimate"] == manifest["effects"]["release"]["ate"]["estimate"]
    related = {each["prefect.resource.role"]: each["prefect.resource.id"] for each in event["related"]}
    assert related["source"] == "waymint.source.followed"
    assert related["flow-run"] == f"prefect.flow-run.{run['id']}"
    audit = site.first_ended("audit-on-demand")
    assert audit["state_type"] == "COMPLETED", site.logs(audit)
    assert audit["parameters"]["release"] == payload["uri"]
    assert len(list((site.folder / "store/followed/audits/v000001").glob("*/audit.json"))) == 1


def _automation(site: Site) -> dict[str, Any]:
    """Return the automation of docs/operations.md, for the release that the test follows."""
    identity = site.ask("deployments/name/audit-release/audit-on-demand")["id"]
    parameters = {"release": "{{ event.resource['waymint.uri'] }}", "source": str(site.folder / "source.csv"), "attacks": "linkability"}
    return {
        "name": "audit after release",
        "trigger": {
            "type": "event",
            "match": {"prefect.resource.id": "waymint.release.followed"},
            "expect": ["waymint.release.published"],
            "posture": "Reactive",
            "threshold": 1,
            "within": 0,
        },
        "actions": [{"type": "run-deployment", "source": "selected", "deployment_id": identity, "parameters": parameters}],
    }


def test_a_second_run_of_a_name_waits_and_skips_what_the_first_has_published(site: Site) -> None:
    spec = site.spec("twice", release={"rows": 300, "unchanged": "skip"})
    asked = [site.run("release/release-on-demand", spec) for _ in range(2)]
    runs = sorted((site.ended(each) for each in asked), key=lambda run: str(run["state_name"]))
    assert [run["state_name"] for run in runs] == ["Completed", "Unchanged"], [site.logs(run) for run in runs]
    first, second = (site.inner(run) for run in runs)
    assert second["start_time"] >= first["end_time"]
    assert second["state_name"] == "Unchanged"
    assert runs[1]["state"]["message"] == "unchanged: nothing was published, the rows would be those of twice v000001"
    assert len(site.published("twice")) == 1
    # unless the first was done before the second had begun, that says whom it waits for
    if runs[1]["start_time"] < first["end_time"]:
        assert "waiting: another run of twice is under way" in site.logs(runs[1])
    [event] = site.events("waymint.release.unchanged", "waymint.release.twice")
    assert event["payload"]["uri"] == f"file://{site.folder}/store/twice/v000001"


def test_a_bad_spec_is_refused_before_there_is_a_run(site: Site) -> None:
    before = len(site.ask("flow_runs/filter", {}))
    faults: dict[str, dict[str, Any]] = {
        "out of its range": {"release": {"rows": 0}},
        "no such key": {"release": {"row": 300}},
        "of another type": {"seed": "seven"},
        "two keys that don't go together": {"release": {"draws": "balanced", "mode": "full"}},
        "skipped, but always other rows": {"release": {"unchanged": "skip", "seed_from": "run"}},
    }
    answers = {name: site.start("release/release-on-demand", site.spec("refused", **fault)) for name, fault in faults.items()}
    assert {name: answer.status_code for name, answer in answers.items()} == dict.fromkeys(faults, 409)
    assert "0 is less than the minimum of 1" in answers["out of its range"].text
    assert len(site.ask("flow_runs/filter", {})) == before


def test_one_key_starts_one_run(site: Site) -> None:
    """A caller that does not know whether its call arrived repeats it with the same key."""
    deployment = site.ask("deployments/name/release/release-on-demand")
    body = {"parameters": {"spec": site.spec("keyed")}, "idempotency_key": "order-17", "state": {"type": "SCHEDULED", "state_details": {}}}
    body["state"]["state_details"] = {"scheduled_time": (datetime.now(UTC) + timedelta(days=1)).isoformat()}  # type: ignore[index]
    answers = [site.post(f"deployments/{deployment['id']}/create_flow_run", body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_schedule_sees_a_new_source_and_its_event_mints(site: Site) -> None:
    """The deployments watch-source and release-on-change, for another table and due in seconds."""
    spec = site.spec("landed", source={"uri": str(write_source(site.folder / "landed.csv", 620))})
    config = {deployment["name"]: deployment for deployment in yaml.safe_load(FILE.read_text())["deployments"]}
    due = {"interval": 120, "anchor_date": (datetime.now(UTC) + timedelta(seconds=15)).isoformat(), "active": True}
    trigger = config["release-on-change"]["triggers"][0] | {"match": {"prefect.resource.id": "waymint.source.landed"}}
    deployments = [
        config["release-on-change"] | {"name": "mint-landed", "parameters": {"spec": spec}, "triggers": [trigger]},
        config["watch-source"] | {"name": "watch-landed", "parameters": {"spec": spec}, "schedules": [due]},
    ]
    file = site.folder / "prefect.yaml"
    file.write_text(yaml.safe_dump({"name": "waymint", "deployments": deployments}))
    site.prefect("deploy", "--prefect-file", str(file), "--all")
    watched = site.first_ended("watch-landed")
    assert watched["auto_scheduled"] is True
    assert watched["state_name"] == "Completed", site.logs(watched)
    run = site.first_ended("mint-landed")
    assert run["state_type"] == "COMPLETED", site.logs(run)
    [manifest] = site.published("landed")
    [event] = site.events("waymint.source.changed", "waymint.source.landed")
    assert event["payload"]["fingerprint"] == manifest["source"]["fingerprint"]
    # the same content a second time is no news
    again = site.ended(site.run("watch/watch-landed", spec))
    assert again["state_name"] == "Unchanged", site.logs(again)
    assert len(site.events("waymint.source.changed", "waymint.source.landed")) == 1
