from ingestor.memory import Memory
from market.announcements import ResumeAsk
from market.messages import Message
from market.streams import StreamName

TRADES = StreamName.parse("btcusdt@trade")
TICKER = StreamName.parse("btcusdt@ticker")


def filled(stream: StreamName, count: int = 5, size: int = 2) -> Memory:
    memory = Memory()
    for cursor in range(1, count + 1):
        memory.keep(Message(stream, cursor, cursor, b"1" * size))
    return memory


def test_a_replica_is_told_what_came_since_a_cursor_that_one_included() -> None:
    answer = filled(TRADES).answer(ResumeAsk("r1", 7, {str(TRADES): 3}))
    assert answer.ask == 7
    assert [(kept.cursor, bytes(kept.payload)) for kept in answer.streams[str(TRADES)]] == [
        (3, b"11"),
        (4, b"11"),
        (5, b"11"),
    ]


def test_what_is_not_remembered_that_far_is_left_out() -> None:
    ask = ResumeAsk("r1", 1, {str(TRADES): 99, "spot:ethusdt@trade": 1, "no stream": 1})
    assert filled(TRADES).answer(ask).streams == {}


def test_state_streams_are_not_remembered() -> None:
    assert filled(TICKER).answer(ResumeAsk("r1", 1, {str(TICKER): 3})).streams == {}


def test_a_stream_that_is_carried_no_longer_is_forgotten() -> None:
    memory = filled(TRADES)
    memory.carry(frozenset())
    assert memory.answer(ResumeAsk("r1", 1, {str(TRADES): 3})).streams == {}


def test_the_number_of_rings_is_bounded() -> None:
    memory = Memory(max_rings=2)
    for symbol in ("a1", "b2", "c3"):
        memory.keep(Message(StreamName.parse(f"{symbol}@trade"), 1, 1, b"1"))
    asked = {f"spot:{symbol}@trade": 1 for symbol in ("a1", "b2", "c3")}
    assert set(memory.answer(ResumeAsk("r1", 1, asked)).streams) == {"spot:b2@trade", "spot:c3@trade"}
    assert memory.forgotten_total == 1


def test_an_answer_is_bounded() -> None:
    memory = Memory()
    asked = {f"spot:s{n}@trade": 1 for n in range(8)}
    for text in asked:
        for cursor in range(1, 10):
            memory.keep(Message(StreamName.parse(text), cursor, cursor, b"1" * 100_000))
    assert 1 <= len(memory.answer(ResumeAsk("r1", 1, asked)).streams) < 8
    assert (len(memory), memory.cut_total) == (8, 1)


def test_what_two_connections_deliver_while_one_takes_over_is_remembered_once() -> None:
    memory = Memory()
    for cursor in (1, 2, 3, 2, 3, 4):
        memory.keep(Message(TRADES, cursor, cursor, b"1"))
    kept = memory.answer(ResumeAsk("r1", 1, {str(TRADES): 2})).streams[str(TRADES)]
    assert [message.cursor for message in kept] == [2, 3, 4]


def test_ids_that_begin_anew_are_remembered_from_there() -> None:
    memory = filled(TRADES)
    for cursor in (1, 2):
        memory.keep(Message(TRADES, cursor, 10_000_000, b"1"))
    kept = memory.answer(ResumeAsk("r1", 1, {str(TRADES): 1})).streams[str(TRADES)]
    assert [(message.cursor, message.received_us) for message in kept] == [(1, 10_000_000), (2, 10_000_000)]
