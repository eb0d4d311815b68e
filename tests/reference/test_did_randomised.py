"""Procedural justice training of Chicago police: Roth and Sant'Anna (2023), R's staggered.

7,785 officers x 72 months, 48 cohorts. Reference numbers: ``pj_officer.reference.json`` beside
the data, printed in the package's README to about seven digits.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.randomised import randomised

PRINTED = 1e-7  # absolute, the file's tolerance


@pytest.fixture(scope="module")
def officers(shared_data):
    table = pd.read_parquet(shared_data("did/pj_officer.parquet"))
    wide = table.pivot_table(index="uid", columns="period", values="complaints")
    trained = table.groupby("uid")["first_trained"].first().to_numpy(dtype=float)
    last = wide.columns.max()
    start = np.where(trained > last, NEVER, np.where(np.isfinite(trained), trained, 0) - 1)
    return Panel.of_arrays(wide.to_numpy(), start, names=["complaints"], periods=wide.columns)


@pytest.fixture(scope="module")
def reference(shared_data):
    return json.loads(shared_data("did/pj_officer.reference.json").read_text())


def error(found):
    return float(np.sqrt(found.cov[0, 0]))


@pytest.mark.parametrize("by", ["simple", "cohort", "calendar"])
def test_efficient_averages_agree_with_r(officers, reference, by):
    """Estimate, adjusted and Neyman error of three averages."""
    value, adjusted, neyman = reference["efficient"][by]

    found = randomised(officers, by=by, errors="adjusted")
    plain = randomised(officers, by=by)

    assert found.value[0] == pytest.approx(value, abs=PRINTED)
    assert error(found) == pytest.approx(adjusted, abs=PRINTED)
    assert error(plain) == pytest.approx(neyman, abs=PRINTED)


def test_the_efficient_event_study_agrees_with_r(officers, reference):
    """Horizons 0 to 5 with their adjusted errors, from one call."""
    rows = np.array(reference["efficient"]["eventstudy_0_5"])

    found = randomised(officers, by="eventstudy", horizons=range(6), errors="adjusted")

    assert found.names == tuple(f"complaints@e{e}" for e in range(6))
    assert found.value == pytest.approx(rows[:, 0], abs=PRINTED)
    assert np.sqrt(np.diag(found.cov)) == pytest.approx(rows[:, 1], abs=PRINTED)


@pytest.mark.parametrize(
    ("adjustment", "key"),
    [("callaway_santanna", "cs_simple"), ("sun_abraham", "sun_abraham_simple")],
)
def test_did_weights_in_the_same_frame_agree_with_r(officers, reference, adjustment, key):
    """Coefficient 1 gives Callaway-Sant'Anna or Sun-Abraham, three to eight times as wide."""
    value, adjusted, neyman = reference[key]

    found = randomised(officers, adjustment=adjustment, errors="adjusted")
    plain = randomised(officers, adjustment=adjustment)

    assert found.value[0] == pytest.approx(value, abs=PRINTED)
    assert error(found) == pytest.approx(adjusted, abs=PRINTED)
    assert error(plain) == pytest.approx(neyman, abs=PRINTED)


def test_not_yet_treated_controls_agree_with_r_did(shared_data):
    """R did 2.5.1 on mpdta, not-yet-treated controls: the simple average of cells."""
    table = pd.read_csv(shared_data("did/mpdta.csv"))
    printed = json.loads(shared_data("did/mpdta.reference.json").read_text())
    row = printed["R_did"]["mpdta_nyt_dr"]["simple"]
    wide = table.pivot_table(index="countyreal", columns="year", values="lemp")
    first = table.groupby("countyreal")["first_treat"].first().to_numpy()
    panel = Panel.of_arrays(wide.to_numpy(), np.where(first == 0, NEVER, first - 2003))

    found = randomised(panel, adjustment="callaway_santanna")

    assert found.value[0] == pytest.approx(row["overall_att"], abs=1e-6)
    assert error(found) == pytest.approx(row["overall_se"], rel=0.02)
