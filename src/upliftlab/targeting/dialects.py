"""What would other libraries call the quality of the same order?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError
from upliftlab.stats.estimate import Estimate, interval, undefined
from upliftlab.targeting import rank_metrics
from upliftlab.targeting.answer import Score
from upliftlab.targeting.ranking import column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

ONLY_BINARY = "scikit-uplift takes outcomes of 0 and 1 only"
NO_SCORES = "needs doubly robust scores"
NO_END = "divided by the effect of treating all, which is 0"
NO_PERFECT = "the perfect curve that it is divided by has no area"
HARMS = "without negative effects no order is this bad: the mean effect is negative"
ONE_ARM = "the first units hold one arm only"
ECONML_GRID = np.linspace(5, 95, 50)
"""Percentiles of the prediction at which EconML's tester reads its curves."""

_Sums = tuple["Floats", "Floats", "Floats", "Floats"]
_Curve = tuple["Floats", "Floats"]
_Row = tuple[str, str, str, float | str]
"""Name, library, definition, and the number or why there is none."""

_SKLIFT, _CAUSALML, _ECONML, _GRF = "scikit-uplift", "causalml", "EconML", "grf"
_RADCLIFFE = "Radcliffe (2007)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ordered:
    """Outcomes and arms in one order, best first; float64 [n]."""

    outcome: Floats
    treated: Floats
    priority: Floats

    @classmethod
    def of(cls, data: _Ordered, *, priority: Floats) -> _Ordered:
        """Sort; of equals the last row comes first, as scikit-uplift's reversed sort does."""
        order = np.argsort(priority, kind="stable")[::-1]
        return cls(
            outcome=data.outcome[order], treated=data.treated[order], priority=priority[order]
        )

    def ends(self) -> NDArray[np.int64]:
        """Position of the last unit of each block of equals, shape [B]."""
        return np.append(np.flatnonzero(np.diff(self.priority)), len(self.priority) - 1)

    def spread_sums(self) -> _Sums:
        """The same sums with equals mixed evenly."""
        ends, at = self.ends(), np.arange(1, len(self.priority) + 1)
        n_t, n_c, y_t, y_c = (
            np.interp(at, np.append(0, ends + 1), np.append(0.0, each[ends]))
            for each in self.sums()
        )
        return n_t, n_c, y_t, y_c

    def sums(self) -> _Sums:
        """Treated, control, and their summed outcomes among the first i, shape [n] each."""
        n_t = np.cumsum(self.treated)
        n_c = np.arange(1, len(n_t) + 1) - n_t
        y_t = np.cumsum(self.outcome * self.treated)
        return n_t, n_c, y_t, np.cumsum(self.outcome * (1 - self.treated))


def cross_walk(
    outcome: ArrayLike,
    treated: ArrayLike,
    priority: ArrayLike,
    *,
    psi: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    thresholds_of: ArrayLike | None = None,
    shares: Sequence[float] = (0.1, 0.3),
    level: float = 0.95,
) -> tuple[Score, ...]:
    """Return the quality of one order under each library's own definition.

    They are not comparable with each other: divided by different things, with ties broken in
    different ways. The raw-outcome definitions assume one treatment probability for all.

    Args:
        outcome: Of each unit, shape [n].
        treated: 1 for treatment, 0 for control, shape [n].
        priority: Predictions made without these units, shape [n].
        psi: Doubly robust score of each unit's effect; without it the definitions that need
            one are NaN.
        cluster: Units that were assigned together, for the standard errors, shape [n].
        thresholds_of: Predictions of the training rows, from which EconML takes its quantiles;
            by default those of ``priority``.
        shares: Shares of units for uplift at k.
        level: Confidence level of the intervals that exist.

    Returns:
        Scores with library, definition and number; standard errors where the library, or the
        influence function, gives one.

    References:
        scikit-uplift 0.5.1 ``sklift.metrics``; causalml 0.18.0 ``causalml.metrics``; EconML
        0.17.0 ``econml.validate.DRTester``; grf 2.4 ``rank_average_treatment_effect``.

    Examples:
        >>> rows = cross_walk([1, 0, 1, 0, 1, 0], [1, 0, 1, 1, 0, 0], [6, 5, 4, 3, 2, 1])
        >>> [f"{row.name} {row.value.estimate:.3f}" for row in rows][:2]
        ['qini_auc_score 0.615', 'qini_auc_score_no_negative 1.600']
    """
    data = _read(outcome, treated, priority)
    raw = [*_scikit_uplift(data, shares), *_causalml(data), *_radcliffe(data)]
    rows = [_score(name, library, words, value) for name, library, words, value in raw]
    if psi is None:
        robust = {name: undefined(name, NO_SCORES, level=level) for name in _ROBUST}
    else:
        score = column(psi, "psi", len(data.outcome))
        cuts = (
            data.priority if thresholds_of is None else column(thresholds_of, "thresholds_of")
        )
        robust = {
            "rate_autoc": rank_metrics.autoc(
                score, data.priority, cluster=cluster, level=level
            ),
            "rate_qini": rank_metrics.qini(score, data.priority, cluster=cluster, level=level),
            "drtester_qini": econml_uplift(score, data.priority, cuts, level=level),
            "drtester_toc": econml_uplift(
                score, data.priority, cuts, metric="toc", level=level
            ),
        }
    for name, (library, words) in _ROBUST.items():
        rows.append(Score(name=name, library=library, definition=words, value=robust[name]))
    return tuple(rows)


