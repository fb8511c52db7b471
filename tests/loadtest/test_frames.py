"""What clients send is what a well-tested server reads, and updates are what they claim to be."""

from itertools import islice

import msgspec
import pytest
from websockets.protocol import Protocol, Side, State

from loadtest.bench.frames import Parser, client_frame, handshake, receiver_arguments, server_frame
from loadtest.bench.updates import PAYLOAD_BYTES, SYMBOLS, stream_names, updates
from market.streams import StreamName


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535])
def test_client_frames_are_read_by_a_server(length: int) -> None:
    server = Protocol(Side.SERVER, state=State.OPEN, max_size=None)
    server.receive_data(client_frame(b"x" * length) + client_frame(b"y" * length, binary=True))
    assert [(event.opcode.name, bytes(event.data)) for event in server.events_received()] == [  # type: ignore[union-attr] # frames
        ("TEXT", b"x" * length),
        ("BINARY", b"y" * length),
    ]


def test_a_frame_that_is_too_long_for_a_handshake_is_refused() -> None:
    with pytest.raises(ValueError, match="65536"):
        client_frame(b"x" * 65_536)


@pytest.mark.parametrize("length", [0, 125, 126, 65_535])
def test_server_frames_are_read_by_a_client(length: int) -> None:
    client = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
    client.receive_data(server_frame(b"x" * length))
    assert [bytes(event.data) for event in client.events_received()] == [b"x" * length]  # type: ignore[union-attr] # frames


def test_a_handshake_names_every_stream_in_both_parsers() -> None:
    for parser in Parser:
        script = handshake("127.0.0.1:1", ["spot:btcusdt@trade", "spot:ethusdt@trade"], parser)
        subscribe = script.steps[1].answer
        assert b"spot:btcusdt@trade" in subscribe
        assert b"spot:ethusdt@trade" in subscribe
        assert script.steps[-1].answer == b""


def test_the_receiver_is_told_a_handshake_in_hexadecimal() -> None:
    script = handshake("127.0.0.1:1", ["a"])
    words = receiver_arguments(script)
    assert bytes.fromhex(words[0]) == script.request
    assert [bytes.fromhex(word) for word in words[1:]] == [part for step in script.steps for part in step if part]


def test_updates_are_trades_of_one_size_in_order_the_streams_in_turn() -> None:
    streams = stream_names(5)
    some = list(islice(updates(streams), 15))
    assert [update.stream for update in some] == streams * 3
    assert [update.cursor for update in some] == [1] * 5 + [2] * 5 + [3] * 5
    sizes = {len(msgspec.json.encode(update.data)) for update in islice(updates(streams), 500_000, 500_010)}
    assert sizes == {PAYLOAD_BYTES}


def test_an_update_ends_in_the_moment_it_was_made() -> None:
    first, second = islice(updates(stream_names(1)), 2)
    stamps = [int(str(update.data["x"]).rpartition("^")[2]) for update in (first, second)]
    assert stamps[0] <= stamps[1]
    assert len(str(first.data["x"]).rpartition("^")[2]) == 16


def test_all_streams_are_streams_of_tickcast() -> None:
    names = stream_names(len(SYMBOLS))
    assert [str(StreamName.parse(name)) for name in names] == names
    assert len(set(names)) == 20
