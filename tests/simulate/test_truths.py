"""Does the simulator reproduce the reference truth table of its process?"""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.simulate import SmartCoupon, draw, preset, truth, unit_outcomes
from upliftlab.simulate.population import PERSUADABLE

# Every reference number below comes from another simulation of the same process, with
# 6 x 1,000,000 customers, written down before this one; yuan per assigned customer.
REFERENCE_N = 6_000_000
BASE = {
    "conversion": (0.0837, 0.0066, 0.0116, 0.0164),
    "gmv_platform_14d": (10.885, 0.910, 1.559, 2.195),
    "gmv_merchant_14d": (10.885, 0.671, 1.056, 1.137),
    "kept_sales_14d": (6.600, 0.246, 0.369, 0.326),
    "profit_14d": (2.777, 0.031, 0.007, -0.155),
    "gmv_merchant_60d": (29.535, 0.689, 1.077, 1.014),
    "profit_60d": (7.489, 0.035, 0.012, -0.186),
}
FUNDING = {0.2: (0.124, 0.198, 0.199), 1.0: (0.006, -0.049, -0.314)}
SEGMENTS = {
    "persuadable": (0.69, 1.12, 1.33),
    "sure_thing": (-0.25, -0.61, -1.59),
    "lost_cause": (0.00, 0.00, -0.01),
    "sleeping_dog": (-0.86, -1.24, -1.63),
    "new": (0.119, 0.187, 0.212),
    "existing": (-0.021, -0.104, -0.451),
}
UNBOOKED = {
    0.0: (0.161, 0.202, 0.038),
    0.35: (0.117, 0.134, -0.030),
    0.70: (0.071, 0.065, -0.099),
}
COUPON_COST = (0.239, 0.503, 1.058)
ATTRIBUTED = (37.0, 18.6, 9.3)
POLICIES = {
    "new_customers_only": (0.048, 0.075, 0.085),
    "persuadables_only": (0.115, 0.185, 0.220),
}
# Four standard errors of the difference of two simulations, and the last printed digit.
WIDTH = 4.0


def _sizes():
    slow = pytest.param(2_000_000, marks=pytest.mark.slow, id="2M")
    return [pytest.param(200_000, id="200k"), slow]


@pytest.fixture(scope="module", params=_sizes())
def drawn(request):
    return draw(SmartCoupon(customers=request.param))


@pytest.fixture(scope="module")
def found(drawn):
    return truth(drawn)


def _near(value, reference, spread, n, digit):
    error = spread * np.sqrt(1 / n + 1 / REFERENCE_N)
    return abs(value - reference) <= WIDTH * error + digit / 2


@pytest.mark.parametrize("outcome", BASE)
def test_means_and_effects_match_the_reference_table(drawn, found, outcome):
    """Control mean and the three effects agree with the table within Monte-Carlo error."""
    outcomes = unit_outcomes(drawn, outcome)
    columns = [outcomes[:, 0], *(outcomes[:, arm] - outcomes[:, 0] for arm in (1, 2, 3))]
    digit = 1e-4 if outcome == "conversion" else 1e-3
    # The reference seems to draw each later basket (its 60-day SD is larger than that of
    # expected values): its control mean is allowed that spread as well.
    extra = 20.0 if outcome.endswith("60d") else 0.0

    for column, reference in zip(columns, BASE[outcome], strict=True):
        spread = np.hypot(column.std(), extra if column is columns[0] else 0.0)
        assert _near(column.mean(), reference, spread, len(drawn), digit)
    arms = [found.means["all"][outcome][0], *(found.effect(outcome, a) for a in found.arms[1:])]
    assert arms == pytest.approx([column.mean() for column in columns])


