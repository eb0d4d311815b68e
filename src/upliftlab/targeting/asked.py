"""What does a plan ask of targeting, in plain numbers?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from upliftlab.components import ALIASES
from upliftlab.plan.currencies import currency_of
from upliftlab.plan.floors import TREATED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.experiment import Experiment
    from upliftlab.plan.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The least that one segment must get.

    Attributes:
        segment: Its label, such as "is_member = yes".
        count: Component that is counted; empty for the share of the segment that is treated.
        least: Extra number per eligible unit; or the share, 0 to 1, of the segment.
    """

    segment: str
    count: str
    least: float

    @property
    def name(self) -> str:
        """Name it in the words of the plan."""
        if not self.count:
            return f"the share treated where {self.segment}"
        return f"at least so many {self.count.replace('_', ' ')} where {self.segment}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What rules may use, must respect and are judged by; money in minor units.

    Attributes:
        shares: Share of units assigned to each arm, the control first; None where nobody set
            them, so that they are estimated.
        is_dealt: Whether chance dealt the arms; where not, causes that nobody saw may remain.
        eligible: Units that a rule would reach; 0 takes those of the test.
        budget: Most campaign money per eligible unit; NaN-free: None for no limit.
        iroi_at_least: Least extra profit per unit of campaign money, for the whole rule.
        at_most: Largest share of units that may be treated.
        at_least: Count component -> least extra number per eligible unit.
        floors: The least that single segments must get.
        keep_random: Share of units left to chance.
        fair_across: Columns whose groups are compared.
        learner: Which learner ranks units; "choose" compares several.
        rule: "choose", "tree" or "model".
        depth: Of the tree.
        level: Confidence level.
        window: Words for the window of the outcome, such as "within 60 days".
        unit: Of what, in the words of the page.
        salt: What the draw that is left to chance hangs on.
        seed: Of everything random.
        main: Main unit of money, in words.
        scale: Minor units per main unit.
    """

    shares: tuple[float, ...] | None = None
    is_dealt: bool = True
    eligible: int = 0
    budget: float | None = None
    iroi_at_least: float | None = None
    at_most: float | None = None
    at_least: Mapping[str, float] = field(default_factory=dict)
    floors: tuple[Floor, ...] = ()
    keep_random: float = 0.05
    fair_across: tuple[str, ...] = ()
    learner: str = "choose"
    rule: str = "choose"
    depth: int = 2
    level: float = 0.95
    window: str = ""
    unit: str = "unit"
    salt: str = "upliftlab"
    seed: int = 1
    main: str = "minor units"
    scale: int = 1

    @property
    def counted(self) -> tuple[str, ...]:
        """Counts that some floor asks for, each once."""
        named = (*self.at_least, *(floor.count for floor in self.floors if floor.count))
        return tuple(dict.fromkeys(named))

    def money(self, minor: float) -> str:
        """Write an amount in main units.

        Examples:
            >>> Ask(main="yuan", scale=100).money(12.5), Ask(main="yuan").money(1_234_567.0)
            ('0.125 yuan', '1,234,567 yuan')
        """
        amount = minor / self.scale
        text = f"{amount:.3g}" if abs(amount) < 100 else f"{amount:,.0f}"
        return f"{text} {self.main}".replace("-", "−")


def _floors(target: Target, eligible: int) -> tuple[Floor, ...]:
    return tuple(
        Floor(
            segment=segment,
            count="" if name == TREATED else ALIASES.get(name, name),
            least=float(amount) if name == TREATED else float(amount) / eligible,
        )
        for segment, wanted in (target.at_least_in or {}).items()
        for name, amount in wanted.items()
    )


def asked(experiment: Experiment, assigned: int) -> Ask:
    """Read the plan's target block.

    Args:
        experiment: A plan with ``target``.
        assigned: Units in the test, whom a roll-out reaches where the plan does not say.

    Raises:
        ValueError: When the plan has no target block.
    """
    target = experiment.target
    if target is None:
        raise ValueError("the plan has no target block")
    eligible = experiment.eligible_customers or assigned
    arms = [experiment.control, *experiment.treatments]
    shares = tuple(0.0 if arm.share is None else float(arm.share) for arm in arms)
    is_dealt = experiment.assign is None or experiment.assign.is_drawn
    days = experiment.follow_up
    currency = currency_of(experiment.currency)
    return Ask(
        shares=tuple(share / sum(shares) for share in shares) if is_dealt else None,
        is_dealt=is_dealt,
        eligible=eligible,
        budget=None if target.budget is None else float(target.budget.minor) / eligible,
        iroi_at_least=None if target.iroi_at_least is None else float(target.iroi_at_least),
        at_most=None if target.at_most is None else float(target.at_most),
        at_least={ALIASES.get(name, name): n / eligible for name, n in target.at_least.items()},
        floors=_floors(target, eligible),
        keep_random=float(target.keep_random),
        fair_across=tuple(target.fair_across),
        learner=target.learner,
        rule=target.rule,
        depth=target.depth,
        level=float(experiment.decide.confidence),
        window=f"within {days} days of assignment"
        if days and experiment.grain == "orders"
        else "",
        unit=experiment.unit,
        salt=experiment.name,
        seed=target.seed,
        main=currency.main,
        scale=currency.scale,
    )
