"""Fixtures that several tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from upliftlab.data.cells import Cells
from upliftlab.estimators import ab
from upliftlab.stats import moments

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data():
    """Find a file of the shared real data, or skip with the reason."""
    folder = Path(os.environ.get("UPLIFTLAB_SHARED", ROOT.parent / "shared")) / "data"

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"shared data are not here: {name}")
        return folder / name

    return find


def cells_of_rows(rows: dict[str, np.ndarray], names: tuple[str, ...]) -> Cells:
    """Cells by arm from plain rows per arm."""
    parts = [moments.of_rows(np.asarray(block, dtype=float)) for block in rows.values()]
    return Cells(
        keys=("arm",),
        labels=tuple((arm,) for arm in rows),
        names=names,
        n=np.array([part[0] for part in parts]),
        mean=np.stack([part[1] for part in parts]),
        m2=np.stack([part[2] for part in parts]),
    )


@pytest.fixture(scope="session")
def make_cells():
    """Cells by arm from plain rows per arm."""
    return cells_of_rows


@pytest.fixture
def coupon_effects():
    """Arm means of a small coupon test with every base that money hangs on."""
    rng = np.random.default_rng(5)
    names = (
        "gmv_platform",
        "merchant_coupon",
        "platform_coupon",
        "cancelled_sales",
        "returned_sales",
        "kept_sales",
        "kept_merchant_coupon",
        "kept_platform_coupon",
        "goods",
        "orders",
        "orders_shipped",
        "orders_returned",
        "new_customers",
    )
    rows = {}
    for arm, depth, rate in (("none", 0, 0.20), ("ten", 1_000, 0.24), ("twenty", 2_000, 0.25)):
        buys = rng.random(4_000) < rate
        price = np.where(buys, np.round(rng.lognormal(9.4, 0.4, 4_000)), 0)
        ours, theirs = 0.8 * depth * buys, 0.2 * depth * buys
        fate = rng.random(4_000)
        cancelled, returned = buys & (fate < 0.15), buys & (fate >= 0.15) & (fate < 0.45)
        kept = buys & (fate >= 0.45)
        base = price - ours
        rows[arm] = np.column_stack(
            [
                price,
                ours,
                theirs,
                base * cancelled,
                base * returned,
                base * kept,
                ours * kept,
                theirs * kept,
                0.4 * price * kept,
                buys,
                buys & ~cancelled,
                returned,
                kept & (rng.random(4_000) < 0.4),
            ]
        )
    return ab.estimate(cells_of_rows(rows, names), arms=list(rows), control="none")
