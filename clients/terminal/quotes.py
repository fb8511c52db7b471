"""What a message says in one line of a terminal, and how it is written. Pure."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from clients.python.tickcast_client import Disconnected, Draining, Event, Gap, Message, Recovered, Rejected, Status
from clients.python.tickcast_client.names import kind_of

_BARS: Final = "▁▂▃▄▅▆▇█"
_MIN_DECIMALS: Final = 2


class Quote(NamedTuple):
    """The price of a message, its change in percent where it tells one, and the rest in words."""

    price: str
    change: Decimal | None = None
    detail: str = ""


def quote_of(stream: str, data: Any) -> Quote:  # noqa: ANN401 # decoded JSON
    """What the payload `data` of `stream` says; an array is counted."""
    if not isinstance(data, Mapping):
        return Quote("", detail=f"{len(data)} symbols")
    reader = _READERS.get(kind_of(stream).partition("_")[0])
    return reader(data) if reader else Quote("", detail="(a kind that is not known here)")


def price_text(price: str) -> str:
    """A price as the exchange wrote it, without zeros at its end, but for two decimals."""
    whole, _, decimals = price.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(_MIN_DECIMALS, '0')}" if price else "-"


def change_text(change: Decimal | None) -> str:
    """A change in percent, with sign and arrow."""
    if change is None:
        return "-"
    arrow = "▲" if change > 0 else "▼" if change < 0 else " "
    return f"{arrow} {change:+.2f} %"


def sparkline(prices: Sequence[Decimal]) -> str:
    """The course of prices in block characters, the lowest and the highest at both ends of the scale."""
    if not prices:
        return ""
    low, high = min(prices), max(prices)
    if low == high:
        return _BARS[0] * len(prices)
    return "".join(_BARS[int((price - low) * (len(_BARS) - 1) / (high - low))] for price in prices)


def sentence_of(event: Event) -> str:
    """An event in one line."""
    match event:
        case Message(stream, _, _, data):
            quote = quote_of(stream, data)
            change = "" if quote.change is None else change_text(quote.change)
            words = [stream, quote.price and price_text(quote.price), change, quote.detail]
            sentence = "  ".join(filter(None, words))
        case Gap(stream, missed, _, reason):
            sentence = f"{stream}: {'some' if missed is None else missed} messages are missing ({reason})"
        case Disconnected(reason):
            sentence = f"Connection lost ({reason}), coming back"
        case Recovered(away_s, replica, lost):
            missing = f"messages of {', '.join(lost)} are lost" if lost else "nothing is lost"
            sentence = f"Back at {replica} after {away_s:.1f} s, {missing}"
        case Status(exchange, source, replica):
            sentence = f"Exchange {exchange}, source {source}, replica {replica}"
        case Draining(delay_ms, replica):
            sentence = f"Replica {replica} ends in {delay_ms / 1000:.1f} s, another one takes over"
        case Rejected(stream, code, message, suggestion):
            sentence = f"{stream}: {message} ({code})" + (f" Did you mean {suggestion}?" if suggestion else "")
    return sentence


def _percent(first: str, last: str) -> Decimal | None:
    before = Decimal(first)
    return (Decimal(last) - before) * 100 / before if before else None


def _ticker(data: Mapping[str, Any]) -> Quote:
    return Quote(data["c"], Decimal(data["P"]), f"volume {price_text(data['v'])}")


def _mini_ticker(data: Mapping[str, Any]) -> Quote:
    return Quote(data["c"], _percent(data["o"], data["c"]), f"volume {price_text(data['v'])}")


def _kline(data: Mapping[str, Any]) -> Quote:
    k = data["k"]
    limits = f"low {price_text(k['l'])}  high {price_text(k['h'])}  {'closed' if k['x'] else 'open'}"
    return Quote(k["c"], _percent(k["o"], k["c"]), limits)


def _trade(data: Mapping[str, Any]) -> Quote:
    return Quote(data["p"], detail=f"{'sold' if data['m'] else 'bought'} {price_text(data['q'])}")


def _best(bid: Sequence[str], ask: Sequence[str]) -> Quote:
    words = [f"{price_text(quantity)} at {price_text(price)}" for price, quantity in (bid, ask)]
    return Quote(bid[0], detail=f"bid {words[0]}  ask {words[1]}")


def _book_ticker(data: Mapping[str, Any]) -> Quote:
    return _best((data["b"], data["B"]), (data["a"], data["A"]))


def _best_levels(data: Mapping[str, Any]) -> Quote:
    """A partial order book, in the words of spot or of futures."""
    bids, asks = data.get("bids", data.get("b")), data.get("asks", data.get("a"))
    return _best(bids[0], asks[0]) if bids and asks else Quote("", detail="empty")


def _changes(data: Mapping[str, Any]) -> Quote:
    verb = "in the book" if data["e"] == "bookSnapshot" else "changed"
    return Quote("", detail=f"{len(data['b'])} bids and {len(data['a'])} asks {verb}")


def _mark_price(data: Mapping[str, Any]) -> Quote:
    return Quote(data["p"], detail=f"funding {data.get('r') or '-'}")


def _average(data: Mapping[str, Any]) -> Quote:
    return Quote(data["w"], detail=f"average of {data['i']}")


def _liquidation(data: Mapping[str, Any]) -> Quote:
    order = data["o"]
    return Quote(order["p"], detail=f"{order['S']} {price_text(order['q'])} {order['s']}")


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], Quote]]] = {
    "ticker": _ticker,
    "miniTicker": _mini_ticker,
    "kline": _kline,
    "continuousKline": _kline,
    "trade": _trade,
    "aggTrade": _trade,
    "bookTicker": _book_ticker,
    "markPrice": _mark_price,
    "avgPrice": _average,
    "forceOrder": _liquidation,
    "depth": _changes,
    "book": _changes,
    **dict.fromkeys(("depth5", "depth10", "depth20"), _best_levels),
}
