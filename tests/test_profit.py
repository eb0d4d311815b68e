from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from upliftlab.economics import Economics, Line
from upliftlab.estimators import ab
from upliftlab.profit import across_arms, assess, profit_contrasts

LINES = (
    Line(name="sales", label="sales", stage="order", flows={"merchant": {"gmv_platform": 1.0}}),
    Line(
        name="coupon",
        label="coupon",
        stage="order",
        is_campaign=True,
        flows={"merchant": {"merchant_coupon": -1.0}},
    ),
    Line(
        name="cancelled",
        label="cancelled",
        stage="return",
        flows={"merchant": {"cancelled_sales": -1.0}},
    ),
    Line(
        name="returned",
        label="returned",
        stage="return",
        flows={"merchant": {"returned_sales": -1.0}},
    ),
    Line(name="goods", label="goods", stage="shipment", flows={"merchant": {"goods": -1.0}}),
    Line(
        name="tech_fee",
        label="fee",
        stage="settlement",
        flows={"merchant": {"kept_sales": -0.05}, "platform": {"kept_sales": 0.05}},
    ),
)
BOOK = Economics(lines=LINES)


def test_bars_add_up_to_profit(coupon_effects):
    """The waterfall is one linear form, cut into lines."""
    profit = assess(coupon_effects, BOOK, arm="twenty")

    assert math.fsum(x.effect.estimate for x in profit.lines) == pytest.approx(
        profit.profit.estimate, abs=1e-9
    )
    for line in profit.lines:
        assert line.treatment - line.control == pytest.approx(line.effect.estimate, abs=1e-9)


def test_profit_has_the_error_of_profit_per_unit(make_cells):
    """One covariance gives the same error as computing profit row by row would."""
    rng = np.random.default_rng(5)
    rows = {arm: rng.gamma(1, 100, (500, 2)) for arm in ("none", "ten")}
    cells = make_cells(rows, ("gmv_platform", "goods"))
    effects = ab.estimate(cells, arms=["none", "ten"], control="none")
    book = Economics(lines=(LINES[0], LINES[4]))
    profit = assess(effects, book, arm="ten").profit
    per_unit = {arm: block[:, 0] - block[:, 1] for arm, block in rows.items()}
    variance = sum(values.var(ddof=1) / 500 for values in per_unit.values())

    assert profit.std_error == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert profit.estimate == pytest.approx(per_unit["ten"].mean() - per_unit["none"].mean())


def test_zero_is_in_the_iroi_set_exactly_when_profit_is_not_significant(coupon_effects):
    """Fieller's p-value is that of the numerator."""
    for arm in ("ten", "twenty"):
        profit = assess(coupon_effects, BOOK, arm=arm)

        assert profit.iroi.excludes(0.0) == profit.profit.excludes(0.0)


def test_the_ladder_says_whose_gmv_and_ends_in_profit(coupon_effects):
    """Platform GMV counts the coupon, merchant GMV does not."""
    profit = assess(coupon_effects, BOOK, arm="twenty")
    names = [rung.name for rung in profit.ladder]
    platform, merchant = profit.rung("gmv_platform"), profit.rung("gmv_merchant")

    assert names == ["gmv_platform", "gmv_merchant", "kept_sales", "profit"]
    coupon = next(x for x in profit.lines if x.line == "coupon").effect.estimate
    assert platform.effect.estimate + coupon == pytest.approx(merchant.effect.estimate)


def test_equal_prices_have_no_mechanical_part(coupon_effects):
    """Never a bar of 0: the split does not apply."""
    profit = assess(coupon_effects, BOOK, arm="twenty")

    assert math.isnan(profit.mechanical.estimate)
    assert profit.mechanical.note == "not applicable: both arms have the same prices"


def test_a_price_change_is_mechanical_on_control_and_behavioural_on_the_rest(coupon_effects):
    """p_T.mu_T - p_C.mu_C = (p_T - p_C).mu_C + p_T.(mu_T - mu_C), exactly."""
    fee = Line(
        name="fee",
        label="fee",
        stage="settlement",
        flows={"merchant": {"kept_sales": -0.05}},
        by_arm={"twenty": {"merchant": {"kept_sales": -0.02}}},
    )
    profit = assess(coupon_effects, Economics(lines=(LINES[0], fee)), arm="twenty")
    control = coupon_effects.mean[0, coupon_effects.names.index("kept_sales")]

    assert profit.mechanical.estimate == pytest.approx(0.03 * control, rel=1e-12)
    assert profit.mechanical.estimate + profit.behavioural.estimate == pytest.approx(
        profit.profit.estimate, abs=1e-9
    )


