"""Targeting asked by a plan: other prices, arms that chance dealt unevenly or nobody dealt."""

from __future__ import annotations

import numpy as np
import pytest
from tests.targeting.test_run import plan, rows

from upliftlab.analysis import run
from upliftlab.data.prepare import plan_of, prepare
from upliftlab.data.score_table import score_table
from upliftlab.errors import UpliftlabError
from upliftlab.experiment import Experiment
from upliftlab.targeting import nuisances
from upliftlab.targeting.halves import ScoreBook

N = 6_000

FLOAT32 = 2e-6
"""Sums of float32 in another order."""


@pytest.fixture
def fits(monkeypatch):
    """Names of nuisances as they are fitted."""
    seen = []
    real = nuisances.fit_shared

    def counted(*args, **more):
        seen.append(more["rows"])
        return real(*args, **more)

    monkeypatch.setattr(nuisances, "fit_shared", counted)
    return seen


def test_other_prices_fit_no_nuisance_again(fits):
    """With a book of scores a what-if learns rules only, and equals a run of its own."""
    made = Experiment(**plan(features=["city", "days"], rule="tree"))
    tables = {"units": rows(n=3_000)}
    book = ScoreBook()
    first = run(made, tables, scores=book)
    begun = len(fits)
    dearer = first.economics.scaled("coupon", 4.0)

    again = run(made, tables, economics=dearer, scores=book).targeting
    refitted = len(fits) - begun
    fresh = run(made, tables, economics=dearer).targeting

    assert refitted == 0
    assert len(fits) - begun >= begun > 0
    assert again.verdict == fresh.verdict
    assert again.sql == fresh.sql
    for name in ("tree", "everybody:c20", "response"):
        mine, its = again.worth(name).value, fresh.worth(name).value
        assert mine.estimate == pytest.approx(its.estimate, rel=FLOAT32, abs=1e-3)
        assert mine.std_error == pytest.approx(its.std_error, rel=FLOAT32)
    assert again.robustness == fresh.robustness
    # A coupon at four times its price costs three times its price more.
    before, after = (each.worth("everybody:c20") for each in (first.targeting, again))
    more = before.value.estimate - after.value.estimate
    assert more == pytest.approx(3 * before.cost.estimate, rel=1e-4)


def test_a_book_does_not_mix_up_data():
    """Other units have other scores, whatever the book holds."""
    made, book = Experiment(**plan(features=["city"], rule="tree")), ScoreBook()
    one, other = rows(n=2_000), rows(n=2_000, seed=2)
    run(made, {"units": one}, scores=book)

    found = run(made, {"units": other}, scores=book).targeting
    alone = run(made, {"units": other}).targeting

    assert np.isclose(
        found.worth("everybody:c20").value.estimate,
        alone.worth("everybody:c20").value.estimate,
        rtol=FLOAT32,
    )


def unevenly(n=N, seed=1):
    """Coupons go to those who buy anyway; in city A they bring 20 yuan of sales, elsewhere 0.

    The chance of a coupon rises with days, and so does buying: plain means are wrong.
    """
    rng = np.random.default_rng(seed)
    table = rows(n=n, seed=seed)
    chance = np.clip(1 / (1 + np.exp(-(table["days"] - 45) / 20)), 0.05, 0.95)
    treated = rng.random(n) < chance
    bought = rng.random(n) < 0.1 + 0.4 * table["days"] / 90
    sales = bought * rng.gamma(2.0, 30.0, n) + treated * (table["city"] == "A") * 20.0
    return table.assign(
        grp=np.where(treated, "c20", "none"),
        gmv=sales.round(2),
        merchant_coupon=np.where(treated & bought, 8.0, 0.0),
        propensity=np.where(treated, chance, 1 - chance),
    )


# Half of 20 yuan for half of all, less 8 yuan for the 30 % who buy.
TRUTH = 100 * (0.5 * 0.5 * 20.0 - 8.0 * 0.3)


