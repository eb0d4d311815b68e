"""What did all coupons and commissions of a quarter earn that would not have come anyway?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.errors import UpliftlabError
from upliftlab.registry.record import plain
from upliftlab.review.asked import decisions_asked, started_of
from upliftlab.review.believed import believe
from upliftlab.review.entries import entries_of, is_holdout
from upliftlab.review.holdout import against_holdout, holdout_of
from upliftlab.review.kinds import differ_by_mechanism, mechanisms_of
from upliftlab.review.money import (
    coverage_of,
    ladder_of,
    maturity_of,
    return_on_spend,
    waterfall_of,
)
from upliftlab.review.totals import additivity, overlaps_of, realised_total

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from upliftlab.registry.record import Maturity, Record
    from upliftlab.review.asked import Asked, Started
    from upliftlab.review.believed import Believed, FalsePositives, Shipped
    from upliftlab.review.holdout import HoldoutCheck
    from upliftlab.review.kinds import Mechanism
    from upliftlab.review.money import Bar, Coverage, Rung
    from upliftlab.review.totals import Additivity
    from upliftlab.stats.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A quarter's experiments read together; money in minor units of ``currency``.

    Attributes:
        quarter: Such as "2026Q3"; empty for everything given.
        currency: ISO 4217 code; empty where outcomes are not money.
        outcome: What is added up: "profit", or an imported metric.
        level: Of all intervals.
        started: Every experiment that started, and what came of it.
        total: Realised extra profit of the treated units of all tests that were read.
        spend: Their campaign money.
        iroi: ``total`` per unit of ``spend``, Fieller's set.
        shipped: What was shipped, over roll-out units, before and after the winner's curse.
        false_positives: How many wins are nothing.
        holdout: Sum of tests against the universal holdout.
        additivity: Whether overlapping tests add up.
        ladder: From the dashboard's GMV down to the realised total.
        waterfall: The realised total by P&L line.
        mechanisms: Random-effects summary and prediction of the next test, per mechanism.
        mechanisms_differ_p: p-value of "all mechanisms earn the same per unit".
        arms: Every arm that was read: raw, shrunken, adjusted.
        asked: Decisions that are open, most money first.
        coverage: Which share of the spend has a test behind it.
        maturity: Booked, projected and assumed shares of the money.
        left_out: Name -> why an experiment is not in the totals.
        notes: Sentences a reader must know.
    """

    quarter: str
    currency: str
    outcome: str
    level: float
    started: Started
    total: Estimate
    spend: Estimate
    iroi: Estimate
    shipped: Shipped
    false_positives: FalsePositives
    holdout: HoldoutCheck
    additivity: Additivity
    ladder: tuple[Rung, ...]
    waterfall: tuple[Bar, ...]
    mechanisms: tuple[Mechanism, ...]
    mechanisms_differ_p: float
    arms: tuple[Believed, ...]
    asked: tuple[Asked, ...]
    coverage: Coverage
    maturity: Maturity
    left_out: Mapping[str, str]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: NaN and infinity become None."""
        out: dict[str, Any] = plain(self)
        return out


def review_of(
    records: Iterable[Record],
    *,
    quarter: str = "",
    spend: Mapping[str, float] | None = None,
    holdout: Estimate | None = None,
    interactions: Sequence[Estimate] = (),
    covariances: Mapping[tuple[str, str], float] | None = None,
    hurdle: float = 0.0,
    level: float = 0.95,
    today: str = "",
) -> Review:
    """Read a quarter's experiments together.

    Args:
        records: The newest record of each experiment; those of other quarters count as
            evidence only.
        quarter: Such as "2026Q3"; by default everything is one period.
        spend: Mechanism -> money spent in the quarter, minor units, from the books.
        holdout: Total of a universal holdout, where it is not among the records.
        interactions: Measured interactions of overlapping tests, in total money.
        covariances: (experiment, experiment) -> covariance of their totals, where assignment
            was dependent and cross moments were kept.
        hurdle: Least worthwhile extra profit per unit of the shipping rule, minor units.
        level: Of all intervals.
        today: ISO date on which it is read; overrides that ran out before are asked again.

    Raises:
        UpliftlabError: When there are experiments, and none of the quarter.
    """
    everything = list(records)
    mine = _of_quarter(everything, quarter)
    counted, left_out = _one_outcome(mine)
    programme = entries_of(counted)
    overlaps = overlaps_of(counted)
    total = realised_total(
        programme, counted, covariances=covariances, overlaps=overlaps, level=level
    )
    money, iroi = return_on_spend(programme, counted, total, level=level)
    belief = believe(programme, hurdle=hurdle, level=level)
    shipped = belief.shipped
    check = against_holdout(
        holdout or holdout_of(counted), shipped.naive, shipped.corrected, level=level
    )
    kinds = mechanisms_of(programme, level=level)
    outcome, currency = _unit(counted)
    before = [r for r in everything if quarter and r.quarter < quarter]
    return Review(
        quarter=quarter,
        currency=currency,
        outcome=outcome,
        level=level,
        started=started_of(mine),
        total=total,
        spend=money,
        iroi=iroi,
        shipped=shipped,
        false_positives=belief.false_positives,
        holdout=check,
        additivity=additivity(overlaps, interactions, check.gap.scaled(-1, "holdout less sum")),
        ladder=ladder_of(programme, counted, total, level=level),
        waterfall=waterfall_of(programme, counted, level=level),
        mechanisms=kinds,
        mechanisms_differ_p=differ_by_mechanism(kinds)[1],
        arms=belief.rows,
        asked=decisions_asked(counted, belief.rows, today=today),
        coverage=coverage_of(programme, spend, before),
        maturity=maturity_of(counted),
        left_out=left_out,
        notes=(*programme.notes, *belief.notes),
    )


def _of_quarter(records: Sequence[Record], quarter: str) -> list[Record]:
    """Keep the experiments that started in the quarter; a quarter without any is a mistake."""
    mine = [r for r in records if not quarter or r.quarter == quarter]
    if records and not mine:
        have = sorted({r.quarter for r in records if r.quarter})
        raise UpliftlabError(
            f"a review of {quarter!r} has no experiments; quarters with experiments: {have}."
        )
    return mine


def _unit(counted: Sequence[Record]) -> tuple[str, str]:
    """Outcome and currency of what is added up."""
    read = (r for r in counted if r.is_read)
    first = next(read, next(iter(counted), None))
    return ("profit", "") if first is None else (first.outcome, first.currency)


def _one_outcome(records: Sequence[Record]) -> tuple[list[Record], dict[str, str]]:
    """Keep what can be added up: one outcome in one currency, the commonest."""
    kinds = Counter((r.outcome, r.currency) for r in records if r.is_read and not is_holdout(r))
    if not kinds:
        return list(records), {}
    # Money wins over clicks, then the commonest.
    outcome, currency = max(kinds, key=lambda k: (bool(k[1]), kinds[k]))
    kept, left = [], {}
    for record in records:
        if not record.is_read or (record.outcome, record.currency) == (outcome, currency):
            kept.append(record)
        else:
            here = (
                f"{record.outcome} in {record.currency}" if record.currency else record.outcome
            )
            left[record.name] = (
                f"its outcome is {here}, not {outcome} in {currency or 'counts'}"
            )
    return kept, left
