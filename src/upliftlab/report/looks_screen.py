"""What does a reader of a running test see in the first ten seconds?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.report import looks_words as words, names

if TYPE_CHECKING:
    from upliftlab.monitor.answer import Monitoring, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class LookRow:
    """One treatment at the last look.

    Attributes:
        label: The arm.
        value: Extra profit per unit.
        ends: Its range at all looks.
        chip: What follows.
        colour: Of the chip.
    """

    label: str
    value: str
    ends: str
    chip: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LooksScreen:
    """Everything above the fold, as text.

    Attributes:
        title: Name of the experiment.
        facts: Dates, day of the look, how many are read.
        headline: What to do.
        chip: Colour of the headline.
        rows: Treatments; empty before the first permitted look.
        missing: What is missing for it; empty once it is permitted.
        next_look: When.
        trust: Whether to trust it.
        next_step: What to do now.
    """

    title: str
    facts: tuple[str, ...]
    headline: str
    chip: str
    rows: tuple[LookRow, ...]
    missing: str
    next_look: str
    trust: str
    next_step: str


def looks_screen(found: Monitoring) -> LooksScreen:
    """Gather the first screen of a monitoring page."""
    many = len(found.looks)
    parts = (
        names.dates(found.experiment),
        f"facts up to {words.day(found.now.day)}",
        words.read_so_far(found),
        f"look {many}" if many > 1 else "first look",
        found.experiment.owner,
    )
    profits = [r for r in found.now.readings if r.name == "profit"]
    return LooksScreen(
        title=f"Running: {names.title(found.experiment)}",
        facts=tuple(part for part in parts if part),
        headline=words.headline(found),
        chip=words.CHIPS[found.state],
        rows=tuple(_row(found, reading) for reading in profits),
        missing=found.now.missing,
        next_look=words.day(found.next_look) if found.next_look else "none: the test has ended",
        trust=words.trust(found),
        next_step=words.next_step(found),
    )


def _row(found: Monitoring, reading: Reading) -> LookRow:
    state = _first_stop(found, reading)
    return LookRow(
        label=words.arm_name(found, reading.arm),
        value=words.amount(found, reading, reading.estimate),
        ends=words.ends(found, reading),
        chip=words.SHORT[state],
        colour=words.CHIPS[state],
    )


def _first_stop(found: Monitoring, now: Reading) -> str:
    """A rule that was met stays met, whatever came later."""
    for look in found.looks:
        reading = look.profit_of(now.arm)
        if reading is not None and reading.state in {"gain", "loss"}:
            return reading.state
    return now.state
