"""Shares that follow profit as a page, text, Markdown and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.plan.currencies import currency_of
from upliftlab.report import names
from upliftlab.report.looks_plots import Band, over_looks
from upliftlab.report.markdown import document, plain, rows_of
from upliftlab.report.numbers import NBSP, NONE, count, p_value, percent, shown_money
from upliftlab.report.page import render_page
from upliftlab.report.parts import Part, Section, table
from upliftlab.report.planning_plots import Curves, Line, curves
from upliftlab.report.text import WIDTH, aligned, wrapped_lines
from upliftlab.report.written import keep
from upliftlab.stats.estimate import Estimate

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from upliftlab.adaptive.move import Move
    from upliftlab.adaptive.sequence import Look
    from upliftlab.experiment import Experiment
    from upliftlab.report.style import Chart

HEADS = (
    "Arm",
    "next share",
    "share now",
    "chance of being best",
    "extra profit",
    "range at all looks",
)

EARNS, LOSES, OPEN, OUT = "earns more", "earns less", "open", "taken out"
_COLOURS = {EARNS: "ship", LOSES: "stop", OPEN: "wait", OUT: "stop"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """One arm on the first screen, as text.

    Attributes:
        arm: Its name.
        share: From the next epoch on.
        before: In the last epoch.
        best: Probability that it earns most.
        value: Extra profit per unit so far.
        ends: Range that holds at all looks, all arms counted.
        chip: What is known; empty for control.
        colour: Of the chip.
    """

    arm: str
    share: str
    before: str
    best: str
    value: str
    ends: str
    chip: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptScreen:
    """Everything above the fold, as text.

    Attributes:
        title: Name of the experiment.
        facts: From when, how many so far.
        headline: Who gets what from when on, and what is beyond doubt.
        heads: Of the table.
        rows: Control, then the treatments.
        trust: Why the ranges may be read at any time.
        next_step: What to do now.
    """

    title: str
    facts: tuple[str, ...]
    headline: str
    heads: tuple[str, ...]
    rows: tuple[ArmRow, ...]
    trust: str
    next_step: str


def adapt_screen(experiment: Experiment, move: Move) -> AdaptScreen:
    """Gather the first screen of a move."""
    unit = names.plural(experiment.unit)
    epochs = len(move.log.epochs)
    called = names.arm_names(experiment)
    units = move.log.epochs[-1].why["units"]
    return AdaptScreen(
        title=f"Shares: {names.title(experiment)}",
        facts=(
            f"epoch {epochs} from {_day(move.since)}",
            f"{count(sum(units.values()))} {unit}",
        ),
        headline=_headline(move, called),
        heads=HEADS,
        rows=tuple(_row(experiment, move, arm.label, called) for arm in experiment.arms),
        trust=(
            f"Extra profit is per {experiment.unit} against control, compared within epochs. "
            f"Ranges of {_level(experiment)} hold for all arms at every look at once, so the "
            "test may be stopped at any of them."
        ),
        next_step=_next(experiment, move, called),
    )


def adapt_parts(experiment: Experiment, move: Move) -> tuple[Part, ...]:
    """Everything below the fold."""
    return (
        Part(key="profit", title="What arms earn", sections=(_profit(experiment, move),)),
        Part(key="shares", title="Who gets what", sections=(_shares(experiment, move),)),
        Part(key="how", title="How it was computed", sections=(_method(experiment, move),)),
    )


def render_adapt_html(experiment: Experiment, move: Move) -> str:
    """Draw the page: a whole HTML document; the same move gives the same bytes."""
    return render_page(
        "adapting.html",
        screen=adapt_screen(experiment, move),
        parts=adapt_parts(experiment, move),
        provenance=experiment.fingerprint,
        summary=render_adapt_text(experiment, move),
    )


def render_adapt_text(experiment: Experiment, move: Move) -> str:
    """Print the first screen, lines of at most 100 columns."""
    screen = adapt_screen(experiment, move)
    lines = [
        *wrapped_lines(" · ".join((screen.title, *screen.facts))),
        "=" * WIDTH,
        *wrapped_lines(screen.headline, indent=" "),
        "=" * WIDTH,
        *aligned([("", *screen.heads[1:], ""), *_cells(screen)], right={1, 2, 3, 4, 5}),
        "",
        *wrapped_lines(f"Can we trust it? {screen.trust}", indent=" "),
        *wrapped_lines(f"Next: {screen.next_step}.", indent=" "),
    ]
    return "\n".join(line.rstrip() for line in lines).replace(NBSP, " ") + "\n"


def render_adapt_markdown(experiment: Experiment, move: Move) -> str:
    """Print the first screen, then every section with its finding and tables."""
    screen = adapt_screen(experiment, move)
    lines = [
        f"# {plain(screen.title)}",
        "",
        plain(" · ".join(screen.facts)),
        "",
        f"**{plain(screen.headline)}**",
        "",
        *rows_of(("", *screen.heads[1:], ""), _cells(screen), {1, 2, 3, 4, 5}),
        "",
        f"- Can we trust it? {plain(screen.trust)}",
        f"- Next: {plain(screen.next_step)}",
        "",
    ]
    return document(lines, adapt_parts(experiment, move))


def render_adapt_json(move: Move) -> str:
    """Print everything a move knows, for machines."""
    return json.dumps(move.to_dict(), ensure_ascii=False, allow_nan=False) + "\n"


def write_adapt(experiment: Experiment, move: Move, folder: str | Path) -> dict[str, Path]:
    """Write the page, Markdown, text and JSON of a move.

    Args:
        experiment: The plan.
        move: The next epoch.
        folder: Where to; made if need be.

    Returns:
        Form -> path: "html", "markdown", "text" and "json".
    """
    rendered = {
        "html": ("adapt.html", render_adapt_html(experiment, move)),
        "markdown": ("adapt.md", render_adapt_markdown(experiment, move)),
        "text": ("adapt.txt", render_adapt_text(experiment, move)),
        "json": ("adapt.json", render_adapt_json(move)),
    }
    return keep(folder, rendered)


def _headline(move: Move, called: dict[str, str]) -> str:
    share = {arm: s for arm, s in move.shares.share.items() if s > 0}
    order = sorted(share, key=lambda arm: -share[arm])
    gets = ", ".join(
        f"{called[arm]} {percent(share[arm], decimals=0, signed=False)}" for arm in order
    )
    sure = [arm for arm in move.shares.share if _chip(move, arm) == EARNS]
    said = (
        f"{names.listed([called[arm] for arm in sure])} earn{'s' if len(sure) == 1 else ''} "
        "more than control beyond doubt"
        if sure
        else "no arm earns more than control beyond doubt yet"
    )
    return f"FROM {_day(move.since).upper()}: {gets}; {said}."


def _row(experiment: Experiment, move: Move, arm: str, called: dict[str, str]) -> ArmRow:
    before = move.log.epochs[-2].share.get(arm, 0.0)
    is_control = arm == experiment.control.label
    chip = "" if is_control else _chip(move, arm)
    value, ends = ("", "") if is_control else _shown(experiment, move.look(arm))
    return ArmRow(
        arm=called[arm],
        share=_share(move.shares.share[arm]),
        before=_share(before),
        best=percent(move.shares.best.get(arm, 0.0), signed=False),
        value=value or NONE,
        ends=ends or NONE,
        chip=chip,
        colour=_COLOURS.get(chip, ""),
    )


def _chip(move: Move, arm: str) -> str:
    if arm in move.shares.dropped:
        return OUT
    found = [look for look in move.looks if look.arm == arm]
    if not found:
        return ""
    if found[-1].ci_low > 0:
        return EARNS
    return LOSES if found[-1].ci_high < 0 else OPEN


def _shown(experiment: Experiment, look: Look) -> tuple[str, str]:
    found = _estimate(look, float(experiment.decide.confidence))
    shown = shown_money(found, experiment.currency)
    return shown.value, shown.interval or look.note


def _estimate(look: Look, level: float) -> Estimate:
    return Estimate(
        name=look.arm,
        estimate=look.estimate,
        std_error=look.std_error,
        ci_low=look.ci_low,
        ci_high=look.ci_high,
        level=level,
        note=look.note,
    )


def _next(experiment: Experiment, move: Move, called: dict[str, str]) -> str:
    sure = [arm for arm in move.shares.share if _chip(move, arm) == EARNS]
    others = [
        arm for arm in move.shares.share
        if arm not in {*sure, experiment.control.label} and _chip(move, arm) == OPEN
    ]  # fmt: skip
    assign = f"assign those who enter from {_day(move.since)} on (upliftlab assign)"
    if len(sure) == 1 and not others:
        return f"{called[sure[0]]} may be rolled out now; else {assign}"
    return f"{assign}, and come back when their windows are closed"


def _profit(experiment: Experiment, move: Move) -> Section:
    called = names.arm_names(experiment)
    treatments = [arm.label for arm in experiment.treatments]
    ends = _ends(move)
    scale = currency_of(experiment.currency).scale
    bands = []
    for arm in treatments:
        found = [look for look in move.looks if look.arm == arm and not look.note]
        if found:
            bands.append(
                Band(
                    title=f"{called[arm]}: extra profit per {experiment.unit}",
                    days=[ends[look.epoch] for look in found],
                    values=[look.estimate / scale for look in found],
                    low=[look.ci_low / scale for look in found],
                    high=[look.ci_high / scale for look in found],
                )
            )
    rows = [
        (
            called[look.arm], look.epoch, count(look.units), *_shown(experiment, look),
            p_value(look.p_value),
        )
        for look in move.looks
    ]  # fmt: skip
    best = max((move.look(arm) for arm in treatments), key=lambda look: look.estimate)
    value, interval = _shown(experiment, best)
    charts: tuple[Chart, ...] = ()
    if bands:
        charts = (
            over_looks(
                "sequence",
                bands,
                alt="Extra profit of each arm at the end of every epoch, with ranges that hold "
                "at all looks",
                note="Shaded: the range that holds at all looks. It narrows as customers come.",
            ),
        )
    return Section(
        key="sequence",
        title="What has each arm earned so far?",
        finding=f"{called[best.arm]} leads with {value} per {experiment.unit} ({interval}).",
        charts=charts,
        tables=(
            table(
                "Every arm at the end of every epoch",
                ("arm", "epoch", names.plural(experiment.unit), "extra profit",
                 "range at all looks", "p at all looks"),
                rows, text=2,
            ),
        ),
    )  # fmt: skip


def _shares(experiment: Experiment, move: Move) -> Section:
    called = names.arm_names(experiment)
    epochs = move.log.epochs
    x = tuple(float(i) for i in range(1, len(epochs) + 1))
    lines = tuple(
        Line(label=called[arm.label], x=x,
             y=tuple(epoch.share.get(arm.label, 0.0) for epoch in epochs))
        for arm in experiment.arms
    )  # fmt: skip
    rows = [
        (str(i), _day(epoch.since),
         *(_share(epoch.share.get(arm.label, 0.0)) for arm in experiment.arms))
        for i, epoch in enumerate(epochs, 1)
    ]  # fmt: skip
    before, after = epochs[-2].share, move.shares.share
    moved = max(after, key=lambda arm: abs(after[arm] - before.get(arm, 0.0)))
    finding = (
        f"{called[moved]} goes from {_share(before.get(moved, 0.0))} to {_share(after[moved])}."
        if after[moved] != before.get(moved, 0.0)
        else "Shares stay as they were."
    )
    return Section(
        key="share",
        title="How do shares move?",
        finding=finding,
        charts=(
            curves(
                "shares",
                [Curves(title="Share of customers who enter", below="epoch", lines=lines,
                        is_share=True)],
                alt="Share of every arm in every epoch",
            ),
        ),
        tables=(
            table(
                "Shares of every epoch, as they were drawn",
                ("epoch", "from", *(called[arm.label] for arm in experiment.arms)),
                rows, text=2, is_open=True,
            ),
        ),
        notes=tuple(f"{called[arm]}: {why}." for arm, why in move.shares.dropped.items()),
    )  # fmt: skip


def _method(experiment: Experiment, move: Move) -> Section:
    adapt = experiment.assign.adapt if experiment.assign else None
    floor = percent(float(adapt.floor), decimals=0, signed=False) if adapt else NONE
    tuned = move.log.epochs[-1].why.get("tuned_at", math.nan)
    how = {"thompson": "its probability of earning most", "top_two": "top-two sampling"}
    return Section(
        key="method",
        title="Why may shares be moved and looked at?",
        finding=(
            "Shares were fixed before the outcomes of their epoch, so each epoch is a test of "
            "its own, and epochs add up with weights that no outcome touches."
        ),
        notes=(
            (
                f"Every arm gets {how.get(move.shares.method, 'an equal share')}, and {floor} "
                "or more."
            ),
            (
                "Range at all looks: asymptotic confidence sequence over epochs, tightest at "
                f"{count(tuned)} {names.plural(experiment.unit)}, all arms counted "
                "(Bonferroni). It begins once the smaller arm is large enough for its skewed "
                "profit."
            ),
            (
                "Chance of being best: probability of earning most by what is known now; it "
                "moves shares and proves nothing."
            ),
        ),
    )


def _ends(move: Move) -> dict[str, str]:
    """Epoch -> the day on which the next one began."""
    later = [epoch.since.isoformat() for epoch in move.log.epochs[1:]]
    return {str(i): day for i, day in enumerate(later, 1)}


def _cells(screen: AdaptScreen) -> list[tuple[str, ...]]:
    return [
        (row.arm, row.share, row.before, row.best, row.value, row.ends, row.chip)
        for row in screen.rows
    ]


def _level(experiment: Experiment) -> str:
    return percent(float(experiment.decide.confidence), decimals=0, signed=False)


def _share(share: float) -> str:
    return percent(share, signed=False)


def _day(found: date) -> str:
    return f"{found.day} {found:%b} {found.year}"


__all__ = [
    "adapt_parts",
    "adapt_screen",
    "render_adapt_html",
    "render_adapt_json",
    "render_adapt_markdown",
    "render_adapt_text",
    "write_adapt",
]
