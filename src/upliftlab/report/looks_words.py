"""Which words say whether to keep running, and why?"""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING

from upliftlab.monitor.answer import (
    BROKEN,
    FUTILE,
    GAIN,
    HARM,
    KEEP,
    LOSS,
    OVER,
    WAIT,
    Monitoring,
    Reading,
)
from upliftlab.plan.quantities import Rate
from upliftlab.report import names
from upliftlab.report.numbers import NONE, count, money, number, percent

if TYPE_CHECKING:
    from collections.abc import Callable

CHIPS = {
    KEEP: "keep-testing", WAIT: "keep-testing", GAIN: "ship", LOSS: "stop", HARM: "stop",
    BROKEN: "no-verdict", FUTILE: "stop", OVER: "keep-testing",
}  # fmt: skip
"""State -> colour of its chip on the page."""

SHORT = {
    KEEP: "keep running", WAIT: "may not look yet", GAIN: "earns: may stop",
    LOSS: "loses: stop", HARM: "worse than allowed: stop", FUTILE: "hardly to be found",
    OVER: "ended", BROKEN: "no verdict",
}  # fmt: skip


BOUNDED = "exact, only watched"
"""A metric with declared bounds: its range is exact, and no rule hangs on it."""


def headline(found: Monitoring) -> str:
    """Say in one sentence what to do."""
    since = f" Since the look of {day(found.stopped)}." if _is_earlier(found) else ""
    arms = names.listed(_arms_in(found, found.state)) if found.looks else ""
    texts: dict[str, Callable[[], str]] = {
        WAIT: lambda: f"MAY NOT LOOK YET: {_until(found)}",
        KEEP: lambda: (
            f"KEEP RUNNING: no stopping rule is met. Next look on {day(found.next_look)}."
        ),
        GAIN: lambda: f"STOP RULE MET: {arms} earns extra profit, at any number of looks.",
        LOSS: lambda: f"STOP {arms}: it loses profit, at any number of looks.",
        HARM: lambda: f"STOP {arms}: {_rails(found)} is worse than the plan allows.",
        BROKEN: lambda: (
            "NO VERDICT: the arms do not have the sizes that were planned. Stop, "
            "and find out who was lost."
        ),
        FUTILE: lambda: (
            "HARDLY TO BE FOUND: the effect planned for would be seen in fewer than "
            f"{percent(_futility(found), decimals=0, signed=False)} of cases by the end."
        ),
        OVER: lambda: (
            "ENDED: every planned customer was read and no stopping rule was met. The "
            "answer is the analysis."
        ),
    }
    return texts[found.state]() + since


def next_step(found: Monitoring) -> str:
    """Say what to do now."""
    if found.state == BROKEN:
        return "compare who was assigned with who is in the data, before anything else"
    if found.state in {LOSS, HARM}:
        return "switch the arm off and run the analysis when its last windows have closed"
    if found.state == GAIN:
        return "you may stop assigning; run the analysis when the last windows have closed"
    if found.state == FUTILE:
        return "going on is allowed; a deeper change is more likely to show something"
    if found.state == OVER:
        return "upliftlab run"
    return f"look again on {day(found.next_look)}" if found.next_look else "wait"


def trust(found: Monitoring) -> str:
    """Say whether the looks can be trusted."""
    bad = [check for check in found.checks if check.verdict != "pass"]
    if not bad:
        return "arms have the sizes that were planned; nothing arrived late"
    return " ".join(check.message for check in bad)


def arm_name(found: Monitoring, arm: str) -> str:
    """The arm in reader's words."""
    return names.arm_names(found.experiment)[arm]


def amount(found: Monitoring, reading: Reading, value: float) -> str:
    """Print profit per unit to two digits of its range's width."""
    width = reading.high - reading.low
    return money(
        value, found.experiment.currency, width=width if math.isfinite(width) else math.nan
    )


def ends(found: Monitoring, reading: Reading) -> str:
    """Print a range of profit; a look that may not stop yet has none."""
    if not (math.isfinite(reading.low) and math.isfinite(reading.high)):
        return "no range at this look"
    low, high = (amount(found, reading, x) for x in (reading.low, reading.high))
    return f"{low} … {high}"


def plain_ends(reading: Reading) -> str:
    """Print a range of a metric."""
    if not (math.isfinite(reading.low) and math.isfinite(reading.high)):
        return NONE
    step = 10.0 ** (math.floor(math.log10(max(reading.high - reading.low, 1e-9))) - 1)
    return f"{number(reading.low, step)} … {number(reading.high, step)}"


def plain_value(reading: Reading) -> str:
    """Print a metric's estimate to the digits of its range."""
    width = reading.high - reading.low
    if not math.isfinite(width):
        return f"{reading.estimate:.4g}".replace("-", "−")
    return number(reading.estimate, 10.0 ** (math.floor(math.log10(max(width, 1e-9))) - 1))


def allowed(found: Monitoring, reading: Reading) -> str:
    """Print how far a guardrail may move the wrong way, as the plan wrote it."""
    margin = found.experiment.guardrails.get(reading.name)
    if margin is None or not math.isfinite(reading.margin):
        return NONE
    return f"{margin} of control" if isinstance(margin, Rate) else str(margin)


def day(iso: str) -> str:
    """Print a day; nothing where there is none.

    Examples:
        >>> day("2026-10-08")
        '8 Oct 2026'
    """
    return f"{date.fromisoformat(iso):%d %b %Y}".lstrip("0") if iso else "a day not known yet"


def read_so_far(found: Monitoring) -> str:
    """Say how many are read, and how many are still within their window."""
    now = found.now
    read, assigned = sum(now.n.values()), sum(now.assigned.values())
    unit = names.plural(found.experiment.unit)
    return f"{count(read)} of {count(assigned)} assigned {unit} read"


def _until(found: Monitoring) -> str:
    if found.first_look:
        return f"the first look is permitted from {day(found.first_look)}."
    return "too few customers are assigned so far to say when."


def _is_earlier(found: Monitoring) -> bool:
    return bool(found.stopped) and found.stopped != found.now.day


def _arms_in(found: Monitoring, state: str) -> list[str]:
    looks = [each for each in found.looks if each.state == state] or [found.now]
    arms = [r.arm for r in looks[0].readings if r.state == state]
    return [arm_name(found, arm) for arm in dict.fromkeys(arms)]


def _rails(found: Monitoring) -> str:
    look = next((each for each in found.looks if each.state == HARM), found.now)
    rails = dict.fromkeys(r.name for r in look.readings if r.state == HARM)
    return names.listed([names.metric_name(name, found.experiment) for name in rails])


def _futility(found: Monitoring) -> float:
    looks = found.experiment.looks
    return float(looks.futility) if looks is not None and looks.futility is not None else 0.0
