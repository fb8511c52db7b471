"""Charts as inline SVG: bars of stacked parts, lines over logarithmic axes, and courses over time. Pure."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final, NamedTuple

COLOURS: Final = ("#0b6e4f", "#c8553d", "#3d5a98", "#b8860b")
_LIGHTER: Final = 0.45
_WIDTH: Final = 760
_LABELS: Final = 250
_BAR: Final = 18
_GAP: Final = 8
_PLOT_HEIGHT: Final = 300
_MARGIN: Final = 60
_PARTS: Final = 4
"""Into which the axes of a timeline are divided."""


class Bar(NamedTuple):
    """One bar: its label, which server's colour it has, and its parts from left to right."""

    label: str
    series: int
    parts: tuple[float, ...]


class Line(NamedTuple):
    """One series of (x, y) points, both above zero."""

    name: str
    series: int
    points: tuple[tuple[float, float], ...]


def bars(title: str, unit: str, content: Sequence[Bar]) -> str:
    """Horizontal bars from zero; the second part of a bar is lighter than the first."""
    longest = max((sum(bar.parts) for bar in content), default=0.0) or 1.0
    room = _WIDTH - _LABELS - 110
    shapes = []
    for number, bar in enumerate(content):
        top, left = 34 + number * (_BAR + _GAP), float(_LABELS)
        shapes.append(_text(_LABELS - 8, top + 13, bar.label, "end"))
        for part, value in enumerate(bar.parts):
            width = room * value / longest
            opacity = 1.0 if part == 0 else _LIGHTER
            shapes.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" '
                f'fill="{COLOURS[bar.series]}" fill-opacity="{opacity}"/>'
            )
            left += width
        shapes.append(_text(left + 6, top + 13, f"{_number(sum(bar.parts))} {unit}"))
    return _svg(title, 44 + len(content) * (_BAR + _GAP), shapes)


def lines(title: str, axes: tuple[str, str], content: Sequence[Line], limit: float | None = None) -> str:
    """Lines over two logarithmic axes (labels: x, y); `limit` is a y that is drawn across."""
    xs = [x for line in content for x, _ in line.points]
    ys = [y for line in content for _, y in line.points] + ([limit] if limit else [])
    if not xs:
        return ""
    across = _Scale.around(xs, _MARGIN, _WIDTH - 170)
    up = _Scale.around(ys, _PLOT_HEIGHT - 30, 40)
    shapes = [*_grid(across, up, axes)]
    if limit:
        y = up.at(limit)
        shapes.append(
            f'<line x1="{across.start:.0f}" x2="{across.end:.0f}" y1="{y:.1f}" y2="{y:.1f}" '
            'stroke="#a00" stroke-dasharray="5 4"/>'
        )
    for number, line in enumerate(content):
        colour = COLOURS[line.series]
        path = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in sorted(line.points))
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        shapes += [
            f'<circle cx="{across.at(x):.1f}" cy="{up.at(y):.1f}" r="3.5" fill="{colour}"/>' for x, y in line.points
        ]
        shapes.append(_text(_WIDTH - 150, 60 + 20 * number, line.name, colour=colour))
    return _svg(title, _PLOT_HEIGHT, shapes)


class _Scale(NamedTuple):
    """A logarithmic axis over whole decades, from `start` to `end` in pixels."""

    low: int
    high: int
    start: float
    end: float

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float) -> "_Scale":
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(low, max(high, low + 1), start, end)

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def decades(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def _grid(across: _Scale, up: _Scale, axes: tuple[str, str]) -> list[str]:
    stroke = 'stroke="#8884"'
    shapes = []
    for x in across.decades:
        at = across.at(x)
        shapes.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{up.start:.0f}" y2="{up.end:.0f}" {stroke}/>')
        shapes.append(_text(at, up.start + 16, _number(x), "middle"))
    for y in up.decades:
        at = up.at(y)
        shapes.append(f'<line x1="{across.start:.0f}" x2="{across.end:.0f}" y1="{at:.1f}" y2="{at:.1f}" {stroke}/>')
        shapes.append(_text(across.start - 6, at + 4, _number(y), "end"))
    shapes.append(_text(across.end, up.start + 30, axes[0], "end"))
    shapes.append(_text(across.start, up.end - 8, axes[1]))
    return shapes


def _number(value: float) -> str:
    """Three digits that count, or all of a whole number of more."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"  # noqa: PLR2004 # where .3g turns to exponents


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "currentColor") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _svg(title: str, height: int, shapes: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height + 12}" role="img" font-size="12">'
    heading = f'<text x="0" y="16" font-size="14" fill="currentColor">{escape(title)}</text>'
    return f"{head}<title>{escape(title)}</title>{heading}{''.join(shapes)}</svg>"


def series_of(names: Sequence[str]) -> Mapping[str, int]:
    """A colour for each server, the same in every chart."""
    return {name: number % len(COLOURS) for number, name in enumerate(names)}


class Course(NamedTuple):
    """One series over time: (s since the begin, value), in the order of time."""

    name: str
    series: int
    points: tuple[tuple[float, float], ...]


def timeline(title: str, unit: str, content: Sequence[Course]) -> str:
    """Lines over time, both axes from zero; a pause of a series is bridged."""
    points = [point for course in content for point in course.points]
    if not points:
        return ""
    longest = math.ceil(max(1.0, *(at_s for at_s, _ in points)) / _PARTS) * _PARTS
    highest = _round_up(max(value for _, value in points))
    left, right, bottom, top = _MARGIN, _WIDTH - 170, _PLOT_HEIGHT - 30, 40

    def place(at_s: float, value: float) -> tuple[float, float]:
        return left + (right - left) * at_s / longest, bottom - (bottom - top) * value / highest

    shapes = []
    for part in range(_PARTS + 1):
        x, y = place(longest * part / _PARTS, highest * part / _PARTS)
        shapes.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8884"/>')
        shapes.append(_text(left - 6, y + 4, _number(highest * part / _PARTS), "end"))
        shapes.append(_text(x, bottom + 16, f"{longest * part / _PARTS:.0f}", "middle"))
    shapes += [_text(right, bottom + 30, "s", "end"), _text(left, top - 8, unit)]
    for number, course in enumerate(content):
        colour = COLOURS[course.series]
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in course.points)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        shapes.append(_text(_WIDTH - 150, 60 + 20 * number, course.name, colour=colour))
    return _svg(title, _PLOT_HEIGHT, shapes)


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 8, 10, 20, ... that is not below `value`."""
    decade = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * decade for step in (1, 2, 4, 8, 10) if step * decade >= value)
