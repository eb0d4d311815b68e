"""Why did it earn or lose: where did the money go, with depth, along the journey, to whom?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from upliftlab.report import over_time_words, words
from upliftlab.report.depth import depth_section
from upliftlab.report.gains import campaign_section, journey_section, parties_section
from upliftlab.report.over_time_money import (
    channels_section,
    reasons_section,
    sides_section,
)
from upliftlab.report.over_time_shop import shop_section
from upliftlab.report.waterfall import ladder_section, waterfall_section

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis
    from upliftlab.report.parts import Section
    from upliftlab.rollout.answer import Rollout


def why(analysis: Analysis) -> tuple[Section, ...]:
    """Return the sections on where the effect went."""
    if analysis.rollout is not None:
        return _over_time(analysis, analysis.rollout)
    found = [
        waterfall_section(analysis),
        ladder_section(analysis),
        depth_section(analysis),
        journey_section(analysis),
        parties_section(analysis),
        campaign_section(analysis),
    ]
    return tuple(section for section in found if section is not None)


def _over_time(analysis: Analysis, rollout: Rollout) -> tuple[Section, ...]:
    """The same where units switched over time; nobody has a journey of its own there."""
    iroi = analysis.profit_of(words.focus(analysis)).iroi
    spent = math.isfinite(iroi.estimate) and not over_time_words.shares_sales(analysis)
    found = [
        waterfall_section(analysis),
        reasons_section(analysis, rollout),
        channels_section(analysis, rollout),
        shop_section(analysis, rollout),
        sides_section(analysis, rollout) or parties_section(analysis),
        ladder_section(analysis),
        campaign_section(analysis) if spent else None,
    ]
    return tuple(section for section in found if section is not None)
