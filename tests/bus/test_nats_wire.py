"""NATS without a server: what the parser makes of bytes, and what becomes of names and URLs."""

import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import nats_wire
from bus.nats_servers import Servers
from bus.nats_wire import Control, Parser, ProtocolError, Received, headers_of, status_of, text_of, token
from market.errors import MarketError
from market.intervals import SPOT_INTERVALS
from market.streams import ALL, ARRAY, Kind, Market, StreamName

HEADERS = b"NATS/1.0\r\nNats-Sequence: 7\r\nA: b:c\r\n\r\n"


def msg(sid: bytes, payload: bytes, reply: bytes = b"", headers: bytes = b"") -> bytes:
    """One message as a server sends it on the subject `s.t`."""
    between = b" " + reply if reply else b""
    if headers:
        size = b"%d %d" % (len(headers), len(headers) + len(payload))
        return b"HMSG s.t %b%b %b\r\n%b%b\r\n" % (sid, between, size, headers, payload)
    return b"MSG s.t %b%b %d\r\n%b\r\n" % (sid, between, len(payload), payload)


sids = st.integers(1, 99_999).map(lambda number: b"%d" % number)
messages = st.tuples(
    sids, st.binary(max_size=60), st.sampled_from([b"", b"_INBOX.a.1"]), st.sampled_from([b"", HEADERS])
)


@given(st.lists(messages, max_size=12), st.lists(st.integers(0, 600), max_size=8))
def test_messages_come_out_the_same_however_they_were_cut(
    sent: list[tuple[bytes, bytes, bytes, bytes]], cuts: list[int]
) -> None:
    data = b"PING\r\n".join(msg(*one) for one in sent)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parser, received = Parser(), list[Received]()
    controls: list[Control] = []
    for start, stop in itertools.pairwise(edges):
        more, lines = parser.feed(data[start:stop])
        received += more
        controls += lines
    assert received == [(sid, b"s.t", headers, payload) for sid, payload, _, headers in sent]
    assert controls == [Control(b"PING", b"")] * (len(sent) - 1)


def test_control_lines_keep_their_text() -> None:
    _, controls = Parser().feed(b"INFO {\"a\": 1} \r\n+OK\r\n-ERR 'Slow Consumer'\r\nPONG\r\n")
    assert controls == [
        Control(b"INFO", b'{"a": 1} '),
        Control(b"+OK", b""),
        Control(b"-ERR", b"'Slow Consumer'"),
        Control(b"PONG", b""),
    ]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"MSG\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 -9\r\n",
        b"MSG a 1 99999999999\r\n",
        b"HMSG a 1 -1 5\r\nhello\r\n",
        b"x" * (nats_wire.LINE_MAX_BYTES + 1),
    ],
)
def test_what_is_no_nats_is_refused(nonsense: bytes) -> None:
    with pytest.raises(ProtocolError):
        Parser().feed(nonsense)


def test_header_blocks_are_read() -> None:
    assert status_of(HEADERS) == 200
    assert headers_of(HEADERS) == {"nats-sequence": "7", "a": "b:c"}
    assert status_of(b"NATS/1.0 404 Message Not Found\r\n\r\n") == 404
    assert status_of(b"NATS/1.0 503\r\n\r\n") == 503


@given(st.text(max_size=40))
def test_a_token_is_legal_to_every_server_and_client_and_leads_back_to_its_text(text: str) -> None:
    assert set(token(text).decode()) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=")
    assert text_of(token(text)) == text


OPTIONS = sorted(
    {"", "1s", "0ms", "100ms", "250ms", "500ms", "1000ms"}
    | {interval + zone for interval in SPOT_INTERVALS for zone in ("", "@+08:00")}
)


def every_name(*symbols: str) -> list[StreamName]:
    """All streams that these symbols can have."""
    names: list[StreamName] = []
    for symbol, market, kind, option in itertools.product(symbols, Market, Kind, OPTIONS):
        with contextlib.suppress(MarketError):  # there is no such stream
            names.append(StreamName.of(market, symbol, kind, option))
    return names


def test_every_stream_has_a_legal_subject_of_its_own() -> None:
    names = every_name("btcusdt", "btcusdt_241227", "币安人生usdt", "all", "array", ALL, ARRAY)
    subjects = {name.subject for name in names}
    assert len(subjects) == len(names) > 400
    for subject in subjects:
        assert len(subject.split(".")) == 4
        assert not set(subject) & set(" *>\t\r\n")


def test_a_url_names_servers_and_how_to_get_in() -> None:
    servers = Servers("nats://me:s%2Cecret@one,two:4333,tok@three:1")
    assert str(servers) == "one:4222,two:4333,three:1"
    one, two, three = (server.credentials for server in servers.all)
    assert one == two
    assert (one.user, one.password, one.auth_token) == ("me", "s,ecret", "")
    assert (three.user, three.auth_token) == ("", "tok")
    assert not servers.must_encrypt
    assert Servers("tls://one").must_encrypt


@pytest.mark.parametrize(
    "url",
    ["redis://one", "nats://", "nats://one,", "nats://one/4", "nats://one?ca=x", "nats://one:x"],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="NATS URL"):
        Servers(url)
