"""Did chance assign the arms, and was everything that a rule may use known before?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from upliftlab.checks import ALPHA, FAIL, FEWEST_CLUSTERS, INFO, PASS, WARN, Check
from upliftlab.targeting.boosting import Shape, grow, threads_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from upliftlab.targeting.boosting import Bins
    from upliftlab.targeting.propensity import Propensity

    Floats = NDArray[np.float64]
    Matrix = NDArray[np.float32]
    Ints = NDArray[np.integer[Any]]

FEWEST_UNITS = 500
"""Units per arm below which a rule learns next to nothing of it."""

MOST_TESTED = 200_000
"""Units that the arms are compared on."""

MOST_UNLIKE = 0.1
"""Standard deviations beyond which a column differs between arms although it was weighed."""

FEWEST_EXPECTED = 10
"""Units expected with and without an arm below which no chance is tested."""

LEAST_EFFECTIVE = 0.3
"""Effective share of an arm's units below which few units carry the estimate."""


def check_few_units(arm: Ints, *, arms: Sequence[str], cluster: Ints | None = None) -> Check:
    """Say whether every arm has enough units, or clusters, to learn who gains from it.

    Examples:
        >>> check_few_units(np.array([0] * 900 + [1] * 40), arms=("none", "coupon")).message
        "Arm 'coupon' has 40 customers; a rule can hardly learn who gains from it."
    """
    counts = np.bincount(arm, minlength=len(arms))
    least, what = FEWEST_UNITS, "customers"
    if cluster is not None:
        first = np.unique(cluster, return_index=True)[1]
        counts = np.bincount(arm[first], minlength=len(arms))
        least, what = FEWEST_CLUSTERS, "clusters"
    at = int(counts.argmin())
    is_few = counts[at] < least
    text = f"Arm {arms[at]!r} has {counts[at]:,} {what}"
    tail = "a rule can hardly learn who gains from it" if is_few else "the fewest of all arms"
    return Check(
        name="few_units",
        verdict=WARN if is_few else PASS,
        message=f"{text}; {tail}.",
        value=float(counts[at]),
        threshold=float(least),
    )


def check_overlap(propensity: Propensity, arm: Ints, *, arms: Sequence[str]) -> Check:
    """Say whether units of each arm stand for all units, where their chances differ."""
    worst, at = np.inf, 0
    for a in range(len(arms)):
        weight = 1 / propensity.value[arm == a, a].astype(np.float64)
        share = weight.sum() ** 2 / max((weight**2).sum() * len(weight), 1e-300)
        if share < worst:
            worst, at = float(share), a
    is_thin = worst < LEAST_EFFECTIVE or propensity.raised > 0.01
    is_none = propensity.raised > 0.1
    count = f"customers of arm {arms[at]!r} count as {worst:.0%} of their number"
    if propensity.is_known:
        text = f"Chances of each arm differ between customers: weighed by them, {count}."
        if worst > 1 - 1e-6:
            text = "Every customer had the same chance of every arm."
    else:
        text = (
            f"Chances of each arm are estimated ({propensity.model}), not designed: {count}, "
            f"and for {propensity.raised:.1%} of customers some arm was next to impossible. "
            "Nothing corrects for what is not in the columns."
        )
    fine = PASS if propensity.is_known else INFO
    return Check(
        name="overlap",
        verdict=FAIL if is_none else WARN if is_thin else fine,
        message=text,
        value=worst,
        threshold=LEAST_EFFECTIVE,
    )


