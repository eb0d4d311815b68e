"""Does a rehearsal open the gate: which checks pass, and which do not?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from upliftlab.checks import FAIL, PASS, WARN, Check
from upliftlab.data.pieces import BUCKETS
from upliftlab.rehearsal.rows import POWER
from upliftlab.stats.multiplicity import adjust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from upliftlab.data.pieces import Pieces
    from upliftlab.experiment import Experiment
    from upliftlab.rehearsal.rows import Row

    Floats = NDArray[np.float64]

ALPHA = 0.001
"""Error of each gate, Holm-adjusted over metrics and arms."""

SLACK, POWER_SLACK = 0.015, 0.03
"""Coverage and power may fall short of their promise by this much before the gate says so."""

_ORDER = {FAIL: 0, WARN: 1, PASS: 3}


def ratio_alarms(counts: Floats, shares: Floats) -> NDArray[np.bool_]:
    """Say in which re-assignments the counts of arms would raise the alarm, shape (draws,)."""
    from scipy import stats

    expected = counts.sum(axis=1, keepdims=True) * (shares / shares.sum())
    statistic = ((counts - expected) ** 2 / expected).sum(axis=1)
    alarms: NDArray[np.bool_] = stats.chi2.sf(statistic, len(shares) - 1) < ALPHA
    return alarms


def checks_of_split(
    experiment: Experiment,
    found: Pieces,
    rows: Sequence[Row],
    alarms: NDArray[np.bool_],
    *,
    draws: int,
    level: float,
) -> tuple[Check, ...]:
    """Check the rehearsal of a split: the analysis, sample ratios and hashes; failed first."""
    from scipy import stats

    out = [*_analysis(rows, draws, level), *_lost(rows)]
    count = int(alarms.sum())
    p = float(stats.binomtest(count, len(alarms), ALPHA, alternative="greater").pvalue)
    out.append(
        Check(
            name="sample_ratio",
            verdict=FAIL if p < ALPHA else PASS,
            message=(
                f"Sample ratio: {count:,} of {draws:,} re-assignments raised the alarm; "
                f"{ALPHA * draws:.0f} are expected."
            ),
            value=count / draws,
            threshold=ALPHA,
        )
    )
    if not found.are_clusters:
        out.append(_hash(experiment, found))
    return _failed_first(out)


def checks_of_waves(rows: Sequence[Row], *, draws: int, level: float) -> tuple[Check, ...]:
    """Check the rehearsal of a roll-out, whose lists are drawn in fixed numbers."""
    return _failed_first([*_analysis(rows, draws, level), *_lost(rows)])


def _failed_first(checks: Sequence[Check]) -> tuple[Check, ...]:
    return tuple(sorted(checks, key=lambda check: _ORDER[check.verdict]))


def _analysis(rows: Sequence[Row], draws: int, level: float) -> list[Check]:
    """What the analysis said where nothing was done."""
    return [_uniformity(rows), _coverage(rows, draws, level), _power(rows, draws)]


def _lost(rows: Sequence[Row]) -> list[Check]:
    lost = max((row.lost for row in rows), default=0.0)
    if not lost > 0:
        return []
    message = (
        f"Estimates: {lost:.1%} of re-assignments give an arm too few clusters for a range; "
        "draw a list in blocks instead."
    )
    verdict = FAIL if lost > 0.5 else WARN
    return [
        Check(name="no_estimate", verdict=verdict, message=message, value=lost, threshold=0.0)
    ]


def _uniformity(rows: Sequence[Row]) -> Check:
    worst = min(rows, key=lambda row: row.p_adjusted if np.isfinite(row.p_adjusted) else 2.0)
    failed = [row for row in rows if row.p_adjusted < ALPHA]
    eager = [row for row in failed if row.leans == "small"]
    verdict = FAIL if eager else WARN if failed else PASS
    if eager:
        names = ", ".join(f"{row.metric} ({row.arm})" for row in eager[:5])
        text = f"too many are small for {names}: tests would find effects that are not there"
        worst = min(eager, key=lambda row: row.p_adjusted)
    elif failed:
        names = ", ".join(f"{row.metric} ({row.arm})" for row in failed[:5])
        text = f"too few are small for {names}: ranges are wider than they need be"
    else:
        text = f"uniform for all {len(rows)} metrics and arms"
    return Check(
        name="p_values",
        verdict=verdict,
        message=f"p-values: {text} (worst {_shown(worst.p_adjusted)}, {worst.metric}).",
        value=worst.p_adjusted,
        threshold=ALPHA,
    )


def _coverage(rows: Sequence[Row], draws: int, level: float) -> Check:
    p = [_short(row.coverage, row.lost, draws, level - SLACK) for row in rows]
    holm = adjust(p, "holm")
    failed = [row for row, x in zip(rows, holm, strict=True) if x < ALPHA]
    worst = min(rows, key=lambda row: row.coverage if np.isfinite(row.coverage) else 2.0)
    text = "no fewer than they promise" if not failed else "fewer than they promise"
    return Check(
        name="coverage",
        verdict=FAIL if failed else PASS,
        message=(
            f"Ranges: {worst.coverage:.1%} of those of {worst.metric} hold the truth, "
            f"{text} ({level:.0%})."
        ),
        value=worst.coverage,
        threshold=level - SLACK,
    )


def _power(rows: Sequence[Row], draws: int) -> Check:
    p = [_short(row.power, row.lost, draws, POWER - POWER_SLACK) for row in rows]
    holm = adjust(p, "holm")
    failed = [row for row, x in zip(rows, holm, strict=True) if x < ALPHA]
    worst = min(rows, key=lambda row: row.power if np.isfinite(row.power) else 2.0)
    return Check(
        name="power",
        verdict=WARN if failed else PASS,
        message=(
            f"Power: an effect that should be seen in {POWER:.0%} of tests is seen in "
            f"{worst.power:.1%} for {worst.metric}, the lowest."
        ),
        value=worst.power,
        threshold=POWER - POWER_SLACK,
    )


def _short(share: float, lost: float, draws: int, least: float) -> float:
    """P-value of a share that should be at least so large."""
    from scipy import stats

    n = round(draws * (1 - lost))
    if not n or not np.isfinite(share):
        return 1.0
    return float(stats.binomtest(round(share * n), n, least, alternative="less").pvalue)


def _hash(experiment: Experiment, found: Pieces) -> Check:
    """Ask whether ids spread evenly over the first digits of their hashes."""
    from scipy import stats

    sizes = np.zeros(BUCKETS)
    for label, n in zip(found.cells.labels, found.cells.n, strict=True):
        sizes[int(label[0], 16)] += n
    p = float(stats.chisquare(sizes).pvalue)
    failed = p < ALPHA
    tail = "unevenly: are ids repeated, or hashed before?" if failed else "evenly"
    return Check(
        name="hash",
        verdict=FAIL if failed else PASS,
        message=f"Hash: {experiment.unit} ids spread {tail} over {BUCKETS:,} buckets "
        f"(p {_shown(p)}).",
        value=p,
        threshold=ALPHA,
    )


def _shown(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
