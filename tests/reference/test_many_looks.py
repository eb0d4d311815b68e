"""Case E16's long series: 181 and 196 looks at real experiments, power spending.

The numbers are Spotify Confidence's (many_looks.json says from where). Its first bounds are
ours to all digits printed; from the second on it integrates on a coarse grid so as to be quick,
and once stops at a cap of 8. Quadrature decides who is right.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, special

from upliftlab.stats.group_sequential import Boundary, bounds_by_spending, crossing
from upliftlab.stats.spending import Spending

HELD = json.loads((Path(__file__).parent / "many_looks.json").read_text(encoding="utf-8"))
SERIES = {each["name"]: each for each in HELD["series"]}
POWER = Spending(family="power", parameter=2)
PRINTED_8 = 6e-9
"""Half of the last digit published, and the rounding of a difference."""


def of(name, looks=None):
    """Shares of information, error and published bounds of a series."""
    found = SERIES[name]
    at, published = (np.array(found[key][:looks]) for key in ("information", "published"))
    return at, found["alpha"], published


def spent(at, alpha, upper):
    """Error that bounds spend at each look, over what was asked of them."""
    bounds = Boundary(information=at, upper=upper, lower=-upper)
    return crossing(bounds).upper / (alpha / 2 * np.diff(at**2, prepend=0.0))


@pytest.mark.parametrize(
    ("name", "first", "published", "second"),
    [("181 looks", 5.75400023, 8.0, 5.3215025), ("196 looks", 5.0536015, 4.819334, 4.8332810)],
)
def test_first_bounds_are_the_published_and_second_ones_those_of_quadrature(
    name, first, published, second
):
    """One integral settles the second look: 5.3215 and 4.8333, published 8.0 and 4.8193."""
    at, alpha, theirs = of(name, 2)
    found = bounds_by_spending(POWER, at, alpha=alpha).upper
    lasts = np.sqrt(at[0] / at[1])

    def late(x):
        above = (found[1] - lasts * x) / np.sqrt(1 - lasts**2)
        return np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * special.ndtr(-above)

    gone = sum(
        integrate.quad(late, side * found[0], side * (found[0] + 6), epsabs=1e-18)[0] * side
        for side in (-1, 1)
    )
    wanted = alpha / 2 * (at[1] ** 2 - at[0] ** 2)

    assert theirs.tolist() == [first, published]
    assert found[0] == pytest.approx(first, abs=PRINTED_8)
    assert found[1] == pytest.approx(second, abs=1e-6)
    assert special.ndtr(-found[1]) - gone == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "shares"),
    [("181 looks", [1.0, 0.0, 0.688, 0.994]), ("196 looks", [1.0, 1.073, 0.934, 0.965])],
)
def test_published_bounds_do_not_spend_what_they_promise(name, shares):
    """Share of each look's error that the published bounds spend; ours spend all of it."""
    at, alpha, theirs = of(name, 12)
    ours = bounds_by_spending(POWER, at, alpha=alpha).upper

    assert spent(at, alpha, theirs)[:4] == pytest.approx(shares, abs=1e-3)
    assert spent(at, alpha, ours) == pytest.approx(np.ones(12), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "last", "apart"),
    [("181 looks", 3.3021979, 0.022), ("196 looks", 3.7361179, 0.028)],
)
def test_all_looks_stay_near_the_published_and_spend_all_error(name, last, apart):
    """Last bounds 3.3022 and 3.7361, published 3.3004 and 3.7087; slow: 377 looks."""
    at, alpha, theirs = of(name)
    found = bounds_by_spending(POWER, at, alpha=alpha).upper

    assert found[-1] == pytest.approx(last, abs=1e-5)
    assert np.abs(found - theirs)[3:].max() < apart
    assert crossing(Boundary(information=at, upper=found, lower=-found)).upper.sum() == (
        pytest.approx(alpha / 2 * at[-1] ** 2, rel=1e-5)
    )
