"""Where shares move, and what keeps them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from upliftlab.adaptive.shares import METHODS, next_shares
from upliftlab.errors import DesignError
from upliftlab.stats.joint import Joint


def joint(value, sd=1.0, shared=0.0):
    """Contrasts with one control."""
    m = len(value)
    cov = np.full((m, m), shared) + np.eye(m) * (sd**2 - shared)
    return Joint(
        names=tuple(f"arm_{i}" for i in range(m)), value=np.array(value, dtype=float),
        cov=cov, df=np.full(m, np.inf),
    )  # fmt: skip


def test_with_one_treatment_thompson_is_the_probability_of_a_gain():
    """P(better than control), by its closed form."""
    found = next_shares(joint([0.7]), control="none", floor=0.01)

    assert found.best["arm_0"] == pytest.approx(stats.norm.cdf(0.7), abs=0.007)


def testtop_two_gives_the_leader_half_when_it_surely_leads():
    """A sure leader is drawn first, and challenged in every other unit."""
    found = next_shares(joint([30.0, 0.0]), control="none", method="top_two", floor=0.01)

    assert found.share["arm_0"] == pytest.approx(0.5, abs=0.01)


def testtop_two_follows_its_own_sampling():
    """The closed form is what drawing leader and challenger gives."""
    best = next_shares(joint([1.0, 0.5]), control="none", floor=1e-6).best
    p = np.array(list(best.values()))
    found = next_shares(joint([1.0, 0.5]), control="none", method="top_two", floor=1e-6)

    rng = np.random.default_rng(0)
    first = rng.choice(3, 200_000, p=p)
    second = rng.choice(3, 200_000, p=p)
    while (same := first == second).any():
        second[same] = rng.choice(3, int(same.sum()), p=p)
    drawn = np.where(rng.random(200_000) < 0.5, first, second)
    assert list(found.share.values()) == pytest.approx(np.bincount(drawn) / 200_000, abs=0.005)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-20, 20), min_size=1, max_size=5),
    st.sampled_from(METHODS),
    st.floats(0.001, 0.15),
)
def test_shares_add_up_and_keep_the_floor(value, method, floor):
    """Whole thousandths that add up to 1, none below the floor."""
    found = next_shares(joint(value), control="none", method=method, floor=floor)

    thousandths = [round(share * 1_000) for share in found.share.values()]
    assert sum(thousandths) == 1_000
    assert min(found.share.values()) >= min(floor, 1 / len(found.share)) - 1e-3
    assert list(found.share.values()) == [t / 1_000 for t in thousandths]


def test_a_guardrail_takes_an_arm_out():
    """A dropped arm has no share and no chance of being best."""
    found = next_shares(
        joint([5.0, 1.0]), control="none", dropped={"arm_0": "return rate is worse"}
    )

    assert found.share["arm_0"] == found.best["arm_0"] == 0.0
    assert sum(found.share.values()) == pytest.approx(1.0)


def test_a_prior_holds_shares_back():
    """With a narrow prior around no effect, a lucky start moves less."""
    free = next_shares(joint([3.0, 0.0]), control="none").share["arm_0"]
    held = next_shares(joint([3.0, 0.0]), control="none", prior_sd=0.5).share["arm_0"]

    assert held < free


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"method": "tompson"},
            (
                "method is 'tompson'; allowed: ['fixed', 'thompson', 'top_two']. "
                "Did you mean 'thompson'?"
            ),
        ),
        (
            {"floor": 0.5},
            "the floor is 50.0% for each of 3 arms; write more than 0 and at most 33.3%.",
        ),
        (
            {"dropped": {"none": "x"}},
            (
                "control 'none' is to be dropped; without it nothing says what an arm adds. "
                "Keep control, or stop the test."
            ),
        ),
        (
            {"dropped": {"arm_9": "x"}},
            (
                "'arm_9' is to be dropped and is no arm; arms: ['none', 'arm_0', 'arm_1']. "
                "Did you mean 'arm_1'?"
            ),
        ),
    ],
)
def test_what_cannot_be_is_refused(change, text):
    """One sentence each."""
    with pytest.raises(DesignError) as caught:
        next_shares(joint([1.0, 2.0]), control="none", **change)

    assert str(caught.value) == text


def test_an_arm_without_variance_keeps_planned_shares():
    """Nobody knows yet whether it is any good."""
    with pytest.raises(DesignError) as caught:
        next_shares(joint([1.0, np.nan]), control="none")

    assert str(caught.value) == (
        "profit of arm 'arm_1' is not known yet; keep the planned shares until every arm has "
        "units with outcomes that vary."
    )
