"""The live table, and what its menu does."""

import asyncio
import contextlib
import signal
from typing import Final

from rich.console import Console
from rich.live import Live

from clients.python.tickcast_client import Client, Subscription, TickcastError, connect
from clients.terminal.board import Board, history_lines
from clients.terminal.catalog import stream_of
from clients.terminal.keyboard import keys
from clients.terminal.menu import Action, Command, Menu

REFRESH_S: Final = 0.25
THROTTLE_MS: Final = 250
MAX_COMMANDS: Final = 16
HISTORY_ROWS: Final = 10


class LiveTable:
    """One screen: events and commands change the board, which is drawn four times a second."""

    def __init__(self, client: Client, subscription: Subscription, board: Board, kind: str) -> None:
        self._client = client
        self._subscription = subscription
        self._board = board
        self._kind = kind
        self._menu = Menu()
        self._commands: asyncio.Queue[Command] = asyncio.Queue(MAX_COMMANDS)

    async def run(self, console: Console) -> None:
        """Show it until the user quits. Raises TickcastError where the client ends."""
        obeying = asyncio.create_task(self._obey())
        reading = asyncio.create_task(self._read())
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, obeying.cancel)
        try:
            with keys(self._press), Live(console=console, auto_refresh=False, transient=False) as screen:
                while not (obeying.done() or reading.done()):
                    screen.update(self._board.render(self._menu.text, console.size), refresh=True)
                    await asyncio.wait([obeying, reading], timeout=REFRESH_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            obeying.cancel()
            reading.cancel()
            endings = await asyncio.gather(obeying, reading, return_exceptions=True)
        for ending in endings:
            if isinstance(ending, Exception):
                raise ending

    def _press(self, key: str) -> None:
        command = self._menu.press(key)
        if command is None:
            return
        if self._commands.full():
            self._board.tell("Too much at once: wait for what was asked before")
            return
        self._commands.put_nowait(command)

    async def _read(self) -> None:
        async for event in self._subscription:
            self._board.take(event)

    async def _obey(self) -> None:
        while (command := await self._commands.get()).action is not Action.QUIT:
            try:
                await self._do(command)
            except TickcastError as error:
                self._board.tell(str(error))

    async def _do(self, command: Command) -> None:
        match command.action:
            case Action.SUBSCRIBE:
                await self._subscribe(_words(command.line))
            case Action.UNSUBSCRIBE:
                await self._unsubscribe(_words(command.line))
            case Action.CHANGE:
                await self._change(command.line)
            case Action.VIEW:
                streams = self._subscription.streams
                self._board.show([f"Current subscriptions: {', '.join(streams) or 'none'}"])
            case Action.HISTORY:
                await self._history(_words(command.line))

    async def _subscribe(self, words: list[str]) -> None:
        await self._subscription.add(*(stream_of(word, self._kind) for word in words))
        for rejected in self._subscription.rejected:
            self._board.take(rejected)
        self._board.follow(self._subscription.streams)

    async def _unsubscribe(self, words: list[str]) -> None:
        streams = self._subscription.streams if words == ["all"] else [stream_of(word, self._kind) for word in words]
        left = await self._subscription.remove(*streams)
        self._board.tell(f"Unsubscribed {', '.join(left) or 'nothing'}")
        self._board.follow(self._subscription.streams)

    async def _change(self, kind: str) -> None:
        """Have the same symbols in another kind; what is refused in it stays as it was."""
        before = self._subscription.streams
        wanted = {stream: f"{stream.partition('@')[0]}@{kind}" for stream in before}
        if wanted:
            await self._subscription.add(*wanted.values())
        refused = {rejected.stream for rejected in self._subscription.rejected}
        for rejected in self._subscription.rejected:
            self._board.take(rejected)
        old = [stream for stream, new in wanted.items() if new != stream and new not in refused]
        if old:
            await self._subscription.remove(*old)
        self._kind = kind
        self._board.tell(f"Stream type is {kind} now")
        self._board.follow(self._subscription.streams)

    async def _history(self, words: list[str]) -> None:
        symbol, interval, *_ = [*words, "1m"]
        market, _, name = symbol.rpartition(":")
        candles = await self._client.history(name, interval, market=market or "spot", limit=HISTORY_ROWS)
        self._board.show(history_lines(symbol, interval, candles))


async def show_live(url: str, token: str | None, symbols: list[str], kind: str, console: Console) -> None:
    """Connect, subscribe and show. Raises TickcastError."""
    async with connect(url, token) as client:
        streams = [stream_of(symbol, kind) for symbol in symbols]
        subscription = await client.subscribe(*streams, throttle_ms=THROTTLE_MS)
        board = Board(url, client)
        board.follow(subscription.streams)
        for rejected in subscription.rejected:
            board.take(rejected)
        with contextlib.suppress(asyncio.CancelledError):  # Ctrl-C is a way to quit
            await LiveTable(client, subscription, board, kind).run(console)


def _words(line: str) -> list[str]:
    return line.replace(",", " ").split()
