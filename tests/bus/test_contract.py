"""What bus/base.py promises, on every implementation."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bus import open_bus
from bus.base import ALONE_PART, VALUE_MAX_BYTES
from market.messages import Message
from market.streams import StreamName
from tests.bus.conftest import OpenEnd
from tests.bus.support import BTC, BUSES_WITH_BUDGETS, ETH, MARK, Inbox, eventually, message, until


async def test_a_subscribed_stream_arrives(open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver, sender = await open_end(inbox.take), await open_end()
    await receiver.subscribe([BTC])
    await sender.publish([message()])
    assert await inbox.holds(1) == [message()]


async def test_only_subscribed_streams_arrive(open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver, sender = await open_end(inbox.take), await open_end()
    await receiver.subscribe([ETH, MARK])
    await sender.publish([message(BTC), message(ETH), message(BTC), message(MARK)])
    assert by_stream(await inbox.holds(2)) == {ETH: [message(ETH)], MARK: [message(MARK)]}


def by_stream(messages: Sequence[Message]) -> dict[StreamName, list[Message]]:
    """Messages in order, as far as the contract promises one."""
    parts: dict[StreamName, list[Message]] = {}
    for each in messages:
        parts.setdefault(each.stream, []).append(each)
    return parts


async def test_every_subscriber_receives_its_own_streams(open_end: OpenEnd) -> None:
    both, one = Inbox(), Inbox()
    receiver_of_both, receiver_of_one = await open_end(both.take), await open_end(one.take)
    sender = await open_end()
    await receiver_of_both.subscribe([BTC, ETH])
    await receiver_of_one.subscribe([ETH])
    await sender.publish([message(BTC), message(ETH)])
    assert by_stream(await both.holds(2)) == {BTC: [message(BTC)], ETH: [message(ETH)]}
    assert await one.holds(1) == [message(ETH)]


async def test_a_publisher_receives_what_it_publishes_when_it_subscribed(open_end: OpenEnd) -> None:
    inbox = Inbox()
    end = await open_end(inbox.take)
    await end.subscribe([BTC])
    await end.publish([message()])
    assert await inbox.holds(1) == [message()]


async def test_the_order_of_one_publisher_is_kept_across_batches_and_unawaited_publishes(open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver, sender = await open_end(inbox.take), await open_end()
    await receiver.subscribe([BTC, ETH])
    sent = [message((BTC, ETH)[number % 2], number) for number in range(3_000)]
    await asyncio.gather(*(sender.publish(sent[start : start + 7]) for start in range(0, len(sent), 7)))
    received = await inbox.holds(len(sent))
    assert by_stream(received) == by_stream(sent)


async def test_each_message_arrives_once(open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver, sender = await open_end(inbox.take), await open_end()
    await receiver.subscribe([BTC])
    await receiver.subscribe([BTC])
    await sender.publish([message(cursor=1)])
    await sender.publish([message(cursor=2)])
    assert [m.cursor for m in await inbox.holds(2)] == [1, 2]


async def test_a_batch_reaches_the_handler_in_fewer_calls_than_it_has_messages(open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver, sender = await open_end(inbox.take), await open_end()
    await receiver.subscribe([BTC])
    await sender.publish([message(cursor=number) for number in range(1_000)])
    await inbox.holds(1_000)
    assert len(inbox.batches) < 500


async def test_what_is_published_right_after_subscribe_returned_arrives(open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver, sender = await open_end(inbox.take), await open_end()
    streams = [StreamName.parse(f"s{number}usdt@trade") for number in range(50)]
    for stream in streams:
        await receiver.subscribe([stream])
        await sender.publish([message(stream)])
    # There is no order between streams.
    assert sorted(str(m.stream) for m in await inbox.holds(50)) == sorted(map(str, streams))


async def test_an_unsubscribed_stream_stops(open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver, sender = await open_end(inbox.take), await open_end()
    await receiver.subscribe([BTC, ETH])
    await sender.publish([message(BTC, 1)])
    await inbox.holds(1)
    await receiver.unsubscribe([BTC])
    await sender.publish([message(BTC, 2), message(ETH, 3)])
    assert [m.cursor for m in await inbox.holds(2)] == [1, 3]


async def test_a_stream_can_be_subscribed_again(open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver, sender = await open_end(inbox.take), await open_end()
    await receiver.subscribe([BTC])
    await receiver.unsubscribe([BTC])
    await sender.publish([message(BTC, 1)])
    await receiver.subscribe([BTC])
    await sender.publish([message(BTC, 2)])
    assert [m.cursor for m in await inbox.holds(1)] == [2]


async def test_unsubscribing_what_was_never_subscribed_changes_nothing(open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver, sender = await open_end(inbox.take), await open_end()
    await receiver.subscribe([BTC])
    await receiver.unsubscribe([ETH])
    await sender.publish([message(BTC)])
    await inbox.holds(1)


async def test_empty_requests_are_fine(open_end: OpenEnd) -> None:
    end = await open_end()
    await end.publish([])
    await end.subscribe([])
    await end.unsubscribe([])
    await end.put({})
    assert await end.get([]) == []
    assert end.dropped_total == 0


async def test_a_subscription_made_before_the_start_holds(bus_url: str, open_end: OpenEnd) -> None:
    inbox = Inbox()
    receiver = open_bus(bus_url)
    receiver.on_messages(inbox.take)
    await receiver.subscribe([BTC, ETH])
    await receiver.unsubscribe([ETH])
    await receiver.start()
    try:
        await until(lambda: receiver.connected, "the bus connects")
        sender = await open_end()
        await sender.publish([message(ETH), message(BTC)])
        assert await inbox.holds(1) == [message(BTC)]
    finally:
        await receiver.close()


async def test_an_announcement_reaches_all_listeners_its_sender_included(open_end: OpenEnd) -> None:
    own: list[bytes] = []
    others: list[bytes] = []
    elsewhere: list[bytes] = []
    sender = await open_end(demand=own.append)
    await open_end(demand=others.append, feed=elsewhere.append)
    await sender.announce("demand", b'{"replica": "a"}')
    await sender.announce("feed", b"")
    await until(lambda: len(own) == len(others) == len(elsewhere) == 1, "the announcements")
    assert own == others == [b'{"replica": "a"}']
    assert elsewhere == [b""]


async def test_announcements_keep_the_order_of_their_sender(open_end: OpenEnd) -> None:
    heard: list[bytes] = []
    await open_end(demand=heard.append)
    sender = await open_end()
    bodies = [b"%d" % number for number in range(200)]
    await asyncio.gather(*(sender.announce("demand", body) for body in bodies))
    await until(lambda: len(heard) >= 200, "the announcements")
    assert heard == bodies


async def test_listening_after_the_start_is_refused(open_end: OpenEnd) -> None:
    end = await open_end()
    with pytest.raises(RuntimeError, match="before the bus is started"):
        end.listen("demand", print)


async def test_values_are_kept_for_all_ends_in_the_order_asked_for(open_end: OpenEnd) -> None:
    writer, reader = await open_end(), await open_end()
    await writer.put({"last:a": b"1", "last:b": b"\x00 \r\n"})
    await writer.put({"last:a": b"2", "last:c": b""})
    assert await reader.get(["last:b", "last:nothing", "last:a", "last:c", "last:a"]) == [
        b"\x00 \r\n",
        None,
        b"2",
        b"",
        b"2",
    ]


async def test_a_value_lives_as_long_as_its_put_says(open_end: OpenEnd) -> None:
    end = await open_end()
    await end.put({"last:a": b"1"}, ttl_s=3)
    await end.put({"last:b": b"2"}, ttl_s=3600)
    assert await end.get(["last:a", "last:b"]) == [b"1", b"2"]

    async def gone() -> bool:
        return await end.get(["last:a"]) == [None]

    await eventually(gone, "the value expires")
    assert await end.get(["last:b"]) == [b"2"]


async def test_a_value_of_the_greatest_length_is_kept_and_a_longer_one_refused(open_end: OpenEnd) -> None:
    end = await open_end()
    await end.put({"last:a": bytes(VALUE_MAX_BYTES)})
    with pytest.raises(ValueError, match=r"last:a has \d+ bytes"):
        await end.put({"last:a": bytes(VALUE_MAX_BYTES + 1)})
    assert await end.get(["last:a"]) == [bytes(VALUE_MAX_BYTES)]


@pytest.mark.parametrize("bus_url", BUSES_WITH_BUDGETS, indirect=True)
async def test_all_ends_spend_one_budget(open_end: OpenEnd) -> None:
    one, other = await open_end(), await open_end()
    assert await one.spend("weight:a", 30, 100, 60) == 30
    assert await other.spend("weight:a", 50, 100, 60) == 80
    assert await one.spend("weight:a", 21, 100, 60) is None
    assert await one.spend("weight:a", 0, 100, 60) == 80
    assert await other.spend("weight:a", 20, 100, 60) == 100
    assert await one.spend("weight:b", 100, 100, 60) == 100
    assert one.spent_alone_total == other.spent_alone_total == 0


@pytest.mark.parametrize("bus_url", BUSES_WITH_BUDGETS, indirect=True)
async def test_ends_that_spend_at_once_never_exceed_the_limit(open_end: OpenEnd) -> None:
    ends = [await open_end() for _ in range(3)]
    totals = await asyncio.gather(*(ends[number % 3].spend("weight:a", 3, 100, 60) for number in range(60)))
    assert sorted(total for total in totals if total is not None) == list(range(3, 100, 3))


@pytest.mark.parametrize("bus_url", BUSES_WITH_BUDGETS, indirect=True)
async def test_a_total_ends_with_its_time_however_often_it_grew(open_end: OpenEnd) -> None:
    end = await open_end()
    await end.spend("weight:a", 10, 20, 3)
    await end.spend("weight:a", 10, 20, 3600)

    async def ended() -> bool:
        return await end.spend("weight:a", 20, 20, 60) == 20

    await eventually(ended, "the total ends")


@pytest.mark.parametrize("bus_url", BUSES_WITH_BUDGETS, indirect=True)
async def test_an_end_without_a_server_spends_its_part_of_the_limit(bus_url: str) -> None:
    end = open_bus(bus_url)
    assert await end.spend("weight:a", 100 // ALONE_PART, 100, 60) == 100 // ALONE_PART
    assert await end.spend("weight:a", 1, 100, 60) is None
    assert end.spent_alone_total == 2
    await end.start()
    try:
        await until(lambda: end.connected, "the bus connects")
        assert await end.spend("weight:a", 100, 100, 60) == 100
        assert end.spent_alone_total == 2
    finally:
        await end.close()


async def test_a_handler_that_raises_is_logged_and_counted_and_the_bus_goes_on(open_end: OpenEnd) -> None:
    inbox = Inbox()

    def fail_once(messages: Sequence[Message]) -> None:
        inbox.take(messages)
        if len(inbox.batches) == 1:
            raise ValueError("a fault of the handler's")

    receiver, sender = await open_end(fail_once), await open_end()
    await receiver.subscribe([BTC])
    with capture_logs() as logs:
        await sender.publish([message(cursor=1)])
        await inbox.holds(1)
        await sender.publish([message(cursor=2)])
        await inbox.holds(2)
    assert receiver.handler_errors_total == 1
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["a bus handler failed"]


async def test_a_listener_that_raises_is_counted_and_the_bus_goes_on(open_end: OpenEnd) -> None:
    heard: list[bytes] = []

    def fail_on_bad(body: bytes) -> None:
        heard.append(body)
        if body == b"bad":
            raise ValueError("a fault of the listener's")

    listener = await open_end(demand=fail_on_bad)
    with capture_logs():
        await listener.announce("demand", b"bad")
        await listener.announce("demand", b"good")
        await until(lambda: len(heard) == 2, "the announcements")
    assert listener.handler_errors_total == 1


async def test_nothing_is_delivered_after_close(open_end: OpenEnd) -> None:
    closed, open_ = Inbox(), Inbox()
    heard: list[bytes] = []
    leaving = await open_end(closed.take, demand=heard.append)
    staying, sender = await open_end(open_.take), await open_end()
    await leaving.subscribe([BTC])
    await staying.subscribe([BTC])
    await leaving.close()
    assert not leaving.connected
    await sender.announce("demand", b"late")
    await sender.publish([message()])
    await open_.holds(1)
    assert closed.messages == []
    assert heard == []


async def test_closing_twice_is_closing_once(open_end: OpenEnd) -> None:
    end = await open_end()
    await end.close()
    await end.close()
    assert not end.connected


async def test_what_is_published_without_a_server_is_counted_and_never_delivered(
    bus_url: str, open_end: OpenEnd
) -> None:
    inbox = Inbox()
    receiver = await open_end(inbox.take)
    await receiver.subscribe([BTC])
    sender = open_bus(bus_url)
    await sender.publish([message(cursor=1), message(cursor=2)])
    await sender.announce("demand", b"{}")
    await sender.put({"last:a": b"1"})
    assert sender.dropped_total == 3
    assert await sender.get(["last:a"]) == [None]
    await sender.start()
    try:
        await until(lambda: sender.connected, "the bus connects")
        assert await sender.get(["last:a"]) == [None]
        await sender.publish([message(cursor=3)])
        assert [m.cursor for m in await inbox.holds(1)] == [3]
    finally:
        await sender.close()


async def test_the_time_of_the_last_delivery_is_known(open_end: OpenEnd) -> None:
    inbox = Inbox()
    heard: list[bytes] = []
    end = await open_end(inbox.take, canary=heard.append)
    assert end.last_received == 0.0
    await end.announce("canary", b"{}")
    await until(lambda: bool(heard), "the announcement")
    first = end.last_received
    assert first > 0.0
    await end.subscribe([BTC])
    await end.publish([message()])
    await inbox.holds(1)
    assert end.last_received > first


messages = st.builds(
    Message,
    st.sampled_from([BTC, ETH, MARK, StreamName.parse("!miniTicker@arr")]),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.one_of(
        st.binary(max_size=300), st.sampled_from([b"", b" ", b"\n", b" 1 2 ", b"\r\n$3\r\nfoo", b'{"a": "\xc3\xa9"}'])
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(messages, max_size=20))
async def test_any_batch_arrives_unchanged(open_end: OpenEnd, batch: list[Message]) -> None:
    inbox = Inbox()
    receiver = await open_end(inbox.take)
    try:
        await receiver.subscribe({m.stream for m in batch})
        await receiver.publish(batch)
        await receiver.announce("nobody", b"listens")
        assert by_stream(await inbox.holds(len(batch))) == by_stream(batch)
    finally:
        await receiver.close()


def test_a_scheme_that_no_bus_speaks_is_refused() -> None:
    with pytest.raises(ValueError, match="no bus speaks http"):
        open_bus("http://127.0.0.1")