def test_contact_cost_per_unit_is_exact_and_has_no_error(coupon_effects):
    """Every treated unit gets one mailing: 10 fen each, no sampling error."""
    mail = Line(
        name="contact",
        label="mail",
        stage="impression",
        flows={},
        is_campaign=True,
        by_arm={"ten": {"merchant": {"units": -10.0}}},
    )
    profit = assess(coupon_effects, Economics(lines=(*LINES, mail)), arm="ten")
    line = next(x for x in profit.lines if x.line == "contact")

    assert line.effect.estimate == -10.0
    assert math.isnan(line.effect.std_error)
    assert line.effect.note == "it does not vary"


def test_totals_name_their_population(coupon_effects):
    """Realised speaks of the treated, roll-out of the eligible."""
    profit = assess(coupon_effects, BOOK, arm="ten", eligible=1_000_000)

    assert profit.realised.estimate == pytest.approx(4_000 * profit.profit.estimate)
    assert profit.rollout.estimate == pytest.approx(1e6 * profit.profit.estimate)
    assert math.isnan(assess(coupon_effects, BOOK, arm="ten").rollout.estimate)


def test_the_tipping_share_makes_profit_zero(coupon_effects):
    """Re-pricing at the tipping share gives 0 without touching data."""
    profit = assess(coupon_effects, BOOK, arm="twenty")
    share = next(t for t in profit.tipping if t.name == "funding")
    moved = assess(coupon_effects, BOOK.with_funding(share.at.estimate), arm="twenty")

    assert share.now == pytest.approx(0.8)
    assert moved.profit.estimate == pytest.approx(0.0, abs=1e-6)


def test_the_tipping_factor_of_a_line_makes_profit_zero(coupon_effects):
    """Scaling the goods line by its tipping factor gives 0."""
    profit = assess(coupon_effects, BOOK, arm="twenty")
    goods = next(t for t in profit.tipping if t.name == "goods")
    moved = assess(coupon_effects, BOOK.scaled("goods", goods.at.estimate), arm="twenty")

    assert moved.profit.estimate == pytest.approx(0.0, abs=1e-6)


def test_intervals_over_all_arms_contain_each_arms_own(coupon_effects):
    """Holding for all arms at once costs width."""
    found = [assess(coupon_effects, BOOK, arm=arm) for arm in ("ten", "twenty")]
    wide = across_arms(
        found, profit_contrasts(coupon_effects, BOOK, ["ten", "twenty"]), level=0.95
    )

    for own, joint in zip(found, wide, strict=True):
        assert joint.profit_simultaneous.ci_low < own.profit.ci_low
        assert joint.profit_simultaneous.ci_high > own.profit.ci_high
        assert joint.profit == own.profit


@settings(max_examples=30)
@given(factor=st.floats(0.1, 10))
def test_profit_is_linear_in_prices(make_cells, factor):
    """Twice the price of everything is twice the profit."""
    rng = np.random.default_rng(3)
    rows = {arm: rng.gamma(1, 100, (50, 2)) for arm in ("none", "ten")}
    effects = ab.estimate(
        make_cells(rows, ("gmv_platform", "goods")), arms=["none", "ten"], control="none"
    )
    book = Economics(lines=(LINES[0], LINES[4]))
    scaled = book.scaled("sales", factor).scaled("goods", factor)

    once = assess(effects, book, arm="ten").profit
    often = assess(effects, scaled, arm="ten").profit
    assert often.estimate == pytest.approx(factor * once.estimate)
    assert often.std_error == pytest.approx(factor * once.std_error)


def test_a_share_of_control_is_shown_only_where_control_is_clear_of_zero(make_cells):
    """Profit near 0 in control has no percentage."""
    rng = np.random.default_rng(4)
    rows = {arm: rng.normal(0, 100, (200, 1)) for arm in ("none", "ten")}
    effects = ab.estimate(
        make_cells(rows, ("gmv_platform",)), arms=["none", "ten"], control="none"
    )
    profit = assess(effects, Economics(lines=LINES[:1]), arm="ten").profit

    assert math.isnan(profit.rel_estimate)
