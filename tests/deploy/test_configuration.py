import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from bus import open_bus
from deploy import nginx
from deploy.check_config import compose_services, container_values, local_configuration, nginx_findings
from deploy.plan import ROOT
from exchange.settings import ExchangeServerSettings
from ingestor.settings import IngestorSettings
from server.doors import documents as documents_door
from server.settings import ReplicaSettings
from tests.bus.support import until
from tests.support.processes import free_port, nats_server

MONITORING = {"prometheus", "alertmanager", "grafana"}
ROLES: dict[str, type[BaseSettings]] = {
    "exchange": ExchangeServerSettings,
    "ingestor": IngestorSettings,
    "app1": ReplicaSettings,
}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return compose_services()


def test_nginx_and_its_linter_find_nothing_in_the_local_cluster_s_configuration(tmp_path: Path) -> None:
    assert nginx_findings(local_configuration(tmp_path), tmp_path) == []


def test_the_container_s_nginx_speaks_tls_where_it_is_told_of_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NGINX_TLS_CERT", "cert.pem")
    monkeypatch.setenv("NGINX_TLS_KEY", "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    paths = ["-subj", "/CN=tickcast", "-out", str(tmp_path / "cert.pem"), "-keyout", str(tmp_path / "key.pem")]
    subprocess.run([*command, *paths], check=True, capture_output=True)
    values = container_values(compose_services(), tmp_path)
    mounted = values["NGINX_TLS"].replace("/tls/", f"{tmp_path}/")

    assert "listen 8443 ssl;" in mounted
    configuration = nginx.render(nginx.TEMPLATE.read_text(), {**values, "NGINX_TLS": mounted})
    assert nginx_findings(configuration, tmp_path) == []


def test_a_certificate_without_its_key_stops_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NGINX_TLS_CERT", "cert.pem")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        compose_services()
    assert "goes with NGINX_TLS_CERT" in refused.value.stderr


def test_nginx_and_its_linter_find_nothing_in_the_container_s_configuration(
    services: dict[str, Any], tmp_path: Path
) -> None:
    values = container_values(services, tmp_path)
    assert nginx_findings(nginx.render(nginx.TEMPLATE.read_text(), values), tmp_path) == []


def test_a_misspelt_directive_is_found(tmp_path: Path) -> None:
    broken = local_configuration(tmp_path).replace("proxy_buffering off", "proxy_bufering off")
    assert 'unknown directive "proxy_bufering"' in nginx_findings(broken, tmp_path)[0]


def test_what_a_linter_knows_to_be_unsafe_is_found(tmp_path: Path) -> None:
    unsafe = local_configuration(tmp_path).replace("Host $requested_host", "Host $http_host")
    assert "host_spoofing" in nginx_findings(unsafe, tmp_path)[0]


def test_a_template_with_a_setting_that_nobody_gave_is_refused() -> None:
    with pytest.raises(ValueError, match="NGINX_LISTEN, NGINX_USER"):
        nginx.render("${NGINX_USER} listen ${NGINX_LISTEN}; $host", {})


def test_nginx_s_own_variables_are_left_alone() -> None:
    assert nginx.render("listen ${NGINX_LISTEN}; $host ${host}", {"NGINX_LISTEN": "1"}) == "listen 1; $host ${host}"


def test_the_container_gives_every_setting_of_the_template_and_substitutes_no_other(services: dict[str, Any]) -> None:
    environment = services["nginx"]["environment"]
    given = {name for name in environment if re.search(environment["NGINX_ENVSUBST_FILTER"], name)}

    assert nginx.placeholders(nginx.TEMPLATE.read_text()) == given - {
        "NGINX_ENVSUBST_FILTER",
        "NGINX_ENVSUBST_OUTPUT_DIR",
    }


def test_the_documents_ports_all_lead_to_nginx_and_monitoring_is_for_this_machine_alone(
    services: dict[str, Any],
) -> None:
    ports = {port["published"]: port["target"] for port in services["nginx"]["ports"]}

    assert ports == {"8080": 8080, "8081": 8080, "5021": 8080, "8443": 8443}
    others = {name: service["ports"] for name, service in services.items() if "ports" in service and name != "nginx"}
    assert others.keys() == MONITORING
    assert {port["host_ip"] for ports in others.values() for port in ports} == {"127.0.0.1"}


def test_every_container_is_bounded_restarted_and_unprivileged(services: dict[str, Any]) -> None:
    assert services.keys() == {"redis", "nats", "exchange", "ingestor", "app1", "app2", "nginx"} | MONITORING
    for name, service in services.items():
        assert service["restart"] in ("unless-stopped", "on-failure"), name
        assert int(service["mem_limit"]) > 0, name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "user" in service or service["image"] == "tickcast:local", name
    assert "USER 10001" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("name", ROLES)
def test_a_container_s_settings_are_ones_that_its_process_takes(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in services[name]["environment"].items():
        monkeypatch.setenv(variable, value)
    settings = ROLES[name]().model_dump()

    assert settings["exchange_url"] == "http://exchange:9100"
    assert settings.get("bus_url", "redis://redis:6379/0") == "redis://redis:6379/0"


def test_ingestors_record_where_replicas_and_the_exchange_only_read(services: dict[str, Any]) -> None:
    mounts = {
        name: {(mount["target"], mount.get("read_only", False)) for mount in service.get("volumes", ())}
        for name, service in services.items()
    }

    assert mounts["ingestor"] == {("/recordings", False)}
    assert mounts["exchange"] == {("/recordings", True)}
    assert mounts["app1"] == mounts["app2"] == {("/recordings", True), ("/keys", True)}
    sources = {services[name]["volumes"][0]["source"] for name in ("ingestor", "exchange", "app1", "app2")}
    assert len(sources) == 1
    assert services["ingestor"]["environment"]["RECORD"] == ""
    assert (
        services["app1"]["environment"]["RECORDINGS"] == services["app2"]["environment"]["RECORDINGS"] == "/recordings"
    )


def test_the_example_of_an_environment_names_only_settings_that_exist() -> None:
    named = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    known = {field.upper() for role in ROLES.values() for field in role.model_fields}

    assert "EXCHANGE" in named
    front = {"NGINX_BALANCE", "NGINX_TLS_CERT", "NGINX_TLS_KEY", "NGINX_TLS_DIRECTORY", "STOP_GRACE_PERIOD"}
    assert named - known == nginx.LIMITS.keys() | front


def test_every_setting_of_the_services_is_one_of_the_containers_or_none_of_theirs(services: dict[str, Any]) -> None:
    table = (ROOT / "docs" / "settings.md").read_text().partition("\n## Commands of this machine\n")[0]
    rows = re.findall(r"^\| (`[A-Z][^|]*) \|", table, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    taken = {name for service in services.values() for name in service.get("environment", {})}

    compose_file = (ROOT / "docker-compose.yml").read_text()
    assert {"SLOW_CONSUMER_S", "CONTROL_SIGNED", "NGINX_BALANCE"} <= documented
    assert {name for name in documented - taken if f"${{{name}" not in compose_file} == {
        # docker-compose.secure.yml has them.
        *("BUS_PASSWORD_FILE", "BUS_CA", "BUS_CERT", "BUS_KEY", "CONTROL_KEY_FILE"),
        # Containers name the bus by its URL, and are named by themselves; nobody but the exchange plays Bybit.
        *("REDIS_HOST", "REDIS_PORT", "INSTANCE", "BYBIT_URL"),
    }


def test_two_ingestors_carry_the_feed_and_are_asked_for_their_health(services: dict[str, Any]) -> None:
    ingestor = services["ingestor"]
    assert ingestor["scale"] == 2
    assert ingestor["environment"]["PORT"] == "9200"
    assert "healthcheck" not in ingestor, "the image's own"


def test_replicas_end_before_nginx_through_which_they_say_goodbye(services: dict[str, Any]) -> None:
    # Compose ends what depends before what it depends on.
    assert "depends_on" not in services["nginx"]
    for name in ("app1", "app2"):
        # Started, not healthy: Nginx answers for itself only once a replica does.
        assert services[name]["depends_on"]["nginx"]["condition"] == "service_started"
    servers = services["nginx"]["environment"]["NGINX_SERVERS"]
    assert servers.count(" resolve ") == servers.count("server "), "or it would not start before them"


@pytest.mark.parametrize("name", ["app1", "app2", "ingestor"])
def test_a_container_has_time_for_its_leave(services: dict[str, Any], name: str) -> None:
    grace_s = float(services[name]["stop_grace_period"].removesuffix("s"))
    drain_s = float(services["app1"]["environment"]["DRAIN_SECONDS"])
    assert grace_s >= drain_s + 15


def test_replicas_are_healthy_when_they_live_and_wait_for_their_bus(services: dict[str, Any]) -> None:
    assert services["app1"]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert (services["app1"]["environment"]["PORT"], services["app2"]["environment"]["PORT"]) == ("3000", "3001")


async def test_the_container_s_nats_has_room_for_what_the_bus_keeps_there(tmp_path: Path) -> None:
    path = tmp_path / "nats.conf"
    shipped = (ROOT / "deploy" / "nats.conf").read_text()
    path.write_text(re.sub(r"store_dir: .*", f'store_dir: "{tmp_path}"', shipped))
    with nats_server(tmp_path, None, "-c", str(path), "-m", str(free_port()), jetstream=False) as server:
        bus = open_bus(f"nats://127.0.0.1:{server.port}")
        await bus.start()
        try:
            await until(lambda: bus.connected, "the bus connects")
            await bus.put({"last:a": b"1"})
            assert await bus.get(["last:a"]) == [b"1"]
            assert await bus.spend("weight:a", 60, 100, 60) == 60
            assert bus.spent_alone_total == 0
        finally:
            await bus.close()


def test_nats_starts_only_with_its_profile_and_is_waited_for_then(services: dict[str, Any]) -> None:
    assert services["nats"]["profiles"] == ["nats"]
    for name in ("ingestor", "app1", "app2"):
        assert services[name]["depends_on"]["nats"] == {"condition": "service_healthy", "required": False}


def test_the_image_holds_what_runs_and_nothing_else() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = set(
        re.findall(r'"(\w+)"', re.findall(r"root_packages = (.*)", (ROOT / "pyproject.toml").read_text())[0])
    )

    documents = {f"docs/{name}" for name in documents_door.NAMES}
    files = {"requirements.txt", "requirements-otel.txt", "pyproject.toml", "app.py", "version.py", "clients"}
    assert kept == packages - {"loadtest"} | documents | files


def test_bare_make_lists_every_command() -> None:
    listed = subprocess.run(["make", "-s"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    commands = re.findall(r"^make ([\w-]+)", listed, re.MULTILINE)

    declared = re.findall(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    assert set(commands) == set(declared) - {"servers", "monitors", "node", "chromium", "compiler"}
