"""What does a roll-out say in words: who switched, who gains, and what would flip it?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.report import names
from upliftlab.report.numbers import NONE, count, money, percent, shown_money

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.experiment import Experiment
    from upliftlab.plan.parts import Arm
    from upliftlab.rollout.answer import Honesty, Rollout, Wave
    from upliftlab.stats.estimate import Estimate

NEVER = "never"
RELATIVE = "relative_magnitude"
SMOOTH = "smoothness"
RATES = {
    "organic": "commission on creators' own traffic",
    "ads": "commission on sales with paid ads",
    "agency": "agency fee",
}
"""Rate as the plan names it -> words."""

_DAYS = {"day": 1, "week": 7}


def facts(analysis: Analysis, rollout: Rollout) -> tuple[str, ...]:
    """Say who switched how, in how many waves, over which time, and who owns it.

    "creator clusters switched in waves", "3 waves, 15 clusters never", "weeks 25 May – 8 Nov".
    """
    experiment = analysis.experiment
    time = names.plural(rollout.period)
    parts = [
        _switched(experiment),
        _waves(rollout),
        f"{time} {names.span(experiment.observe)}" if experiment.observe else "",
        names.counted(units(rollout), rollout.unit),
        experiment.owner,
    ]
    return tuple(part for part in parts if part)


def units(rollout: Rollout) -> int:
    """How many units the panel follows, switched or not."""
    return sum(wave.units for wave in rollout.waves) or rollout.clusters[0]


def switched(rollout: Rollout) -> list[Wave]:
    """Waves that did switch, in order of their start."""
    return [wave for wave in rollout.waves if wave.start != NEVER]


def followed_by(analysis: Analysis) -> str:
    """Print how many units the numbers rest on."""
    experiment = analysis.experiment
    rollout = analysis.rollout
    n = sum(analysis.effects.n) if rollout is None else units(rollout)
    return names.counted(n, experiment.unit)


def reached(analysis: Analysis, n: int) -> str:
    """Say whom a total over n speaks of: units each period, for periods, or unit-periods.

    "all 600 creators, each week", "1,200 creators for 26 weeks", "9,600 creator-weeks".
    """
    experiment, rollout = analysis.experiment, analysis.rollout
    period = experiment.period or "period"
    followed = 0 if rollout is None else units(rollout)
    whole = experiment.eligible_customers or followed
    lead = "" if experiment.eligible_customers else "all "
    if whole and n == whole:
        return f"{lead}{names.counted(whole, experiment.unit)}, each {period}"
    if whole and n % whole == 0:
        times = names.counted(n // whole, period)
        return f"{lead}{names.counted(whole, experiment.unit)} for {times}"
    return unit_periods(experiment, n)


def unit_periods(experiment: Experiment, n: float) -> str:
    """Print how many periods of one unit: "9,600 creator-weeks"."""
    period = experiment.period or "period"
    return f"{count(n)} {experiment.unit}-{period if n == 1 else names.plural(period)}"


def shares_sales(analysis: Analysis) -> bool:
    """Whether the change is in what creators get, so that no money is spent on a campaign."""
    return analysis.rollout is not None and analysis.experiment.kind == "dual_commission"


def both_sides(analysis: Analysis) -> str:
    """Say what we gain and, where they are a party, what creators gain."""
    profit = analysis.profits[0]
    creator = profit.parties.get("creator")
    currency = analysis.experiment.currency
    ours = side("we", profit.profit, currency)
    theirs = "" if creator is None else side(names.party_name("creator"), creator, currency)
    return f"Per {names.each(analysis.experiment)}, {ours}{theirs and '; '}{theirs}"


def side(who: str, estimate: Estimate, currency: str) -> str:
    """Say what one side gains or loses, or that the data cannot tell.

    Examples:
        >>> from upliftlab.stats.estimate import interval
        >>> side("creators", interval("creator", -4_000, 1_000**2), "CNY")
        'creators lose ¥40 (from ¥20 to ¥60)'
    """
    one = who.startswith("the ")
    if estimate.is_below_zero:
        lost = shown_money(estimate.scaled(-1), currency, signed=False)
        return f"{who} {'loses' if one else 'lose'} {lost.with_range}"
    shown = shown_money(estimate, currency)
    if not shown.value:
        return f"{who}: {shown.text}"
    if estimate.is_above_zero:
        return f"{who} {'gains' if one else 'gain'} {shown.with_range}"
    return f"{who}: the data cannot tell {shown.with_range} from 0 yet"


def more_time(rollout: Rollout) -> str:
    """What a roll-out that is kept testing is run on with."""
    times = names.plural(rollout.period)
    if rollout.design == "switchback":
        return times
    if rollout.design == "geo":
        return f"{times}, or with more {names.plural(rollout.unit)}"
    return f"{times}, or switch another wave"


def flips(analysis: Analysis, rollout: Rollout) -> list[str]:
    """Conditions under which the verdict flips: the nearest rate, then unequal trends."""
    found = [rate_text(each) for each in near_rates(analysis, rollout)[:1]]
    found += [honest_text(analysis, each) for each in turning(rollout)[:1]]
    return found


def near_rates(
    analysis: Analysis, rollout: Rollout
) -> list[tuple[str, float, float, Estimate]]:
    """Name, rate now, rate at which profit is 0, estimate: changed ones first, then nearest."""
    arm, control = analysis.experiment.treatments[0], analysis.experiment.control
    found = []
    for each in rollout.rates:
        rate = getattr(arm, each.name, None) if each.name in RATES else None
        if rate is not None and each.shape == "interval" and 0 <= each.estimate <= 1:
            found.append((each.name, float(rate), each.estimate, each))

    def order(row: tuple[str, float, float, Estimate]) -> tuple[bool, float]:
        return getattr(control, row[0], None) == getattr(arm, row[0]), abs(row[2] - row[1])

    return sorted(found, key=order)


def rate_told(arm: Arm, key: str) -> str:
    r"""Print a rate of an arm, and from when on it is another one.

    Examples:
        >>> from upliftlab.plan.parts import Arm
        >>> rows = [{"ads": "8%"}, {"after": "3 weeks", "ads": "12%"}]
        >>> rate_told(Arm(label="dual", rates=rows), "ads").replace("\N{NO-BREAK SPACE}", " ")
        '8.0 %, 21 days after the change 12.0 %'
    """
    told = arm.told(key)
    if not isinstance(told, tuple):
        return NONE if told is None else percent(float(told), signed=False)
    return ", ".join(
        f"{_opened(opened)} {percent(float(rate), signed=False)}".strip()
        for opened, _, rate in told
    )


def rate_text(found: tuple[str, float, float, Estimate]) -> str:
    """Say one break-even rate as a condition."""
    name, now, at, _ = found
    side_of = "above" if at > now else "below"
    was = percent(now, signed=False)
    return f"the {RATES[name]} is {side_of} {percent(at, signed=False)} (now {was})"


def turning(rollout: Rollout) -> list[Honesty]:
    """Restrictions with a place where the answer flips, trends against their past first."""
    found = [each for each in rollout.honesty if each.flips_at > 0]
    return sorted(found, key=lambda each: not each.restriction.startswith(RELATIVE))


def honest_text(analysis: Analysis, found: Honesty) -> str:
    """Say one violation of parallel trends as a condition."""
    m = allowed(analysis, found, found.flips_at)
    if found.restriction.startswith(RELATIVE):
        return (
            f"without the change, trends would have parted by over {m} times the largest step "
            "they made before it"
        )
    return (
        f"without the change, trends would have bent by over {m} a {analysis.experiment.period}"
    )


def allowed(analysis: Analysis, found: Honesty, m: float) -> str:
    """Print an allowed violation: times the past, or money where trends bend by money."""
    if not math.isfinite(m):
        return NONE
    if found.restriction == SMOOTH:
        return money(m, analysis.experiment.currency, width=abs(m), signed=False)
    return f"{m:.2g}"


def hurdle(analysis: Analysis, value: float) -> str:
    """Name what extra profit is held against: 0, or what the plan calls worth it."""
    if value == 0:
        return "0"
    worth = analysis.experiment.decide.worth_it
    shown = shown_money(_plain(value), analysis.experiment.currency, signed=False).value
    return f"{shown} (worth it)" if float(worth.minor) == value else shown


def announced(experiment: Experiment) -> int:
    """Periods in which the change was known and had not begun."""
    return _periods(experiment, experiment.announced)


def ramp(experiment: Experiment) -> int:
    """Periods until the change has its full effect."""
    return _periods(experiment, experiment.ramp)


def short_period(label: str) -> str:
    """Print the label of a period: days as "25 May", others as they are.

    Examples:
        >>> short_period("2026-05-25"), short_period("w7")
        ('25 May', 'w7')
    """
    from datetime import date

    try:
        day = date.fromisoformat(label)
    except ValueError:
        return label
    return f"{day.day} {day:%b}"


def _opened(text: str) -> str:
    """When a rate begins: "from 31 Aug", or as it is."""
    day = short_period(text)
    return text if day == text else f"from {day}"


def _switched(experiment: Experiment) -> str:
    unit, many = experiment.unit, names.plural(experiment.unit)
    if experiment.design == "switchback":
        return f"{many} switched back and forth"
    if experiment.design == "geo":
        return f"some {many} switched, others did not"
    return f"{unit} clusters switched in waves" if experiment.cluster else (
        f"{many} switched in waves"
    )  # fmt: skip


def _waves(rollout: Rollout) -> str:
    if not rollout.waves:
        return ""
    many = len(switched(rollout))
    text = names.counted(many, "wave")
    left = [wave for wave in rollout.waves if wave.start == NEVER]
    if not left or not left[0].units:
        return f"{text}, nobody left behind"
    if left[0].clusters:
        return f"{text}, {names.counted(left[0].clusters, 'cluster')} never"
    return f"{text}, {names.counted(left[0].units, rollout.unit)} never"


def _periods(experiment: Experiment, days: int | None) -> int:
    each = _DAYS.get(experiment.period or "", 1)
    return math.ceil((days or 0) / each)


def _plain(value: float) -> Estimate:
    from upliftlab.stats.estimate import Estimate

    return Estimate(name="hurdle", estimate=value)
