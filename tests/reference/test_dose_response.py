"""Thornton (2008), *AER* 98(5): vouchers of random value to learn an HIV result.

Reference numbers: ``thornton_hiv.reference.json`` beside the data, least squares with
statsmodels, HC1 and by village.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from upliftlab.errors import DesignError
from upliftlab.estimators.compare import compare
from upliftlab.stats.joint import Joint
from upliftlab.targeting.dose_curve import dose_curve
from upliftlab.targeting.dose_line import dose_line


@pytest.fixture(scope="module")
def table(shared_data):
    """People who were offered a voucher, or none, and whether they learned their result."""
    found = pd.read_parquet(shared_data("ab/thornton_hiv.parquet"))
    return found[found["any"].notna() & found["got"].notna() & found["tinc"].notna()]


@pytest.fixture(scope="module")
def reference(shared_data):
    """Numbers computed outside of this package."""
    return json.loads(shared_data("ab/thornton_hiv.reference.json").read_text())


def test_any_voucher_and_each_further_dollar(table, reference):
    """34 % untreated, 34 points for any voucher, 8.4 more for each dollar: to eight digits."""
    found = dose_line(table["got"], table["tinc"], offered=table["any"])

    said = reference["dose_response"]
    assert len(table) == said["_n"]
    for name, theirs in (("control", "Intercept"), ("any", "any"), ("depth", "tinc")):
        estimate = found.estimate(name)
        assert estimate.estimate == pytest.approx(said[theirs]["coef"], rel=1e-8)
        assert estimate.std_error == pytest.approx(said[theirs]["se"], rel=1e-8)


def test_where_the_village_is_known_vouchers_add_45_points(table, reference):
    """Villages hold people of both arms: they are no clusters here, and compare() says so."""
    rows = table[table["villnum"].notna()]

    found = compare(rows, "got", arm="any", control=0).row().effect

    said = reference["cluster_village"]["any"]["coef"]
    assert found.estimate == pytest.approx(said, rel=1e-8)
    with pytest.raises(DesignError, match="hold units of several arms"):
        compare(rows, "got", arm="any", control=0, cluster="villnum")


def test_the_curve_over_amounts_rises(table):
    """Under one dollar, one to two, above: a rising curve lies within the band."""
    amount = table["tinc"].to_numpy()
    group = np.digitize(amount, [1e-9, 1.0, 2.0])
    got = table["got"].to_numpy()
    means = [got[group == g].mean() for g in range(4)]
    spread = [got[group == g].var(ddof=1) / (group == g).sum() for g in range(4)]
    joint = Joint(
        names=("low", "middle", "high"),
        value=np.array(means[1:]) - means[0],
        cov=np.diag(spread[1:]) + spread[0],
        df=np.full(3, np.inf),
    )
    depths = {name: amount[group == g].mean() for g, name in enumerate(joint.names, start=1)}

    found = dose_curve(joint, depths, shape="monotone_concave")

    assert found.note == ""
    assert found.value[0] < found.value[1] <= found.value[2]
    assert found.low[0] > 0.2
