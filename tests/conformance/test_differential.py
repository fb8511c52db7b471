"""The same random packets, sensible and broken, to ours and to Node's servers: both must react alike.

Seeded and bounded. What is left out because ours differs on purpose: docs/conformance.md.
"""

import asyncio
import random
import re
from typing import NamedTuple

import aiohttp
import pytest

from tests.conformance.peers import SEPARATOR, WAIT_S, get, opened, polling, post, websocket
from tests.conformance.targets import LONG, Target, our_servers

SEEDS = range(2)
PACKETS = 90
"""Packets of one seed."""
BARRIER = '42/custom,0["message-with-ack"]'
PASSED = "43/custom,0[]"
_NAMESPACES = ("", "", "/custom,", "/custom,", "/random,", "/custom", "/,", "/")
_NUMBERS = ("", "", "7", "0", "007", "12", "x", "-1")
_VALUES = ("[]", "{}", "null", "1", '"text"', "true", '{"a":[1,{"b":null}]}', "[[[]]]", '"\\u20ac"', '"€"', "-5", "0.5")
_NAMES = (
    '"message"',
    '"message-with-ack"',
    '"silence"',
    '"unknown"',
    '"connect"',
    '"disconnecting"',
    "1",
    "null",
    '""',
)
_PLACEHOLDERS = ("0", "1", "2", "-1", '"0"', "null")
_NOISE = '[]{}",:/-0123456789abcnx'
_SID = re.compile(r'"sid":"[^"]*"')


class Reaction(NamedTuple):
    """What a server said to a packet, and whether it closed the connection over it."""

    said: list[str | bytes]
    closed: bool


class Item(NamedTuple):
    """One packet and the attachments that follow it."""

    text: str
    attachments: int


def _packet(chance: random.Random) -> Item:
    kind = chance.choice("00122222233355569")
    attachments = chance.randrange(3) if kind in "56" else 0
    head = f"{chance.choice((attachments or 1, 0, 3))}-" if kind in "56" and chance.random() < 0.9 else ""
    values = [chance.choice(_VALUES) for _ in range(chance.randrange(3))]
    values += [f'{{"_placeholder":true,"num":{chance.choice(_PLACEHOLDERS)}}}'] if kind in "56" else []
    if kind in "25":
        values.insert(0, chance.choice(_NAMES))
    body = chance.choice(("", "{}", '{"t":1}', "[]")) if kind in "019" else f"[{','.join(values)}]"
    text = f"{kind}{head}{chance.choice(_NAMESPACES)}{chance.choice(_NUMBERS) if kind not in '01' else ''}{body}"
    if chance.random() < 0.25:
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(("", chance.choice(_NOISE))) + text[at + chance.randrange(2) :]
    return Item(text, attachments)


def _is_comparable(item: Item) -> bool:
    """Not attachment counts that only JavaScript takes for numbers, nor what leaves the barrier's namespace."""
    count = re.match(r"[56]([^-]*)-", item.text)
    return not (count and not re.fullmatch(r"[0-9]{1,2}", count[1])) and not re.match(r"1/custom(,|$)", item.text)


class _Line:
    """One WebSocket after the other to the application; each has joined `/custom`, where the barrier is."""

    def __init__(self, http: aiohttp.ClientSession, target: Target) -> None:
        self._http = http
        self._url = websocket(target.socket)
        self._ws: aiohttp.ClientWebSocketResponse | None = None

    async def react(self, item: Item) -> Reaction:
        """Send one packet, and take what comes until the barrier, or the end."""
        ws = self._ws = self._ws if self._ws is not None and not self._ws.closed else await self._open()
        await ws.send_str(f"4{item.text}")
        for _ in range(item.attachments):
            await ws.send_bytes(b"x")
        reaction = await self._until_barrier(ws)
        if reaction.closed:
            return reaction
        late, closed = await self._until_barrier(ws)  # Node answers a CONNECT a turn later
        return Reaction(reaction.said + late, closed)

    async def _open(self) -> aiohttp.ClientWebSocketResponse:
        ws = await self._http.ws_connect(self._url)
        await ws.send_str("40/custom,")
        assert [(await ws.receive(timeout=WAIT_S)).data[:2] for _ in range(3)] == ["0{", "40", "42"]
        return ws

    async def _until_barrier(self, ws: aiohttp.ClientWebSocketResponse) -> Reaction:
        await ws.send_str(BARRIER)
        said: list[str | bytes] = []
        while True:
            message = await ws.receive(timeout=WAIT_S)
            if message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                return Reaction([part for part in said if part != "1"], closed=True)
            if message.data == PASSED:
                return Reaction(said, closed=False)
            said.append(_SID.sub("sid", message.data) if isinstance(message.data, str) else message.data)


@pytest.mark.parametrize("seed", SEEDS)
async def test_socket_io_packets_meet_the_same_reaction(
    seed: int, reference: dict[str, Target], http: aiohttp.ClientSession
) -> None:
    chance = random.Random(seed)  # noqa: S311 # reproducible, not secret
    items = [item for item in (_packet(chance) for _ in range(PACKETS)) if _is_comparable(item)]
    async with our_servers(LONG) as ours:
        lines = [_Line(http, ours), _Line(http, reference[LONG])]
        closed = 0
        for at, item in enumerate(items):
            our_reaction, reaction = await asyncio.gather(*(line.react(item) for line in lines))
            assert our_reaction == reaction, (seed, at, item)
            closed += reaction.closed
    assert 0 < closed < len(items)  # both kinds of reactions were seen


def _payload(chance: random.Random) -> str:
    packets = (
        "4hello",
        "4€",
        "bAQI=",
        "b",
        "3",
        "3probe",
        "6",
        "5",
        "0",
        "41",
        "4[]",
        "2",
        "9",
        "x",
        "",
        "2probe",
        "1",
    )
    weights = [8, 4, 4, 2, 3, 1, 3, 2, 2, 4, 4, 1, 1, 1, 1, 1, 1]
    return SEPARATOR.join(chance.choices(packets, weights, k=chance.randrange(1, 5)))


async def _answered(http: aiohttp.ClientSession, target: Target, payload: str) -> list[str] | None:
    """What the echo sends back for a polling request; None where it ended the session."""
    sid = await opened(http, target.engine)
    await post(http, polling(target.engine, sid), payload)
    if (await post(http, polling(target.engine, sid), "4#"))[0] != 200:
        return None
    got: list[str] = []
    while "4#" not in got:
        status, body = await get(http, polling(target.engine, sid))
        if status != 200:
            return None
        got += body.split(SEPARATOR)
    return got


@pytest.mark.parametrize("seed", SEEDS)
async def test_polling_requests_meet_the_same_reaction(
    seed: int, reference: dict[str, Target], http: aiohttp.ClientSession
) -> None:
    chance = random.Random(seed)  # noqa: S311 # reproducible, not secret
    payloads = [_payload(chance) for _ in range(PACKETS)]
    async with our_servers(LONG) as ours:
        for payload in payloads:
            answers = await asyncio.gather(*(_answered(http, target, payload) for target in (ours, reference[LONG])))
            assert answers[0] == answers[1], (seed, payload)
