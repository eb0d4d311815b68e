"""What should be done? One verdict per arm, in an order that always ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.checks import Check
    from upliftlab.estimators.metrics import MetricEffect
    from upliftlab.profit import Profit
    from upliftlab.stats.estimate import Estimate

NO_VERDICT = "no verdict"
STOP = "stop"
SHIP = "ship"
SHIP_TO_SEGMENT = "ship to segment"
KEEP_TESTING = "keep testing"
VERDICTS = (NO_VERDICT, STOP, SHIP, SHIP_TO_SEGMENT, KEEP_TESTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the plan promised to decide by.

    Attributes:
        worth_it: Smallest extra profit per unit worth the trouble, in minor units.
        iroi_at_least: Hurdle for extra profit per unit of campaign money.
        both_gain: Whether creators must surely gain too.
    """

    worth_it: float = 0.0
    iroi_at_least: float = 0.0
    both_gain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The verdict on one arm, for everyone and for at most one declared segment.

    Attributes:
        arm: The treatment.
        verdict: "no verdict", "stop", "ship" or "keep testing": for everyone.
        segment: Label of the declared segment to ship to; empty for none. It may stand beside
            "stop".
        reasons: Plain sentences, the deciding one first.
        at_stake: Roll-out total of the verdict for everyone, in minor units.
        segment_at_stake: Roll-out total in the segment; None without one.
        is_buying_gmv: Profit fell while GMV rose, both beyond doubt.
    """

    arm: str
    verdict: str
    segment: str = ""
    reasons: tuple[str, ...]
    at_stake: Estimate
    segment_at_stake: Estimate | None = None
    is_buying_gmv: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "arm": self.arm,
            "verdict": self.verdict,
            "segment": self.segment,
            "reasons": list(self.reasons),
            "at_stake": self.at_stake.to_dict(),
            "segment_at_stake": (
                None if self.segment_at_stake is None else self.segment_at_stake.to_dict()
            ),
            "is_buying_gmv": self.is_buying_gmv,
        }


def decide(
    profit: Profit,
    *,
    checks: Sequence[Check] = (),
    guardrails: Sequence[MetricEffect] = (),
    segments: Sequence[Profit] = (),
    rules: Rules | None = None,
) -> Decision:
    """Apply the decision rules to one arm; the first that applies is the verdict.

    1. No verdict: a blocking check failed, or profit could not be estimated.
    2. Stop: a guardrail is inferior, or the arm's own profit interval lies below 0; where the
       plan asks that both gain, also when the creators' interval lies below 0.
    3. Ship: the profit interval that holds for all arms at once lies above 0, every guardrail
       is non-inferior, and iROI reaches the hurdle: profit less the hurdle on campaign money
       lies above 0, which for money spent is Fieller's lower end of iROI. Where the plan asks
       that both gain, the creators' interval lies above 0 as well.
    4. Stop, too small: the upper end of profit is below what is worth the trouble.
    5. Keep testing: otherwise.

    A declared segment is shipped to, beside any verdict but "no verdict" and "ship", when its
    profit interval (simultaneous over the declared segments) lies above 0 and no guardrail is
    inferior.

    Args:
        profit: The arm's profit for everyone.
        checks: All checks of the analysis.
        guardrails: This arm's guardrails.
        segments: This arm's profit in each declared segment.
        rules: Thresholds of the plan.
    """
    rules = rules or Rules()
    blocked = [check for check in checks if check.is_blocking]
    if blocked:
        return _none(profit, tuple(check.message for check in blocked))
    if not profit.profit.std_error > 0:
        note = profit.profit.note or "its variance is not estimable"
        return _none(profit, (f"Extra profit has no range: {note}.",))
    buying = _buying_gmv(profit)
    inferior = [g.metric for g in guardrails if g.state == "inferior"]
    verdict, reasons = _for_everyone(profit, guardrails, inferior, rules, buying)
    segment = None if inferior or verdict == SHIP else _best(segments)
    if segment is not None:
        reasons = (
            *reasons,
            (
                f"In the declared segment {segment.segment} the range of extra profit lies "
                "above 0, with all declared segments counted."
            ),
        )
    return Decision(
        arm=profit.arm,
        verdict=verdict,
        segment=segment.segment if segment else "",
        reasons=reasons,
        at_stake=profit.rollout,
        segment_at_stake=segment.rollout if segment else None,
        is_buying_gmv=buying,
    )


def _for_everyone(
    profit: Profit,
    guardrails: Sequence[MetricEffect],
    inferior: Sequence[str],
    rules: Rules,
    buying: bool,  # noqa: FBT001
) -> tuple[str, tuple[str, ...]]:
    own, wide = profit.profit, profit.profit_simultaneous
    harm = _harm(profit, inferior, rules, buying)
    if harm:
        return STOP, (harm,)
    holds = [
        ("the range of extra profit, with all arms counted, includes 0", wide.is_above_zero),
        (
            "a guardrail is not yet shown to hold",
            all(g.state == "non-inferior" for g in guardrails),
        ),
        (
            "extra profit per campaign yuan is not yet shown to reach the hurdle",
            rules.iroi_at_least <= 0 or profit.over_hurdle.is_above_zero,
        ),
        (
            "creators are not yet shown to gain as well",
            not rules.both_gain or _gains(profit, "creator"),
        ),
    ]
    if all(ok for _, ok in holds):
        return SHIP, (
            "The whole range of extra profit lies above 0 and every guardrail holds.",
        )
    if own.ci_high < rules.worth_it:
        return STOP, ("Even the upper end of extra profit is below what is worth the trouble.",)
    open_points = [text for text, ok in holds if not ok]
    return KEEP_TESTING, tuple(_sentence(text) for text in open_points)


def _harm(profit: Profit, inferior: Sequence[str], rules: Rules, buying: bool) -> str:  # noqa: FBT001
    """Say what is surely lost; empty when nothing."""
    if inferior:
        return f"{' and '.join(inferior)} got worse beyond its margin."
    if profit.profit.is_below_zero:
        reason = "The whole range of extra profit lies below 0."
        return f"{reason} GMV rose: it buys GMV." if buying else reason
    if rules.both_gain and _loses(profit, "creator"):
        return "Creators surely lose, and the plan asks that both sides gain."
    return ""


def _gains(profit: Profit, party: str) -> bool:
    return party in profit.parties and profit.parties[party].is_above_zero


def _loses(profit: Profit, party: str) -> bool:
    return party in profit.parties and profit.parties[party].is_below_zero


def _buying_gmv(profit: Profit) -> bool:
    rung = profit.rung("gmv_platform") or profit.rung("gmv_merchant")
    return profit.profit.is_below_zero and rung is not None and rung.effect.is_above_zero


def _best(segments: Sequence[Profit]) -> Profit | None:
    """The declared segment with the most money at stake among those that surely earn."""
    good = [s for s in segments if s.profit_simultaneous.is_above_zero]
    return max(good, key=lambda s: s.profit.estimate * s.n, default=None)


def _none(profit: Profit, reasons: tuple[str, ...]) -> Decision:
    return Decision(
        arm=profit.arm, verdict=NO_VERDICT, reasons=reasons, at_stake=profit.rollout
    )


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
