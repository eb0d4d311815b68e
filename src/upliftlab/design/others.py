"""What would other ways to run the test show, on the same customers?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.design.answer import Other
from upliftlab.design.looked import power_of_plan
from upliftlab.plan.metrics import PROFIT
from upliftlab.stats.cluster_power import ClusterPlan, icc_of
from upliftlab.stats.power import TwoMeans, detectable

if TYPE_CHECKING:
    from upliftlab.design.sizes import Asked


def others_of(asked: Asked, planned: float) -> tuple[Other, ...]:
    """Return other designs for the planned number of units.

    A factorial test tells two changes and whether they help each other; a universal holdout
    tells the sum of everything over a quarter; clusters are safe from spill-over; budgets
    split per arm are safe from competition in one auction.
    """
    if not math.isfinite(planned) or asked.experiment.period is not None:
        return ()
    found = asked.pilot.spreads[0]
    control = asked.experiment.control.label
    arm = asked.experiment.treatments[0].label
    sd = found.sd[control] * math.sqrt(max(found.kept[arm], 1e-12))
    level = 1 - asked.level
    return (
        _factorial(sd, planned, level, asked.power),
        _holdout(asked, sd, level),
        _clusters(asked, sd, planned, level),
        _budget(sd, planned, level, asked.power),
        _product_time(),
    )


def factorial_errors(sd: float, units: float) -> tuple[float, float]:
    """Return standard errors of a main effect and of the interaction in a 2 x 2 test.

    Units are shared out equally over the four arms. The main effect of one change averages over
    the other; the interaction is the difference of two differences, twice as uncertain.

    Args:
        sd: Standard deviation of a unit.
        units: In all four arms together.

    References:
        Box, Hunter and Hunter (2005), *Statistics for Experimenters*, section 5.4.

    Examples:
        >>> factorial_errors(10.0, 400)
        (1.0, 2.0)
    """
    main = 2 * sd / math.sqrt(units)
    return main, 2 * main


def _factorial(sd: float, units: float, alpha: float, power: float) -> Other:
    main, both = factorial_errors(sd, units)
    seen = detectable(both, alpha=alpha, power=power)
    return Other(
        name="factorial",
        label="2 x 2: coupon on or off, ads on or off (or two commission rates)",
        mde=detectable(main, alpha=alpha, power=power),
        text=(
            "Each change is measured on all customers, as precisely as alone; whether they "
            f"help each other is seen only from {seen / 100:,.3f} per customer on, so it takes "
            "four times the customers to see an interaction as small as the effect."
        ),
    )


def _holdout(asked: Asked, sd: float, alpha: float) -> Other:
    share = float(power_of_plan(asked.experiment).holdout)
    units = float(asked.experiment.eligible_customers or math.nan)
    mde = math.nan
    if share > 0 and math.isfinite(units):
        plan = TwoMeans(sd=sd, ratio=(1 - share) / share, alpha=alpha)
        mde = plan.effect(units * share, asked.power)
    return Other(
        name="holdout",
        label=f"universal holdout of {share:.0%}: nobody in it ever gets a promotion",
        mde=mde,
        text=(
            "Measures the sum of all promotions over the same window, not one of them; it "
            "keeps the quarter's sum of tests honest and costs what the promotions earn on "
            f"{share:.0%} of customers."
        ),
    )


def _clusters(asked: Asked, sd: float, units: float, alpha: float) -> Other:
    """Clusters as measured or stated; else households of two with a correlation of 10 %."""
    size, icc, cv = asked.pilot.cluster_size, asked.pilot.icc, asked.pilot.cluster_cv
    known = math.isfinite(size) and math.isfinite(icc)
    if not known:
        size, icc, cv = 2.0, 0.1, 0.0
    found = asked.pilot.spread(PROFIT)
    if known and found.inflation != 1:
        icc = icc_of(found.inflation, size, cv=cv)
    plan = ClusterPlan(sd=sd, size=size, cv=cv, icc=max(icc, 0.0), alpha=alpha)
    what = f"{size:,.1f} customers each, correlation {icc:.3f}"
    return Other(
        name="clusters",
        label="whole groups together: households, chats, agencies",
        mde=plan.effect(units / 2 / size, asked.power) if units / 2 / size > 2 else math.nan,
        text=(
            f"Safe from sharing inside a group; {what}"
            + ("" if known else " are assumed here, not measured")
            + ". Where groups share customers with each other, spill-over stays."
        ),
    )


def _budget(sd: float, units: float, alpha: float, power: float) -> Other:
    plan = TwoMeans(sd=sd, alpha=alpha)
    return Other(
        name="budget_split",
        label="budget-split: every arm has its own customers and its own share of the budget",
        mde=plan.effect(units / 2, power),
        text=(
            "As precise as a split of customers, and arms cannot take each other's budget or "
            "auctions; each arm needs a budget in proportion to its customers, and the effect "
            "is that of half the market at half the budget."
        ),
    )


def _product_time() -> Other:
    return Other(
        name="product_time",
        label="product x time: product groups switch on and off by day, each by its own coins",
        mde=math.nan,
        text=(
            "For a switch that exists per plan and not per customer: every group and pair of "
            "days is one coin, so eight groups over eight weeks are 224 coins. Group products "
            "that replace each other."
        ),
    )
