"""What would moving shares have earned, and cost in certainty, against fixed shares?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.adaptive.shares import METHODS, Method, next_shares
from upliftlab.adaptive.weighted import Epoch, weigh
from upliftlab.data.cells import Cells
from upliftlab.estimators import ab
from upliftlab.stats.estimate import Estimate, interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.estimators.effects import Effects

    Floats = NDArray[np.float64]

PROFIT = "profit"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Campaign:
    """One simulated test from its first epoch to its last.

    Attributes:
        method: How shares moved.
        share: Of each arm in each epoch, control first, shape [T, A].
        earned: Extra profit of all its units against control for everybody.
        chosen: Position of the arm with the largest estimate at the end.
        effects: Each treatment's extra profit per unit with its interval, epochs weighed.
        pooled: The same from units pooled over epochs, as is often and wrongly done.
    """

    method: str
    share: Floats
    earned: float
    chosen: int
    effects: tuple[Estimate, ...]
    pooled: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What one way of moving shares did over many simulated tests.

    Attributes:
        method: "thompson", "top_two" or "fixed".
        runs: Tests simulated.
        earned: Mean extra profit of a test, in money of the outcomes.
        earned_more: Mean gain over fixed shares of the same draws, with its interval.
        best_chosen: Share of tests that ended on the truly best arm.
        coverage: Least share of intervals over treatments that held the truth.
        pooled_coverage: The same of naive intervals.
        pooled_bias: Largest bias of naive estimates, in their standard errors.
    """

    method: str
    runs: int
    earned: float
    earned_more: Estimate
    best_chosen: float
    coverage: float
    pooled_coverage: float
    pooled_bias: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "method": self.method,
            "runs": self.runs,
            "earned": self.earned,
            "earned_more": self.earned_more.to_dict(),
            "best_chosen": self.best_chosen,
            "coverage": self.coverage,
            "pooled_coverage": self.pooled_coverage,
            "pooled_bias": self.pooled_bias,
        }


def campaign(
    pool: ArrayLike,
    *,
    method: Method,
    epochs: int = 8,
    units: int = 5_000,
    floor: float = 0.05,
    lift: Sequence[float] | None = None,
    level: float = 0.95,
    seed: int = 1,
) -> Campaign:
    """Run one test on drawn units: assign, wait, look, move shares, and so on.

    The first epoch has equal shares. Units of every epoch are drawn with all their potential
    outcomes, so that the same seed gives each method the same people.

    Args:
        pool: Outcome of each unit of a large population in every arm, control first, [N, A].
        method: How shares move.
        epochs: T.
        units: Per epoch.
        floor: Least share of an arm.
        lift: Added to every outcome of an epoch, whatever the arm, shape [T]: weeks differ.
        level: Confidence level.
        seed: Of units and assignment.
    """
    table = np.asarray(pool, dtype=np.float64)
    names = tuple(f"arm {a}" for a in range(table.shape[1]))
    rng = np.random.default_rng(seed)
    share = np.full(len(names), 1 / len(names))
    cells: list[Cells] = []
    parts: list[Effects] = []
    done: list[Epoch] = []
    earned = 0.0
    for t in range(epochs):
        own = table[rng.integers(0, len(table), units)]
        arm = np.searchsorted(np.cumsum(share)[:-1], rng.random(units), side="right")
        taken = own[np.arange(units), arm]
        earned += float((taken - own[:, 0]).sum())
        moved = taken + (0.0 if lift is None else lift[t])
        cells.append(_cells(moved, arm, names, str(t)))
        parts.append(ab.estimate(cells[-1], arms=names, control=names[0]))
        done.append(Epoch(name=str(t), share=dict(zip(names, share.tolist(), strict=True))))
        found = weigh(parts, done).effects
        profit = found.linear(_contrasts(len(names)), names[1:])
        if method != "fixed" and t + 1 < epochs:
            after = next_shares(
                profit, control=names[0], method=method, floor=floor, seed=seed + t
            )
            share = np.array([after.share[name] for name in names])
    return Campaign(
        method=method,
        share=np.array([[epoch.share[name] for name in names] for epoch in done]),
        earned=earned,
        chosen=int(np.argmax([0.0, *profit.value])),
        effects=tuple(profit.estimate(name, level=level) for name in names[1:]),
        pooled=_pooled(_joined(cells), names, level),
    )


