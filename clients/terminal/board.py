"""What `live` shows: a row for each stream, the latest news, the menu."""

import time
from collections import deque
from decimal import Decimal
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from clients.python.tickcast_client import Candle, Client, Event, Message
from clients.python.tickcast_client.names import is_every
from clients.terminal.quotes import Quote, change_text, price_text, quote_of, sentence_of, sparkline

STALE_S: Final = 10.0
COURSE: Final = 24
"""Prices that a sparkline shows."""
MAX_ROWS: Final = 1024
NEWS: Final = 4


class _Row:
    """The latest of one stream."""

    def __init__(self) -> None:
        self.quote = Quote("")
        self.course: deque[Decimal] = deque(maxlen=COURSE)
        self.taken_at = time.monotonic()
        self.latency_ms: int | None = None

    def take(self, message: Message) -> None:
        self.quote = quote_of(message.stream, message.data)
        if self.quote.price:
            self.course.append(Decimal(self.quote.price))
        # What waited for us, as a snapshot does, has an age and no latency.
        age_ms = time.time_ns() // 1_000_000 - message.ts
        self.latency_ms = age_ms if age_ms < STALE_S * 1000 else None
        self.taken_at = time.monotonic() - max(0, age_ms) / 1000


class Board:
    """State of the screen: take events, then render."""

    def __init__(self, url: str, client: Client) -> None:
        self._url = url
        self._client = client
        self._rows: dict[str, _Row] = {}
        self._news: deque[str] = deque(maxlen=NEWS)
        self._panel: list[str] = []

    def take(self, event: Event) -> None:
        """Take what the subscription yields."""
        if isinstance(event, Message):
            if event.stream in self._rows or len(self._rows) < MAX_ROWS:
                self._rows.setdefault(event.stream, _Row()).take(event)
        else:
            self.tell(sentence_of(event))

    def follow(self, streams: tuple[str, ...]) -> None:
        """Show exactly these streams (of all symbols: whatever comes of them)."""
        if not any(map(is_every, streams)):
            self._rows = {stream: self._rows.get(stream, _Row()) for stream in streams}

    def tell(self, sentence: str) -> None:
        """Show a sentence below the table."""
        self._news.append(f"{time.strftime('%H:%M:%S')} {sentence}")

    def show(self, lines: list[str]) -> None:
        """Show lines between table and news, until others take their place."""
        self._panel = lines

    def render(self, menu: str) -> RenderableType:
        """The whole screen, with the menu or the line that is typed at its end."""
        table = Table(box=box.SIMPLE_HEAD, title=self._title(), title_justify="left", expand=False)
        table.add_column("Stream", no_wrap=True)
        for name in ("Price", "Change"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("Course", min_width=COURSE, no_wrap=True)
        for name in ("Updated", "Latency"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True, overflow="ellipsis")
        now = time.monotonic()
        for stream, row in self._rows.items():
            table.add_row(*_cells(stream, row, now))
        panel = [Text(line) for line in self._panel]
        return Group(table, *panel, *(Text(line, style="dim") for line in self._news), Text(menu, style="bold"))

    def _title(self) -> Text:
        client = self._client
        title = Text(f"Tickcast {self._url}")
        if client.is_connected:
            title.append("  connected", style="green")
        else:
            title.append("  reconnecting", style="bold red")
        title.append(f"  exchange {client.exchange}", style="green" if client.exchange == "connected" else "bold red")
        title.append(f"  {client.replica}")
        if client.source != "binance":
            title.append(f"  {client.source.upper()}", style="bold yellow")
        return title


def history_lines(symbol: str, interval: str, candles: list[Candle]) -> list[str]:
    """Candles as lines of a table."""
    lines = [f"History of {symbol.upper()} {interval}:"]
    for candle in candles:
        opened = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(candle.open_time / 1000))
        prices = [price_text(price) for price in (candle.open, candle.high, candle.low, candle.close, candle.volume)]
        lines.append(opened + "".join(f"{price:>14}" for price in prices))
    return lines


def _cells(stream: str, row: _Row, now: float) -> list[Text]:
    age_s = now - row.taken_at
    is_stale = age_s > STALE_S
    change, color = row.quote.change, ""
    if change is not None and not is_stale:
        color = "green" if change > 0 else "red" if change < 0 else ""
    latency = "-" if row.latency_ms is None or row.latency_ms < 0 else f"{row.latency_ms} ms"
    texts = [
        Text(stream),
        Text(price_text(row.quote.price)),
        Text(change_text(change), style=color),
        Text(sparkline(row.course)),
        Text(f"stale {age_s:.0f} s" if is_stale else f"{age_s:.0f} s", style="bold yellow" if is_stale else ""),
        Text(latency),
        Text(row.quote.detail),
    ]
    if is_stale:
        for text in texts:
            text.stylize("dim")
    return texts
