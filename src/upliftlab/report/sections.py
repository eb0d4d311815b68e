"""What stands below the fold, and in which order?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.report import names, words
from upliftlab.report.belief import belief
from upliftlab.report.changes import changes_section, one_by_one
from upliftlab.report.how import how
from upliftlab.report.over_time import over_time
from upliftlab.report.parts import Part
from upliftlab.report.who import who
from upliftlab.report.whom import whom
from upliftlab.report.why import why

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis


def parts_of(analysis: Analysis) -> tuple[Part, ...]:
    """Gather everything below the first screen: why, for whom, can we trust it, how.

    Where units switched over time, when it earned comes first.
    """
    if analysis.changes:
        return _of_changes(analysis)
    timed: tuple[Part, ...] = ()
    if analysis.rollout is not None:
        sections = over_time(analysis, analysis.rollout)
        timed = (Part(key="time", title="Over time", sections=sections),)
    chosen: tuple[Part, ...] = ()
    if analysis.targeting is not None:
        sections = who(analysis, analysis.targeting)
        chosen = (Part(key="who", title="Who should get it", sections=sections),)
    found = (
        *timed,
        Part(key="why", title="Why", sections=why(analysis)),
        Part(key="whom", title="For whom", sections=whom(analysis)),
        *chosen,
        Part(key="trust", title="Can we trust it?", sections=belief(analysis)),
        Part(key="how", title="How", sections=how(analysis)),
    )
    return tuple(part for part in found if part.sections)


def _of_changes(analysis: Analysis) -> tuple[Part, ...]:
    """All changes side by side, then each by itself, the one to decide on first."""
    called, first = names.arm_names(analysis.experiment), words.focus(analysis)
    found = [Part(key="side", title="Side by side", sections=(changes_section(analysis),))]
    ordered = sorted(
        enumerate(analysis.changes), key=lambda one: one[1].profits[0].arm != first
    )
    for place, (i, each) in enumerate(ordered):
        # Links of the first screen lead to the first change, whose anchors keep their names.
        apart = f"-{i}" if place else ""
        found += one_by_one(parts_of(each), called[each.profits[0].arm], apart)
    return tuple(found)
