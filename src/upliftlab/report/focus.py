"""Which arm is shown first, and in which unit?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names, words
from upliftlab.report.plots import Axis

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.profit import Profit, Rung


def money_axis(analysis: Analysis, what: str) -> Axis:
    """Axis of money per unit, in the main unit of the currency."""
    unit = currency_of(analysis.experiment.currency)
    return Axis(
        title=f"{what} per {names.each(analysis.experiment)}, {unit.main}",
        scale=1 / unit.scale,
    )


def in_focus(analysis: Analysis) -> tuple[str, Profit]:
    """Name and profit of the arm whose charts are shown."""
    arm = words.focus(analysis)
    return names.arm_names(analysis.experiment)[arm], analysis.profit_of(arm)


def followed(profit: Profit) -> str:
    """Name the window of a profit at the end of a sentence."""
    return "" if profit.window is None else f" within {names.window_name(profit.window)}"


def top_rung(profit: Profit) -> Rung | None:
    return next((rung for rung in profit.ladder if rung.name != "profit"), None)
