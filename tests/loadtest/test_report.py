"""Tables on the terminal, and the page: every row shows up, and the page needs nothing else."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

from loadtest.bench import scenarios
from loadtest.bench.goals import MAIN_GOALS, judge
from loadtest.bench.page import render
from loadtest.bench.samples import Cpu, Results, Row, Usage
from loadtest.bench.servers import NODE, TICKCAST
from loadtest.bench.tables import as_text, capacity_lines, line_of, table, warnings
from loadtest.report.charts import Bar, Course, Line, bars, lines, timeline
from tests.loadtest.samples import A_COLD_START, A_SAMPLE, results

ALL = scenarios.MAIN_SCENARIOS + scenarios.MORE_SCENARIOS


class Checker(HTMLParser):
    """Collects open tags and every attribute that would load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page() -> str:
    found = results()
    return render(ALL, found, judge(MAIN_GOALS, found), {"on": "a <machine>"})


def rows_of(scenario: str, found: Results) -> list[Row]:
    return [row for row in found.rows if row.scenario == scenario]


def test_the_page_is_whole_and_loads_nothing() -> None:
    checker = Checker()
    checker.feed(page())
    checker.close()
    assert checker.open == []
    assert checker.loads == []
    assert "<script" not in page()


def test_the_page_shows_every_scenario_the_goals_and_why_something_is_missing() -> None:
    text = page()
    assert all(f"<h2>{scenario.name}</h2>" in text for scenario in ALL)
    assert "saturation_deliveries_vs_node" in text
    assert "it has no &lt;such&gt; parser" in text
    assert "a &lt;machine&gt;" in text


def test_its_charts_are_well_formed_svg() -> None:
    charts = re.findall(r"<svg.*?</svg>", page(), re.DOTALL)
    assert len(charts) >= 10
    for chart in charts:
        assert ET.fromstring(chart).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own text


def test_bars_are_as_long_as_their_values() -> None:
    chart = ET.fromstring(bars("t", "us", [Bar("a", 0, (1.0, 1.0)), Bar("b", 1, (4.0,))]))  # noqa: S314 - our own text
    widths = [float(rect.attrib["width"]) for rect in chart.iter("{http://www.w3.org/2000/svg}rect")]
    assert widths == [widths[2] / 4, widths[2] / 4, widths[2]]


def test_lines_rise_with_their_values_and_nothing_is_drawn_of_nothing() -> None:
    chart = ET.fromstring(lines("t", ("x", "y"), [Line("a", 0, ((10, 1), (1000, 100)))], limit=50))  # noqa: S314 - ours
    (first, last) = [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in chart.iter("{http://www.w3.org/2000/svg}circle")
    ]
    assert first[0] < last[0]
    assert first[1] > last[1], "SVG counts downwards"
    assert lines("t", ("x", "y"), []) == ""


def test_a_table_compares_every_server_with_tickcast() -> None:
    found = results()
    content = table(rows_of(scenarios.UNBATCHED, found), found)
    ours, theirs = content.rows[0], content.rows[2]
    assert (ours[0], theirs[0]) == (TICKCAST, NODE)
    assert ours[-2:] == ("", "")
    assert theirs[-2:] == ("1.00", "0.50")


def test_columns_are_aligned_and_a_skipped_row_says_why() -> None:
    found = results()
    text = as_text(table(rows_of(scenarios.UNBATCHED, found), found)).split("\n")
    assert {line.find(" us") for line in text[:1]} == {text[0].find(" us")}
    assert len({line.index("/s") for line in text[1:] if scenarios.SLOW_RATE in line}) == 1
    skipped = as_text(table(rows_of(scenarios.MSGPACK, found), found))
    assert "tickcast  skipped: it has no <such> parser" in skipped


def test_a_figure_that_the_generator_may_have_limited_is_marked() -> None:
    usage = Usage(1.0, {"server": Cpu(0.5, 0.5), "receiver": Cpu(0.4, 0.57)}, (1.0, 0.5))
    busy = Row("s", NODE, "v", replace(A_SAMPLE, usage=usage))
    assert "97%*" in table([busy], Results([busy])).rows[0]


def test_a_run_on_a_busy_machine_says_so() -> None:
    usage = Usage(1.0, {"server": Cpu(0.3, 0.2)}, (0.9, 0.96))
    row = Row("s", NODE, "v", replace(A_SAMPLE, usage=usage))
    found = Results([row, Row("s", TICKCAST, "v", replace(A_SAMPLE, usage=Usage(1.0, usage.processes, (0.55, 0.5))))])
    assert "40%!" in table([row], found).rows[0]
    first, second = warnings(found)
    assert first.startswith("WARNING: during 1 of 2 measurements something else")
    assert second.startswith("WARNING: during 1 of 2 measurements the generator")
    assert first in unescape(render(ALL, found, [], {}))
    assert warnings(Results(found.rows[1:])) == []


def test_a_cold_start_is_told_with_its_arithmetic() -> None:
    found = results()
    content = table(rows_of(scenarios.COLD_START, found), found)
    cells = dict(zip(content.head, content.rows[0], strict=True))
    assert cells["connections"] == "8 of 300"
    assert cells["in 1 s"] == "2 of 5"
    assert "300 on the fullest (Binance: 1,024): 2 SUBSCRIBE messages" in page()
    assert line_of(rows_of(scenarios.COLD_START, found)[0]).startswith("cold start: tickcast: 2,000 streams on 8 conn")


def test_a_cold_start_beside_other_work_is_doubtful() -> None:
    slow = Row(scenarios.COLD_START, TICKCAST, cold_start=replace(A_COLD_START, others_share=0.6))
    found = Results([slow])
    assert "60%!" in table([slow], found).rows[0]
    assert warnings(found)[0].startswith("WARNING: something else ran during the cold start")


def test_what_the_generator_can_take_and_took_is_said() -> None:
    first, second = capacity_lines(results())
    assert "200,000 frames/s (1 a write)" in first
    assert "1.50 us" in first
    assert "50%" in second or "30%" in second


def test_what_bare_writes_cost_is_said() -> None:
    found = results()
    found.floor = A_SAMPLE
    assert any("takes 4.00 us a delivery (2.50 of them the kernel's)" in line for line in capacity_lines(found))


def test_progress_tells_a_row_in_one_line() -> None:
    assert line_of(Row("s", NODE, "v", A_SAMPLE)) == (f"s: {NODE} v: 200,000/s of 200,000/s, 4.00 us each, p99 20.0 ms")
    assert line_of(Row("s", NODE, skipped="no answer")) == f"s: {NODE}: skipped, no answer"


def test_a_timeline_begins_at_zero_and_rises_with_its_values() -> None:
    course = Course("a", 0, ((0.0, 0.0), (8.0, 40.0)))
    chart = ET.fromstring(timeline("t", "ms", [course]))  # noqa: S314 - our own text
    line = next(chart.iter("{http://www.w3.org/2000/svg}polyline"))
    (left, bottom), (right, top) = [map(float, point.split(",")) for point in line.attrib["points"].split()]
    assert left < right
    assert top < bottom, "SVG counts downwards"
    words = [text.text for text in chart.iter("{http://www.w3.org/2000/svg}text")]
    assert {"0", "10", "20", "30", "40", "8"} <= set(words)
    assert timeline("t", "ms", []) == ""
