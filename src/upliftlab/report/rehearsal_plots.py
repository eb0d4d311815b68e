"""Are p-values spread evenly? One bar per tenth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.report.style import INK, MUTED, RULE, SMALL, TEXT, Chart, Sheet
from upliftlab.report.widths import wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence


def deciles(name: str, shares: Sequence[float], *, title: str, alt: str) -> Chart:
    """Draw the share of p-values in each tenth, with the tenth that each should hold.

    Args:
        name: Unique on the page.
        shares: Ten numbers.
        title: What the bars are.
        alt: The finding, in words.
    """
    return Chart(
        name=name,
        alt=alt,
        draw=lambda width: _deciles(shares, title, width),
        note="Bars of a sound machinery reach the line: each tenth holds a tenth.",
    )


def _deciles(shares: Sequence[float], title: str, width: int) -> Sheet:
    sheet = Sheet(width, 250.0)
    for i, line in enumerate(wrapped(title, int(width / 8.8))):
        sheet.write(0, 10 + 17 * i, line, size=TEXT, bold=True)
    left = 52.0
    axes = sheet.panel(left, 54, width - left - 8, 140)
    top = max(0.15, *shares) * 1.08
    axes.bar([i + 0.5 for i in range(10)], shares, width=0.86, color=RULE, edgecolor=INK,
             linewidth=0.8)  # fmt: skip
    axes.axhline(0.1, color=INK, lw=1.2, dashes=(4, 3))
    axes.axhline(0, color=MUTED, lw=1)
    axes.set_xlim(0, 10)
    axes.set_ylim(0, top)
    marks = range(0, 11, 5 if sheet.is_narrow else 2)
    axes.set_xticks(list(marks), [f"{i / 10:g}" for i in marks])
    axes.set_yticks([0, 0.1], ["0", "10 %"])
    axes.tick_params(axis="both", labelbottom=True, labelleft=True, labelcolor=INK)
    sheet.write(left + (width - left) / 2, 234, "p-value", align="center", colour=MUTED,
                size=SMALL)  # fmt: skip
    return sheet
