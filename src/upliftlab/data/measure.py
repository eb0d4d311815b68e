"""What do the prepared units say, in moments?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import ibis
import numpy as np

from upliftlab.data import moments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from upliftlab.data.cells import Cells, ClusterCells
    from upliftlab.data.prepared import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """How heavy the tail of a per-unit amount is in one arm.

    Attributes:
        n: Units.
        skewness: Third standardised moment.
        top_share: Share of the arm's total that the largest hundredth of units holds.
        largest: Largest single amount, in minor units.
        total: Sum over the arm's units, in minor units.
    """

    n: int
    skewness: float
    top_share: float
    largest: float
    total: float


def measure(prepared: Prepared) -> Cells:
    """Return joint moments of all components and covariates, per cell of the keys.

    Units without facts add their covariates and zeros; they are counted, never joined to
    empty rows. Idle components are widened to zeros after the pass.
    """
    keys, engine = prepared.keys, prepared.engine
    covariates = list(prepared.covariates)
    columns = [*prepared.components, *covariates]
    everything = [*prepared.components, *prepared.idle, *covariates]
    if prepared.active is None:
        found = moments.cells(engine, prepared.assigned, keys=keys, columns=columns)
        return found.widen(everything)
    found = moments.cells(engine, prepared.active, keys=keys, columns=columns).widen(everything)
    rest = prepared.assigned.anti_join(prepared.active.select("unit"), "unit")
    if prepared.flagged is not None:
        some = [*prepared.flags, *covariates]
        flagged = moments.cells(engine, prepared.flagged, keys=keys, columns=some)
        found += flagged.widen(everything)
        rest = rest.anti_join(prepared.flagged.select("unit"), "unit")
    return found + moments.cells(engine, rest, keys=keys, columns=covariates).widen(everything)


def measure_clusters(prepared: Prepared, keys: tuple[str, ...]) -> ClusterCells:
    """Return mean vectors with CR2 covariance per cell of ``keys``."""
    units = full_units(prepared)
    columns = [*prepared.components, *prepared.covariates]
    return moments.cluster_cells(
        prepared.engine, units, keys=keys, cluster=str(prepared.cluster), columns=columns
    )


def full_units(prepared: Prepared) -> ibis.Table:
    """Return one row per assigned unit with every component; absent facts are zeros."""
    if prepared.active is None:
        return prepared.assigned
    facts = prepared.active.select("unit", *prepared.components)
    if prepared.flagged is not None:
        some = prepared.flagged
        columns = {
            name: (some[name] if name in prepared.flags else ibis.literal(0)).cast(
                facts[name].type()
            )
            for name in prepared.components
        }
        flagged = some.select("unit", **columns)
        facts = facts.union(flagged)
    joined = prepared.assigned.left_join(facts, "unit").drop("unit_right")
    return joined.mutate(**{name: joined[name].fill_null(0) for name in prepared.components})


def tails(
    prepared: Prepared,
    prices: Mapping[str, Mapping[str, float]],
    cells: Cells,
) -> dict[str, Tail]:
    """Describe the per-unit amount ``prices . components`` of each arm.

    Args:
        prepared: Units.
        prices: Arm -> component -> rate; the constant component "units" is allowed.
        cells: Moments, for each arm's mean and variance.
    """
    table = prepared.active if prepared.active is not None else prepared.assigned
    by_arm = cells.collapse(["arm"])
    amount = amount_of(table, prices)
    marked = prepared.engine.materialise(
        table.select("arm", amount=amount).filter(ibis._.amount != 0), "amounts"
    )
    out = {}
    for i, (arm,) in enumerate(by_arm.labels):
        n = int(by_arm.n[i])
        row = {name: prices.get(arm, {}).get(name, 0.0) for name in by_arm.names}
        weight = np.array([row[name] for name in by_arm.names])
        mean = float(weight @ by_arm.mean[i])
        variance = float(weight @ by_arm.m2[i] @ weight) / max(n - 1, 1)
        out[arm] = _tail(prepared, marked.filter(marked["arm"] == arm), n, mean, variance)
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How far an amount per unit is from a normal one.

    Attributes:
        skewness: Third standardised moment; NaN where nothing varies.
        kurtosis: Fourth standardised moment, 3 for a normal one; NaN where nothing varies.
    """

    skewness: float
    kurtosis: float


def shapes(
    prepared: Prepared,
    amounts: Mapping[str, Mapping[str, Mapping[str, float]]],
    cells: Cells,
) -> dict[tuple[str, str], Shape]:
    """Describe linear maps of the components in every arm, in one pass over all units.

    Args:
        prepared: Units.
        amounts: Name -> arm -> component -> weight; the constant component "units" is allowed.
        cells: Moments, for each arm's mean and variance.

    Returns:
        (name, arm) -> shape.
    """
    units = full_units(prepared)
    gaps, variances = _gaps(units, amounts, cells)
    sums: dict[str, ibis.Value] = {}
    for k, gap in enumerate(gaps.values()):
        sums |= {f"t{k}": (gap * gap * gap).mean(), f"q{k}": (gap * gap * gap * gap).mean()}
    table = prepared.engine.fetch(units.group_by("arm").agg(**sums))
    rows = {row["arm"]: row for row in table.to_pylist()}
    out = {}
    at = {name: k for k, name in enumerate(gaps)}
    for (name, arm), variance in variances.items():
        k = at[name]
        third, fourth = float(rows[arm][f"t{k}"]), float(rows[arm][f"q{k}"])
        varies = variance > 0
        out[name, arm] = Shape(
            skewness=third / variance**1.5 if varies else float("nan"),
            kurtosis=fourth / variance**2 if varies else float("nan"),
        )
    return out


