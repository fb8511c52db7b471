"""The API documents say what the code does: routes, parameters, names, codes."""

import itertools
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from binance import endpoints
from bus import open_bus
from deploy.check_documents import ASYNCAPI, OPENAPI, Document, Example, errors_in, load
from market.announcements import Source
from market.errors import Code
from market.intervals import FUTURES_INTERVALS, SPOT_INTERVALS
from market.klines import LATEST_MS
from market.streams import Kind, Market, StreamName
from server.access.quota_settings import QuotaSettings
from server.history.klines import MAX_ROWS
from server.replica import Replica
from server.wishes import MAX_CURSORS, THROTTLES
from tests.server.conftest import Served, replica_settings
from tests.support.processes import Process

BINANCE = ("/api/v3/", "/fapi/v1/", "/fapi/v2/")
BINANCE_ROUTE = "/{api}"
# What the parser lets pass on futures and Binance's futures do not have.
SPOTS_OWN = {"symbols", "symbolStatus", "type"}


@pytest.fixture(scope="module")
def openapi() -> Document:
    return load(OPENAPI.read_text())


@pytest.fixture(scope="module")
def asyncapi() -> Document:
    return load(ASYNCAPI.read_text())


@pytest.fixture
def routes(exchange: Process) -> set[str]:
    """What a replica serves, as its router spells it; Binance's REST is one route."""
    replica = Replica(replica_settings(exchange), open_bus("memory://documents"))
    return {resource.canonical for resource in replica._app().router.resources()}


def _addresses(asyncapi: Document) -> set[str]:
    """Every path at which a WebSocket opens, as the router spells them."""
    found = set()
    for channel in asyncapi["channels"].values():
        routes = channel.get("parameters", {}).get("route", {}).get("enum", [""])
        for server, route in itertools.product(channel["servers"], routes):
            prefix = asyncapi["servers"][server["$ref"].rpartition("/")[2]].get("pathname", "")
            found.add(prefix + channel["address"].replace("{route}", route).replace("{streams}", "{names}"))
    return found


async def test_every_route_is_documented_and_every_documented_path_is_served(
    openapi: Document, asyncapi: Document, routes: set[str]
) -> None:
    paths = {path for path in openapi["paths"] if not path.startswith(BINANCE)}
    assert paths | _addresses(asyncapi) | {BINANCE_ROUTE} == routes


def _parameters(openapi: Document, path: str) -> set[str]:
    named = openapi["components"]["parameters"]
    given = openapi["paths"][path]["get"].get("parameters", [])
    return {(named[p["$ref"].rpartition("/")[2]] if "$ref" in p else p)["name"] for p in given}


def test_binances_endpoints_are_those_that_are_served_with_their_parameters(openapi: Document) -> None:
    documented = {path: _parameters(openapi, path) for path in openapi["paths"] if path.startswith(BINANCE)}
    served = {}
    for endpoint in endpoints._ALL:
        is_spot = endpoint.market is Market.SPOT
        served[("/api/v3/" if is_spot else "/fapi/v1/") + endpoint.name] = (
            set(endpoint.known) if is_spot else set(endpoint.known) - SPOTS_OWN
        )
    served["/fapi/v2/ticker/price"] = served["/fapi/v1/ticker/price"]
    assert documented == served


def test_binances_endpoints_are_served_below_the_markets_prefix_too(openapi: Document) -> None:
    for path in filter(lambda path: path.startswith(BINANCE), openapi["paths"]):
        prefixes = [server["url"].rstrip("/") for server in openapi["paths"][path]["servers"]]
        found = [endpoints.find(prefix + path) for prefix in prefixes]
        assert len(prefixes) == 2
        assert found[0] is not None
        assert found[0] == found[1]


def test_the_documents_names_and_limits_are_the_codes(openapi: Document, asyncapi: Document) -> None:
    for document in (openapi, asyncapi):
        schemas = document["components"]["schemas"]
        assert schemas["Code"]["enum"] == [code.value for code in Code]
        assert schemas["Source"]["enum"] == [source.value for source in Source]
        assert schemas["Market"]["enum"] == [market.value for market in Market]
    schemas = openapi["components"]["schemas"]
    assert set(schemas["Interval"]["enum"]) == SPOT_INTERVALS
    assert set(schemas["FuturesInterval"]["enum"]) == FUTURES_INTERVALS
    assert schemas["Time"]["maximum"] == LATEST_MS
    limit = openapi["components"]["headers"]["X-RateLimit-Limit"]["schema"]["default"]
    assert limit == QuotaSettings().requests_per_minute
    (limit,) = (p for p in openapi["paths"]["/klines/{symbol}"]["get"]["parameters"] if p.get("name") == "limit")
    assert limit["schema"]["anyOf"][0]["maximum"] == MAX_ROWS
    assert tuple(asyncapi["components"]["schemas"]["Throttle"]["enum"]) == THROTTLES
    assert asyncapi["components"]["schemas"]["Since"]["maxProperties"] == MAX_CURSORS


