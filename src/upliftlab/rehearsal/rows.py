"""What do all re-assignments say about one metric in one arm?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.plan.metrics import PROFIT
from upliftlab.stats.multiplicity import adjust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.rehearsal.draws import Replies

    Floats = NDArray[np.float64]

POWER = 0.80
"""Share of tests that should see the effect that is planted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the re-assignments say about one metric in one arm.

    Attributes:
        metric: Its name.
        arm: The treatment.
        mean: Over all units; of a ratio, the ratio of sums.
        std_error: Median over re-assignments.
        false_alarms: Share that found an effect where there is none.
        coverage: Share whose range holds 0, the truth.
        p_uniform: Kolmogorov-Smirnov p-value against uniform p-values.
        p_adjusted: The same, Holm-adjusted over all rows.
        leans: "small" where p-values crowd near 0, "large" where near 1, by their mean.
        planted: Effect that the standard error promises to see in 80 % of tests.
        power: Share that saw it.
        detectable: Effect seen in 80 % of re-assignments.
        power_at_goal: Share that saw the effect that is worth it; NaN without one.
        lost: Share of re-assignments without an estimate.
        deciles: Share of p-values in each tenth, ten numbers.
    """

    metric: str
    arm: str
    mean: float
    std_error: float
    false_alarms: float
    coverage: float
    p_uniform: float
    p_adjusted: float
    leans: str
    planted: float
    power: float
    detectable: float
    power_at_goal: float
    lost: float
    deciles: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {key: plain(value) for key, value in asdict(self).items()}


def rows_of(
    replies: Replies, means: Sequence[float], *, level: float, goal: float
) -> tuple[Row, ...]:
    """Sum up the replies, one row per metric and arm; ``means`` has one number per metric."""
    from scipy import stats

    tail = (1 - level) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        t = replies.value / replies.std_error
        p = np.asarray(2 * stats.t.sf(np.abs(t), replies.df))
        reach = stats.t.isf(tail, replies.df) * replies.std_error
    p[~np.isfinite(replies.std_error) | (replies.std_error <= 0)] = np.nan
    treatments = len(replies.names) // len(means)
    uniform = []
    for m in range(p.shape[1]):
        seen = p[np.isfinite(p[:, m]), m]
        uniform.append(float(stats.kstest(seen, "uniform").pvalue) if len(seen) else np.nan)
    usable = [1.0 if np.isnan(x) else x for x in uniform]
    holm = adjust(usable, "holm")
    z = stats.norm.isf(tail) + stats.norm.isf(1 - POWER)
    rows = []
    for m, (metric, arm) in enumerate(replies.names):
        good = np.isfinite(p[:, m])
        value, limit, own = replies.value[good, m], reach[good, m], p[good, m]
        error = replies.std_error[good, m]
        planted = float(z * np.median(error)) if good.any() else float("nan")
        rows.append(
            Row(
                metric=metric,
                arm=arm,
                mean=means[m // treatments],
                std_error=float(np.median(error)) if good.any() else float("nan"),
                false_alarms=float(np.mean(own < 1 - level)) if good.any() else float("nan"),
                coverage=float(np.mean(np.abs(value) <= limit)) if good.any() else float("nan"),
                p_uniform=uniform[m],
                p_adjusted=float(holm[m]) if not np.isnan(uniform[m]) else float("nan"),
                leans="small" if good.any() and np.mean(own) < 0.5 else "large",
                planted=planted,
                power=_seen(value, limit, planted),
                detectable=float(np.quantile(limit - value, POWER))
                if good.any()
                else float("nan"),
                power_at_goal=_seen(value, limit, goal)
                if metric == PROFIT and goal > 0
                else float("nan"),
                lost=1 - float(np.mean(good)),
                deciles=tuple(
                    (np.histogram(own, bins=10, range=(0, 1))[0] / max(len(own), 1)).tolist()
                ),
            )
        )
    return tuple(rows)


def _seen(value: Floats, limit: Floats, effect: float) -> float:
    """Share of re-assignments that find an effect once it is added to treated units."""
    if not len(value) or not np.isfinite(effect):
        return float("nan")
    return float(np.mean(np.abs(value + effect) > limit))


def plain(value: object) -> object:
    """Write a number, or several, for JSON: what is not finite is None."""
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return list(value) if isinstance(value, tuple) else value
