"""The `looks` block: what may be written, and what contradicts the plan."""

from __future__ import annotations

import pytest

from upliftlab.errors import DefinitionError
from upliftlab.experiment import Experiment

PLAN = """
name: watched
kind: smart_coupon
run: {{start: 2026-06-01, end: 2026-06-14}}
follow_up: 60 days
arms: {{none: {{share: 90%, control: true}}, coupon: {{share: 10%, coupon: 20, over: 99}}}}
costs: {{margin: 50%}}
{design}
data: {{simulate: {{preset: gmv_up_profit_down}}}}
looks: {looks}
"""


def read(looks: str, design: str = "") -> Experiment:
    return Experiment.from_text(PLAN.format(looks=looks, design=design), name="e.yaml")


def test_a_plan_with_looks_reads_back_as_it_is():
    """All keys survive the way out and in, and are part of the fingerprint."""
    plan = read(
        "{planned: 40000, age: 14 days, every: 1 day, detect: 0.05, futility: 10%, "
        "bounded: {buyers: [0, 1]}, tuned_at: 20000}"
    )

    assert Experiment(**plan.to_dict()) == plan
    assert plan.looks.bounded == {"buyers": (0.0, 1.0)}
    assert plan.fingerprint != plan.replace(looks=None).fingerprint


@pytest.mark.parametrize(
    ("looks", "text"),
    [
        ("{planned: 40000, first_units: 20}",
         ("looks.first_units is '20'; write 250 or more: below, ranges do not hold what they "
         "promise.")),
        ("{planned: 2000}",
         ("looks.planned is 2,000; the first permitted look needs 2,500 units (250 in the "
         "smallest arm), and it cannot come later.")),
        ("{planned: 40000, spending: pocock}",
         ("'looks.spending' goes with method: group_sequential, and 'always_valid' was given; "
         "leave 'looks.spending' out.")),
        ("{planned: 40000, method: group_sequential, tuned_at: 30000}",
         ("'looks.tuned_at' goes with method: always_valid, and 'group_sequential' was given; "
         "leave 'looks.tuned_at' out.")),
        ("{planned: 40000, futility: 10%}",
         "looks with futility needs the key 'detect'; add for example detect: 0.05 yuan."),
        ("{planned: 40000, age: 13 days}",
         "looks.age is 13 days; the plan's windows are 14 days, 60 days."),
        ("{planned: 40000, bounded: {kept_sales: [0, 500]}}",
         ("looks.bounded names 'kept_sales', which is money; cutting it off would answer "
         "another question than the plan's. Take it out.")),
        ("{planned: 40000, bounded: {buyers: [1, 0]}}",
         "looks.bounded is ['1', '0']; write the smallest value first, then the largest."),
    ],
)  # fmt: skip
def test_what_contradicts_the_plan_is_said(looks, text):
    """Each with its line and its fix."""
    with pytest.raises(DefinitionError) as caught:
        read(looks)

    assert text in str(caught.value)
