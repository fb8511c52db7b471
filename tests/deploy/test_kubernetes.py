"""deploy/k8s: what can be known of it without a cluster."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from deploy import nginx
from deploy.check_config import nginx_findings
from deploy.plan import ROOT
from exchange.settings import ExchangeServerSettings
from ingestor.settings import IngestorSettings
from server.settings import ReplicaSettings

FOLDER = ROOT / "deploy" / "k8s"
ROLES: dict[str, type[BaseSettings]] = {
    "exchange": ExchangeServerSettings,
    "ingestor": IngestorSettings,
    "replica": ReplicaSettings,
}
OLDEST_KUSTOMIZE = 4
"""Older ones know neither `envs` nor folders among the resources."""


def manifests() -> list[dict[str, Any]]:
    """Every resource of both kustomizations as it is written."""
    files = [path for path in sorted(FOLDER.glob("*/*.yaml")) if path.name != "kustomization.yaml"]
    return [document for path in files for document in yaml.safe_load_all(path.read_text())]


def pods() -> dict[str, dict[str, Any]]:
    """Pod templates by the name of what makes them."""
    return {
        each["metadata"]["name"]: each["spec"]["template"] for each in manifests() if "template" in each.get("spec", {})
    }


def container(name: str) -> dict[str, Any]:
    (only,) = pods()[name]["spec"]["containers"]
    return dict(only)


def literal_environment(name: str) -> dict[str, str]:
    """The environment of a pod as far as it is written beside it."""
    return {each["name"]: each["value"] for each in container(name)["env"] if "value" in each}


def validate(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "kubernetes-validate"), "--strict", "--quiet", *map(str, paths)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def kustomize_version() -> int:
    """The major version of the kustomize in kubectl; 0 without one."""
    if shutil.which("kubectl") is None:
        return 0
    answer = subprocess.run(
        ["kubectl", "version", "--client", "-o", "json"],
        check=False,
        capture_output=True,
        text=True,
    ).stdout
    version = json.loads(answer or "{}").get("kustomizeVersion", "v0")
    return int(version.removeprefix("v").split(".")[0])


@pytest.mark.parametrize("variant", ["base", "simulated"])
def test_kustomize_builds_what_kubernetes_accepts(variant: str, tmp_path: Path) -> None:
    if kustomize_version() < OLDEST_KUSTOMIZE:
        pytest.skip(f"no kubectl with kustomize {OLDEST_KUSTOMIZE} here")
    build = ["kubectl", "kustomize", str(FOLDER / variant)]
    built = subprocess.run(build, check=True, capture_output=True, text=True).stdout
    assert all(each["metadata"].get("namespace", "tickcast") == "tickcast" for each in yaml.safe_load_all(built))
    assert (nginx.TEMPLATE.read_text().splitlines()[0]) in built
    rendered = tmp_path / "all.yaml"
    rendered.write_text(built)
    assert validate(rendered).returncode == 0, validate(rendered).stdout


def test_a_misspelt_field_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((FOLDER / "base" / "redis.yaml").read_text().replace("periodSeconds", "periodSecond", 1))
    result = validate(wrong)
    assert result.returncode != 0
    assert "periodSecond" in result.stdout + result.stderr


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_given_no_setting_that_it_does_not_have(role: str) -> None:
    known = {name.upper() for settings in ROLES.values() for name in settings.model_fields}
    given = {line.partition("=")[0] for line in (FOLDER / "base" / "settings.env").read_text().split()}
    own = {each["name"] for each in container(role)["env"]}
    assert given <= known
    assert own <= {name.upper() for name in ROLES[role].model_fields}


def test_nginx_is_given_every_setting_of_its_template_and_takes_the_result(tmp_path: Path) -> None:
    given = literal_environment("nginx")
    template = nginx.TEMPLATE.read_text()
    assert nginx.placeholders(template) <= given.keys()
    # `resolve` and the names exist in the cluster alone.
    servers = re.sub(r"server \S+:", "server 127.0.0.1:", given["NGINX_SERVERS"].replace(" resolve", ""))
    values = {
        **given,
        "NGINX_STATE": str(tmp_path),
        "NGINX_ACCESS_LOG": "off",
        "NGINX_RESOLVER": "",
        "NGINX_SERVERS": servers,
    }
    assert nginx_findings(nginx.render(template, values), tmp_path) == []


def test_every_pod_is_bounded_probed_and_unprivileged() -> None:
    for name, template in pods().items():
        spec, only = template["spec"], container(name)
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert only["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert "readinessProbe" in only, name
        assert only["resources"]["limits"].keys() == {"memory"}, name
        assert only["resources"]["requests"].keys() == {"cpu", "memory"}, name


def test_services_policies_and_budgets_select_pods_that_are_there() -> None:
    names = pods().keys()
    for each in manifests():
        spec = each.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector") or {}
        labels = selector.get("matchLabels", selector)
        wanted = [labels[key] for key in labels if key == "app.kubernetes.io/name"]
        wanted += [value for match in selector.get("matchExpressions", ()) for value in match["values"]]
        assert set(wanted) <= names, each["metadata"]["name"]


def test_nginx_forgets_a_replica_before_its_drain_is_over() -> None:
    settings = dict(line.split("=", 1) for line in (FOLDER / "base" / "settings.env").read_text().split())
    drain_s = float(settings["DRAIN_SECONDS"])
    resolver = literal_environment("nginx")["NGINX_RESOLVER"]
    (known_s,) = re.findall(r"valid=(\d+)s", resolver)
    assert drain_s >= 2 * int(known_s)
    assert pods()["replica"]["spec"]["terminationGracePeriodSeconds"] >= drain_s + 15


def test_a_draining_replica_is_not_taken_for_a_dead_one() -> None:
    probes = container("replica")
    assert probes["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    # Its path goes on answering 200 while it drains.
    assert {probes[kind]["httpGet"]["path"] for kind in ("livenessProbe", "startupProbe")} == {"/health/live"}


def test_the_only_balancing_that_tells_addresses_of_one_name_apart_is_used() -> None:
    given = literal_environment("nginx")
    assert given["NGINX_SERVERS"].count("server ") == 1
    assert given["NGINX_BALANCE"] == "ip_hash"


def test_a_rolling_update_never_has_fewer_replicas_than_before() -> None:
    (deployment,) = [
        each for each in manifests() if each["kind"] == "Deployment" and each["metadata"]["name"] == "replica"
    ]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert "replicas" not in deployment["spec"]
    (scaler,) = [each for each in manifests() if each["kind"] == "HorizontalPodAutoscaler"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "replica"
    assert {metric["type"] for metric in scaler["spec"]["metrics"]} == {"Pods", "Resource"}
