"""Published numbers of always-valid inference.

Origin: GrowthBook's gbstats (`packages/stats/tests/frequentist/test_tests.py` and
`test_gbstats.py`), confseq 0.0.11 (`test/uniform_boundaries_unittest.cpp`, whose targets come
from its R implementation); where no program is named, computed from the formula.
"""

from __future__ import annotations

import math

import pytest

from upliftlab.stats.confidence_sequence import (
    always_valid_p,
    e_value,
    mixing,
    msprt_multiplier,
    multiplier,
)
from upliftlab.stats.quantile_sequence import (
    distribution_band,
    double_stitched_bound,
    quantile_p,
)
from upliftlab.stats.uniform_bounds import (
    best_rho,
    beta_binomial_bound,
    beta_binomial_log_mixture,
    gamma_exponential_bound,
    gamma_exponential_log_mixture,
    gamma_poisson_bound,
    gamma_poisson_log_mixture,
    normal_log_mixture,
    normal_mixture_bound,
    stitched_bound,
)

CONFSEQ = 1e-5
"""The tolerance of confseq's own tests."""
N = 3_000 + 3_461
"""Units of the gbstats examples."""


@pytest.mark.parametrize(
    ("tuned_at", "rho"), [(1_000, 0.0890851), (5_000, 0.0398401), (6_461, 0.0350474)]
)
def test_mixing_parameter(tuned_at, rho):
    """Case E1: equation 161 of arXiv 2103.06476v7."""
    assert mixing(tuned_at) == pytest.approx(rho, abs=5.1e-8)


def _of(total, squares, n):
    mean = total / n
    return mean, (squares - n * mean**2) / (n - 1)


def _relative(control, treatment):
    """Relative difference and its delta-method SE, as gbstats has it."""
    (c, var_c, n_c), (t, var_t, n_t) = control, treatment
    variance = var_t / (c**2 * n_t) + var_c * t**2 / (c**4 * n_c)
    return (t - c) / c, math.sqrt(variance)


def test_proportions_of_gbstats():
    """Case E3: 1396 of 3000 against 2422 of 3461, relative."""
    p_c, p_t = 1396 / 3000, 2422 / 3461
    lift, se = _relative((p_c, p_c * (1 - p_c), 3000), (p_t, p_t * (1 - p_t), 3461))
    reach = se * float(multiplier(N, tuned_at=5_000))

    assert (lift, se) == pytest.approx((0.50386, 0.03386), abs=5.1e-6)
    assert (lift - reach, lift + reach) == pytest.approx((0.40098, 0.60675), abs=5.1e-6)
    assert e_value(lift / se, N, tuned_at=5_000) == pytest.approx(1.93e43, rel=5e-3)


def test_adjusted_means_of_gbstats():
    """Case E4: covariate sums 16.87/527.9767 and 22.7/1348.29, products 1.

    gbstats puts the coefficient of all units into both arms and prices the control term with
    the unadjusted treatment mean (its convention, as in case C3).
    """
    arms = {"c": (3000, 1396.87, 52377.9767, 16.87, 527.9767, 1.0),
            "t": (3461, 2422.7, 134698.29, 22.7, 1348.29, 1.0)}  # fmt: skip
    y, x, xy = {}, {}, {}
    for arm, (n, sy, syy, sx, sxx, sxy) in arms.items():
        y[arm], x[arm] = _of(sy, syy, n), _of(sx, sxx, n)
        xy[arm] = (sxy - sx * sy / n) / (n - 1)
    n_c, n_t = 3000, 3461
    pooled = _pooled(arms)
    theta = pooled["xy"] / pooled["xx"]
    m_c, m_t = y["c"][0], y["t"][0]
    gap = (m_t - theta * x["t"][0]) - (m_c - theta * x["c"][0])
    var_t = y["t"][1] + theta**2 * x["t"][1] - 2 * theta * xy["t"]
    control = (
        y["c"][1] * m_t**2 / m_c**4
        + theta**2 * x["c"][1] / m_c**2
        - 2 * theta * m_t * xy["c"] / m_c**3
    )
    lift, se = gap / m_c, math.sqrt(var_t / m_c**2 / n_t + control / n_c)
    reach = se * float(multiplier(N, tuned_at=5_000))

    assert lift == pytest.approx(0.50338, abs=5.1e-6)
    assert (lift - reach, lift + reach) == pytest.approx((-0.50969, 1.51646), abs=5.1e-6)


def _pooled(arms):
    """Centred second moments of both arms joined."""
    n, sy, _, sx, sxx, sxy = (sum(arm[i] for arm in arms.values()) for i in range(6))
    return {"xy": sxy - sx * sy / n, "xx": sxx - sx * sx / n}


ABSOLUTE = (0.23437666666666668, 0.12983081254184736)


def test_one_sided_of_gbstats():
    """Case E5: the bound on one side, equation 134 of arXiv 2103.06476v7."""
    estimate, se = ABSOLUTE
    reach = se * float(multiplier(N, tuned_at=5_000, sided=1))

    assert estimate - reach == pytest.approx(-0.12656844172804982, abs=1e-12)
    assert estimate + reach == pytest.approx(0.5953217750613832, abs=1e-12)