_ROBUST = {
    "rate_autoc": (_GRF, "Mean over q of the first q's mean score less the mean of all."),
    "rate_qini": (_GRF, "The same, each q weighted by q: gain over random per unit of all."),
    "drtester_qini": (
        _ECONML,
        "Covariance of score and being in the top q, summed over q from 5% to 95% only.",
    ),
    "drtester_toc": (
        _ECONML,
        "Mean score of the top q less the mean of all, summed over q from 5% to 95% only.",
    ),
}


def econml_uplift(
    psi: ArrayLike,
    priority: ArrayLike,
    thresholds_of: ArrayLike,
    *,
    metric: str = "qini",
    percentiles: ArrayLike = ECONML_GRID,
    level: float = 0.95,
) -> Estimate:
    """Return EconML's Qini or TOC coefficient with its standard error.

    Args:
        psi: Score of each unit's effect, shape [n].
        priority: Predictions of the same units, shape [n].
        thresholds_of: Predictions whose percentiles are the thresholds, of any length.
        metric: "qini" or "toc".
        percentiles: Rising, in percent; the last one only closes the sum.
        level: Confidence level.

    Examples:
        >>> found = econml_uplift([4.0, 1.0, 3.0, 0.0], [4, 2, 3, 1], [4, 2, 3, 1])
        >>> f"{found.estimate:.4f} +- {found.std_error:.4f}"
        '0.5327 +- 0.1837'
    """
    score = column(psi, "psi")
    n, mean = len(score), float(score.mean())
    prediction = column(priority, "priority", n)
    grid = np.asarray(percentiles, dtype=float)
    step = np.diff(grid) / 100
    cuts = np.percentile(column(thresholds_of, "thresholds_of"), grid)[:-1]
    rising = np.sort(prediction)
    inside = n - np.searchsorted(rising, cuts, side="left")
    if not inside.all():
        return undefined(metric, "a threshold lies above every prediction", level=level)
    tail = np.cumsum((score - mean)[np.argsort(prediction)][::-1])
    share = inside / n
    above = tail[inside - 1] / inside
    curve = share * above if metric == "qini" else above
    # Each unit's influence is a step function of its prediction: (score - mean) x how many
    # thresholds it passes, weighted, less a constant.
    worth = step if metric == "qini" else step / share
    passed = np.append(0.0, np.cumsum(worth))[np.searchsorted(cuts, prediction, side="right")]
    flat = float(step @ share) if metric == "qini" else float(step.sum())
    value = float(curve @ step)
    moved = (score - mean) * (passed - flat) - value
    return interval(metric, value, float(np.mean(moved**2)) / n, level=level)


def _read(outcome: ArrayLike, treated: ArrayLike, priority: ArrayLike) -> _Ordered:
    y = column(outcome, "outcome")
    arm = column(treated, "treated", len(y))
    if not np.isin(arm, (0.0, 1.0)).all() or arm.min() == arm.max():
        raise DataError("treated must hold 0 for control and 1 for treatment, and both.")
    return _Ordered(outcome=y, treated=arm, priority=column(priority, "priority", len(y)))


