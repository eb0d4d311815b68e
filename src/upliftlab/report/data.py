"""The analysis for machines: JSON, and the schema that says what each key means."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from upliftlab.analysis import SCHEMA_VERSION
from upliftlab.checks import FAIL, INFO, PASS, WARN
from upliftlab.decision import VERDICTS
from upliftlab.report.over_time_data import SHAPES
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
from upliftlab.report.who_data import WHO_SHAPES

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.report.shapes import Schema


def render_json(analysis: Analysis) -> str:
    """Print the analysis as JSON; numbers that do not exist are null and have a note.

    Money is in minor units of the experiment's currency (fen), as in all data.
    """
    plain = _finite(analysis.to_dict())
    return json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def json_schema() -> Schema:
    """Describe the JSON of an analysis: JSON Schema, draft 2020-12.

    Keys may be added under the same ``schema_version``; none changes its meaning or goes away.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:upliftlab:analysis:{SCHEMA_VERSION}",
        "title": "upliftlab analysis",
        "description": "Money is in minor units of experiment.currency; shares are decimals.",
        **an_object(
            {
                "schema_version": {"const": SCHEMA_VERSION},
                "experiment": _experiment(),
                "estimand": said("What the numbers estimate, in one sentence."),
                "facts": _facts(),
                "checks": a_list("check"),
                "economics": _economics(),
                "effects": _effects(),
                "profits": a_list("profit"),
                "other_windows": a_map({"type": "array", "items": ref("profit")}),
                "segments": a_list("segment"),
                "metrics": a_list("metric"),
                "journey": a_list("journey"),
                "dose": {"anyOf": [_dose(), {"type": "null"}]},
                "decisions": a_list("decision"),
                "rollout": {"anyOf": [ref("rollout"), {"type": "null"}]},
                "changes": said(
                    "Analyses of each of several changes over time, with these same keys.",
                    {"type": "array", "items": {"type": "object"}},
                ),
                "together": said(
                    "What two changes do beyond the sum of each alone.", a_list("together")
                ),
                "targeting": {"anyOf": [ref("targeting"), {"type": "null"}]},
                "provenance": _provenance(),
                "notes": texts(),
            }
        ),
        "$defs": {
            "estimate": _estimate(),
            "check": _check(),
            "profit": _profit(),
            "line": _line(),
            "rung": _rung(),
            "tipping": _tipping(),
            "segment": _segment(),
            "metric": _metric(),
            "journey": an_object({"arm": TEXT, "step": TEXT, "label": TEXT, "share": MAYBE}),
            "decision": _decision(),
            **SHAPES,
            **WHO_SHAPES,
        },
    }


def _estimate() -> Schema:
    return an_object(
        {
            "name": TEXT,
            "estimate": said("Null where it does not exist; note says why.", MAYBE),
            "std_error": MAYBE,
            "ci_low": MAYBE,
            "ci_high": MAYBE,
            "p_value": said("Two-sided, against 0 unless note says otherwise.", MAYBE),
            "df": said("Degrees of freedom; null means infinite or none.", MAYBE),
            "level": NUMBER,
            "rel_estimate": said("The same as a share of control.", MAYBE),
            "rel_ci_low": MAYBE,
            "rel_ci_high": MAYBE,
            "shape": said(
                "interval: between the ends; outside: up to ci_low and from ci_high on; "
                "everything: the whole line; none: no set.",
                {"enum": ["interval", "outside", "everything", "none"]},
            ),
            "note": TEXT,
        }
    )


def _check() -> Schema:
    return an_object(
        {
            "name": TEXT,
            "verdict": {"enum": [PASS, WARN, FAIL, INFO]},
            "message": TEXT,
            "value": MAYBE,
            "threshold": MAYBE,
            "is_blocking": said("Whether this result leaves no verdict.", FLAG),
        }
    )


def _profit() -> Schema:
    e = ref("estimate")
    return an_object(
        {
            "arm": TEXT,
            "control": TEXT,
            "window": said(
                "Days from assignment; null without a clock.", {"type": ["integer", "null"]}
            ),
            "segment": TEXT,
            "n": COUNT,
            "n_control": COUNT,
            "profit": said("Extra profit per unit, its own interval.", e),
            "profit_simultaneous": said(
                "With an interval that counts all arms or segments.", e
            ),
            "lines": a_list("line"),
            "ladder": a_list("rung"),
            "campaign_cost": e,
            "iroi": said("Extra profit per unit of campaign money; a Fieller set.", e),
            "over_hurdle": said("Extra profit less the hurdle on campaign money.", e),
            "attributed_roi": said("What a dashboard shows.", MAYBE),
            "cost_per": said("Per extra customer, member or order.", a_map(e)),
            "average_cost_per": said("Per customer, member or order at all.", a_map(MAYBE)),
            "parties": a_map(e),
            "stages": a_map(e),
            "mechanical": e,
            "behavioural": e,
            "p_positive": said("Not evidence for stopping early.", MAYBE),
            "expected_loss": MAYBE,
            "realised": said("Total over the treated units of the test.", e),
            "rollout": said("Total over rollout_n units.", e),
            "rollout_n": COUNT,
            "tipping": a_list("tipping"),
            "variance_kept": MAYBE,
        }
    )


