"""Meta-analysis against BCG vaccine trials and seven microcredit experiments.

Reference numbers: ``bcg_meta.reference.json`` and ``microcredit_7rct.reference.json`` beside
the data; BCG's are also printed by metafor (Viechtbauer 2010), with tau2 in
[0.1197, 1.1115] and I2 of 92.22 % for REML.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from upliftlab.stats.meta import pool

METHODS = {"DL": "dl", "REML": "reml", "PM": "pm"}
# The reference's REML was stopped by an optimiser at about 1e-8 relative.
DIGITS = 1e-6


def agrees(found, expected):
    """Compare every number that the reference prints."""
    assert found.tau2 == pytest.approx(expected["tau2"], rel=DIGITS)
    assert found.mean.estimate == pytest.approx(expected["mu"], rel=DIGITS)
    assert found.wald.std_error == pytest.approx(expected["se"], rel=DIGITS)
    wald = (found.wald.ci_low, found.wald.ci_high)
    assert wald == pytest.approx(tuple(expected["ci95_wald"]), rel=DIGITS)
    assert found.mean.std_error == pytest.approx(expected["hksj_se"], rel=DIGITS)
    hksj = (found.mean.ci_low, found.mean.ci_high)
    assert hksj == pytest.approx(tuple(expected["hksj_ci95"]), rel=DIGITS)
    ahead = (found.prediction.ci_low, found.prediction.ci_high)
    assert ahead == pytest.approx(tuple(expected["prediction_interval_t_kminus2"]), rel=DIGITS)


@pytest.fixture
def bcg(shared_data):
    """Log risk ratios of 13 trials with variances, and the reference."""
    table = pd.read_csv(shared_data("ab/bcg_meta.csv.gz"))
    return table, json.loads(shared_data("ab/bcg_meta.reference.json").read_text())


@pytest.mark.parametrize("name", METHODS)
def test_bcg_to_the_digits(bcg, name):
    """DerSimonian-Laird, REML and Paule-Mandel, with Knapp-Hartung and prediction."""
    table, reference = bcg
    found = pool(table.yi, table.vi, method=METHODS[name])

    agrees(found, reference["meta_log_rr"][name])


def test_bcg_fixed_effect_and_heterogeneity(bcg):
    """Q 152.233 on 12 df, I2 92.1 %, and metafor's Q-profile interval of tau2."""
    table, reference = bcg
    expected = reference["meta_log_rr"]
    found = pool(table.yi, table.vi, method="fixed")

    assert found.mean.estimate == pytest.approx(expected["fixed"]["mu"], rel=DIGITS)
    assert found.mean.std_error == pytest.approx(expected["fixed"]["se"], rel=DIGITS)
    assert found.q == pytest.approx(expected["Q"], rel=DIGITS)
    assert found.q_p == pytest.approx(expected["Q_p"], rel=1e-5)
    assert found.i2 == pytest.approx(expected["I2_from_Q"], rel=DIGITS)
    assert (found.tau2_low, found.tau2_high) == pytest.approx((0.1197, 1.1115), abs=5e-5)


@pytest.mark.parametrize("name", METHODS)
def test_microcredit_in_local_units(shared_data, name):
    """Arithmetic of the reference: seven sites with HC1 standard errors."""
    reference = json.loads(shared_data("ab/microcredit_7rct.reference.json").read_text())
    sites = reference["per_site_itt"]["profit"].values()
    y = [site["coef"] for site in sites]
    v = [site["se_HC1"] ** 2 for site in sites]

    agrees(pool(y, v, method=METHODS[name]), reference["meta_profit_HC1"][name])


def test_microcredit_from_its_rows_in_control_sds(shared_data):
    """Each site divided by its control's SD: the only scale on which sites may be pooled."""
    table = pd.read_parquet(shared_data("ab/microcredit_7rct.parquet"))
    reference = json.loads(shared_data("ab/microcredit_7rct.reference.json").read_text())
    y, v = [], []
    for site, expected in reference["profit_in_control_sd"].items():
        rows = table[(table.group == site) & table.profit.notna()]
        arms = [rows.profit[rows.treatment == a].to_numpy() for a in (0, 1)]
        n, sd = sum(map(len, arms)), float(np.std(arms[0], ddof=1))
        hc1 = sum(((a - a.mean()) ** 2).sum() / len(a) ** 2 for a in arms) * n / (n - 2)
        y.append((arms[1].mean() - arms[0].mean()) / sd)
        v.append(hc1 / sd**2)
        assert (y[-1], v[-1] ** 0.5) == pytest.approx((expected["d"], expected["se"]), rel=1e-5)

    agrees(pool(y, v), reference["meta_profit_in_control_sd"]["REML"])
