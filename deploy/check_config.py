"""`python -m deploy.check_config`: would Nginx take its configuration, and does a linter find fault with it?

Both renderings of the one template are checked: the local cluster's and the container's.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import typer

from deploy import nginx
from deploy.plan import ROOT, cluster_plan

_TOOLS: Final = Path(sys.executable).parent


def compose_services(*files: str) -> dict[str, Any]:
    """The services of docker-compose.yml, or of `files` over each other, as Compose itself reads all profiles.

    Raises:
        subprocess.CalledProcessError: Compose refuses the file; `stderr` says why.
    """
    compose = (str(_TOOLS / "docker-compose"), "--project-directory", str(ROOT), "--profile", "*")
    named = [word for file in files for word in ("-f", str(ROOT / file))]
    command = [*compose, *named, "config", "--format", "json"]
    config = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    services: dict[str, Any] = config["services"]
    return services


def container_values(services: Mapping[str, Any], state_dir: Path) -> dict[str, str]:
    """The template's values in the container, with what only exists there replaced.

    Names of containers become addresses, and `resolve` goes: Debian's Nginx is older than it (1.27.3).
    """
    values: dict[str, str] = dict(services["nginx"]["environment"])
    servers = values["NGINX_SERVERS"].replace(" resolve", "")
    for name in services:
        servers = servers.replace(f" {name}:", " 127.0.0.1:")
    return {**values, "NGINX_SERVERS": servers, "NGINX_STATE": str(state_dir), "NGINX_ACCESS_LOG": "off"}


def local_configuration(state_dir: Path) -> str:
    """The configuration of a local cluster with two replicas."""
    plan = cluster_plan(
        state_dir=state_dir,
        nginx_port=8080,
        replica_ports=(3000, 3001),
        ingestor_ports=(9200, 9201),
        bus_port=6379,
        exchange_port=9100,
    )
    return plan.files[state_dir / "nginx.conf"]


def nginx_findings(configuration: str, directory: Path) -> list[str]:
    """What `nginx -t` and gixy find wrong with `configuration`; empty if nothing. Files go into `directory`."""
    path = directory / "nginx.conf"
    path.write_text(configuration)
    checks = (
        [nginx.executable(), "-e", "stderr", "-t", "-q", "-c", str(path)],
        [str(_TOOLS / "gixy"), str(path)],
    )
    results = [subprocess.run(check, check=False, capture_output=True, text=True) for check in checks]
    return [result.stdout + result.stderr for result in results if result.returncode != 0]


def main() -> None:
    """Check both renderings; exit status 1 if anything is wrong."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        container = nginx.render(nginx.TEMPLATE.read_text(), container_values(compose_services(), directory))
        findings = [
            finding
            for configuration in (local_configuration(directory), container)
            for finding in nginx_findings(configuration, directory)
        ]
    for finding in findings:
        typer.echo(finding, err=True)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
