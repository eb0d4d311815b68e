"""What was assigned? Stores with four weeks each, pupils within schools, counts of millions.

Reference numbers: the ``*.reference.json`` files beside the data, computed with statsmodels and
scipy; tennessee_star also printed by Stock and Watson, *Introduction to Econometrics*, table
13.1; Criteo counts recovered from published tables of Criteo Uplift v2.1.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from upliftlab.data.cells import Cells
from upliftlab.estimators.ab import estimate
from upliftlab.estimators.compare import compare
from upliftlab.stats.proportion import two_proportions


def reference_of(shared_data, name):
    """Numbers computed outside of this package."""
    return json.loads(shared_data(f"ab/{name}").read_text())


@pytest.mark.parametrize("control", [2, 3])
def test_store_weeks_are_not_stores(shared_data, control):
    """Clusters of equal size have the errors of store means: 3.23, where rows say 1.68.

    CR2 with equal sizes is Welch on the 137 stores exactly; the degrees of freedom are
    Bell-McCaffrey's (equal working variances), 87.3 where Welch's are 84.9.
    """
    table = pd.read_csv(shared_data("ab/fastfood_promo.csv.gz"))
    expected = reference_of(shared_data, "fastfood_promo.reference.json")
    options = {"arm": "Promotion", "control": control}
    by_store = compare(table, "SalesInThousands", cluster="LocationID", **options)
    by_row = compare(table, "SalesInThousands", **options)

    for found, key in ((by_store, "store_level_welch"), (by_row, "naive_row_level_welch")):
        rows = [row for row in expected[key] if row["control"] == control]
        assert rows
        for row in rows:
            effect = found.row(arm=str(row["treated"])).effect
            assert effect.estimate == pytest.approx(row["diff"], abs=1e-6)
            assert effect.std_error == pytest.approx(row["welch_se"], rel=1e-6)


def test_cr1_of_stores_is_one_percent_below_cr2(shared_data):
    """Two corrections of one sandwich: CR1 3.21324 (statsmodels), CR2 3.23205 (ours)."""
    table = pd.read_csv(shared_data("ab/fastfood_promo.csv.gz"))
    expected = reference_of(shared_data, "fastfood_promo.reference.json")
    cr1 = expected["ols_cluster_store_CR1"]["C(Promotion)[T.2]"]
    found = compare(
        table, "SalesInThousands", arm="Promotion", control=1, cluster="LocationID"
    ).row(arm="2")

    assert found.effect.estimate == pytest.approx(cr1["coef"], abs=1e-6)
    assert found.effect.std_error == pytest.approx(3.232046, abs=1e-6)
    assert found.effect.std_error == pytest.approx(cr1["se"], rel=0.01)


GRADES = {"k": (13.90, 2.45, 0.31, 2.27), "1": (29.78, 2.83, 11.96, 2.65)}
GRADES |= {"2": (19.39, 2.71, 3.48, 2.54), "3": (15.59, 2.40, -0.29, 2.27)}


@pytest.mark.parametrize("grade", GRADES)
def test_small_classes_are_what_stock_and_watson_print(shared_data, grade):
    """Kindergarten +13.90 (2.45) for small classes, +0.31 (2.27) for an aide, N 5,786.

    They print HC1, which differs from Welch (HC2) by less than the last digit.
    """
    table = pd.read_parquet(shared_data("ab/tennessee_star.parquet"))
    table["score"] = table[f"read{grade}"] + table[f"math{grade}"]
    seen = table[table[f"star{grade}"].notna() & table["score"].notna()]
    expected = reference_of(shared_data, "tennessee_star.reference.json")
    hc1 = expected["estimates"][grade]["HC1"]
    found = compare(seen, "score", arm=f"star{grade}", control="regular")
    small, aide = found.row(arm="small").effect, found.row(arm="regular+aide").effect

    assert sum(found.n.values()) == hc1["_n"]
    printed = GRADES[grade]
    assert (small.estimate, small.std_error) == pytest.approx(printed[:2], abs=6e-3)
    assert (aide.estimate, aide.std_error) == pytest.approx(printed[2:], abs=6e-3)
    assert small.estimate == pytest.approx(hc1["small"]["coef"], abs=1e-6)
    assert small.std_error == pytest.approx(hc1["small"]["se"], rel=1e-3)


CRITEO = "criteo_v21_sufficient_stats.json"


@pytest.mark.parametrize("outcome", ["conversion", "visit"])
def test_fourteen_million_rows_fit_in_four_counts(shared_data, outcome):
    """Counts as cells and the formula for proportions give the unpooled standard error."""
    counts = reference_of(shared_data, CRITEO)
    row = counts[outcome]
    n = np.array([counts["n_treated"], counts["n_control"]])
    share = np.array([row["treated_successes"], row["control_successes"]]) / n
    cells = Cells(
        keys=("arm",),
        labels=(("treated",), ("control",)),
        names=(outcome,),
        n=n,
        mean=share[:, None],
        m2=(n * share * (1 - share))[:, None, None],
    )
    effects = estimate(cells, arms=["control", "treated"], control="control")
    by_cells = effects.contrast(outcome, "treated").estimate(outcome)
    by_counts = two_proportions(
        row["treated_successes"], int(n[0]), row["control_successes"], int(n[1])
    )

    for found in (by_cells, by_counts):
        assert found.estimate == pytest.approx(row["diff"], rel=1e-9)
        assert found.std_error == pytest.approx(row["se_unpooled"], rel=1e-6)
