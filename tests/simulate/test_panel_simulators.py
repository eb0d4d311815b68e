"""Do the simulated plan switch and the coupon by province hold what they promise?"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from upliftlab.data.panel import NEVER
from upliftlab.errors import DefinitionError
from upliftlab.simulate.coupon_money import (
    COUPON_COMPONENTS,
    Offer,
    coupon_components,
    coupon_profit,
)
from upliftlab.simulate.geo_coupon import GeoCoupon, draw_geo, geo_panel, geo_truth, write_geo
from upliftlab.simulate.plan_switch import (
    PlanSwitch,
    draw_switch,
    switch_panel,
    switch_truth,
    write_switch,
)

AT = {name: place for place, name in enumerate(COUPON_COMPONENTS)}


def broken_rows(y):
    """Count cells whose ledger does not add up."""
    part = {name: y[..., place] for name, place in AT.items()}
    return [
        int((part["gmv_platform"] != part["gmv_merchant"] + part["merchant_coupon"]).sum()),
        int((part["gmv_merchant"] != part["cash"] + part["platform_coupon"]).sum()),
        int((part["orders_shipped"] != part["orders_kept"] + part["orders_returned"]).sum()),
        int((part["kept_sales"] > part["gmv_merchant"]).sum()),
    ]


def test_profit_of_an_order_without_coupon_is_the_ledgers():
    """Expected profit of one order at full price, by hand from the rates."""
    y = coupon_components(Offer(), np.ones(1), np.zeros(1), np.zeros(1))
    # 0.602 kept x (130 x 0.84 - 41.99) - 0.86 x 6.7 - 0.258 x (1.5 + 0.08 x 41.99) - 0.6
    by_hand = 0.602 * (130 * 0.84 - 41.99) - 0.86 * 6.7 - 0.258 * (1.5 + 0.08 * 41.99) - 0.6

    assert coupon_profit(y, Offer().rates)[0] / 100 == pytest.approx(by_hand)


def test_profit_is_linear_in_components():
    """The profit of a sum of days is the sum of their profits."""
    y = draw_switch(PlanSwitch()).outcomes(draw_switch(PlanSwitch()).on)
    rates = Offer().rates

    total = coupon_profit(y.sum(axis=1), rates)
    np.testing.assert_allclose(total, coupon_profit(y, rates).sum(axis=1))


def test_who_pays_moves_profit_and_not_orders():
    """A coupon paid by the platform sells as much and earns the merchant more."""
    ours, theirs = (PlanSwitch(offer=Offer(merchant_share=share)) for share in (1.0, 0.2))
    found = [switch_truth(draw_switch(settings)) for settings in (ours, theirs)]

    assert found[0].gte["orders"] == found[1].gte["orders"]
    assert found[0].gte["profit"] < found[1].gte["profit"]
    assert found[0].base == found[1].base


def test_every_weekday_is_on_in_half_of_the_weeks():
    """A pair of weeks has each weekday once on and once off, drawn apart for each group."""
    on = draw_switch(PlanSwitch(groups=5, weeks=6)).on.reshape(5, 3, 2, 7)

    assert (on.sum(axis=2) == 1).all()
    assert len({group.tobytes() for group in on}) == 5


def test_switching_needs_carry_over_to_hurt_the_next_day():
    """Without it the day after is as always; with it orders move from tomorrow to today."""
    plain = switch_truth(draw_switch(PlanSwitch()))
    carried = switch_truth(draw_switch(PlanSwitch(carry_over=0.4)))

    assert set(plain.day_after.values()) == {0.0}
    assert plain.gte == plain.same_day
    assert carried.same_day == plain.same_day
    assert carried.day_after["orders"] < 0
    whole = carried.same_day["orders"] + carried.day_after["orders"]
    assert carried.gte["orders"] == pytest.approx(whole)


def test_a_day_can_win_where_the_plan_loses():
    """Under strong carry-over the same day earns and being always on does not."""
    found = switch_truth(draw_switch(PlanSwitch(carry_over=0.4)))

    assert found.same_day["profit"] > 0 > found.gte["profit"]


def test_on_and_off_days_find_the_same_day_effect():
    """Over 60 shops, the mean difference of log orders lies near the log of the lift."""
    found = []
    for seed in range(60):
        drawn = draw_switch(PlanSwitch(seed=seed))
        orders = np.log(switch_panel(drawn).y[:, :, AT["orders"]])
        orders = orders - orders.mean(axis=1, keepdims=True)
        found.append(orders[drawn.on].mean() - orders[~drawn.on].mean())

    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(np.log(1.12), abs=3 * error)
    assert error < 0.01


def test_a_coupon_that_moves_nobody_only_costs():
    """Without lift and larger baskets orders stay and kept sales fall by the coupons used."""
    settings = PlanSwitch(lift=0.0, offer=Offer(top_up=0.0))
    found = switch_truth(draw_switch(settings))

    assert found.gte["orders"] == found.gte["gmv_platform"] == 0
    assert found.gte["kept_sales"] == pytest.approx(-found.gte["kept_merchant_coupon"])
    assert found.gte["profit"] == pytest.approx(0.84 * found.gte["kept_sales"])


def test_seeds_fix_both_panels_and_reactions_share_the_noise():
    """Equal settings give equal numbers, and no reaction changes the world without coupon."""
    one, same = (switch_panel(draw_switch(PlanSwitch())).y for _ in range(2))
    lifted, flat = (draw_geo(GeoCoupon(lift=lift)).worlds["none"] for lift in (0.1, 0.0))

    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(lifted, flat)
    other = draw_geo(GeoCoupon(seed=1)).worlds["none"]
    assert (other[:, :, AT["orders"]] != flat[:, :, AT["orders"]]).all()


@pytest.mark.parametrize("settings", [PlanSwitch(groups=1), PlanSwitch(carry_over=0.3)])
def test_whole_panels_keep_the_ledger(settings):
    """Rounded money and orders still add up in every cell; exact ones do within a hair."""
    drawn = draw_switch(settings)
    whole, exact = switch_panel(drawn, whole=True), switch_panel(drawn)

    assert broken_rows(whole.y) == [0, 0, 0, 0]
    assert (whole.y == np.rint(whole.y)).all()
    assert np.abs(whole.y - exact.y).max() <= 2
    np.testing.assert_array_equal(whole.y[:, :, -1], drawn.on)


def test_the_written_switch_holds_the_rounded_panel(tmp_path):
    """One row per group and day, with on or off beside the components."""
    settings = PlanSwitch(groups=2, weeks=2)
    folder = write_switch(settings, tmp_path / "switch")
    rows = pq.read_table(folder / "plan_day.parquet").to_pydict()
    panel = switch_panel(draw_switch(settings), whole=True)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))

    assert list(rows)[:3] == ["group", "day", "coupon_on"]
    assert rows["coupon_on"] == panel.y[:, :, -1].reshape(-1).astype(int).tolist()
    assert rows["kept_sales"] == panel.y[:, :, AT["kept_sales"]].reshape(-1).tolist()
    assert truth["gte"] == switch_truth(draw_switch(settings)).gte


def test_truth_by_province_is_the_mean_of_unit_effects():
    """ATT by wave and period is observed minus none among the provinces of that wave."""
    drawn = draw_geo(GeoCoupon(starts=(10, 14), treated=12))
    found = geo_truth(drawn)
    effect = drawn.worlds["observed"] - drawn.worlds["none"]
    treated = np.arange(26) >= drawn.start[:, None]

    assert found.starts == (10, 14)
    assert found.att["orders"] == pytest.approx(effect[treated][:, AT["orders"]].mean())
    cell = effect[drawn.start == 14, 20][:, AT["merchant_coupon"]].mean()
    assert found.cohort(14, 20, "merchant_coupon") == pytest.approx(cell)
    profit = coupon_profit(effect, drawn.settings.offer.rates)
    assert found.att["profit"] == pytest.approx(profit[treated].mean())
    assert found.elsewhere["orders"] == 0


def test_provinces_start_as_asked():
    """The number of treated provinces, waves and the choice of the largest are kept to."""
    drawn = draw_geo(GeoCoupon(starts=(10, 14, 18), treated=9))
    large = draw_geo(GeoCoupon(pick_largest=True, treated=3, spread_loading=0.0))
    size = large.worlds["none"][:, :, AT["orders"]].mean(axis=1)

    assert [int((drawn.start == g).sum()) for g in (10, 14, 18, NEVER)] == [3, 3, 3, 21]
    assert set(np.flatnonzero(large.start != NEVER)) <= set(np.argsort(-size)[:5])
    assert size.max() / np.median(size) > 3


def test_a_leak_reaches_provinces_without_the_coupon():
    """Half of the lift shows in untreated provinces once the first wave runs."""
    drawn = draw_geo(GeoCoupon(leak=0.5, spread_lift=0.0))
    orders = {name: y[:, :, AT["orders"]] for name, y in drawn.worlds.items()}
    ratio = orders["observed"] / orders["none"]
    never = drawn.start == NEVER

    np.testing.assert_allclose(ratio[never, 16:], 1.05)
    np.testing.assert_allclose(ratio[~never, 16:], 1.10)
    np.testing.assert_allclose(ratio[:, :16], 1.0)
    assert not drawn.worlds["observed"][never, :, AT["merchant_coupon"]].any()
    assert geo_truth(drawn).elsewhere["orders"] > 0


def test_the_written_provinces_tell_one_story(tmp_path):
    """Table, waves and truth hold the rounded panel and its starts, by day as by week."""
    settings = GeoCoupon(provinces=4, periods=10, treated=2, starts=(6,), period="day")
    folder = write_geo(settings, tmp_path / "geo")
    rows = pq.read_table(folder / "province_day.parquet").to_pydict()
    panel = geo_panel(draw_geo(settings), whole=True)
    waves = (folder / "waves.csv").read_text(encoding="utf-8").splitlines()

    assert rows["orders"] == panel.y[:, :, AT["orders"]].reshape(-1).tolist()
    assert broken_rows(panel.y) == [0, 0, 0, 0]
    assert panel.periods[6] == "2026-06-07"
    assert sorted(line.split(",")[1] for line in waves[1:]) == ["", "", *["2026-06-07"] * 2]
    starts = {str(day) for day in rows["starts_on"] if day is not None}
    assert starts == {"2026-06-07"}
    assert (folder / "truth.json").is_file()


def test_a_ramp_moves_the_window_of_the_truth():
    """The truth of always against never counts from the first period of the full lift."""
    settings = GeoCoupon(ramp=4, spread_lift=0.0)
    drawn = draw_geo(settings)
    found = geo_truth(drawn)

    assert found.window == (19, 25)
    ratio = drawn.worlds["all"][0, :, AT["orders"]] / drawn.worlds["none"][0, :, AT["orders"]]
    np.testing.assert_allclose(ratio[15:20], [1, 1.025, 1.05, 1.075, 1.10])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PlanSwitch(weeks=5), "weeks is 5 (int); write an even number"),
        (lambda: PlanSwitch(carry_over=2.0), "write groups of at least 1 and a carry_over"),
        (lambda: GeoCoupon(starts=(30,)), "starts is [30]; write rising periods from 1 to 25"),
        (
            lambda: GeoCoupon(treated=31),
            "treated is 31 (int); write a number from 1 (waves) to 30",
        ),
        (lambda: replace(GeoCoupon(), period="month"), "period is 'month'; allowed: "),
    ],
)
def test_impossible_settings_are_refused(make, message):
    """The message names what was found and what would work."""
    with pytest.raises(DefinitionError) as caught:
        make()

    assert message in str(caught.value)
