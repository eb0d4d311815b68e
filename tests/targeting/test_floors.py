"""Floors within single segments: written in the plan, kept, judged, refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from tests.targeting.test_run import plan, rows

from upliftlab.analysis import run
from upliftlab.errors import DataError, DefinitionError
from upliftlab.experiment import Experiment


def told(table, **target):
    """The targeting part of a plan's analysis."""
    target.setdefault("features", ["city", "days"])
    target.setdefault("rule", "tree")
    return run(Experiment(**plan(**target)), {"units": table}).targeting


@pytest.fixture(scope="module")
def counted():
    """Coupons bring new customers everywhere, and sales in city A only."""
    table, rng = rows(n=5_000), np.random.default_rng(4)
    treated = table["grp"] == "c20"
    return table.assign(
        new_customers=(rng.random(5_000) < np.where(treated, 0.25, 0.05)).astype(int),
        vip=rng.choice([1, 0], 5_000, p=[0.3, 0.7]),
    )


@pytest.mark.parametrize("rule", ["tree", "model"])
def test_a_floor_of_a_segment_is_kept(counted, rule):
    """City B only costs, and yet a fifth of it is treated, and vips bring new customers."""
    floors = {"city = B": {"treated": "20%"}, "vip = yes": {"new_customers": 2_000}}

    found = told(counted, at_least_in=floors, rule=rule)

    named = {check.name: check for check in found.checks}
    kept = named["floor treated: city = B"], named["floor new_customers: vip = yes"]
    assert [check.verdict for check in kept] == ["pass", "pass"]
    assert kept[0].message.startswith("The rule treats ")
    assert kept[0].message.endswith("% of customers where city = B; the plan asks for 20.0%.")
    assert kept[1].message.endswith(
        "where vip = yes, over 100,000 eligible customers; the plan asks for 2,000."
    )
    assert "the share treated where city = B at " in found.notes[0]
    assert found.verdict != "blocked"


def test_floors_beyond_reach_are_refused_by_name(counted):
    """What no rule brings is said with the most that any does."""
    found = told(counted, at_least_in={"vip = yes": {"new_customers": 20_000}})

    assert found.verdict == "blocked"
    assert found.finding.startswith(
        "No rule is given: at least so many new customers where vip = yes: 20,000 more are "
        "asked for and "
    )
    assert found.finding.endswith("Ask for less, or test an arm that brings more.")


def test_floors_that_fight_a_cap_are_refused_by_name(counted):
    """Half of both cities is half of all, which a fifth does not allow."""
    both = {f"city = {each}": {"treated": "50%"} for each in "AB"}

    found = told(counted, at_least_in=both, at_most="20%")

    assert found.finding == (
        "No rule is given: target.at_least_in asks by 'city' that 50.0% of all customers are "
        "treated, and target.at_most allows 20.0%. Lower one of them."
    )


def test_a_level_that_nobody_has_is_named(counted):
    """The levels at hand are listed."""
    with pytest.raises(DataError) as caught:
        told(counted, at_least_in={"city = C": {"treated": "10%"}})

    assert str(caught.value) == (
        "target.at_least_in names 'city = C', and 'city' has ['A', 'B']. Write one of these."
    )


FIX = 'write lines such as "is_member = yes": {new_customers: 300, treated: 10%}'


@pytest.mark.parametrize(
    ("floors", "said"),
    [
        ({"city": {"treated": "10%"}}, FIX),
        ({"city = A": {}}, FIX),
        ({"city = A": {"treated": "0%"}}, "write more than 0%, at most 100%"),
        (
            {"city = A": {"treated": "120%"}},
            (
                "target.at_least_in asks 'city = A' for treated of '120%'; write more than 0%, "
                "at most 100%."
            ),
        ),
        ({"city = A": {"new_customers": "2.5"}}, "write a whole number above 0, such as 300"),
        (
            {"city = A": {"profits": 20}},
            "target.at_least_in asks 'city = A' for profits of '20'; ",
        ),
        (
            {"gmv = 3": {"treated": "10%"}},
            (
                "target.at_least_in names 'gmv', which is measured after assignment; a rule "
                "may use only what was known before. Take it out, or name a column of the "
                "customer snapshot."
            ),
        ),
    ],
)
def test_floors_that_say_nothing_are_refused(floors, said):
    """Each mistake of the plan has its sentence."""
    with pytest.raises(DefinitionError) as caught:
        Experiment(**plan(at_least_in=floors))

    assert said in str(caught.value)


def test_floors_read_back_as_they_were_written():
    """Plain values round-trip; a plan without floors keeps its fingerprint."""
    made = Experiment(**plan(at_least_in={"city=A": {"treated": "10%", "new_customers": 30}}))
    again = Experiment(**made.to_dict())

    assert made.to_dict()["target"]["at_least_in"] == {
        "city = A": {"treated": "10%", "new_customers": 30}
    }
    assert again == made
    assert "at_least_in" not in Experiment(**plan()).to_dict()["target"]
