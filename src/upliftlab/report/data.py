"""The analysis for machines: JSON, and the schema that says what each key means."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from upliftlab.analysis import SCHEMA_VERSION
from upliftlab.checks import FAIL, INFO, PASS, WARN
from upliftlab.decision import VERDICTS

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_MAYBE: Schema = {"type": ["number", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}


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
        **_object(
            {
                "schema_version": {"const": SCHEMA_VERSION},
                "experiment": _experiment(),
                "estimand": _said("What the numbers estimate, in one sentence."),
                "facts": _facts(),
                "checks": _list("check"),
                "economics": _economics(),
                "effects": _effects(),
                "profits": _list("profit"),
                "other_windows": _map({"type": "array", "items": _ref("profit")}),
                "segments": _list("segment"),
                "metrics": _list("metric"),
                "journey": _list("journey"),
                "dose": {"anyOf": [_dose(), {"type": "null"}]},
                "decisions": _list("decision"),
                "provenance": _provenance(),
                "notes": _texts(),
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
            "journey": _object({"arm": _TEXT, "step": _TEXT, "label": _TEXT, "share": _MAYBE}),
            "decision": _decision(),
        },
    }


def _estimate() -> Schema:
    return _object(
        {
            "name": _TEXT,
            "estimate": _said("Null where it does not exist; note says why.", _MAYBE),
            "std_error": _MAYBE,
            "ci_low": _MAYBE,
            "ci_high": _MAYBE,
            "p_value": _said("Two-sided, against 0 unless note says otherwise.", _MAYBE),
            "df": _said("Degrees of freedom; null means infinite or none.", _MAYBE),
            "level": _NUMBER,
            "rel_estimate": _said("The same as a share of control.", _MAYBE),
            "rel_ci_low": _MAYBE,
            "rel_ci_high": _MAYBE,
            "shape": _said(
                "interval: between the ends; outside: up to ci_low and from ci_high on; "
                "everything: the whole line; none: no set.",
                {"enum": ["interval", "outside", "everything", "none"]},
            ),
            "note": _TEXT,
        }
    )


def _check() -> Schema:
    return _object(
        {
            "name": _TEXT,
            "verdict": {"enum": [PASS, WARN, FAIL, INFO]},
            "message": _TEXT,
            "value": _MAYBE,
            "threshold": _MAYBE,
            "is_blocking": _said("Whether this result leaves no verdict.", _FLAG),
        }
    )


def _profit() -> Schema:
    e = _ref("estimate")
    return _object(
        {
            "arm": _TEXT,
            "control": _TEXT,
            "window": _said(
                "Days from assignment; null without a clock.", {"type": ["integer", "null"]}
            ),
            "segment": _TEXT,
            "n": _COUNT,
            "n_control": _COUNT,
            "profit": _said("Extra profit per unit, its own interval.", e),
            "profit_simultaneous": _said(
                "With an interval that counts all arms or segments.", e
            ),
            "lines": _list("line"),
            "ladder": _list("rung"),
            "campaign_cost": e,
            "iroi": _said("Extra profit per unit of campaign money; a Fieller set.", e),
            "over_hurdle": _said("Extra profit less the hurdle on campaign money.", e),
            "attributed_roi": _said("What a dashboard shows.", _MAYBE),
            "cost_per": _said("Per extra customer, member or order.", _map(e)),
            "average_cost_per": _said("Per customer, member or order at all.", _map(_MAYBE)),
            "parties": _map(e),
            "stages": _map(e),
            "mechanical": e,
            "behavioural": e,
            "p_positive": _said("Not evidence for stopping early.", _MAYBE),
            "expected_loss": _MAYBE,
            "realised": _said("Total over the treated units of the test.", e),
            "rollout": _said("Total over rollout_n units.", e),
            "rollout_n": _COUNT,
            "tipping": _list("tipping"),
            "variance_kept": _MAYBE,
        }
    )


def _line() -> Schema:
    return _object(
        {
            "line": _TEXT,
            "label": _TEXT,
            "stage": _TEXT,
            "status": {"enum": ["measured", "given", "assumed"]},
            "treatment": _MAYBE,
            "control": _MAYBE,
            "effect": _ref("estimate"),
        }
    )


def _rung() -> Schema:
    return _object(
        {"name": _TEXT, "label": _TEXT, "control": _MAYBE, "effect": _ref("estimate")}
    )


def _tipping() -> Schema:
    return _object(
        {
            "name": _TEXT,
            "label": _TEXT,
            "now": _NUMBER,
            "at": _said("Value at which extra profit is 0.", _ref("estimate")),
            "is_reachable": _FLAG,
        }
    )


def _segment() -> Schema:
    return _object(
        {
            "column": _TEXT,
            "level": _TEXT,
            "share": _NUMBER,
            "n": _COUNT,
            "profits": _list("profit"),
            "differs": _said("Arm -> p-value that all levels earn the same.", _map(_MAYBE)),
        }
    )


def _metric() -> Schema:
    return _object(
        {
            "metric": _TEXT,
            "arm": _TEXT,
            "role": {"enum": ["primary", "secondary", "guardrail"]},
            "direction": {"enum": ["up", "down"]},
            "treatment": _MAYBE,
            "control": _MAYBE,
            "effect": _ref("estimate"),
            "state": {"enum": ["", "non-inferior", "inferior", "inconclusive"]},
            "margin": _TEXT,
            "p_adjusted": _MAYBE,
            "is_planned": _said("False: exploratory, no claim rests on it.", _FLAG),
        }
    )


def _decision() -> Schema:
    e = _ref("estimate")
    return _object(
        {
            "arm": _TEXT,
            "verdict": _said("For everyone.", {"enum": list(VERDICTS)}),
            "segment": _said("Declared segment to ship to; empty for none.", _TEXT),
            "reasons": _texts(),
            "at_stake": e,
            "segment_at_stake": {"anyOf": [e, {"type": "null"}]},
            "is_buying_gmv": _FLAG,
        }
    )


def _dose() -> Schema:
    return _object(
        {
            "depths": _said("Arm -> face value.", _map(_NUMBER)),
            "break_even": _said("Depth at which gain turns to loss.", _ref("estimate")),
            "best": _said("Arm above every other; empty where the data cannot tell.", _TEXT),
        }
    )


def _facts() -> Schema:
    return _object(
        {
            "assigned": _map(_map(_COUNT)),
            "set_aside": {
                "type": "array",
                "items": _object(
                    {"source": _TEXT, "rule": _TEXT, "rows": _COUNT, "arms": _map(_COUNT)}
                ),
            },
            "lines": _COUNT,
            "as_of": _said("UTC seconds.", {"type": ["integer", "null"]}),
            "closed": _map(_MAYBE),
            "final": _map(_MAYBE),
            "has_refunds": {"type": ["boolean", "null"]},
            "clusters": _map(_COUNT),
            "cluster_size_cv": _map(_NUMBER),
            "coverage": _map({"type": "array", "items": _COUNT}),
            "unbalanced_lines": {"type": ["integer", "null"]},
            "funding": _map(_NUMBER),
            "stacked": _map({"type": "array", "items": _NUMBER}),
            "saw_other": _map(_COUNT),
            "missing": _map(_COUNT),
            "ad_spend": _map(_NUMBER),
            "finance": _map(_NUMBER),
            "notes": _texts(),
        }
    )


def _economics() -> Schema:
    flows = _map(_map(_NUMBER))
    line = _object(
        {
            "name": _TEXT,
            "label": _TEXT,
            "stage": _TEXT,
            "status": {"enum": ["measured", "given", "assumed"]},
            "is_campaign": _FLAG,
            "flows": _said("Party -> component -> rate, in minor units.", flows),
            "by_arm": _map(flows),
            "note": _TEXT,
        }
    )
    return _object(
        {
            "lines": {"type": "array", "items": line},
            "missing": _texts(),
            "vat": {"enum": ["included", "excluded"]},
            "note": _TEXT,
        }
    )


def _effects() -> Schema:
    rows = {"type": "array", "items": {"type": "array", "items": _MAYBE}}
    return _object(
        {
            "arms": _texts(),
            "control": _TEXT,
            "names": _texts(),
            "n": {"type": "array", "items": _COUNT},
            "mean": _said("Means per unit, arms x names.", rows),
            "cov": _said("Covariance of the means, (arms x names) squared.", rows),
            "df": {"type": "array", "items": _MAYBE},
            "estimand": _TEXT,
            "method": _TEXT,
            "variance_kept": _map(_MAYBE),
            "note": _TEXT,
        }
    )


def _experiment() -> Schema:
    return {
        "type": "object",
        "description": "The plan; `upliftlab schema` prints the schema of its file.",
        "required": ["name", "kind", "design", "unit", "currency", "arms", "decide"],
        "properties": {
            "name": _TEXT,
            "kind": _TEXT,
            "design": _TEXT,
            "unit": _TEXT,
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
            "arms": {"type": "object", "minProperties": 2},
            "decide": {"type": "object"},
        },
    }


def _provenance() -> Schema:
    digest = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
    return _object({"plan": digest, "data": digest, "made_at": _TEXT, "versions": _map(_TEXT)})


def _object(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _list(name: str) -> Schema:
    return {"type": "array", "items": _ref(name)}


def _texts() -> Schema:
    return {"type": "array", "items": _TEXT}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _said(words: str, schema: Schema | None = None) -> Schema:
    return {"description": words, **(schema or _TEXT)}


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
