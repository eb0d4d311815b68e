"""Does the simulated smart coupon behave as its process says?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from upliftlab.errors import DefinitionError
from upliftlab.simulate import (
    PRESETS,
    SmartCoupon,
    draw,
    preset,
    smart_coupon,
    truth,
    unit_components,
    unit_outcomes,
    unit_profit,
)
from upliftlab.simulate.population import DEAL_SEEKER
from upliftlab.simulate.smart_coupon import propensities

N = 200_000


@pytest.fixture(scope="module")
def drawn():
    return draw(SmartCoupon(customers=N))


@pytest.fixture(scope="module")
def units(drawn):
    return unit_components(drawn)


def _column(units, name):
    return units.values[:, units.names.index(name)]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_draws_its_customers(name):
    """Every named world can be drawn, and only ``srm`` loses customers."""
    found = draw(preset(name, customers=2_000))

    assert len(found) == 2_000 or name == "srm"
    assert np.isfinite(unit_components(found).values).all()


def test_the_same_seed_gives_the_same_draw():
    """Two draws of the same settings agree to the bit, and another seed does not."""
    first, again, other = (draw(SmartCoupon(customers=3_000, seed=s)) for s in (1, 1, 2))

    assert (unit_components(first).values == unit_components(again).values).all()
    assert not np.array_equal(first.arm, other.arm)


def test_shares_of_latent_segments_match_the_reference(drawn):
    """Segments come in the shares of the reference process, within four standard errors."""
    shares = np.bincount(drawn.people.segment, minlength=5) / N

    # Reference: 16.6, 21.8, 58.6, 3.0 %, rounded to 0.1 %.
    for share, reference in zip(shares, (0.166, 0.218, 0.586, 0.030), strict=False):
        assert abs(share - reference) < 4 * np.sqrt(reference / N) + 0.0005


def test_new_customers_have_no_history(drawn):
    """A new customer has no recency, frequency, membership or earlier profit."""
    people, new = drawn.people, drawn.people.is_new

    assert np.isnan(people.recency[new]).all()
    assert not np.isnan(people.recency[~new]).any()
    assert not people.frequency[new].any()
    assert not people.pre_profit_fen[new].any()
    assert not people.is_member[new].any()
    assert new.mean() == pytest.approx(0.40, abs=4 * np.sqrt(0.24 / N))


def test_earlier_profit_predicts_later_profit(drawn, units):
    """Earlier profit correlates about .35 with 60-day profit, through latent propensity."""
    profit = unit_profit(drawn.settings, units, days=60)

    correlation = np.corrcoef(profit, units.covariates["pre_profit_fen"])[0, 1]

    assert correlation == pytest.approx(0.35, abs=0.02)


def test_truth_is_the_mean_of_unit_effects(drawn):
    """The truth of a draw is the mean of its customers' potential outcomes."""
    found = truth(drawn)

    for outcome in ("conversion", "gmv_merchant_14d", "kept_sales_60d", "profit_60d"):
        means = unit_outcomes(drawn, outcome).mean(axis=0)
        assert found.means["all"][outcome] == pytest.approx(tuple(means), rel=1e-9)


def test_truth_of_settings_is_the_truth_of_their_draw():
    """Drawing in batches and adding up gives the truth of the whole draw."""
    settings = SmartCoupon(customers=5_000)

    assert truth(settings).to_dict() == truth(draw(settings)).to_dict()


def test_rounding_to_fen_hardly_moves_the_truth(drawn):
    """Rounding every order to fen changes no mean by more than a tenth of a fen."""
    rounded, exact = truth(drawn, rounding=True), truth(drawn)

    for outcome, means in exact.means["all"].items():
        assert rounded.means["all"][outcome] == pytest.approx(means, abs=0.001)
    assert rounded.means["all"]["profit_14d"] != exact.means["all"]["profit_14d"]


def test_realised_outcomes_are_the_potential_ones_of_the_arm_served(drawn, units):
    """Orders and GMV of 14 days are those the customer has under the served arm."""
    everyone = np.arange(N)
    buys = unit_outcomes(drawn, "conversion")[everyone, drawn.served]
    sales = unit_outcomes(drawn, "gmv_merchant_14d", rounding=True)[everyone, drawn.served]
    later = unit_outcomes(drawn, "follow_up_orders")[everyone, drawn.served]

    assert (_column(units, "orders@14d") == buys).all()
    assert (_column(units, "orders@60d") == buys + later).all()
    assert np.abs(_column(units, "gmv_merchant@14d") - 100 * sales).max() < 1e-6


