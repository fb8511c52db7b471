"""What `python -m loadtest.rolling` makes of what its clients noticed."""

import pytest

from loadtest.rolling.__main__ import RollingLoad, report
from loadtest.rolling.figures import Figures, busiest_second


@pytest.mark.parametrize(
    ("times", "most"),
    [
        ([], 0),
        ([5.0], 1),
        ([0.0, 0.5, 0.99, 1.0, 1.4], 4),
        ([3.0, 1.0, 2.0], 1),
        ([0.125 * number for number in range(100)], 8),
    ],
)
def test_the_busiest_second_is_found_wherever_it_begins(times: list[float], most: int) -> None:
    assert busiest_second(times) == most


def noticed(clients: int, **changes: int) -> Figures:
    figures = Figures(clients=clients, returns=[float(number) for number in range(clients)])
    for name, value in changes.items():
        setattr(figures, name, value)
    return figures


@pytest.mark.parametrize("trouble", ["failed_connects", "failed_subscribes", "lost", "doubled", "unrecovered"])
def test_each_trouble_of_either_kind_of_client_fails_the_run(trouble: str, capsys: pytest.CaptureFixture[str]) -> None:
    load = RollingLoad(clients=20, stock=3)
    assert report(load, noticed(20), noticed(3))
    assert not report(load, noticed(20, **{trouble: 1}), noticed(3))
    assert not report(load, noticed(20), noticed(3, **{trouble: 1}))
    assert capsys.readouterr().out.count("ROLLING clients=23 ") == 3


def test_a_burst_or_clients_that_never_moved_fail_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    load = RollingLoad(clients=20, stock=3)
    burst = noticed(20)
    burst.returns[:3] = [0.0, 0.1, 0.2]
    assert not report(load, burst, noticed(3))
    assert "busiest_second=3 (15.0 %)" in capsys.readouterr().out
    unmoved = noticed(20)
    unmoved.returns.pop()
    assert not report(load, unmoved, noticed(3))