def compare(
    pool: ArrayLike,
    *,
    runs: int = 200,
    methods: Sequence[Method] = METHODS,
    epochs: int = 8,
    units: int = 5_000,
    floor: float = 0.05,
    lift: Sequence[float] | None = None,
    level: float = 0.95,
    seed: int = 1,
) -> tuple[Compared, ...]:
    """Compare ways of moving shares over many simulated tests of the same people.

    Args:
        pool: As in ``campaign``.
        runs: Tests.
        methods: To compare; gains are against "fixed", which is always run.
        epochs: See ``campaign``.
        units: See ``campaign``.
        floor: See ``campaign``.
        lift: See ``campaign``.
        level: See ``campaign``.
        seed: Of the first test; each has its own.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> pool = rng.normal(10.0, 30.0, (20_000, 1)) + np.array([0.0, 2.0, -2.0])
        >>> found = compare(pool, runs=20, epochs=4, units=2_000)
        >>> [each.method for each in found if each.earned_more.is_above_zero]
        ['thompson', 'top_two']
    """
    asked = tuple(dict.fromkeys((*methods, "fixed")))
    truth = np.asarray(pool).mean(axis=0)
    tests: dict[str, list[Campaign]] = {
        method: [
            campaign(
                pool, method=method, epochs=epochs, units=units, floor=floor, lift=lift,
                level=level, seed=seed + 1_000 * r,
            )
            for r in range(runs)
        ]
        for method in asked
    }  # fmt: skip
    fixed = np.array([each.earned for each in tests["fixed"]])
    return tuple(_compared(tests[method], fixed, truth, level) for method in asked)


def _compared(tests: list[Campaign], fixed: Floats, truth: Floats, level: float) -> Compared:
    gain = np.array([each.earned for each in tests]) - fixed
    true = truth[1:] - truth[0]
    spread = float(gain.var(ddof=1)) / len(gain) if len(gain) > 1 else float("nan")
    naive = np.array([[e.estimate for e in each.pooled] for each in tests])
    error = naive.std(axis=0, ddof=1) if len(tests) > 1 else np.full(len(true), np.nan)
    return Compared(
        method=tests[0].method,
        runs=len(tests),
        earned=float(np.mean([each.earned for each in tests])),
        earned_more=interval(
            "extra profit over fixed shares", float(gain.mean()), spread, level=level
        ),
        best_chosen=float(np.mean([each.chosen == truth.argmax() for each in tests])),
        coverage=_held([each.effects for each in tests], true),
        pooled_coverage=_held([each.pooled for each in tests], true),
        pooled_bias=float(np.abs((naive.mean(axis=0) - true) / error).max()),
    )


def _held(found: Sequence[tuple[Estimate, ...]], true: Floats) -> float:
    inside = [
        [e.ci_low <= t <= e.ci_high for e, t in zip(row, true, strict=True)] for row in found
    ]
    return float(np.mean(inside, axis=0).min())


def _pooled(cells: Cells, names: tuple[str, ...], level: float) -> tuple[Estimate, ...]:
    found = ab.estimate(cells.collapse(["arm"]), arms=names, control=names[0])
    profit = found.linear(_contrasts(len(names)), names[1:])
    return tuple(profit.estimate(name, level=level) for name in names[1:])


def _contrasts(arms: int) -> Floats:
    out = np.zeros((arms - 1, arms, 1))
    out[:, 0] = -1.0
    out[np.arange(arms - 1), np.arange(1, arms)] = 1.0
    return out


def _cells(outcome: Floats, arm: NDArray[Any], names: tuple[str, ...], epoch: str) -> Cells:
    n = np.bincount(arm, minlength=len(names))
    mean = np.bincount(arm, weights=outcome, minlength=len(names)) / np.maximum(n, 1)
    second = np.bincount(arm, weights=(outcome - mean[arm]) ** 2, minlength=len(names))
    return Cells(
        keys=("arm", "epoch"),
        labels=tuple((name, epoch) for name in names),
        names=(PROFIT,),
        n=n,
        mean=mean[:, None],
        m2=second[:, None, None].astype(np.float64),
    )


def _joined(parts: Sequence[Cells]) -> Cells:
    return Cells(
        keys=parts[0].keys,
        labels=tuple(label for part in parts for label in part.labels),
        names=parts[0].names,
        n=np.concatenate([part.n for part in parts]),
        mean=np.concatenate([part.mean for part in parts]),
        m2=np.concatenate([part.m2 for part in parts]),
    )
