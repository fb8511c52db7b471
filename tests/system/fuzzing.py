"""Frames that no client should send, for tests: valid requests, mutated by a seeded generator. Pure."""

import json
import random
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

from websockets.frames import apply_mask  # type: ignore[attr-defined] # compiled where it can be, else Python

from server.doors.msgpack import encode_packet
from server.doors.packets import EVENT

TEXT, BINARY = 0x81, 0x82
"""FIN and the opcode (RFC 6455, 5.2)."""
OVERSIZE_BYTES: Final = 5_000_000
"""More than any door reads."""
_RSV1: Final = 0x40
_MEDIUM: Final = 126
_LARGE: Final = 1 << 16
_UPPER: Final = "ALL"

SOCKETIO_EVENTS: Final[Sequence[list[Any]]] = [
    [
        "subscribe",
        {"streams": ["spot:btcusdt@trade"], "snapshot": True, "throttle": 100, "since": {"btcusdt@trade": 7}},
    ],
    ["subscribe", {"streamType": "kline", "symbols": ["btcusdt"], "options": {"interval": "1m"}, "market": "futures"}],
    ["subscribe", ["BTC", "ETH"]],
    ["subscribe", {"symbols": ["BTCUSDT"]}],
    ["unsubscribe", {"symbols": ["BTCUSDT"]}],
    ["unsubscribe", {"streams": ["spot:btcusdt@trade", "ethusdt@book"]}],
    ["getHistoricalKlines", {"symbol": "btcusdt", "interval": "1m", "limit": 3}],
    ["subscriptions", None],
]
JSON_MESSAGES: Final[Sequence[dict[str, Any]]] = [
    {"type": "subscribe", "streamType": "kline", "symbols": ["btcusdt"], "options": {"interval": "1m"}},
    {"type": "subscribe", "streamType": "depth", "symbols": [_UPPER], "options": {"level": 5}, "throttle": 250},
    {"type": "unsubscribe", "streamType": "trade", "symbols": ["ethusdt"], "market": "futures"},
    {"type": "subscribe", "rawStreams": ["btcusdt@depth5", "ethusdt@ticker"], "since": {"btcusdt@trade": 5}},
    {"type": "unsubscribe", "rawStreams": ["btcusdt@depth5"]},
    {"type": "SUBSCRIBE", "symbol": "BTC"},
    {"type": "UNSUBSCRIBE", "symbols": ["BTC", "ETH"]},
    {"type": "getHistoricalKlines", "symbol": "btcusdt", "interval": "1m", "limit": 3, "startTime": 1},
    {"type": "ping"},
]
BINANCE_REQUESTS: Final[Sequence[dict[str, Any]]] = [
    {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "ethusdt@kline_1m"], "id": 1},
    {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 2},
    {"method": "SET_PROPERTY", "params": ["combined", True], "id": "x"},
    {"method": "GET_PROPERTY", "params": ["combined"], "id": 4},
    {"method": "LIST_SUBSCRIPTIONS", "id": 3},
]
ATTACHED: Final = b'451-["subscribe",{"_placeholder":true,"num":0}]'
PATHS: Final = [
    b"/klines/btcusdt?market=spot&interval=1m&limit=5&startTime=1",
    b"/price/BTCUSDT",
    b"/health?x=1",
    b"/api/latest-prices",
    b"/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=5&timeZone=8",
    b"/api/v3/ticker/24hr?symbols=%5B%22BTCUSDT%22%5D",
    b"/fapi/v1/depth?symbol=BTCUSDT&limit=5",
    b"/fapi/v1/premiumIndex?symbol=BTCUSDT",
    b"/ws/btcusdt@trade/ethusdt@kline_1m",
    b"/stream?streams=btcusdt@trade/ethusdt@ticker&timeUnit=MILLISECOND",
    b"/public/stream?streams=btcusdt@bookTicker",
    b"/socket.io/?EIO=4&transport=polling&sid=abc",
    b"/socket.io/?EIO=4&transport=websocket",
    b"/assets/web/app.js",
]
ODD_VALUES: Final[Sequence[Any]] = [
    None, True, -1, 0, 7.5, 1e308, 2**53, -(2**63), 2**70, "", " ", "*", "!", _UPPER, "\0", "\u0130", "\U0001f4a9",
    "x" * 300, "btcusdt@trade", "btcusd", [], {}, [[[]]], [None], {"a": {"b": []}}, ["nope", 1], ["btcusdt@trade"] * 50,
]  # fmt: skip
ODD_KEYS: Final = ["type", "symbols", "streams", "since", "options", "method", "params", "id", "", "__proto__", "\0"]
ODD_BYTES: Final = [b"null", b"-1", b"1e999", b"9" * 5000, b'""', b"[]", b"{}", b"\\u0000", b"\\ud800", b"\xff\xfe",
                    b"[" * 3000, b'{"a":' * 3000, b"\x1e", b"%00", b"%ff", b"\xf0\x9f\x92\xa9", b"NaN"]  # fmt: skip

