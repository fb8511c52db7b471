"""deploy/k8s/secured: what its patches make of the base, as kustomize merges them (by names of lists' entries)."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.plan import ROOT
from deploy.secure import Secrets
from ingestor.settings import IngestorSettings
from server.settings import ReplicaSettings
from tests.deploy.test_kubernetes import FOLDER, OLDEST_KUSTOMIZE, kustomize_version, manifests, validate

SECURED: dict[str, Any] = yaml.safe_load((FOLDER / "secured" / "kustomization.yaml").read_text())
PATCHES: dict[str, Any] = {
    patch["metadata"]["name"]: patch for patch in (yaml.safe_load(each["patch"]) for each in SECURED["patches"])
}


def merged(base: Any, patch: Any) -> Any:
    """A strategic merge: objects by field, lists of named things by name or mountPath, everything else replaced."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return base | {key: merged(base.get(key), value) for key, value in patch.items()}
    key = next((key for key in ("mountPath", "name") if isinstance(patch, list) and key in patch[0]), None)
    if key is None or not isinstance(base, list):
        return patch
    found = {each[key]: each for each in base}
    return list((found | {each[key]: merged(found.get(each[key]), each) for each in patch}).values())


def secured(name: str) -> dict[str, Any]:
    """One workload with its patch."""
    (base,) = [
        each for each in manifests() if (each["kind"], each["metadata"]["name"]) == (PATCHES[name]["kind"], name)
    ]
    return dict(merged(base, PATCHES[name]))


def pod(name: str) -> dict[str, Any]:
    return dict(secured(name)["spec"]["template"]["spec"])


def named(container: dict[str, Any], field: str) -> dict[str, Any]:
    """The entries of one of a container's lists by their names."""
    return {each["name"]: each for each in container.get(field, [])}


@pytest.mark.parametrize("name", PATCHES)
def test_a_patched_workload_is_one_that_kubernetes_accepts(name: str, tmp_path: Path) -> None:
    path = tmp_path / "patched.yaml"
    path.write_text(yaml.safe_dump(secured(name)))
    assert validate(path).returncode == 0, validate(path).stdout


def test_kustomize_builds_it_with_the_secrets_that_were_made(secrets: Secrets, tmp_path: Path) -> None:
    if kustomize_version() < OLDEST_KUSTOMIZE:
        pytest.skip(f"no kubectl with kustomize {OLDEST_KUSTOMIZE} here")
    for folder in ("deploy/k8s", "deploy/redis", "nginx"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copytree(secrets.directory, tmp_path / "deploy/k8s/secured/secrets", dirs_exist_ok=True)
    build = ["kubectl", "kustomize", str(tmp_path / "deploy/k8s/secured")]
    built = subprocess.run(build, check=True, capture_output=True, text=True).stdout
    rendered = tmp_path / "all.yaml"
    rendered.write_text(built)
    assert validate(rendered).returncode == 0, validate(rendered).stdout
    for name in PATCHES:
        (workload,) = [
            each
            for each in yaml.safe_load_all(built)
            if (each["kind"], each["metadata"]["name"]) == (PATCHES[name]["kind"], name)
        ]
        (only,), (expected,) = workload["spec"]["template"]["spec"]["containers"], pod(name)["containers"]
        for field in ("env", "volumeMounts"):
            assert named(only, field) == named(expected, field)


def test_every_file_that_is_named_is_in_a_secret_of_the_pod(secrets: Secrets) -> None:
    generated = {each["name"]: dict(entry.split("=") for entry in each["files"]) for each in SECURED["secretGenerator"]}
    for name, patch in PATCHES.items():
        (volume,) = [each for each in pod(name)["volumes"] if each["name"] == "bus"]
        there = generated[volume["secret"]["secretName"]]
        text = yaml.safe_dump(patch) + (ROOT / "deploy/redis/redis.conf").read_text() * (name == "redis")
        assert set(re.findall(r"/run/secrets/(\w+)", text)) == there.keys()
        for path in there.values():
            assert (secrets.directory / Path(path).name).is_file(), "deploy/make-secrets.sh makes it"


def test_a_role_is_given_settings_that_it_has_and_keeps_its_own() -> None:
    for name, settings in (("ingestor", IngestorSettings), ("replica", ReplicaSettings)):
        (only,) = pod(name)["containers"]
        given = {each["name"]: each.get("value", "") for each in only["env"]}
        assert given.keys() <= {field.upper() for field in settings.model_fields}
        assert given["BUS_URL"] == f"rediss://tickcast-{name}@redis:6379"
        assert "PORT" in given
    assert [mount["mountPath"] for mount in pod("redis")["containers"][0]["volumeMounts"]] == [
        "/data",
        "/etc/redis",
        "/run/secrets",
    ]
