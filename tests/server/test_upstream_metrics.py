import aiohttp

from market.announcements import FEED_TOPIC, FeedStatus, Source, UpstreamFigures, encode
from tests.server.conftest import Served, until


async def test_metrics_tell_how_the_ingestors_connections_fare(served: Served) -> None:
    figures = UpstreamFigures(opened=7, handovers={"age": 2}, troubles={"half_open": 3, "http_429": 1})
    status = FeedStatus("one", Source.SIMULATED, True, 9, 1, ["spot:btcusdt@trade"], figures)  # noqa: FBT003 # in the struct's order
    await served.publisher.announce(FEED_TOPIC, encode(status))

    async def told() -> bool:
        async with aiohttp.ClientSession() as http, http.get(f"{served.url}/metrics") as answer:
            lines = set((await answer.text()).splitlines())
        return lines >= {
            'tickcast_upstream_opened_total{ingestor="one"} 7.0',
            'tickcast_upstream_handovers_total{ingestor="one",reason="age"} 2.0',
            'tickcast_upstream_troubles_total{ingestor="one",trouble="half_open"} 3.0',
            'tickcast_upstream_troubles_total{ingestor="one",trouble="http_429"} 1.0',
            'tickcast_upstream_stalled_streams{ingestor="one"} 1.0',
        }

    await until(told, "everything announced is shown")
