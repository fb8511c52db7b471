"""Clients that speak MessagePack: the published parser in a real client."""

import json
from pathlib import Path

import pytest
import socketio

from market.streams import StreamName
from server.doors.msgpack import MsgpackEncoding, decode_packet, encode_packet
from server.doors.packets import EVENT
from server.doors.socketio_encodings import KIND_EVENTS
from tests.market.samples import sample
from tests.server.conftest import Served, until
from tests.support.processes import ROOT
from tests.system.cluster import NodeClient

TICKER = sample("spot:btcusdt@ticker")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_client_with_the_msgpack_parser_is_served_in_msgpack(
    served: Served, transport: str, tmp_path: Path
) -> None:
    script = str(ROOT / "tests/system/clients/msgpack.mjs")
    await served.publish("btcusdt@ticker", TICKER)
    await served.publish("ethusdt@ticker", TICKER.replace(b"BTC", b"ETH"))
    with NodeClient(tmp_path / "client.out", [script, served.url, transport]) as client:
        await until(lambda: client.lines("ack") and client.lines("error"), "answers")
        (live,) = await served.publish("btcusdt@ticker", TICKER)
        await until(lambda: client.lines("ticker") and client.lines("crypto:update"), "live messages")
        greeting, reply = json.loads(client.lines("connected")[0]), json.loads(client.lines("ack")[0])
        assert greeting["replica"] == "r1"
        assert reply["subscribed"][0]["snapshot"] == json.loads(TICKER)
        assert reply["rejected"][0]["code"] == "invalid_stream"
        event = json.loads(client.lines("ticker")[0])
        assert (event["stream"], event["cursor"], event["data"]) == (
            "spot:btcusdt@ticker", live.cursor, json.loads(TICKER),
        )  # fmt: skip
        assert json.loads(client.lines("error")[0])["code"] == "unknown_event"
        assert json.loads(client.lines("crypto:update")[0])["symbol"] == "ETH"


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x91" * 100_000, b"\x80"])
def test_what_is_no_packet_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_packet(data)


def test_packets_survive_encoding_and_decoding() -> None:
    packet = decode_packet(encode_packet(socketio.packet.BINARY_EVENT, ["x", {"a": b"1"}], "/admin", 7))
    assert (packet.type, packet.namespace, packet.data, packet.id) == (EVENT, "/admin", ["x", {"a": b"1"}], 7)


def test_a_gap_is_told_in_msgpack_too() -> None:
    gap = MsgpackEncoding(KIND_EVENTS).gap(StreamName.parse("btcusdt@trade"), 3, 9)
    assert gap is not None
    assert decode_packet(gap).data[1] == {"stream": "spot:btcusdt@trade", "missed": 3, "until": 9, "reason": "dropped"}
