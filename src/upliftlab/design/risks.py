"""What could make the numbers of a test wrong before it starts, and what would be safer?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.design.answer import Risk
from upliftlab.design.looked import looks_of, power_of_plan
from upliftlab.plan.metrics import PROFIT
from upliftlab.stats.means import minimum_n_for_skewness

if TYPE_CHECKING:
    from upliftlab.design.sizes import Asked

UNLIKE = 0.02
"""From this difference on of what is seen of gains and losses, the page says so."""

OTHER_END = 0.2
"""Share by which looks may be tuned for more or fewer units than the run brings."""

INTERFERENCE = {
    ("smart_coupon", "user_split"): (
        "info",
        (
            "Customers are split one by one: control must not see or share the coupon. Group "
            "chats, live rooms and a limited stock of coupons carry it over."
        ),
        "assign households or chats together (cluster_split), or whole sessions (switchback)",
    ),
    ("dual_commission", "user_split"): (
        "fail",
        (
            "Creators who share an audience take sales from each other: paying one and not "
            "the other counts stolen sales as extra (in simulations GMV is 65 % too high)."
        ),
        "assign communities or agencies together: cluster_split or staggered",
    ),
    ("dual_commission", "cluster_split"): (
        "info",
        "Business stealing inside a cluster is counted; what crosses clusters is not.",
        "join clusters that share much of their audience",
    ),
    ("dual_commission", "staggered"): (
        "info",
        (
            "Clusters switch in waves: stealing inside a cluster is counted, what crosses "
            "clusters is not, and creators may wait for a change that they hear of."
        ),
        "say in announced: how long before they know",
    ),
    ("", "geo"): (
        "info",
        (
            "Customers near borders buy in one region and live in another; budgets that "
            "compete in one auction move spend between regions."
        ),
        "leave out border regions, and split budgets and accounts by region",
    ),
    ("", "switchback"): (
        "info",
        (
            "What lingers into the next block counts for the wrong state; customers who wait "
            "for the coupon move purchases between days."
        ),
        "longer blocks with burn-in, or a split of customers",
    ),
    ("", "staggered"): (
        "info",
        "Late waves stand in for the early ones: what spills over to them hides the effect.",
        "keep a group that is never treated, far from the others",
    ),
    ("", "cluster_split"): (
        "info",
        "Spill-over inside a cluster is counted; what crosses clusters is not.",
        "join clusters that share many customers",
    ),
    ("", "user_split"): (
        "info",
        "Units are split one by one: what one gets must not change what another does.",
        "assign those who influence each other together (cluster_split)",
    ),
}


def risks_of(asked: Asked, planned: float, needed: float) -> tuple[Risk, ...]:
    """Return what could make the numbers wrong, worst first."""
    found = [
        _interference(asked),
        _guardrails(asked, planned),
        _tail(asked, planned),
        _gains_and_losses(asked, planned),
        _clusters(asked),
        _looks(asked, planned),
        _pilot(asked),
        _window(asked),
        _returning(asked, needed),
    ]
    order = {"fail": 0, "warn": 1, "info": 2, "pass": 3}
    return tuple(sorted((each for each in found if each), key=lambda r: order[r.state]))


def _interference(asked: Asked) -> Risk:
    kind, design = asked.experiment.kind, asked.experiment.design
    state, text, instead = INTERFERENCE.get((kind, design)) or INTERFERENCE["", design]
    return Risk(state=state, text=f"Interference. {text}", instead=instead)


def _guardrails(asked: Asked, planned: float) -> Risk | None:
    """An underpowered guardrail blocks every shipment in silence."""
    from upliftlab.design.sizes import sizes_of

    if not asked.experiment.guardrails or asked.experiment.period is not None:
        return None
    known = {each.metric for each in asked.pilot.spreads}
    unknown = [name for name in asked.experiment.guardrails if name not in known]
    if unknown:
        return Risk(
            state="warn",
            text=(
                f"Guardrails. Nobody knows how {' and '.join(unknown)} varies: whether the "
                "test can show that it holds is open."
            ),
            instead="measure it in a pilot, or state it under power.stated",
        )
    weak = [
        size
        for size in sizes_of(asked, planned)
        if size.role == "guardrail" and not size.power >= asked.power
    ]
    if not weak:
        return Risk(state="pass", text="Guardrails can be shown to hold if nothing is harmed.")
    worst = min(weak, key=lambda size: size.power if math.isfinite(size.power) else -1)
    if not math.isfinite(worst.power):
        return None
    return Risk(
        state="warn",
        text=(
            f"Guardrails. If nothing is harmed, {worst.metric} is shown to hold with a chance "
            f"of {worst.power:.0%} only; until then nothing ships."
        ),
        instead="a wider margin, or a larger test",
    )


def _tail(asked: Asked, planned: float) -> Risk | None:
    found = asked.pilot.spreads[0]
    if not math.isfinite(found.skewness) or not math.isfinite(planned):
        return None
    least = minimum_n_for_skewness(found.skewness)
    smallest = planned * min(asked.shares.values())
    if smallest >= least:
        return None
    return Risk(
        state="warn",
        text=(
            f"Heavy tail. Profit has a skewness of {found.skewness:.1f}: ranges are reliable "
            f"from about {least:,.0f} units in the smallest arm, and it would have "
            f"{smallest:,.0f}."
        ),
        instead="more equal shares, or a larger test",
    )


def _gains_and_losses(asked: Asked, planned: float) -> Risk | None:
    """Unequal arms of a skewed amount see gains and losses unequally."""
    from upliftlab.design.sizes import sizes_of

    if not math.isfinite(planned) or asked.experiment.period is not None:
        return None
    found = [size for size in sizes_of(asked, planned) if size.metric == PROFIT]
    far = max(found, key=lambda size: abs(size.mde - size.mde_loss) / size.mde)
    if not abs(far.mde - far.mde_loss) > UNLIKE * far.mde:
        return None
    hard, easy = ("losses", "gains") if far.mde_loss > far.mde else ("gains", "losses")
    ratio = max(far.mde, far.mde_loss) / min(far.mde, far.mde_loss) - 1
    return Risk(
        state="info",
        text=(
            f"Gains and losses. Profit is skewed and arms are unequal: {hard} must be "
            f"{ratio:.0%} larger than {easy} to be seen as surely."
        ),
        instead="more equal shares, or a larger test",
    )


def _clusters(asked: Asked) -> Risk | None:
    if not asked.pilot.clusters or asked.experiment.period is not None:
        return None
    least = asked.pilot.clusters * min(asked.shares.values())
    cv = asked.pilot.cluster_cv
    if least >= 10 and not cv > 0.5:
        return None
    return Risk(
        state="warn",
        text=(
            f"Clusters. {least:.0f} in the smallest arm, with sizes that vary by {cv:.0%} of "
            "their mean: re-assignment, not a formula, will carry the range."
        ),
        instead="more and more equal clusters, matched in pairs",
    )


def _looks(asked: Asked, planned: float) -> Risk:
    number, rules = looks_of(asked.experiment), asked.experiment.looks
    if rules is None and number == 1:
        return Risk(
            state="info",
            text=(
                "Early looks. The size holds for one look, at the end; whoever stops at a "
                "lucky moment finds effects that are not there."
            ),
            instead="plan looks: write how the test is looked at under looks",
        )
    said = (
        f"Early looks. {number} looks are planned, and the sample is "
        f"{asked.inflation - 1:.1%} larger for them."
    )
    if rules is None or not abs(planned / rules.planned - 1) > OTHER_END:
        return Risk(state="pass", text=said)
    return Risk(
        state="warn",
        text=(
            f"{said} They are tuned for {rules.planned:,} units at the end, and the run brings "
            f"{planned:,.0f}."
        ),
        instead=f"looks.planned: {planned:.0f}",
    )


def _pilot(asked: Asked) -> Risk:
    if not asked.pilot.units:
        return Risk(
            state="warn",
            text=(
                "Pilot. Means and standard deviations are stated, not measured: sizes have no "
                "range of their own, and skewness is not in them."
            ),
            instead="measure a pilot or a time before: power.pilot",
        )
    return Risk(
        state="pass",
        text=(
            f"Pilot. Measured on {asked.pilot.units:,} units; sizes carry the range that this "
            "leaves."
        ),
    )


def _window(asked: Asked) -> Risk | None:
    days = asked.experiment.follow_up
    if asked.experiment.period is not None or days is None or days >= 28:
        return None
    return Risk(
        state="info",
        text=(f"Window. {days} days see purchases that were only moved forward as extra ones."),
        instead="follow_up: 60 days for the headline",
    )


def _returning(asked: Asked, needed: float) -> Risk | None:
    plan = power_of_plan(asked.experiment)
    reach = asked.experiment.eligible_customers
    if float(plan.returning) or not math.isfinite(needed) or not reach or needed < 0.5 * reach:
        return None
    return Risk(
        state="info",
        text=(
            "Arrivals. The test needs more than half of all customers, and weeks are counted "
            "as if each brought new ones."
        ),
        instead="say what share was seen the week before: power.returning",
    )
