"""Pictures of curves, as SVG written by hand: a library would be forty megabytes for two of them.

x is logarithmic, y begins at 0. Colours change with the reader's light or dark theme.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from report import Curve

WIDTH, HEIGHT = 430, 316
LEFT, RIGHT, TOP, BOTTOM = 62, 20, 92, 46
#: Told apart by those who see colours differently (Okabe and Ito), and by the shape of their points.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13px } .small { font-size: 11px; fill: #57606a }
.grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 2 } .page { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d } .page { fill: #0d1117 } }
"""


def picture(panels: Sequence[tuple[str, str, str, Sequence[Curve]]]) -> str:
    """One SVG of panels side by side: (title, name of x, unit of y, curves)."""
    drawn = [_panel(n * WIDTH, *panel) for n, panel in enumerate(panels)]
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}" viewBox="0 0 {WIDTH * len(panels)} {HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><style>{STYLE}</style>'
        f'<rect class="page" width="100%" height="100%"/>{"".join(drawn)}</svg>\n'
    )


def _panel(at: float, title: str, x_name: str, unit: str, curves: Sequence[Curve]) -> str:
    xs = sorted({x for curve in curves for x, _ in curve.points})
    step = _step(max(y for curve in curves for _, y in (*curve.points, *curve.band)))
    top = step * math.ceil(max(y for curve in curves for _, y in (*curve.points, *curve.band)) / step)
    low, high = math.log(xs[0]), math.log(xs[-1])

    def x_of(x: float) -> float:
        return at + LEFT + (WIDTH - LEFT - RIGHT) * ((math.log(x) - low) / (high - low) if high > low else 0.5)

    def y_of(y: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top

    parts = [f'<text class="title" x="{at + 14}" y="22">{escape(title)}</text>']
    for n in range(round(top / step) + 1):
        y = y_of(n * step)
        parts.append(f'<line class="grid" x1="{at + LEFT}" x2="{at + WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="small" x="{at + LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{n * step:,g}</text>')
    for x in xs:
        parts.append(f'<text class="small" x="{x_of(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_short(x)}</text>')
    parts.append(f'<text class="small" x="{at + (LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_name)}</text>')
    parts.append(f'<text class="small" x="{at + 14}" y="{TOP - 12}">{escape(unit)}</text>')
    for n, curve in enumerate(curves):
        colour = COLOURS[n % len(COLOURS)]
        if curve.band:
            around = [*curve.points, *reversed(curve.band)]
            parts.append(f'<polygon points="{_points(around, x_of, y_of)}" fill="{colour}" opacity="0.18"/>')
            parts.append(f'<polyline class="line" stroke-dasharray="5 4" stroke="{colour}" points="{_points(curve.band, x_of, y_of)}"/>')
        parts.append(f'<polyline class="line" stroke="{colour}" points="{_points(curve.points, x_of, y_of)}"/>')
        parts += [_mark(n, x_of(x), y_of(y), colour) for x, y in curve.points]
        across, down = at + 14 + 200 * (n % 2), 41 + 15 * (n // 2)
        parts.append(_mark(n, across + 5, down - 4, colour))
        parts.append(f'<text class="small" x="{across + 15}" y="{down}">{escape(curve.name)}</text>')
    return "".join(parts)


def _points(points: Sequence[tuple[float, float]], x_of: object, y_of: object) -> str:
    return " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points)  # type: ignore[operator]


def _mark(n: int, x: float, y: float, colour: str) -> str:
    if n % 2:
        return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'


def _step(highest: float) -> float:
    """A round distance of grid lines, so that four to eight of them reach the highest value."""
    rough = max(highest, 1e-9) / 5
    power = 10 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough)


def _short(x: float) -> str:
    return f"{x / 1e6:g} M" if x >= 1e6 else f"{x / 1e3:g} k" if x >= 1e3 else f"{x:g}"
