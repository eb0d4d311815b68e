"""The same order in other libraries' words: definitions read slowly, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from upliftlab.errors import DataError
from upliftlab.targeting import dialects
from upliftlab.targeting.dialects import cross_walk, econml_uplift
from upliftlab.targeting.rank_metrics import autoc, qini


def draw(n, *, share=0.5, seed=0):
    """A binary outcome with more gain where the priority is high."""
    rng = np.random.default_rng(seed)
    priority = rng.normal(size=n)
    treated = (rng.random(n) < share).astype(int)
    outcome = (rng.random(n) < 0.3 + 0.2 * treated * (priority > 0)).astype(int)
    return outcome, treated, priority


def numbers(*args, **kwargs):
    """Name -> number."""
    return {row.name: row.value.estimate for row in cross_walk(*args, **kwargs)}


def lifts(outcome, treated, priority):
    """Treated less control mean and Radcliffe's Q among the first i units, unit by unit."""
    order = np.argsort(-priority)
    y, t = outcome[order], treated[order]
    rows = []
    for i in range(1, len(y) + 1):
        arm = [y[:i][t[:i] == a] for a in (0, 1)]
        if not len(arm[0]) or not len(arm[1]):
            rows.append((np.nan, np.nan))
            continue
        q = arm[1].sum() - arm[0].sum() * len(arm[1]) / len(arm[0])
        rows.append((arm[1].mean() - arm[0].mean(), q))
    return np.array(rows).T


@pytest.mark.parametrize("share", [0.5, 0.2])
def test_causalml_s_areas_read_slowly(share):
    """Mean over units of the curve from 0, a straight line while an arm is still empty."""
    outcome, treated, priority = draw(300, share=share)
    lift, height = (
        np.interp(np.arange(301), np.append(0, at := np.flatnonzero(np.isfinite(curve)) + 1),
                  np.append(0, curve[at - 1]))
        for curve in lifts(outcome, treated, priority)
    )  # fmt: skip
    gain = lift * np.arange(301)

    found = numbers(outcome, treated, priority)

    assert found["auuc_score_raw"] == pytest.approx(gain.mean(), rel=1e-12)
    assert found["auuc_score"] == pytest.approx(gain.mean() / abs(gain[-1]), rel=1e-12)
    above = height.mean() - height[-1] / 2
    assert found["qini_score"] == pytest.approx(above / abs(height[-1]), rel=1e-12)
    assert found["qini_score_raw"] == pytest.approx(above, rel=1e-12)


def test_causalml_s_rates_read_slowly():
    """Trapezoids of the TOC weighted by 1/q and by q, weights adding up to 1."""
    outcome, treated, priority = draw(200)
    lift, _ = lifts(outcome, treated, priority)
    toc = np.append(0.0, np.nan_to_num(lift - lift[-1]))
    top, bottom = weights = [0.0, 0.0], [0.0, 0.0]
    for i in range(200):
        middle, q = (toc[i] + toc[i + 1]) / 2, (i + 0.5) / 200
        for j, weight in enumerate((1 / q, q)):
            weights[0][j] += weight * middle
            weights[1][j] += weight

    found = numbers(outcome, treated, priority)

    assert found["rate_score_autoc"] == pytest.approx(top[0] / bottom[0], rel=1e-12)
    assert found["rate_score_qini"] == pytest.approx(top[1] / bottom[1], rel=1e-12)


def test_causalml_s_qini_weights_are_about_twice_grf_s():
    """On one order of 4,000 units with IPW scores: 2 within 10%."""
    outcome, treated, priority = draw(4000)
    psi = outcome * (2 * treated - 1) * 2.0

    found = numbers(outcome, treated, priority, psi=psi)

    assert found["rate_score_qini"] / found["rate_qini"] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize("metric", ["qini", "toc"])
def test_econml_s_coefficient_read_slowly(metric):
    """Threshold by threshold, each unit's influence in full."""
    rng = np.random.default_rng(1)
    psi, prediction, training = rng.normal(size=(3, 400))
    grid = np.linspace(5, 95, 50)
    value, moved = 0.0, np.zeros(400)
    for cut, step in zip(np.percentile(training, grid)[:-1], np.diff(grid) / 100, strict=True):
        inside = prediction >= cut
        p = inside.mean()
        left = psi - psi.mean()
        scale = 1.0 if metric == "qini" else 1 / p
        point = scale * p * (psi[inside].mean() - psi.mean())
        value += step * point
        moved += step * (left * (inside - p) * scale - point)

    found = econml_uplift(psi, prediction, training, metric=metric)

    assert found.estimate == pytest.approx(value, rel=1e-12)
    assert found.std_error == pytest.approx(np.sqrt(np.mean(moved**2) / 400), rel=1e-12)


