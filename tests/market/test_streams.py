import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.errors import Code, MarketError
from market.streams import (
    ALL,
    ARRAY,
    BYBIT_KINDS,
    FUTURES_ONLY,
    INTERVALS,
    PARTIAL_DEPTHS,
    SPOT_ONLY,
    WINDOW_TICKERS,
    Kind,
    Market,
    StreamName,
)

SYMBOLS = st.from_regex(r"[a-z0-9]{2,12}(_[0-9]{6})?", fullmatch=True) | st.sampled_from([ALL, "牛来usdt"])


@st.composite
def stream_names(draw: st.DrawFn) -> StreamName:
    kind = draw(st.sampled_from(Kind))
    missing = {Market.SPOT: FUTURES_ONLY, Market.FUTURES: SPOT_ONLY, Market.BYBIT: frozenset(Kind) - BYBIT_KINDS}
    market = draw(st.sampled_from([market for market in Market if kind not in missing[market]]))
    options = [""]
    if kind in (Kind.KLINE, Kind.CONTINUOUS_KLINE):
        options = sorted(INTERVALS[market])
    elif market is not Market.BYBIT and (kind is Kind.DEPTH or kind in PARTIAL_DEPTHS):
        options = ["", "100ms"]
    elif kind is Kind.MARK_PRICE:
        options = ["", "1s"]
    symbols = SYMBOLS.filter(lambda symbol: symbol != ALL) if kind is Kind.BOOK else SYMBOLS
    if kind is Kind.CONTINUOUS_KLINE:
        contracts = st.sampled_from(["perpetual", "tradifi_perpetual", "current_quarter", "next_quarter"])
        symbols = st.builds("{}_{}".format, SYMBOLS.filter(lambda symbol: symbol != ALL), contracts)
    of_futures = (Kind.BOOK_TICKER, Kind.MARK_PRICE) if market is Market.FUTURES else ()
    if market is not Market.BYBIT and kind in (Kind.TICKER, Kind.MINI_TICKER, *WINDOW_TICKERS, *of_futures):
        symbols |= st.just(ARRAY)
    return StreamName.of(market, draw(symbols), kind, draw(st.sampled_from(options)))


@given(stream_names())
def test_a_stream_name_survives_formatting_and_parsing(stream: StreamName) -> None:
    assert StreamName.parse(str(stream)) == stream


@given(stream_names().filter(lambda stream: stream.symbol != ALL))
def test_binances_own_name_means_the_same_stream_within_its_market(stream: StreamName) -> None:
    assert StreamName.parse(stream.binance_name, stream.market) == stream


@given(stream_names(), stream_names())
def test_different_streams_have_different_channels_subjects_rooms_and_keys(one: StreamName, other: StreamName) -> None:
    for name in ("channel", "subject", "room", "last_key"):
        assert (getattr(one, name) == getattr(other, name)) is (one == other)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_with_a_code(text: str) -> None:
    try:
        stream = StreamName.parse(text)
    except MarketError as error:
        refusal = error.code
    else:
        assert StreamName.parse(str(stream)) == stream
        return
    assert refusal in {Code.INVALID_STREAM, Code.INVALID_SYMBOL}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("btcusdt@kline_1m", "spot:btcusdt@kline_1m"),
        ("BTCUSDT@trade", "spot:btcusdt@trade"),
        ("futures:btcusdt@depth20@100ms", "futures:btcusdt@depth20@100ms"),
        ("btcusdt@markPrice@1s", "futures:btcusdt@markPrice@1s"),
        ("btcusdt@forceOrder", "futures:btcusdt@forceOrder"),
        ("!forceOrder@arr", "futures:*@forceOrder"),
        ("!markPrice@arr@1s", "futures:!markPrice@arr@1s"),
        ("!miniTicker@arr", "spot:!miniTicker@arr"),
        ("futures:!miniTicker@arr", "futures:!miniTicker@arr"),
        ("!bookTicker", "futures:!bookTicker"),
        ("futures:*@bookTicker", "futures:*@bookTicker"),
        ("btcusdt@kline_1d@+08:00", "spot:btcusdt@kline_1d@+08:00"),
        ("牛来usdt@trade", "spot:牛来usdt@trade"),
        ("btcusdt_210625@ticker", "spot:btcusdt_210625@ticker"),
        ("btcusdt@avgPrice", "spot:btcusdt@avgPrice"),
        ("btcusdt@ticker_4h", "spot:btcusdt@ticker_4h"),
        ("!ticker_1d@arr", "spot:!ticker_1d@arr"),
        ("btcusdt_perpetual@continuousKline_15m", "futures:btcusdt_perpetual@continuousKline_15m"),
    ],
)
def test_names_are_read_as_clients_and_binance_write_them(text: str, expected: str) -> None:
    assert str(StreamName.parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "btcusdt", "@trade", "btcusdt@", "btcusdt@trades", "btcusdt@kline", "btcusdt@kline_7m", "btcusdt@kline_1M_",
        "btcusdt@trade@100ms", "btcusdt@depth7", "btcusdt@kline@1m",
        "spot:btcusdt@markPrice", "futures:btcusdt@kline_1s", "btc usdt@trade",
        "btcusdt@trade\n", "../etc@trade", "x" * 41 + "@trade",
        "futures:btcusdt@avgPrice", "futures:btcusdt@ticker_1h", "futures:!ticker_1h@arr", "btcusdt@ticker_2h",
        "btcusdt@continuousKline_1m", "*@continuousKline_1m", "btcusdt_perpetual@continuousKline_1s",
        "btcusdt_perpetual@continuousKline", "_perpetual@continuousKline_1m",
        "spot:btcusdt_perpetual@continuousKline_1m",
        "btcusdt@KLINE_1m", "!@ticker", "!trade@arr", "!kline_1m@arr",
    ],
)  # fmt: skip
def test_names_that_binance_has_no_stream_for_are_refused(text: str) -> None:
    with pytest.raises(MarketError) as refusal:
        StreamName.parse(text)
    assert refusal.value.code in {Code.INVALID_STREAM, Code.INVALID_SYMBOL}


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("btcusdt_tradifi_perpetual@continuousKline_1m", "btcusdt"),
        ("btcusdt_next_quarter@continuousKline_1m", "btcusdt"),
        ("futures:btcusdt_210625@kline_1m", "btcusdt_210625"),
    ],
)
def test_a_continuous_contract_delivers_where_its_pair_trades(text: str, pair: str) -> None:
    assert StreamName.parse(text).pair == pair


@pytest.mark.parametrize("event", ["depth", "liquidation", "trade"])
def test_events_are_named_by_kind(event: str) -> None:
    name = {"depth": "btcusdt@depth20", "liquidation": "btcusdt@forceOrder", "trade": "btcusdt@trade"}[event]
    assert StreamName.parse(name).event == event