def asked(table, drawn=None, **changes):
    """The analysis of a plan with a target block."""
    target = changes.pop("target", {"features": ["city", "days"], "rule": "tree"})
    made = plan(**target) | ({} if drawn is None else {"assign": {"drawn": drawn}}) | changes
    return run(Experiment(**made), {"units": table})


@pytest.fixture(scope="module")
def uneven():
    """Uneven chances, recorded."""
    return unevenly()


def test_recorded_chances_take_the_place_of_shares(uneven):
    """Headline and rules are right where plain means see twice the truth."""
    found = asked(uneven)
    profit, who = found.profits[0].profit, found.targeting
    means = uneven.groupby("grp")[["gmv", "merchant_coupon"]].mean() @ [50.0, -100.0]

    assert means["c20"] - means["none"] > 1.8 * TRUTH
    assert abs(profit.estimate - TRUTH) < 2.5 * profit.std_error
    assert profit.std_error < 60
    assert who.verdict != "blocked"
    assert {c.verdict for c in (*who.checks, *found.checks)} <= {"pass", "info", "warn"}
    assert [c.name for c in found.checks if c.message.startswith("Recorded chances")] == [
        "sample_ratio"
    ]
    # What everybody earns is the same number on the page and in the table of rules.
    assert who.worth("everybody:c20").value.excludes(TRUTH) is False
    assert len(who.robustness) == 2


def test_where_nobody_drew_chances_are_estimated_and_doubted(uneven):
    """Without recorded chances the verdict stands, with how strong an unseen cause must be."""
    table = uneven.drop(columns="propensity")
    found = asked(table, drawn=False, decide={"segments": ["city"]})
    profit, who = found.profits[0].profit, found.targeting
    named = {check.name: check for check in (*who.checks, *found.checks)}

    assert abs(profit.estimate - TRUTH) < 2.5 * profit.std_error
    assert who.verdict != "blocked"
    assert "Nobody drew the arms: this is right if all that decided" in who.estimand
    assert any("cause" in text for text in who.robustness[2:])
    assert named["arms_not_drawn"].verdict == "warn"
    assert named["weighed_balance"].verdict == "pass"
    assert named["overlap"].message.startswith("Chances of each arm are estimated (")
    assert not {"sample_ratio", "balance", "leakage"} & set(named)
    assert found.segments == ()
    assert "Segments and other windows are not corrected" in found.notes[-1]


def test_recorded_chances_that_do_not_fit_leave_no_verdict(uneven):
    """The chance of treatment in the place of that of the own arm is found out, and said."""
    wrong = uneven.assign(
        propensity=np.where(uneven.grp == "c20", uneven.propensity, 1 - uneven.propensity)
    )

    found = asked(wrong)

    said = found.targeting.finding
    assert found.targeting.verdict == "blocked"
    assert said.startswith("No rule is given: Recorded chances of arms do not fit who got them")
    assert said.endswith(
        "The column propensity must hold the chance of the arm that the customer got; chances "
        "of single arms go into columns propensity_<arm>."
    )
    assert found.decisions[0].verdict == "no verdict"


def test_chances_by_arm_say_the_same(uneven):
    """One column per arm, or for all arms but one, is as good as that of the own arm."""
    coupon = np.where(uneven.grp == "c20", uneven.propensity, 1 - uneven.propensity)
    by_arm = uneven.drop(columns="propensity")
    made = Experiment(**plan(features=["city", "days"]))

    own, one, both = (
        score_table(prepare(made, {"units": table}), plan_of(made)).propensity
        for table in (
            uneven,
            by_arm.assign(propensity_c20=coupon),
            by_arm.assign(propensity_c20=coupon, propensity_none=1 - coupon),
        )
    )

    assert np.allclose(own, one, atol=1e-6)
    assert np.allclose(own, both, atol=1e-6)


