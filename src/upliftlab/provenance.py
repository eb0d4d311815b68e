"""Which plan, which data and which program made these numbers, and what do they estimate?"""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upliftlab.data.cells import Cells
    from upliftlab.data.prepared import Facts
    from upliftlab.experiment import Deviation, Experiment
    from upliftlab.lock import Lock

PACKAGES = ("upliftlab", "ibis-framework", "duckdb", "numpy", "scipy", "pyarrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """The lock of the plan, and what was changed after it.

    Attributes:
        plan: Fingerprint of the locked plan.
        locked_at: When, UTC.
        changes: One per key that is not as it was.
    """

    plan: str
    locked_at: str
    changes: tuple[Deviation, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "plan": self.plan,
            "locked_at": self.locked_at,
            "changes": [asdict(change) for change in self.changes],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is needed to get the same numbers again.

    Attributes:
        plan: Fingerprint of the plan.
        data: Fingerprint of what the data said: counts, means and moments.
        made_at: When, in UTC.
        versions: Package -> version, and Python.
        promise: When the plan was locked, with which fingerprint, and what was changed since;
            None for a plan that was never locked.
    """

    plan: str
    data: str
    made_at: str
    versions: Mapping[str, str]
    promise: Promise | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "plan": self.plan,
            "data": self.data,
            "made_at": self.made_at,
            "versions": dict(self.versions),
            "promise": None if self.promise is None else self.promise.to_dict(),
        }


def provenance_of(
    experiment: Experiment, cells: Cells | Panel, facts: Facts, lock: Lock | None = None
) -> Provenance:
    """Fingerprint plan and data; secrets are in neither."""
    return Provenance(
        plan=experiment.fingerprint,
        data=panel_fingerprint(cells)
        if isinstance(cells, Panel)
        else data_fingerprint(cells, facts),
        made_at=datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC"),
        versions={"python": platform.python_version()}
        | {name: metadata.version(name) for name in PACKAGES},
        promise=None
        if lock is None
        else Promise(
            plan=lock.plan, locked_at=lock.locked_at, changes=lock.changes(experiment)
        ),
    )


def data_fingerprint(cells: Cells, facts: Facts) -> str:
    """Hash counts, sums and spreads to eight digits: the order of rows does not matter."""
    digest = hashlib.sha256()
    for part in (cells.keys, cells.labels, cells.names, cells.n.tolist(), facts.as_of):
        digest.update(repr(part).encode())
    for block in (cells.mean * cells.n[:, None], np.einsum("cii->ci", cells.m2)):
        # Sums in another order leave dust where the number is 0; times an irrational number, a
        # sum of round amounts never sits on the edge between two roundings.
        clean = np.where(np.abs(block) < 1e-6, 0.0, block * np.sqrt(2.0)).reshape(-1)
        digest.update(" ".join(f"{x:.7e}" for x in clean).encode())
    return digest.hexdigest()


def panel_fingerprint(panel: Panel) -> str:
    """Hash periods, starts, changes, clusters and sums by cohort and period.

    The order of rows does not matter.
    """
    digest = hashlib.sha256()
    arms = panel.start if panel.arm is None else panel.arm
    groups = sorted(Counter(zip(panel.cluster.tolist(), arms.tolist(), strict=True)).values())
    digest.update(repr((groups, sorted(Counter(panel.weight.tolist()).items()))).encode())
    for g in _ranked(panel):
        digest.update(f"{g:.7e}".encode())
    starts = np.unique(panel.start)
    for part in (panel.names, panel.periods, starts.tolist(), len(panel.units)):
        digest.update(repr(part).encode())
    for start in starts:
        own = panel.y[panel.start == start]
        for block in (np.nansum(own, axis=0), np.nansum(own**2, axis=0)):
            clean = np.where(np.abs(block) < 1e-6, 0.0, block * np.sqrt(2.0)).reshape(-1)
            digest.update(" ".join(f"{x:.7e}" for x in clean).encode())
    return digest.hexdigest()


