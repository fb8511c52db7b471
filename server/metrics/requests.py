"""Metrics of what clients ask for that is no live stream: candles, Binance's REST API, replays."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from server.doors.binance_rest import BinanceRestDoor
from server.history.klines import History
from server.replay.replays import Replays
from server.rest_cache import RestCache
from telemetry.families import counter, gauge


def history_figures(history: History) -> Iterator[Metric]:
    """What candles cost, and what was not asked because it was known."""
    blocks = history.blocks
    yield counter("history_upstream_requests", "Requests for candles to the exchange", blocks.asked_total)
    joined = "Requests for candles that waited for another one's answer"
    yield counter("history_joined_requests", joined, blocks.flights.joined_total)
    yield counter("history_cache_hits", "Blocks of closed candles found on the bus", blocks.slots.hits_total)
    yield counter("history_cache_misses", "Blocks of closed candles not found on the bus", blocks.slots.misses_total)


def rest_door_figures(door: BinanceRestDoor, cache: RestCache) -> Iterator[Metric]:
    """How requests at the Binance door's REST were answered."""
    asked = "Requests at the Binance door's REST that went to the exchange"
    yield counter("binance_rest_upstream_requests", asked, cache.asked_total)
    shared = "Requests at the Binance door's REST answered with another one's answer"
    yield counter("binance_rest_shared_answers", shared, cache.shared_total)
    limited = "Requests at the Binance door's REST past their address's weight"
    yield counter("binance_rest_limited_requests", limited, door.limited_total)


def replay_figures(replays: Replays) -> Iterator[Metric]:
    """What clients receive of recordings."""
    figures = replays.figures
    yield gauge("replays", "Replays that clients receive now", len(replays))
    yield counter("replays_started", "Replays that began", figures.started_total)
    yield counter("replays_refused", "Replays refused: too many at once", figures.refused_total)
    yield counter("replayed_messages", "Stored messages sent to clients", figures.messages_total)
    failed = "Stored messages that could not be encoded"
    yield counter("replay_encode_errors", failed, figures.encode_errors_total)
