"""A grant ends during the connection, too, unless it is renewed; and with the API key that it came from."""

import asyncio
import json
import time

import aiohttp
import pytest
import socketio

from server.access.expiry import Expiries
from server.access.tokens import LEEWAY_S
from tests.server.access.conftest import DESK, GUARDED, Clock, Guarded, write_keys
from tests.server.access.minting import bearer, forged, mint
from tests.server.conftest import Client, until
from tests.server.json_client import json_client
from tests.support.documented import Documented

pytestmark = pytest.mark.asyncio(loop_scope="module")

ETHER = {"streams": ["spot:eth*"]}


async def connected(url: str, transport: str, token: str) -> Client:
    client = Client()
    await client.io.connect(url, transports=[transport], auth={"token": token}, wait_timeout=10)
    await until(lambda: client.named("connected"), "greeting")
    return client


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_socketio_client_is_told_and_disconnected_when_its_token_ends(
    guarded: Guarded, clock: Clock, transport: str
) -> None:
    client = await connected(guarded.url, transport, mint())
    reasons: list[str] = []
    client.io.on("disconnect", reasons.append)
    await client.call("subscribe", {"streams": ["ethusdt@trade"]})
    clock.end_tokens()
    await until(lambda: reasons, "the end of the token")
    assert client.named("error")[0]["code"] == "token_expired"
    assert reasons == [socketio.AsyncClient.reason.SERVER_DISCONNECT]


async def test_the_websocket_of_a_socketio_client_closes_with_the_number(guarded: Guarded, clock: Clock) -> None:
    async with (
        aiohttp.ClientSession(guarded.url) as http,
        http.ws_connect("/socket.io/?EIO=4&transport=websocket") as socket,
    ):
        await socket.receive_str()
        await socket.send_str(f'40{{"token":"{mint()}"}}')
        await socket.receive_str()
        clock.end_tokens()
        texts = [message.data async for message in socket]
        assert [text[:2] for text in texts[-3:]] == ["42", "41", "1"]
        assert socket.close_code == 4401


async def test_a_client_that_does_not_poll_just_then_fetches_the_goodbye_later(guarded: Guarded, clock: Clock) -> None:
    async with aiohttp.ClientSession(guarded.url) as http:
        async with http.get("/socket.io/?EIO=4&transport=polling") as opened:
            sid = json.loads((await opened.text())[1:])["sid"]
        path = f"/socket.io/?EIO=4&transport=polling&sid={sid}"
        async with http.post(path, data=f'40{{"token":"{mint()}"}}') as connected, http.get(path) as greeted:
            assert connected.status == 200
            assert (await greeted.text()).startswith("40")
        gate = guarded.served.replica._gate
        before = gate.expired_total
        clock.end_tokens()
        await until(lambda: gate.expired_total > before, "the end of the token")
        packets = ""
        while "\x1e41" not in packets:
            async with http.get(path) as polled:
                packets += "\x1e" + await polled.text()
        assert '42["error",{"code":"token_expired"' in packets
        async with http.post(path, data='42["subscribe",{"streams":["ethusdt@trade"]}]') as refused:
            assert refused.status == 400


async def test_a_json_client_is_told_and_closed_when_its_token_ends(guarded: Guarded, clock: Clock) -> None:
    async with json_client(guarded.url, additional_headers=bearer(mint())) as client:
        clock.end_tokens()
        assert await client.wait_closed() == (4401, "token_expired")
        assert client.of_type("error")[0]["code"] == "token_expired"


async def test_a_client_of_binances_protocol_is_closed_when_its_token_ends(guarded: Guarded, clock: Clock) -> None:
    async with (
        aiohttp.ClientSession(guarded.url) as http,
        http.ws_connect(f"/ws/ethusdt@trade?token={mint()}") as socket,
    ):
        clock.end_tokens()
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4401, "token_expired")


async def test_a_socketio_client_renews_its_token_and_stays(guarded: Guarded, clock: Clock) -> None:
    client = await connected(guarded.url, "websocket", mint())
    await client.call("subscribe", {"streams": ["ethusdt@trade", "btcusdt@trade"]})
    expires = time.time() + 36_000
    reply = await client.call("authenticate", {"token": mint(exp=expires, tickcast=ETHER)})
    assert reply == {"ok": True, "expiresAt": int((expires + LEEWAY_S) * 1000), "left": ["spot:btcusdt@trade"]}
    assert (await client.call("subscriptions"))["streams"] == ["spot:ethusdt@trade"]
    assert (await client.call("subscribe", {"streams": ["btcusdt@trade"]}))["rejected"][0]["code"] == "forbidden"
    await _end_another(guarded, clock)
    await guarded.served.publish("btcusdt@trade")
    await guarded.served.publish("ethusdt@trade")
    await until(lambda: client.named("trade"), "it still has what it may have")
    assert {body["stream"] for body in client.named("trade")} == {"spot:ethusdt@trade"}
    await client.io.emit("authenticate", {"token": mint()})
    await until(lambda: client.named("authenticated"), "the answer as an event")
    assert client.named("authenticated")[0]["left"] == []
    Documented("io").check("authenticated", client.named("authenticated")[0])
    await client.io.disconnect()