def test_realised_profit_is_the_true_profit_to_the_fen(drawn, units):
    """Components priced with the process' rates give the potential 14-day profit."""
    expected = unit_outcomes(drawn, "profit_14d", rounding=True)
    expected = expected[np.arange(N), drawn.served]

    realised = unit_profit(drawn.settings, units, days=14) / 100

    assert np.abs(realised - expected).max() < 1e-6


def test_a_trial_recovers_the_truth(drawn, units):
    """Differences of realised means lie within four standard errors of the truth."""
    found, arms = truth(drawn), drawn.arm
    profit = unit_profit(drawn.settings, units, days=60) / 100

    for code, arm in enumerate(drawn.settings.arms[1:], start=1):
        treated, control = profit[arms == code], profit[arms == 0]
        error = np.sqrt(treated.var() / len(treated) + control.var() / len(control))
        assert (
            abs(treated.mean() - control.mean() - found.effect("profit_60d", arm)) < 4 * error
        )


def test_funding_moves_profit_and_no_order():
    """Another payer leaves every order as it was and turns the deepest coupon profitable."""
    ours = draw(SmartCoupon(customers=N))
    theirs = draw(preset("platform_funded", customers=N))

    assert (ours.orders.price_fen == theirs.orders.price_fen).all()
    assert (ours.orders.cash_fen == theirs.orders.cash_fen).all()
    assert (ours.orders.pay_s == theirs.orders.pay_s).all()
    assert truth(ours).effect("profit_60d", "coupon_20") < 0
    assert truth(theirs).effect("profit_60d", "coupon_20") > 0


def test_nobody_reacts_in_the_null_world(drawn):
    """Under ``null`` no order changes, and profit falls by what redeemers are given."""
    found = truth(preset("null", customers=N))
    everybody = found.means["all"]

    for outcome in ("conversion", "gmv_platform_60d", "follow_up_orders", "joined"):
        assert len(set(everybody[outcome])) == 1
    kept = 1 - drawn.settings.rates.of_sales
    for arm in found.arms[1:]:
        sales = found.effect("kept_sales_14d", arm)
        assert found.effect("profit_60d", arm) == pytest.approx(kept * sales, rel=1e-9)
        assert sales < 0


def test_nothing_moves_in_the_aa_world():
    """Under ``aa`` every arm has exactly the same outcomes."""
    found = truth(preset("aa", customers=20_000))

    assert all(len(set(means)) == 1 for means in found.means["all"].values())


def test_the_best_rule_beats_the_best_constant_arm(drawn):
    """Giving each latent group its best arm earns at least the best arm for everybody."""
    found = truth(drawn)

    (oracle,) = found.policies["oracle"]
    assert oracle >= max(found.policies["everybody"])
    assert oracle >= max(found.policies["persuadables_only"])


def test_unbooked_returns_flatter_the_deepest_coupon(drawn):
    """With no return booked depth 20 looks profitable; booked returns move it linearly."""
    maturity = truth(drawn).maturity

    assert maturity[0.0][3] > 0 > maturity[0.35][3] > maturity[0.70][3] > maturity[1.0][3]
    assert max(maturity[0.0]) == maturity[0.0][2]
    slope = maturity[0.0][3] - maturity[1.0][3]
    assert maturity[0.0][3] - maturity[0.35][3] == pytest.approx(0.35 * slope)


def test_returns_arrive_by_the_gamma_clock():
    """The share of returns booked at the cut-off is Gamma(4, mean 9 d) at each order's age."""
    early, late = (
        draw(preset(name, customers=N)) for name in ("immature_returns", "gmv_up_profit_down")
    )
    returned = late.orders.is_early & late.orders.returned
    age = (early.settings.as_of.timestamp() - late.orders.pay_s[returned]) / 86_400

    expected = stats.gamma.cdf(age, 4, scale=9 / 4).mean()

    booked = (early.orders.is_early & early.orders.returned).sum() / returned.sum()
    assert booked == pytest.approx(expected, abs=4 * np.sqrt(0.25 / returned.sum()))


def test_srm_loses_one_percent_of_the_treated():
    """Under ``srm`` the sample ratio fails, and passes in the same world without losses.

    With four arms the expected chi-square is 1.9 per 100,000 customers: a million is needed.
    """
    lossy = draw(preset("srm", customers=1_200_000))
    whole = draw(SmartCoupon(customers=1_200_000))

    assert (whole.arm == 0).sum() == (lossy.arm == 0).sum()
    lost = 1 - (lossy.arm > 0).sum() / (whole.arm > 0).sum()
    assert lost == pytest.approx(0.01, abs=0.001)
    assert stats.chisquare(np.bincount(lossy.arm)).pvalue < 0.001
    assert stats.chisquare(np.bincount(whole.arm)).pvalue > 0.001


