"""What does profit say when its few clusters are assigned to waves again?"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.assignment.scheme import AssignmentScheme
from upliftlab.assignment.waves import scheme_of
from upliftlab.checks import PASS, WARN, Check
from upliftlab.economics import MERCHANT
from upliftlab.errors import DesignError
from upliftlab.panels.randomisation import ADDITIVITY, roll_out
from upliftlab.profit import merchant_lines
from upliftlab.rollout.booked import Measure
from upliftlab.rollout.counted import count_clusters
from upliftlab.stats.estimate import NAN

if TYPE_CHECKING:
    from upliftlab.assignment.scheme import Reassignment
    from upliftlab.data.panel import Panel
    from upliftlab.economics import Economics, Terms
    from upliftlab.panels.group_time import GroupTime
    from upliftlab.panels.resampled import Resampled
    from upliftlab.profit import Profit
    from upliftlab.rollout.answer import Rollout
    from upliftlab.rollout.question import Question
    from upliftlab.stats.estimate import Estimate

FEW = "range and p-value by re-assignment of clusters to waves: there are few of them"
NO_RANGE = "no range: the range of extra profit comes from re-assignment of clusters to waves"

MOST = 2000
"""Clusters up to which re-assignments are drawn."""


def reassigned(
    panel: Panel, effects: GroupTime, *, level: float, draws: int = 999, seed: int = 0
) -> Resampled:
    """Assign clusters to waves again; those treated too early to have an effect are left out.

    Draws are those of the plan where it says how waves are drawn (within strata, balanced);
    otherwise waves are exchanged between all clusters.

    Args:
        panel: One row per unit and period, as booked.
        effects: For who is compared with whom.
        level: Confidence level.
        draws: Re-assignments.
        seed: Of the re-assignments.

    Raises:
        DesignError: When clusters did not switch whole, no period has a control, or nobody can
            tell what the plan draws by.
    """
    late = panel.select(panel.start > effects.anticipation)
    return roll_out(
        late,
        scheme=_scheme(late),
        controls=effects.control,
        anticipation=effects.anticipation,
        draws=draws,
        seed=seed,
        level=level,
    )


def drawn_check(panel: Panel, word: str) -> Check | None:
    """Ask whether clusters start when the plan drew them to; None where it draws no waves.

    Args:
        panel: With what the plan drew.
        word: What a cluster is called.
    """
    waves = panel.drawn
    if waves is None:
        return None
    if waves.drawn is None:
        said = (
            f"the plan's waves are {waves.words}, and {waves.why}; re-assignment cannot draw "
            "as the plan does. `upliftlab assign` writes the table whole"
        )
        return Check(name="waves_as_drawn", verdict=WARN, message=f"Waves: {said}.")
    names = panel.cluster_labels
    moved = sorted(set(waves.moved) & set(names))
    if not moved:
        said = f"all {len(names):,} {word}s start when the plan drew them to ({waves.words})"
    else:
        said = (
            f"{len(moved):,} of {len(names):,} {word}s start otherwise than the plan drew "
            f"them, such as {moved[0]!r}; who decided that also decides what is compared"
        )
    return Check(
        name="waves_as_drawn",
        verdict=WARN if moved else PASS,
        message=f"Waves: {said}.",
        value=float(len(moved)),
        threshold=0.0,
    )


def by_reassignment(
    asked: Question, profit: Profit, again: Estimate, effects: GroupTime
) -> Profit:
    """With few clusters all that profit says comes from re-assignment; the numbers stay.

    It counts clusters alike, so it replaces ranges only where clusters weigh the same. Ratios,
    which re-assignment does not read, then have no range, so that nothing can contradict. Where
    the design cannot give a p-value small enough there is no range, and so no verdict.

    Args:
        asked: Plan and panel.
        profit: With ranges from Student's t.
        again: Extra profit by re-assignment.
        effects: On booked profit, for who is compared with whom.

    Returns:
        The same profit unless clusters are few, alike and switched whole.

    References:
        Fisher (1935), *The Design of Experiments*, section 21.
    """
    counted = count_clusters(effects)
    if not (counted.is_few and counted.are_alike and math.isfinite(again.p_value)):
        return profit
    own = _replaced(profit.profit, again)
    found = reassigned(_sides(asked), effects, level=asked.level)
    parties = {
        name: _replaced(each, again if name == MERCHANT else found[f"party:{name}"])
        for name, each in profit.parties.items()
    }
    return replace(
        profit,
        profit=own,
        profit_simultaneous=own,
        ladder=tuple(
            replace(rung, effect=own) if rung.name == "profit" else rung
            for rung in profit.ladder
        ),
        parties=parties,
        iroi=without_range(profit.iroi),
        over_hurdle=_replaced(profit.over_hurdle, found["over hurdle"]),
        p_positive=1 - one_sided(own),
        expected_loss=NAN,
        realised=own.scaled(profit.n, name="realised"),
        rollout=own.scaled(profit.rollout_n, name="rollout"),
        tipping=tuple(replace(each, at=without_range(each.at)) for each in profit.tipping),
    )


def is_reassigned(profit: Profit) -> bool:
    """Whether profit took its range from re-assignment, so that its ratios have none."""
    return NO_RANGE in profit.iroi.note


def without_range(estimate: Estimate) -> Estimate:
    """Take away the range of a ratio that was made of profit, and say where it went."""
    return replace(
        estimate,
        std_error=NAN,
        ci_low=NAN,
        ci_high=NAN,
        p_value=NAN,
        shape="none",
        note="; ".join(filter(None, (estimate.note, NO_RANGE))),
    )


def with_one_law(found: Rollout, profit: Profit) -> Rollout:
    """Let waves and stretches claim no more than the headline's own law can show.

    A single wave is the headline. Where re-assignment gives no range at all, Student's t would
    only pretend to know one.
    """
    if not is_reassigned(profit):
        return found
    own = profit.profit
    alone = sum(wave.profit is not None for wave in found.waves) == 1
    none = math.isnan(own.ci_low)
    waves, stretches = found.waves, found.stretches
    if none:
        waves = tuple(
            wave if wave.profit is None else replace(wave, profit=without_range(wave.profit))
            for wave in waves
        )
        stretches = tuple(
            replace(each, profit=without_range(each.profit), total=without_range(each.total))
            for each in stretches
        )
    if alone:
        waves = tuple(
            wave if wave.profit is None else replace(wave, profit=own) for wave in waves
        )
    pay_back = NAN if none else found.pay_back
    return replace(found, waves=waves, stretches=stretches, pay_back=pay_back)


def one_sided(estimate: Estimate) -> float:
    """p-value against at most 0, by the law that the two-sided one comes from.

    Examples:
        >>> from upliftlab.stats.estimate import interval
        >>> round(one_sided(interval("profit", -1.0, 1.0)), 4)
        0.8413
    """
    half = estimate.p_value / 2
    return half if estimate.estimate > 0 else 1 - half


def _replaced(estimate: Estimate, again: Estimate) -> Estimate:
    """The same number with range and p-value by re-assignment."""
    known = math.isfinite(again.ci_low) and math.isfinite(again.ci_high)
    return replace(
        estimate,
        std_error=estimate.std_error if known else NAN,
        ci_low=again.ci_low,
        ci_high=again.ci_high,
        p_value=again.p_value,
        rel_ci_low=NAN,
        rel_ci_high=NAN,
        shape="interval" if known else "none",
        note=FEW if known else again.note.removeprefix(f"{ADDITIVITY}; "),
    )


def _scheme(panel: Panel) -> Reassignment:
    """What the plan could have drawn for the clusters of this panel."""
    plainly = AssignmentScheme.of_panel(panel)
    if panel.drawn is None:
        return plainly
    if panel.drawn.drawn is None:
        raise DesignError(panel.drawn.why)
    return scheme_of(panel.drawn, panel.cluster_labels, plainly.start)


def _sides(asked: Question) -> Panel:
    """What every side and profit less the hurdle are per unit and period, as booked."""
    return asked.ledger(lambda economics: _measured(asked, economics)).column()


def _measured(asked: Question, economics: Economics) -> list[Measure]:
    arm, control = asked.arm, asked.control
    rows = {
        f"party:{party}": (economics.price(party, control), economics.price(party, arm))
        for party in economics.parties()
    }
    hurdle = float(asked.experiment.decide.iroi_at_least)
    rows["over hurdle"] = (
        _over(economics, control, hurdle),
        _over(economics, arm, hurdle),
    )
    return [
        Measure(name=name, label=name, is_money=True, before=before, after=after)
        for name, (before, after) in rows.items()
    ]


def _over(economics: Economics, arm: str, hurdle: float) -> Terms:
    """Price of profit less the hurdle on campaign money, in one arm."""
    out = dict(economics.price(MERCHANT, arm))
    for line in merchant_lines(economics):
        if line.is_campaign:
            for name, rate in line.terms(MERCHANT, arm).items():
                out[name] = out.get(name, 0.0) + hurdle * rate
    return out
