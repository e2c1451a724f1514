"""Curves of a metric against evaluations, as SVG inside the page."""

from __future__ import annotations

from benchmarks.report.markup import Markup, element
from benchmarks.report.reading import Line, Metric
from benchmarks.report.scales import Scale, covering, showable, spread, ticks

WIDTH, HEIGHT = 460, 300
LEFT, TOP, BOTTOM = 46, 12, 40
LETTER, LONGEST = 7.6, 14
"""Width of a letter of a label; letters after which it is cut."""
STYLES = 8
"""Colours and markers in the stylesheet; the ninth run begins again."""


def chart(curves: dict[Line, dict[int, float]], metric: Metric, title: str) -> Markup:
    """One line a run and kind, named where it ends; colour and marker tell the run, dashes the kind."""
    runs = list(dict.fromkeys(run for run, _ in curves))
    right = 14 + LETTER * min(max(map(len, runs), default=0), LONGEST)
    last = max([1, *(nfe for curve in curves.values() for nfe in curve)])
    across = Scale(0, last, LEFT, WIDTH - right)
    values = [value for curve in curves.values() for value in curve.values()]
    up = covering(values, HEIGHT - BOTTOM, TOP, log=metric.log)
    parts = [*_axes(across, up, metric, sorted({nfe for curve in curves.values() for nfe in curve}))]
    ends: dict[str, tuple[float, float]] = {}
    for (run, kind), curve in reversed(curves.items()):  # what would be returned is drawn over the rest
        style = f"s{runs.index(run) % STYLES} k-{kind if kind in KIND_STYLES else 'other'}"
        points = [(across(nfe), up(value)) for nfe, value in curve.items() if showable(value, log=metric.log)]
        if not points:
            continue
        parts.append(element("g", *_line(points, runs.index(run) % STYLES), class_=style))
        ends[run] = points[-1]
    parts += _labels(ends, runs, WIDTH - right)
    told = ", ".join(runs)
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}: {metric.title} against network evaluations, a line each for {told}; "
        "the numbers are in the table of the same name",
    )


KIND_STYLES = {"returned": "solid", "newest": "dashed", "drawn": "dotted"}
"""How a line of a kind is drawn."""


def _axes(across: Scale, up: Scale, metric: Metric, points: list[int]) -> list[Markup]:
    parts = []
    for value in ticks(up):
        y = up(value)
        parts.append(element("line", x1=LEFT, x2=_n(across.end), y1=_n(y), y2=_n(y), class_="rule"))
        parts.append(element("text", f"{value:.4g}", x=LEFT - 6, y=_n(y + 4), text_anchor="end"))
    marks = points if len(points) <= 8 else [round(value) for value in ticks(across, 6)]
    for nfe in dict.fromkeys([0, *marks]):
        parts.append(element("text", nfe, x=_n(across(nfe)), y=HEIGHT - BOTTOM + 17, text_anchor="middle"))
    base = HEIGHT - BOTTOM
    parts.append(element("line", x1=LEFT, x2=_n(across.end), y1=base, y2=base, class_="axis"))
    named = "network evaluations" + (", logarithmic upwards" if metric.log else "")
    middle = (LEFT + across.end) / 2
    parts.append(element("text", named, x=_n(middle), y=HEIGHT - 6, text_anchor="middle", class_="name"))
    return parts


def _line(points: list[tuple[float, float]], style: int) -> list[Markup]:
    path = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
    parts = [element("path", d=path, class_="line")] if len(points) > 1 else []
    return [*parts, *(_marker(x, y, style) for x, y in points)]


SHAPES = (
    (),  # a circle
    ((-3, -3), (3, -3), (3, 3), (-3, 3)),
    ((0, -4), (4, 3), (-4, 3)),
    ((0, -4.5), (4.5, 0), (0, 4.5), (-4.5, 0)),
    ((0, 4), (4, -3), (-4, -3)),
    ((-1, -4), (1, -4), (1, -1), (4, -1), (4, 1), (1, 1), (1, 4), (-1, 4), (-1, 1), (-4, 1), (-4, -1), (-1, -1)),
    ((-4.5, -2), (4.5, -2), (4.5, 2), (-4.5, 2)),
    ((-2, -4.5), (2, -4.5), (2, 4.5), (-2, 4.5)),
)
"""Corners of the runs' marks around their points: every colour has a shape of its own."""


def _marker(x: float, y: float, style: int) -> Markup:
    if not SHAPES[style]:
        return element("circle", cx=_n(x), cy=_n(y), r=3.3)
    return element("polygon", points=" ".join(f"{_n(x + dx)},{_n(y + dy)}" for dx, dy in SHAPES[style]))


def _labels(ends: dict[str, tuple[float, float]], runs: list[str], x: float) -> list[Markup]:
    """A run's name where its line ends, moved off its neighbours'."""
    names = list(ends)
    places = spread([ends[name][1] for name in names], 14, TOP, HEIGHT - BOTTOM)
    parts = []
    for name, y in zip(names, places, strict=True):
        from_x, from_y = ends[name]
        style = f"s{runs.index(name) % STYLES}"
        parts.append(
            element("line", x1=_n(from_x + 5), y1=_n(from_y), x2=_n(x + 9), y2=_n(y), class_=f"leader {style}")
        )
        cut = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        told = element("text", cut, element("title", name), x=_n(x + 11), y=_n(y + 4), class_=f"label {style}")
        parts.append(told)
    return parts


def _n(value: float) -> str:
    """A place, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