def _line() -> Schema:
    return an_object(
        {
            "line": TEXT,
            "label": TEXT,
            "stage": TEXT,
            "status": {"enum": ["measured", "given", "assumed"]},
            "treatment": MAYBE,
            "control": MAYBE,
            "effect": ref("estimate"),
        }
    )


def _rung() -> Schema:
    return an_object({"name": TEXT, "label": TEXT, "control": MAYBE, "effect": ref("estimate")})


def _tipping() -> Schema:
    return an_object(
        {
            "name": TEXT,
            "label": TEXT,
            "now": NUMBER,
            "at": said("Value at which extra profit is 0.", ref("estimate")),
            "is_reachable": FLAG,
        }
    )


def _segment() -> Schema:
    return an_object(
        {
            "column": TEXT,
            "level": TEXT,
            "share": NUMBER,
            "n": COUNT,
            "profits": a_list("profit"),
            "differs": said("Arm -> p-value that all levels earn the same.", a_map(MAYBE)),
        }
    )


def _metric() -> Schema:
    return an_object(
        {
            "metric": TEXT,
            "arm": TEXT,
            "role": {"enum": ["primary", "secondary", "guardrail"]},
            "direction": {"enum": ["up", "down"]},
            "treatment": MAYBE,
            "control": MAYBE,
            "effect": ref("estimate"),
            "state": {"enum": ["", "non-inferior", "inferior", "inconclusive"]},
            "margin": TEXT,
            "p_adjusted": MAYBE,
            "is_planned": said("False: exploratory, no claim rests on it.", FLAG),
        }
    )


def _decision() -> Schema:
    e = ref("estimate")
    return an_object(
        {
            "arm": TEXT,
            "verdict": said("For everyone.", {"enum": list(VERDICTS)}),
            "segment": said("Declared segment to ship to; empty for none.", TEXT),
            "reasons": texts(),
            "at_stake": e,
            "segment_at_stake": {"anyOf": [e, {"type": "null"}]},
            "is_buying_gmv": FLAG,
        }
    )


def _dose() -> Schema:
    return an_object(
        {
            "depths": said("Arm -> face value.", a_map(NUMBER)),
            "break_even": said("Depth at which gain turns to loss.", ref("estimate")),
            "best": said("Arm above every other; empty where the data cannot tell.", TEXT),
        }
    )


def _facts() -> Schema:
    return an_object(
        {
            "assigned": a_map(a_map(COUNT)),
            "set_aside": {
                "type": "array",
                "items": an_object(
                    {"source": TEXT, "rule": TEXT, "rows": COUNT, "arms": a_map(COUNT)}
                ),
            },
            "lines": COUNT,
            "as_of": said("UTC seconds.", {"type": ["integer", "null"]}),
            "closed": a_map(MAYBE),
            "final": a_map(MAYBE),
            "has_refunds": {"type": ["boolean", "null"]},
            "clusters": a_map(COUNT),
            "cluster_size_cv": a_map(NUMBER),
            "coverage": a_map({"type": "array", "items": COUNT}),
            "unbalanced_lines": {"type": ["integer", "null"]},
            "funding": a_map(NUMBER),
            "stacked": a_map({"type": "array", "items": NUMBER}),
            "saw_other": a_map(COUNT),
            "missing": a_map(COUNT),
            "ad_spend": a_map(NUMBER),
            "finance": a_map(NUMBER),
            "notes": texts(),
        }
    )


def _economics() -> Schema:
    flows = a_map(a_map(NUMBER))
    line = an_object(
        {
            "name": TEXT,
            "label": TEXT,
            "stage": TEXT,
            "status": {"enum": ["measured", "given", "assumed"]},
            "is_campaign": FLAG,
            "flows": said("Party -> component -> rate, in minor units.", flows),
            "by_arm": a_map(flows),
            "note": TEXT,
        }
    )
    return an_object(
        {
            "lines": {"type": "array", "items": line},
            "missing": texts(),
            "vat": {"enum": ["included", "excluded"]},
            "note": TEXT,
        }
    )


def _effects() -> Schema:
    rows = {"type": "array", "items": {"type": "array", "items": MAYBE}}
    return an_object(
        {
            "arms": texts(),
            "control": TEXT,
            "names": texts(),
            "n": {"type": "array", "items": COUNT},
            "mean": said("Means per unit, arms x names.", rows),
            "cov": said("Covariance of the means, (arms x names) squared.", rows),
            "df": {"type": "array", "items": MAYBE},
            "estimand": TEXT,
            "method": TEXT,
            "variance_kept": a_map(MAYBE),
            "note": TEXT,
        }
    )


def _experiment() -> Schema:
    return {
        "type": "object",
        "description": "The plan; `upliftlab schema` prints the schema of its file.",
        "required": ["name", "kind", "design", "unit", "currency", "arms", "decide"],
        "properties": {
            "name": TEXT,
            "kind": TEXT,
            "design": TEXT,
            "unit": TEXT,
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            "arms": {"type": "object", "minProperties": 2},
            "decide": {"type": "object"},
        },
    }


def _provenance() -> Schema:
    digest = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    change = an_object({"key": TEXT, "planned": TEXT, "found": TEXT})
    changes = {"type": "array", "items": change}
    promise = an_object({"plan": digest, "locked_at": TEXT, "changes": changes})
    return an_object(
        {
            "plan": digest,
            "data": digest,
            "made_at": TEXT,
            "versions": a_map(TEXT),
            "promise": {"anyOf": [promise, {"type": "null"}]},
        }
    )


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