def test_econml_itself_says_the_same():
    """The tester of the installed econml, on ties and training thresholds."""
    utils = pytest.importorskip("econml.validate.utils")
    rng = np.random.default_rng(2)
    psi, prediction, training = rng.normal(size=(3, 500))
    prediction, training = np.round(prediction, 1), np.round(training, 1)

    for metric in ("qini", "toc"):
        value, error, _ = utils.calc_uplift(
            training, prediction, psi, dialects.ECONML_GRID, metric, n_bootstrap=2
        )
        found = econml_uplift(psi, prediction, training, metric=metric)
        assert found.estimate == pytest.approx(value, rel=1e-12)
        assert found.std_error == pytest.approx(error, rel=1e-12)


def test_a_threshold_above_every_prediction_has_no_mean():
    """Training predictions far above: NaN with the reason."""
    found = econml_uplift([1.0, 2.0, 3.0], [1, 2, 3], [10, 11, 12])

    assert np.isnan(found.estimate)
    assert found.note == "a threshold lies above every prediction"


def test_grf_s_rows_are_ours():
    """Under grf's name stand our own AUTOC and Qini, with interval."""
    outcome, treated, priority = draw(500)
    psi = outcome * (2.0 * treated - 1)
    rows = {row.name: row for row in cross_walk(outcome, treated, priority, psi=psi)}

    assert rows["rate_autoc"].value == autoc(psi, priority)
    assert rows["rate_qini"].value == qini(psi, priority)
    assert rows["rate_qini"].library == "grf"


def test_every_row_says_whose_it_is_and_what_it_means():
    """Names are unique; each row has a library and one sentence."""
    rows = cross_walk(*draw(300))

    assert len({row.name for row in rows}) == len(rows)
    assert {row.library for row in rows} == {
        "scikit-uplift", "causalml", "Radcliffe (2007)", "grf", "EconML",
    }  # fmt: skip
    assert all(row.definition.endswith(".") for row in rows)
    assert all(row.value.note for row in rows if not row.value.std_error > 0)


def test_scikit_uplift_takes_no_money():
    """An outcome that is not 0 or 1: NaN with the reason, the others have numbers."""
    outcome, treated, priority = draw(300)
    rows = cross_walk(outcome * 12.5, treated, priority)

    refused = [row for row in rows if row.library == "scikit-uplift"]
    assert {row.value.note for row in refused} == {dialects.ONLY_BINARY}
    assert all(np.isnan(row.value.estimate) for row in refused)
    assert not np.isnan(next(row.value.estimate for row in rows if row.name == "auuc_score"))


def test_without_scores_there_is_no_number_that_needs_them():
    """grf's and EconML's rows say what is missing."""
    rows = [row for row in cross_walk(*draw(100)) if row.library in {"grf", "EconML"}]

    assert len(rows) == 4
    assert {row.value.note for row in rows} == {dialects.NO_SCORES}


def test_a_negative_mean_effect_has_no_order_without_negative_effects():
    """scikit-uplift raises there; here it is NaN with the reason."""
    outcome, treated, priority = draw(400)
    rows = cross_walk(outcome, 1 - treated, priority)
    row = next(row for row in rows if row.name == "qini_auc_score_no_negative")

    assert np.isnan(row.value.estimate)
    assert row.value.note == dialects.HARMS


@given(st.integers(0, 10_000))
def test_causalml_s_number_does_not_depend_on_the_order_of_rows(seed):
    """Equals are mixed evenly, so a shuffled table gives the same numbers."""
    outcome, treated, priority = draw(60)
    priority = np.round(priority)
    rows = np.random.default_rng(seed).permutation(60)
    there = numbers(outcome, treated, priority)
    mixed = numbers(outcome[rows], treated[rows], priority[rows])

    same = [name for name in there if "score" in name or "per_person" in name]
    assert same
    assert [mixed[name] for name in same] == pytest.approx(
        [there[name] for name in same], rel=1e-9, nan_ok=True
    )


@given(st.integers(1, 40))
def test_rising_transformations_of_the_priority_change_no_dialect(power):
    """All definitions use ranks only."""
    outcome, treated, priority = draw(80)
    psi = outcome * (2.0 * treated - 1)

    there = numbers(outcome, treated, priority, psi=psi)
    same = numbers(outcome, treated, np.sinh(priority) * power, psi=psi)

    # EconML interpolates its thresholds between predictions, so only its own may move.
    ranks = [name for name in there if not name.startswith("drtester")]
    assert [same[name] for name in ranks] == pytest.approx([there[name] for name in ranks])


@pytest.mark.parametrize("treated", [[1, 1, 1], [0, 2, 1]])
def test_treated_is_0_and_1_and_both(treated):
    """One arm, or three, are refused."""
    with pytest.raises(DataError, match="0 for control and 1 for treatment, and both"):
        cross_walk([0, 1, 1], treated, [1, 2, 3])
