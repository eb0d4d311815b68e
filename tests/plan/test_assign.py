"""A plan says who gets which arm in a few keys, and every contradiction is a sentence."""

from __future__ import annotations

import pytest

from upliftlab.errors import DefinitionError
from upliftlab.experiment import Experiment

SPLIT = {"none": {"share": "50%", "control": True}, "coupon": {"share": "50%"}}
RUN = {"start": "2026-10-08", "end": "2026-10-21"}
STAGGERED = {
    "design": "staggered",
    "period": "week",
    "cluster": "mcn",
    "arms": {"single": {"control": True}, "dual": {}},
    "run": None,
}


def plan(assign, **changes):
    """Make a small plan that assigns."""
    values = {"name": "spring", "kind": "custom", "arms": SPLIT, "run": RUN} | changes
    given = {key: value for key, value in values.items() if value is not None}
    return Experiment(assign=assign, **given)


def test_a_plan_without_assign_keeps_its_fingerprint():
    """What is not asked for is not promised."""
    bare = Experiment(name="spring", kind="custom", arms=SPLIT, run=RUN)

    assert plan(None).fingerprint == bare.fingerprint
    assert plan({}).fingerprint != bare.fingerprint


def test_what_is_written_reads_back_as_the_same_plan():
    """Plain values round-trip, shares exactly."""
    found = plan(
        {
            "salt": "spring:2026",
            "layer": {"name": "coupons", "start": "1/3", "share": "40%"},
            "holdout": {"share": "5%"},
            "epochs": {"2026-10-11": "100%", "2026-10-08": "20%"},
        }
    )

    assert Experiment(**found.to_dict()) == found
    assert list(found.assign.epochs) == ["2026-10-08", "2026-10-11"]


@pytest.mark.parametrize(
    ("assign", "changes", "said"),
    [
        (
            {"drawn": False, "salt": "spring"},
            {"target": {}},
            (
                "the plan has assign.salt and assign.drawn: false; where chance did not deal "
                "the arms it has no salt. Leave one of them out."
            ),
        ),
        (
            {"drawn": False},
            {"target": {}, "looks": {"planned": 40_000}},
            (
                "the plan has looks and assign.drawn: false; looks speaks of a test whose arms "
                "chance deals. Leave one of them out."
            ),
        ),
        (
            {"drawn": False},
            {},
            (
                "a plan with assign.drawn: false needs the key 'target'; add for example "
                "target: {features: [recency_days, frequency_365]}."
            ),
        ),
        (
            {"epochs": {"2026-10-08": "50%", "2026-10-11": "20%"}},
            {},
            (
                "assign.epochs falls from 50% on 2026-10-08 to 20% on 2026-10-11; a share may "
                "only rise, because units that were treated cannot be untreated."
            ),
        ),
        (
            {"epochs": {"2026-10-09": "50%"}},
            {},
            (
                "assign.epochs begins on 2026-10-09 and the run on 2026-10-08; the first epoch "
                "begins with the run."
            ),
        ),
        (
            {"epochs": {"2026-10-08": "50%", "2026-10-30": "100%"}},
            {},
            (
                "assign has the last of epochs 2026-10-30 after run.end 2026-10-21; the last "
                "of epochs must not be later than run.end."
            ),
        ),
        (
            {"epochs": {"2026-10-08": "0%"}},
            {},
            "assign.epochs is '0%'; write more than 0%, at most 100%.",
        ),
        (
            {"epochs": {"2026-10-08": "20%"}},
            {"run": None},
            (
                "a plan with assign.epochs needs the key 'run'; add for example run: {start: "
                "2026-10-08, end: 2026-10-21}."
            ),
        ),
        (
            {"layer": {"name": "coupons", "start": "70%", "share": "40%"}},
            {},
            (
                "assign.layer starts at 70% and takes 40%, which ends at 110%; a layer ends at "
                "100%."
            ),
        ),
        (
            {"layer": {"name": "coupons", "share": "0%"}},
            {},
            "assign.layer.share is '0%'; give the test a part of the layer, such as 40%.",
        ),
        (
            {"holdout": {"share": "100%"}},
            {},
            "assign.holdout.share is '100%'; write a share such as 5%, or leave holdout out.",
        ),
        (
            {"salt": "it's"},
            {},
            (
                'assign.salt is "it\'s"; write letters, digits and - _ . : only (at most '
                "80), such as spring-2026."
            ),
        ),
        (
            {"draw": "balanced"},
            {},
            (
                "assign with draw: balanced needs the key 'balance'; add for example balance: "
                "[pre_profit]."
            ),
        ),
        (
            {"balance": ["pre_profit"]},
            {},
            "'balance' goes with draw: balanced, and 'each' was given; leave 'balance' out.",
        ),
        (
            {"draw": "blocks", "epochs": {"2026-10-08": "20%"}},
            {},
            "'epochs' goes with draw: each, and 'blocks' was given; leave 'epochs' out.",
        ),
        (
            {"explore": "5%"},
            {},
            (
                "assign with explore needs the key 'rule'; add for example rule: "
                "targeting_rule.json."
            ),
        ),
        (
            {"rule": "rule.json", "explore": "0%"},
            {},
            (
                "assign.explore is '0%'; write a share such as 5%: without exploration no "
                "other arm can be valued."
            ),
        ),
        (
            {"waves": {"2026-08-03": "50%", "never": "50%"}},
            {},
            (
                "'waves' goes with design: staggered, and 'user_split' was given; leave "
                "'waves' out."
            ),
        ),
        (
            {"waves": {"2026-08-03": "50%", "never": "40%"}},
            STAGGERED,
            "assign.waves have shares 50% + 40% = 90%; shares must add up to 100%.",
        ),
        (
            {"holdout": {"share": "5%"}},
            STAGGERED,
            (
                "'holdout' goes with design: user_split, and 'staggered' was given; leave "
                "'holdout' out."
            ),
        ),
    ],
)
def test_what_contradicts_is_one_sentence(assign, changes, said):
    """The whole text is compared, wherever it stands among others."""
    with pytest.raises(DefinitionError) as found:
        plan(assign, **changes)

    assert said in str(found.value)
