from typing import Any

import msgspec
import pytest

from market.streams import Market
from server.shapes import in_words


class Body(msgspec.Struct):
    symbols: list[str] | str | None = None
    limit: int = 1
    snapshot: bool = True
    market: Market | None = None
    since: dict[str, int] = {}


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        (Body, 5, "the request must be an object, not a whole number"),
        (Body, {"symbols": 5}, "symbols must be a string or an array, not a whole number"),
        (Body, {"symbols": [1]}, "symbols[0] must be a string, not a whole number"),
        (Body, {"limit": 1.5}, "limit must be a whole number, not a number"),
        (Body, {"snapshot": None}, "snapshot must be true or false, not null"),
        (Body, {"since": {"a": "b"}}, "since must be a whole number, not a string"),
        (Body, {"market": "x" * 80}, "Invalid market: " + "x" * 40),
        (list[str], [{}], "element [0] must be a string, not an object"),
    ],
)
def test_a_wrong_shape_is_told_in_a_clients_words(kind: Any, data: object, text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.convert(data, kind)
    assert in_words(error.value) == text
