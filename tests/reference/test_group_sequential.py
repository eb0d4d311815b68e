"""Published bounds of group-sequential designs.

Origin: tables of Jennison and Turnbull (2000), chapter 2, for Pocock and O'Brien-Fleming;
gsDesign (R, read 2026-07-31) `tests/testthat/test-base.R`,
`_snaps/independent-test-gsBoundSummary.md` and `print.gsDesign.md` for Hwang-Shih-DeCani,
inflation and futility; Spotify's confidence
`tests/frequentist/test_bounds.py` for the power family past its end; ExpAn
`tests/tests_core/test_early_stopping.py` for the value of the spending function. Where no
program is named the numbers were integrated independently (801-point Simpson recursion).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from upliftlab.stats.group_sequential import (
    Boundary,
    bounds_by_shape,
    bounds_by_spending,
    bounds_with_futility,
    crossing,
    drift_for_power,
    expected_information,
    inflation,
    looks,
)
from upliftlab.stats.spending import Spending

BOUND = 1e-4
"""What bounds of gsDesign are reproduced to."""
PRINTED_3 = 5.1e-4
"""Three digits behind the point are printed."""
PRINTED_4 = 5.1e-5


@pytest.mark.parametrize(
    ("number", "pocock", "nominal", "last"),
    [
        (2, 2.1783, 0.02939, 1.9774),
        (3, 2.2895, 0.02205, 2.0040),
        (4, 2.3613, 0.01821, 2.0243),
        (5, 2.4132, 0.01581, 2.0401),
        (10, 2.5550, 0.01062, 2.0865),
    ],
)
def test_pocock_and_obrien_fleming_constants(number, pocock, nominal, last):
    """Case E12: two-sided 5 %, equally spaced looks."""
    flat = bounds_by_shape(looks(number), shape=0.5)
    steep = bounds_by_shape(looks(number))

    assert flat.upper == pytest.approx(pocock, abs=PRINTED_4)
    assert 2 * special.ndtr(-flat.upper[0]) == pytest.approx(nominal, abs=5.1e-6)
    assert steep.upper[-1] == pytest.approx(last, abs=PRINTED_4)


@pytest.mark.parametrize(
    ("number", "bounds"),
    [
        (2, [2.797, 1.977]),
        (3, [3.471, 2.454, 2.004]),
        (4, [4.049, 2.863, 2.337, 2.024]),
        (5, [4.562, 3.226, 2.634, 2.281, 2.040]),
    ],
)
def test_obrien_fleming_bounds(number, bounds):
    """Case E12: bounds at every look; for four looks gsDesign prints 4.05, 2.86, 2.34, 2.02."""
    found = bounds_by_shape(looks(number))

    assert found.upper == pytest.approx(bounds, abs=PRINTED_3)


def test_obrien_fleming_nominal_p():
    """Case E12: nominal two-sided p of five looks."""
    nominal = 2 * special.ndtr(-bounds_by_shape(looks(5)).upper)

    assert nominal == pytest.approx(
        [0.000005, 0.001257, 0.008445, 0.022556, 0.041343], abs=5.1e-7
    )


def test_ten_obrien_fleming_looks():
    """Case E12: the first and the last of ten."""
    assert bounds_by_shape(looks(10)).upper[[0, -1]] == pytest.approx(
        [6.598, 2.087], abs=PRINTED_3
    )


@pytest.mark.parametrize(
    ("spending", "bounds"),
    [
        (Spending(), [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]),
        (Spending(family="pocock"), [2.4380, 2.4268, 2.4102, 2.3966, 2.3860]),
        (
            Spending(family="hwang_shih_decani", parameter=-4),
            [3.2527, 2.9860, 2.6917, 2.3737, 2.0253],
        ),
        (Spending(family="power", parameter=3), [3.5401, 2.9743, 2.6045, 2.3064, 2.0455]),
    ],
)
@pytest.mark.parametrize("sided", [1, 2])
def test_spending_bounds_of_five_looks(spending, bounds, sided):
    """Cases E13, E14, E18: one-sided 2.5 % and two-sided 5 % agree to the digits shown."""
    found = bounds_by_spending(spending, looks(5), alpha=0.025 * sided, sided=sided)

    assert found.upper == pytest.approx(bounds, abs=BOUND)


def test_power_spending_of_four_looks():
    """Case E18: exponent 2."""
    found = bounds_by_spending(Spending(family="power", parameter=2), looks(4))

    assert found.upper == pytest.approx([2.9552, 2.5594, 2.3009, 2.0920], abs=BOUND)


def test_spent_so_far_of_the_obrien_fleming_kind():
    """Case E13: cumulative error of one side."""
    spent = Spending().spent(looks(5), 0.025)

    assert spent == pytest.approx([1e-6, 0.000394, 0.003808, 0.012212, 0.025], abs=5.1e-7)


def test_spent_so_far_as_expan_has_it():
    """Case E17: ExpAn puts the error of both sides into the function of one side.

    At half the information it spends .005575 of 5 %; twice one side's .001525 is .003051. The
    same function, called with another alpha; ours is called with one side's.
    """
    expan = Spending().spent([0.2, 0.4, 0.6, 0.8, 1.0], 0.05)

    assert expan == pytest.approx(
        [1.17264468e-05, 1.94191300e-03, 1.13964185e-02, 2.84296308e-02, 0.05], rel=1e-8
    )
    assert Spending().spent(0.5, 0.05) == pytest.approx(0.005574596680784305, rel=1e-12)
    assert 2 * Spending().spent(0.5, 0.025) == pytest.approx(0.00305065, abs=5e-9)


def test_chance_to_stop_of_hwang_shih_decani():
    """Case E14: cumulative, under no effect and under the effect of 90 % power."""
    bounds = bounds_by_spending(
        Spending(family="hwang_shih_decani", parameter=-4), looks(5), alpha=0.025, sided=1
    )
    drift = drift_for_power(bounds, 0.9)

    assert crossing(bounds).upper.cumsum() == pytest.approx(
        [0.0006, 0.0018, 0.0047, 0.0110, 0.0250], abs=PRINTED_4
    )
    assert crossing(bounds, drift).upper.cumsum() == pytest.approx(
        [0.0370, 0.1883, 0.4530, 0.7229, 0.9000], abs=PRINTED_4
    )
    assert inflation(bounds, power=0.9, alpha=0.025, sided=1) == pytest.approx(1.023, abs=5e-4)


@pytest.mark.parametrize(
    ("number", "shape", "power", "largest", "average"),
    [
        (5, 0.0, 0.8, 1.0284, None),
        (4, 0.5, 0.8, 1.2025, [1.175, 1.088, 0.805, 0.522]),
        (15, 0.5, 0.9, 1.305, [1.264]),
        (20, 0.0, 0.9, 1.045, [1.034]),
    ],
)
def test_inflation_and_average_sample(number, shape, power, largest, average):
    """Case E15: largest sample, and the average at 0, .5, 1, 1.5 times the effect."""
    bounds = bounds_by_shape(looks(number), shape=shape)
    drift = drift_for_power(bounds, power)
    most = inflation(bounds, power=power)
    found = [most * expected_information(bounds, f * drift) for f in (0, 0.5, 1, 1.5)]

    assert most == pytest.approx(largest, abs=PRINTED_3)
    assert found[: len(average or [])] == pytest.approx(average or [], abs=PRINTED_3)


def test_power_spending_past_its_end():
    """Case E16: 300 units planned, 810 came; shares are rescaled to the last look."""
    spending = Spending(family="power", parameter=2)
    found = bounds_by_spending(spending, np.array([250, 450, 630, 810]) / 810, alpha=0.01)

    assert found.upper == pytest.approx([3.3042, 3.0342, 2.8706, 2.7286], abs=BOUND)
    assert 2 * special.ndtr(-found.upper) == pytest.approx(
        [0.00095, 0.00241, 0.00410, 0.00636], abs=1e-5
    )


def test_power_spending_past_its_end_without_hindsight():
    """Case E16 our way: a bound cannot know of the over-run; nothing is left after the end."""
    spending = Spending(family="power", parameter=2)
    found = bounds_by_spending(spending, np.array([250, 450, 630, 810]) / 300, alpha=0.01)

    first = -special.ndtri(0.005 * (250 / 300) ** 2)
    assert found.upper[0] == pytest.approx(first, abs=1e-8)
    assert crossing(found).upper.sum() == pytest.approx(0.005, abs=1e-7)
    assert np.isinf(found.upper[2:]).all()


def test_naive_peeking():
    """Case E19: chance that |z| > 1.96 at some of K looks; Armitage, McPherson, Rowe (1969)."""
    rates = []
    for number in (2, 5, 10, 20):
        bound = np.full(number, 1.959963985)
        found = crossing(
            Boundary(information=np.array(looks(number)), upper=bound, lower=-bound)
        )
        rates.append(float(found.upper.sum() + found.lower.sum()))

    assert rates == pytest.approx([0.0831, 0.1417, 0.1934, 0.2479], abs=PRINTED_4)


def test_futility_bounds_of_gsdesign():
    """gsDesign() as it stands: three looks, alpha 2.5 %, power 90 %, non-binding futility."""
    late, early = (Spending(family="hwang_shih_decani", parameter=g) for g in (-4, -2))
    found = bounds_with_futility(late, early, looks(3), alpha=0.025, beta=0.1)
    fixed = -special.ndtri(0.025) - special.ndtri(0.1)

    assert found.upper == pytest.approx([3.0107, 2.5465, 1.9992], abs=BOUND)
    assert found.lower == pytest.approx([-0.2387, 0.9411, 1.9992], abs=BOUND)
    assert (found.drift / fixed) ** 2 == pytest.approx(1.0699, abs=BOUND)


def test_binding_and_non_binding_futility_of_five_looks():
    """gsDesign `print.gsDesign.md`, test types 3 and 4: z to two digits."""
    late, early = (Spending(family="hwang_shih_decani", parameter=g) for g in (-4, -2))
    fixed = -special.ndtri(0.025) - special.ndtri(0.1)
    tight = bounds_with_futility(late, early, looks(5), beta=0.1, binding=True)
    loose = bounds_with_futility(late, early, looks(5), beta=0.1)

    assert tight.upper == pytest.approx([3.25, 2.99, 2.69, 2.37, 1.97], abs=5.1e-3)
    assert tight.lower == pytest.approx([-0.92, -0.07, 0.66, 1.32, 1.97], abs=5.1e-3)
    assert (tight.drift / fixed) ** 2 == pytest.approx(1.069, abs=PRINTED_3)
    assert crossing(tight).lower == pytest.approx(
        [0.1777, 0.3135, 0.2708, 0.1527, 0.0602], abs=PRINTED_4
    )
    assert loose.lower == pytest.approx([-0.90, -0.04, 0.69, 1.36, 2.03], abs=5.1e-3)
    assert crossing(loose).upper == pytest.approx(
        [0.0006, 0.0013, 0.0028, 0.0062, 0.0117], abs=PRINTED_4
    )


@pytest.mark.parametrize(
    ("number", "rho", "alpha", "beta", "largest", "average"),
    [
        (5, 2, 0.05, 0.05, 110.1, [63.4, 80.3, 63.4]),
        (10, 3, 0.05, 0.05, 106.9, [63.1, 79.5, 63.1]),
        (3, 2, 0.05, 0.1, 107.2, [68.1, 83.9, 73.8]),
        (2, 2, 0.05, 0.2, 104.3, [74.5, 87.8, 84.6]),
        (15, 3, 0.05, 0.2, 106.9, [62.2, 77.3, 73.0]),
    ],
)
def test_power_family_with_binding_futility(number, rho, alpha, beta, largest, average):
    """gsDesign `test-base.R`, "test.JT.Power.type3": Jennison and Turnbull's tables 4.x."""
    spending = Spending(family="power", parameter=rho)
    found = bounds_with_futility(
        spending, spending, looks(number), alpha=alpha, beta=beta, binding=True
    )
    most = (found.drift / (special.ndtri(1 - alpha) - special.ndtri(beta))) ** 2
    sizes = [100 * most * expected_information(found, f * found.drift) for f in (0, 0.5, 1)]

    assert 100 * most == pytest.approx(largest, abs=0.051)
    assert sizes == pytest.approx(average, abs=0.051)


@pytest.mark.parametrize(
    ("number", "shape", "power", "largest", "last"),
    [(9, 0.1, 0.9, 1.048, 2.113), (6, 0.25, 0.8, 1.077, 2.154), (7, 0.4, 0.8, 1.159, 2.313)],
)
def test_wang_and_tsiatis(number, shape, power, largest, last):
    """gsDesign `test-base.R`, "test.JT.WT"."""
    bounds = bounds_by_shape(looks(number), shape=shape)

    assert bounds.upper[-1] == pytest.approx(last, abs=PRINTED_3)
    assert inflation(bounds, power=power) == pytest.approx(largest, abs=PRINTED_3)
