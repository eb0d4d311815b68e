"""What the analysis says in the words of whoever decides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from upliftlab.checks import WARN, Check
from upliftlab.decision import KEEP_TESTING, NO_VERDICT, SHIP, STOP
from upliftlab.report import names, words
from upliftlab.report.first_screen import first_screen
from upliftlab.stats.estimate import interval, undefined
from upliftlab.tipping import FUNDING, Tipping

SEGMENT = "is_new_customer = yes"


def decided(analysis, **verdicts):
    """The same analysis with other decisions: arm -> verdict, or (verdict, segment)."""
    found = []
    for decision in analysis.decisions:
        verdict = verdicts.get(decision.arm, decision.verdict)
        verdict, segment = verdict if isinstance(verdict, tuple) else (verdict, "")
        found.append(
            replace(decision, verdict=verdict, segment=segment, is_buying_gmv=verdict == STOP)
        )
    return replace(analysis, decisions=tuple(found), metrics=())


@pytest.fixture
def mock(coupon):
    """The verdicts of the mock-up."""
    return decided(
        coupon, coupon_5=KEEP_TESTING, coupon_10=KEEP_TESTING, coupon_20=(STOP, SEGMENT)
    )


def test_the_headline_says_stop_give_and_keep(mock):
    """The sentence of the mock-up, and what stays open."""
    assert words.headline(mock) == (
        "STOP ¥20 for everyone. GIVE ¥20 to new customers only (segment named in the plan). "
        "KEEP TESTING ¥5 and ¥10."
    )


def test_the_shipped_segment_stands_under_its_arm(mock):
    """First everyone, then the segment, then the other depths from the deepest."""
    rows = first_screen(mock).rows

    assert [row.who for row in rows] == [
        "¥20 to everyone",
        "¥20 to new customers only",
        "¥10 to everyone",
        "¥5 to everyone",
    ]
    assert [row.verdict for row in rows] == [
        "stop: it buys GMV",
        "ship to this segment",
        "keep testing",
        "keep testing",
    ]


def test_of_two_depths_for_one_segment_the_larger_estimate_is_named(coupon):
    """A customer gets one coupon; the table shows both."""
    both = decided(coupon, coupon_10=(KEEP_TESTING, SEGMENT), coupon_20=(STOP, SEGMENT))

    given = words.headline(both).split("GIVE ")[1].split(" to ")[0]
    assert given in {"¥10", "¥20"}
    assert f"switch to {given} " in words.next_step(both)
    assert words.next_step(both).count("switch to") == 1


def test_shipping_says_ship(coupon):
    """One arm ships to everyone."""
    shipped = decided(coupon, coupon_5=SHIP, coupon_10=STOP, coupon_20=STOP)

    assert words.headline(shipped) == "SHIP ¥5 to everyone. STOP ¥10 and ¥20 for everyone."
    assert "give ¥5 to everyone but a 5\xa0% holdout" in words.next_step(shipped)


def test_a_failed_blocking_check_leaves_no_verdict(blocked):
    """Whatever the decisions say."""
    screen = first_screen(blocked)

    assert screen.headline.startswith("NO VERDICT: arms have 9 / 1 customers")
    assert {row.verdict for row in screen.rows} == {"no verdict"}
    assert "check of sample ratio failed" in screen.next_step


def test_an_arm_without_a_range_says_why(coupon):
    """The note stands where the number would be."""
    arm = coupon.profits[0]
    missing = undefined("profit", "an arm has fewer than two units")
    profits = (
        replace(arm, profit=missing, rollout=missing, realised=missing),
        *coupon.profits[1:],
    )
    found = replace(decided(coupon, coupon_5=NO_VERDICT), profits=profits)
    row = next(row for row in first_screen(found).rows if row.who == "¥5 to everyone")

    assert row.money.text == "an arm has fewer than two units"
    assert row.verdict == "no verdict"


@pytest.mark.parametrize(
    ("name", "now", "at", "sentence"),
    [
        (FUNDING, 0.8, 0.51, "we pay less than 51 % of the coupon (now 80 %)"),
        (FUNDING, 0.5, 0.71, "we pay more than 71 % of the coupon (now 50 %)"),
        ("goods", 1.0, 0.69, "cost of goods is 31 % lower"),
        ("returned", 1.0, 1.2, "returned sales are 20 % higher"),
    ],
)
def test_a_tipping_value_is_a_condition(name, now, at, sentence):
    """As in the mock-up: what would have to be how different."""
    found = Tipping(
        name=name,
        label="cost of goods",
        now=now,
        at=interval(name, at, 0.01),
        is_reachable=True,
    )

    assert words.tipping_text(found).replace("\xa0", " ") == sentence


def test_nothing_within_reach_is_said(coupon):
    """No tipping value is invented."""
    arm = coupon.profits[0].arm
    none = replace(
        coupon, profits=tuple(replace(profit, tipping=()) for profit in coupon.profits)
    )

    assert words.flips(none, arm) == f"Flips if: {words.NOTHING_FLIPS}"


def test_trust_counts_checks_and_names_the_first_warning(coupon):
    """Without p-values: method stays below the fold."""
    warning = Check(
        name="leakage",
        verdict=WARN,
        message="Leakage: 0.4% of control saw a coupon (p 0.2).",
        value=0.004,
    )
    passing = tuple(check for check in coupon.checks if check.verdict == "pass")
    text = words.trust(replace(coupon, checks=(warning, *passing)))

    assert f"{len(passing)} checks pass" in text
    assert "1 warning: 0.4\xa0% of control saw a coupon" in text
    assert " p " not in text
    assert "returns final for 100\xa0% of orders" in text


def test_the_profit_says_whose_prices_it_counts(coupon, emails):
    """Yours, assumed, missing, value-added tax and currency."""
    text = words.counted_costs(coupon)

    assert "cost lines yours" in text
    assert "assumed" in text
    assert text.endswith("VAT included, CNY")
    assert "missing (markdown of returned goods" in words.counted_costs(emails)


def test_a_given_profit_counts_what_the_data_counted(coupon):
    """No cost lines are invented where the data hold profit itself."""
    line = replace(coupon.economics.lines[0], name="profit")
    given = replace(coupon, economics=replace(coupon.economics, lines=(line,)))

    assert words.counted_costs(given) == "profit as the data give it. VAT included, CNY"


def test_the_focus_is_where_most_is_decided(mock):
    """The arm that stops and ships to a segment comes first."""
    assert words.focus(mock) == "coupon_20"


def test_zero_in_the_range_is_never_called_significant():
    """The data cannot tell +x from 0 yet."""
    text = words.cannot_tell(interval("profit", 1400, 860**2), "CNY")

    assert text.startswith("the data cannot tell +¥14 from 0 yet")


@pytest.mark.parametrize(
    ("segment", "said"),
    [
        ("everyone", "everyone"),
        ("is_new_customer = yes", "new customers only"),
        ("is_member = no", "non-members only"),
        ("city = Beijing", "those where city = Beijing"),
    ],
)
def test_segments_have_names(segment, said):
    """Well-known columns have words, others are quoted."""
    assert names.audience(segment) == said


def test_arms_of_one_depth_are_told_apart(coupon):
    """By threshold, else by label."""
    arms = {
        "none": {"share": "1/3", "control": True},
        "a": {"share": "1/3", "coupon": 20, "over": 99},
        "b": {"share": "1/3", "coupon": 20, "over": 199},
    }
    plan = coupon.experiment.replace(arms=arms)

    assert list(names.arm_names(plan).values()) == ["control", "¥20 over ¥99", "¥20 over ¥199"]


def test_totals_say_whom_they_speak_of(coupon, emails):
    """Those eligible where the plan says so, else those assigned."""
    given, not_given = first_screen(coupon), first_screen(emails)

    assert given.total == "If rolled out to 1.2\xa0M customers"
    assert not_given.basis.startswith("those assigned")


def test_without_a_roll_out_the_test_itself_is_summed(coupon):
    """The heading says which total it is."""
    missing = undefined("rollout", "eligible_customers not given")
    profits = tuple(replace(profit, rollout=missing) for profit in coupon.profits)

    assert first_screen(replace(coupon, profits=profits)).total.startswith(
        "In this test, for the"
    )