Chance: TypeAlias = random.Random


def mutated_value(chance: Chance, value: Any) -> Any:
    """`value` with one change somewhere in it: a part taken out, renamed, doubled or replaced by an odd one."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        changed = dict(value)
        key = chance.choice(list(changed))
        part = changed.pop(key)
        way = chance.randrange(5)
        if way == 0:
            changed[chance.choice(ODD_KEYS)] = part
        elif way > 1:
            changed[key] = mutated_value(chance, part)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        part = [mutated_value(chance, value[at]) for _ in range(chance.choice((0, 1, 1, 1, 2, 20)))]
        return [*value[:at], *part, *value[at + 1 :]]
    return chance.choice(ODD_VALUES)


def mutated_bytes(chance: Chance, frame: bytes) -> bytes:
    """`frame` with one to three changes: bytes replaced, taken out, doubled, or odd ones put in."""
    changed = bytearray(frame)
    for _ in range(chance.randint(1, 3)):
        begin = chance.randrange(len(changed) + 1)
        end = min(len(changed), begin + chance.randint(0, 12))
        way = chance.randrange(4)
        if way == 0 and begin < len(changed):
            changed[begin] = chance.randrange(256)
        elif way == 1:
            del changed[begin:end]
        elif way == 2:  # the third of four ways
            changed[begin:begin] = changed[begin:end]
        else:
            changed[begin:end] = chance.choice(ODD_BYTES)
    return bytes(changed)


def socketio_event(chance: Chance) -> bytes:
    """An event with arguments that were mutated: the packet itself is one."""
    name, *arguments = chance.choice(SOCKETIO_EVENTS)
    number = chance.choice(("", "", "1", "77"))
    name = name if chance.random() < 0.95 else chance.choice(("nonsense", "", "\0", "x" * 300))
    return f"42{number}{json.dumps([name, *(mutated_value(chance, one) for one in arguments)])}".encode()


def msgpack_event(chance: Chance) -> bytes:
    """The same as MessagePack, whose integers have 64 bits."""
    name, *arguments = chance.choice(SOCKETIO_EVENTS)
    text = json.dumps([mutated_value(chance, one) for one in arguments]).replace(str(2**70), "1")
    return encode_packet(EVENT, [name, *json.loads(text)], number=chance.choice((None, 1)))


def msgpack_packet(chance: Chance) -> bytes:
    """Bytes that resemble a packet as MessagePack, and may end the connection."""
    return mutated_bytes(chance, msgpack_event(chance))


def socketio_packet(chance: Chance) -> bytes:
    """A packet of which nothing is sure, and which may end the connection."""
    valid = (socketio_event(chance), ATTACHED, b"40", b"41", b"3", b"40/nope,{}", b'430["x"]', b"44{}")
    return mutated_bytes(chance, chance.choice(valid))


def json_message(chance: Chance) -> bytes:
    """A message for the JSON door, mutated as a value or as bytes."""
    return _mutated_json(chance, JSON_MESSAGES)


def binance_request(chance: Chance) -> bytes:
    """A control request for the Binance door, mutated as a value or as bytes."""
    return _mutated_json(chance, BINANCE_REQUESTS)


def _mutated_json(chance: Chance, valid: Sequence[dict[str, Any]]) -> bytes:
    message = chance.choice(valid)
    if chance.random() < 0.6:
        return json.dumps(mutated_value(chance, message)).encode()
    # What is not UTF-8 ends a connection: `ending` sends such.
    return mutated_bytes(chance, json.dumps(message).encode()).decode(errors="replace").encode()


def path(chance: Chance) -> bytes:
    """A mutated path with its query: no blanks or line ends, which would make it another request."""
    target = mutated_bytes(chance, chance.choice(PATHS))
    return b"/" + bytes(byte for byte in target.removeprefix(b"/") if byte > 0x20)[:8_000]


def http_request(chance: Chance) -> bytes:
    """A mutated request or handshake as a whole."""
    head = b"Host: localhost\r\nConnection: close\r\nContent-Length: 0\r\n"
    return mutated_bytes(chance, b"%b %b HTTP/1.1\r\n%b\r\n" % (chance.choice(METHODS), chance.choice(PATHS), head))


METHODS: Final = (b"GET", b"POST", b"OPTIONS", b"DELETE")


def wire(chance: Chance, payload: bytes, first: int = TEXT) -> bytes:
    """One client frame of `payload` under a random mask (RFC 6455, 5.2)."""
    mask = chance.randbytes(4)
    return head(first, len(payload)) + mask + apply_mask(payload, mask)


def head(first: int, size: int, masked: int = 0x80) -> bytes:
    """The head of a frame without its mask."""
    if size < _MEDIUM:
        return bytes([first, masked | size])
    if size < _LARGE:
        return bytes([first, masked | _MEDIUM]) + size.to_bytes(2, "big")
    return bytes([first, masked | _MEDIUM + 1]) + size.to_bytes(8, "big")


def ending(chance: Chance, payload: bytes) -> bytes:
    """A frame of `payload` that breaks the protocol, or the connection's rules."""
    return chance.choice(_ENDINGS)(chance, payload)


