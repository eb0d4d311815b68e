"""What would the analysis of a roll-out say, had clusters been drawn into waves before it?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.assignment.scheme import AssignmentScheme
from upliftlab.assignment.waves import scheme_of
from upliftlab.data.panel import NEVER
from upliftlab.data.panel_grain import DAYS, prepare_panel
from upliftlab.errors import DesignError
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.panels.synthetic_did import synthetic_did
from upliftlab.plan.assign import NEVER as NEVER_WAVE
from upliftlab.plan.metrics import PROFIT
from upliftlab.rehearsal.draws import Replies
from upliftlab.rollout.booked import prices_of
from upliftlab.rollout.counted import count_clusters
from upliftlab.rollout.question import Question
from upliftlab.rollout.regions import ENOUGH_FOR_JACKKNIFE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from upliftlab.assignment.scheme import Reassignment
    from upliftlab.data.panel import Panel
    from upliftlab.experiment import Experiment
    from upliftlab.stats.joint import Joint

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

FEWEST_BEFORE, PLACEBOS, MOST_GEO = 2, 50, 400
"""Periods before the first wave; placebo draws by region, and re-assignments of regions."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RolledBack:
    """The time before a roll-out, as if the roll-out had been then.

    Attributes:
        panel: Profit and other measures at the old prices; ``start`` as the plan drew it, moved
            back so that the last period is the last one observed.
        scheme: What else could have been drawn.
        words: How it is drawn, for readers.
        anticipation: Periods in which units know of it.
    """

    panel: Panel
    scheme: Reassignment
    words: str
    anticipation: int


def rolled_back(
    experiment: Experiment, given: Mapping[str, object] | None = None
) -> RolledBack:
    """Read the plan's panel, keep the time before the first wave, and move the waves there.

    Args:
        experiment: The plan, which draws its waves.
        given: Tables from Python by source name.

    Raises:
        DesignError: When the plan draws no waves, nobody can tell its draw, or the time before
            is shorter than the roll-out.
        DataError: When a source does not hold what the plan says it holds.
    """
    waves = experiment.assign.waves if experiment.assign else None
    if experiment.design == "switchback" or not waves or len(experiment.treatments) > 1:
        raise DesignError(
            f"aa re-assigns waves of one change that the plan draws, and experiment "
            f"{experiment.name!r} has design {experiment.design!r} with "
            f"{len(experiment.treatments)} changes; add assign: {{waves: {{2026-08-03: 50%, "
            "never: 50%}}, or leave aa out."
        )
    asked = Question.of(experiment, prepare_panel(experiment, given))
    panel, ahead = asked.panel, asked.periods(experiment.announced)
    if panel.drawn is not None and panel.drawn.drawn is None:
        raise DesignError(panel.drawn.why + "; upliftlab assign writes the table whole.")
    before = min(int(panel.start.min()), len(panel.periods)) - ahead
    begins, lasts = _calendar(experiment)
    first = before - lasts
    if first < FEWEST_BEFORE + ahead:
        raise DesignError(
            f"aa puts the roll-out into the time before it: that has {max(before, 0)} periods, "
            f"and the plan's waves take {lasts} and {FEWEST_BEFORE + ahead} before them. Give "
            "a panel that begins earlier, or observe less."
        )
    prices = prices_of(asked.measures, panel.names, "before")
    names = tuple(measure.name for measure in asked.measures)
    booked = replace(
        panel.with_outcome(panel.y[:, :before] @ prices.T, names),
        periods=panel.periods[:before],
        terms=None,
        beside=(),
    )
    scheme, words = _drawn(booked, begins + first)
    start = scheme.start[panel.cluster]
    return RolledBack(
        panel=replace(booked, start=start), scheme=scheme, words=words, anticipation=ahead
    )