async def _end_another(guarded: Guarded, clock: Clock) -> None:
    """Let tokens end that are as old as the first one of the test, and see that they did."""
    async with json_client(guarded.url, additional_headers=bearer(mint())) as other:
        clock.end_tokens()
        await other.wait_closed()


async def test_a_json_client_renews_its_token_and_stays(guarded: Guarded) -> None:
    async with json_client(guarded.url, additional_headers=bearer(mint())) as client:
        await client.ask("subscribed", type="subscribe", rawStreams=["ethusdt@trade", "btcusdt@trade"])
        answer = await client.ask("authenticated", type="authenticate", token=mint(tickcast=ETHER))
        assert answer["left"] == ["spot:btcusdt@trade"]
        assert answer["expiresAt"] > time.time() * 1000
        Documented("json").check("authenticated", answer)


async def test_a_renewal_that_is_refused_changes_nothing(guarded: Guarded, clock: Clock) -> None:
    client = await connected(guarded.url, "websocket", mint(tickcast=ETHER))
    reasons: list[str] = []
    client.io.on("disconnect", reasons.append)
    for token, code in (
        (mint(sub="mallory"), "unauthorized"),
        (forged(), "unauthorized"),
        (DESK.key, "unauthorized"),
        (None, "bad_request"),
        (7, "bad_request"),
    ):
        reply = await client.call("authenticate", {"token": token})
        assert (reply["ok"], reply["code"]) == (False, code)
    assert (await client.call("authenticate", "token"))["code"] == "bad_request"
    assert (await client.call("subscribe", {"streams": ["btcusdt@trade"]}))["rejected"][0]["code"] == "forbidden"
    clock.end_tokens()
    await until(lambda: reasons, "the token ends as it would have")


async def test_a_client_that_leaves_is_watched_no_more(guarded: Guarded) -> None:
    client = await connected(guarded.url, "websocket", mint())
    await client.io.disconnect()
    async with json_client(guarded.url, additional_headers={"X-API-Key": DESK.key}):
        pass
    async with aiohttp.ClientSession(guarded.url) as http, http.ws_connect(f"/ws?token={mint()}"):
        pass
    gate = guarded.served.replica._gate
    await until(lambda: len(gate._expiries) == 0 and not gate._by_key, "nobody is watched")


async def test_connections_end_with_their_api_key(guarded: Guarded) -> None:
    async with (
        json_client(guarded.url, additional_headers={"X-API-Key": GUARDED.key}) as guest,
        json_client(guarded.url, additional_headers={"X-API-Key": DESK.key}) as desk,
    ):
        guarded.keys_file.write_text(DESK.lines)
        assert await guest.wait_closed() == (4401, "token_expired")
        await desk.settle()
        async with aiohttp.ClientSession(guarded.url) as http:
            async with http.get("/stats", headers={"X-API-Key": GUARDED.key}) as answer:
                assert answer.status == 401
            write_keys(guarded.keys_file)

            async def is_back() -> bool:
                async with http.get("/stats", headers={"X-API-Key": GUARDED.key}) as answer:
                    return answer.status == 200

            await until(is_back, "the key is read again")


async def test_what_ends_beyond_the_horizon_ends_in_time_all_the_same(clock: Clock) -> None:
    ended: list[str] = []
    expiries = Expiries[str](ended.append)
    day_s = 86_400
    for name, days in (("far", 2), ("near", 1), ("gone", 1)):
        expiries.add(name, clock.time() + days * day_s)
    expiries.remove("gone")
    expiries.remove("never there")
    clock.ahead_s = day_s - 60
    (slot,) = expiries._slots
    await until(lambda: slot not in expiries._slots, "they are looked at again")
    assert ended == []
    clock.ahead_s = day_s + 60
    await until(lambda: ended, "what is near ends")
    assert (ended, len(expiries)) == (["near"], 1)
    expiries.close()
    assert len(expiries) == 0


async def test_many_that_end_at_once_all_end_even_if_some_leave_by_that() -> None:
    ended: list[int] = []

    def end(number: int) -> None:
        ended.append(number)
        expiries.remove(number + 1)  # as when one connection's end takes another with it

    expiries = Expiries[int](end)
    for number in range(10):
        expiries.add(number, time.time() - 1)
    await until(lambda: len(expiries) == 0, "all have ended")
    assert ended[0] == 0
    assert set(ended) | {number + 1 for number in ended} >= set(range(10))
    await asyncio.sleep(0)
    assert expiries._timer is None
