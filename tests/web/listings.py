"""What an exchange lists, as a test wants it: the simulated exchange halts nothing and changes no tick size."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from aiohttp import web

from tests.support.processes import Process

_PATHS: Final = {"/api/v3/exchangeInfo": "spot", "/fapi/v1/exchangeInfo": "futures"}
_TRADING: Final = {"status": "TRADING", "contractStatus": "TRADING"}


class Listings:
    """Stands before a real exchange's REST API; but for what a test has changed it answers with its words."""

    def __init__(self, exchange: Process) -> None:
        self._exchange = f"http://127.0.0.1:{exchange.port}"
        self._changes: dict[tuple[str, str], dict[str, str]] = {}
        self.url = ""

    def change(self, market: str, symbol: str, **changes: str) -> None:
        """List a symbol with another `status`, `tickSize` or `stepSize` from now on."""
        self._changes[market, symbol] = changes

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer at `url`."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        async with aiohttp.ClientSession() as http, http.get(self._exchange + request.raw_path) as answer:
            if request.path not in _PATHS or answer.status != 200:
                return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)
            info = await answer.json()
        for symbol in info["symbols"]:
            _apply(self._changes.get((_PATHS[request.path], symbol["symbol"]), {}), symbol)
        return web.json_response(info)


def _apply(changes: dict[str, str], symbol: dict[str, Any]) -> None:
    for name in _TRADING.keys() & symbol.keys():
        symbol[name] = changes.get("status", symbol[name])
    for one in symbol["filters"]:
        one.update({name: text for name, text in changes.items() if name in one})
