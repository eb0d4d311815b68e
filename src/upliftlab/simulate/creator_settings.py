"""Which world of creators and commissions is simulated, and what does a sale cost in it?"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from upliftlab.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping

Assignment = Literal["staggered", "half"]
By = Literal["cluster", "creator", "creator_anywhere"]
ASSIGNMENTS: tuple[Assignment, ...] = ("staggered", "half")
BY: tuple[By, ...] = ("cluster", "creator", "creator_anywhere")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What the merchant changes, and how creators, ads and buyers react.

    Every reaction builds up evenly over ``DualCommission.ramp`` weeks; rates change at once.

    Attributes:
        organic_bp: New commission on organic sales, in basis points.
        ads_bp: New commission on sales through ads, in basis points.
        eta_organic: Elasticity of organic sales in the organic rate.
        eta_ads: Elasticity of ads sales in the ads rate.
        spend: Change of ad spend, as a share; ads sales grow with its power 0.6.
        stealing: Share of incremental organic sales (phi) taken from other creators of the
            cluster, in proportion to their organic sales.
        shelf: Share of incremental organic sales (psi) that the shop's shelf loses; never more
            than it has.
        relabel: Share of ads sales (sigma) that moves to organic links; the other way below 0.
        churn: Chance per treated week that a creator stops posting for good. Sales of older
            videos go on, so churn shows in the counts alone.
    """

    organic_bp: int = 2_000
    ads_bp: int = 2_000
    eta_organic: float = 0.0
    eta_ads: float = 0.0
    spend: float = 0.0
    stealing: float = 0.0
    shelf: float = 0.0
    relabel: float = 0.0
    churn: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """How creators sell when nothing changes; logs are natural, money is yuan a week."""

    median_organic: float = 9_000.0
    spread_creators: float = 1.1
    spread_cluster: float = 0.10
    memory: float = 0.6
    spread_week: float = 0.28
    ads_median: float = 0.9
    ads_spread: float = 0.5
    ads_memory: float = 0.5
    ads_noise: float = 0.35
    roi_median: float = 6.0
    roi_spread: float = 0.15
    spend_power: float = 0.6
    season: float = 0.12
    season_weeks: int = 13
    growth: float = 0.004
    events: tuple[tuple[int, float], ...] = ((22, 0.60), (23, 0.25))
    shelf: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What the merchant pays and keeps, as shares of kept sales.

    Attributes:
        organic_bp: Commission on organic sales before the change, in basis points.
        ads_bp: Commission on ads sales before the change, in basis points.
        agency_bp: Fee of the creators' agency on both, in basis points.
        margin: Contribution per yuan of kept sales before commission, agency and ads.
        keep_organic: Share of organic sales that is neither cancelled nor returned.
        keep_ads: Same of ads sales.
        keep_shelf: Same of shelf sales.
    """

    organic_bp: int = 2_000
    ads_bp: int = 2_000
    agency_bp: int = 300
    margin: float = 0.4751
    keep_organic: float = 0.5
    keep_ads: float = 0.5
    keep_shelf: float = 0.5


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "A": Scenario(
            organic_bp=2_500, ads_bp=800, eta_organic=0.50, eta_ads=0.12, spend=0.05,
            stealing=0.25, shelf=0.10, relabel=0.06,
        ),
        "B": Scenario(
            organic_bp=3_000, eta_organic=0.40, stealing=0.40, shelf=0.25, relabel=-0.06,
        ),
        "C": Scenario(ads_bp=500, eta_ads=0.25, relabel=0.04, churn=0.012),
        "N": Scenario(),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DualCommission:
    """One simulated change of commission rates: which creators, when, and what goes wrong.

    The default is scenario A, rolled out in three waves of clusters drawn at random with a
    fourth group that never changes. Every other world is a change of these fields.

    Attributes:
        seed: Fixes every number. Worlds that differ in anything but the market, the number of
            creators or the seed have the same creators and the same noise.
        clusters: Communities of creators who share an audience.
        creators: Creators in each of them.
        weeks: Periods observed.
        assignment: ``staggered`` over ``starts`` and never, or ``half`` from the first start.
        by: What is drawn: whole clusters, creators inside each cluster, or creators anywhere.
        starts: First treated week of each wave, from 0.
        has_never: Whether one more group is never treated; a ``half`` always has one.
        ramp: Weeks until a reaction is complete.
        scenario: What changes and who reacts how.
        market: How creators sell when nothing changes.
        rates: Rates before the change, and what is kept of sales.
        cohort_strength: Multiplies every reaction, wave by wave; empty means 1.
        strengthening: Added to that multiplier per treated week after the ramp.
        anticipation: Share of organic sales lost in the weeks before the start.
        anticipation_weeks: How many weeks that is.
        opt_in: Spread of weekly trends between clusters; the steepest adopt first.
        mega: Size of one creator as a multiple of the median one; 1 leaves all alone.
        cross_cluster: Share of the stealing that hits creators of other clusters.
        first_week: Monday of the first week.
    """

    seed: int = 20260525
    clusters: int = 60
    creators: int = 10
    weeks: int = 26
    assignment: Assignment = "staggered"
    by: By = "cluster"
    starts: tuple[int, ...] = (10, 14, 18)
    has_never: bool = True
    ramp: int = 4
    scenario: Scenario = SCENARIOS["A"]
    market: Market = field(default_factory=Market)
    rates: Rates = field(default_factory=Rates)
    cohort_strength: tuple[float, ...] = ()
    strengthening: float = 0.0
    anticipation: float = 0.0
    anticipation_weeks: int = 2
    opt_in: float = 0.0
    mega: float = 1.0
    cross_cluster: float = 0.0
    first_week: date = date(2026, 5, 25)

    def __post_init__(self) -> None:
        """Refuse settings that no world can have."""
        _refuse(self)

    @property
    def truth_from(self) -> int:
        """First week of the window of the truth: every wave's first reaction is complete."""
        return min(self.starts[0] + self.ramp - 1, self.weeks - 1)