def test_even_chances_change_nothing():
    """A table that records the plan's own shares gives the numbers of a table without."""
    table = rows(n=2_000)

    bare, recorded = (
        asked(each) for each in (table, table.assign(propensity=0.5))
    )  # fmt: skip

    assert recorded.profits[0].profit == bare.profits[0].profit
    assert recorded.targeting.rules[0].value == bare.targeting.rules[0].value
    assert "propensity" not in {check.name for check in recorded.targeting.checks}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"propensity": [1.2, *[0.5] * 99]},
            (
                "column 'propensity' of table 'units' runs from 0.5 to 1.2, beyond what a "
                "chance can be in 1 of 100 rows; write the chance of the arm, above 0 and at "
                "most 1."
            ),
        ),
        (
            {"propensity": [np.nan, *[0.5] * 99]},
            (
                "column 'propensity' of table 'units' is empty in 1 of 100 rows; it must be "
                "filled in every row."
            ),
        ),
        (
            {"propensity": [0.0, *[0.5] * 99]},
            (
                "column 'propensity' of table 'units' runs from 0 to 0.5, beyond what a "
                "chance can be in 1 of 100 rows; write the chance of the arm, above 0 and at "
                "most 1."
            ),
        ),
        (
            {"propensity_none": [0.5] * 100, "propensity_c20": [0.4] * 100},
            "propensities of a unit add up to 0.9; they must add up to 1.",
        ),
        (
            {"propensity": [1.0, *[0.5] * 99]},
            (
                "arm 'c20' has probability 0 for some units; nothing is known of what it would "
                "do to them. Leave these units out."
            ),
        ),
    ],
)
def test_chances_that_none_can_be_are_refused(columns, said):
    """Out of range, missing, not adding up, or 0 for another arm: one sentence."""
    table = rows(n=100).assign(grp=["none", "c20"] * 50, **columns)

    with pytest.raises(UpliftlabError) as caught:
        asked(table)

    assert str(caught.value) == said


def test_chances_of_one_arm_of_three_are_too_few():
    """All arms but one must have their chance."""
    table = rows(n=90).assign(grp=["none", "c20", "c30"] * 30, propensity_c20=0.3)
    arms = {
        "none": {"share": "40%", "control": True},
        "c20": {"share": "30%", "coupon": 20},
        "c30": {"share": "30%", "coupon": 30},
    }

    with pytest.raises(UpliftlabError) as caught:
        asked(table, arms=arms)

    assert str(caught.value) == (
        "source 'units' has ['propensity_c20'] and lacks ['propensity_none', "
        "'propensity_c30']; give the chance of every arm, or of all but one."
    )


def test_of_three_arms_the_own_chance_is_enough():
    """With several arms the chance of a unit's own arm makes means right."""
    rng = np.random.default_rng(5)
    n = 4_000
    table = rows(n=n)
    high = (table["days"] > 45).to_numpy()
    chances = np.where(high[:, None], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1])
    arm = (rng.random(n)[:, None] > chances.cumsum(axis=1)[:, :-1]).sum(axis=1)
    table = table.assign(
        grp=np.array(["none", "c20", "c30"])[arm],
        gmv=np.round(10.0 + 30.0 * high + 2.0 * arm + rng.normal(0, 1, n).clip(-9, 9), 2),
        merchant_coupon=0.0,
        propensity=chances[np.arange(n), arm],
    )
    arms = {
        "none": {"share": "40%", "control": True},
        "c20": {"share": "30%", "coupon": 20},
        "c30": {"share": "30%", "coupon": 30},
    }

    found = asked(table, arms=arms)

    # Half of 2 and of 4 yuan; plain means add far more.
    for truth, profit in zip((100, 200), (each.profit for each in found.profits), strict=True):
        assert abs(profit.estimate - truth) < 3 * profit.std_error < 60
    assert any(
        check.name == "sample_ratio" for check in found.checks if check.verdict == "pass"
    )