def _score(name: str, library: str, words: str, value: float | str) -> Score:
    found = (
        undefined(name, value)
        if isinstance(value, str)
        else Estimate(name=name, estimate=value, shape="none", note="no interval")
    )
    return Score(name=name, library=library, definition=words, value=found)


def _scikit_uplift(data: _Ordered, shares: Sequence[float]) -> list[_Row]:
    """Areas between curve and diagonal over those of a curve that knows the outcomes."""
    best = "divided by the same area of an order that knows every outcome"
    words = {
        "qini_auc_score": f"Area of Y_t - Y_c n_t / n_c above its diagonal, {best}.",
        "qini_auc_score_no_negative": "The same, but the best order has no negative effects.",
        "uplift_auc_score": f"Area of (mean_t - mean_c) n above its diagonal, {best}.",
        **{f"uplift_at_k_overall_{k:g}": _at_k(k, "of all units") for k in shares},
        **{f"uplift_at_k_by_group_{k:g}": _at_k(k, "of each arm") for k in shares},
        "weighted_average_uplift": "Differences in means of tenths, weighted by treated.",
    }
    if not np.isin(data.outcome, (0.0, 1.0)).all():
        return [(name, _SKLIFT, each, ONLY_BINARY) for name, each in words.items()]
    ranked = _Ordered.of(data, priority=data.priority)
    numbers: list[float | str] = [
        *_normalised(data, ranked),
        *(_first(ranked, k) for k in shares),
        *(_first_of_each(ranked, k) for k in shares),
        _by_tenths(ranked),
    ]
    pairs = zip(words.items(), numbers, strict=True)
    return [(name, _SKLIFT, each, number) for (name, each), number in pairs]


def _at_k(k: float, of: str) -> str:
    return f"Treated less control mean among the first {100 * k:g}% {of}, ties in row order."


def _normalised(data: _Ordered, ranked: _Ordered) -> list[float | str]:
    y, t = data.outcome, data.treated
    of_control, of_treated = y[t == 0], y[t == 1]
    knows = _Ordered.of(data, priority=y * (2 * t - 1))
    no_harm = float(of_treated.sum() - len(of_treated) * of_control.mean())
    many_responders = of_control.sum() > (1 - of_treated).sum()
    perfect = 2.0 * (y == t) + (y if many_responders else t)
    uplift_knows = _Ordered.of(data, priority=perfect)
    n = len(y)
    found = _curve(ranked, "qini")
    rising = np.array([0, no_harm, n]), np.array([0.0, no_harm, no_harm])
    return [
        _share_of_best(found, _curve(knows, "qini")),
        _share_of_best(found, rising) if no_harm >= 0 else HARMS,
        _share_of_best(_curve(ranked, "gain"), _curve(uplift_knows, "gain")),
    ]


def _share_of_best(found: _Curve, best: _Curve) -> float | str:
    diagonal = best[0][-1] * best[1][-1] / 2
    most = _area(*best) - diagonal
    return float((_area(*found) - diagonal) / most) if most else NO_PERFECT


def _curve(ranked: _Ordered, kind: str) -> _Curve:
    """Units and curve at the end of each block of equals, from (0, 0)."""
    ends = ranked.ends()
    n_t, n_c, y_t, y_c = (each[ends] for each in ranked.sums())
    if kind == "qini":
        height = y_t - y_c * _over(n_t, n_c)
    else:
        height = (_over(y_t, n_t) - _over(y_c, n_c)) * (n_t + n_c)
    return np.append(0.0, ends + 1.0), np.append(0.0, height)


