"""What stands below the fold, and in which order?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.report.belief import belief
from upliftlab.report.how import how
from upliftlab.report.parts import Part
from upliftlab.report.whom import whom
from upliftlab.report.why import why

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis


def parts_of(analysis: Analysis) -> tuple[Part, ...]:
    """Gather everything below the first screen: why, for whom, can we trust it, how."""
    return (
        Part(key="why", title="Why", sections=why(analysis)),
        Part(key="whom", title="For whom", sections=whom(analysis)),
        Part(key="trust", title="Can we trust it?", sections=belief(analysis)),
        Part(key="how", title="How", sections=how(analysis)),
    )
