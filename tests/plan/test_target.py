"""A plan says who should get what in a few keys, and every contradiction is a sentence."""

from __future__ import annotations

import pytest

from upliftlab.errors import DefinitionError
from upliftlab.experiment import Experiment

SPLIT = {"none": {"share": "50%", "control": True}, "coupon": {"share": "50%", "coupon": 20}}


def plan(**changes):
    """Make a small plan with a target."""
    values = {"name": "spring", "kind": "custom", "arms": SPLIT, "target": {}} | changes
    return Experiment(**values)


def test_an_empty_target_takes_every_default():
    """Asking is enough: the rest has defaults, and 5 % stay with chance."""
    target = plan().target

    assert (target.rule, target.learner, target.depth) == ("choose", "choose", 2)
    assert float(target.keep_random.value) == 0.05


def test_a_plan_without_target_keeps_its_fingerprint():
    """What is not asked for is not promised."""
    assert (
        plan(target=None).fingerprint
        == Experiment(name="spring", kind="custom", arms=SPLIT).fingerprint
    )
    assert plan().fingerprint != plan(target=None).fingerprint


OVER_TIME = {
    "design": "switchback",
    "period": "day",
    "arms": {"none": {"control": True}, "coupon": {"coupon": 20}},
}
CELLS = {"data": {"cells": {"file": "cells.csv", "money": "yuan"}}, "costs": {"margin": "35%"}}


MOVING = {
    "run": {"start": "2026-10-08", "end": "2026-10-21"},
    "assign": {"epochs": {"2026-10-08": "20%", "2026-10-11": "100%"}},
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            MOVING,
            (
                "the plan has target and assign.epochs; scores take one share per arm, and "
                "here shares change over time. Leave target out, or give each epoch a plan."
            ),
        ),
        (
            {"target": {"features": ["orders"]}},
            (
                "target.features names 'orders', which is measured after assignment; a rule "
                "may use only what was known before. Take it out, or name a column of the "
                "customer snapshot."
            ),
        ),
        (
            {"target": {"fair_across": ["gmv_platform"]}},
            (
                "target.fair_across names 'gmv_platform', which is measured after assignment; "
                "a rule may use only what was known before. Take it out, or name a column of "
                "the customer snapshot."
            ),
        ),
        (
            {"target": {"features": ["unit"]}},
            (
                "target.features names 'unit', which names single customers, of whom nothing "
                "can be learned twice. Take it out, or name a column of the customer snapshot."
            ),
        ),
        (
            {"target": {"features": ["arm"]}},
            (
                "target.features names 'arm', which is what was assigned, not what was known "
                "before. Take it out, or name a column of the customer snapshot."
            ),
        ),
        (
            {"target": {"at_most": "0%"}},
            "target.at_most is '0%'; write more than 0%: nobody would be treated.",
        ),
        (
            {"target": {"keep_random": "100%"}},
            ("target.keep_random is '100%'; write less: nobody would be treated by the rule."),
        ),
        ({"target": {"budget": -5}}, "target.budget is '-5 CNY'; write zero or more."),
        (
            {"target": {"features": ["city", "city"]}},
            "target.features is 'city'; each entry must come once.",
        ),
        (
            {"target": {"buget": 5}},
            (
                "target has no key 'buget'; allowed: ['at_least', 'at_least_in', 'at_most', "
                "'budget', 'depth', 'fair_across', 'features', 'iroi_at_least', "
                "'keep_random', "
                "'learner', 'rule', 'seed']. Did you mean 'budget'?"
            ),
        ),
        ({"target": {"depth": 7}}, "target.depth is '7'; write 1, 2 or 3."),
        (
            {"target": {"rule": "tre"}},
            "target.rule is 'tre'; allowed: ['choose', 'model', 'tree']. Did you mean 'tree'?",
        ),
        (
            {"target": {"learner": "quick"}},
            (
                "target.learner is 'quick'; allowed: ['causal_forest', 'choose', 'fast', "
                "'forest', 'linear', 's', 't', 'x']."
            ),
        ),
        (
            OVER_TIME,
            (
                "'target' goes with design: user_split, and 'switchback' was given; leave "
                "'target' out."
            ),
        ),
        (
            CELLS,
            (
                "data of a plan with target needs the key 'units'; add for example units: "
                "{file: units.csv, money: yuan}."
            ),
        ),
    ],
)
def test_contradictions_are_named(changes, said):
    """Who asked, what was found, what is allowed."""
    with pytest.raises(DefinitionError) as error:
        plan(**changes)

    assert str(error.value) == said


def test_at_least_counts_events_not_money():
    """A floor is a number of customers or orders."""
    assert plan(target={"at_least": {"new_customers": 1000}}).target.at_least == {
        "new_customers": 1000
    }
    with pytest.raises(DefinitionError, match=r"target\.at_least is 'kept_sales'"):
        plan(target={"at_least": {"kept_sales": 1000}})