def check_weighed(
    x: Matrix, arm: Ints, propensity: Propensity, *, names: Sequence[str], arms: Sequence[str]
) -> Check:
    """Say how far columns still differ between arms once units are weighed by their chances.

    References:
        Austin (2009), *Statistics in Medicine* 28(25), for a tenth of a standard deviation.
    """
    worst, words = 0.0, f"{names[0]!r}" if names else ""
    for a in range(1, len(arms)):
        signs = _signs(arm, propensity.value, a)
        for j, name in enumerate(names):
            for values, what in _readings(x[:, j]):
                difference, _ = _difference(values, signs, None)
                gap = abs(difference) / float(values.std())
                if gap > worst:
                    worst = gap
                    words = f"{name!r}{what} between {arms[a]!r} and {arms[0]!r}"
    far = worst > MOST_UNLIKE
    tail = "; arms are not comparable on it" if far else ""
    return Check(
        name="weighed_balance",
        verdict=WARN if far else PASS,
        message=(
            f"Weighed by the estimated chances, the column that differs most is {words}, by "
            f"{worst:.2f} standard deviations{tail}."
        ),
        value=worst,
        threshold=MOST_UNLIKE,
    )


def check_propensity(
    chances: Matrix,
    arm: Ints,
    *,
    arms: Sequence[str],
    cluster: Ints | None = None,
    is_own_only: bool = False,
) -> Check:
    """Say whether recorded chances of arms fit who got which arm.

    In fifths by the chance of an arm, units that got it are compared with the sum of chances;
    where only the chance of a unit's own arm is known, counts of each arm over chances must add
    up to all units. Two-sided at 0.001 for all comparisons together (Bonferroni).

    Args:
        chances: Probability of each arm, [n, A].
        arm: Arm of each unit, [n].
        arms: Names, control first.
        cluster: What was assigned as a whole, [n].
        is_own_only: Whether only the chance of the arm that a unit got is known.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> chance = rng.uniform(0.2, 0.8, 5_000)
        >>> arm = (rng.random(5_000) < chance).astype(int)
        >>> both = np.column_stack([1 - chance, chance]).astype(np.float32)
        >>> check_propensity(both, arm, arms=("none", "coupon")).verdict
        'pass'
        >>> check_propensity(both[::-1], arm, arms=("none", "coupon")).verdict
        'fail'
    """
    found = []
    for a, name in enumerate(arms):
        own = chances[:, a].astype(np.float64)
        got = arm == a
        if is_own_only:
            rest = np.where(got, 1 / np.where(got, own, 1.0), 0.0) - 1
            found.append((*_from_zero(rest, cluster), name, 1.0, 1 + float(rest.mean())))
            continue
        edges = np.unique(np.quantile(own, (0.2, 0.4, 0.6, 0.8)))
        fifth = np.searchsorted(edges, own, side="left")
        for each in np.unique(fifth):
            here = fifth == each
            if min(own[here].sum(), (1 - own[here]).sum()) < FEWEST_EXPECTED:
                continue
            rest = np.where(here, got - own, 0.0)
            found.append((*_from_zero(rest, cluster), name, own[here].mean(), got[here].mean()))
    tests = [(1.0, arms[0], 1.0, 1.0), *(each[1:] for each in found)]
    p, name, chance, share = min(tests, key=lambda each: each[0])
    p = min(1.0, p * max(len(found), 1))
    failed = p < ALPHA
    text = (
        f"where arm {name!r} had a chance of {chance:.1%}, {share:.1%} got it"
        if not is_own_only
        else f"by their chances, customers of arm {name!r} stand for {share:.1%} of all"
    )
    own_low = float(chances[np.arange(len(arm)), arm].min())
    return Check(
        name="propensity",
        verdict=FAIL if failed else PASS,
        message=(
            f"Recorded chances of arms do not fit who got them: {text} (p {p:.1g}). The column "
            "propensity must hold the chance of the arm that the customer got; chances of "
            "single arms go into columns propensity_<arm>."
            if failed
            else f"Recorded chances of arms fit who got them (least chance of an own arm "
            f"{own_low:.1%}, p {p:.2g})."
        ),
        value=p,
        threshold=ALPHA,
    )


def _from_zero(rest: Floats, cluster: Ints | None) -> tuple[float, float]:
    """Return the mean of what should be 0 on average, and its two-sided p."""
    mean = float(rest.mean())
    parts = rest if cluster is None else np.bincount(_numbered(cluster), weights=rest)
    spread = float((parts**2).sum()) ** 0.5
    if not spread > 0:
        return mean, 1.0
    return mean, float(2 * special.ndtr(-abs(float(parts.sum())) / spread))


