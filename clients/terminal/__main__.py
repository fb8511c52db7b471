"""The commands: `python -m clients.terminal --help`."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import Annotated, Any, Final, NoReturn, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from clients.python.tickcast_client import TickcastError, connect
from clients.terminal.board import history_lines
from clients.terminal.catalog import INTERVALS, KINDS, MARKETS, fetch_catalog, matching, stream_of
from clients.terminal.live import show_live
from clients.terminal.watch import watch as watch_streams

INTERRUPTED: Final = 130
_COMPLETION_TIMEOUT_S: Final = 1.0
_URL_VARIABLE: Final = "TICKCAST_URL"
_TOKEN_VARIABLE: Final = "TICKCAST_TOKEN"  # noqa: S105 # a variable's name
_DEFAULT_URL: Final = "http://localhost:8080"

Answer = TypeVar("Answer")

cli = typer.Typer(
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Market data of a Tickcast service in the terminal.\n\n"
    "A symbol is BTCUSDT or futures:BTCUSDT, a stream is a symbol with its kind: btcusdt@kline_1m, "
    "futures:btcusdt@markPrice ('streams' lists the kinds).\n\n"
    "For completion of commands, symbols and streams in bash:\n\n"
    '    tickcast() { python -m clients.terminal "$@"; }\n\n'
    '    eval "$(tickcast --show-completion bash)"',
)


def _known_symbols(incomplete: str) -> list[str]:
    url, token = os.environ.get(_URL_VARIABLE, _DEFAULT_URL), os.environ.get(_TOKEN_VARIABLE)
    try:
        catalog = fetch_catalog(url, token, _COMPLETION_TIMEOUT_S)
    except TickcastError:
        return []  # nothing to propose
    market, colon, start = incomplete.rpartition(":")
    names = catalog.names(market or "spot")
    cased = names if start.isupper() else [name.lower() for name in names]
    return [f"{market}{colon}{name}" for name in cased if name.startswith(start)]


def _known_streams(incomplete: str) -> list[str]:
    symbol, at, start = incomplete.partition("@")
    if not at:
        return [f"{name}@" for name in _known_symbols(symbol)]
    return [f"{symbol}@{kind}" for kind in KINDS if kind.startswith(start)]


def _known_kinds(incomplete: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def _known_intervals(incomplete: str) -> list[str]:
    return [interval for interval in INTERVALS if interval.startswith(incomplete)]


Url = Annotated[str, typer.Option(envvar=_URL_VARIABLE, help="Where the service is.")]
Token = Annotated[str | None, typer.Option(envvar=_TOKEN_VARIABLE, help="Token or API key, where it asks for one.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line, for pipes.")]
Symbol = Annotated[str, typer.Argument(help="BTCUSDT, futures:BTCUSDT", autocompletion=_known_symbols)]
Interval = Annotated[str, typer.Argument(help="1m, 1h, 1d, ...", autocompletion=_known_intervals)]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="The latest so many candles.")]
Throttle = Annotated[
    int | None, typer.Option(metavar="100|250|500|1000", help="At most one message an interval (ms) of prices.")
]


@cli.command()
def live(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(help="Symbols or streams; none: the service's own.", autocompletion=_known_symbols),
    ] = None,
    kind: Annotated[str, typer.Option(help="The kind of symbols without one.", autocompletion=_known_kinds)] = "ticker",
    url: Url = _DEFAULT_URL,
    token: Token = None,
) -> None:
    """Show a live table, with a menu: subscribe, unsubscribe, change stream type, view subscriptions, history.

    A price that is older than 10 s is marked as stale; latency is the time since the service received it. In a pipe the
    same comes line by line.

    For example:

        live

        live BTCUSDT ETHUSDT futures:BTCUSDT

        live BTCUSDT --kind kline_1m
    """
    console = Console()
    wanted = symbols or _guarded(lambda: fetch_catalog(url, token).default_symbols)
    if console.is_terminal and sys.stdin.isatty():
        _run(show_live(url, token, wanted, kind, console))
        return
    streams = [stream_of(symbol, kind) for symbol in wanted]
    _run(watch_streams(url, token, streams, throttle_ms=1000, as_json=False, out=sys.stdout))


@cli.command()
def watch(
    streams: Annotated[list[str], typer.Argument(help="btcusdt@trade, ...", autocompletion=_known_streams)],
    *,
    as_json: Json = False,
    throttle: Throttle = None,
    url: Url = _DEFAULT_URL,
    token: Token = None,
) -> None:
    """Write the messages of streams, one a line, across lost connections; gaps are said where they are.

    Ends with status 1, and a sentence on standard error, if a stream is refused.

    For example:

        watch btcusdt@trade

        watch btcusdt@kline_1m futures:btcusdt@markPrice --json | jq -r 'select(.event == "message") | .data.E'

        watch 'futures:*@forceOrder' --json | head -3
    """
    named = [stream_of(stream, "ticker") for stream in streams]
    _run(watch_streams(url, token, named, throttle_ms=throttle, as_json=as_json, out=sys.stdout))


@cli.command()
def history(
    symbol: Symbol,
    interval: Interval = "1m",
    limit: Limit = 20,
    *,
    as_json: Json = False,
    url: Url = _DEFAULT_URL,
    token: Token = None,
) -> None:
    """Write candles of the past, oldest first: time of opening, open, high, low, close, volume.

    For example:

        history BTCUSDT 1h --limit 24

        history futures:ETHUSDT 1d --json
    """

    async def fetch() -> None:
        market, _, name = symbol.rpartition(":")
        async with connect(url, token) as client:
            candles = await client.history(name, interval, market=market or "spot", limit=limit)
        _write(map(_json, candles) if as_json else history_lines(symbol, interval, candles))

    _run(fetch())


@cli.command()
def symbols(
    search: Annotated[str, typer.Option("--search", "-s", help="A part of the name; typing errors are forgiven.")] = "",
    market: Annotated[str, typer.Option(help=", ".join(MARKETS))] = "spot",
    url: Url = _DEFAULT_URL,
    token: Token = None,
) -> None:
    """List the symbols that are traded on a market, one a line.

    For example:

        symbols --search btc

        symbols --market futures | wc -l
    """
    catalog = _guarded(lambda: fetch_catalog(url, token))
    if market not in catalog.markets:
        _fail(f"No market {market}: there are {', '.join(catalog.markets)}")
    _write(matching(catalog.names(market), search))


@cli.command()
def streams() -> None:
    """List the kinds of streams: a stream is symbol@kind or market:symbol@kind; `*` as the symbol means all."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Kind", no_wrap=True)
    table.add_column("What comes")
    for kind, words in KINDS.items():
        table.add_row(kind, words)
    Console().print(table)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _guarded(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except TickcastError as error:
        _fail(str(error))


def _write(lines: Iterable[str]) -> None:
    try:
        for line in lines:
            typer.echo(line)
    except BrokenPipeError:
        _leave_quietly()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command; what goes wrong is one sentence on standard error."""
    try:
        asyncio.run(work)
    except TickcastError as error:
        _fail(str(error))
    except BrokenPipeError:
        _leave_quietly()
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _fail(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)


def _leave_quietly() -> NoReturn:
    """End as if all had been written: the reader (`head`) has what it wanted.

    What is still buffered goes nowhere when the interpreter flushes it at its end.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit


if __name__ == "__main__":
    cli(prog_name="tickcast")
