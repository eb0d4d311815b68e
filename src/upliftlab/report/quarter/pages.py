"""What does the page of one experiment hold, read back from its record?"""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

from upliftlab.decision import KEEP_TESTING, NO_VERDICT
from upliftlab.registry.taking import sentence
from upliftlab.report import names
from upliftlab.report.numbers import NONE, p_value, percent, shown_ratio, shown_share
from upliftlab.report.parts import table
from upliftlab.report.quarter.amounts import Amounts, arm_name, days, mechanism_name, title

if TYPE_CHECKING:
    from upliftlab.registry.record import Record, RecordedArm
    from upliftlab.report.parts import Table
    from upliftlab.stats.estimate import Estimate

_WIDTH, _MARGIN = 320.0, 8.0


def page_values(record: Record) -> dict[str, Any]:
    """Everything that the template of an experiment's page prints."""
    amounts = Amounts(currency=record.currency, outcome=record.outcome)
    return {
        "title": title(record),
        "question": record.question,
        "facts": [each for each in _facts(record) if each],
        "headline": _headline(record),
        "is_blocked": record.status != "read",
        "arms": [_arm(record, arm, amounts) for arm in record.arms],
        "reasons": [
            f"{arm_name(record, arm)}: {reason}"
            for arm in record.arms
            for reason in arm.reasons
        ],
        "decisions": [sentence(each) for each in record.decisions],
        "sign": _sign(record),
        "checks": record.checks,
        "tables": [each for arm in record.arms for each in _tables(record, arm, amounts)],
        "estimand": record.estimand,
        "notes": [*record.notes, *record.deviations],
        "provenance": _provenance(record),
        "what": amounts.what,
    }


def _sign(record: Record) -> str:
    """The command that puts a decision on this page."""
    if not record.arms:
        return ""
    arm = record.arms[0]
    which = "" if len(record.arms) == 1 else f" --arm {shlex.quote(arm.arm)}"
    word = KEEP_TESTING if arm.verdict == NO_VERDICT else arm.verdict
    return f"upliftlab decide {shlex.quote(record.name)} {shlex.quote(word)} --by NAME{which}"


def _facts(record: Record) -> list[str]:
    units = sum(record.means.n) if record.means else 0
    return [
        days(record),
        names.counted(units, record.unit) if units else "",
        f"followed {names.window_name(record.window)}" if record.window else "",
        mechanism_name(record.mechanism),
        record.design.replace("_", " "),
        record.owner,
    ]


def _headline(record: Record) -> str:
    if record.status != "read":
        told = {"void": "NO VERDICT", "stopped": "STOPPED UNREAD", "running": "STILL RUNNING"}
        reason = f": {record.status_reason}" if record.status_reason else ""
        return f"{told[record.status]}{reason}".rstrip(".") + "."
    by_word: dict[str, list[str]] = {}
    for arm in record.arms:
        by_word.setdefault(arm.verdict, []).append(arm_name(record, arm))
    parts = [f"{word.upper()} {names.listed(arms)}." for word, arms in by_word.items()]
    parts += [
        f"GIVE {arm_name(record, arm)} to {names.audience(arm.segment)}."
        for arm in record.arms
        if arm.segment and arm.verdict != "ship"
    ]
    return " ".join(parts)


def _arm(record: Record, arm: RecordedArm, amounts: Amounts) -> dict[str, Any]:
    realised, rollout = amounts.shown(arm.realised), amounts.shown(arm.rollout)
    spend, ratio = amounts.shown(arm.spend, signed=False), shown_ratio(arm.iroi)
    return {
        "name": arm_name(record, arm),
        "per_unit": amounts.shown(arm.profit),
        "realised": realised,
        "rollout": rollout,
        "spend": spend.value or NONE,
        "iroi": ratio.value or NONE,
        "verdict": arm.verdict,
        "strip": _strip(arm.realised, [each.realised for each in record.arms]),
    }


def _strip(estimate: Estimate, beside: list[Estimate]) -> dict[str, float] | None:
    """Where the range of one arm lies on a common scale of all arms, in pixels."""
    if not math.isfinite(estimate.estimate) or not math.isfinite(estimate.ci_low):
        return None
    ends = [0.0]
    for each in beside:
        ends += [x for x in (each.ci_low, each.ci_high, each.estimate) if math.isfinite(x)]
    low, high = min(ends), max(ends)
    if not high > low:
        return None

    def at(value: float) -> float:
        return round(_MARGIN + (value - low) / (high - low) * (_WIDTH - 2 * _MARGIN), 1)

    return {
        "low": at(estimate.ci_low),
        "high": at(estimate.ci_high),
        "point": at(estimate.estimate),
        "zero": at(0.0),
    }


def _tables(record: Record, arm: RecordedArm, amounts: Amounts) -> list[Table]:
    called, out = arm_name(record, arm), []
    if arm.ladder:
        rows = []
        for rung in arm.ladder:
            money, part = amounts.shown(rung.effect), shown_share(rung.effect)
            rows.append(
                (rung.label or rung.name, money.text, money.interval, part.value or NONE)
            )
        heads = ("rung", f"extra per {record.unit}", "range", "share of control")
        out.append(table(f"{called}: the ladder down to profit", heads, rows, is_open=True))
    if arm.lines:
        rows = [
            (
                line.label,
                names.status_name(line.status),
                (shown := amounts.shown(line.effect)).text,
                shown.interval or shown.note,
            )
            for line in arm.lines
            if line.effect.estimate != 0
        ]
        total = amounts.shown(arm.profit)
        rows.append((amounts.what, "", total.text, total.interval))
        heads = ("line", "whose price", f"per {record.unit}", "range")
        out.append(table(f"{called}: line by line", heads, rows, text=2))
    return out


def _provenance(record: Record) -> list[tuple[str, str]]:
    ratio = "" if math.isnan(record.sample_ratio_p) else p_value(record.sample_ratio_p)
    booked = (
        ""
        if math.isnan(record.maturity.booked)
        else percent(record.maturity.booked, signed=False)
    )
    found = [
        ("record", record.id),
        ("recorded", record.recorded_at[:19]),
        ("earlier records", ", ".join(each[:12] for each in record.supersedes)),
        ("plan", record.plan),
        ("data", record.data),
        ("data speak until", record.as_of),
        ("layer", record.layer),
        ("salt", record.salt),
        ("sample ratio p", ratio),
        ("booked", booked),
        ("versions", ", ".join(f"{k} {v}" for k, v in record.versions.items())),
    ]
    return [(name, text) for name, text in found if text]