@cache
def _bomb() -> bytes:
    """A short message that inflates to more than any door reads."""
    return _deflated(bytes(OVERSIZE_BYTES))


def _deflated(data: bytes) -> bytes:
    """A compressed message (RFC 7692, 7.2.1)."""
    deflate = zlib.compressobj(wbits=-15)
    return (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")


_ENDINGS: Final[Sequence[Callable[[Chance, bytes], bytes]]] = [
    lambda chance, _: chance.randbytes(chance.randint(1, 40)),
    lambda chance, payload: mutated_bytes(chance, wire(chance, payload)),
    lambda chance, payload: wire(chance, payload)[: chance.randint(1, 8 + len(payload))],
    lambda _, payload: head(TEXT, len(payload), masked=0) + payload,  # not masked
    lambda chance, payload: wire(chance, payload, chance.randrange(256)),
    lambda chance, payload: wire(chance, payload, TEXT | _RSV1),  # compressed, which it is not
    lambda chance, _: wire(chance, _bomb(), TEXT | _RSV1),
    lambda chance, payload: wire(chance, _deflated(payload), TEXT | _RSV1),
    lambda chance, payload: wire(chance, payload + chance.choice((b"\xff", b"\xed\xa0\x80", b"\xc0\xaf"))),
    lambda chance, payload: head(TEXT, OVERSIZE_BYTES) + chance.randbytes(4) + payload,
    lambda chance, payload: wire(chance, payload, 0x01) + wire(chance, payload, chance.choice((0x00, 0x80, TEXT))),
    lambda chance, payload: wire(chance, payload, 0x80),  # continues nothing
    lambda chance, payload: wire(chance, payload * 2, chance.choice((0x89, 0x8A, 0x88))),
    lambda chance, _: wire(chance, chance.choice((b"", b"\0", b"\3\xed", b"\3\xe8\xff", b"\0\0bye")), 0x88),
    lambda chance, payload: wire(chance, payload, BINARY),
]  # fmt: skip
