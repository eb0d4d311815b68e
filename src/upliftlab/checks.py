"""Can we trust it? One plain sentence, one value and one threshold each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.stats.sample_ratio import chi_square, per_stratum

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import tzinfo

    from upliftlab.data.cells import Cells
    from upliftlab.data.measure import Tail
    from upliftlab.data.prepared import Facts
    from upliftlab.experiment import Deviation

PASS, WARN, FAIL, INFO = "pass", "warn", "fail", "info"

SAMPLE_RATIO = "sample_ratio"
MATURITY = "maturity"
ATTRITION = "missing_outcomes"
COVERAGE = "join_coverage"
LEDGER = "ledger_identity"
MONEY_UNIT = "money_unit"
BLOCKING = (
    SAMPLE_RATIO, ATTRITION, COVERAGE, MATURITY, LEDGER, "reconciliation", "cross_arm",
    MONEY_UNIT, "pre_trend", "region_noise",
)  # fmt: skip
"""Checks whose failure leaves no verdict."""

ALPHA = 0.001
SEPARATOR = " · "
DAY = 86_400

TOO_STRICT = (
    "Customers of one cluster resemble each other, so this test of customers is too strict."
)

FEWEST_CLUSTERS = 10
"""Clusters per arm below which an interval from their variance is less reliable."""

MOST_UNEQUAL = 0.5
"""Coefficient of variation of cluster sizes above which it is, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One reason to believe the numbers, or not to.

    Attributes:
        name: Key.
        verdict: "pass", "warn", "fail" or "info".
        message: One sentence with its number, in a reader's words.
        value: What was measured; NaN where nothing could be.
        threshold: What it was compared with; NaN for information.
        is_blocking: Whether failing leaves no verdict.
    """

    name: str
    verdict: str
    message: str
    value: float = float("nan")
    threshold: float = float("nan")

    @property
    def is_blocking(self) -> bool:
        """Whether this result leaves no verdict."""
        return self.verdict == FAIL and self.name in BLOCKING

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "message": self.message,
            "value": _plain(self.value),
            "threshold": _plain(self.threshold),
            "is_blocking": self.is_blocking,
        }


def check_sample_ratio(
    assigned: Mapping[str, Mapping[str, int]],
    shares: Mapping[str, float],
    *,
    of: str = "customers",
    epochs: Mapping[str, Mapping[str, float]] | None = None,
) -> Check:
    """Compare how many units each arm has with the planned shares, overall and per stratum.

    What is counted must be what was assigned: clusters, where units came in clusters.

    Strata are tested with Holm's correction. Shares that changed between epochs are not tested
    pooled: each epoch has its own, and the last part of a stratum's label names the epoch.

    References:
        Fabijan et al. (2019), *KDD '19*: a threshold of 0.001.

    Examples:
        >>> counts = {"a": {"": 821_588}, "b": {"": 815_482}}
        >>> check_sample_ratio(counts, {"a": 0.5, "b": 0.5}).verdict
        'fail'
    """
    arms = list(shares)
    counts = [sum(assigned.get(arm, {}).values()) for arm in arms]
    strata = sorted({s for by in assigned.values() for s in by})
    if epochs:
        return _epoch_ratio(assigned, arms, strata, epochs, of)
    _, p, expected = chi_square(counts, [shares[arm] for arm in arms])
    if len(strata) > 1:
        table = {s: [assigned.get(arm, {}).get(s, 0) for arm in arms] for s in strata}
        rows = per_stratum(table, [shares[arm] for arm in arms])
        p = min([p, *(row.p_adjusted for row in rows)])
    return _ratio_check(p, counts, [float(n) for n in expected], of)


def _epoch_ratio(
    assigned: Mapping[str, Mapping[str, int]],
    arms: list[str],
    strata: list[str],
    epochs: Mapping[str, Mapping[str, float]],
    of: str,
) -> Check:
    """Test each epoch by the shares it had; an epoch nobody planned fails."""
    known = [s for s in strata if s.rpartition(SEPARATOR)[2] in epochs]
    if len(known) < len(strata):
        strange = sorted(set(strata) - set(known))
        return Check(
            name=SAMPLE_RATIO,
            verdict=FAIL,
            message=(
                f"Sample ratio: some {of} were assigned in epoch "
                f"{strange[0].rpartition(SEPARATOR)[2]!r}, which the plan does not have: no "
                "verdict."
            ),
            threshold=ALPHA,
        )
    p, expected = 1.0, dict.fromkeys(arms, 0.0)
    rows = []
    for stratum in known:
        share = {a: s for a, s in epochs[stratum.rpartition(SEPARATOR)[2]].items() if s > 0}
        counts = [assigned.get(arm, {}).get(stratum, 0) for arm in share]
        own = per_stratum({stratum: counts}, list(share.values()))[0]
        rows.append(own.p_value)
        for arm, n in zip(share, own.expected, strict=True):
            expected[arm] += float(n)
    p = min([p, *(len(rows) * each for each in rows)])
    total = [sum(assigned.get(arm, {}).values()) for arm in arms]
    return _ratio_check(p, total, list(expected.values()), of)


def _ratio_check(p: float, counts: list[int], expected: list[float], of: str) -> Check:
    seen = " / ".join(f"{n:,}" for n in counts)
    planned = " / ".join(f"{round(n):,}" for n in expected)
    failed = p < ALPHA
    text = f"arms have {seen} {of}, planned {planned}"
    lost = "units" if of == "customers" else of
    tail = f"{lost} were lost or added: no verdict" if failed else "as planned"
    return Check(
        name=SAMPLE_RATIO,
        verdict=FAIL if failed else PASS,
        message=f"Sample ratio: {text} (p {_p(p)}): {tail}.",
        value=p,
        threshold=ALPHA,
    )


def check_promise(locked_at: str, changes: Sequence[Deviation]) -> Check:
    """Say whether the plan is as it was when it was locked, and what is not."""
    shown = "; ".join(
        f"{change.key} from {change.planned or 'nothing'} to {change.found or 'nothing'}"
        for change in changes[:5]
    )
    more = f"; and {len(changes) - 5} more" if len(changes) > 5 else ""
    promises = "1 promise was" if len(changes) == 1 else f"{len(changes)} promises were"
    text = f"{promises} changed since: {shown}{more}" if changes else "nothing changed since"
    return Check(
        name="promise",
        verdict=WARN if changes else PASS,
        message=f"Plan: locked on {locked_at}, and {text}.",
        value=float(len(changes)),
        threshold=0.0,
    )


def check_cross_arm(facts: Facts, total: int) -> Check:
    """Count units that were assigned to two arms, and rows assigned twice."""
    crossing = sum(a.rows for a in facts.set_aside if "two arms" in a.rule)
    repeated = sum(a.rows for a in facts.set_aside if "again" in a.rule)
    share = crossing / total if total else 0.0
    verdict = FAIL if share > 0.01 else WARN if crossing or repeated else PASS
    text = "each customer was assigned once, to one arm"
    if crossing or repeated:
        text = (
            f"{crossing:,} customers were in two arms and are set aside ({share:.2%}); "
            f"{repeated:,} repeated assignments count once"
        )
    return Check(
        name="cross_arm",
        verdict=verdict,
        message=f"Assignment: {text}.",
        value=share,
        threshold=0.01,
    )


def check_missing(facts: Facts) -> Check | None:
    """Compare the share of units without an outcome between arms."""
    if not facts.missing:
        return None
    used = {arm: sum(by.values()) for arm, by in facts.assigned.items()}
    lost = {arm: facts.missing.get(arm, 0) for arm in used}
    if not any(lost.values()):
        return Check(
            name=ATTRITION, verdict=PASS, message="Every assigned customer has an outcome.",
            value=0.0, threshold=ALPHA,
        )  # fmt: skip
    p = _homogeneity(lost, used)
    shares = ", ".join(f"{arm} {lost[arm] / max(used[arm], 1):.2%}" for arm in used)
    failed = p < ALPHA
    return Check(
        name=ATTRITION,
        verdict=FAIL if failed and not facts.clusters else WARN,
        message=(
            f"Outcomes are missing for {shares} of customers (p {_p(p)}): "
            + ("arms differ, so the rest are not comparable." if failed else "arms agree.")
            + (f" {TOO_STRICT}" if failed and facts.clusters else "")
        ),
        value=p,
        threshold=ALPHA,
    )


def check_coverage(facts: Facts) -> Check | None:
    """Compare between arms the share of assigned units that the customer table knows."""
    if not facts.coverage:
        return None
    found = {arm: pair[0] for arm, pair in facts.coverage.items()}
    total = {arm: pair[1] for arm, pair in facts.coverage.items()}
    share = sum(found.values()) / max(sum(total.values()), 1)
    lost = {arm: total[arm] - found[arm] for arm in total}
    p = _homogeneity(lost, total) if any(lost.values()) else 1.0
    failed = p < ALPHA
    verdict = FAIL if failed else WARN if share < 0.99 else PASS
    tail = "the same in all arms."
    if failed and facts.clusters:
        verdict, tail = WARN, f"arms differ. {TOO_STRICT}"
    elif failed:
        tail = "arms differ: customers were lost after assignment."
    return Check(
        name=COVERAGE,
        verdict=verdict,
        message=f"The customer table knows {share:.1%} of assigned customers, {tail}",
        value=p,
        threshold=ALPHA,
    )


def check_maturity(facts: Facts, days: int | None, returns_final: int | None) -> Check | None:
    """Ask whether every window is closed and every return is booked.

    An outcome read before its returns arrive is another estimand: coupons induce more returns,
    so early readings flatter the deepest coupon.
    """
    if days is None:
        return None
    if not facts.closed:
        return _unknown_maturity("the data have no event that says up to when they speak")
    closed = min(facts.closed.values())
    final = min(facts.final.values()) if facts.final else float("nan")
    value = min(closed, final) if facts.final else closed
    failed = value < 0.99
    if facts.final:
        orders = f"returns are final for {_at_least(final)} of orders"
    elif facts.has_refunds is False:
        orders = "no refunds source: sales are before returns"
    elif returns_final is None:
        orders = "the plan does not say when returns are final"
    else:
        orders = "no orders to speak of"
    text = f"the {days}-day window is closed for {_at_least(closed)} of customers, {orders}"
    if failed:
        verdict, tail = FAIL, ": too early for a verdict"
    elif returns_final is None or facts.has_refunds is False:
        verdict, tail = WARN, ""
    else:
        verdict, tail = PASS, ""
    return Check(
        name=MATURITY,
        verdict=verdict,
        message=f"Maturity: {text}{tail}.",
        value=value,
        threshold=0.99,
    )


def check_table_maturity(
    *,
    run_end: int | None,
    as_of: int | None,
    days: int | None,
    returns_final: int | None,
    zone: tzinfo = UTC,
) -> Check:
    """Ask whether outcomes of a ready table can be final, by the plan's dates alone.

    Args:
        run_end: Last second of assignment, UTC; None without run dates.
        as_of: Up to when the data speak, UTC seconds; None where nobody says.
        days: Window from assignment.
        returns_final: Days after payment from which returns are final.
        zone: The shop's clock, for dates in the sentence.
    """
    if run_end is None and days is None:
        return _unknown_maturity("the plan names neither run nor follow_up", INFO)
    if run_end is None:
        return _unknown_maturity("the plan names no run dates")
    if as_of is None:
        return _unknown_maturity("the plan does not say data.as_of")
    due = run_end + ((days or 0) + (returns_final or 0)) * DAY
    told, ripe = (f"{datetime.fromtimestamp(t, tz=zone):%Y-%m-%d}" for t in (as_of, due))
    text = f"the table speaks up to {told} and its outcomes are final after {ripe}"
    if as_of < due:
        verdict, tail = FAIL, ": too early for a verdict"
    elif days is None:
        return _unknown_maturity("the plan names no follow_up")
    elif returns_final is None:
        verdict, tail = WARN, "; the plan does not say when returns are final"
    else:
        verdict, tail = PASS, ""
    return Check(
        name=MATURITY,
        verdict=verdict,
        message=f"Maturity: {text}{tail}.",
        value=(as_of - due) / DAY,
        threshold=0.0,
    )


def check_clusters(facts: Facts) -> Check | None:
    """Ask whether clusters are many and alike enough for an interval from their variance.

    References:
        Cameron and Miller (2015), *Journal of Human Resources* 50(2), section VI: few, or
        unequal, clusters give intervals that are too short.
    """
    if not facts.clusters:
        return None
    fewest = min(facts.clusters.values())
    spread = max(facts.cluster_size_cv.values(), default=0.0)
    few, unequal = fewest < FEWEST_CLUSTERS, spread > MOST_UNEQUAL
    tail = (
        "; the interval is less reliable, and randomisation inference would be the headline"
        if few or unequal
        else ""
    )
    return Check(
        name="clusters",
        verdict=WARN if few or unequal else PASS,
        message=(
            f"Clusters: the smallest arm has {fewest:,} clusters, whose sizes vary by "
            f"{spread:.0%} of their mean{tail}."
        ),
        value=spread if unequal and not few else float(fewest),
        threshold=MOST_UNEQUAL if unequal and not few else float(FEWEST_CLUSTERS),
    )


def check_balance(
    cells: Cells,
    covariates: Sequence[str],
    arms: Sequence[str],
    control: str,
    *,
    clustered: bool = False,
) -> Check | None:
    """Test all pre-period covariates at once for equal means: an A/A test of the assignment.

    A joint Wald test, so many covariates do not raise false alarms. It is a test of units;
    where they came in clusters it is too strict, and says so.

    References:
        Hansen and Bowers (2008), *Statistical Science* 23(2), section 3.
    """
    if not covariates:
        return None
    from scipy import stats

    by_arm = cells.collapse(["arm"]).select(list(covariates))
    at = {label[0]: i for i, label in enumerate(by_arm.labels)}
    worst, worst_arm = 1.0, ""
    treated = [arm for arm in arms if arm != control and arm in at]
    if control not in at or min(by_arm.n, default=0) < 2:
        return None
    for arm in treated:
        i, c = at[arm], at[control]
        gap = by_arm.mean[i] - by_arm.mean[c]
        n_i, n_c = float(by_arm.n[i]), float(by_arm.n[c])
        cov = by_arm.m2[i] / (n_i - 1) / n_i + by_arm.m2[c] / (n_c - 1) / n_c
        rank = int(np.linalg.matrix_rank(cov, hermitian=True))
        wald = float(gap @ np.linalg.pinv(cov, hermitian=True) @ gap)
        p = min(1.0, float(stats.chi2.sf(wald, rank)) * len(treated))
        if p < worst:
            worst, worst_arm = p, arm
    failed = worst < ALPHA
    text = (
        f"customers of {worst_arm} differ from control before the test"
        if failed
        else ("customers of all arms were alike before the test")
    )
    return Check(
        name="balance",
        verdict=WARN if failed else PASS,
        message=f"Balance: {text} ({len(covariates)} measures at once, p {_p(worst)})."
        + (f" {TOO_STRICT}" if failed and clustered else ""),
        value=worst,
        threshold=ALPHA,
    )


def check_outliers(tails: Mapping[str, Tail], what: str) -> Check | None:
    """Ask whether one unit could carry the result, and whether n is large for the skewness.

    References:
        Kohavi, Deng, Longbotham and Xu (2014), *KDD '14*, rule 7: n >= 355 x skewness squared.
    """
    if not tails:
        return None
    skewed = [tail.skewness for tail in tails.values() if np.isfinite(tail.skewness)]
    if not skewed:
        return Check(
            name="outliers",
            verdict=INFO,
            message=f"Outliers: {what} does not vary, so no customer stands out.",
        )
    need = max(355 * skewness**2 for skewness in skewed)
    least = min(tail.n for tail in tails.values())
    top = max((x.largest / x.total for x in tails.values() if x.total > 0), default=0.0)
    thin, heavy = least < need, top > 0.05
    text = f"the largest customer holds {top:.2%} of an arm's {what}"
    size = f"the smallest arm has {least:,} customers and its skewness asks for {need:,.0f}"
    return Check(
        name="outliers",
        verdict=WARN if thin or heavy else PASS,
        message=f"Outliers: {text}; {size}.",
        value=top,
        threshold=0.05,
    )


def _unknown_maturity(why: str, verdict: str = WARN) -> Check:
    return Check(
        name=MATURITY,
        verdict=verdict,
        message=f"Maturity: {why}, so it is not known whether outcomes are final.",
    )


def _homogeneity(lost: Mapping[str, int], total: Mapping[str, int]) -> float:
    """Chi-square test that the lost share is the same in all arms."""
    from scipy import stats

    table = np.array([[lost[a], total[a] - lost[a]] for a in total], dtype=float)
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _at_least(share: float) -> str:
    return "100%" if share >= 0.9995 else f"{share:.1%}"


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
