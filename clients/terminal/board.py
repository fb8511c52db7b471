"""What `live` shows: a row for each stream, the latest news, the menu."""

import textwrap
import time
from collections import deque
from collections.abc import Iterable
from decimal import Decimal
from itertools import islice
from typing import Final, Literal, NamedTuple

from rich import box
from rich.console import ConsoleDimensions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from clients.python.tickcast_client import Candle, Client, Event, Message
from clients.python.tickcast_client.names import every_of, is_every
from clients.terminal.quotes import Quote, change_text, price_text, quote_of, sentence_of, sparkline

STALE_S: Final = 10.0
COURSE: Final = 24
"""Prices that a sparkline shows."""
MAX_ROWS: Final = 1024
NEWS: Final = 4

_FRAME_LINES: Final = 9
"""Lines of title, heading and menu, broken on a narrow screen, and one for what does not fit."""
_MENU_LINES: Final = 2
"""Those of the menu; a line that is typed may take more."""


class _Column(NamedTuple):
    """A column, shown on screens of that many characters and more."""

    name: str
    justify: Literal["left", "right"] = "left"
    min_width: int | None = None
    from_width: int = 0


_COLUMNS: Final = (
    _Column("Stream"),
    _Column("Price", "right", 10),
    _Column("Change", "right", 10),
    _Column("Course", min_width=COURSE, from_width=110),
    _Column("Updated", "right", 10),
    _Column("Latency", "right", 7),
    _Column("", from_width=140),
)


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
        named = {stream: self._rows.get(stream, _Row()) for stream in streams if not is_every(stream)}
        self._rows = named | {stream: row for stream, row in self._rows.items() if every_of(stream) in streams}

    def tell(self, sentence: str) -> None:
        """Show a sentence below the table."""
        self._news.append(f"{time.strftime('%H:%M:%S')} {sentence}")

    def show(self, lines: list[str]) -> None:
        """Show lines between table and news, until others take their place."""
        self._panel = lines

    def render(self, menu: str, size: ConsoleDimensions) -> RenderableType:
        """What fits on the screen, with the menu or the line that is typed at its end.

        On a narrow screen the words and the course of prices are left out, on a low one the last rows, older lines of
        the panel and older news.
        """
        height = size.height - _FRAME_LINES - max(0, len(menu) // size.width + 1 - _MENU_LINES)
        free = max(0, height - 1)  # one is a row's
        wrapped = [line for sentence in self._news for line in textwrap.wrap(sentence, size.width)]
        news = wrapped[max(0, len(wrapped) - free) :]
        below = [_line(line) for line in _cut(self._panel, free - len(news))]
        below += [_line(line, "dim") for line in news]
        room = max(1, height - len(below))
        hidden = len(self._rows) - room
        if hidden > 0:
            below.insert(0, Text(f"and {hidden} more"))
        table = Table(box=box.SIMPLE_HEAD, title=self._title(), title_justify="left", expand=False)
        columns = [column for column in _COLUMNS if size.width >= column.from_width]
        for column in columns:
            table.add_column(
                column.name, justify=column.justify, min_width=column.min_width, no_wrap=True, overflow="ellipsis"
            )
        now = time.monotonic()
        for stream, row in islice(self._rows.items(), room):
            table.add_row(*_cells(stream, row, now, columns))
        return Group(table, *below, Text(menu, style="bold"))

    def _title(self) -> Text:
        client = self._client
        client = self._client
        title = Text("Tickcast")
        if client.source != "binance":
            title.append(f"  {client.source.upper()}", style="bold yellow")
        if client.is_connected:
            title.append("  connected", style="green")
        else:
            title.append("  reconnecting", style="bold red")
        title.append(f"  exchange {client.exchange}", style="green" if client.exchange == "connected" else "bold red")
        title.append(f"  {client.replica}  {self._url}")
        return title


def history_lines(symbol: str, interval: str, candles: list[Candle]) -> list[str]:
    """Candles as lines of a table."""
    lines = [f"History of {symbol.upper()} {interval}:"]
    for candle in candles:
        opened = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(candle.open_time / 1000))
        prices = [price_text(price) for price in (candle.open, candle.high, candle.low, candle.close, candle.volume)]
        lines.append(opened + "".join(f"{price:>14}" for price in prices))
    return lines


def _cut(lines: list[str], room: int) -> list[str]:
    """The first of `lines` and the last ones, as many as there is room for."""
    return [*lines[:1], *lines[1:][max(0, len(lines) - room) :]][:room]


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _cells(stream: str, row: _Row, now: float, columns: Iterable[_Column]) -> list[Text]:
    age_s = now - row.taken_at
    is_stale = age_s > STALE_S
    change, color = row.quote.change, ""
    if change is not None and not is_stale:
        color = "green" if change > 0 else "red" if change < 0 else ""
    latency = "-" if row.latency_ms is None or row.latency_ms < 0 else f"{row.latency_ms} ms"
    texts = {
        "Stream": Text(stream),
        "Price": Text(price_text(row.quote.price)),
        "Change": Text(change_text(change), style=color),
        "Course": Text(sparkline(row.course)),
        "Updated": Text(f"stale {age_s:.0f} s" if is_stale else f"{age_s:.0f} s", style="bold" if is_stale else ""),
        "Latency": Text(latency),
        "": Text(row.quote.detail),
    }
    if is_stale:
        for text in texts.values():
            text.stylize("dim")
    return [texts[column.name] for column in columns]
