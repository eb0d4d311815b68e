"""How many units, for how long, which unit, at which cost, and is it worth it?"""

from upliftlab.design.answer import Design, Moment, Risk, Size, Worth
from upliftlab.design.run import design
from upliftlab.design.spread import Pilot, Spread

__all__ = ["Design", "Moment", "Pilot", "Risk", "Size", "Spread", "Worth", "design"]
