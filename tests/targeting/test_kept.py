"""Limits are judged on units that the rule was not learned from, each in one sentence."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.targeting.asked import Ask
from upliftlab.targeting.boosting import bin_features
from upliftlab.targeting.kept import kept_limits
from upliftlab.targeting.lessons import lesson
from upliftlab.targeting.scores import Worth
from upliftlab.targeting.taught import Material

SPENT = (
    "The rule spends 250 yuan (from 239 yuan to 261 yuan) of the budget of 260 yuan over 1,000 "
    "eligible customers."
)
NONE = (
    "The rule brings 0 more new customers (from 0 to 0) over 1,000 eligible customers; the "
    "plan asks for 50: not kept."
)


def half(n=2_000, spent=50.0, brought=20.0, new=0.1):
    """Units whose treatment costs, earns and brings new customers, with some noise."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(n, 1)).astype(np.float32)
    arm = rng.integers(0, 2, n)

    def worth(value):
        scores = np.column_stack([np.zeros(n), value + rng.normal(size=n)])
        return Worth(value=scores.astype(np.float32), arms=("none", "c20"))

    return Material(
        x=x,
        bins=bin_features(x),
        profit=worth(brought),
        cost=worth(spent),
        counts={"new_customers": worth(new)},
        lessons=lesson(x, arm * 1.0, arm, arms=("none", "c20"), propensity=[0.5, 0.5]),
    )


def said(treated, **limits):
    """The only check that one limit gives, where so many are treated."""
    ask = Ask(eligible=1_000, unit="customer", main="yuan", scale=100, **limits)
    arm = (np.arange(2_000) < treated * 2_000).astype(np.intp)
    (check,) = kept_limits(arm, half(), ask)
    return check


@pytest.mark.parametrize(
    ("treated", "limits", "verdict", "begins"),
    [
        (0.5, {"budget": 26.0}, "pass", SPENT),
        (0.5, {"budget": 24.3}, "warn", "The rule spends 250 yuan"),
        (0.5, {"budget": 20.0}, "fail", "The rule spends 250 yuan"),
        (0.3, {"at_most": 0.3}, "pass", "The rule treats 30.0% of customers, of 30% allowed."),
        (
            0.5,
            {"at_most": 0.3},
            "fail",
            "The rule treats 50.0% of customers, of 30% allowed: n",
        ),
        (0.5, {"iroi_at_least": 0.2}, "pass", "Beyond 20% of its money the rule brings"),
        (0.5, {"iroi_at_least": 0.6}, "fail", "Beyond 60% of its money the rule brings −"),
        (1.0, {"at_least": {"new_customers": 0.05}}, "pass", "The rule brings"),
        (0.0, {"at_least": {"new_customers": 0.05}}, "fail", NONE),
    ],
)
def test_each_limit_is_judged_with_its_range(treated, limits, verdict, begins):
    """Kept, perhaps not, surely not."""
    check = said(treated, **limits)

    assert (check.verdict, check.message[: len(begins)]) == (verdict, begins)


def test_a_plan_without_limits_has_none_to_keep():
    """Nothing is said of what nobody asked for."""
    assert kept_limits(np.ones(2_000, dtype=np.intp), half(), Ask()) == ()
