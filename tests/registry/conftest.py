"""Records made by hand."""

from __future__ import annotations

import pytest

from upliftlab.registry.record import ArmMeans, Record, RecordedArm
from upliftlab.stats.estimate import interval


def record(name="spring", *, profit=2.0, std_error=0.5, quarter="2026Q3", **more):
    """One coupon test with one treatment of 1,000 customers; money in fen per customer."""
    per_unit = interval("profit", profit * 100, (std_error * 100) ** 2)
    verdict = "ship" if per_unit.ci_low > 0 else "keep testing"
    arm = RecordedArm(
        arm="ten",
        control="none",
        depth=1000.0,
        n=1_000,
        n_control=1_000,
        profit=per_unit,
        realised=per_unit.scaled(1_000, name="realised"),
        verdict=more.pop("verdict", verdict),
        segment=more.pop("segment", ""),
    )
    means = ArmMeans(
        arms=("none", "ten"),
        control="none",
        names=("profit",),
        n=(1_000, 1_000),
        mean=((100.0,), (100.0 + profit * 100,)),
        cov=((1_250.0, 0.0), (0.0, 1_250.0)),
        df=(999.0, 999.0),
    )
    known = {
        "kind": "smart_coupon",
        "mechanism": "smart_coupon: gmv",
        "currency": "CNY",
        "starts": "2026-07-06",
        "ends": "2026-07-19",
        "arms": (arm,),
        "means": means,
    }
    return Record(name=name, quarter=quarter, **{**known, **more})


@pytest.fixture
def make_record():
    """Make one record by hand."""
    return record
