"""Every page is followed from top to bottom, as it is printed: commands, programs, and what they print."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.docs.blocks import Block, blocks_of, pages
from tests.docs.session import Addresses, Session, is_healthy, terminals_of, with_prelude
from tests.support.processes import free_port, redis_server, tickcast, two_free_ports, wait_until

TUTORIAL: Final = "docs/tutorial.md"
READY_S: Final = 40.0
LIVELY: Final = {"SIM_SYMBOLS": "8", "SIM_TRADES_PER_SECOND": "10"}


def starts_its_own(page: str) -> bool:
    return any("make run" in code or "make cluster" in code for code in terminals_of(blocks_of(page)))


def is_followed(block: Block) -> bool:
    return block.directive not in {"not run", "run by", "step"} and block.language in {"bash", "js", "jsx", "python"}


FOLLOWED: Final = [page for page in pages() if page != TUTORIAL and any(map(is_followed, blocks_of(page)))]
SHARING: Final = [page for page in FOLLOWED if not starts_its_own(page)]
STARTING: Final = [page for page in FOLLOWED if starts_its_own(page)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, int]]:
    """A service on Redis that records: what listens where, by the ports that pages name."""
    directory = tmp_path_factory.mktemp("service")
    recordings = directory / "recordings"
    recordings.mkdir()
    port = free_port()
    with redis_server(directory) as redis:
        env = {**LIVELY, "RECORD": str(recordings), "BUS_URL": f"redis://127.0.0.1:{redis.port}/0"}
        with tickcast("run", port, directory, env):
            wait_until(lambda: is_healthy(f"http://127.0.0.1:{port}"), "the service is healthy", READY_S)
            # A reader of a cluster's pages asks its replicas; here one answers for both.
            yield {8080: port, 3000: port, 3001: port, 6379: redis.port, 3005: free_port()}


def recordings_at(url: str) -> list[dict[str, str]]:
    recordings: list[dict[str, str]] = httpx.get(f"{url}/replay").json()["data"]["recordings"]
    return recordings


@pytest.fixture
def shared(service: dict[int, int], folder: Path) -> Iterator[Session]:
    """A reader who finds a service at the addresses that pages name."""
    url = f"http://localhost:{service[8080]}"
    wait_until(lambda: bool(recordings_at(url)), "the service lists what it records", READY_S)
    words = {
        "wss://stream.binance.com:9443": f"ws://localhost:{service[8080]}",
        "rec-1": recordings_at(url)[0]["id"],
    }
    env = {"TICKCAST_URL": url, "PYTHONPATH": "clients/python"}
    with Session(folder / "tickcast", Addresses(service, words), env) as session:
        yield session


@pytest.mark.parametrize("page", SHARING)
def test_what_a_page_prints_works_as_it_stands(shared: Session, page: str) -> None:
    for block in blocks_of(page):
        shared.run(block)
        if block.directive == "terminal":
            assert shared.is_running(block.argument), shared.shown(block.argument)


@pytest.mark.parametrize("page", STARTING)
def test_what_a_page_starts_serves_what_it_prints_next(folder: Path, page: str) -> None:
    port, replicas = free_port(), two_free_ports()
    addresses = Addresses({8080: port, 3000: replicas, 3001: replicas + 1}, {})
    url = f"http://127.0.0.1:{port}"
    env = {
        "PORT": str(port),
        "REPLICA_PORT": str(replicas),
        # A cluster in which one of each does the work is as much of one to a reader, and starts sooner.
        "REPLICAS": "1",
        "INGESTORS": "1",
        "TICKCAST_URL": url,
        "PYTHONPATH": "clients/python",
        **LIVELY,
    }
    with Session(folder / "tickcast", addresses, env) as session:
        for block in blocks_of(page):
            session.run(block)
            if block.directive == "terminal":
                wait_until(partial(session.says_ready, block.argument), f"{block.where} serves", READY_S)
                wait_until(partial(is_healthy, url), f"{block.where} has its feed", READY_S)


def test_a_snippet_gets_the_lines_that_its_page_has_explained_before() -> None:
    assert with_prelude("client.close();\n").splitlines()[:2] == [
        'import { connect } from "tickcast-client";',
        'const client = connect("http://localhost:8080");',
    ]
    assert with_prelude("const client = connect();\n").count("const client") == 1
    assert with_prelude("1;\n") == "1;\n"
