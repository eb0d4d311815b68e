"""Why did it earn or lose: where did the money go, with depth, along the journey, to whom?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.report.depth import depth_section
from upliftlab.report.gains import campaign_section, journey_section, parties_section
from upliftlab.report.waterfall import ladder_section, waterfall_section

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Section


def why(analysis: Analysis) -> tuple[Section, ...]:
    """Return the sections on where the effect went."""
    found = [
        waterfall_section(analysis),
        ladder_section(analysis),
        depth_section(analysis),
        journey_section(analysis),
        parties_section(analysis),
        campaign_section(analysis),
    ]
    return tuple(section for section in found if section is not None)
