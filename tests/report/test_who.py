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

    assert said.startswith("No usable difference between customers: the best rule found brings")
    assert said.endswith("so treat nobody.")


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


def test_scripts_stay_small(templates):
    """All scripts together stay under 30 kB."""
    assert sum(path.stat().st_size for path in templates.glob("*.js")) < 30_000


def test_the_rule_leaves_two_files(chosen, tmp_path):
    """The exported rule is written as JSON and as SQL beside the page."""
    written = report.write(chosen, tmp_path)

    assert json.loads(written["rule"].read_text(encoding="utf-8"))["kind"] == "tree"
    assert written["sql"].read_text(encoding="utf-8").startswith("CASE WHEN")


def test_shares_of_wasted_money_are_of_the_arm(chosen):
    """60 to 110 of 120 fen are 50 to 92 %."""
    said = section(chosen, "coupon-money").finding

    assert "between 50" in said
    assert "and 92" in said
