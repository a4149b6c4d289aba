"""The files that start a site hold to their schemas, and to what a careful operator asks of them."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from infra.site_secrets import CERTIFICATE, KEY, WORDS, dask_environment, write_secrets
from tasks.contract.errors import SpecError
from tests.dockerfile import stages

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "infra/compose.yaml"
K8S = ROOT / "infra/k8s"
#: Oldest and newest Kubernetes that the manifests are checked against.
KUBERNETES = ("1.30", "1.36")


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text()))


def manifests() -> Iterator[dict[str, Any]]:
    for name in yaml.safe_load((K8S / "kustomization.yaml").read_text())["resources"]:
        yield from yaml.safe_load_all((K8S / name).read_text())


def pods() -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in manifests() if "template" in each.get("spec", {})}


# -- the image ---------------------------------------------------------------------------------------------------------
def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint") or str(Path(sys.executable).parent / "hadolint")
    done = subprocess.run([hadolint, str(ROOT / "infra/docker/Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", ["waymint", "s3"])
def test_no_image_runs_as_root(name: str) -> None:
    stage = stages(ROOT / "infra/docker/Dockerfile")[name]
    assert stage.user == "1000:1000"
    assert stage.entrypoint == ["entrypoint.sh"]


# -- compose -----------------------------------------------------------------------------------------------------------
def test_compose_holds_to_its_schema() -> None:
    found = importlib.util.find_spec("check_jsonschema")
    assert found is not None
    assert found.origin is not None
    schema = json.loads((Path(found.origin).parent / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validate(compose(), schema)


@pytest.mark.parametrize("name", sorted(compose()["services"]))
def test_every_service_is_closed_watched_and_limited(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "healthcheck" in service
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_secrets_are_files_and_every_one_can_be_made(tmp_path: Path) -> None:
    config = compose()
    made = {path.name for path in write_secrets(tmp_path / "secrets")}
    assert {Path(each["file"]).name for each in config["secrets"].values()} == made
    for name, service in config["services"].items():
        needed = {Path(value).name for value in service.get("environment", {}).values() if str(value).startswith("/run/secrets/")}
        assert needed == set(service.get("secrets", ())), name
        words = [key for key in service.get("environment", {}) if key.endswith(("_PASSWORD", "_SECRET_ACCESS_KEY", "_AUTH_STRING", "_KEY"))]
        assert [key for key in words if "TLS" not in key] == [], name


def test_dask_in_containers_speaks_what_the_product_says() -> None:
    expected = dask_environment("/run/secrets/dask-certificate", "/run/secrets/dask-key")
    services = compose()["services"]
    for name in ("dask-scheduler", "dask-worker", "prefect-worker"):
        assert expected.items() <= services[name]["environment"].items()
    [settings] = [each["data"] for each in manifests() if each["kind"] == "ConfigMap"]
    folder = "/run/secrets/waymint"
    assert dask_environment(f"{folder}/{CERTIFICATE}", f"{folder}/{KEY}").items() <= settings.items()


# -- Kubernetes --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", KUBERNETES)
def test_manifests_hold_to_their_schemas(version: str) -> None:
    found = list(manifests())
    assert len(found) == 15
    for each in found:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_wrong_manifest_is_seen() -> None:
    [wrong] = [each for each in manifests() if each["kind"] == "StatefulSet"]
    wrong["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("name", ["postgres", "prefect-server", "prefect-worker", "dask-scheduler", "dask-worker"])
def test_every_pod_is_closed_watched_and_limited(name: str) -> None:
    pod = pods()[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = pod["containers"]
    closed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert container["securityContext"] == closed
    assert set(container["resources"]) == {"requests", "limits"}
    assert "livenessProbe" in container
    assert "startupProbe" in container or "readinessProbe" in container
    assert not any("secretKeyRef" in each.get("valueFrom", {}) for each in container.get("env", ()))


def test_pods_mount_the_secrets_that_they_read_and_no_other(tmp_path: Path) -> None:
    [settings] = [each["data"] for each in manifests() if each["kind"] == "ConfigMap"]
    made = {path.name for path in write_secrets(tmp_path / "secrets")}
    for name, pod in pods().items():
        [container] = pod["containers"]
        values = {each["name"]: each["value"] for each in container.get("env", ())} | (settings if "envFrom" in container else {})
        needed = {Path(value).name for value in values.values() if value.startswith("/run/secrets/")}
        [secret] = [each["secret"] for each in pod["volumes"] if "secret" in each]
        assert {item["key"] for item in secret["items"]} == needed, name
        assert needed <= made, name


def filled(value: Any, variables: dict[str, Any]) -> Any:
    """Return a work pool's job with its variables put in, as the worker does; where one has no default, with a value of its type."""
    if isinstance(value, dict):
        return {key: filled(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, variables) for each in value]
    name = value.removeprefix("{{ ").removesuffix(" }}") if isinstance(value, str) and value.startswith("{{ ") else ""
    special = {"env": [{"name": "A", "value": "b"}], "command": ["prefect", "flow-run", "execute"], "labels": {"a": "b"}}
    return special.get(name) or variables[name].get("default", "run") if name and "}}-" not in value else value


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_job_of_the_work_pool_holds_to_its_schema_and_is_as_closed_as_the_worker(version: str) -> None:
    template = json.loads((K8S / "work-pool.json").read_text())
    job = filled(template["job_configuration"]["job_manifest"], template["variables"]["properties"])
    kubernetes_validate.validate(job, version, strict=True)
    pod, worker = job["spec"]["template"]["spec"], pods()["prefect-worker"]
    for key in ("securityContext", "serviceAccountName", "automountServiceAccountToken", "volumes"):
        assert pod[key] == worker[key], key
    for key in ("securityContext", "volumeMounts", "envFrom"):
        assert pod["containers"][0][key] == worker["containers"][0][key], key
    config = yaml.safe_load((K8S / "kustomization.yaml").read_text())["images"][0]
    assert pod["containers"][0]["image"] == f"{config['newName']}:{config['newTag']}"
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


def test_selectors_find_the_pods() -> None:
    everything = list(manifests())
    labels = {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"]
        for each in everything
        if "template" in each.get("spec", {})
    }
    for service in (each for each in everything if each["kind"] == "Service"):
        assert service["spec"]["selector"] == labels[service["metadata"]["name"]]
    [scaler] = [each for each in everything if each["kind"] == "HorizontalPodAutoscaler"]
    assert scaler["spec"]["scaleTargetRef"]["name"] in labels


@pytest.mark.slow  # needs kubectl
def test_kustomize_builds_the_site() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl: the manifests were checked one by one, and kustomization.yaml was not built")
    done = subprocess.run([kubectl, "kustomize", str(K8S)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == 15
    images = {
        container["image"]
        for each in built
        if "template" in each.get("spec", {})
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"registry.example/waymint:0.1.0", "postgres:16.10-bookworm"}


# -- secrets -----------------------------------------------------------------------------------------------------------
def test_secrets_are_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    made = write_secrets(folder)
    assert {path.name for path in made} == {*WORDS, CERTIFICATE, KEY}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = {path: path.read_bytes() for path in made}
    assert write_secrets(folder) == []
    assert {path: path.read_bytes() for path in made} == before
    assert len(set(before.values())) == len(before)


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    write_secrets(tmp_path / "secrets")
    (tmp_path / "secrets" / KEY).unlink()
    with pytest.raises(SpecError, match=f"must hold both {CERTIFICATE} and {KEY}"):
        write_secrets(tmp_path / "secrets")
