import sys
from pathlib import Path

from deploy.plan import BusServer, ClusterPlan, PlannedProcess, cluster_plan, resolve_exchange


def plan_of(
    state_dir: Path = Path("/state"), exchange: str = "simulate", replicas: int = 2, bus: BusServer = "redis"
) -> ClusterPlan:
    return cluster_plan(
        state_dir=state_dir,
        nginx_port=8080,
        replica_ports=range(3000, 3000 + replicas),
        ingestor_ports=(9200, 9201),
        bus_port=6400,
        exchange_port=9100,
        bus=bus,
        exchange=exchange,
    )


def named(plan: ClusterPlan) -> dict[str, PlannedProcess]:
    return {process.name: process for process in plan.processes}


def test_what_others_need_starts_before_them() -> None:
    assert [process.name for process in plan_of().processes] == [
        "redis",
        "exchange",
        "ingestor1",
        "ingestor2",
        "app1",
        "app2",
        "nginx",
    ]


def test_every_replica_has_a_port_and_a_name_of_its_own_and_shares_the_bus() -> None:
    replicas = [process for process in plan_of(replicas=3).processes if process.argv[-1] == "replica"]

    assert [(r.env["REPLICA"], r.env["PORT"], r.port) for r in replicas] == [
        ("app1", "3000", 3000),
        ("app2", "3001", 3001),
        ("app3", "3002", 3002),
    ]
    assert {r.env["BUS_URL"] for r in replicas} == {"redis://127.0.0.1:6400"}
    assert {r.argv for r in replicas} == {(sys.executable, "-m", "app", "replica")}


def test_nats_takes_the_place_of_redis_where_it_is_asked_for() -> None:
    plan = named(plan_of(bus="nats"))

    assert "redis" not in plan
    assert next(iter(plan)) == "nats"
    assert "127.0.0.1" in plan["nats"].argv
    assert {plan[name].env["BUS_URL"] for name in ("ingestor1", "app1", "app2")} == {"nats://127.0.0.1:6400"}


def test_every_ingestor_has_a_name_and_a_port_of_its_own() -> None:
    ingestors = [process for process in plan_of().processes if process.argv[-1] == "ingestor"]

    assert [(i.name, i.env["INSTANCE"], i.env["PORT"], i.port, i.ready_path) for i in ingestors] == [
        ("ingestor1", "ingestor1", "9200", 9200, "/health/ready"),
        ("ingestor2", "ingestor2", "9201", 9201, "/health/ready"),
    ]


def test_replicas_believe_what_nginx_says_about_a_client() -> None:
    assert named(plan_of())["app1"].env["TRUSTED_PROXIES"] == "127.0.0.1"


def test_everybody_talks_to_the_stand_in() -> None:
    plan = named(plan_of(exchange="replay:/tape"))

    assert plan["exchange"].env["PORT"] == "9100"
    for name in ("exchange", "ingestor1", "ingestor2", "app1", "app2"):
        assert plan[name].env["EXCHANGE"] == "replay:/tape"
        assert plan[name].env["EXCHANGE_URL"] == "http://127.0.0.1:9100"


def test_nothing_stands_in_for_binance_when_binance_itself_is_asked() -> None:
    plan = named(plan_of(exchange="binance"))

    assert "exchange" not in plan
    assert plan["ingestor1"].env["EXCHANGE"] == "binance"


def test_only_nginx_listens_beyond_the_loopback() -> None:
    plan = cluster_plan(
        state_dir=Path("/state"),
        nginx_port=8080,
        replica_ports=(3000,),
        ingestor_ports=(9200,),
        bus_port=6400,
        exchange_port=9100,
        host="0.0.0.0",  # noqa: S104 - what is tested
    )

    assert "listen 0.0.0.0:8080;" in plan.files[Path("/state/nginx.conf")]
    assert {p.env["HOST"] for p in plan.processes if "app" in p.argv} == {"127.0.0.1"}
    assert "127.0.0.1" in named(plan)["redis"].argv


def test_nginx_balances_over_all_replicas() -> None:
    configuration = plan_of(replicas=4).files[Path("/state/nginx.conf")]

    for port in range(3000, 3004):
        assert f"server 127.0.0.1:{port} max_fails=0;" in configuration


def test_writing_a_plan_makes_its_directory_and_its_nginx_configuration(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "deep" / "state")
    plan.write()

    configuration = named(plan)["nginx"].argv[named(plan)["nginx"].argv.index("-c") + 1]
    assert "upstream replicas" in Path(configuration).read_text()


def test_the_path_of_a_recording_is_meant_from_where_the_caller_stands() -> None:
    assert resolve_exchange("replay:../tapes/a.gz", Path("/home/me/checkout")) == "replay:/home/me/tapes/a.gz"
    assert resolve_exchange("replay:/tapes/a.gz", Path("/home/me")) == "replay:/tapes/a.gz"
    assert resolve_exchange("simulate", Path("/home/me")) == "simulate"
    assert resolve_exchange("binance", Path("/home/me")) == "binance"