def _in_one_dialect(schema: Any) -> Any:
    """JSON Schema 2020-12 (OpenAPI) and draft 7 (AsyncAPI) spell tuples differently."""
    if isinstance(schema, list):
        return [_in_one_dialect(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: _in_one_dialect(part) for key, part in schema.items()}
    if "prefixItems" in schema:
        schema |= {"additionalItems": schema["items"], "items": schema.pop("prefixItems")}
    return schema


@pytest.mark.parametrize(
    "name", ["Code", "Source", "Market", "Decimal", "Level", "PriceUpdate", "KlineRow", "KlineRows"]
)
def test_what_both_documents_describe_they_describe_alike(openapi: Document, asyncapi: Document, name: str) -> None:
    ours, theirs = (document["components"]["schemas"][name] for document in (openapi, asyncapi))
    assert _in_one_dialect(ours) == theirs


def _events() -> set[str]:
    options = {Kind.KLINE: "1m", Kind.CONTINUOUS_KLINE: "1m"}
    found = set()
    for market, kind in itertools.product(Market, Kind):
        symbol = "btcusdt_perpetual" if kind is Kind.CONTINUOUS_KLINE else "btcusdt"
        found.add(StreamName(market, symbol, kind, options.get(kind, "")).event)
    return found


def test_every_kind_of_stream_has_its_message_at_both_of_our_doors(asyncapi: Document) -> None:
    messages = asyncapi["components"]["messages"]
    assert {f"{door}.{event}" for door in ("io", "json") for event in _events()} <= set(messages)
    assert set(asyncapi["components"]["schemas"]["StreamType"]["enum"]) == _events()


def test_every_message_is_sent_or_received_somewhere(asyncapi: Document) -> None:
    messages = {}
    for channel in asyncapi["channels"].values():
        messages.update({message["$ref"]: channel for message in channel["messages"].values()})
    assert {f"#/components/messages/{name}" for name in asyncapi["components"]["messages"]} == set(messages)
    used = set()
    for operation in asyncapi["operations"].values():
        parts = operation["messages"] + operation.get("reply", {}).get("messages", [])
        used |= {part["$ref"] for part in parts}
    documented = {
        f"#/channels/{name}/messages/{key}"
        for name, channel in asyncapi["channels"].items()
        for key in channel["messages"]
    }
    assert used == documented


@pytest.mark.parametrize("path", [OPENAPI, ASYNCAPI], ids=lambda path: path.name)
async def test_the_documents_are_served_as_they_are(served: Served, path: Any) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/{path.name}") as response:
        assert (response.status, response.content_type) == (200, "application/yaml")
        assert await response.read() == path.read_bytes()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/health/nowhere", 404),
        ("GET", "/assets/nowhere.js", 404),
        ("POST", "/stats", 405),
        ("DELETE", "/health", 405),
        ("OPTIONS", "/klines/BTCUSDT", 405),
    ],
)
async def test_what_is_not_served_is_refused_in_our_words(served: Served, method: str, path: str, status: int) -> None:
    async with aiohttp.ClientSession() as http, http.request(method, served.url + path) as response:
        assert response.status == status
        assert response.content_type == "application/json"
        body = await response.json()
        assert (body["success"], set(body)) == (False, {"success", "error", "code"})
        assert body["code"] == ("not_found" if status == 404 else "bad_request")
        assert ("Allow" in response.headers) is (status == 405)
        assert ("X-RateLimit-Remaining" in response.headers) is (path in ("/nowhere", "/stats", "/klines/BTCUSDT"))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/public/nowhere", 404), ("POST", "/ws", 405), ("GET", "/spot/nowhere", 404), ("GET", "/api/v9/x", 404)],
)
async def test_what_is_not_served_below_binances_paths_is_refused_in_binances_words(
    served: Served, method: str, path: str, status: int
) -> None:
    async with aiohttp.ClientSession() as http, http.request(method, served.url + path) as response:
        assert (response.status, response.content_type) == (status, "application/json")
        assert await response.json() == {"code": -5000, "msg": f"Path {path}, Method {method} is invalid"}


async def test_the_answer_to_too_many_requests_is_as_documented(served: Served, openapi: Document) -> None:
    documented = openapi["components"]["responses"]["TooManyRequests"]
    async with aiohttp.ClientSession() as http:
        for _ in range(QuotaSettings().requests_per_minute):
            async with http.get(f"{served.url}/nowhere"):
                pass
        async with http.get(f"{served.url}/stats") as response:
            assert response.status == 429
            schema = documented["content"][response.content_type]["schema"]
            assert errors_in(openapi, Example("429", await response.json(), schema), Draft202012Validator) == []
            assert set(documented["headers"]) <= set(response.headers)


async def test_a_fault_of_ours_is_answered_and_logged(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("server.doors.rest.check_symbol", fail)
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/klines/BTCUSDT") as response:
        assert response.status == web.HTTPInternalServerError.status_code
        assert (await response.json())["code"] == Code.INTERNAL
    assert "a bug" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["market", "interval", "limit", "startTime", "endTime"])
async def test_a_parameter_that_is_given_twice_is_refused(served: Served, name: str) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/klines/BTCUSDT?{name}=1&{name}=1") as response:
        assert response.status == 400
        assert (await response.json())["error"] == f"{name} is given more than once"
