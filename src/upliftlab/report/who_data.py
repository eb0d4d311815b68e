"""What does each key of the targeting part of the JSON hold?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.report.shapes import (
    COUNT,
    FLAG,
    MAYBE,
    NUMBER,
    TEXT,
    a_list,
    a_map,
    an_object,
    ref,
    said,
    texts,
)

if TYPE_CHECKING:
    from upliftlab.report.shapes import Schema

_E = ref("estimate")
_RANGE = said("From and to.", {"type": "array", "items": MAYBE, "minItems": 2, "maxItems": 2})

_TARGETING = an_object(
    {
        "verdict": said(
            "rule: treat by the exported rule; all, none: no usable difference between units; "
            "blocked: a failed check forbids a rule.",
            {"enum": ["rule", "all", "none", "blocked"]},
        ),
        "finding": said("Why, in one sentence."),
        "estimand": said("What the interval of the exported rule belongs to."),
        "learned": said("Units that rules were learned on.", COUNT),
        "valued": said("Other units, that they were valued on.", COUNT),
        "features": said("Columns offered to the rules.", texts()),
        "dropped": said("Column: why it was left out.", a_map(TEXT)),
        "learner": said("Which learner ranks units."),
        "candidates": a_list("candidate"),
        "rules": said("All rules that were valued.", a_list("rule_worth")),
        "tried": said("Name of the learned rule that was put to the test."),
        "tree": said("Ends of the small tree; empty where none was learned.", a_list("leaf")),
        "curve": said("By share of units treated, best first.", a_list("curve_point")),
        "frontier": {"anyOf": [ref("frontier"), {"type": "null"}]},
        "groups": said("Fifths by predicted gain, the best first.", a_list("gain_group")),
        "traits": a_list("trait"),
        "calibration": {"anyOf": [_E, {"type": "null"}]},
        "importance": said("Feature: share of explained differences.", a_map(NUMBER)),
        "scores": said("Ranking metrics under their definitions.", a_list("ranking_score")),
        "spend": said("Where the money of each arm goes, per unit.", a_list("spend")),
        "conflict": {"anyOf": [ref("conflict"), {"type": "null"}]},
        "fairness": a_list("fairness"),
        "exploration": {"anyOf": [ref("left_to_chance"), {"type": "null"}]},
        "robustness": texts(),
        "checks": a_list("check"),
        "notes": texts(),
    }
)

WHO_SHAPES: dict[str, Schema] = {
    "targeting": _TARGETING,
    "left_to_chance": an_object(
        {
            "share": said("Of all units.", NUMBER),
            "cost": said("What the rule would earn more there, per unit of all.", _E),
        }
    ),
    "rule_worth": an_object(
        {
            "name": TEXT,
            "label": TEXT,
            "kind": {"enum": ["constant", "learned", "baseline"]},
            "value": said("Extra profit per unit against treating nobody.", _E),
            "against_best": said("Against the best of everybody or nobody.", _E),
            "cost": said("Campaign money per unit.", _E),
            "iroi": said("Extra profit per unit of campaign money.", _E),
            "total": said("Over all eligible units.", _E),
            "treated": said("Arm: share of units that get it.", a_map(NUMBER)),
            "regret": {
                "anyOf": [
                    said("What the best of these rules brings more, per unit.", _E),
                    {"type": "null"},
                ]
            },
            "features": texts(),
            "is_exported": FLAG,
            "note": TEXT,
        }
    ),
    "candidate": an_object(
        {
            "name": TEXT,
            "gain": said("Fall of the loss against a constant effect, as a share.", MAYBE),
            "std_error": MAYBE,
            "is_chosen": FLAG,
            "note": TEXT,
        }
    ),
    "curve_point": an_object(
        {
            "x": said("Share of units treated, or money over all eligible units.", NUMBER),
            "effect": _E,
            "low": said("Lower end of the band of the whole curve.", MAYBE),
            "high": said("Upper end.", MAYBE),
            "share": MAYBE,
            "margin": said("Extra profit of the next unit of money.", MAYBE),
            "spend": {"anyOf": [_E, {"type": "null"}]},
        }
    ),
    "frontier": an_object(
        {
            "points": a_list("curve_point"),
            "best": said("Position of the budget that earns most.", COUNT),
            "indistinct": said("Budgets that the data cannot tell from the best.", _RANGE),
            "target_iroi": said("Least return of the last unit of money there.", MAYBE),
            "planned": MAYBE,
            "comparison": a_map({"type": "array", "items": ref("curve_point")}),
            "note": TEXT,
        }
    ),
    "gain_group": an_object({"label": TEXT, "share": NUMBER, "predicted": MAYBE, "effect": _E}),
    "trait": an_object({"feature": TEXT, "best": MAYBE, "worst": MAYBE, "difference": _E}),
    "leaf": an_object({"path": texts(), "arm": TEXT, "share": NUMBER, "effect": _E}),
    "spend": an_object(
        {
            "arm": TEXT,
            "total": _E,
            "wasted_low": said("Least that went to orders that would have come anyway.", MAYBE),
            "wasted_high": said("Most that did.", MAYBE),
            "interval": _RANGE,
            "wasted": said("The amount if the coupon keeps nobody from buying.", _E),
            "later": said("Extra profit after the coupon's validity.", _E),
            "sleeping": said(
                "Least and most lost on units that would buy only without it.", _RANGE
            ),
            "sleeping_interval": said("Interval of that range.", _RANGE),
            "note": TEXT,
        }
    ),
    "conflict": an_object(
        {
            "share": said("Share of units with more GMV and less profit.", MAYBE),
            "effect": _E,
            "by_gmv": _E,
            "by_profit": _E,
            "cost": said("Profit rule less GMV rule, paired.", _E),
            "whose": said("Component that counts as GMV."),
        }
    ),
    "fairness": an_object(
        {"column": TEXT, "level": TEXT, "share": NUMBER, "treated": _E, "gain": _E}
    ),
    "ranking_score": an_object(
        {"name": TEXT, "library": TEXT, "definition": TEXT, "value": _E}
    ),
}
"""Name -> shape of everything that targeting says."""
