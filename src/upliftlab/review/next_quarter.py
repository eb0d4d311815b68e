"""Where should the next quarter's money go, given how well each response is known?"""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.registry.record import plain
from upliftlab.stats.estimate import Estimate, interval, upper_tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

SEED = 20260401
DRAWS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One way to run a campaign next quarter.

    Attributes:
        name: "off", "10 yuan", "25/8 on all agencies" ...
        spend: What it costs next quarter, minor units.
        profit: Extra profit next quarter, after its cost; shrunken, with standard error. Known
            exactly (0) for "off".
        new_customers: Extra new customers.
    """

    name: str
    spend: float
    profit: Estimate
    new_customers: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One campaign, coupon depth, channel or creator group with its levels.

    Attributes:
        name: What gets the money.
        group: What floors speak of: channel, mechanism, creator tier.
        levels: All of which exactly one is chosen.
        now: Name of the level that runs today.
    """

    name: str
    group: str
    levels: tuple[Level, ...]
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What changes for one option.

    Attributes:
        option: Which.
        group: Its group.
        now: Level today.
        then: Level next quarter.
        spend_change: Minor units.
        profit_change: With its interval.
        p_right: Chance that the change earns more than staying.
    """

    option: str
    group: str
    now: str
    then: str
    spend_change: float
    profit_change: Estimate
    p_right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NextPlan:
    """Next quarter's allocation and how sure it is.

    Attributes:
        moves: One per option, largest change in spend first.
        spend: Of the plan.
        budget: That it had to keep.
        profit: Of the plan, with its interval.
        gain: Over today's levels, with its interval.
        p_better: Chance that the plan earns more than today's levels.
        best_possible: What allocation would earn on average if responses were known exactly.
        worth_knowing: ``best_possible`` less the plan: the most that tests before the quarter
            could add.
        new_customers: Of the plan.
        marginal: Extra profit per unit of a slightly larger budget; NaN where it is not spent.
        sentence: What follows.
    """

    moves: tuple[Move, ...]
    spend: float
    budget: float
    profit: Estimate
    gain: Estimate
    p_better: float
    best_possible: float
    worth_knowing: float
    new_customers: float
    marginal: float
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def plan_next(
    options: Sequence[Option],
    *,
    budget: float,
    roi_target: float | None = None,
    floors: Mapping[str, float] | None = None,
    new_customers: float = 0.0,
    level: float = 0.95,
    draws: int = DRAWS,
    seed: int = SEED,
) -> NextPlan:
    """Choose one level per option so that expected profit is largest within the budget.

    Options are few and lumpy, so the choice is exact (an integer programme); for millions of
    customers ``targeting.allocation`` is the tool. Expected profit decides; uncertainty says
    how sure the plan is, and what knowing better would be worth.

    Args:
        options: What may get money.
        budget: Most that may be spent, minor units.
        roi_target: Least profit per unit of spend over the whole plan.
        floors: Group -> least spend.
        new_customers: Least number of extra new customers.
        level: Of the intervals.
        draws: For the value of knowing.
        seed: Of the draws.

    Raises:
        DesignError: When no choice keeps budget, target and floors.

    References:
        Sinha and Zoltners (1979), *Operations Research* 27(3) (multiple-choice knapsack);
        Raiffa and Schlaifer (1961), *Applied Statistical Decision Theory*, chapter 4.

    Examples:
        >>> from upliftlab.stats.estimate import interval, undefined
        >>> from dataclasses import replace
        >>> off = Level(name="off", spend=0, profit=replace(undefined("off", ""), estimate=0.0))
        >>> def option(name, spend, profit):
        ...     on = Level(name="on", spend=spend, profit=interval(name, profit, 100.0))
        ...     return Option(name=name, group=name, levels=(off, on), now="on")
        >>> found = plan_next([option("sitewide", 80, -30), option("new", 50, 40)], budget=100)
        >>> [f"{m.option}: {m.then}" for m in found.moves], round(found.gain.estimate)
        (['sitewide: off', 'new: on'], 30)
    """
    problem = _Problem.of(options, budget, roi_target, dict(floors or {}), new_customers)
    chosen = problem.solve(problem.mean)
    if chosen is None:
        raise DesignError(problem.why_not())
    today = problem.today(options)
    rng = np.random.default_rng(seed)
    worlds = problem.mean + problem.error * rng.standard_normal((draws, len(problem.mean)))
    known = [problem.solve(world, problem.mean) for world in worlds]
    best = [float(w @ x) for w, x in zip(worlds, known, strict=True) if x is not None]
    plan_draws, today_draws = worlds @ chosen, worlds @ today
    # The same worlds for plan and best: their difference has no noise of the draws' mean.
    lead = float(np.mean(np.array(best) - plan_draws))
    gain = _linear("gain", problem, chosen - today, level)
    spend = float(problem.spend @ chosen)
    profit = _linear("profit of the plan", problem, chosen, level)
    return NextPlan(
        moves=_moves(options, problem, chosen, today, level),
        spend=spend,
        budget=budget,
        profit=profit,
        gain=gain,
        p_better=_chance(plan_draws - today_draws),
        best_possible=profit.estimate + lead,
        worth_knowing=max(lead, 0.0),
        new_customers=float(problem.customers @ chosen),
        marginal=problem.marginal(float(problem.mean @ chosen)),
        sentence=_sentence(gain, spend, budget),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """Levels of all options in one row: one variable each."""

    owner: Ints
    group: tuple[str, ...]
    spend: Floats
    mean: Floats
    error: Floats
    customers: Floats
    budget: float
    roi_target: float | None
    floors: dict[str, float]
    least_customers: float

    @classmethod
    def of(
        cls,
        options: Sequence[Option],
        budget: float,
        roi_target: float | None,
        floors: dict[str, float],
        new_customers: float,
    ) -> _Problem:
        levels = [(i, o.group, x) for i, o in enumerate(options) for x in o.levels]
        se = [x.profit.std_error for _, _, x in levels]
        return cls(
            owner=np.array([i for i, _, _ in levels], dtype=np.intp),
            group=tuple(g for _, g, _ in levels),
            spend=np.array([x.spend for _, _, x in levels], dtype=float),
            mean=np.array([x.profit.estimate for _, _, x in levels], dtype=float),
            error=np.array([s if s > 0 else 0.0 for s in se], dtype=float),
            customers=np.array([x.new_customers for _, _, x in levels], dtype=float),
            budget=budget,
            roi_target=roi_target,
            floors=floors,
            least_customers=new_customers,
        )

    def limits(self, believed: Floats) -> list[tuple[str, Floats, float]]:
        """Everything that must stay at or below a number: (in words, use, most)."""
        out = [("the budget", self.spend, self.budget)]
        if self.roi_target is not None:
            use = self.roi_target * self.spend - believed
            out.append((f"the ROI target of {self.roi_target:g}", use, 0.0))
        for group, least in self.floors.items():
            mine = np.array([g == group for g in self.group], dtype=float)
            out.append((f"the floor of {group!r}", -self.spend * mine, -least))
        if self.least_customers:
            what = f"{self.least_customers:,.0f} new customers"
            out.append((what, -self.customers, -self.least_customers))
        return out

    def solve(
        self, worth: Floats, believed: Floats | None = None, *, budget: float | None = None
    ) -> Floats | None:
        """One level per option; None where no choice keeps the limits."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        limits = self.limits(worth if believed is None else believed)
        if budget is not None:
            limits[0] = ("the budget", self.spend, budget)
        one = (self.owner[None, :] == np.unique(self.owner)[:, None]).astype(float)
        rows = np.stack([use for _, use, _ in limits])
        # Money in a scale near 1: tolerances of the solver are absolute.
        scale = np.maximum(np.abs(rows).max(axis=1), 1e-12)
        most = np.array([m for _, _, m in limits])
        with _silent():
            found = milp(
                -worth / max(float(np.abs(worth).max()), 1e-12),
                constraints=[
                    LinearConstraint(one, 1, 1),
                    LinearConstraint(rows / scale[:, None], -np.inf, most / scale + 1e-9),
                ],
                integrality=np.ones(len(worth), dtype=np.intp),
                bounds=Bounds(0, 1),
            )
        return None if found.x is None else np.round(found.x)

    def today(self, options: Sequence[Option]) -> Floats:
        """Which levels run now."""
        names = [(o.now == x.name) for o in options for x in o.levels]
        return np.array(names, dtype=float)

    def marginal(self, now: float) -> float:
        """Profit per unit of a budget that is 5 % larger."""
        more = self.solve(self.mean, budget=self.budget * 1.05)
        if more is None or not self.budget > 0:
            return float("nan")
        return (float(self.mean @ more) - now) / (0.05 * self.budget)

    def why_not(self) -> str:
        """Name the limit that cannot be kept, alone or with the others."""
        for what, use, most in self.limits(self.mean):
            least = sum(float(use[self.owner == o].min()) for o in np.unique(self.owner))
            if least > most + 1e-9 * max(1.0, abs(most)):
                return (
                    f"{what} cannot be kept by any choice of levels: {abs(most):,.0f} is asked "
                    f"and {abs(least):,.0f} is the nearest. Ease it, or add a level."
                )
        names = ", ".join(what for what, _, _ in self.limits(self.mean))
        return f"{names} cannot be kept together by any choice of levels; ease one of them."


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the solver from printing, which it does past Python and whatever it is asked."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        # Into a pipe C writes when its buffer is full: empty it while nobody listens.
        ctypes.CDLL(None if os.name == "posix" else "ucrtbase").fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _linear(name: str, problem: _Problem, weight: Floats, level: float) -> Estimate:
    """A weighted sum of independent responses."""
    value = float(weight @ problem.mean)
    found = interval(name, value, float(((weight * problem.error) ** 2).sum()), level=level)
    return found if found.std_error > 0 else replace(found, note="nothing uncertain changes")


