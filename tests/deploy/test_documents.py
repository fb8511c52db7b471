"""What `make check` finds in the API documents."""

import copy
from typing import Any

import pytest

from deploy.check_documents import (
    ASYNCAPI,
    OPENAPI,
    asyncapi_examples,
    asyncapi_findings,
    load,
    openapi_examples,
    openapi_findings,
)


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    return load(OPENAPI.read_text())


@pytest.fixture(scope="module")
def asyncapi() -> dict[str, Any]:
    return load(ASYNCAPI.read_text())


def test_the_documents_are_valid(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> None:
    assert openapi_findings(openapi) == []
    assert asyncapi_findings(asyncapi) == []


def test_every_answer_and_every_message_of_a_stream_has_an_example(
    openapi: dict[str, Any], asyncapi: dict[str, Any]
) -> None:
    bodies = [example.where for example in openapi_examples(openapi) if "/responses/200/" in example.where]
    assert len(bodies) == sum(
        "application/json" in operation["get"]["responses"]["200"]["content"] for operation in openapi["paths"].values()
    )
    with_examples = {
        example.where.partition(",")[0].removeprefix("message ") for example in asyncapi_examples(asyncapi)
    }
    # Of these, two have nothing to send and one is the other of its kind with other payloads.
    assert set(asyncapi["components"]["messages"]) - with_examples == {"io.list", "io.time", "binance.futuresCombined"}


def test_a_wrong_example_is_found(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> None:
    broken = copy.deepcopy(openapi)
    broken["components"]["responses"]["NotFound"]["content"]["application/json"]["example"]["code"] = "nowhere"
    (finding,) = openapi_findings(broken)
    assert "'nowhere' is not one of" in finding
    broken = copy.deepcopy(asyncapi)
    broken["components"]["messages"]["json.pong"]["examples"][0]["payload"]["type"] = "ping"
    (finding,) = asyncapi_findings(broken)
    assert finding == "message json.pong, example 0: $.type: 'pong' was expected"


def test_a_reference_to_nothing_is_found(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> None:
    for document, findings in ((openapi, openapi_findings), (asyncapi, asyncapi_findings)):
        broken = copy.deepcopy(document)
        del broken["components"]["schemas"]["Code"]
        assert findings(broken) == ["#/components/schemas/Code leads nowhere"]


def test_what_the_specification_does_not_know_is_found(openapi: dict[str, Any], asyncapi: dict[str, Any]) -> None:
    broken = copy.deepcopy(openapi)
    del broken["paths"]["/health"]["get"]["responses"]["200"]["description"]
    assert openapi_findings(broken)
    broken = copy.deepcopy(asyncapi)
    broken["operations"]["json.send"]["action"] = "shout"
    assert asyncapi_findings(broken)
