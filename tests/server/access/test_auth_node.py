"""The reference client of Socket.IO reads our refusals, renewals and goodbyes as it reads the reference server's."""

import asyncio
import json
import time
from typing import Any

import pytest

from tests.server.access.conftest import Clock, Guarded
from tests.server.access.minting import forged, mint
from tests.support.processes import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPT = ROOT / "tests" / "system" / "clients" / "credentials.mjs"


async def next_line(child: asyncio.subprocess.Process) -> tuple[str, Any]:
    """What the script says next."""
    assert child.stdout is not None
    async with asyncio.timeout(20):
        kind, _, value = (await child.stdout.readline()).decode().partition(" ")
    return kind, json.loads(value)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_node_client_is_refused_let_in_renewed_and_let_go(
    guarded: Guarded, clock: Clock, transport: str
) -> None:
    arguments = (guarded.url, transport, forged(), mint(), mint(exp=time.time() + 61))
    child = await asyncio.create_subprocess_exec("node", SCRIPT, *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    try:
        refusal = {"message": "The token's signature is wrong", "code": "unauthorized"}
        assert await next_line(child) == ("refused", refusal)
        assert await next_line(child) == ("connected", None)
        kind, reply = await next_line(child)
        assert (kind, reply["ok"], reply["left"]) == ("renewed", True, [])
        clock.end_tokens()
        kind, body = await next_line(child)
        assert (kind, body["code"]) == ("error", "token_expired")
        # Which tells a client not to come back by itself.
        assert await next_line(child) == ("disconnect", "io server disconnect")
        await asyncio.wait_for(child.wait(), 20)  # nothing is left open
        assert child.returncode == 0
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