def test_lost_customers_leave_the_others_as_they_were():
    """Who remains under ``srm`` has the potential outcomes of the whole world."""
    lossy = draw(preset("srm", customers=20_000))
    whole = draw(replace(lossy.settings, lost=0.0))

    remains = np.isin(whole.people.index, lossy.people.index)
    there = unit_outcomes(whole, "profit_60d")[remains]
    assert (there == unit_outcomes(lossy, "profit_60d")).all()


def test_one_control_customer_in_ten_sees_a_coupon_under_leak():
    """Under ``leak`` control customers are served coupons, which ``as_assigned`` counts."""
    leaky = draw(preset("leak", customers=N))
    control = leaky.arm == 0

    leaked = (leaky.served[control] > 0).mean()
    assert leaked == pytest.approx(0.10, abs=4 * np.sqrt(0.09 / control.sum()))
    assert (leaky.served[~control] == leaky.arm[~control]).all()
    found = truth(leaky)
    pure, mixed = found.means["all"]["conversion"], found.as_assigned["conversion"]
    assert mixed[0] == pytest.approx(0.9 * pure[0] + 0.1 * np.mean(pure[1:]))
    assert mixed[1:] == pure[1:]


def test_stacking_gives_a_shop_coupon_to_every_arm_alike():
    """Under ``stacking`` 30 % of each arm hold a shop coupon, which blunts the smart one."""
    stacked = draw(preset("stacking", customers=N))
    holds = stacked.potential.holds_shop_coupon

    for code in range(4):
        arm = stacked.arm == code
        assert holds[arm].mean() == pytest.approx(0.30, abs=4 * np.sqrt(0.21 / arm.sum()))
    assert set(stacked.orders.shop_fen.tolist()) == {0, 800}
    alone = truth(SmartCoupon(customers=N))
    assert truth(stacked).effect("conversion", "coupon_20") < alone.effect(
        "conversion", "coupon_20"
    )


def test_the_promotion_raises_the_baseline_and_dulls_the_coupon():
    """Customers assigned on days 5-7 buy about 2.5 times as often and react less."""
    promo = draw(preset("promo_event", customers=N))
    day = (promo.assigned_s - int(promo.settings.start_ts.timestamp())) // 86_400 + 1
    event = (day >= 5) & (day <= 7)
    buys = unit_outcomes(promo, "conversion")

    assert buys[event, 0].mean() / buys[~event, 0].mean() == pytest.approx(2.5, rel=0.06)
    relative = [
        (b[:, 3].mean() - b[:, 0].mean()) / b[:, 0].mean() for b in (buys[event], buys[~event])
    ]
    assert relative[0] < 0.6 * relative[1]


def test_observational_depth_follows_coupon_share_with_known_propensity():
    """Under ``observational`` keen customers get deeper coupons; weights undo the bias."""
    biased = draw(preset("observational", customers=N))
    share = biased.people.coupon_share
    chances = propensities(biased.settings, share)
    buys = unit_outcomes(biased, "conversion")[np.arange(N), biased.arm]

    assert chances.sum(axis=1) == pytest.approx(1.0)
    assert biased.propensity == pytest.approx(chances[np.arange(N), biased.arm])
    assert share[biased.arm == 3].mean() > share[biased.arm == 0].mean() + 0.05
    weighted = [(buys * (biased.arm == a) / biased.propensity) for a in range(4)]
    for arm, column in enumerate(weighted):
        reference = truth(biased).means["all"]["conversion"][arm]
        assert abs(column.mean() - reference) < 4 * column.std() / np.sqrt(N)


def test_fraud_accounts_are_new_and_send_everything_back():
    """Under ``fraud`` 2 % of accounts are new deal seekers who return 90 to 96 %."""
    seekers = draw(preset("fraud", customers=N))
    is_seeker = seekers.people.segment == DEAL_SEEKER
    theirs = is_seeker[seekers.orders.unit] & seekers.orders.shipped

    assert is_seeker.mean() == pytest.approx(0.02, abs=4 * np.sqrt(0.0196 / N))
    assert seekers.people.is_new[is_seeker].all()
    assert seekers.orders.returned[theirs].mean() == pytest.approx(0.93, abs=0.05)
    found = truth(seekers)
    assert found.effect("profit_60d", "coupon_20", group="deal_seeker") < 0


@pytest.mark.parametrize(
    ("goal", "eligible"),
    [
        ("new_customer", lambda people: people.is_new),
        ("member_activation", lambda people: ~people.is_new & ~people.is_member),
        ("win_back", lambda people: ~people.is_new & (people.recency > 60)),
    ],
)
def test_a_goal_assigns_only_eligible_customers(goal, eligible):
    """Every assigned customer is eligible, and there are as many as asked for."""
    found = draw(SmartCoupon(customers=20_000, goal=goal))

    assert len(found) == 20_000
    assert eligible(found.people).all()


