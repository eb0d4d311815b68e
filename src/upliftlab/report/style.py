"""What makes every chart look like the others, in light, in dark and on paper?"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

# Colours that nothing else uses: each becomes a variable of the stylesheet, so that charts
# follow light, dark and print.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
GAIN, LOSS, CONTROL, ACCENT, PAGE = "#040404", "#050505", "#060606", "#070707", "#080808"
_VARIABLES = {
    INK: "ink", MUTED: "muted", RULE: "rule", GAIN: "gain", LOSS: "loss", CONTROL: "control",
    ACCENT: "accent", PAGE: "page",
}  # fmt: skip

WIDE, NARROW = 920, 350
TEXT, SMALL = 14.0, 12.5

_RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "upliftlab",
    "font.family": ["DejaVu Sans"],
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "path.simplify": True,
}
_FONT = re.compile(r"font: ((?:[a-z0-9]+ )*?)([0-9.]+)px [^;\"]+")
_DROPPED = (
    re.compile(r"^.*?(?=<svg)", re.DOTALL),
    re.compile(r"<metadata>.*?</metadata>", re.DOTALL),
    re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL),
    re.compile(r"<!--.*?-->", re.DOTALL),
    re.compile(r' xmlns(?::xlink)?="[^"]*"'),
)
_TAG = re.compile(r"<svg[^>]*viewBox=\"([^\"]*)\"[^>]*>")
_ID = re.compile(r'(\bid="|href="#|url\(#)([\w.-]+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart at the two widths that pages are read at.

    Attributes:
        name: Unique on the page.
        alt: What it shows, as a sentence with its number.
        draw: Makes its sheet for a width in pixels.
        note: How to read it.
    """

    name: str
    alt: str
    draw: Callable[[int], Sheet]
    note: str = ""

    @property
    def wide(self) -> str:
        """SVG for screens and paper."""
        return _drawn(self, WIDE)

    @property
    def narrow(self) -> str:
        """SVG for phones."""
        return _drawn(self, NARROW)


@lru_cache(maxsize=64)
def _drawn(chart: Chart, width: int) -> str:
    """Draw a chart once, on however many pages it stands."""
    import matplotlib as mpl

    with mpl.rc_context(_RC):
        return chart.draw(width).svg(f"{chart.name}-{width}")


class Sheet:
    """A page of a chart, measured in pixels from its top left corner."""

    def __init__(self, width: int, height: float) -> None:
        """Begin an empty sheet."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasSVG(self.figure)
        self.figure.patch.set_visible(False)

    @property
    def is_narrow(self) -> bool:
        """Whether it is for a phone."""
        return self.width < 600

    def panel(self, left: float, top: float, width: float, height: float) -> Axes:
        """Add a plotting area without frame or ticks."""
        axes = self.figure.add_axes(
            (
                left / self.width,
                1 - (top + height) / self.height,
                width / self.width,
                height / self.height,
            )
        )
        axes.patch.set_visible(False)
        for side in axes.spines.values():
            side.set_visible(False)
        axes.tick_params(length=0, labelsize=SMALL, labelcolor=MUTED, pad=4)
        axes.set_xticks([])
        axes.set_yticks([])
        return axes

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        align: str = "left",
        colour: str = INK,
        size: float = TEXT,
        bold: bool = False,
    ) -> None:
        """Write one line of text whose middle is at height y."""
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            text,
            ha=align,
            va="center_baseline",
            color=colour,
            fontsize=size,
            fontweight="bold" if bold else "normal",
        )

    def svg(self, prefix: str) -> str:
        """Draw it as an SVG element for inlining: no fonts, no dates, no colours of its own."""
        out = io.StringIO()
        with warnings.catch_warnings():
            # Text stays text: the reader's browser has glyphs that the measuring font lacks.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            self.figure.savefig(out, format="svg", metadata={"Date": None})
        return _cleaned(out.getvalue(), prefix)


def _cleaned(svg: str, prefix: str) -> str:
    for pattern in _DROPPED:
        svg = pattern.sub("", svg)
    svg = svg.replace("xlink:href", "href")
    svg = _TAG.sub(r'<svg viewBox="\1" aria-hidden="true" focusable="false">', svg, count=1)
    svg = _FONT.sub(_font, svg)
    for colour, name in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    svg = _ID.sub(rf"\g<1>{prefix}-\g<2>", svg)
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip())


def _font(match: re.Match[str]) -> str:
    weight = "; font-weight: 700" if "700" in match[1] or "bold" in match[1] else ""
    return f"font-size: {match[2]}px{weight}"
