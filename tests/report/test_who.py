"""What the page says about who should get what."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from upliftlab import report
from upliftlab.checks import FAIL, Check
from upliftlab.report.sections import parts_of


def section(analysis, key):
    """One section of the targeting part."""
    part = next(part for part in parts_of(analysis) if part.key == "who")
    return next(each for each in part.sections if each.key == key)


def test_the_first_screen_gives_by_the_rule(chosen):
    """A rule that surely earns stands in the headline, in the table and in what to do next."""
    text = report.render_text(chosen)

    assert "ship by this rule" in text
    assert "(learned here)" in text
    assert "leave 5 % to chance" in text


@pytest.mark.parametrize("spoiled", ["check", "verdict", "value"])
def test_a_rule_that_is_not_sure_does_not_ship(chosen, spoiled):
    """A failed check, another verdict or a range around 0 each take the rule off."""
    found = chosen.targeting
    if spoiled == "check":
        found = replace(found, checks=(Check(name="x", verdict=FAIL, message="x"),))
    elif spoiled == "verdict":
        found = replace(found, verdict="none")
    else:
        first = replace(found.rules[0], value=replace(found.rules[0].value, ci_low=-1.0))
        found = replace(found, rules=(first, *found.rules[1:]))

    assert "ship by this rule" not in report.render_text(replace(chosen, targeting=found))


def test_no_usable_difference_is_said_in_money(chosen):
    """Without a rule the page says what the best rule found would have brought."""
    found = chosen.targeting
    rules = tuple(replace(r, is_exported=r.name == "nobody") for r in found.rules)
    none = replace(chosen, targeting=replace(found, verdict="none", rules=rules))

    said = section(none, "rules").finding

    assert said.startswith("No usable difference between customers: the learned rule brings")
    assert said.endswith("so treat nobody.")


@pytest.mark.parametrize(
    ("verdict", "says"),
    [("none", "not shown to pay"), ("blocked", "blocked by a check")],
)
def test_the_first_screen_says_what_became_of_the_rule(chosen, verdict, says):
    """Also where no rule ships the first screen says so, with what it would have brought."""
    found = chosen.targeting
    rules = tuple(replace(r, is_exported=r.name == "nobody") for r in found.rules)
    none = replace(found, verdict=verdict, rules=rules, tried="model", rule={}, sql="")
    text = report.render_text(replace(chosen, targeting=none))

    assert "NO LEARNED RULE is shown to earn more." in text
    assert "the model's choice for 31 % of all" in text.replace("\xa0", " ")
    assert says in text


def test_a_failed_check_stands_where_the_rule_would(chosen):
    """The finding is the reason, and there is nothing to copy."""
    reason = "No rule is given: Column 'seen' differs."
    found = replace(chosen.targeting, verdict="blocked", finding=reason, rule={}, sql="")
    blocked = replace(chosen, targeting=found)

    assert section(blocked, "rules").finding == reason
    assert not [s for part in parts_of(blocked) for s in part.sections if s.key == "rule-copy"]


def test_limits_that_leave_nobody_are_no_lack_of_differences(chosen):
    """Nothing is said of customers where the plan's limits decide."""
    found = chosen.targeting
    tried = replace(found.rules[0], treated={"none": 1.0, "coupon_20": 0.0}, is_exported=False)
    rules = (tried, *(replace(r, is_exported=r.name == "nobody") for r in found.rules[1:]))
    none = replace(chosen, targeting=replace(found, verdict="none", rules=rules, tried="tree"))

    assert section(none, "rules").finding.startswith(
        "Within the plan's limits the learned rule"
    )


def test_the_best_point_of_a_curve_counts_the_whole_curve(chosen):
    """What was looked for along a curve has the curve's band, not its own range."""
    best = chosen.targeting.curve[8]

    said = section(chosen, "how-many").finding

    assert (best.low, best.effect.ci_low) == (pytest.approx(2), pytest.approx(4.08, abs=0.01))
    assert "+¥0.08 (from +¥0.02 to +¥0.14)" in said
    assert "(from +¥20,000 to +¥170,000), whole curve" in section(chosen, "budget").finding


def test_every_stop_of_the_slider_stands_on_the_page(chosen, chosen_page):
    """The slider has one row of numbers per budget, and the page says them without it."""
    box = re.search(r'class="slider".*?<script type="application/json">(.*?)</script>',
                    chosen_page, re.DOTALL)  # fmt: skip
    found = json.loads(box[1])

    assert len(found["stops"]) == len(chosen.targeting.frontier.points)
    assert found["at"][0] == 0
    assert found["at"][-1] == pytest.approx(1)
    assert "What each budget earns" in chosen_page
    assert ' hidden>\n<label for="budget-range"' in chosen_page


def test_regret_stands_beside_every_learned_rule(chosen):
    """What the best has more, with a range that is never below 0; blank for thumbs."""
    more = replace(chosen.targeting.rules[1].value, estimate=30.0, ci_low=0.0, ci_high=75.0)
    rules = tuple(
        replace(rule, regret=None if rule.kind == "baseline" else more)
        for rule in chosen.targeting.rules
    )
    told = replace(chosen, targeting=replace(chosen.targeting, rules=rules))

    earned, spent = section(told, "rules").tables

    at = earned.columns.index("regret: what the best rule has more")
    assert {row[0]: row[at] for row in earned.rows}["the model"] == "¥0.30 (0.00 … 0.75)"
    assert {row[at] for row in earned.rows} == {"¥0.30 (0.00 … 0.75)", ""}
    assert len(earned.rows) == len(spent.rows) == len(rules)


def test_scripts_stay_small(templates):
    """All scripts together stay under 30 kB."""
    assert sum(path.stat().st_size for path in templates.glob("*.js")) < 30_000


def test_the_rule_leaves_its_files(chosen, tmp_path):
    """The exported rule is written as JSON and as SQL; it goes when it is no longer given."""
    written = report.write(chosen, tmp_path)

    assert json.loads(written["rule"].read_text(encoding="utf-8"))["kind"] == "tree"
    assert written["sql"].read_text(encoding="utf-8").startswith('CASE WHEN "is_new')
    assert written["spark"].read_text(encoding="utf-8").startswith("CASE WHEN `is_new")

    blocked = replace(chosen.targeting, verdict="blocked", rule={}, sql="", sql_spark="")
    again = report.write(replace(chosen, targeting=blocked), tmp_path)

    assert not {"rule", "sql", "spark"} & set(again)
    assert not list(tmp_path.glob("targeting_rule*"))


def test_shares_of_wasted_money_are_of_the_arm(chosen):
    """60 to 110 of 120 fen, with their range, and the single amount with its own."""
    said = section(chosen, "coupon-money").finding

    assert "between ¥0.60 and ¥1.10 (0.54 … 1.16) went to orders that would have" in said
    assert "¥0.90 (from ¥0.84 to ¥0.96), 75\xa0%, if the coupon keeps nobody" in said


def test_sleeping_dogs_stand_in_money_with_their_range(chosen):
    """Least and most lost on those who would buy only without the coupon."""
    spend = replace(
        chosen.targeting.spend[0], sleeping=(2.0, 40.0), sleeping_interval=(1.0, 45.0)
    )
    found = replace(chosen, targeting=replace(chosen.targeting, spend=(spend,)))

    tables = section(found, "coupon-money").tables

    assert [t.caption for t in tables] == [
        "Coupon money per customer",
        "Profit lost on those who would buy only without it, per customer",
    ]
    assert tables[1].rows == (("¥20", "¥0.02", "¥0.40", "0.01 … 0.45"),)
    assert len(section(chosen, "coupon-money").tables) == 1
