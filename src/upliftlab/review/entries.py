"""Which arms count, per unit and in total, and how do they hang together?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.registry.record import plain
from upliftlab.stats.estimate import interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from upliftlab.registry.record import Record, RecordedArm
    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]

SHIP, TO_SEGMENT = "ship", "ship to segment"
HOLDOUT = "universal_holdout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One arm that was read: a row of the programme.

    Attributes:
        experiment: Name of the experiment.
        arm: Label of the treatment.
        mechanism: What it is pooled with.
        unit: What was assigned.
        profit: Extra profit per unit, minor units.
        n: Treated units of the test.
        rollout_n: Units that a roll-out speaks of; the treated where nobody says.
        baseline: Control's shop GMV per unit; NaN where unknown.
        spend: Campaign money over the treated units; NaN where unknown.
        verdict: What the analysis proposed.
        decision: What was decided; empty for nothing yet.
        is_shipped: Whether it was shipped to everyone: decided so, or proposed, not decided,
            and the best of its experiment.
        is_rival: Whether it would ship too, were it not for a better treatment of its
            experiment: a unit gets one.
        record: Content address of the analysis.
    """

    experiment: str
    arm: str
    mechanism: str
    unit: str
    profit: Estimate
    n: int
    rollout_n: int
    baseline: float
    spend: float
    verdict: str
    decision: str
    is_shipped: bool
    is_rival: bool
    record: str

    @property
    def key(self) -> str:
        """Experiment and arm in one word."""
        return f"{self.experiment}:{self.arm}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entries:
    """All arms that were read, with the covariance of those that share a control.

    Attributes:
        entries: One per arm with an estimate.
        blocks: (positions, covariance of per-unit profit) of arms of one experiment.
        notes: What a reader must know about how they hang together.
    """

    entries: tuple[Entry, ...]
    blocks: tuple[tuple[tuple[int, ...], Floats], ...]
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> Floats:
        """Extra profit per unit, shape (n,)."""
        return np.array([e.profit.estimate for e in self.entries], dtype=float)

    @property
    def std_error(self) -> Floats:
        """Shape (n,)."""
        return np.array([e.profit.std_error for e in self.entries], dtype=float)

    def take(self, keep: Sequence[int]) -> Entries:
        """Return some of the entries, with what is left of their covariance."""
        new = {old: i for i, old in enumerate(keep)}
        blocks = []
        for at, cov in self.blocks:
            inside = [j for j, old in enumerate(at) if old in new]
            if len(inside) > 1:
                blocks.append((tuple(new[at[j]] for j in inside), cov[np.ix_(inside, inside)]))
        return Entries(entries=tuple(self.entries[i] for i in keep), blocks=tuple(blocks))

    def where(self, asked: Callable[[Entry], bool]) -> Entries:
        """Return the entries that answer yes."""
        return self.take([i for i, entry in enumerate(self.entries) if asked(entry)])

    def total(
        self,
        weights: Floats,
        *,
        name: str,
        level: float = 0.95,
        extra_variance: float = 0.0,
    ) -> Estimate:
        """Return weighted sum of profits; arms that share a control do not vary alone.

        Args:
            weights: Units that each effect applies to, shape (n,).
            name: What the sum means.
            level: Confidence level.
            extra_variance: What dependent assignment adds.
        """
        variance = (weights * self.std_error) ** 2
        total = float(variance.sum()) + extra_variance
        for at, cov in self.blocks:
            w = weights[list(at)]
            total += float(w @ cov @ w - (w**2) @ np.diag(cov))
        df = _df(variance, np.array([e.profit.df for e in self.entries]))
        return interval(name, float(weights @ self.value), max(total, 0.0), df=df, level=level)


def entries_of(records: Iterable[Record]) -> Entries:
    """Line up every arm that was read and has a standard error.

    Void, stopped and running experiments have no entry (they are counted elsewhere); a
    universal holdout is not a test to be added up.
    """
    entries: list[Entry] = []
    blocks = []
    notes: list[str] = []
    for record in records:
        if not record.is_read or is_holdout(record):
            continue
        first = len(entries)
        arms = [arm for arm in record.arms if arm.profit.std_error > 0]
        rivals = rivals_of(record)
        entries += [_entry(record, arm, is_rival=arm.arm in rivals) for arm in arms]
        if len(arms) > 1:
            cov, note = _covariance(record, arms)
            blocks.append((tuple(range(first, first + len(arms))), cov))
            notes += [note] if note else []
    notes += _left_out_of_shipping(entries)
    return Entries(
        entries=tuple(entries), blocks=tuple(blocks), notes=tuple(dict.fromkeys(notes))
    )


