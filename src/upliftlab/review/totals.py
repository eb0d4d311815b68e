"""What did the quarter earn in total, and do overlapping tests add up?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.registry.record import plain
from upliftlab.review.entries import is_holdout
from upliftlab.stats.estimate import Estimate, interval, undefined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.registry.record import Record
    from upliftlab.review.entries import Entries

NO_TESTS = "no experiment was read"
LISTED = 50
SAME_SALT = "same salt: units went the same way in both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two experiments that ran on the same units at the same time.

    Attributes:
        one: Name of the first.
        other: Name of the second.
        reason: Why they may overlap.
        is_dependent: Whether assignment to one says something about the other.
    """

    one: str
    other: str
    reason: str
    is_dependent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlaps:
    """How many pairs of experiments shared units while they ran.

    Attributes:
        count: Pairs in all.
        unknown_layer: Of them, pairs where nobody says on which layer both ran.
        pairs: All dependent ones, then the first of the others.
    """

    count: int
    unknown_layer: int
    pairs: tuple[Overlap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Additivity:
    """Whether the sum of tests is what all of them together do.

    Attributes:
        overlaps: Pairs that may not add up.
        interactions: Measured: what both together earn more than the sum, in total money.
        measured: Sum of the measured interactions; NaN with a note without any.
        bound: Holdout less sum of tests: how much interactions can be in all.
        sentence: What follows.
    """

    overlaps: Overlaps
    interactions: tuple[Estimate, ...]
    measured: Estimate
    bound: Estimate
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def realised_total(
    programme: Entries,
    records: Sequence[Record],
    *,
    covariances: Mapping[tuple[str, str], float] | None = None,
    overlaps: Overlaps | None = None,
    level: float = 0.95,
) -> Estimate:
    """Add up what the treated units of all tests earned: every test that was read counts.

    No test is left out for looking bad, so nothing needs correcting for selection. Arms that
    share a control are not independent; tests hashed apart have no covariance; tests with one
    salt have the covariance that was kept at run time, or else the largest possible.

    Args:
        programme: Arms that were read.
        records: Their experiments: salts and layers.
        covariances: (experiment, experiment) -> covariance of their totals, kept at run time.
        overlaps: From ``overlaps_of``, where it is known already.
        level: Confidence level.
    """
    if not programme.entries:
        return undefined("realised extra profit", NO_TESTS, level=level)
    n = np.array([e.n for e in programme.entries], dtype=float)
    extra, notes = _dependence(
        programme, overlaps or overlaps_of(records), dict(covariances or {})
    )
    found = programme.total(n, name="realised extra profit", level=level, extra_variance=extra)
    return _noted(found, (*programme.notes, *notes))


def overlaps_of(records: Iterable[Record]) -> Overlaps:
    """Find pairs of experiments that shared units: same unit, days in common, not one layer.

    An experiment without dates may have overlapped with any other.
    """
    ran = [r for r in records if r.status != "running" and not is_holdout(r)]
    unit, layer, salt = (
        _codes([getattr(r, name) for r in ran]) for name in ("unit", "layer", "salt")
    )
    first = np.array([_day(r.starts, 0) for r in ran], dtype=np.int64)
    last = np.array([_day(r.ends, 9_999_999) for r in ran], dtype=np.int64)
    count, unknown = 0, 0
    listed: list[Overlap] = []
    dependent: list[Overlap] = []
    for i in range(len(ran) - 1):
        rest = slice(i + 1, None)
        both = (unit[rest] == unit[i]) & (first[rest] <= last[i]) & (last[rest] >= first[i])
        same_salt = both & (salt[rest] == salt[i]) & (salt[i] > 0)
        both &= ~((layer[rest] == layer[i]) & (layer[i] > 0)) | same_salt
        count += int(both.sum())
        unknown += int((both & ((layer[rest] == 0) | (layer[i] == 0))).sum())
        tied = (np.flatnonzero(same_salt) + i + 1).tolist()
        dependent += [_pair(ran[i], ran[j], is_dependent=True) for j in tied]
        if len(listed) < LISTED:
            free = np.flatnonzero(both & ~same_salt)[: LISTED - len(listed)] + i + 1
            listed += [_pair(ran[i], ran[j], is_dependent=False) for j in free.tolist()]
    return Overlaps(count=count, unknown_layer=unknown, pairs=(*dependent, *listed))


def interaction(
    means: ArrayLike,
    covariance: ArrayLike,
    *,
    units: float = 1.0,
    name: str = "interaction",
    level: float = 0.95,
) -> Estimate:
    """Return what two treatments together earn more than the sum of each alone.

    Args:
        means: Profit per unit of (neither, first, second, both), shape (4,).
        covariance: Of these means, shape (4, 4).
        units: Units that had both, for the total.
        name: Which two.
        level: Confidence level.

    Raises:
        UpliftlabError: When there are not four means with their covariance.

    Examples:
        >>> found = interaction([1.0, 2.0, 3.0, 3.5], np.eye(4) * 0.01)
        >>> f"{found.estimate:.1f} +- {found.std_error:.1f}"
        '-0.5 +- 0.2'
    """
    mu, cov = np.asarray(means, dtype=float), np.asarray(covariance, dtype=float)
    if mu.shape != (4,) or cov.shape != (4, 4):
        raise UpliftlabError(
            f"an interaction needs four means (neither, first, second, both) and their "
            f"covariance; it got shapes {mu.shape} and {cov.shape}."
        )
    w = np.array([1.0, -1.0, -1.0, 1.0]) * units
    return interval(name, float(w @ mu), float(w @ cov @ w), level=level)


def additivity(
    overlaps: Overlaps, interactions: Sequence[Estimate], bound: Estimate
) -> Additivity:
    """Say whether overlapping tests add up: by interactions, else by the holdout.

    Args:
        overlaps: Pairs that shared units.
        interactions: Measured ones, in total money.
        bound: Holdout less sum of tests.
    """
    known = [e for e in interactions if e.std_error > 0]
    measured = undefined("interactions", "none was measured", level=bound.level)
    if known:
        value, variance = (
            sum(e.estimate for e in known),
            sum(e.std_error**2 for e in known),
        )
        measured = interval("interactions", value, variance, level=bound.level)
    return Additivity(
        overlaps=overlaps,
        interactions=tuple(interactions),
        measured=measured,
        bound=bound,
        sentence=_sentence(overlaps.count, measured, bound),
    )


def _sentence(pairs: int, measured: Estimate, bound: Estimate) -> str:
    if not pairs:
        return "no two experiments shared units while they ran: their totals add up"
    text = f"{pairs} pairs of experiments shared units while they ran"
    if measured.std_error > 0:
        if measured.excludes(0.0):
            return f"{text}; measured interactions are not 0: the sum of tests is off by them"
        return f"{text}; measured interactions cannot be told from 0"
    if bound.std_error > 0:
        return f"{text}; the holdout bounds what they gain or lose together"
    return f"{text}; neither an interaction nor a holdout says whether their totals add up"


def _pair(one: Record, other: Record, *, is_dependent: bool) -> Overlap:
    apart = bool(one.layer and other.layer)
    reason = "layers hashed apart" if apart else "nobody says on which layer they ran"
    return Overlap(
        one=one.name,
        other=other.name,
        reason=SAME_SALT if is_dependent else reason,
        is_dependent=is_dependent,
    )


def _codes(words: Sequence[str]) -> NDArray[np.int64]:
    """Number words; nothing said is 0."""
    known = {"": 0}
    return np.array([known.setdefault(word, len(known)) for word in words], dtype=np.int64)


def _day(text: str, otherwise: int) -> int:
    return date.fromisoformat(text).toordinal() if text else otherwise


def _dependence(
    programme: Entries,
    overlaps: Overlaps,
    known: dict[tuple[str, str], float],
) -> tuple[float, tuple[str, ...]]:
    """Variance that dependent assignment adds to the total."""
    extra = 2.0 * sum(known.values())
    notes = [f"{len(known)} pairs of tests with covariance kept at run time"] if known else []
    bounded = 0
    for pair in overlaps.pairs:
        if not pair.is_dependent:
            continue
        if (pair.one, pair.other) in known or (pair.other, pair.one) in known:
            continue
        spread = 1.0
        for name in (pair.one, pair.other):
            part = programme.where(lambda e, name=name: e.experiment == name)  # type: ignore[misc]
            n = np.array([e.n for e in part.entries], dtype=float)
            spread *= part.total(n, name=name).std_error if len(n) else 0.0
        if spread > 0:
            extra += 2 * spread
            bounded += 1
    if bounded:
        notes.append(f"{bounded} pairs of tests with one salt count as fully dependent")
    return extra, tuple(notes)


def _noted(found: Estimate, notes: Iterable[str]) -> Estimate:
    text = "; ".join(dict.fromkeys(note for note in (found.note, *notes) if note))
    return replace(found, note=text)
