"""Packets and frames of clients, without a server: what is read fast is read as the careful way reads it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from socketio.packet import Packet as StockPacket
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State

from server.doors.packets import Json, decode_packet
from server.transport.client_frames import whole_message

MAX_BYTES = 1000
firsts = st.sampled_from([0x81, 0x82]) | st.integers(0, 255)
payloads = st.binary(max_size=300) | st.text().map(str.encode)


def _wire(first: int, payload: bytes, key: bytes) -> bytes:
    """A frame as a client sends it (RFC 6455, 5.2), its first byte as given; unmasked with an empty `key`."""
    mask = 0x80 if key else 0
    size = len(payload)
    head = bytes((first, mask | size)) if size < 126 else bytes((first, mask | 126)) + size.to_bytes(2, "big")
    return head + key + (bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if key else payload)


def _parsed(data: bytes) -> list[str | bytes]:
    """The whole messages in `data`, as the sans-I/O core reads them; none where it refuses."""
    parser = Protocol(Side.SERVER, state=State.OPEN, max_size=MAX_BYTES)
    parser.receive_data(data)
    frames = [event for event in parser.events_received() if isinstance(event, Frame)]
    if parser.parser_exc or not all(frame.fin for frame in frames):
        return []
    return [bytes(frame.data).decode() if frame.opcode is Opcode.TEXT else bytes(frame.data) for frame in frames]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(firsts, payloads, st.sampled_from([b"\1\2\3\4", bytes(4), b""]), st.integers(0, 3))
@example(0x81, b"x" * 300, bytes(4), 0)
@example(0x81, b"\xff", bytes(4), 0)
def test_a_frame_read_at_once_is_what_the_parser_reads(first: int, payload: bytes, key: bytes, cut: int) -> None:
    wire = _wire(first, payload, key)
    message = whole_message(wire[: len(wire) - cut], MAX_BYTES)
    plain = bool(key) and not cut and (first == 0x82 or (first == 0x81 and _is_utf8(payload)))
    assert (message is not None) is plain
    if message is not None:
        assert _parsed(wire) == [message]


@given(st.binary(max_size=400))
def test_bytes_that_are_no_frame_are_left_to_the_parser(data: bytes) -> None:
    message = whole_message(data, MAX_BYTES)
    if message is not None:
        assert _parsed(data) == [message]


def test_two_frames_at_once_and_one_over_the_limit_are_left_to_the_parser() -> None:
    one = _wire(0x81, b"4hello", b"abcd")
    assert whole_message(one, MAX_BYTES) == "4hello"
    assert whole_message(one + one, MAX_BYTES) is None
    assert whole_message(one, 5) is None


names = st.from_regex(r"/[a-z]{0,8}", fullmatch=True)
values = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=8)


@given(st.sampled_from([0, 1, 2, 3]), names, st.none() | st.integers(0, 10**17), st.text(min_size=1), st.lists(values))
def test_what_python_socketio_writes_is_read_as_it_was(
    kind: int, namespace: str, number: int | None, name: str, arguments: list[object]
) -> None:
    StockPacket.json = Json
    data = {0: {"token": name}, 1: None, 2: [f"x{name}", *arguments], 3: arguments}[kind]
    packet = decode_packet(StockPacket(kind, data, namespace, number if kind > 1 else None).encode())
    assert packet == (kind, namespace, data, number if kind > 1 else None, 0)


@given(st.text(max_size=40) | st.from_regex(r"[0-6](\d{0,3}-)?(/[a-z]*,)?\d{0,3}[\[{].{0,20}", fullmatch=True))
def test_any_text_is_a_packet_or_a_value_error(text: str) -> None:
    try:
        packet = decode_packet(text)
    except ValueError:
        return
    assert 0 <= packet.type <= 6


@pytest.mark.parametrize("text", ["²", "2²[]", "٣[]", "5²-[]"])
def test_digits_of_other_scripts_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode_packet(text)
