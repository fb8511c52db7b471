"""The cluster that is tormented is the one of `make cluster`, but for the links between its parts."""

from pathlib import Path

from deploy.plan import Wave, cluster_plan
from tests.system.chaos.cluster import free_site, site_plan
from tests.system.chaos.company import CROWD, DEEDS, Company


def test_every_process_of_make_cluster_is_there_with_its_own_settings(tmp_path: Path) -> None:
    site = free_site(tmp_path, {"SIM_SYMBOLS": "5"})
    true = cluster_plan(
        state_dir=tmp_path / "state",
        nginx_port=site.nginx_port,
        replica_ports=site.replica_ports,
        ingestor_ports=site.ingestor_ports,
        bus_port=site.bus_port,
        exchange_port=site.exchange_port,
    )
    plan = site_plan(site)
    assert plan.files == true.files
    assert [process.name for process in plan.processes] == [process.name for process in true.processes]
    assert all(process.env["SIM_SYMBOLS"] == "5" for process in plan.processes)


def test_replicas_and_ingestors_reach_the_bus_by_links_of_their_own(tmp_path: Path) -> None:
    site = free_site(tmp_path, {}, bus="nats")
    for process in site_plan(site).processes:
        if process.wave is Wave.REPLICAS:
            assert process.env["BUS_URL"] == f"nats://127.0.0.1:{site.links['replicas']}"
            assert process.env["EXCHANGE_URL"] == f"http://127.0.0.1:{site.exchange_port}"
        elif process.wave is Wave.INGESTORS:
            assert process.env["BUS_URL"] == f"nats://127.0.0.1:{site.links['ingestors']}"
            assert process.env["EXCHANGE_URL"] == f"http://127.0.0.1:{site.links['feed']}"


def test_a_bus_of_others_is_reached_directly(tmp_path: Path) -> None:
    site = free_site(tmp_path, {}, bus_url="redis+cluster://127.0.0.1:1")
    urls = {process.env.get("BUS_URL") for process in site_plan(site).processes if process.wave is Wave.REPLICAS}
    assert urls == {"redis+cluster://127.0.0.1:1"}


def test_company_that_did_not_do_its_part_fails_a_run() -> None:
    company = Company("http://127.0.0.1:1", seed=1)
    company.crowd.told = {"clients": CROWD, "failed_subscribes": 0}
    company.hostile.told = dict.fromkeys(DEEDS, 1)
    assert company.failures == []
    company.crowd.told = {"clients": CROWD - 1, "failed_subscribes": 2}
    company.hostile.told = {}
    assert len(company.failures) == 2 + len(DEEDS)
