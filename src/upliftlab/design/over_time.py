"""From a plan whose units switch over time to what its layout would show and cost."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.data.panel_grain import DAYS
from upliftlab.design.answer import NO_EFFECT, NOT_WORTH_IT, RUN, TOO_LARGE, Design, Worth
from upliftlab.design.blocks import switchback_layout
from upliftlab.design.looked import power_of_plan
from upliftlab.design.regions import geo_layout
from upliftlab.design.risks import risks_of
from upliftlab.design.series import pilot_series
from upliftlab.design.sizes import Asked
from upliftlab.design.spread import Pilot, Spread
from upliftlab.design.trials import run_layout
from upliftlab.design.waves import staggered_layout
from upliftlab.design.worth import WORST, belief_of
from upliftlab.plan.metrics import PROFIT
from upliftlab.rollout.question import QUARTER
from upliftlab.stats.information import Prior, value_of_sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from upliftlab.design.layouts import Layout
    from upliftlab.design.series import Series
    from upliftlab.experiment import Experiment

LAYOUTS = {
    "staggered": staggered_layout,
    "switchback": switchback_layout,
    "geo": geo_layout,
}


def design_over_time(
    experiment: Experiment,
    pilot: Experiment,
    tables: Mapping[str, object],
    *,
    runs: int = 0,
    progress: Callable[[str], None],
) -> Design:
    """Lay out a roll-out, a switchback or a geo test, and say what it shows and is worth.

    Args:
        experiment: The plan being designed.
        pilot: The plan of the panel that shows profit without treatment.
        tables: Tables from Python by source name.
        runs: How many times to run the layout; 0 for not at all.
        progress: Called with the name of each step.
    """
    series = pilot_series(experiment, pilot, tables)
    progress("laying out")
    found = _pilot(experiment, pilot, series)
    asked = Asked.of(experiment, found)
    effect, _ = asked.target(found.spreads[0])
    layout = LAYOUTS[experiment.design](experiment, series, effect=effect)
    seen = {}
    if runs:
        ran = run_layout(experiment, series, layout, runs=runs, progress=progress)
        seen, layout = {layout.kind: ran}, replace(layout, simulated=ran.power)
    worth = _worth(asked, layout, found)
    verdict, reason = _verdict(asked, layout, worth)
    return Design(
        experiment=experiment,
        pilot=found,
        verdict=verdict,
        reasons=(reason,),
        wanted=asked.power,
        planned=float(found.units),
        needed=math.nan,
        needed_days=math.nan,
        advised=float(found.units),
        sizes=(),
        over_time=(),
        worth=worth,
        best_shares={},
        saved=math.nan,
        layout=layout,
        simulated=seen,
        risks=risks_of(asked, math.nan, math.nan),
        notes=layout.notes,
    )


def _pilot(experiment: Experiment, pilot: Experiment, series: Series) -> Pilot:
    arms = [arm.label for arm in experiment.arms]
    spread = Spread(
        metric=PROFIT,
        role="primary",
        direction="up",
        is_money=True,
        mean=series.mean,
        sd=dict.fromkeys(arms, series.sd),
        kept=dict.fromkeys(arms, 1.0),
    )
    return Pilot(
        name=pilot.name,
        units=int(series.size.sum()),
        days=float(len(series.periods) * DAYS[experiment.period or "week"]),
        spreads=(spread,),
        clusters=len(series.labels),
        cluster_size=float(series.size.mean()),
        cluster_cv=float(series.size.std() / series.size.mean()),
    )


def _worth(asked: Asked, layout: Layout, pilot: Pilot) -> Worth:
    """Cost and value over a quarter of all units."""
    belief, assumed = belief_of(asked)
    plan, experiment = power_of_plan(asked.experiment), asked.experiment
    fixed = float(plan.fixed_cost.minor) if plan.fixed_cost is not None else 0.0
    units = experiment.eligible_customers or pilot.units
    reach = float(units * max(1, QUARTER // DAYS[experiment.period or "week"]))
    on = sum(state == 1 for row in layout.rows.values() for state in row)
    treated = on * (pilot.units / max(len(layout.rows), 1))
    hurdle = float(experiment.decide.worth_it.minor)
    information = reach * value_of_sample(belief, layout.std_error, hurdle=hurdle)
    loss = -treated * belief.mean
    return Worth(
        spent=math.nan,
        fixed=fixed,
        at_risk=treated * max(0.0, -belief.below(WORST)),
        information=information,
        expected_loss=loss,
        net=information - loss - fixed,
        perfect=reach * value_of_sample(belief, 0.0, hurdle=hurdle),
        belief=(belief.mean, belief.sd),
        is_assumed=assumed,
        pays_from=_pays_from(belief, layout.std_error, hurdle, reach, loss + fixed),
        reach=reach,
        note="",
    )


def _pays_from(belief: Prior, error: float, hurdle: float, reach: float, cost: float) -> float:
    """Least doubt at which the answer pays; 0 where the test is free, NaN where never."""
    if cost <= 0:
        return 0.0
    from scipy import optimize

    def net(log_sd: float) -> float:
        prior = Prior(mean=belief.mean, sd=math.exp(log_sd))
        return reach * value_of_sample(prior, error, hurdle=hurdle) - cost

    low, high = math.log(error * 1e-4), math.log(error * 1e4)
    if net(high) < 0:
        return math.nan
    return math.exp(float(optimize.brentq(net, low, high))) if net(low) < 0 else 0.0


def _verdict(asked: Asked, layout: Layout, worth: Worth) -> tuple[str, str]:
    if not math.isfinite(layout.effect):
        return NO_EFFECT, (
            "Nobody said which extra profit is worth seeing: name it in decide.worth_it or "
            "power.effects.profit."
        )
    if layout.power < asked.power - 1e-9:
        return TOO_LARGE, (
            f"The layout sees the effect with a chance of {layout.power:.0%}, and "
            f"{asked.power:.0%} are wanted."
        )
    if worth.net < 0:
        return NOT_WORTH_IT, "The test costs more than its answer is expected to be worth."
    return RUN, f"The layout sees the effect with a chance of {layout.power:.0%}."
