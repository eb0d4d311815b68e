"""Would the plan's own analysis find effects where there are none, and see those there are?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab import pricing
from upliftlab.assignment.recipe import recipe_of
from upliftlab.checks import FAIL
from upliftlab.data.pieces import pieces
from upliftlab.economics import MERCHANT
from upliftlab.errors import DesignError
from upliftlab.evidence import ALWAYS
from upliftlab.plan.currencies import currency_of
from upliftlab.plan.metrics import PROFIT
from upliftlab.rehearsal.draws import Ledger, replay
from upliftlab.rehearsal.gate import checks_of_split, checks_of_waves, ratio_alarms
from upliftlab.rehearsal.mechanism import mechanism_of
from upliftlab.rehearsal.rolled import replay_waves, rolled_back
from upliftlab.rehearsal.rows import plain, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from numpy.typing import NDArray

    from upliftlab.checks import Check
    from upliftlab.data.cells import Cells
    from upliftlab.data.pieces import Pieces
    from upliftlab.experiment import Experiment
    from upliftlab.plan.metrics import Metric
    from upliftlab.rehearsal.mechanism import Mechanism
    from upliftlab.rehearsal.rows import Row

    Floats = NDArray[np.float64]

DRAWS = 2_000
FEW = 20
"""Clusters below which p-values take few values, and their distribution says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """An A/A rehearsal: many re-assignments of data from before the test.

    Attributes:
        experiment: The plan.
        units: How many units were re-assigned.
        clusters: How many clusters; 0 where units are assigned one by one.
        mechanism: How they were re-assigned, in words.
        draws: How often.
        seed: Of the draws.
        level: Confidence of ranges.
        rows: One per metric and arm, profit first.
        ratio_alarms: Share of re-assignments whose sample ratio raised the alarm; NaN for
            roll-outs, whose lists are drawn in fixed numbers.
        checks: What opens or closes the gate, failed ones first.
        notes: Sentences a reader must know.
    """

    experiment: Experiment
    units: int
    clusters: int
    mechanism: str
    draws: int
    seed: int
    level: float
    rows: tuple[Row, ...]
    ratio_alarms: float
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether the gate is open: nothing failed."""
        return all(check.verdict != FAIL for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "experiment": self.experiment.name,
            "plan": self.experiment.fingerprint,
            "passed": self.is_valid,
            "units": self.units,
            "clusters": self.clusters,
            "mechanism": self.mechanism,
            "draws": self.draws,
            "seed": self.seed,
            "level": self.level,
            "ratio_alarms": plain(self.ratio_alarms),
            "rows": [row.to_dict() for row in self.rows],
            "checks": [check.to_dict() | {"is_blocking": check.verdict == FAIL}
                       for check in self.checks],
            "notes": list(self.notes),
        }  # fmt: skip


def rehearse(
    experiment: Experiment,
    given: Mapping[str, object] | None = None,
    *,
    units: str | Path | None = None,
    draws: int = DRAWS,
    seed: int = 1,
    by: str | None = None,
    at: date | None = None,
    progress: Callable[[str], None] | None = None,
) -> Rehearsal:
    """Re-assign data from before the test many times, and ask what the analysis says.

    Nothing was done to anybody, so p-values must be uniform, ranges must hold 0 as often as
    they promise, and the sample ratio must raise its alarm once in a thousand. A constant
    effect added to treated units shows what the test would see.

    Args:
        experiment: The plan, with its sources.
        given: Tables from Python by source name.
        units: File with one row per unit, in the place of the plan's data; columns are called
            as in the plan's ``data.units``.
        draws: Re-assignments.
        seed: Of the draws.
        by: Column of what really moves together, where the analysis ignores it.
        at: First day of the rehearsed window.
        progress: Called with the name of each step.

    Raises:
        DataError: When there are no data from before the test.
        DesignError: When the plan does not split units or clusters.
    """
    tell = progress or (lambda _: None)
    tell("reading")
    if experiment.period is not None:
        if units is not None or by is not None or at is not None:
            raise DesignError(
                f"aa of design {experiment.design!r} reads the time before the first wave from "
                "the plan's own panel; leave --units, --by and --at out."
            )
        return _of_waves(experiment, given, draws=draws, seed=seed, tell=tell)
    plan = experiment if units is None else _with_units(experiment, Path(units))
    found = pieces(plan, given, by=by, at=at)
    return rehearsal_of(
        experiment, found, draws=draws, seed=seed, ignores_clusters=by is not None, tell=tell
    )


def rehearsal_of(
    experiment: Experiment,
    found: Pieces,
    *,
    draws: int = DRAWS,
    seed: int = 1,
    ignores_clusters: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Rehearsal:
    """Rehearse on pieces that were read before; see ``rehearse``."""
    recipe = recipe_of(experiment)
    unit = experiment.unit
    mechanism = mechanism_of(recipe, found, draws=draws, seed=seed, unit=unit)
    cells, metrics = _priced(experiment, found)
    clustered = found.are_clusters and not ignores_clusters
    arms = [arm.label for arm in experiment.arms]
    replies = replay(
        Ledger.of(cells),
        mechanism.drawn,
        arms=arms,
        control=experiment.control.label,
        metrics=metrics,
        covariates=found.covariates,
        clustered=clustered,
        progress=lambda share: tell(f"re-assigning {share:.0%}"),
    )
    level = float(experiment.decide.confidence)
    goal = float(experiment.decide.worth_it.minor)
    rows = rows_of(replies, _means(cells, metrics), level=level, goal=goal)
    alarms = ratio_alarms(replies.counts, mechanism.shares)
    pieces_n = len({label[0] for label in cells.labels})
    return Rehearsal(
        experiment=experiment,
        units=found.units,
        clusters=pieces_n if found.are_clusters else 0,
        mechanism=mechanism.words,
        draws=draws,
        seed=seed,
        level=level,
        rows=rows,
        ratio_alarms=float(np.mean(alarms)),
        checks=checks_of_split(experiment, found, rows, alarms, draws=draws, level=level),
        notes=_notes(experiment, found, mechanism, clustered=clustered),
    )


def _of_waves(
    experiment: Experiment,
    given: Mapping[str, object] | None,
    *,
    draws: int,
    seed: int,
    tell: Callable[[str], None],
) -> Rehearsal:
    """Rehearse a roll-out on the time before it; see ``rehearse``."""
    found = rolled_back(experiment, given)
    replies = replay_waves(
        experiment, found, draws=draws, seed=seed,
        progress=lambda share: tell(f"re-assigning {share:.0%}"),
    )  # fmt: skip
    panel, level = found.panel, float(experiment.decide.confidence)
    goal = float(experiment.decide.worth_it.minor)
    means = panel.y.mean(axis=(0, 1)).tolist()[: len(replies.names)]
    rows = rows_of(replies, means, level=level, goal=goal)
    draws = len(replies.value)
    notes = [
        f"re-assigned: {found.words}",
        (
            f"the roll-out was put into the {len(panel.periods)} periods before it, at the old "
            "prices: what it adds up to is per unit and period"
        ),
        *panel.notes,
    ]
    return Rehearsal(
        experiment=experiment,
        units=len(panel.units),
        clusters=int(panel.cluster.max()) + 1,
        mechanism=found.words,
        draws=draws,
        seed=seed,
        level=level,
        rows=rows,
        ratio_alarms=float("nan"),
        checks=checks_of_waves(rows, draws=draws, level=level),
        notes=tuple(notes),
    )


def _with_units(experiment: Experiment, file: Path) -> Experiment:
    """Read one row per unit from a file, in the place of the plan's data."""
    source = experiment.data.units if experiment.data else None
    money = source.money if source else None
    columns = dict(source.columns) if source else {}
    main = currency_of(experiment.currency).main
    known = {"file": str(file.resolve()), "money": money or main, "columns": columns}
    return experiment.replace(data={"units": known})