CREATOR_PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "well_designed": {"scenario": SCENARIOS["A"]},
        "generous": {"scenario": SCENARIOS["B"]},
        "squeeze": {"scenario": SCENARIOS["C"]},
        "no_change": {"scenario": SCENARIOS["N"]},
        # Clusters that grow anyway adopt first: parallel trends fail.
        "opt_in": {"opt_in": 0.012},
        "anticipation": {"anticipation": 0.10},
        "mega_creator": {"mega": 50.0},
        "cross_cluster_leak": {"cross_cluster": 0.20},
        "never_empty": {"has_never": False},
        # Later waves react more and every reaction goes on growing.
        "heterogeneous_cohorts": {"cohort_strength": (0.5, 1.0, 2.0), "strengthening": 0.1},
        "return_shift": {"rates": Rates(keep_organic=0.58, keep_ads=0.42)},
    }
)


def creator_preset(name: str, *, seed: int = 20260525, **changes: Any) -> DualCommission:  # noqa: ANN401
    """Return the settings of a named world of creators; scenarios A, B, C, N are names too.

    Args:
        name: Key of ``CREATOR_PRESETS`` or of ``SCENARIOS``.
        seed: Fixes every number.
        **changes: Further fields of ``DualCommission``.

    Raises:
        DefinitionError: For a name that no world has.

    References:
        Own worlds: invented, plausible rates and reactions; none is from a real merchant.

    Examples:
        >>> creator_preset("generous").scenario.organic_bp, creator_preset("C").scenario.ads_bp
        (3000, 500)
    """
    if name in SCENARIOS:
        return DualCommission(seed=seed, **({"scenario": SCENARIOS[name]} | changes))
    if name not in CREATOR_PRESETS:
        allowed = [*SCENARIOS, *CREATOR_PRESETS]
        raise DefinitionError.unknown_word("preset", name, allowed)
    return DualCommission(seed=seed, **(dict(CREATOR_PRESETS[name]) | changes))


def _refuse(settings: DualCommission) -> None:
    if settings.assignment not in ASSIGNMENTS:
        raise DefinitionError.unknown_word("assignment", settings.assignment, ASSIGNMENTS)
    if settings.by not in BY:
        raise DefinitionError.unknown_word("by", settings.by, BY)
    for name, low, high in _RANGES:
        value = getattr(settings, name)
        if not low <= value <= high:
            fix = f"write a number from {low:g} to {high:g}"
            raise DefinitionError.unreadable(name, value, fix)
    if settings.opt_in and settings.by != "cluster":
        fix = "write cluster: under opt_in whole clusters choose when to adopt"
        raise DefinitionError.unreadable("by", settings.by, fix)
    starts, strength = settings.starts, settings.cohort_strength
    inside = bool(starts) and starts[0] >= 1 and starts[-1] < settings.weeks
    if not inside or sorted(set(starts)) != list(starts):
        fix = f"write rising weeks from 1 to {settings.weeks - 1}, such as (10, 14, 18)"
        raise DefinitionError.unreadable("starts", starts, fix)
    if strength and len(strength) != len(starts):
        fix = f"write {len(starts)} numbers, one per wave, or none for equal waves"
        raise DefinitionError.unreadable("cohort_strength", strength, fix)


_RANGES = (
    ("clusters", 2, 100_000),
    ("creators", 2, 10_000),
    ("weeks", 2, 1_000),
    ("ramp", 1, 52),
    ("anticipation", 0, 1),
    ("anticipation_weeks", 0, 52),
    ("opt_in", 0, 1),
    ("mega", 1, 10_000),
    ("cross_cluster", 0, 1),
)
