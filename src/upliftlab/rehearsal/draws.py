"""What would the plan's analysis say under other assignments, when nothing was done?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.data.cells import Cells, ClusterCells
from upliftlab.estimators import ab
from upliftlab.estimators.metrics import contrasts, metric_effect
from upliftlab.stats.clusters import arm_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from upliftlab.estimators.effects import Effects
    from upliftlab.plan.metrics import Metric

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

CHUNK = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ledger:
    """Moments of pieces, laid out so that arms are matrix products.

    Attributes:
        keys: Strata.
        strata: Labels, S in all.
        names: Components, then covariates; K in all.
        origin: Common point of deviations, shape [K].
        n: Units, shape [B, S].
        first: Sums of deviations from the origin, shape [B, S, K].
        second: Sums of products of those deviations, shape [B, S, K, K].
    """

    keys: tuple[str, ...]
    strata: tuple[tuple[str, ...], ...]
    names: tuple[str, ...]
    origin: Floats
    n: Floats
    first: Floats
    second: Floats

    @classmethod
    def of(cls, cells: Cells) -> Ledger:
        """Lay out cells whose first key is the piece."""
        pieces = sorted({label[0] for label in cells.labels})
        strata = tuple(sorted({label[1:] for label in cells.labels}))
        row = {piece: i for i, piece in enumerate(pieces)}
        column = {stratum: i for i, stratum in enumerate(strata)}
        k = len(cells.names)
        shape = (len(pieces), len(strata))
        total = cells.n.sum()
        origin = cells.n @ cells.mean / total
        gap = cells.mean - origin
        b = np.array([row[label[0]] for label in cells.labels])
        s = np.array([column[label[1:]] for label in cells.labels])
        n, first = np.zeros(shape), np.zeros((*shape, k))
        second = np.zeros((*shape, k, k))
        n[b, s] = cells.n
        first[b, s] = cells.n[:, None] * gap
        second[b, s] = cells.m2 + cells.n[:, None, None] * gap[:, :, None] * gap[:, None, :]
        return cls(
            keys=cells.keys[1:], strata=strata, names=cells.names, origin=origin,
            n=n, first=first, second=second,
        )  # fmt: skip

    def flat(self) -> Floats:
        """Counts, sums and products in one row per piece, shape [B, S (1 + K + K K)]."""
        pieces = len(self.n)
        return np.concatenate(
            [self.n, self.first.reshape(pieces, -1), self.second.reshape(pieces, -1)], axis=1
        )

    def arms(self, added: Floats, labels: Sequence[str]) -> Cells:
        """Make cells by arm and stratum from added-up rows [A, S (1 + K + K K)]."""
        s, k = len(self.strata), len(self.names)
        n = added[:, :s].reshape(-1)
        first = added[:, s : s * (1 + k)].reshape(-1, k)
        second = added[:, s * (1 + k) :].reshape(-1, k, k)
        safe = np.maximum(n, 1.0)
        mean = first / safe[:, None]
        m2 = second - safe[:, None, None] * mean[:, :, None] * mean[:, None, :]
        keep = np.flatnonzero(n > 0)
        names = [(arm, *stratum) for arm in labels for stratum in self.strata]
        return Cells(
            keys=("arm", *self.keys),
            labels=tuple(names[i] for i in keep),
            names=self.names,
            n=np.rint(n[keep]).astype(np.int64),
            mean=self.origin + mean[keep],
            m2=m2[keep],
        )

    def clusters(self, arm: Ints, labels: Sequence[str]) -> ClusterCells:
        """Make cluster cells when pieces are clusters and ``arm`` [B] says where each is."""
        size, sums = self.n.sum(axis=1), self.first.sum(axis=1)
        found = [arm_mean(size[arm == a], sums[arm == a]) for a in range(len(labels))]
        return ClusterCells(
            keys=("arm",),
            labels=tuple((label,) for label in labels),
            names=self.names,
            n=np.array([each.n for each in found]).astype(np.int64),
            clusters=np.array([each.clusters for each in found], dtype=np.int64),
            mean=np.stack([self.origin + each.mean for each in found]),
            cov=np.stack([each.cov for each in found]),
            df=np.array([each.df for each in found]),
            size_cv=np.array([each.size_cv for each in found]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replies:
    """What the analysis said under each re-assignment.

    Attributes:
        names: (metric, arm), M in all.
        value: Estimates, shape [R, M].
        std_error: Their standard errors; NaN where there is none, shape [R, M].
        df: Degrees of freedom, shape [R, M].
        counts: Units (or clusters) per arm, shape [R, A].
    """

    names: tuple[tuple[str, str], ...]
    value: Floats
    std_error: Floats
    df: Floats
    counts: Floats


def replay(
    ledger: Ledger,
    drawn: Ints,
    *,
    arms: Sequence[str],
    control: str,
    metrics: Sequence[Metric],
    covariates: Sequence[str] = (),
    clustered: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Replies:
    """Run the plan's estimator under every drawn assignment.

    Arms are sums of pieces, so a re-assignment is a matrix product and no row is read again.

    Args:
        ledger: Moments of the pieces.
        drawn: Position of each piece's arm, shape [R, B].
        arms: Labels.
        control: The arm compared with.
        metrics: What is measured.
        covariates: Names among the ledger's.
        clustered: Whether the analysis takes pieces for clusters.
        progress: Called with the share that is done.
    """
    treatments = [arm for arm in arms if arm != control]
    names = tuple((metric.name, arm) for metric in metrics for arm in treatments)
    draws = len(drawn)
    value = np.full((draws, len(names)), np.nan)
    error, df = value.copy(), value.copy()
    counts = np.zeros((draws, len(arms)))
    flat = ledger.flat()
    for start in range(0, draws, CHUNK):
        some = drawn[start : start + CHUNK]
        added = np.stack([(some == a).astype(np.float64) @ flat for a in range(len(arms))], 1)
        for r in range(len(some)):
            cells = ledger.arms(added[r], arms)
            own = some[r]
            sizes = np.bincount(own, minlength=len(arms))
            units = added[r][:, : len(ledger.strata)].sum(axis=1)
            counts[start + r] = sizes if clustered else units
            if min(sizes if clustered else units) < 2:
                continue
            effects = ab.estimate(
                cells,
                arms=arms,
                control=control,
                covariates=covariates,
                strata=() if clustered else ledger.keys,
                clusters=ledger.clusters(own, arms) if clustered else None,
            )
            found = _read(effects, metrics, treatments)
            value[start + r], error[start + r], df[start + r] = found
        if progress is not None:
            progress(min(1.0, (start + CHUNK) / draws))
    return Replies(names=names, value=value, std_error=error, df=df, counts=counts)


def _read(
    effects: Effects, metrics: Sequence[Metric], arms: Sequence[str]
) -> tuple[list[float], list[float], list[float]]:
    value: list[float] = []
    error: list[float] = []
    df: list[float] = []
    for metric in metrics:
        joint = contrasts(effects, metric, arms)
        if metric.ratio is None:
            value += joint.value.tolist()
        else:
            for arm in arms:
                effect = metric_effect(effects, metric, arm)
                value.append(float("nan") if effect is None else effect.effect.estimate)
        error += np.sqrt(np.maximum(np.diag(joint.cov), 0.0)).tolist()
        df += joint.df.tolist()
    return value, error, df
