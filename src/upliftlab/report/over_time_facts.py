"""Which facts of a roll-out has a terminal room for?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.report.over_time import event_section, stretches_section
from upliftlab.report.over_time_money import channels_section, reasons_section, sides_section
from upliftlab.report.over_time_trust import honest_section, opinions_section
from upliftlab.report.over_time_waves import waves_section

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Section, Table
    from upliftlab.rollout.answer import Rollout

_COLUMNS = {"stretches": 5}
"""Section -> how many columns of its tables fit."""
_MOST = 6
_ROWS = 60


def facts_over_time(analysis: Analysis, rollout: Rollout) -> tuple[Section, ...]:
    """Pick the sections, each with its first table, that are printed without charts.

    Honest bounds keep one table per restriction; what a table would cut is said in its finding.
    """
    found = [
        event_section(analysis, rollout),
        stretches_section(analysis, rollout),
        waves_section(analysis, rollout),
        reasons_section(analysis, rollout),
        channels_section(analysis, rollout),
        sides_section(analysis, rollout),
        honest_section(analysis, rollout),
        opinions_section(analysis, rollout),
    ]
    whole = {"honest", "reasons"}
    return tuple(
        replace(
            section,
            tables=tuple(
                _narrowed(each, _COLUMNS.get(section.key, _MOST))
                for i, each in enumerate(section.tables)
                if i == 0 or section.key in whole
            ),
        )
        for section in found
        if section is not None
    )


def _narrowed(whole: Table, most: int) -> Table:
    n = len(whole.rows)
    return replace(
        whole,
        caption=whole.caption + (f" (the first {_ROWS} of {n})" if n > _ROWS else ""),
        columns=whole.columns[:most],
        rows=tuple(row[:most] for row in whole.rows[:_ROWS]),
        numeric=frozenset(i for i in whole.numeric if i < most),
    )
