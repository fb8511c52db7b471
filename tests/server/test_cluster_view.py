"""What a replica knows of the whole cluster: who is there, how fast, and who fell silent."""

from typing import Any

import msgspec
import pytest

from market.announcements import FeedStatus, Source
from market.figures import FeedFigures, GroupFigures, ReplicaFigures
from server.cluster import view as cluster_view
from server.cluster.view import (
    FORGOTTEN_AFTER_S,
    SILENT_AFTER_S,
    Sightings,
    ingestor_view,
    replica_view,
    totals,
)

BASE = ReplicaFigures(
    replica="app1",
    host="h",
    pid=1,
    version="0.1.0",
    source="simulated",
    uptime_s=10.0,
    draining=False,
    connections={"socketio": {"websocket": 3, "polling": 1}, "json": {"websocket": 2}},
    opened_total=9,
    streams=5,
    subscriptions=7,
    received_total=100,
    delivered_total=1000,
    written_bytes_total=50_000,
    conflated_total=0,
    dropped_total=0,
    slow_consumers_total=0,
    lagging=1,
    bus_connected=True,
    bus_round_trip_us=500,
    loop_lag_us=1500,
    memory_bytes=1 << 20,
)


def figures(**changes: Any) -> ReplicaFigures:
    return msgspec.structs.replace(BASE, **changes)


def status(name: str, groups: dict[str, bool], uptime_s: float = 1.0, published: int = 0) -> FeedStatus:
    carried = {key: GroupFigures(3, subscribed, ["a", "b"]) for key, subscribed in groups.items()}
    feed = FeedFigures(uptime_s=uptime_s, phase="live", published_total=published, lag_us=2000, groups=carried)
    return FeedStatus(name, Source.SIMULATED, connected=True, streams=6, last_message_ms=1, figures=feed)


def test_rates_are_those_between_two_announcements_of_one_process() -> None:
    seen = Sightings[ReplicaFigures]()
    seen.note("app1", BASE, now=0.0)
    (first,) = seen.list(0.5)
    assert replica_view(first).messages_in_per_s is None
    later = figures(uptime_s=14.0, received_total=140, delivered_total=1800, written_bytes_total=54_000)
    seen.note("app1", later, now=4.0)
    shown = replica_view(seen.list(4.5)[0])
    assert (shown.messages_in_per_s, shown.messages_out_per_s, shown.bytes_out_per_s) == (10.0, 200.0, 1000.0)
    assert (shown.clients, shown.age_s, shown.loop_lag_s, shown.bus_round_trip_s) == (6, 0.5, 0.0015, 0.0005)


def test_a_process_that_began_anew_has_no_rate_yet() -> None:
    seen = Sightings[ReplicaFigures]()
    seen.note("app1", BASE, now=0.0)
    seen.note("app1", figures(uptime_s=1.0, received_total=5), now=3.0)
    assert replica_view(seen.list(3.0)[0]).messages_in_per_s is None


def test_a_process_that_fell_silent_is_marked_then_forgotten_and_not_counted_meanwhile() -> None:
    seen = Sightings[ReplicaFigures]()
    seen.note("app1", BASE, now=0.0)
    assert [one.is_silent for one in seen.list(SILENT_AFTER_S - 0.1)] == [False]
    silent = [replica_view(one) for one in seen.list(SILENT_AFTER_S)]
    assert [one.silent for one in silent] == [True]
    assert totals(silent, []).clients == 0
    assert seen.list(FORGOTTEN_AFTER_S) == []


def test_no_more_processes_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_view, "MAX_PROCESSES", 2)
    seen = Sightings[ReplicaFigures]()
    for name in ("a", "b", "c", "a"):
        seen.note(name, figures(replica=name), now=0.0)
    assert [one.said.replica for one in seen.list(1.0)] == ["a", "b"]
    assert seen.ignored_total == 1
    seen.note("c", figures(replica="c"), now=FORGOTTEN_AFTER_S)
    assert [one.said.replica for one in seen.list(FORGOTTEN_AFTER_S)] == ["c"]


def test_the_totals_tell_the_fewest_copies_of_any_group() -> None:
    seen = Sightings[FeedStatus]()
    seen.note("a", status("a", {"spot:0": True, "futures:0": True}), now=0.0)
    seen.note("b", status("b", {"spot:0": True, "futures:0": False}), now=0.0)
    shown = [ingestor_view(one) for one in seen.list(1.0)]
    added = totals([], shown)
    assert (added.ingestors, added.groups, added.fewest_copies) == (2, 2, 1)
    assert shown[0].groups["spot:0"] == {"streams": 3, "subscribed": True, "carriers": ["a", "b"]}
    assert totals([], [ingestor_view(one) for one in seen.list(SILENT_AFTER_S)]).fewest_copies == 0


def test_an_ingestors_rate_is_that_of_what_it_published() -> None:
    seen = Sightings[FeedStatus]()
    seen.note("a", status("a", {}, uptime_s=2.0, published=10), now=0.0)
    seen.note("a", status("a", {}, uptime_s=4.0, published=50), now=2.0)
    (shown,) = (ingestor_view(one) for one in seen.list(2.0))
    assert (shown.messages_per_s, shown.lag_s, shown.phase) == (20.0, 0.002, "live")
