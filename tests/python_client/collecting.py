"""What tests read from subscriptions."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from clients.python.tickcast_client import Client, Event, Message, Subscription

Kind = TypeVar("Kind")


async def read_until(subscription: Subscription, enough: Callable[[list[Event]], object]) -> list[Event]:
    """All events up to the one with which `enough` holds."""
    events: list[Event] = []
    try:
        async with asyncio.timeout(15):
            async for event in subscription:
                events.append(event)
                if enough(events):
                    return events
    except TimeoutError:
        raise AssertionError(f"not enough: {events[-20:]}") from None
    raise AssertionError(f"it ended: {events[-20:]}")


def of(kind: type[Kind], events: list[Event]) -> list[Kind]:
    return [event for event in events if isinstance(event, kind)]


def cursors(events: list[Event]) -> list[int]:
    return [message.cursor for message in of(Message, events)]


async def subscribed(client: Client) -> list[str]:
    """What the server has subscribed for `client`."""
    return list((await client._session.call("subscriptions", None))["streams"])


async def at_once(condition: Callable[[], object]) -> None:
    """Return in the turn of the loop in which `condition` holds."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0)


async def is_asked(client: Client, *, is_connected: bool) -> None:
    """Return while a call of `client` waits for its answer, of a resume or over a connection that stands."""
    await at_once(
        lambda: (link := client._session._link) and link._calls and client.is_connected is is_connected,
    )


async def next_of(kind: type[Kind], subscription: Subscription) -> Kind:
    """The next event of a type; those before it are passed over."""
    events = await read_until(subscription, lambda events: isinstance(events[-1], kind))
    return of(kind, events)[-1]