def _moves(
    options: Sequence[Option],
    problem: _Problem,
    chosen: Floats,
    today: Floats,
    level: float,
) -> tuple[Move, ...]:
    out = []
    for i, option in enumerate(options):
        mine = problem.owner == i
        then = option.levels[int(np.argmax(chosen[mine]))].name
        weight = np.where(mine, chosen - today, 0.0)
        change = _linear(option.name, problem, weight, level)
        se = change.std_error
        sure = change.estimate / se if se > 0 else 0.0
        out.append(
            Move(
                option=option.name,
                group=option.group,
                now=option.now,
                then=then,
                spend_change=float(weight @ problem.spend),
                profit_change=change,
                p_right=upper_tail(-sure) if se > 0 else float("nan"),
            )
        )
    return tuple(sorted(out, key=lambda m: (-abs(m.spend_change), m.option)))


def _chance(difference: Floats) -> float:
    if not np.any(difference):
        return float("nan")
    return float((difference > 0).mean())


def _sentence(gain: Estimate, spend: float, budget: float) -> str:
    if not gain.std_error > 0:
        return "today's levels stay: no change within the limits is expected to earn more"
    idle = 1 - spend / budget if budget > 0 else 0.0
    left = f"; {idle:.0%} of the budget is not worth spending" if idle > 0.05 else ""
    doubt = "" if gain.is_above_zero else ", which the data cannot tell from 0 yet"
    return f"the plan is expected to earn more than today's levels{doubt}{left}"