def _numbered(cluster: Ints) -> Ints:
    return np.unique(cluster, return_inverse=True)[1]


def check_leaks(
    x: Matrix,
    arm: Ints,
    propensity: Propensity,
    *,
    names: Sequence[str],
    arms: Sequence[str],
    cluster: Ints | None = None,
    seed: int = 1,
) -> Check:
    """Name columns that differ between arms far beyond chance: known afterwards, not before.

    Each column's mean and share of gaps is compared between each arm and control, weighted by
    the design's probabilities; the test is at 0.001 for all comparisons together (Bonferroni).

    References:
        Horvitz and Thompson (1952), *JASA* 47(260): weighting by known probabilities.

    Examples:
        >>> from upliftlab.targeting.propensity import known_propensity
        >>> rng = np.random.default_rng(0)
        >>> arm = rng.integers(0, 2, 2_000)
        >>> x = np.column_stack([rng.normal(size=2_000), arm + rng.normal(size=2_000)])
        >>> even = known_propensity([0.5, 0.5], 2_000, arms=("none", "coupon"))
        >>> found = check_leaks(x.astype(np.float32), arm, even, names=("age", "visits"),
        ...                     arms=("none", "coupon"))
        >>> found.verdict, found.message[:45]
        ('fail', "Column 'visits' differs between 'coupon' and ")
    """
    rows = np.arange(len(x))
    if len(rows) > MOST_TESTED:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_TESTED, replace=False))
    member = _members(cluster, rows)
    tests = 2 * x.shape[1] * (len(arms) - 1)
    smallest, words = 1.0, ""
    for a in range(1, len(arms)):
        signs = _signs(arm[rows], propensity.value[rows], a)
        for j, name in enumerate(names):
            for values, what in _readings(x[rows, j]):
                difference, p = _difference(values, signs, member)
                if p * tests < smallest:
                    smallest = p * tests
                    words = (
                        f"{name!r} differs between {arms[a]!r} and {arms[0]!r}{what} by "
                        f"{abs(difference) / values.std():.2f} standard deviations"
                    )
    leaks = smallest < ALPHA
    return Check(
        name="leakage",
        verdict=FAIL if leaks else PASS,
        message=(
            f"Column {words}, far beyond chance (p {smallest:.1g}): it was "
            "measured after assignment, or chance did not deal the arms. Take it out of "
            "target.features if it is late."
            if leaks
            else "No column that a rule may use differs between arms beyond chance."
        ),
        value=smallest,
        threshold=ALPHA,
    )