def cluster_skewness(
    prepared: Prepared,
    amounts: Mapping[str, Mapping[str, Mapping[str, float]]],
    cells: Cells,
) -> dict[tuple[str, str], float]:
    """Describe the totals of clusters, less their size times the arm's mean.

    Args:
        prepared: Units that were assigned in clusters.
        amounts: As in ``shapes``.
        cells: Moments, for each arm's mean.

    Returns:
        (name, arm) -> third standardised moment over clusters; NaN where nothing varies.
    """
    units = full_units(prepared)
    gaps, variances = _gaps(units, amounts, cells)
    totals = units.group_by(["arm", str(prepared.cluster)]).agg(
        **{f"g{k}": gap.sum() for k, gap in enumerate(gaps.values())}
    )
    sums: dict[str, ibis.Value] = {}
    for k in range(len(gaps)):
        g = totals[f"g{k}"]
        sums |= {f"s{k}": (g * g).mean(), f"t{k}": (g * g * g).mean()}
    table = prepared.engine.fetch(totals.group_by("arm").agg(**sums))
    rows = {row["arm"]: row for row in table.to_pylist()}
    at = {name: k for k, name in enumerate(gaps)}
    out = {}
    for name, arm in variances:
        second, third = (float(rows[arm][f"{letter}{at[name]}"]) for letter in "st")
        out[name, arm] = third / second**1.5 if second > 0 else float("nan")
    return out


def _gaps(
    units: ibis.Table,
    amounts: Mapping[str, Mapping[str, Mapping[str, float]]],
    cells: Cells,
) -> tuple[dict[str, ibis.Value], dict[tuple[str, str], float]]:
    """Amounts less the mean of their arm, by name; and their variances by (name, arm)."""
    by_arm = cells.collapse(["arm"])
    at = {label[0]: i for i, label in enumerate(by_arm.labels)}
    gaps: dict[str, ibis.Value] = {}
    variances: dict[tuple[str, str], float] = {}
    for name, prices in amounts.items():
        middles = {}
        for arm, terms in prices.items():
            weight = np.array([terms.get(c, 0.0) for c in by_arm.names])
            i = at[arm]
            middles[arm] = float(weight @ by_arm.mean[i])
            variances[name, arm] = float(weight @ by_arm.m2[i] @ weight) / int(by_arm.n[i])
        centre = ibis.cases(
            *((units["arm"] == arm, ibis.literal(m)) for arm, m in middles.items()), else_=0.0
        )
        gaps[name] = amount_of(units, prices) - centre
    return gaps, variances


def amounts(
    prepared: Prepared, prices: Mapping[str, Mapping[str, float]]
) -> dict[str, NDArray[np.float64]]:
    """Fetch the amount ``prices . components`` of every unit, by arm; for pilots only.

    Args:
        prepared: Units; as many as memory holds.
        prices: Arm -> component -> rate.
    """
    units = full_units(prepared)
    table = prepared.engine.fetch(units.select("arm", amount=amount_of(units, prices)))
    arm = np.array(table.column("arm").to_pylist(), dtype=object)
    value = np.asarray(table.column("amount").to_numpy(), dtype=np.float64)
    return {label: value[arm == label] for label in prices}


def _tail(
    prepared: Prepared, amounts: ibis.Table, n: int, mean: float, variance: float
) -> Tail:
    gap = amounts["amount"] - mean
    found = prepared.engine.one(
        amounts.aggregate(
            n=ibis._.count(),
            third=(gap * gap * gap).sum(),
            largest=amounts["amount"].max(),
            total=amounts["amount"].sum(),
        )
    )
    active = int(found["n"])
    third = float(found["third"] or 0.0) - (n - active) * mean**3
    top = max(1, n // 100)
    best = prepared.engine.one(
        amounts.order_by(ibis.desc("amount")).limit(top).aggregate(sum=ibis._.amount.sum())
    )
    total = float(found["total"] or 0.0)
    sd3 = variance**1.5
    return Tail(
        n=n,
        skewness=third / n / sd3 if sd3 > 0 else float("nan"),
        top_share=float(best["sum"] or 0.0) / total if total > 0 else float("nan"),
        largest=float(found["largest"] or 0.0),
        total=total,
    )


def amount_of(table: ibis.Table, prices: Mapping[str, Mapping[str, float]]) -> ibis.Value:
    """Price the components of every row by its arm; constants per unit are left out."""
    have = set(table.columns)
    branches = []
    for arm, terms in prices.items():
        value = ibis.literal(0.0)
        for name, rate in terms.items():
            if name in have:
                value = value + table[name].cast("float64") * rate
        branches.append((table["arm"] == arm, value))
    return ibis.cases(*branches, else_=0.0)
