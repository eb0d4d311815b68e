"""Experiments that others ran come in as sums."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest

from upliftlab.errors import DataError
from upliftlab.registry.mistakes import RegistryError
from upliftlab.registry.store import Registry
from upliftlab.registry.sums import Sums, records_of


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def sums_of(experiment, arm, y, **more):
    return {
        "experiment": experiment, "arm": arm, "n": len(y), "sum": y.sum(),
        "sum_of_squares": (y**2).sum(), **more,
    }  # fmt: skip


def test_sums_give_the_interval_of_the_rows(tmp_path):
    """Profit, range and totals from sums are Welch's from the rows."""
    from scipy import stats

    rng = np.random.default_rng(3)
    a, b = rng.normal(1.0, 2.0, 900), rng.normal(1.4, 3.0, 950)
    path = write(
        tmp_path / "sums.csv",
        [
            sums_of("free shipping?", "old", a, starts="2026-08-03", owner="Li"),
            sums_of("free shipping?", "new", b, starts="2026-08-03", owner="Li"),
        ],
    )
    (record,) = records_of(path, Sums(currency="CNY", worth=100))
    effect = record.arm("new").profit
    reference = stats.ttest_ind(b, a, equal_var=False).confidence_interval()

    assert record.question == "free shipping?"
    assert (record.quarter, record.owner, record.currency) == ("2026Q3", "Li", "CNY")
    assert effect.estimate == pytest.approx(100 * (b.mean() - a.mean()))
    assert (effect.ci_low, effect.ci_high) == pytest.approx(
        (100 * reference.low, 100 * reference.high)
    )
    assert record.arm("new").realised.estimate == pytest.approx(effect.estimate * 950)
    assert record.means.cov[1][1] == pytest.approx(100**2 * b.var(ddof=1) / 950)


def test_sizes_that_do_not_fit_leave_the_experiment_void(tmp_path):
    """A sample ratio that fails leaves no verdict, and counts as void."""
    y = np.ones(400)
    y[::2] = 0
    rows = [sums_of("a", "x", y), sums_of("a", "z", np.tile(y, 2))]
    (record,) = records_of(write(tmp_path / "s.csv", rows), Sums())
    shares = [{**rows[0], "share": 1}, {**rows[1], "share": 2}]
    (fits,) = records_of(write(tmp_path / "t.csv", shares), Sums())

    assert (record.status, record.arms[0].verdict) == ("void", "no verdict")
    assert record.sample_ratio_p < 1e-6
    assert (fits.status, fits.sample_ratio_p) == ("read", pytest.approx(1.0))


def test_impossible_sums_are_named(tmp_path):
    """Sums that no data have, and columns that are missing, are refused by name."""
    good = sums_of("a", "x", np.array([1.0, 2.0]))
    with pytest.raises(RegistryError) as squares:
        records_of(write(tmp_path / "a.csv", [{**good, "sum_of_squares": 1.0}]), Sums())
    with pytest.raises(RegistryError) as twice:
        records_of(write(tmp_path / "b.csv", [good, good]), Sums())
    with pytest.raises(RegistryError) as column:
        records_of(write(tmp_path / "c.csv", [{"experiment": "a", "arm": "x"}]), Sums())
    with pytest.raises(DataError):
        records_of(tmp_path / "none.csv", Sums())

    assert str(squares.value) == (
        "1 rows of sums, such as 'a', have sums of squares smaller than the mean allows; "
        "correct them."
    )
    assert "an arm that came before" in str(twice.value)
    assert str(column.value) == (
        "sums need column 'n'; the table has ['arm', 'experiment']. Map it with "
        "--columns n=YOURS."
    )


def upworthy(shared_data, folder):
    """Write the sums of the archive's tests as a table for import."""
    import pandas as pd

    table = pd.read_parquet(shared_data("ab/upworthy_exploratory.parquet"))
    year, week = table["test_week"] // 100, table["test_week"] % 100
    table["quarter"] = [
        f"{y}Q{min(4, max(0, w - 1) // 13 + 1)}" for y, w in zip(year, week, strict=True)
    ]
    table["arm"] = [f"package {i}" for i in table.groupby("clickability_test_id").cumcount()]
    path = folder / "upworthy.parquet"
    table[["clickability_test_id", "arm", "impressions", "clicks", "quarter"]].to_parquet(path)
    return path


UPWORTHY = Sums(
    outcome="clicks",
    unit="reader",
    columns={
        "experiment": "clickability_test_id",
        "n": "impressions",
        "sum": "clicks",
        "sum_of_squares": "clicks",
    },
)


def test_upworthy_comes_in_whole_and_its_bad_window_stands_out(shared_data, tmp_path):
    """3,284 tests by quarter; sample ratios fail in the window that was not randomised."""
    start = time.perf_counter()
    registry = Registry(tmp_path / "registry")
    registry.add_all(records_of(upworthy(shared_data, tmp_path), UPWORTHY))
    found = registry.records()
    took = time.perf_counter() - start
    bad = {}
    for each in found:
        bad.setdefault(each.quarter, []).append(each.sample_ratio_p < 0.001)

    # One test has packages in 2014Q4 and before: it counts once, where it began.
    assert len(found) == 3_284
    assert {quarter: len(flags) for quarter, flags in bad.items()} == {
        "2013Q1": 63, "2013Q2": 229, "2013Q3": 341, "2013Q4": 294, "2014Q1": 332,
        "2014Q2": 388, "2014Q3": 612, "2014Q4": 588, "2015Q1": 351, "2015Q2": 86,
    }  # fmt: skip
    assert sum(sum(flags) for flags in bad.values()) == 523
    assert np.mean(bad["2013Q3"]) > 0.5
    assert np.mean(bad["2014Q3"]) < 0.02
    assert took < 60
