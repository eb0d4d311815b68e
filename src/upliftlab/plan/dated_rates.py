"""Which rates does an arm pay from when to when?"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from upliftlab.errors import DefinitionError
from upliftlab.plan.definition import Day, Days, Definition, Share
from upliftlab.plan.quantities import Rate, print_days

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RATES = ("organic", "ads", "agency")
"""Rates of an arm that may be dated."""

Since = tuple[str, str, Rate]
"""From when, until when (empty: until the next), and how much."""


class DatedRates(Definition):
    """Rates that an arm pays for some time.

    Attributes:
        start: First day; left out in the first row, which then holds from the beginning.
        after: In place of a day, how long after each unit's own change.
        end: Last day, included; until the next row unless said.
        organic: Commission on sales from a creator's own traffic.
        ads: Commission on sales where paid ads promoted the creator's content.
        agency: Service fee of the creators' agency, on both.
    """

    start: Day | None = Field(default=None, examples=["2026-09-01"])
    after: Days | None = Field(default=None, examples=["4 weeks"])
    end: Day | None = None
    organic: Share | None = Field(default=None, examples=["20%"])
    ads: Share | None = Field(default=None, examples=["20%"])
    agency: Share | None = Field(default=None, examples=["3%"])

    OWNER: ClassVar[str] = "a row of rates"

    @property
    def opens(self) -> str:
        """From when the row holds, in words of the plan; empty from the beginning."""
        if self.after is not None:
            return f"{print_days(self.after)} after the change"
        return "" if self.start is None else self.start.isoformat()

    @property
    def named(self) -> tuple[str, ...]:
        """Rates that the row states."""
        return tuple(key for key in RATES if getattr(self, key) is not None)

    @model_validator(mode="after")
    def _begins_once(self) -> Self:
        if self.start is not None and self.after is not None:
            raise DefinitionError.both_given(self.OWNER, "start", "after")
        if self.after is not None and self.end is not None:
            raise DefinitionError.both_given(self.OWNER, "after", "end")
        if self.start and self.end and self.end < self.start:
            raise DefinitionError.out_of_order(self.OWNER, "start", self.start, "end", self.end)
        if not self.named:
            raise DefinitionError.missing_key(self.OWNER, "organic", "20%")
        return self


def dated_problems(owner: str, rows: Sequence[DatedRates]) -> Iterator[DefinitionError]:
    """Find rows that overlap, leave a gap, or do not state the same rates."""
    for before, row in pairwise(rows):
        if not row.opens:
            yield DefinitionError.missing_key(f"a later row of {owner}.rates", "start", "a day")
        elif before.opens and (row.after is None) != (before.after is None):
            yield DefinitionError.both_given(f"{owner}.rates", "start", "after")
        elif row.named != before.named:
            yield DefinitionError(
                f"{owner}.rates states {list(row.named)} from {row.opens} on and "
                f"{list(before.named)} before; state the same rates in every row."
            )
        elif _overlaps(before, row):
            until = f" to {before.end}" if before.end else ""
            yield DefinitionError(
                f"{owner}.rates: the row from {before.opens or 'the beginning'}{until} reaches "
                f"into the row from {row.opens}; write rows in order of time, each ending "
                "before the next begins."
            )
        elif before.end and row.start and row.start > before.end + timedelta(days=1):
            yield DefinitionError(
                f"{owner}.rates has no rates between {before.end} and {row.opens}; leave end "
                "out, so that rates hold until the next row."
            )


def _overlaps(before: DatedRates, row: DatedRates) -> bool:
    if row.after is not None:
        return row.after <= (before.after or 0)
    ends = [day for day in (before.start, before.end) if day is not None]
    return row.start is not None and any(row.start <= day for day in ends)


def since(rows: Sequence[DatedRates], key: str) -> tuple[Since, ...]:
    """Write one rate over time as plain values that can be compared.

    Examples:
        >>> rows = [DatedRates(organic="20%"), DatedRates(start="2026-09-01", organic="18%")]
        >>> since(rows, "organic")
        (('', '', Rate('20%')), ('2026-09-01', '', Rate('18%')))
    """
    found: list[Any] = [
        (row.opens, row.end.isoformat() if row.end else "", getattr(row, key)) for row in rows
    ]
    return tuple(each for each in found if each[2] is not None)
