"""Simulated records with a known truth."""

from __future__ import annotations

import math

import numpy as np

from upliftlab.registry.record import (
    ArmMeans,
    Record,
    RecordedArm,
    RecordedLine,
    RecordedRung,
)
from upliftlab.stats.estimate import interval


def record(
    name,
    effects,
    *,
    n=1000,
    n_control=1000,
    sd=1000.0,
    mechanism="smart_coupon: gmv",
    quarter="2026Q3",
    seed=0,
    **more,
):
    """One experiment whose arms share a control; effects are true, in fen per unit."""
    rng = np.random.default_rng(seed)
    labels = tuple(f"arm_{i}" for i in range(len(effects)))
    sizes = np.array([n_control, *[n] * len(effects)], dtype=float)
    mean = np.array([500.0, *(500.0 + e for e in effects)])
    mean = mean + rng.normal(size=len(mean)) * sd / np.sqrt(sizes)
    variance = sd**2 / sizes
    arms = []
    for i, label in enumerate(labels, start=1):
        value, v = mean[i] - mean[0], variance[i] + variance[0]
        profit = interval("profit", value, v)
        sales = RecordedLine(
            name="sales",
            label="sales",
            effect=interval("sales", 2 * value, 4 * v),
            treatment=9.0,
        )
        coupon = RecordedLine(
            name="coupon",
            label="coupon",
            is_campaign=True,
            effect=interval("coupon", -value, v),
            treatment=1.0,
        )
        z = value / math.sqrt(v)
        arms.append(
            RecordedArm(
                arm=label,
                control="none",
                n=n,
                n_control=n_control,
                profit=profit,
                realised=profit.scaled(n),
                rollout=profit.scaled(10 * n),
                rollout_n=10 * n,
                spend=interval("spend", 200.0 * n, (5.0 * n) ** 2),
                ladder=(RecordedRung(name="gmv_merchant", control=5000.0, effect=profit),),
                lines=(sales, coupon),
                verdict="ship" if z > 1.96 else "stop" if z < -1.96 else "keep testing",
                reasons=("because",),
            )
        )
    means = ArmMeans(
        arms=("none", *labels),
        control="none",
        names=("profit",),
        n=tuple(int(x) for x in sizes),
        mean=tuple((float(m),) for m in mean),
        cov=tuple(tuple(row) for row in np.diag(variance).tolist()),
        df=tuple(float(x - 1) for x in sizes),
    )
    return Record(
        id=f"id-{name}",
        name=name,
        mechanism=mechanism,
        quarter=quarter,
        currency="CNY",
        owner="Li Wei",
        starts="2026-07-01",
        ends="2026-07-14",
        arms=tuple(arms),
        means=means,
        **more,
    )


def quarter(count=40, *, spread=60.0, seed=1):
    """Some forty one-arm tests with true effects N(0, spread)."""
    rng = np.random.default_rng(seed)
    effects = rng.normal(0, spread, count)
    return effects, [
        record(f"t{i:02d}", [effects[i]], seed=seed * 1000 + i) for i in range(count)
    ]
