from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from upliftlab.checks import Check
from upliftlab.decision import KEEP_TESTING, NO_VERDICT, SHIP, STOP, Rules, decide
from upliftlab.estimators.metrics import MetricEffect
from upliftlab.profit import Profit, Rung
from upliftlab.stats.estimate import interval, undefined


def profit(
    estimate,
    error,
    *,
    gmv=(10.0, 1.0),
    wide=1.2,
    segment="everyone",
    cost=5.0,
    n=100,
    hurdle=0.0,
):
    own = interval("profit", estimate, error**2)
    joint = interval("profit", estimate, (wide * error) ** 2)
    none = undefined("x", "none")
    return Profit(
        arm="twenty",
        control="none",
        window=60,
        segment=segment,
        n=n,
        n_control=n,
        profit=own,
        profit_simultaneous=joint,
        lines=(),
        ladder=(
            Rung(
                name="gmv_platform",
                label="GMV",
                control=100.0,
                effect=interval("gmv", gmv[0], gmv[1] ** 2),
            ),
        ),
        campaign_cost=interval("cost", cost, 0.01),
        iroi=interval("iROI", estimate / 5, (error / 5) ** 2),
        over_hurdle=interval("over hurdle", estimate - hurdle * cost, error**2),
        attributed_roi=9.3,
        mechanical=none,
        behavioural=none,
        p_positive=0.5,
        expected_loss=0.0,
        realised=own.scaled(n),
        rollout=own.scaled(1_000),
        rollout_n=1_000,
    )


def guardrail(state):
    return MetricEffect(
        metric="return_rate",
        arm="twenty",
        role="guardrail",
        direction="down",
        treatment=0.3,
        control=0.3,
        effect=interval("r", 0.0, 1.0),
        state=state,
    )


FAILED = Check(name="sample_ratio", verdict="fail", message="Sample ratio: off.")


def test_exactly_one_verdict_for_every_state():
    """A total order: a grid of estimates, errors, GMV, guardrails, checks and hurdles."""
    states = itertools.product(
        (-10.0, -1.0, 0.0, 1.0, 10.0),
        (0.5, 5.0),
        ((10.0, 1.0), (-10.0, 1.0), (0.0, 9.0)),
        ("non-inferior", "inferior", "inconclusive"),
        ((), (FAILED,)),
        (0.0, 0.5),
        (0.0, 2.0),
    )
    for estimate, error, gmv, state, checks, hurdle, worth in states:
        decision = decide(
            profit(estimate, error, gmv=gmv, hurdle=hurdle),
            checks=checks,
            guardrails=[guardrail(state)],
            rules=Rules(worth_it=worth, iroi_at_least=hurdle),
        )

        assert decision.verdict in {NO_VERDICT, STOP, SHIP, KEEP_TESTING}
        assert decision.reasons


def test_a_failed_validity_check_leaves_no_verdict_however_good_the_profit():
    """Data first."""
    decision = decide(profit(10.0, 0.5), checks=[FAILED])

    assert decision.verdict == NO_VERDICT
    assert decision.reasons == ("Sample ratio: off.",)


def test_profit_below_zero_with_gmv_above_is_buying_gmv():
    """The name is said when both are beyond doubt."""
    decision = decide(profit(-10.0, 1.0))

    assert decision.verdict == STOP
    assert decision.is_buying_gmv
    assert decision.reasons == (
        "The whole range of extra profit lies below 0. GMV rose: it buys GMV.",
    )
    assert not decide(profit(-10.0, 1.0, gmv=(0.0, 9.0))).is_buying_gmv


def test_shipping_needs_the_interval_that_holds_for_all_arms():
    """Own interval above 0, joint one not: keep testing."""
    lucky = profit(2.1, 1.0, wide=1.2)

    assert lucky.profit.is_above_zero
    assert decide(lucky).verdict == KEEP_TESTING
    assert decide(profit(3.0, 1.0, wide=1.2)).verdict == SHIP


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("non-inferior", SHIP), ("inconclusive", KEEP_TESTING), ("inferior", STOP)],
)
def test_a_guardrail_decides_with_profit(state, verdict):
    """Profit alone does not ship."""
    assert decide(profit(10.0, 1.0), guardrails=[guardrail(state)]).verdict == verdict


def test_a_hurdle_needs_profit_beyond_what_it_asks_of_the_cost():
    """Profit 10 +- 2 on cost 5 clears 100 %, not 190 %."""
    assert decide(profit(10.0, 1.0, hurdle=1.0), rules=Rules(iroi_at_least=1.0)).verdict == SHIP
    assert (
        decide(profit(10.0, 1.0, hurdle=1.9), rules=Rules(iroi_at_least=1.9)).verdict
        == KEEP_TESTING
    )


def test_too_small_to_be_worth_it_is_a_stop():
    """Upper end below the smallest gain worth the trouble."""
    assert decide(profit(0.0, 0.5), rules=Rules(worth_it=2.0)).verdict == STOP
    assert decide(profit(0.0, 5.0), rules=Rules(worth_it=2.0)).verdict == KEEP_TESTING


def test_stop_for_everyone_and_ship_to_a_segment_are_a_pair():
    """The deep coupon loses on all and earns on new customers."""
    new = profit(6.0, 1.0, segment="is_new_customer = yes", n=40)
    old = profit(-20.0, 1.0, segment="is_new_customer = no", n=60)
    decision = decide(profit(-10.0, 1.0), segments=[new, old])

    assert (decision.verdict, decision.segment) == (STOP, "is_new_customer = yes")
    assert decision.segment_at_stake == new.rollout


def test_the_segment_with_the_most_money_is_named():
    """At most one."""
    small = profit(9.0, 1.0, segment="vip = yes", n=10)
    large = profit(6.0, 1.0, segment="is_new_customer = yes", n=40)

    assert decide(profit(-10.0, 1.0), segments=[small, large]).segment == large.segment


def test_no_segment_beside_ship_no_verdict_or_an_inferior_guardrail():
    """A segment verdict never contradicts the one for everyone."""
    new = profit(6.0, 1.0, segment="is_new_customer = yes")

    assert decide(profit(10.0, 1.0), segments=[new]).segment == ""
    assert decide(profit(-10.0, 1.0), segments=[new], checks=[FAILED]).segment == ""
    assert (
        decide(profit(-1.0, 1.0), segments=[new], guardrails=[guardrail("inferior")]).segment
        == ""
    )


def test_profit_without_a_range_gives_no_verdict():
    """One unit per arm: a number, and nothing to hold it."""
    lone = replace(profit(1.0, 1.0), profit=undefined("profit", "not estimable"))

    decision = decide(lone)
    assert decision.verdict == NO_VERDICT
    assert decision.reasons == ("Extra profit has no range: not estimable.",)