def rivals_of(record: Record) -> frozenset[str]:
    """Treatments that would ship beside a better one, or beside the one that was decided."""
    ships = [arm for arm in record.arms if _word(record, arm) == SHIP]
    taken = {each.arm for each in record.decisions}
    proposed = [arm for arm in ships if arm.arm not in taken]
    if len(proposed) < len(ships) or not proposed:
        return frozenset(arm.arm for arm in proposed)
    best = max(proposed, key=lambda arm: arm.profit.estimate)
    return frozenset(arm.arm for arm in proposed if arm is not best)


def is_holdout(record: Record) -> bool:
    """Whether it withholds everything from some, to check the sum of all tests."""
    return HOLDOUT in {record.kind, record.mechanism, record.design}


def _word(record: Record, arm: RecordedArm) -> str:
    """What was decided, else what is proposed."""
    taken = record.taken(arm.arm)
    return arm.verdict if taken is None else taken.decision


def _left_out_of_shipping(entries: Sequence[Entry]) -> list[str]:
    rivals = sum(each.is_rival for each in entries)
    segments = sum((each.decision or each.verdict) == TO_SEGMENT for each in entries)
    notes = []
    if rivals:
        notes.append(
            f"{rivals} treatments would ship beside a better one of their experiment: a unit "
            "gets one, so what ships counts the better"
        )
    if segments:
        notes.append(
            f"{segments} treatments ship to a segment only: what ships is over those that go "
            "to everyone"
        )
    return notes


def _entry(record: Record, arm: RecordedArm, *, is_rival: bool) -> Entry:
    taken = record.taken(arm.arm)
    decision = "" if taken is None else taken.decision
    rung = arm.rung("gmv_merchant") or arm.rung("gmv_platform")
    return Entry(
        experiment=record.name,
        arm=arm.arm,
        mechanism=record.mechanism or record.kind,
        unit=record.unit,
        profit=arm.profit,
        n=arm.n,
        rollout_n=arm.rollout_n or arm.n,
        baseline=math.nan if rung is None else rung.control,
        spend=arm.spend.estimate,
        verdict=arm.verdict,
        decision=decision,
        is_shipped=(decision or arm.verdict) == SHIP and not is_rival,
        is_rival=is_rival,
        record=record.id,
    )


def correlations(record: Record, arms: Sequence[RecordedArm], name: str) -> Floats | None:
    """How estimates of arms against one control vary together, from recorded arm means.

    Args:
        record: The experiment.
        arms: Treatments of it, k in all.
        name: What the means are of: "profit", or a rung of the ladder.

    Returns:
        Correlations, shape (k, k); None where the means do not hold it.
    """
    means = record.means
    if means is None or name not in means.names:
        return None
    cov = np.asarray(means.cov, dtype=float)
    base = means.at(means.control, name)
    rows = [means.at(arm.arm, name) for arm in arms]
    shared = cov[np.ix_(rows, rows)] - cov[rows, base][:, None] - cov[base, rows]
    shared = shared + cov[base, base]
    variance = np.diag(shared)
    if not (variance > 0).all():
        return None
    return _valid(shared / np.sqrt(np.outer(variance, variance)))


def _covariance(record: Record, arms: Sequence[RecordedArm]) -> tuple[Floats, str]:
    """Covariance of per-unit profits of arms against one control."""
    s = np.array([arm.profit.std_error for arm in arms])
    scale = np.outer(s, s)
    found = correlations(record, arms, "profit")
    if found is not None:
        # The headline's own standard errors (CR2, CUPED) stand; the means give correlations.
        return scale * found, ""
    # Var(control mean) is about its share of a single arm's variance.
    n = np.array([arm.n for arm in arms], dtype=float)
    n_c = np.array([arm.n_control for arm in arms], dtype=float)
    if (n > 0).all() and (n_c > 0).all():
        share = n / (n + n_c)
        note = "covariance of arms without recorded means is taken from the numbers of units"
        return scale * _valid(np.sqrt(np.outer(share, share))), note
    note = "arms without means or numbers of units count as fully correlated"
    return scale * _valid(np.full((len(s), len(s)), 1.0)), note


def _valid(correlation: Floats) -> Floats:
    """Correlations as a proper matrix: ones on the diagonal, never quite singular."""
    off = np.clip(correlation, -0.999, 0.999)
    np.fill_diagonal(off, 1.0)
    values, vectors = np.linalg.eigh(off)
    if values[0] < 1e-6:
        off = (vectors * np.maximum(values, 1e-6)) @ vectors.T
        d = np.sqrt(np.diag(off))
        off = off / np.outer(d, d)
    out: Floats = off
    return out


def _df(variance: Floats, df: Floats) -> float:
    """Satterthwaite over entries, on shares."""
    total = float(variance.sum())
    if not total > 0:
        return math.inf
    finite = np.isfinite(df) & (df > 0)
    loss = float(((variance[finite] / total) ** 2 / df[finite]).sum())
    return 1 / loss if loss > 0 else math.inf