def check_predictable(
    bins: Bins,
    arm: Ints,
    propensity: Propensity,
    *,
    fold: Ints,
    arms: Sequence[str],
    cluster: Ints | None = None,
    seed: int = 1,
) -> Check:
    """Say whether arms can be told apart from what was known before assignment.

    Boosted trees learn the arm on half of the folds. If their score differs between the arms
    of the other half beyond what the design's probabilities allow, chance did not assign the
    units that are left. Halves do not change places: what each finds in the other is nearly
    the same number, and counting it twice raises false alarms. One-sided at 0.001 over all
    arms; the AUC is weighted by the design, so 0.5 is chance.
    """
    rng = np.random.default_rng(seed)
    labels = np.unique(fold[fold >= 0])
    teaches = np.isin(fold, labels[: len(labels) // 2])
    smallest, reach = 1.0, 0.5
    for a in range(1, len(arms)):
        rows = np.flatnonzero(((arm == 0) | (arm == a)) & (fold >= 0))
        if len(rows) > MOST_TESTED:
            rows = np.sort(rng.choice(rows, MOST_TESTED, replace=False))
        signs = _signs(arm, propensity.value, a)
        here, there = rows[teaches[rows]], rows[~teaches[rows]]
        score = _told_apart(bins, signs, here, there, seed)
        difference, p = _difference(score, signs[there], _members(cluster, there))
        one_sided = p / 2 if difference > 0 else 1 - p / 2
        adjusted = min(1.0, one_sided * (len(arms) - 1))
        if adjusted <= smallest:
            smallest, reach = adjusted, _auc(score, signs[there])
    failed = smallest < ALPHA
    tail = (
        "chance alone did not assign the customers that are left, or a column was measured "
        "afterwards"
        if failed
        else "as chance would have it"
    )
    return Check(
        name="predictable_arms",
        verdict=FAIL if failed else PASS,
        message=(
            f"The arm can{'' if failed else 'not'} be told from what was known before "
            f"assignment (AUC {reach:.3f}, p {smallest:.1g}): {tail}."
        ),
        value=smallest,
        threshold=ALPHA,
    )


def _members(cluster: Ints | None, rows: Ints) -> Ints | None:
    """Number the clusters of these rows from 0 on."""
    return None if cluster is None else _numbered(cluster[rows])


def _readings(column: Matrix) -> Iterator[tuple[Floats, str]]:
    """Return a column, gaps at its mean, and where its gaps are: each where it varies."""
    gap = np.isnan(column)
    seen = column[~gap].astype(np.float64)
    filled = np.full(len(column), seen.mean() if len(seen) else 0.0)
    filled[~gap] = seen
    for values, what in ((filled, ""), (gap.astype(np.float64), " in what is missing")):
        if np.ptp(values) > 0:
            yield values, what


def _told_apart(bins: Bins, signs: Floats, here: Ints, there: Ints, seed: int) -> Floats:
    """Return scores of some rows from trees that learned the arm on others."""
    shape = Shape(trees=40, leaves=7, rate=0.1, least=max(50, len(here) // 50))
    if len(here) < 2 * shape.least:
        return np.zeros(len(there))
    treated = (signs > 0).astype(np.float32)
    weight = np.abs(signs).astype(np.float32)
    model = grow(bins, treated, shape=shape, rows=here, weight=weight, seed=seed)
    return np.asarray(model.predict(bins.x[there], num_threads=threads_for(len(there))))


def _signs(arm: Ints, propensity: Matrix, a: int) -> Floats:
    """Weigh units so that any column known before has the same expected sum in both arms."""
    out = np.zeros(len(arm))
    for which, sign in ((a, 1.0), (0, -1.0)):
        here = arm == which
        out[here] = sign / propensity[here, which]
    return out


def _difference(
    values: NDArray[Any], signs: Floats, member: Ints | None
) -> tuple[float, float]:
    """Return the weighted difference of means between two arms, and its two-sided p."""
    spread = float(np.ptp(values)) if len(values) else 0.0
    if not spread > 1e-9 * float(np.abs(values).max(initial=0.0)):
        # Equal but for rounding: what is left of it has no error to be judged by.
        return 0.0, 1.0
    parts: Floats = np.zeros(len(values))
    for is_arm in (signs > 0, signs < 0):
        if not is_arm.any():
            return float("nan"), 1.0
        parts[is_arm] = signs[is_arm] / np.abs(signs[is_arm]).sum()
    difference = float(parts @ values)
    for is_arm in (signs > 0, signs < 0):
        share = np.abs(parts[is_arm])
        parts[is_arm] *= values[is_arm] - share @ values[is_arm]
    if member is not None:
        parts = np.bincount(member, weights=parts).astype(np.float64)
    df = len(parts) - 2
    variance = float((parts**2).sum())
    if df < 1 or not variance > 0:
        return difference, 1.0
    statistic = abs(difference) / variance**0.5
    return difference, float(2 * special.stdtr(df, -statistic))


def _auc(score: Floats, signs: Floats) -> float:
    """Probability that a treated unit's score is above a control unit's; ties count half."""
    _, level = np.unique(score, return_inverse=True)
    treated = np.bincount(level, weights=np.maximum(signs, 0))
    control = np.bincount(level, weights=np.maximum(-signs, 0))
    below = np.cumsum(control) - control / 2
    return float(treated @ below / (treated.sum() * control.sum()))
