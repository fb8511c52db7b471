"""`python -m loadtest.peers.python.server PORT REDIS_URL json|msgpack`: python-socketio as its documentation has it.

Source: python-socketio documentation, "The Socket.IO Server": aiohttp, "Using a Message Queue"
(AsyncRedisManager), "Emitting from external processes"; uvloop as aiohttp's documentation recommends.
"""

import sys
from typing import Any

import socketio
import uvloop
from aiohttp import web


def application(redis_url: str, serializer: str) -> web.Application:
    """The server: clients join the rooms that they name, other processes emit to them."""
    sio = socketio.AsyncServer(
        async_mode="aiohttp",
        client_manager=socketio.AsyncRedisManager(redis_url),
        serializer="default" if serializer == "json" else serializer,
    )

    async def subscribe(sid: str, request: dict[str, Any]) -> dict[str, bool]:
        for stream in request["streams"]:
            await sio.enter_room(sid, stream)
        return {"ok": True}

    sio.on("subscribe", subscribe)
    app = web.Application()
    sio.attach(app)
    return app


if __name__ == "__main__":
    uvloop.install()
    web.run_app(application(*sys.argv[2:]), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
