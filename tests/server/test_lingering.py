"""How long streams outlive their members."""

import asyncio
from collections.abc import Iterator

import pytest

from market.streams import StreamName
from server import lingering as lingering_module
from server.channels import Channel
from server.lingering import Lingering
from tests.server.conftest import until
from tests.server.test_hub import LINGER_S, RESUME_S, TICKER, TRADES, Plain, Reader, Setup, setup

__all__ = ["setup"]  # the fixture
LONG_S = 0.8
"""Long enough for half of it not to become the whole on a busy machine."""
BOOK = StreamName.parse("btcusdt@book")


@pytest.fixture
def closed() -> list[str]:
    """The streams that were let go, in order."""
    return []


@pytest.fixture
def lingering(closed: list[str]) -> Iterator[Lingering]:
    made = Lingering(lambda channel: closed.append(str(channel.stream)), linger_s=LINGER_S, resume_s=RESUME_S)
    yield made
    made.close()


async def _channel(name: str) -> Channel:
    return Channel(StreamName.parse(name), asyncio.get_running_loop().create_future())


async def test_the_time_begins_anew_with_the_last_one_who_leaves(closed: list[str]) -> None:
    """Not with the first: who reconnects twice within the time finds the stream open."""
    lingering = Lingering(lambda channel: closed.append(str(channel.stream)), linger_s=LONG_S)
    channel = await _channel("btcusdt@ticker")
    for _ in range(3):
        lingering.begin(channel)
        await asyncio.sleep(LONG_S / 2)
    assert closed == []
    await until(lambda: closed == [str(TICKER)], "closed in the end")
    assert len(lingering) == 0


async def test_what_is_wanted_again_is_not_let_go(lingering: Lingering, closed: list[str]) -> None:
    for name in ("btcusdt@ticker", "btcusdt@trade"):
        channel = await _channel(name)
        lingering.begin(channel)
        lingering.end(channel)
    await asyncio.sleep(RESUME_S * 1.2)
    assert closed == []


async def test_a_stream_whose_past_matters_stays_for_as_long_as_a_client_may_be_away(
    lingering: Lingering, closed: list[str]
) -> None:
    for name in ("btcusdt@trade", "btcusdt@book", "btcusdt@ticker"):
        lingering.begin(await _channel(name))
    await until(lambda: len(closed) == 3, "all go")
    assert (set(closed[:2]), closed[2]) == ({str(BOOK), str(TICKER)}, str(TRADES)), "books and state streams go sooner"


async def test_only_so_many_streams_are_kept_those_that_were_left_last(
    lingering: Lingering, closed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering_module, "MAX_RESUMABLE", 2)
    names = [f"spot:s{number}usdt@trade" for number in range(4)]
    for name in names:
        lingering.begin(await _channel(name))
    await until(lambda: closed == names, "the first ones go as others do, then the rest")


async def test_a_sole_subscriber_to_trades_that_returns_later_than_others_would_misses_nothing(setup: Setup) -> None:
    setup.hub._lingering._resume_s = 5.0
    reader, encoding = Reader(), Plain()
    await setup.join(reader, TRADES, encoding)
    sent = await setup.publish(TRADES, b"0", b"1")
    setup.hub.drop(reader)
    await asyncio.sleep(3 * LINGER_S)
    sent += await setup.publish(TRADES, b"2", b"3")
    assert (await setup.join(Reader(), TRADES, encoding)).since(sent[1].cursor) == sent[2:]


async def test_who_leaves_twice_finds_the_stream_open_each_time(setup: Setup) -> None:
    setup.hub._lingering._linger_s = LONG_S
    encoding = Plain()
    for _ in range(3):
        reader = Reader()
        await setup.join(reader, TICKER, encoding)
        setup.hub.drop(reader)
        await asyncio.sleep(LONG_S / 2)
    assert setup.hub.streams == [TICKER]
    await until(lambda: setup.hub.streams == [], "closed in the end")
