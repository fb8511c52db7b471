"""The live table, and what its menu does."""

import asyncio
import contextlib
import signal
import textwrap
from typing import Final

from rich.console import Console
from rich.live import Live

from clients.python.tickcast_client import Client, Subscription, TickcastError, connect
from clients.terminal.board import Board, history_lines
from clients.terminal.catalog import stream_of
from clients.terminal.keyboard import keys
from clients.terminal.menu import Action, Command, Menu

REFRESH_S: Final = 0.25
VIEW_WIDTH: Final = 79
"""Below the width of the narrowest screens in use: longer lines end in an ellipsis there."""
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
        self._has_quit = asyncio.Event()

    async def run(self, console: Console) -> None:
        """Show it until the user quits. Raises TickcastError where the client ends."""
        obeying = asyncio.create_task(self._obey())
        reading = asyncio.create_task(self._read())
        quitting = asyncio.create_task(self._has_quit.wait())
        work = (obeying, reading, quitting)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._has_quit.set)
        try:
            with keys(self._press), Live(console=console, auto_refresh=False, transient=False) as screen:
                while not any(task.done() for task in work):
                    screen.update(self._board.render(self._menu.text, console.size), refresh=True)
                    await asyncio.wait(work, timeout=REFRESH_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            await self._client.close()  # whose command is under way does not wait for an answer any more
            endings = await asyncio.gather(*work, return_exceptions=True)
        for ending in endings:
            if isinstance(ending, Exception):
                raise ending

    def _press(self, key: str) -> None:
        command = self._menu.press(key)
        if command is None:
            return
        if command.action is Action.QUIT:
            self._has_quit.set()
        elif self._commands.full():
            self._board.tell("Too much at once: wait for what was asked before")
        else:
            self._commands.put_nowait(command)

    async def _read(self) -> None:
        async for event in self._subscription:
            self._board.take(event)

    async def _obey(self) -> None:
        while True:
            command = await self._commands.get()
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
                streams = ", ".join(self._subscription.streams) or "none"
                self._board.show(textwrap.wrap(f"Current subscriptions: {streams}", VIEW_WIDTH))
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
        if not words:
            self._board.tell("Which symbol?")
            return
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