def _priced(experiment: Experiment, found: Pieces) -> tuple[Cells, list[Metric]]:
    """Put profit and the components of the plan's metrics beside the covariates."""
    cells, covariates = found.cells, set(found.covariates)
    have = [name for name in cells.names if name not in covariates]
    economics = pricing.build(
        experiment.costs, components=frozenset(have), contact={}, ad_spend={}
    )
    price = economics.price(MERCHANT, experiment.control.label)
    names = dict.fromkeys(
        [PROFIT, *experiment.guardrails, *(m.name for m in experiment.metrics),
         "gmv_platform", "gmv_merchant", *ALWAYS]
    )  # fmt: skip
    metrics = [experiment.metric(name) for name in names]
    known = [m for m in metrics if m.name == PROFIT or set(m.components) <= set(have)]
    moving = _moving(cells)
    known = [m for m in known if m.name == PROFIT or set(m.components) <= moving]
    wanted = list(dict.fromkeys(c for m in known if m.name != PROFIT for c in m.components))
    rows = np.zeros((1 + len(wanted) + len(found.covariates), len(cells.names)))
    for component, rate in price.items():
        if component in have:
            rows[0, cells.names.index(component)] += rate
    for i, name in enumerate([*wanted, *found.covariates], start=1):
        rows[i, cells.names.index(name)] = 1.0
    return (
        replace(
            cells,
            names=(PROFIT, *wanted, *found.covariates),
            mean=cells.mean @ rows.T + np.eye(len(rows))[0] * price.get("units", 0.0),
            m2=np.einsum("ik,ckl,jl->cij", rows, cells.m2, rows, optimize=True),
        ),
        known,
    )


def _moving(cells: Cells) -> set[str]:
    """Columns that are not the same number for everybody."""
    within = np.einsum("ckk->k", cells.m2) > 0
    between = np.ptp(cells.mean, axis=0) > 0
    return {name for name, moves in zip(cells.names, within | between, strict=True) if moves}


def _means(cells: Cells, metrics: Sequence[Metric]) -> list[float]:
    total = cells.n @ cells.mean
    at = {name: k for k, name in enumerate(cells.names)}
    out = []
    for metric in metrics:
        top = total[at[metric.components[0]]]
        bottom = total[at[metric.components[1]]] if metric.ratio else cells.n.sum()
        out.append(float(top / bottom) if bottom else float("nan"))
    return out


def _notes(
    experiment: Experiment, found: Pieces, mechanism: Mechanism, *, clustered: bool
) -> tuple[str, ...]:
    out = [f"re-assigned {mechanism.words}"]
    if found.are_clusters and not clustered:
        out.append("the analysis takes units for independent although they move in clusters")
    if found.are_clusters and len({label[0] for label in found.cells.labels}) < FEW:
        out.append(
            f"with fewer than {FEW} clusters p-values take few values, and their distribution "
            "says little"
        )
    if found.since is not None:
        out.append(
            f"the window is the {experiment.follow_up} days before the run, before any "
            "adjustment for earlier behaviour, so the test may see more than this"
        )
    if experiment.assign is not None and experiment.assign.epochs is not None:
        out.append("shares are those of the last epoch")
    return (*out, *found.facts.notes)
