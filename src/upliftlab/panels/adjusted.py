"""What did treatment do to each cohort in each period, next to controls like them?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.data.panel import NEVER
from upliftlab.errors import DataError, DefinitionError, DesignError
from upliftlab.panels.comparisons import Support, by_pool, comparisons, support_notes
from upliftlab.panels.influence import Block, Influence, grouped
from upliftlab.panels.nuisance import (
    design,
    folds,
    inverted,
    learned_changes,
    learned_propensity,
    logit,
)
from upliftlab.panels.reweighting import Reweighting
from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.panels.comparisons import Base, Comparison, Control
    from upliftlab.panels.influence import CellInfluence
    from upliftlab.panels.nuisance import Learners, Propensity

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]

Method = Literal["dr", "ipw", "reg"]
METHODS = ("dr", "ipw", "reg")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdjustedEffects:
    """ATT(g, t) of every cohort and period given covariates, with influence functions.

    Attributes:
        names: Components, K in all.
        periods: Labels of the periods.
        cells: (start of the cohort, period), as positions in ``periods``, C in all.
        base: Period that each cell's change is measured from.
        att: Effects per unit and period, shape [C, K]; NaN where ``support`` says why.
        influence: Influence of every unit on every cell; estimate minus truth is their sum.
        support: Who stands behind each cell.
        start: Start of each unit, shape [N].
        cluster: Cluster of each unit, shape [N].
        weight: Weight of each unit, shape [N].
        method: "dr", "ipw" or "reg".
        control: "not_yet" or "never".
        rule: "universal" or "varying".
        anticipation: Periods before the start in which behaviour may already change.
        notes: What was left out, and why.
    """

    names: tuple[str, ...]
    periods: tuple[str, ...]
    cells: tuple[tuple[int, int], ...]
    base: tuple[int, ...]
    att: Floats
    influence: Influence | CellInfluence
    support: tuple[Support, ...]
    start: Ints
    cluster: Ints
    weight: Floats
    method: Method
    control: Control
    rule: Base
    anticipation: int
    notes: tuple[str, ...] = ()

    @property
    def share(self) -> Floats:
        """Share of all units that each cell compares, shape [C]."""
        return np.array([s.treated + s.controls for s in self.support]) / len(self.start)

    @property
    def known(self) -> Booleans:
        """Whether a cell has an effect, shape [C]."""
        return self.influence.known

    @property
    def std_error(self) -> Floats:
        """Root of the sum of squared influence by cluster, shape [C, K], as R's did."""
        return np.sqrt(self.influence.squares(self.cluster))

    def label(self, cell: int) -> str:
        """Name a cell by the labels of its periods."""
        start, period = self.cells[cell]
        return f"{self.periods[start]},{self.periods[period]}"

    def joint(
        self,
        weights: Floats | None = None,
        names: Sequence[str] | None = None,
        *,
        inference: Literal["small_sample", "analytic"] = "small_sample",
        more: Floats | None = None,
    ) -> Joint:
        """Return linear maps of the cells, for all components together, weights [R, C].

        Args:
            weights: Fixed weights of cells; the cells themselves when not given.
            names: One per map.
            inference: "analytic": squared influence by cluster and the normal law, as R's did;
                "small_sample": each cohort's sum of squares times n / (n - 1) for its n
                clusters, with Satterthwaite df. Clusters that hold several cohorts count as
                one group.
            more: Influence of units on the maps beside that of their outcomes, shape [N, R, K].

        Returns:
            Names "map" for one component, else "component|map", map by map.

        References:
            Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), section 4;
            Satterthwaite (1946), *Biometrics Bulletin* 2(6).
        """
        maps = np.eye(len(self.cells)) if weights is None else np.asarray(weights, dtype=float)
        labels = names or [self.label(c) for c in range(len(self.cells))]
        lost = (maps[:, ~self.known] != 0).any(axis=1)
        value = maps @ np.where(self.known[:, None], self.att, 0.0)
        value[lost] = np.nan
        flat = self.influence.sums(self.cluster, weights).reshape(-1, value.size)
        if more is not None:
            flat = flat + grouped(more.reshape(len(more), -1), self.cluster, len(flat))
        cov, df = _covariance(flat, self._cohort_of_cluster(len(flat)), inference)
        several = len(self.names) > 1
        return Joint(
            names=tuple(f"{k}|{m}" if several else m for m in labels for k in self.names),
            value=value.ravel(),
            cov=cov,
            df=df,
        )

    def _cohort_of_cluster(self, clusters: int) -> Ints:
        """Cohort of each cluster; one group for all where some cluster holds several."""
        lowest = np.full(clusters, NEVER, dtype=np.int64)
        highest = np.full(clusters, -1, dtype=np.int64)
        np.minimum.at(lowest, self.cluster, self.start)
        np.maximum.at(highest, self.cluster, self.start)
        return lowest if (lowest == highest).all() else np.zeros(clusters, dtype=np.int64)


