"""Is the machinery fit for a first test? The A/A rehearsal as page, text and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.checks import FAIL, WARN
from upliftlab.plan.metrics import PROFIT
from upliftlab.report import names
from upliftlab.report.numbers import NBSP, NONE, count, money, p_value, percent, spaced
from upliftlab.report.page import render_page
from upliftlab.report.parts import Item, Part, Section, table
from upliftlab.report.rehearsal_plots import deciles
from upliftlab.report.written import keep

if TYPE_CHECKING:
    from pathlib import Path

    from upliftlab.rehearsal.answer import Rehearsal
    from upliftlab.rehearsal.rows import Row

PASSED = "Go ahead: where nothing was done, the analysis finds no more than chance"
FAILED = "Not yet: the analysis is not fit for this test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """Everything above the fold.

    Attributes:
        title: What was rehearsed.
        facts: Dates, size, owner.
        headline: Whether to go ahead, in one sentence.
        is_blocked: Whether not.
        answers: (question, answer, detail).
        trust: The first check to read.
        next_step: What to do.
    """

    title: str
    facts: tuple[str, ...]
    headline: str
    is_blocked: bool
    answers: tuple[tuple[str, str, str], ...]
    trust: str
    next_step: str


def render_rehearsal_html(found: Rehearsal) -> str:
    """Draw the rehearsal page: the same rehearsal gives the same bytes."""
    return render_page(
        "rehearsal.html",
        screen=rehearsal_screen(found),
        parts=_parts(found),
        provenance=found.experiment.fingerprint,
        summary=render_rehearsal_text(found),
    )


def render_rehearsal_text(found: Rehearsal) -> str:
    """Print the first screen and the checks."""
    screen = rehearsal_screen(found)
    lines = [" · ".join((screen.title, *screen.facts)), "", screen.headline + ".", ""]
    wide = max(len(question) for question, _, _ in screen.answers)
    lines += [f"  {q:<{wide}}  {text} ({detail})" for q, text, detail in screen.answers]
    lines += ["", *(f"  {c.verdict:5} {c.message}" for c in found.checks)]
    lines += ["", *(f"  {_capital(note)}." for note in found.notes)]
    lines += ["", f"Next: {screen.next_step}."]
    return "\n".join(lines).replace(NBSP, " ") + "\n"


def render_rehearsal_json(found: Rehearsal) -> str:
    """Print everything the rehearsal knows, for machines."""
    return json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"


def write_rehearsal(found: Rehearsal, folder: Path) -> dict[str, Path]:
    """Write page, text and JSON into a folder, each whole or not at all."""
    rendered = {
        "html": ("rehearsal.html", render_rehearsal_html(found)),
        "text": ("rehearsal.txt", render_rehearsal_text(found)),
        "json": ("rehearsal.json", render_rehearsal_json(found)),
    }
    return keep(folder, rendered)


def rehearsal_screen(found: Rehearsal) -> Screen:
    """Say above the fold whether to go ahead, what the test would see, and what to do."""
    experiment = found.experiment
    profit = found.rows[0]
    failed = [check for check in found.checks if check.verdict == FAIL]
    unsure = [check for check in found.checks if check.verdict == WARN]
    first = (failed or unsure or list(found.checks))[0]
    alarms = percent(profit.false_alarms, signed=False)
    expected = percent(1 - found.level, decimals=0, signed=False)
    size = f"{count(found.units)} {names.plural(experiment.unit)}"
    if found.clusters:
        size += f" in {count(found.clusters)} clusters"
    answers: tuple[tuple[str, str, str], ...] = (
        (
            "False alarms on profit",
            alarms,
            f"{expected} are expected, in {count(found.draws)} tests of nothing",
        ),
        (
            "Smallest profit effect seen",
            _amount(found, profit, profit.detectable),
            f"per {experiment.unit}, in 80{NBSP}% of tests{_beside(found, profit)}",
        ),
        (
            "Ranges that hold the truth",
            percent(profit.coverage, signed=False),
            f"{percent(found.level, decimals=0, signed=False)} are promised",
        ),
    )
    if math.isfinite(found.ratio_alarms):
        answers += (
            (
                "Sample-ratio alarms",
                f"{round(found.ratio_alarms * found.draws):,} of {count(found.draws)}",
                f"{round(0.001 * found.draws):,} are expected",
            ),
        )
    return Screen(
        title=f"{names.title(experiment)}: A/A rehearsal",
        facts=tuple(fact for fact in (size, found.mechanism, experiment.owner) if fact),
        headline=PASSED if found.is_valid else FAILED,
        is_blocked=not found.is_valid,
        answers=answers,
        trust=spaced(first.message),
        next_step=_next(found),
    )


def _next(found: Rehearsal) -> str:
    failed = {check.name for check in found.checks if check.verdict == FAIL}
    if not failed:
        smallest = _amount(found, found.rows[0], found.rows[0].detectable)
        return (
            f"start the test if an effect of {smallest} per {found.experiment.unit} is small "
            "enough to matter; else run it longer or with more"
        )
    if failed & {"p_values", "coverage"} and found.experiment.period is not None:
        return (
            "name the clusters that are drawn whole (cluster), draw more of them, or leave out "
            "those that are unlike all others"
        )
    if failed & {"p_values", "coverage"}:
        return (
            "analyse by what was really assigned: name the clusters (design: cluster_split), "
            "take more of them, or make the smallest arm larger"
        )
    if "hash" in failed:
        return "look for repeated ids, and for ids that were made from a hash"
    if "sample_ratio" in failed:
        return "look for units that are lost or added between assignment and data"
    return "draw the clusters as a list: assign: {draw: blocks}"


def _parts(found: Rehearsal) -> tuple[Part, ...]:
    return (
        Part(
            key="trust",
            title="Can we trust it?",
            sections=(_gate(found), _uniform(found)),
        ),
        Part(key="power", title="What would the test see?", sections=(_power(found),)),
        Part(key="how", title="How", sections=(_how(found),)),
    )


def _gate(found: Rehearsal) -> Section:
    verdicts = [check.verdict for check in found.checks]
    passed, warned, failed = (verdicts.count(v) for v in ("pass", WARN, FAIL))
    rows = [
        (
            check.name.replace("_", " "),
            check.verdict,
            f"{check.value:.4g}" if math.isfinite(check.value) else NONE,
            f"{check.threshold:.4g}",
        )
        for check in found.checks
    ]
    heads = ("check", "result", "value", "threshold")
    return Section(
        key="checks",
        title="The gate",
        finding=f"{passed} pass, {warned} warn, {failed} fail.",
        items=tuple(Item(state=c.verdict, text=spaced(c.message)) for c in found.checks),
        tables=(table("Values and thresholds", heads, rows, text=2),),
    )


def _uniform(found: Rehearsal) -> Section:
    row = min(found.rows, key=lambda r: r.p_adjusted if math.isfinite(r.p_adjusted) else 2.0)
    worst = names.metric_name(row.metric, found.experiment)
    ok = row.p_adjusted >= 0.001
    finding = (
        f"p-values are spread evenly, also for {worst}, the least even"
        if ok
        else f"p-values of {worst} crowd near {'0' if row.leans == 'small' else '1'}"
    )
    shown = [found.rows[0]] + ([row] if row is not found.rows[0] else [])
    charts = tuple(
        deciles(
            f"p-{i}",
            each.deciles,
            title=f"share of tests of {names.metric_name(each.metric, found.experiment)} "
            "by p-value",
            alt=f"Between {percent(min(each.deciles), signed=False)} and "
            f"{percent(max(each.deciles), signed=False)} of p-values lie in each tenth.",
        )
        for i, each in enumerate(shown)
    )
    rows = [
        (
            names.metric_name(r.metric, found.experiment),
            r.arm,
            percent(r.false_alarms, signed=False),
            percent(r.coverage, signed=False),
            p_value(r.p_uniform),
            p_value(r.p_adjusted),
        )
        for r in found.rows
    ]
    heads = ("metric", "arm", "false alarms", "ranges that hold 0", "uniform? p", "corrected p")
    return Section(
        key="uniform",
        title="Does it find effects that are not there?",
        finding=f"{finding} (corrected p {p_value(row.p_adjusted)}).",
        charts=charts,
        tables=(table("Every metric and arm", heads, rows, text=2),),
        notes=(
            (
                "Kolmogorov-Smirnov test against uniform p-values, corrected by Holm over "
                "metrics and arms; the gate closes below 0.001."
            ),
        ),
    )


def _power(found: Rehearsal) -> Section:
    profit = found.rows[0]
    rows = [
        (
            names.metric_name(r.metric, found.experiment),
            r.arm,
            _amount(found, r, r.mean, signed=False),
            _amount(found, r, r.detectable),
            percent(abs(r.detectable / r.mean), signed=False) if r.mean else NONE,
            _amount(found, r, r.planted),
            percent(r.power, signed=False),
        )
        for r in found.rows
    ]
    heads = ("metric", "arm", "mean before", "seen in 80 %", "of the mean", "planted",
             "planted and seen")  # fmt: skip
    goal = ""
    if math.isfinite(profit.power_at_goal):
        worth = money(float(found.experiment.decide.worth_it.minor), found.experiment.currency)
        goal = (
            f"; {worth}, which would be worth it, is seen in "
            f"{percent(profit.power_at_goal, signed=False)}"
        )
    return Section(
        key="seen",
        title="The smallest effect it would see",
        finding=(
            f"A profit effect of {_amount(found, profit, profit.detectable)} per "
            f"{found.experiment.unit} is seen in 80{NBSP}% of tests{goal}."
        ),
        tables=(table("Every metric and arm", heads, rows, text=2, is_open=True),),
        notes=(
            (
                "A constant effect was added to the treated units of every re-assignment. The "
                f"planted one is what the standard error promises to see in 80{NBSP}% of tests."
            ),
        ),
    )


def _how(found: Rehearsal) -> Section:
    experiment = found.experiment
    rows = [
        ("plan, SHA-256", experiment.fingerprint),
        ("re-assignments", f"{found.draws:,}"),
        ("seed", str(found.seed)),
        ("units", f"{found.units:,}"),
        ("clusters", f"{found.clusters:,}" if found.clusters else NONE),
    ]
    return Section(
        key="method",
        title="How it was rehearsed",
        finding=(
            f"Data from before the test were re-assigned {found.draws:,} times by the plan's "
            f"own mechanism ({found.mechanism}) and analysed as the test will be."
        ),
        tables=(table("Fingerprint and numbers", ("what", "value"), rows, text=2),),
        notes=tuple(f"{_capital(spaced(note))}." for note in found.notes),
    )


def _amount(found: Rehearsal, row: Row, value: float, *, signed: bool = True) -> str:
    """Print a metric's number the way its kind is shown."""
    if not math.isfinite(value):
        return NONE
    kind = "money" if row.metric == PROFIT else names.metric_kind(row.metric, found.experiment)
    if kind == "money":
        width = 4 * row.std_error
        return money(value, found.experiment.currency, width=width, signed=signed)
    if kind == "share":
        decimals = 2 if abs(value) < 0.01 else 1
        if not signed:
            return percent(value, signed=False)
        return percent(value, decimals=decimals).replace(f"{NBSP}%", f"{NBSP}points")
    return f"{value:+.4g}".replace("-", "−") if signed else f"{value:.4g}"


def _beside(found: Rehearsal, profit: Row) -> str:
    if not profit.mean or not math.isfinite(profit.detectable):
        return ""
    share = percent(abs(profit.detectable / profit.mean), signed=False)
    del found
    return f"; {share} of the mean"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