def replay_waves(
    experiment: Experiment,
    found: RolledBack,
    *,
    draws: int,
    seed: int,
    progress: Callable[[float], None],
) -> Replies:
    """Run the plan's estimator under every drawn roll-out.

    Raises:
        DesignError: When clusters are so few that the analysis re-assigns them itself.
    """
    arm = experiment.treatments[0].label
    regional = experiment.design == "geo"
    draws = min(draws, MOST_GEO) if regional else draws
    if not regional:
        _refuse_few(found)
    starts = _starts(found.scheme, draws, seed)
    names = found.panel.names[:1] if regional else found.panel.names
    shape = (len(starts), len(names))
    value, error, df = (np.full(shape, np.nan) for _ in range(3))
    for r, start in enumerate(starts):
        panel = replace(found.panel, start=start[found.panel.cluster])
        joint = _regional(panel, found) if regional else _staggered(panel, found)
        value[r] = joint.value[: len(names)]
        error[r] = np.sqrt(np.maximum(np.diag(joint.cov)[: len(names)], 0.0))
        df[r] = joint.df[: len(names)]
        progress((r + 1) / len(starts))
    treated = (starts != NEVER).sum(axis=1)
    counts = np.stack([starts.shape[1] - treated, treated], axis=1).astype(np.float64)
    return Replies(
        names=tuple((name, arm) for name in names),
        value=value,
        std_error=error,
        df=df,
        counts=counts,
    )


def _staggered(panel: Panel, found: RolledBack) -> Joint:
    return aggregate(group_time(panel, anticipation=found.anticipation)).joint()


def _regional(panel: Panel, found: RolledBack) -> Joint:
    many = int((panel.start != NEVER).sum()) >= ENOUGH_FOR_JACKKNIFE
    return synthetic_did(
        panel.component(PROFIT),
        anticipation=found.anticipation,
        inference="jackknife" if many else "placebo",
        draws=PLACEBOS,
    ).effect


def _calendar(experiment: Experiment) -> tuple[Ints, int]:
    """Periods from the first wave to each, ``NEVER`` for none, and how long is observed."""
    assert experiment.assign is not None  # noqa: S101 - asked before
    assert experiment.assign.waves is not None  # noqa: S101 - asked before
    length = DAYS[experiment.period or "day"]
    days = [day for day in experiment.assign.waves if day != NEVER_WAVE]
    opens = date.fromisoformat(min(days))
    begins = np.array(
        [
            NEVER if day == NEVER_WAVE else (date.fromisoformat(day) - opens).days // length
            for day in experiment.assign.waves
        ],
        dtype=np.int64,
    )
    last = int(begins[begins != NEVER].max())
    lasts = last + max(4, last)
    if experiment.observe is not None:
        lasts = max(last + 1, ((experiment.observe.end - opens).days + 1) // length)
    return begins, lasts


def _drawn(panel: Panel, begins: Ints) -> tuple[Reassignment, str]:
    """The plan's draw of these clusters, with its waves moved to the time before."""
    begins = np.where(begins >= NEVER, NEVER, begins)
    waves = panel.drawn
    if waves is not None and waves.drawn is not None:
        place = {name: i for i, name in enumerate(waves.drawn.names)}
        at = np.array([place[name] for name in panel.cluster_labels])
        start = begins[waves.drawn.scheme.start[at]]
        scheme = scheme_of(replace(waves, moved=()), panel.cluster_labels, start)
        return scheme, f"clusters {waves.words}, in {len(begins)} waves"
    kept = np.unique(panel.start[np.unique(panel.cluster, return_index=True)[1]])
    if len(kept) != len(begins):
        raise DesignError(
            f"the panel has {len(kept)} starts and the plan draws {len(begins)} waves; give "
            "the table of waves that upliftlab assign writes."
        )
    plain = AssignmentScheme.of_panel(panel)
    start = begins[np.searchsorted(kept, plain.start)]
    return AssignmentScheme.of(start), f"clusters drawn as a list, in {len(begins)} waves"


def _starts(scheme: Reassignment, draws: int, seed: int) -> Ints:
    """So many draws; where there are fewer in all, some come several times."""
    found, _ = scheme.draws(draws - 1, seed)
    if len(found) >= draws:
        return found[:draws]
    return found[np.random.default_rng(seed).integers(len(found), size=draws)]


def _refuse_few(found: RolledBack) -> None:
    effects = group_time(found.panel.component(PROFIT), anticipation=found.anticipation)
    counted = count_clusters(effects)
    if counted.is_few and counted.are_alike:
        raise DesignError(
            f"with {counted.fewest} clusters on one side the analysis re-assigns clusters "
            "itself: its p-values hold by construction, and aa has nothing to rehearse."
        )
