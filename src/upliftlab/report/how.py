"""How were these numbers made: estimand, method, plan, provenance?"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from upliftlab.report import names, over_time_words, words
from upliftlab.report.first_screen import has_rollout
from upliftlab.report.numbers import NONE, percent, spaced
from upliftlab.report.parts import Section, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Table
    from upliftlab.rollout.answer import Rollout


def how(analysis: Analysis) -> tuple[Section, ...]:
    """Return the sections on method and provenance."""
    rollout = analysis.rollout
    method = _estimand(analysis) if rollout is None else _over_time(analysis, rollout)
    return (method, _counted(analysis), _plan(analysis), _provenance(analysis))


def _estimand(analysis: Analysis) -> Section:
    experiment = analysis.experiment
    kept = analysis.profits[0].variance_kept
    design = (
        "cluster by cluster"
        if experiment.cluster
        else f"{experiment.unit} by {experiment.unit}"
    )
    finding = f"Arms were assigned at random, {design}"
    if math.isfinite(kept):
        left = percent(kept, decimals=0, signed=False)
        finding += f"; adjustment left {left} of the variance of extra profit"
    notes = [_capital(words.with_arm_names(analysis, spaced(analysis.estimand)))]
    if analysis.effects.method:
        notes.append(f"Method: {analysis.effects.method}.")
    notes.append(_intervals(analysis))
    if has_rollout(analysis):
        notes.append(
            f"Roll-out totals multiply the effect per {experiment.unit} by the number reached, "
            "over the headline window; they hold as far as those reached are like those tested."
        )
    notes += [line.note for line in analysis.economics.lines if line.note]
    return Section(
        key="method",
        title="What is estimated, and how",
        finding=f"{finding}.",
        notes=tuple(note for note in notes if note),
        tables=(_arms(analysis),),
    )


def _over_time(analysis: Analysis, rollout: Rollout) -> Section:
    """The same where units switched over time and nobody is control for good."""
    many = names.plural(rollout.unit)
    treated, untreated = rollout.clusters
    finding = (
        f"{_capital(many)} that switched are compared with {many} that had not: {treated} "
        f"against {untreated} {_counted_as(analysis)}"
    )
    if rollout.design == "switchback":
        finding = f"Times with the change are compared with times without it, for {many}"
    level = percent(float(analysis.experiment.decide.confidence), decimals=0, signed=False)
    notes = [
        _capital(words.with_arm_names(analysis, spaced(analysis.estimand))),
        f"Method: {analysis.effects.method}." if analysis.effects.method else "",
        f"Ranges are {level} intervals. {_bands(rollout)}",
    ]
    if has_rollout(analysis):
        notes.append(
            f"Roll-out totals multiply the effect per {names.each(analysis.experiment)} by the "
            "number reached; they hold as far as those reached, and the time to come, are like "
            "those followed."
        )
    notes += [_capital(f"{note.rstrip('.')}.") for note in rollout.notes]
    return Section(
        key="method",
        title="What is estimated, and how",
        finding=f"{finding}.",
        notes=tuple(note for note in notes if note),
        tables=(_rates(analysis),),
    )


def _bands(rollout: Rollout) -> str:
    times = names.plural(rollout.period)
    return f"A band holds for all shown {times} at once. Ratios and rates have Fieller sets."


def _counted_as(analysis: Analysis) -> str:
    return "clusters" if analysis.experiment.cluster else names.plural(analysis.experiment.unit)


def _rates(analysis: Analysis) -> Table:
    """Arms with what is paid in each."""
    called = names.arm_names(analysis.experiment)
    rows = [
        (
            called[arm.label],
            arm.label,
            *(over_time_words.rate_told(arm, key) for key in over_time_words.RATES),
        )
        for arm in analysis.experiment.arms
    ]
    heads = ("arm", "label in the data", "organic", "ads", "agency")
    return table("Arms and their rates", heads, rows, text=2)


def _intervals(analysis: Analysis) -> str:
    level = percent(float(analysis.experiment.decide.confidence), decimals=0, signed=False)
    return (
        f"Ranges are {level} intervals. An arm stops on its own range; it ships on the range "
        "that counts all arms at once, a segment on the one that counts all declared segments. "
        "Ratios have Fieller sets, so 0 lies in the set of profit per unit of campaign money "
        "exactly when it lies in the range of profit."
    )


def _arms(analysis: Analysis) -> Table:
    called = names.arm_names(analysis.experiment)
    size = dict(zip(analysis.effects.arms, analysis.effects.n, strict=True))
    rows = [
        (
            called[arm.label],
            arm.label,
            str(arm.share),
            f"{size.get(arm.label, 0):,}",
        )
        for arm in analysis.experiment.arms
    ]
    many = names.plural(analysis.experiment.unit)
    return table("Arms", ("arm", "label in the data", "planned share", many), rows, text=2)


def _counted(analysis: Analysis) -> Section:
    rows = [
        (
            line.label,
            names.status_name(line.status),
            line.stage,
            "yes" if line.is_campaign else "no",
        )
        for line in words.cost_lines(analysis)
    ]
    rows += [
        (names.cost_name(name), "missing: neither plan nor data speak of it", "", "")
        for name in analysis.economics.missing
    ]
    notes = (analysis.economics.note,) if analysis.economics.note else ()
    return Section(
        key="costs",
        title="What this profit counts",
        finding=f"{words.counted_costs(analysis)}.",
        tables=(
            table(
                "Cost lines", ("line", "whose price", "stage", "campaign money"), rows, text=4
            ),
        ),
        notes=(*notes, "Fixed costs that the treatment does not change are outside."),
    )


def _plan(analysis: Analysis) -> Section:
    rows = list(_flat(analysis.experiment.to_dict()))
    short = analysis.provenance.plan[:12]
    question = analysis.experiment.question
    asked = f"The question was: {question}" if question else "The plan states no question"
    return Section(
        key="plan",
        title="The plan",
        finding=f"{asked.rstrip('.')}{'' if asked.endswith('?') else '.'} (plan {short})",
        notes=(_promised(analysis),),
        tables=(
            *_changed(analysis),
            table("The definition, key by key", ("key", "value"), rows, text=2),
        ),
    )


def _promised(analysis: Analysis) -> str:
    promise = analysis.provenance.promise
    if promise is None:
        return "The plan was not locked before the data were read."
    count = len(promise.changes)
    changed = "nothing was changed" if not count else (
        "1 promise was changed, listed below" if count == 1
        else f"{count} promises were changed, listed below"
    )  # fmt: skip
    locked = f"The plan was locked on {promise.locked_at} ({promise.plan[:12]})"
    return f"{locked}; since then {changed}."


def _changed(analysis: Analysis) -> tuple[Table, ...]:
    promise = analysis.provenance.promise
    if promise is None or not promise.changes:
        return ()
    rows = [
        (change.key, change.planned or NONE, change.found or NONE) for change in promise.changes
    ]
    heads = ("key", "promised", "now")
    return (table("Changed after the plan was locked", heads, rows, text=3),)


def _provenance(analysis: Analysis) -> Section:
    found = analysis.provenance
    version = found.versions.get("upliftlab", "")
    rows = [
        ("plan, SHA-256", found.plan),
        ("data, SHA-256", found.data),
        ("made", found.made_at),
        *((name, number) for name, number in found.versions.items()),
    ]
    return Section(
        key="provenance",
        title="Provenance",
        finding=f"Made {found.made_at} by upliftlab {version} from plan {found.plan[:12]} and "
        f"data {found.data[:12]}.",
        tables=(table("Fingerprints and versions", ("what", "value"), rows, text=2),),
    )


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        if value:
            yield path, ", ".join(value)
    elif isinstance(value, str):
        if value:
            yield path, value
    else:
        yield path, json.dumps(value, ensure_ascii=False)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