@pytest.mark.parametrize("group", SEGMENTS)
def test_effects_by_group_match_the_reference_table(drawn, found, group):
    """60-day profit effects by latent segment and by newness agree with the table."""
    places = {
        name: code
        for code, name in enumerate(("persuadable", "sure_thing", "lost_cause", "sleeping_dog"))
    }
    people = drawn.people
    member = {"new": people.is_new, "existing": ~people.is_new}.get(
        group, people.segment == places.get(group, -1)
    )
    outcomes = unit_outcomes(drawn, "profit_60d")[member]
    # Sleeping dogs lose where orders vanish, and the table's own groups are of that size.
    share = member.mean()
    digit = 1e-3 if group in {"new", "existing"} else 1e-2

    for arm, reference in enumerate(SEGMENTS[group], start=1):
        effect = outcomes[:, arm] - outcomes[:, 0]
        error = effect.std() * np.sqrt(1 / len(effect) + 1 / (share * REFERENCE_N))
        assert abs(effect.mean() - reference) <= WIDTH * error + digit / 2
        assert found.effect("profit_60d", found.arms[arm], group=group) == pytest.approx(
            effect.mean()
        )


@pytest.mark.parametrize("share", FUNDING)
def test_the_funding_split_turns_the_sign(drawn, share):
    """60-day profit at other merchant shares agrees with the table; no order changes."""
    other = draw(SmartCoupon(customers=len(drawn), merchant_share=share))
    outcomes = unit_outcomes(other, "profit_60d")

    for arm, reference in enumerate(FUNDING[share], start=1):
        effect = outcomes[:, arm] - outcomes[:, 0]
        assert _near(effect.mean(), reference, effect.std(), len(drawn), 1e-3)
    assert (unit_outcomes(other, "conversion") == unit_outcomes(drawn, "conversion")).all()


@pytest.mark.parametrize("booked", UNBOOKED)
def test_immature_effects_match_the_reference_values(drawn, found, booked):
    """14-day profit with a share of returns booked agrees with the table."""
    full = unit_outcomes(drawn, "profit_14d")
    none = unit_outcomes(drawn, "profit_14d_unbooked")
    outcomes = booked * full + (1 - booked) * none

    for arm, reference in enumerate(UNBOOKED[booked], start=1):
        effect = outcomes[:, arm] - outcomes[:, 0]
        assert found.maturity[booked][arm] == pytest.approx(effect.mean())
        # This row is another run than the table (its full effects differ by up to .002) and
        # its size is not known: it is allowed .003 on top.
        assert _near(effect.mean(), reference, effect.std(), len(drawn), 6e-3)


def test_costs_and_dashboards_match_the_reference_table(drawn, found):
    """Coupon cost, attributed return and incremental return agree with the table."""
    cost = unit_outcomes(drawn, "merchant_coupon")
    for arm in (1, 2, 3):
        spread = cost[:, arm].std()
        assert _near(cost[:, arm].mean(), COUPON_COST[arm - 1], spread, len(drawn), 1e-3)
        assert found.attributed_roi[arm] == pytest.approx(ATTRIBUTED[arm - 1], rel=0.02)
        gain = found.effect("profit_60d", found.arms[arm])
        assert found.iroi_60d[arm] == pytest.approx(gain / cost[:, arm].mean())
    assert np.isnan(found.iroi_60d[0])


def test_rules_are_worth_what_the_table_says(drawn, found):
    """New customers only, and persuadables only, are worth their reference values."""
    outcomes = unit_outcomes(drawn, "profit_60d")
    chosen = {
        "new_customers_only": drawn.people.is_new,
        "persuadables_only": drawn.people.segment == PERSUADABLE,
    }
    for rule, members in chosen.items():
        for arm, reference in enumerate(POLICIES[rule], start=1):
            gain = (outcomes[:, arm] - outcomes[:, 0]) * members
            assert found.policies[rule][arm] == pytest.approx(gain.mean())
            assert _near(gain.mean(), reference, gain.std(), len(drawn), 1e-3)


def test_the_truth_survives_json():
    """A truth turns into plain values, with None where a number does not exist."""
    import json

    plain = truth(preset("null", customers=1_000)).to_dict()

    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain["iroi_60d"][0] is None