def _ranked(panel: Panel) -> list[float]:
    """Sums of clusters over all periods and components, in order of their size."""
    flat = np.nansum(panel.y, axis=(1, 2)) * panel.weight
    total = np.bincount(panel.cluster, weights=flat) * np.sqrt(2.0)
    return sorted(np.where(np.abs(total) < 1e-6, 0.0, total).tolist())


def rollout_estimand(experiment: Experiment, facts: Facts) -> str:
    """Say in one sentence what the headline of a roll-out estimates."""
    unit, period = experiment.unit, experiment.period
    labels = [arm.label for arm in experiment.treatments]
    arm, control = " or ".join(labels), experiment.control.label
    apart = (
        f"; {len(labels)} changes, each compared with {unit}s that never got any"
        if len(labels) > 1
        else ""
    )
    together = (
        f"; {unit}s of one {experiment.cluster} switch together" if facts.clusters else ""
    )
    ahead = (
        f"; the {experiment.announced} days between announcement and change count as neither "
        "before nor after"
        if experiment.announced
        else ""
    )
    final = experiment.returns_final_after
    mature = (
        f", with returns as the panel has them (final {final} days after payment)"
        if final is not None
        else ", with returns as the panel has them"
    )
    who = experiment.cluster or unit
    absent = (
        f"{unit}s without sales count as 0"
        if experiment.kind == "dual_commission"
        else f"{unit}s with unknown {period}s are left out and counted"
    )
    if experiment.design == "switchback":
        return (
            f"Mean extra contribution profit per {unit} and {period} with {arm} on rather than "
            f"{control}, {period}s paired by weekday{mature}; each {unit} and pair counts "
            f"once; what was on one {period} is taken not to change the next; {absent}."
        )
    reason = (
        f"the weighted mix of other {unit}s would have moved as the switched ones"
        if experiment.design == "geo"
        else f"switched and not yet switched {unit}s would have moved in parallel"
    )
    return (
        f"Mean extra contribution profit per switched {unit} and {period} since its change "
        f"from {control} to {arm}{mature}, over the waves and {period}s that can be compared; "
        f"each counts by its weight in the panel{apart}{together}{ahead}; without the change, "
        f"{reason}; one {who}'s change is taken not to change another's sales; {absent}."
    )


def estimand_of(
    experiment: Experiment, facts: Facts, days: int | None, covariates: Sequence[str]
) -> str:
    """Say in one sentence what the headline number estimates.

    Population, unit, versions of treatment, window and maturity, weights, interference and
    missing data, each from the plan.
    """
    unit = experiment.unit
    arms = ", ".join(arm.label for arm in experiment.treatments)
    period = _period(experiment, facts, days)
    how = (
        f"{unit}s of one {experiment.cluster} were assigned together; each {unit} counts once"
        if experiment.cluster
        else f"each assigned {unit} counts once"
    )
    adjust = f"; adjusted for {len(covariates)} pre-period measures" if covariates else ""
    return (
        f"Mean extra contribution profit per assigned {unit}, whether or not the offer was "
        f"seen or used, of {arms} against {experiment.control.label}, {period}; "
        f"{how}{adjust}; one {unit}'s offer is taken not to change another's orders; "
        f"assigned {unit}s without "
        "orders count as 0, those without a readable outcome are set aside and counted."
    )


def _period(experiment: Experiment, facts: Facts, days: int | None) -> str:
    """Say window and maturity; of a ready table nobody here knows either."""
    run = experiment.run
    dates = f" ({run.start} to {run.end})" if run else ""
    if days is None:
        return f"over the time, and with the returns, as the table has it{dates}"
    final = experiment.returns_final_after
    if not facts.has_refunds:
        return f"over {days} days from assignment{dates}, before cancellations and returns"
    mature = (
        f"with returns final {final} days after payment"
        if final is not None
        else "with returns as booked so far"
    )
    return f"over {days} days from assignment{dates}, {mature}"
