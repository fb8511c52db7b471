"""What tests read from subscriptions."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from clients.python.tickcast_client import Event, Message, Subscription

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


async def next_of(kind: type[Kind], subscription: Subscription) -> Kind:
    """The next event of a type; those before it are passed over."""
    events = await read_until(subscription, lambda events: isinstance(events[-1], kind))
    return of(kind, events)[-1]
