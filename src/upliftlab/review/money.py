"""Which lines made the quarter, what did a yuan of spend earn, how much of it is final?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.registry.record import Maturity, plain
from upliftlab.review.entries import correlations, is_holdout
from upliftlab.stats.estimate import Estimate, interval, undefined
from upliftlab.stats.ratio import fieller

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.registry.record import ArmMeans, Record
    from upliftlab.review.entries import Entries

    Floats = NDArray[np.float64]

COST = "campaign_cost"
OTHER = "not broken down"
PROFIT = "profit"
RUNGS = ("gmv_platform", "gmv_merchant", "kept_sales", PROFIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One line of the quarter's waterfall, over the treated units of all tests.

    Attributes:
        line: Key of the P&L line.
        label: Words for readers.
        stage: Where in the journey it arises.
        is_campaign: Whether it is money spent on the campaign itself.
        effect: What it adds to realised extra profit, minor units.
    """

    line: str
    label: str
    stage: str
    is_campaign: bool
    effect: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One step from the dashboard's GMV down to profit, over the treated units of all tests.

    Attributes:
        name: "gmv_platform", "gmv_merchant", "kept_sales" or "profit".
        amount: Extra money; NaN with a note where no experiment measures it.
        n_tests: Experiments that measure it.
    """

    name: str
    amount: Estimate
    n_tests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Which part of the spend has a test behind it.

    Attributes:
        name: Mechanism or channel.
        spend: Money spent on it in the quarter, minor units.
        n_tests: Tests of it that were read.
        is_tested: Whether there is one.
    """

    name: str
    spend: float
    n_tests: int
    is_tested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Share of the spend with causal evidence.

    Attributes:
        rows: One per mechanism, largest spend first.
        spend: Total.
        share: Of spend in mechanisms with a test that was read.
        note: Where the spend comes from.
    """

    rows: tuple[Evidence, ...]
    spend: float
    share: float
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        out: dict[str, Any] = plain(self)
        return out


def waterfall_of(
    programme: Entries, records: Sequence[Record], *, level: float = 0.95
) -> tuple[Bar, ...]:
    """Add up every P&L line over the treated units of all tests.

    Bars add up to the realised total; what an experiment does not break down stands in a bar
    of its own. Arms of one experiment vary together as their profits do.
    """
    said: dict[str, tuple[str, str, bool]] = {OTHER: (OTHER, "", False)}
    value, error = _columns(programme, records, said)
    n = np.array([e.n for e in programme.entries], dtype=float)
    out = []
    for line in value:
        total, s = float((value[line] * n).sum()), error[line] * n
        variance = float((s**2).sum())
        for at, cov in programme.blocks:
            variance += _shared(s[list(at)], cov)
        if line == OTHER and abs(total) < 0.5 and variance < 0.25:
            continue
        label, stage, is_campaign = said[line]
        effect = interval(label or line, total, max(variance, 0.0), level=level)
        out.append(
            Bar(line=line, label=label, stage=stage, is_campaign=is_campaign, effect=effect)
        )
    return tuple(out)


def ladder_of(
    programme: Entries, records: Sequence[Record], total: Estimate, *, level: float = 0.95
) -> tuple[Rung, ...]:
    """Add up every rung of the ladder over the treated units of the tests that measure it.

    Treatments of one experiment vary together as their recorded means do, else as their
    profits do.

    Args:
        programme: Arms that were read.
        records: Their experiments.
        total: Realised extra profit: the last rung.
        level: Of the intervals.
    """
    by_name = {(r.name, r.id): r for r in records}
    n_tests = len({(e.experiment, e.record) for e in programme.entries})
    rungs = [_rung(name, programme, by_name, level) for name in RUNGS if name != PROFIT]
    return (*rungs, Rung(name=PROFIT, amount=total, n_tests=n_tests))


def return_on_spend(
    programme: Entries, records: Sequence[Record], total: Estimate, *, level: float = 0.95
) -> tuple[Estimate, Estimate]:
    """Return campaign money of all tests, and extra profit per unit of it (Fieller).

    Profit counts over the treatments whose money is known. Profit and spend of one experiment
    vary together where its means were recorded.
    """
    by_name = {(r.name, r.id): r for r in records}
    told = programme.where(lambda entry: math.isfinite(entry.spend))
    spend = float(sum(entry.spend for entry in told.entries))
    if not spend:
        missing = undefined("spend", "no experiment says what it spent", level=level)
        return missing, undefined("iROI", "no spend", level=level)
    variance = covariance = 0.0
    for entry_at, record in _experiments(told, by_name):
        entries = [told.entries[i] for i in entry_at]
        joint = None if record.means is None else _joint(record.means, entries)
        if joint is None:
            arms = [record.arm(entry.arm) for entry in entries]
            variance += sum(arm.spend.std_error**2 for arm in arms if arm.spend.std_error > 0)
        else:
            variance += joint[0]
            covariance += joint[1]
    profit = total
    if len(told.entries) < len(programme.entries):
        n = np.array([entry.n for entry in told.entries], dtype=float)
        profit = told.total(n, name=total.name, level=level)
    found = interval("spend", spend, variance, level=level)
    var_profit = profit.std_error**2 if profit.std_error > 0 else math.nan
    iroi = fieller(
        profit.estimate, spend, var_profit, variance, covariance, level=level, name="iROI"
    )
    return found, iroi


def coverage_of(
    programme: Entries, spend: Mapping[str, float] | None, history: Sequence[Record] = ()
) -> Coverage:
    """Return which share of spend has a test behind it.

    Args:
        programme: Arms read in the quarter.
        spend: Mechanism -> money spent in the quarter, from the books; without it the spend of
            the tests themselves is all that is known, and the share is not.
        history: Earlier experiments that still count as evidence.
    """
    tests: dict[str, set[str]] = {}
    own: dict[str, float] = {}
    for entry in programme.entries:
        tests.setdefault(entry.mechanism, set()).add(entry.experiment)
        known = entry.spend if entry.spend == entry.spend else 0.0
        own[entry.mechanism] = own.get(entry.mechanism, 0.0) + known
    for record in history:
        if record.is_read and not is_holdout(record):
            tests.setdefault(record.mechanism or record.kind, set()).add(record.name)
    money = dict(own if spend is None else spend)
    rows = [
        Evidence(
            name=name,
            spend=amount,
            n_tests=len(tests.get(name, ())),
            is_tested=name in tests,
        )
        for name, amount in money.items()
    ]
    total = sum(row.spend for row in rows)
    tested = sum(row.spend for row in rows if row.is_tested)
    note = "" if spend is not None else "spend of the tests alone: nobody gave the quarter's"
    return Coverage(
        rows=tuple(sorted(rows, key=lambda row: -row.spend)),
        spend=total,
        share=tested / total if spend is not None and total > 0 else math.nan,
        note=note,
    )


def maturity_of(records: Sequence[Record]) -> Maturity:
    """Weigh booked, projected and assumed shares by the money of each experiment's lines."""
    weights, rows, silent = [], [], 0
    for record in records:
        if not record.is_read:
            continue
        found = record.maturity
        if not all(map(math.isfinite, (found.booked, found.projected, found.assumed))):
            silent += 1
            continue
        money = sum(
            abs(line.treatment) * arm.n
            for arm in record.arms
            for line in arm.lines
            if line.treatment == line.treatment
        )
        weights.append(money or 1.0)
        rows.append((found.booked, found.projected, found.assumed))
    note = f"{silent} experiments do not say which returns are final" if silent else ""
    if not rows:
        return Maturity(note=note or "no experiment was read")
    w = np.array(weights) / sum(weights)
    booked, projected, assumed = (float(x) for x in w @ np.array(rows))
    return Maturity(booked=booked, projected=projected, assumed=assumed, note=note)


