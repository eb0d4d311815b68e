"""What did the shop sell by itself while creators switched? Shown, and not called an effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names, over_time_words
from upliftlab.report.curves import Panel, Point, panels
from upliftlab.report.numbers import money
from upliftlab.report.parts import Section, table
from upliftlab.stats.estimate import Estimate

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.rollout.answer import Rollout, ShopSeries

LABELS = 5
"""Periods that are named along a panel."""

NOT_SHOWN = (
    "Not an experiment: no shop without the change stands beside this one. The season, ads and "
    "everything else of these {many} are in the difference, which therefore has no range and "
    "is not in extra profit."
)


def shop_section(analysis: Analysis, rollout: Rollout) -> Section | None:
    """The shop's own live rooms and shelf, before and since the first wave."""
    if not rollout.shop:
        return None
    many = names.plural(rollout.period)
    said = [_sentence(analysis, each) for each in rollout.shop]
    finding = f"Not an experiment. {' '.join(said)}"
    rows = [
        (
            each.label,
            *(_whole(analysis, x) for x in (each.before, each.since, each.expected)),
            _whole(analysis, each.since - each.expected, signed=True),
        )
        for each in rollout.shop
    ]
    heads = ("channel", "before", "since", "straight line", "difference")
    return Section(
        key="shop",
        title="What the shop sold by itself",
        finding=finding,
        charts=(
            panels(
                "shop",
                [_panel(analysis, rollout, each) for each in rollout.shop],
                finding,
                f"One dot is one {rollout.period} of the whole shop.",
                has_ranges=False,
            ),
        ),
        tables=(table(f"Sales kept in no creator's name, per {rollout.period}", heads, rows),),
        notes=(NOT_SHOWN.format(many=many),),
    )


def _sentence(analysis: Analysis, each: ShopSeries) -> str:
    period = analysis.experiment.period
    return (
        f"{each.label[:1].upper()}{each.label[1:]}: {_whole(analysis, each.before)} a {period} "
        f"before the first wave and {_whole(analysis, each.since)} since; a straight line "
        f"through the time before leads to {_whole(analysis, each.expected)}."
    )


def _panel(analysis: Analysis, rollout: Rollout, each: ShopSeries) -> Panel:
    unit = currency_of(analysis.experiment.currency)
    step = max(1, -(-len(each.periods) // LABELS))
    return Panel(
        title=f"{each.label}: sales kept, thousand {unit.main}",
        below=names.plural(rollout.period),
        points=[
            Point(
                x=float(i),
                label=over_time_words.short_period(label) if i % step == 0 else "",
                estimate=Estimate(name=label, estimate=value),
            )
            for i, (label, value) in enumerate(zip(each.periods, each.kept, strict=True))
        ],
        scale=1 / unit.scale / 1000,
        mark=each.first - 0.5,
        mark_label="first wave",
    )


def _whole(analysis: Analysis, value: float, *, signed: bool = False) -> str:
    return money(value, analysis.experiment.currency, width=0.04 * abs(value), signed=signed)
