"""By which factor must a channel's reported ROI be multiplied to be incremental?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from upliftlab.errors import UpliftlabError
from upliftlab.registry.record import plain
from upliftlab.stats.estimate import Estimate, undefined
from upliftlab.stats.meta import Pooled, pool
from upliftlab.stats.ratio import fieller

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from upliftlab.registry.record import Record

VALID_DAYS = 182
"""Two quarters: factors do not travel further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One test against what the platform reported in the same cell and window.

    Attributes:
        channel: Which channel, of which creative type if that differs.
        test: Name of the experiment.
        incremental: Extra sales kept (or extra contribution before the cost), minor units.
        spend: Money spent, minor units; its standard error NaN or 0 where it is known.
        reported_roi: Platform's ROI in the same cell and window.
        covariance: Of ``incremental`` and ``spend``.
        ended: Last day of the window.
        basis: "sales" or "profit": what ``incremental`` counts.
    """

    channel: str
    test: str
    incremental: Estimate
    spend: Estimate
    reported_roi: float
    covariance: float = 0.0
    ended: date | None = None
    basis: str = "sales"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibration factor of one channel.

    Attributes:
        channel: Which channel.
        basis: "sales" or "profit".
        kappa: Incremental ROI / reported ROI, Fieller's set for one test, else the
            random-effects mean of several.
        incremental_roi: Incremental ROI of each test.
        reported_roi: Reported ROI of each test.
        tests: Names of the tests.
        pooled: Heterogeneity between tests; None for one.
        expires: Last day on which it may be used.
        is_expired: Whether that day is over.
        note: Where it must not be used.
    """

    channel: str
    basis: str
    kappa: Estimate
    incremental_roi: tuple[Estimate, ...]
    reported_roi: tuple[float, ...]
    tests: tuple[str, ...]
    pooled: Pooled | None
    expires: str
    is_expired: bool
    note: str = "for the same creative type, spend level and weeks without an event only"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out = {
            name: plain(getattr(self, name))
            for name in self.__dataclass_fields__
            if name != "pooled"
        }
        out["pooled"] = None if self.pooled is None else self.pooled.to_dict()
        return out


def calibrate(
    readings: Iterable[Reading],
    *,
    today: date | None = None,
    attribution_changed: date | None = None,
    level: float = 0.95,
) -> tuple[Calibration, ...]:
    """Return one calibration factor per channel and basis.

    A factor may exceed 1, and may be below 0: no direction is assumed.

    Args:
        readings: Tests with their reported ROI.
        today: Day of use; a factor ends two quarters after its newest test, or on the day the
            platform changed its attribution.
        attribution_changed: That day, where there was one.
        level: Of the intervals.

    Raises:
        UpliftlabError: When a reported ROI is not above 0.

    Examples:
        >>> from upliftlab.stats.estimate import interval
        >>> found = calibrate([Reading(
        ...     channel="ads", test="geo", incremental=interval("sales", 240.0, 900.0),
        ...     spend=interval("spend", 100.0, 0.0), reported_roi=4.0)])
        >>> kappa = found[0].kappa
        >>> f"{kappa.estimate:.2f} [{kappa.ci_low:.2f}, {kappa.ci_high:.2f}]"
        '0.60 [0.45, 0.75]'
    """
    groups: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        if not reading.reported_roi > 0:
            raise UpliftlabError(
                f"test {reading.test!r} has a reported ROI of {reading.reported_roi:g}; a "
                "calibration factor needs one above 0."
            )
        groups.setdefault((reading.channel, reading.basis), []).append(reading)
    return tuple(
        _calibration(key, rows, today, attribution_changed, level)
        for key, rows in groups.items()
    )


def readings_of(records: Iterable[Record]) -> tuple[Reading, ...]:
    """Take readings from recorded arms that know sales kept, spend and a reported ROI."""
    out = []
    for record in records:
        if not record.is_read:
            continue
        for arm in record.arms:
            rung = arm.rung("kept_sales")
            if rung is None or not arm.reported_roi > 0 or not arm.spend.estimate > 0:
                continue
            out.append(
                Reading(
                    channel=record.mechanism or record.kind,
                    test=f"{record.name}:{arm.arm}",
                    incremental=rung.effect.scaled(arm.n, name="extra sales kept"),
                    spend=arm.spend,
                    reported_roi=arm.reported_roi,
                    ended=date.fromisoformat(record.ends) if record.ends else None,
                )
            )
    return tuple(out)


def _calibration(
    key: tuple[str, str],
    rows: Sequence[Reading],
    today: date | None,
    changed: date | None,
    level: float,
) -> Calibration:
    roi = tuple(_ratio(row, 1.0, f"incremental ROI of {row.test}", level) for row in rows)
    factors = [_ratio(row, row.reported_roi, key[0], level) for row in rows]
    known = [f for f in factors if f.std_error > 0]
    pooled = None
    if len(rows) == 1:
        kappa = factors[0]
    elif known:
        pooled = pool(
            [f.estimate for f in known],
            [f.std_error**2 for f in known],
            small_sample="truncated",
            level=level,
            name=key[0],
        )
        kappa = pooled.mean
    else:
        kappa = undefined(key[0], "no test with a standard error", level=level)
    expires = _expires(rows, changed)
    return Calibration(
        channel=key[0],
        basis=key[1],
        kappa=kappa,
        incremental_roi=roi,
        reported_roi=tuple(row.reported_roi for row in rows),
        tests=tuple(row.test for row in rows),
        pooled=pooled,
        expires="" if expires is None else expires.isoformat(),
        is_expired=bool(expires and today and today > expires),
    )


def _ratio(row: Reading, per: float, name: str, level: float) -> Estimate:
    spread = row.spend.std_error
    return fieller(
        row.incremental.estimate / per,
        row.spend.estimate,
        (row.incremental.std_error / per) ** 2,
        spread**2 if spread > 0 else 0.0,
        row.covariance / per,
        df=row.incremental.df if row.incremental.df > 0 else math.inf,
        level=level,
        name=name,
    )


def _expires(rows: Sequence[Reading], changed: date | None) -> date | None:
    ends = [row.ended for row in rows if row.ended is not None]
    if not ends:
        return changed
    last = max(ends) + timedelta(days=VALID_DAYS)
    return min(last, changed) if changed is not None and changed > min(ends) else last
