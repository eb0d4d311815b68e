"""What did each arm earn when earlier outcomes chose later shares?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.estimators import ab
from upliftlab.stats.estimate import satterthwaite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.cells import Cells, ClusterCells
    from upliftlab.estimators.effects import Effects

    Floats = NDArray[np.float64]

METHOD = "epochs weighed by shares that were fixed before their outcomes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A stretch of assignment with shares of its own.

    Attributes:
        name: As the cells' key ``epoch`` names it.
        share: Arm -> probability that a unit of this epoch got it; fixed before the epoch.
    """

    name: str
    share: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"name": self.name, "share": dict(self.share)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weighted:
    """Arm means over all epochs, and the parts they were made of.

    Attributes:
        effects: Joint over arms and components, epochs weighed.
        parts: Effects within each epoch, in order.
        weight: Of each epoch, adds up to 1, shape [T].
        epochs: In order.
    """

    effects: Effects
    parts: tuple[Effects, ...]
    weight: Floats
    epochs: tuple[Epoch, ...]


def estimate(
    cells: Cells,
    epochs: Sequence[Epoch],
    *,
    arms: Sequence[str],
    control: str,
    covariates: Sequence[str] = (),
    strata: Sequence[str] = (),
    clusters: Mapping[str, ClusterCells] | None = None,
    key: str = "epoch",
) -> Weighted:
    """Estimate the mean vector of every arm from a test whose shares followed its outcomes.

    Within an epoch shares are fixed, so its arm means are compared as in any split. Pooling
    units over epochs is wrong twice: an arm that was unlucky early is assigned less and keeps
    its bad luck, and epochs with other baselines hold other mixtures of arms. Here all arms of
    an epoch have one weight, its number of units over the root of the sum of 1 / share, known
    before its outcomes. Each epoch then adds about the same variance per unit, which is what
    the normal limit of a sum of dependent terms asks for.

    Args:
        cells: Moments by arm and epoch; finer keys are added up, but for strata.
        epochs: In the order in which they ran. An arm that had no share in some epoch is
            compared over the epochs in which it had one only if it is left out of ``arms``.
        arms: Arms in reading order.
        control: The arm compared with.
        covariates: Names among the cells' columns.
        strata: Keys among the cells' keys within which assignment was balanced.
        clusters: Epoch -> means with CR2 covariance by arm, for clustered assignment.
        key: Key of the cells that names epochs.

    Raises:
        DesignError: When an epoch of the cells is unknown, or an arm had no share in one.

    References:
        Hadad, Hirshberg, Zhan, Wager and Athey (2021), *PNAS* 118(15), section "Adaptive
        weights" (variance-stabilising weights); Zhang, Janson and Murphy (2020), *NeurIPS* 33
        (batches compared within themselves).

    Examples:
        >>> from upliftlab.data.cells import Cells
        >>> cells = Cells(keys=("arm", "epoch"), names=("y",),
        ...               labels=(("c", "1"), ("t", "1"), ("c", "2"), ("t", "2")),
        ...               n=np.array([900, 100, 500, 500]),
        ...               mean=np.array([[0.0], [0.0], [10.0], [10.0]]),
        ...               m2=np.array([[[900.0]], [[100.0]], [[500.0]], [[500.0]]]))
        >>> epochs = [Epoch(name="1", share={"c": 0.9, "t": 0.1}),
        ...           Epoch(name="2", share={"c": 0.5, "t": 0.5})]
        >>> found = estimate(cells, epochs, arms=["c", "t"], control="c")
        >>> found.effects.contrast("y", "t").value.round(12) + 0.0
        array([0.])
    """
    known = {epoch.name for epoch in epochs}
    _refuse(cells, known, epochs, arms, key)
    ran = [epoch for epoch in epochs if epoch.name in cells.levels(key)]
    parts = tuple(
        ab.estimate(
            cells.where(**{key: epoch.name}),
            arms=arms,
            control=control,
            covariates=covariates,
            strata=strata,
            clusters=None if clusters is None else clusters[epoch.name],
        )
        for epoch in ran
    )
    return weigh(parts, ran)


def weigh(parts: Sequence[Effects], epochs: Sequence[Epoch]) -> Weighted:
    """Add up epochs that were each estimated within themselves.

    Args:
        parts: Effects of each epoch, of the same arms and components, in order.
        epochs: Their shares.
    """
    total = np.array([float(sum(part.n)) for part in parts])
    harm = [sum(1 / epoch.share[arm] for arm in parts[0].arms) for epoch in epochs]
    weight = total / np.sqrt(harm)
    weight /= weight.sum()
    return Weighted(
        effects=_combined(parts, weight),
        parts=tuple(parts),
        weight=weight,
        epochs=tuple(epochs),
    )


def _combined(parts: Sequence[Effects], weight: Floats) -> Effects:
    """Add epochs up; given what came before, their errors are uncorrelated."""
    first = parts[0]

    def added(name: str, power: int) -> Any:  # noqa: ANN401 - an array or nothing
        blocks = [getattr(part, name) for part in parts]
        if any(block is None for block in blocks):
            return None
        return sum(w**power * block for w, block in zip(weight, blocks, strict=True))

    spread = np.array(
        [
            [w**2 * (1 / max(part.n[a], 1) if part.working is None else part.working[a])
             for w, part in zip(weight, parts, strict=True)]
            for a in range(len(first.arms))
        ]
    )  # fmt: skip
    df = [
        satterthwaite(row.tolist(), [float(part.df[a]) for part in parts])
        for a, row in enumerate(spread)
    ]
    notes = dict.fromkeys(part.note for part in parts if part.note)
    return replace(
        first,
        n=tuple(sum(part.n[a] for part in parts) for a in range(len(first.arms))),
        mean=added("mean", 1),
        cov=added("cov", 2),
        plain_cov=added("plain_cov", 2),
        own=added("own", 2),
        working=added("working", 2),
        df=np.array(df),
        variance_kept=None,
        method=f"{first.method}; {METHOD}" if first.method else METHOD,
        note="; ".join(notes),
    )


def _refuse(
    cells: Cells, known: set[str], epochs: Sequence[Epoch], arms: Sequence[str], key: str
) -> None:
    strange = sorted(set(cells.levels(key)) - known)
    if strange:
        raise DesignError(
            f"units were assigned in epoch {strange[0]!r}, whose shares nobody logged; logged "
            f"epochs: {sorted(known)}. Log its shares as they were, or leave its units out."
        )
    for epoch in epochs:
        for arm in arms:
            if not epoch.share.get(arm, 0.0) > 0:
                raise DesignError(
                    f"arm {arm!r} had no share in epoch {epoch.name!r}; arms are compared "
                    "over epochs in which all of them could be drawn. Leave the arm or the "
                    "epoch out."
                )
