"""What does each key of a roll-out mean, for machines?"""

from __future__ import annotations

from upliftlab.report.shapes import (
    COUNT,
    FLAG,
    MAYBE,
    NUMBER,
    TEXT,
    Schema,
    a_list,
    an_object,
    ref,
    said,
    texts,
)

_E = ref("estimate")
_MAYBE_E: Schema = {"anyOf": [_E, {"type": "null"}]}
_EVENT = said("Periods since the change; negative before it.", {"type": "integer"})
_LABEL = said("Words for readers.")

_ROLLOUT = an_object(
    {
        "design": {"enum": ["staggered", "geo", "switchback"]},
        "unit": said("In the words of the plan."),
        "period": {"enum": ["day", "week"]},
        "clusters": said(
            "Those that switched and those that did not, as counted for inference.",
            {"type": "array", "items": COUNT, "minItems": 2, "maxItems": 2},
        ),
        "waves": a_list("wave"),
        "stretches": a_list("stretch"),
        "paths": a_list("path"),
        "cells": a_list("wave_period"),
        "channels": a_list("channel"),
        "parts": said("They add up to extra profit.", a_list("part")),
        "rates": said(
            "Rates at which extra profit is 0, each alone, as shares.",
            {"type": "array", "items": _E},
        ),
        "opinions": said("Other methods, the headline first.", a_list("opinion")),
        "honesty": a_list("honesty"),
        "without": said("Most influential first.", a_list("without")),
        "shop": said(
            "The shop's own channels; no experiment, not in profit.", a_list("shop_series")
        ),
        "commission_per_yuan": said("Extra commission per extra yuan kept.", _MAYBE_E),
        "pay_back": said("Periods from the announcement; null if not yet.", MAYBE),
        "both_gain": said("p-value against: a side does not gain.", MAYBE),
        "notes": texts(),
    }
)

_POINT = an_object(
    {
        "event": _EVENT,
        "effect": said("Per unit and period, its own interval.", _E),
        "low": said("Lower end of the band that holds for all shown periods at once.", MAYBE),
        "high": said("Upper end of that band.", MAYBE),
    }
)

_PATH = an_object(
    {
        "measure": said("Component or party."),
        "label": _LABEL,
        "is_money": said("Whether it is an amount in minor units.", FLAG),
        "points": said("The base period is 0 by construction and left out.", a_list("point")),
        "note": TEXT,
    }
)

_HONESTY = an_object(
    {
        "restriction": said("How trends may differ: relative_magnitudes or smoothness."),
        "label": said("Words for readers, with what one unit of m means."),
        "bounds": {
            "type": "array",
            "items": an_object(
                {"m": said("Allowed violation.", NUMBER), "low": MAYBE, "high": MAYBE}
            ),
        },
        "flips_at": said("Smallest m at which the interval touches the threshold.", MAYBE),
        "threshold": said("What is worth it, per unit and period.", NUMBER),
        "note": TEXT,
    }
)

SHAPES: dict[str, Schema] = {
    "rollout": _ROLLOUT,
    "wave": an_object(
        {
            "start": said('Label of the first treated period; "never" where there is none.'),
            "units": COUNT,
            "clusters": said("0 where units switched one by one.", COUNT),
            "profit": said("Extra profit per unit and period since the change.", _MAYBE_E),
        }
    ),
    "stretch": an_object(
        {
            "name": TEXT,
            "label": _LABEL,
            "profit": said("Per unit and period.", _E),
            "total": said("Over all its unit-periods.", _E),
            "unit_periods": NUMBER,
        }
    ),
    "path": _PATH,
    "point": _POINT,
    "wave_period": an_object(
        {
            "start": said("Label of the wave's first treated period."),
            "period": said("Label of the period."),
            "event": _EVENT,
            "effect": said("Extra profit per unit.", _E),
        }
    ),
    "channel": an_object(
        {
            "name": TEXT,
            "label": _LABEL,
            "expected": said("Sales kept without the change, per unit and period.", MAYBE),
            "observed": said("Sales kept, per unit and period.", MAYBE),
            "effect": _E,
            "share_expected": MAYBE,
            "share_observed": MAYBE,
        }
    ),
    "part": an_object({"name": TEXT, "label": _LABEL, "effect": _E, "note": TEXT}),
    "opinion": an_object({"method": TEXT, "label": _LABEL, "effect": _E, "note": TEXT}),
    "honesty": _HONESTY,
    "together": an_object(
        {
            "both": said("Arm that makes both changes."),
            "one": said("Arm that makes one of them."),
            "other": said("Arm that makes the other."),
            "measure": TEXT,
            "label": _LABEL,
            "is_money": FLAG,
            "effect": said("Effect of both less those of one and other.", _E),
        }
    ),
    "shop_series": an_object(
        {
            "name": TEXT,
            "label": _LABEL,
            "periods": texts(),
            "kept": said("Sales kept, whole shop.", {"type": "array", "items": NUMBER}),
            "line": said(
                "Straight line through the periods before anybody was told.",
                {"type": "array", "items": NUMBER},
            ),
            "first": said("Position of the first period that is not before.", COUNT),
            "before": NUMBER,
            "since": NUMBER,
            "expected": said("Mean of the line since; no counterfactual.", NUMBER),
        }
    ),
    "without": an_object(
        {"label": said("Which was left out."), "profit": said("What remains.", MAYBE)}
    ),
}
"""Name -> shape of everything that a roll-out says beside profit and verdict."""
