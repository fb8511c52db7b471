"""The sender that only writes: the measure of what the receiver takes, and of what writing costs."""

from loadtest.bench.capacity import measure_capacity, measure_floor
from loadtest.bench.stage import Ground


def test_the_receiver_takes_what_a_blast_sends(ground: Ground) -> None:
    sample = measure_capacity(ground, 20)
    assert sample.delivered > sample.reads > 0


def test_the_floor_is_one_write_for_each_client_and_update(ground: Ground) -> None:
    sample = measure_floor(ground, 20)
    assert sample.clients <= sample.delivered <= 2 * 20 * sample.clients * sample.seconds
    assert 0 < sample.reads <= sample.delivered
    assert 0 < sample.server.total_s < sample.seconds