def _columns(
    programme: Entries, records: Sequence[Record], said: dict[str, tuple[str, str, bool]]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Per-unit effect and standard error of each line, one entry per arm."""
    by_name = {(r.name, r.id): r for r in records}
    size = len(programme.entries)
    value: dict[str, Floats] = {}
    error: dict[str, Floats] = {}
    rest, rest_error = np.zeros(size), np.zeros(size)
    for i, entry in enumerate(programme.entries):
        arm = by_name[entry.experiment, entry.record].arm(entry.arm)
        covered = 0.0
        for line in arm.lines:
            said.setdefault(line.name, (line.label, line.stage, line.is_campaign))
            value.setdefault(line.name, np.zeros(size))[i] = line.effect.estimate
            se = line.effect.std_error
            error.setdefault(line.name, np.zeros(size))[i] = se if se > 0 else 0.0
            covered += line.effect.estimate
        rest[i] = entry.profit.estimate - covered
        rest_error[i] = 0.0 if arm.lines else entry.profit.std_error
    value[OTHER], error[OTHER] = rest, rest_error
    return value, error


def _experiments(
    programme: Entries, records: Mapping[tuple[str, str], Record]
) -> list[tuple[list[int], Record]]:
    groups: dict[tuple[str, str], list[int]] = {}
    for i, entry in enumerate(programme.entries):
        groups.setdefault((entry.experiment, entry.record), []).append(i)
    return [(at, records[key]) for key, at in groups.items()]


def _joint(means: ArmMeans, entries: Sequence[Any]) -> tuple[float, float] | None:
    """Variance of total spend and its covariance with total profit, or nothing."""
    if COST not in means.names or "profit" not in means.names:
        return None
    size = len(means.arms) * len(means.names)
    rows = np.zeros((2, size))
    for entry in entries:
        for r, name in enumerate((COST, "profit")):
            rows[r, means.at(entry.arm, name)] += entry.n
            rows[r, means.at(means.control, name)] -= entry.n
    cov = rows @ np.asarray(means.cov, dtype=float) @ rows.T
    return float(cov[0, 0]), float(cov[0, 1])


def _shared(error: Floats, cov: Floats) -> float:
    """Twice the covariances of arms that vary together as ``cov`` says: shape (k,), (k, k)."""
    d = np.sqrt(np.diag(cov))
    return float(error @ (cov / np.outer(d, d)) @ error - error @ error)


def _rung(
    name: str, programme: Entries, records: Mapping[tuple[str, str], Record], level: float
) -> Rung:
    owners = [records[e.experiment, e.record] for e in programme.entries]
    arms = [r.arm(e.arm) for r, e in zip(owners, programme.entries, strict=True)]
    rungs = [arm.rung(name) for arm in arms]
    effects = [None if r is None else r.effect for r in rungs]
    have = [e is not None and math.isfinite(e.estimate) for e in effects]
    tests = {(r.name, r.id) for r, ok in zip(owners, have, strict=True) if ok}
    if not tests:
        missing = undefined(name, "no experiment measures it", level=level)
        return Rung(name=name, amount=missing, n_tests=0)
    n = np.array([e.n for e in programme.entries], dtype=float)
    value = np.array([e.estimate if e and math.isfinite(e.estimate) else 0.0 for e in effects])
    error = n * np.array([e.std_error if e and e.std_error > 0 else 0.0 for e in effects])
    variance = float((error**2).sum())
    for at, cov in programme.blocks:
        together = correlations(owners[at[0]], [arms[i] for i in at], name)
        variance += _shared(error[list(at)], cov if together is None else together)
    lost = len(have) - sum(have)
    note = f"{lost} arms do not measure it" if lost else ""
    amount = interval(name, float(n @ value), max(variance, 0.0), level=level, note=note)
    return Rung(name=name, amount=amount, n_tests=len(tests))
