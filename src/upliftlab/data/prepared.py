"""What has been read, joined and counted before any statistic is computed?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import ibis

    from upliftlab.data.engine import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """Rows that were not used, and by which rule; nothing disappears without one.

    Attributes:
        source: The table they were in.
        rule: One plain clause, such as "paid before the customer was assigned".
        rows: How many.
        arms: How many per arm, where the rule concerns assigned units.
    """

    source: str
    rule: str
    rows: int
    arms: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "source": self.source,
            "rule": self.rule,
            "rows": self.rows,
            "arms": dict(self.arms),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Counts about the data that checks and the page speak of.

    Attributes:
        assigned: Units per arm and stratum as assigned, before anything was set aside.
        set_aside: Rows not used, by rule.
        lines: Order lines used; 0 at other grains.
        as_of: Up to when the data speak, UTC seconds; None where nobody says.
        closed: Share of units whose window is closed, per arm; empty where unknown.
        final: Share of orders whose returns are final, per arm; empty where unknown.
        has_refunds: Whether refunds could be read; None where the grain does not tell.
        clusters: Clusters per arm as assigned; empty when units were assigned one by one.
        cluster_size_cv: Standard deviation over mean of cluster sizes, per arm.
        coverage: (found, assigned) in the users source, per arm; empty without one.
        unbalanced_lines: Order lines on which the ledger's identity fails; None if not checked.
        funding: (merchant, platform, creator) coupon money, in minor units; empty without.
        stacked: (orders with coupon money, orders, coupon money) per arm.
        saw_other: Units that saw or claimed another arm's coupon, per arm; empty if unknown.
        missing: Units without an outcome, per arm.
        totals: Sum of each component over the units used, in minor units.
        finance: Component -> amount that finance booked.
        ad_spend: Arm -> plan-level ad spend, in minor units; empty without that source.
        notes: Sentences about how the data were read.
    """

    assigned: Mapping[str, Mapping[str, int]]
    set_aside: tuple[SetAside, ...] = ()
    lines: int = 0
    as_of: int | None = None
    closed: Mapping[str, float] = field(default_factory=dict)
    final: Mapping[str, float] = field(default_factory=dict)
    has_refunds: bool | None = None
    clusters: Mapping[str, int] = field(default_factory=dict)
    cluster_size_cv: Mapping[str, float] = field(default_factory=dict)
    coverage: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    unbalanced_lines: int | None = None
    funding: Mapping[str, int] = field(default_factory=dict)
    stacked: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    saw_other: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, float] = field(default_factory=dict)
    finance: Mapping[str, int] = field(default_factory=dict)
    ad_spend: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "assigned": {arm: dict(by) for arm, by in self.assigned.items()},
            "set_aside": [each.to_dict() for each in self.set_aside],
            "lines": self.lines,
            "as_of": self.as_of,
            "closed": dict(self.closed),
            "final": dict(self.final),
            "has_refunds": self.has_refunds,
            "clusters": dict(self.clusters),
            "cluster_size_cv": dict(self.cluster_size_cv),
            "coverage": {arm: list(pair) for arm, pair in self.coverage.items()},
            "unbalanced_lines": self.unbalanced_lines,
            "funding": dict(self.funding),
            "stacked": {arm: list(row) for arm, row in self.stacked.items()},
            "saw_other": dict(self.saw_other),
            "missing": dict(self.missing),
            "finance": dict(self.finance),
            "ad_spend": dict(self.ad_spend),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Unit tables on the engine, ready for one pass of moments.

    Attributes:
        engine: Where they live.
        assigned: One row per assigned unit: ``unit``, keys, cluster and covariates.
        active: One row per unit with orders: ``unit``, keys, cluster, covariates, components;
            assigned units that are not in it are zeros, but for ``flagged``. None when every
            unit is in ``assigned`` with its components (a unit table).
        flagged: One row per unit that met the coupon or joined, and did not order: as
            ``active`` with the components of ``flags`` only. Disjoint from ``active``.
        keys: Text columns that tell cells apart: arm, strata, segments.
        components: Names with window, as in "orders@60d".
        flags: The components that ``flagged`` has.
        idle: Components that are zero for every unit; they cost no moments.
        covariates: Numeric pre-period columns without gaps (gaps have indicator columns).
        cluster: Column of the cluster, when units were assigned in clusters.
        facts: Counts about the data.
    """

    engine: Engine
    assigned: ibis.Table
    active: ibis.Table | None
    keys: tuple[str, ...]
    components: tuple[str, ...]
    flagged: ibis.Table | None = None
    flags: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    cluster: str | None = None
    facts: Facts