def test_lapsed_customers_have_waited_as_lapsed_ones_of_the_population():
    """Recency under win-back is the population's, given that it is over 60 days."""
    whole = draw(SmartCoupon(customers=N)).people.recency
    lapsed = draw(SmartCoupon(customers=50_000, goal="win_back")).people.recency

    assert stats.ks_2samp(whole[whole > 60], lapsed).pvalue > 0.001


def test_a_coupon_lets_more_customers_join(drawn):
    """Only existing non-members join, more of them under deeper coupons."""
    found = truth(drawn)
    joined = found.means["not_member"]["joined"]

    assert list(joined) == sorted(joined)
    assert joined[0] == pytest.approx(0.03, abs=0.01)
    assert found.means["member"]["joined"] == (0.0, 0.0, 0.0, 0.0)
    assert all(a < j for a, j in zip(found.means["all"]["activated"], joined, strict=True))


def test_batches_make_one_draw(monkeypatch):
    """A draw of several batches is as long, and as consistent, as its parts."""
    monkeypatch.setattr(smart_coupon, "BATCH", 700)
    settings = SmartCoupon(customers=2_000)
    parts = list(smart_coupon.draw_batches(settings))
    whole = draw(settings)

    assert [len(part) for part in parts] == [700, 700, 600]
    stacked = np.vstack([unit_components(part).values for part in parts])
    assert (unit_components(whole).values == stacked).all()
    together, added = truth(whole).means["all"], truth(settings).means["all"]
    assert all(added[name] == pytest.approx(means) for name, means in together.items())


GOAL = "goal is 'winback'; allowed: ['gmv', 'member_activation', 'new_customer', 'win_back']."
DEPTHS = "depths is [5, 10]; write the control (0) and then rising depths in yuan, such as"
SHARES = "shares is [0.5, 0.4]; write 4 shares that add up to 1, or none for equal ones."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goal": "winback"}, f"{GOAL} Did you mean 'win_back'?"),
        ({"leak": 1.5}, "leak is 1.5 (float); write a number from 0 to 1."),
        ({"depths": (5, 10)}, f"{DEPTHS} (0, 5, 10, 20)."),
        ({"shares": (0.5, 0.4)}, SHARES),
    ],
)
def test_a_world_that_cannot_be_drawn_is_refused(changes, message):
    """Settings out of range name the field, what was found and what is allowed."""
    with pytest.raises(DefinitionError) as refused:
        SmartCoupon(**changes)

    assert str(refused.value) == message


def test_an_unknown_preset_is_refused():
    """A misspelt preset names the ones there are."""
    with pytest.raises(DefinitionError, match="Did you mean 'stacking'"):
        preset("staking")


@pytest.mark.slow
def test_trials_cover_the_truth():
    """Of 200 trials, 95 % intervals of 60-day profit cover the truth, without bias."""
    found = truth(SmartCoupon(customers=4_000_000, seed=1))
    scores = []
    for seed in range(200):
        trial = draw(SmartCoupon(customers=20_000, seed=1_000 + seed))
        profit = unit_profit(trial.settings, unit_components(trial), days=60) / 100
        by_arm = [profit[trial.arm == code] for code in range(4)]
        error = [values.var(ddof=1) / len(values) for values in by_arm]
        scores.append([
            (by_arm[code].mean() - by_arm[0].mean() - found.effect("profit_60d", arm))
            / np.sqrt(error[code] + error[0])
            for code, arm in enumerate(found.arms[1:], start=1)
        ])  # fmt: skip
    z = np.array(scores)

    # A share of 600 correlated scores: s.e. about .011 around .95.
    assert 0.92 <= (np.abs(z) < 1.96).mean() <= 0.98
    assert (np.abs(z.mean(axis=0)) < 3 / np.sqrt(200)).all()


@pytest.mark.slow
def test_trials_of_nothing_are_rarely_significant():
    """In the ``aa`` world about one trial in twenty is significant at 5 % by Welch's test."""
    hits = []
    for seed in range(800):
        trial = draw(replace(preset("aa", customers=10_000, seed=seed), depths=(0, 20)))
        profit = unit_profit(trial.settings, unit_components(trial), days=60)
        treated, control = profit[trial.arm == 1], profit[trial.arm == 0]
        hits.append(stats.ttest_ind(treated, control, equal_var=False).pvalue < 0.05)

    # Two standard errors of a share of 800 around .05.
    assert np.mean(hits) == pytest.approx(0.05, abs=0.0155)
