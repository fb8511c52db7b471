"""What replicas count of their questions to ingestors, and what ingestors say of themselves."""

import httpx
import pytest

from bus.memory import MemoryBroker, MemoryBus
from market.announcements import FEED_TOPIC, FeedStatus, Source, encode
from market.streams import StreamName
from server import resume as resume_module
from server.resume import Resume
from tests.server.conftest import Served, until

TRADES = StreamName.parse("btcusdt@trade")


def status(ingestor: str, books: int, forgotten: int) -> FeedStatus:
    return FeedStatus(
        ingestor,
        Source.SIMULATED,
        connected=True,
        streams=1,
        last_message_ms=1,
        remembered=7,
        forgotten_total=forgotten,
        cut_total=2,
        books=books,
        books_refused=1,
        recorded_total=10 * books,
        record_dropped_total=books,
    )


async def test_metrics_add_up_what_the_ingestors_say_under_no_name(served: Served) -> None:
    for one in (status("a", 3, 5), status("b", 4, 6), status("b", 4, 7)):
        await served.publisher.announce(FEED_TOPIC, encode(one))
    expected = {
        "tickcast_ingestor_remembered_streams 14.0",
        "tickcast_ingestor_forgotten_streams_total 12.0",
        "tickcast_ingestor_cut_answers_total 4.0",
        "tickcast_ingestor_books 7.0",
        "tickcast_ingestor_recorded_messages_total 70.0",
        "tickcast_ingestor_unrecorded_messages_total 7.0",
        "tickcast_ingestor_books_refused 2.0",
        "tickcast_resume_unasked_total 0.0",
        "tickcast_resume_malformed_total 0.0",
    }
    async with httpx.AsyncClient() as http:

        async def all_said() -> bool:
            return expected <= set((await http.get(f"{served.url}/metrics")).text.splitlines())

        await until(all_said, "the sums")


async def test_a_question_too_many_is_not_asked_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume_module, "MAX_ASKS", 0)
    bus = MemoryBus(MemoryBroker())
    resume = Resume(bus, "r1")
    await bus.start()
    assert await resume.ask({TRADES: 1}) == {}
    assert await resume.books([StreamName.parse("btcusdt@book")]) == {}
    assert (resume.asked_total, resume.unasked_total, resume.unanswered_total) == (0, 2, 0)
    await bus.close()