def test_one_sided_p_of_gbstats():
    """Case E5: gbstats halves [.00001, .4999] twelve times and takes the middle: .46316.

    The exact p is .46305, within the last bracket; beyond .4999 gbstats stops where ours goes
    on to 1.
    """
    estimate, se = ABSOLUTE
    exact = always_valid_p(estimate / se, N, tuned_at=5_000, sided=1)
    steps = (0.46316491943359384 - 1e-5) / ((0.4999 - 1e-5) / 2**12)

    assert exact == pytest.approx(0.46304736, abs=5e-9)
    assert steps == pytest.approx(round(steps), abs=1e-6)
    assert abs(exact - 0.46316491943359384) < 0.4999 / 2**12
    assert always_valid_p(-estimate / se, N, tuned_at=5_000, sided=1) == 1.0


@pytest.mark.parametrize(
    ("n", "factor"),
    [(500, 3.8551), (1_000, 3.3639), (5_000, 3.0352), (10_000, 3.0615), (50_000, 3.2417)],
)
def test_multiplier_of_the_standard_error(n, factor):
    """Case E6: half-width over standard error, tuned at 5,000."""
    assert float(multiplier(n, tuned_at=5_000)) == pytest.approx(factor, abs=5.1e-5)


def test_multiplier_where_it_is_tuned():
    """Case E6: at its own tuning the factor is always the same."""
    assert float(multiplier(1_000, tuned_at=1_000)) == pytest.approx(3.0352, abs=5.1e-5)


def test_normal_mixture_of_confseq():
    """Case E7: tuned at intrinsic time 100."""
    two, one = best_rho(100), best_rho(100, sided=1)

    assert two == pytest.approx(12.60056, abs=CONFSEQ)
    assert normal_log_mixture(10, 100, two) == pytest.approx(-0.6510052, abs=CONFSEQ)
    assert normal_mixture_bound(100, tuned_at=100) == pytest.approx(30.35209, abs=CONFSEQ)
    assert normal_log_mixture(10, 100, one, sided=1) == pytest.approx(-0.06502391, abs=CONFSEQ)
    assert normal_mixture_bound(100, tuned_at=100, sided=1) == pytest.approx(
        27.66071, abs=CONFSEQ
    )


def test_other_mixtures_of_confseq():
    """Case E8: gamma-exponential and gamma-Poisson, scale 2; beta-binomial on -0.2 .. 0.8."""
    rho = best_rho(100, sided=1)
    binomial = {"tuned_at": 100, "low": 0.2, "high": 0.8}

    found = [
        gamma_exponential_log_mixture(10, 100, rho, 2),
        gamma_exponential_bound(100, tuned_at=100, c=2),
        gamma_poisson_log_mixture(10, 100, rho, 2),
        gamma_poisson_bound(100, tuned_at=100, c=2),
        beta_binomial_log_mixture(10, 100, **binomial),
        beta_binomial_bound(100, **binomial),
        beta_binomial_log_mixture(10, 100, sided=1, **binomial),
        beta_binomial_bound(100, sided=1, **binomial),
        beta_binomial_bound(0.32, sided=1, **binomial),
    ]
    assert found == pytest.approx(
        [-0.2490165, 33.02017, -0.06991219, 30.1949, -0.6941012, 31.4308, -0.07134019,
         28.41238, 1.6],
        abs=CONFSEQ,
    )  # fmt: skip


def test_stitched_bounds_of_confseq():
    """Case E8: polynomial stitching from intrinsic time 10 on."""
    assert stitched_bound(100, v_min=10, c=3) == pytest.approx(64.48755, abs=CONFSEQ)
    assert stitched_bound(100, v_min=10, c=-1) == pytest.approx(28.99389, abs=CONFSEQ)


@pytest.mark.parametrize(
    ("quantile", "shift", "p"),
    [(0.5, 70, 0.814704), (0.5, 85, 0.0838055), (0.5, 100, 0.0054947), (0.9, 55, 0.0340463)],
)
def test_quantiles_of_confseq(quantile, shift, p):
    """Case E10: 1..1000 against the same shifted; either way round."""
    plain = [float(i + 1) for i in range(1_000)]
    shifted = [value + shift for value in plain]

    assert quantile_p(shifted, plain, quantile) == pytest.approx(p, abs=5.1e-7)
    assert quantile_p(plain, shifted, quantile) == pytest.approx(p, abs=5.1e-7)


def test_bounds_for_all_quantiles_of_confseq():
    """Case E10: double stitching, and the band for the whole distribution.

    confseq prints .08204769 for the band and allows 1e-5; minimised to full precision the
    constant gives .08204779.
    """
    found = [double_stitched_bound(q, 1_000, tuned_at=100) for q in (0.5, 0.9, 0.1)]

    assert found == pytest.approx([68.62803, 43.72119, 59.96521], abs=CONFSEQ)
    assert distribution_band(1_000, from_t=100) == pytest.approx(0.08204769, abs=CONFSEQ)
    assert distribution_band(1_000, from_t=100) == pytest.approx(0.08204779, abs=5.1e-9)


def test_sequential_probability_ratio_as_documented():
    """Case E11: the prior's variance follows the sample, alpha split in halves."""
    assert msprt_multiplier((1, 1), (1_000, 1_000)) == pytest.approx(3.584515, abs=5.1e-7)
    assert msprt_multiplier((4, 9), (500, 1_500)) == pytest.approx(3.621058, abs=5.1e-7)