def adjusted(
    panel: Panel,
    *,
    method: Method = "dr",
    control: Control = "not_yet",
    base: Base = "universal",
    anticipation: int = 0,
    learners: Learners | None = None,
) -> AdjustedEffects:
    """Estimate the effect on each cohort in each period, next to controls like them.

    Parallel trends need to hold among units with the same covariates. "reg" asks for the right
    regression of controls' changes, "ipw" for the right propensity, "dr" for one of the two.
    All components share the propensity and the regression's design, so lines add up.

    Args:
        panel: With covariates ``x`` known before treatment; without any, these are plain
            differences in differences. Where units were not observed throughout, each cell
            compares those observed, in all components, in both of its periods.
        method: How controls are made comparable.
        control: Who stands for what would have happened.
        base: What the change before treatment is measured from.
        anticipation: Periods before the start that are neither before nor after.
        learners: Cross-fitted learners in place of logit and least squares; "dr" only. Lines
            then add up only as far as the learner is linear in what it learns.

    Returns:
        One effect per cohort and period with influence functions that count the estimation of
        propensity and regression; NaN, with a note, where nobody is comparable.

    Raises:
        DataError: When a covariate or a weight is missing.
        DesignError: When no cohort can be compared, or a covariate explains nothing.

    References:
        Sant'Anna and Zhao (2020), *Journal of Econometrics* 219(1), equations 2.6, 3.1 and
        theorem 1; Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2), equations
        2.5 to 2.10.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> big = np.array([0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
        >>> grown = 1 + 2 * big + np.array([5.0, 5.0, 5.0, 0.0, 0.0, 0.0])
        >>> y = np.column_stack([np.zeros(6), grown])
        >>> panel = Panel.of_arrays(y, [1, 1, 1, NEVER, NEVER, NEVER], x=big[:, None])
        >>> adjusted(panel, method="reg").att
        array([[0.],
               [5.]])
    """
    _refuse(panel, method, learners)
    found = comparisons(
        panel.start, len(panel.periods), control=control, base=base, anticipation=anticipation
    )
    observed: Booleans = np.asarray(~np.isnan(panel.y).any(axis=2))
    seen = None if observed.all() else observed
    work = _Work(panel=panel, x=design(panel.x), method=method, learners=learners, seen=seen)
    att = np.full((len(found), len(panel.names)), np.nan)
    support = [Support(note="nobody is untreated to compare with")] * len(found)
    blocks = []
    for (start, pool), cells in by_pool(found).items():
        for rows, chosen in work.samples(start, pool, [found[c] for c in cells], cells):
            block, effects, behind = work.block(rows, start, [found[c] for c in chosen], chosen)
            for c in chosen:
                support[c] = behind
            if block is not None:
                att[chosen] = effects
                blocks.append(block)
    known = np.array([not s.note for s in support])
    return AdjustedEffects(
        names=panel.names,
        periods=panel.periods,
        cells=tuple((f.start, f.period) for f in found),
        base=tuple(f.base for f in found),
        att=att,
        influence=Influence(y=panel.y, blocks=tuple(blocks), known=known),
        support=tuple(support),
        start=panel.start,
        cluster=panel.cluster,
        weight=panel.weight,
        method=method,
        control=control,
        rule=base,
        anticipation=anticipation,
        notes=(
            *panel.notes,
            *work.notes(anticipation),
            *support_notes(support, panel.x.shape[1]),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Work:
    """What all blocks share."""

    panel: Panel
    x: Floats
    method: Method
    learners: Learners | None
    seen: Booleans | None
    """Units observed in all components, period by period; nothing for a balanced panel."""

    def samples(
        self, start: int, pool: tuple[int, ...], cells: list[Comparison], at: list[int]
    ) -> list[tuple[Ints, list[int]]]:
        """Units of a cohort and its controls, with the cells they can serve."""
        rows = np.flatnonzero((self.panel.start == start) | np.isin(self.panel.start, pool))
        if self.seen is None:
            return [(rows, at)]
        seen = self.seen[rows]
        alike: dict[bytes, tuple[Ints, list[int]]] = {}
        for cell, position in zip(cells, at, strict=True):
            both = seen[:, cell.period] & seen[:, cell.base]
            alike.setdefault(np.packbits(both).tobytes(), (rows[both], []))[1].append(position)
        return list(alike.values())

    def block(
        self, rows: Ints, start: int, cells: list[Comparison], at: list[int]
    ) -> tuple[Block | None, Floats, Support]:
        """Effects and influence of cells that share their units."""
        treated = self.panel.start[rows] == start
        x, weight = self.x[rows], self.panel.weight[rows]
        none = np.empty((0, 0))
        size = Support(treated=int(treated.sum()), controls=int((~treated).sum()))
        if not (weight[treated].sum() > 0 and weight[~treated].sum() > 0):
            note = "no treated or no control units observed in both periods"
            return None, none, replace(size, note=note)
        score = self._score(rows, treated)
        if score is not None and score.note:
            return None, none, replace(size, note=score.note)
        own = weight * ~treated
        gram = inverted(x.T @ (own[:, None] * x)) if self._regresses else None
        if gram is None and self._regresses:
            note = "covariates are collinear among the controls, or controls are too few"
            return None, none, replace(size, note=note)
        odds, trimmed = np.zeros(len(rows)), 0
        if score is not None:
            odds, trimmed = score.odds(treated, weight)
            if not odds.sum() > 0:
                note = "no control is comparable: all carry no weight"
                return None, none, replace(size, note=note)
        fit = Reweighting(
            x=x, treated=treated, weight=weight, odds=odds, gram=gram, score=score
        )
        block, effects = self._solve(fit, rows, cells, at)
        highest = math.nan if score is None else float(score.score.max())
        return block, effects, replace(size, highest=highest, trimmed=trimmed)

    def notes(self, anticipation: int) -> tuple[str, ...]:
        """Say who has no effect, and how gaps were treated."""
        notes = []
        early = int((self.panel.start - anticipation < 1).sum())
        if early:
            notes.append(
                f"{early:,} units were treated before the first period that could serve as "
                "before; they have no effect here and serve as nobody's control."
            )
        if self.seen is not None:
            gaps = int((~self.seen).any(axis=1).sum())
            notes.append(
                f"{gaps:,} of {len(self.panel.y):,} units were not observed throughout; each "
                "cohort-period compares the units observed in both of its periods."
            )
        return tuple(notes)

    @property
    def _regresses(self) -> bool:
        return self.method != "ipw" and self.learners is None

    def _score(self, rows: Ints, treated: Booleans) -> Propensity | None:
        if self.method == "reg":
            return None
        weight = self.panel.weight[rows]
        if self.learners is None:
            return logit(self.x[rows], treated, weight)
        return learned_propensity(
            self.x[rows, 1:], treated, weight, self._folds()[rows], self.learners
        )

    def _folds(self) -> Ints:
        assert self.learners is not None  # noqa: S101 - asked for by learners only
        return folds(self.panel.cluster, self.panel.start, self.learners)

    def _solve(
        self, fit: Reweighting, rows: Ints, cells: list[Comparison], at: list[int]
    ) -> tuple[Block, Floats]:
        late = np.array([c.period for c in cells])
        early = np.array([c.base for c in cells])
        offset = None
        if self.learners is None:
            first, last = int(min(late.min(), early.min())), int(max(late.max(), early.max()))
            level, effect = fit.levels(self.panel.y, rows, first, last)
            effects = effect[late - first] - effect[early - first]
            whole = np.full((len(level), *self.panel.shape[1:]), np.nan)
            whole[:, first : last + 1] = level
        else:
            change = self.panel.y[rows][:, late] - self.panel.y[rows][:, early]
            guess = np.zeros(change.shape)
            moving = np.flatnonzero(late != early)
            learned = learned_changes(
                fit.x[:, 1:],
                change[:, moving].reshape(len(rows), -1),
                ~fit.treated,
                fit.weight,
                fold=self._folds()[rows],
                learners=self.learners,
            )
            guess[:, moving] = learned.reshape(len(rows), len(moving), -1)
            offset, effects = fit.offsets(change - guess, guess)
            whole = np.zeros((1, *self.panel.shape[1:]))
        return Block(
            rows=rows,
            cells=np.array(at),
            late=late,
            early=early,
            own=fit.own,
            shared=fit.shared if self.learners is None else np.zeros((len(rows), 1)),
            level=whole,
            offset=offset,
        ), effects


def _covariance(
    flat: Floats, cohort: Ints, inference: Literal["small_sample", "analytic"]
) -> tuple[Floats, Floats]:
    """Covariance of sums over clusters, influence [G, m], and its df [m]."""
    if inference == "analytic":
        return flat.T @ flat, np.full(flat.shape[1], math.inf)
    cov = np.zeros((flat.shape[1], flat.shape[1]))
    part, spare = [], []
    for s in np.unique(cohort):
        own = flat[cohort == s]
        count = len(own)
        if count > 1:
            cov += own.T @ own * (count / (count - 1))
        else:
            moved = own[0] != 0
            cov[moved, :] = np.nan
            cov[:, moved] = np.nan
        part.append((own**2).sum(axis=0))
        spare.append(max(count - 1, 1))
    each, free = np.stack(part), np.array(spare)
    with np.errstate(invalid="ignore", divide="ignore"):
        df = each.sum(axis=0) ** 2 / (each**2 / free[:, None]).sum(axis=0)
    return cov, np.where(np.isfinite(df), df, math.inf)


def _refuse(panel: Panel, method: str, learners: Learners | None) -> None:
    if method not in METHODS:
        raise DefinitionError.unknown_word("method", method, METHODS)
    if learners is not None and method != "dr":
        raise DesignError(
            f"learners were given with method {method!r}; only 'dr' stays right when "
            "propensity and outcome are learned: use method 'dr', or leave the learners out."
        )
    if learners is not None and not panel.x.shape[1]:
        raise DesignError("learners need covariates to learn from; the panel has none.")
    if not np.isfinite(panel.weight).all() or (panel.weight < 0).any():
        raise DataError(
            f"weights are missing or negative for "
            f"{int((~(panel.weight >= 0)).sum())} units; weights must be 0 or more."
        )