def _over(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def _area(x: Floats, y: Floats) -> float:
    return float(np.trapezoid(y, x))


def _first(ranked: _Ordered, k: float) -> float | str:
    size = int(len(ranked.outcome) * k)
    y, t = ranked.outcome[:size], ranked.treated[:size]
    if t.sum() in {0, size}:
        return ONE_ARM
    return float(y[t == 1].mean() - y[t == 0].mean())


def _first_of_each(ranked: _Ordered, k: float) -> float | str:
    arms = [ranked.outcome[ranked.treated == arm] for arm in (1, 0)]
    first = [arm[: int(len(arm) * k)] for arm in arms]
    if not all(len(arm) for arm in first):
        return ONE_ARM
    return float(first[0].mean() - first[1].mean())


def _by_tenths(ranked: _Ordered) -> float | str:
    ends = np.cumsum([len(part) for part in np.array_split(np.arange(len(ranked.outcome)), 10)])
    if 0 in ends:
        return ONE_ARM
    n_t, n_c, y_t, y_c = (np.diff(each[ends - 1], prepend=0.0) for each in ranked.sums())
    if not (n_t.all() and n_c.all()):
        return ONE_ARM
    return float(n_t @ (y_t / n_t - y_c / n_c) / n_t.sum())


def _causalml(data: _Ordered) -> list[_Row]:
    """Curves read at every unit.

    causalml leaves the order of equals to an unstable sort, which differs between processors;
    spread evenly they give the middle of all those orders.
    """
    ranked = _Ordered.of(data, priority=data.priority)
    sums = n_t, n_c, y_t, y_c = ranked.spread_sums()
    n = len(n_t)
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = _from_zero(y_t / n_t - y_c / n_c)
        height = _from_zero(y_t - y_c * n_t / n_c)
    gain = lift * np.arange(n + 1)
    area = float(gain.mean())
    above = float((height - np.linspace(0, height[-1], n + 1)).mean())
    ends = float(gain[-1]), float(height[-1])
    rates = _causalml_rates(sums)
    plain = "not divided by anything"
    return [
        ("auuc_score", _CAUSALML,
         "Mean of the gain curve over |its end|, equals mixed; 0.5 at random.",
         area / abs(ends[0]) if ends[0] else NO_END),
        ("auuc_score_raw", _CAUSALML, f"Mean of the gain curve in outcomes, {plain}.", area),
        ("qini_score", _CAUSALML, "Mean of the Qini curve less its diagonal, over |its end|.",
         above / abs(ends[1]) if ends[1] else NO_END),
        ("qini_score_raw", _CAUSALML, f"The same in outcomes, {plain}.", above),
        ("rate_score_autoc", _CAUSALML,
         "Mean of the TOC weighted by 1/q, which rests on the first few units; not grf's.",
         rates[0]),
        ("rate_score_qini", _CAUSALML, "Mean of the TOC weighted by q; about twice grf's QINI.",
         rates[1]),
    ]  # fmt: skip


def _from_zero(curve: Floats) -> Floats:
    """Begin at 0 and draw a straight line over units where an arm is still empty."""
    out = np.append(0.0, curve)
    known = np.isfinite(out)
    at = np.arange(len(out))
    line: Floats = np.interp(at, at[known], out[known])
    return line


def _causalml_rates(sums: _Sums) -> tuple[float, float]:
    n_t, n_c, y_t, y_c = sums
    n = len(n_t)
    overall = y_t[-1] / n_t[-1] - y_c[-1] / n_c[-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where((n_t == 0) | (n_c == 0), overall, y_t / n_t - y_c / n_c)
    toc = np.append(0.0, means - overall)
    between = (toc[1:] + toc[:-1]) / 2
    q = (np.arange(n) + 0.5) / n
    by_inverse, by_share = np.average(between, weights=1 / q), np.average(between, weights=q)
    return float(by_inverse), float(by_share)


def _radcliffe(data: _Ordered) -> list[_Row]:
    """Areas per person with ties as one point."""
    ranked = _Ordered.of(data, priority=data.priority)
    n = len(data.outcome)
    rows: list[_Row] = []
    for kind, words in (
        ("qini", "(Y_t - Y_c n_t / n_c) / n"),
        ("gain", "(mean_t - mean_c) (n_t + n_c) / n"),
    ):
        x, y = _curve(ranked, kind)
        end = float(y[-1]) / n
        above = _area(x / n, y / n) - end / 2
        rows += [
            (
                f"{kind}_area_per_person",
                _RADCLIFFE,
                f"Area of {words} above its diagonal.",
                above,
            ),
            (f"{kind}_end_per_person", _RADCLIFFE, f"End of the curve {words}.", end),
        ]
    return rows
