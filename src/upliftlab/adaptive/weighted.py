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
        weight: Of each epoch for arms that ran in all, adds up to 1, shape [T].
        epochs: In order.
    """

    effects: Effects
    parts: tuple[Effects, ...]
    weight: Floats
    epochs: tuple[Epoch, ...]

    def window(self, days: int | None) -> Weighted:
        """Keep the components of one window."""
        return replace(
            self,
            effects=self.effects.window(days),
            parts=tuple(part.window(days) for part in self.parts),
        )


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
            compared with control over the epochs in which it had one.
        arms: Arms in reading order.
        control: The arm compared with.
        covariates: Names among the cells' columns.
        strata: Keys among the cells' keys within which assignment was balanced.
        clusters: Epoch -> means with CR2 covariance by arm, for clustered assignment.
        key: Key of the cells that names epochs.

    Raises:
        DesignError: When an epoch of the cells is unknown, or control had no share in one.

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
    _refuse(cells, epochs, arms, control, key)
    ran = [epoch for epoch in epochs if epoch.name in cells.levels(key)]
    parts = tuple(
        ab.estimate(
            cells.where(**{key: epoch.name}),
            arms=[arm for arm in arms if epoch.share.get(arm, 0.0) > 0],
            control=control,
            covariates=covariates,
            strata=strata,
            clusters=None if clusters is None else clusters[epoch.name],
        )
        for epoch in ran
    )
    return weigh(parts, ran, arms=arms)


def weigh(
    parts: Sequence[Effects], epochs: Sequence[Epoch], *, arms: Sequence[str] | None = None
) -> Weighted:
    """Add up epochs that were each estimated within themselves.

    Args:
        parts: Effects of each epoch, of the same components, in order; an arm that an epoch
            lacks had no share in it.
        epochs: Their shares.
        arms: All arms in reading order; those of the first epoch unless said.
    """
    names = tuple(parts[0].arms if arms is None else arms)
    control = names.index(parts[0].control)
    total = np.array([float(sum(part.n)) for part in parts])
    ran = np.array([[arm in part.arms for arm in names] for part in parts])
    stay = ran.all(axis=0)
    own = np.empty((len(names), len(parts)))
    for a in range(len(names)):
        # An arm that left is compared over its own epochs, with those who ran then.
        inside = stay | (np.arange(len(names)) == a)
        own[a] = _weights(total, epochs, names, inside, ran[:, a])
    return Weighted(
        effects=_combined([_padded(part, names) for part in parts], own, control),
        parts=tuple(parts),
        weight=own[control],
        epochs=tuple(epochs),
    )


def _weights(
    total: Floats,
    epochs: Sequence[Epoch],
    names: tuple[str, ...],
    inside: NDArray[np.bool_],
    ran: NDArray[np.bool_],
) -> Floats:
    """Units of each epoch over the root of its sum of 1 / share; 0 where an arm was out."""
    weight = np.zeros(len(epochs))
    for t in np.flatnonzero(ran):
        shares = [epochs[int(t)].share[names[a]] for a in np.flatnonzero(inside)]
        weight[t] = total[t] / np.sqrt(sum(1 / share for share in shares))
    out: Floats = weight / weight.sum()
    return out


def _padded(part: Effects, names: tuple[str, ...]) -> Effects:
    """Give an epoch all arms; one that it lacks has mean 0 and is given no weight."""
    if part.arms == names:
        return part
    at = np.array([names.index(arm) for arm in part.arms])
    a, k = len(names), len(part.names)
    mean, cov = np.zeros((a, k)), np.zeros((a, k, a, k))
    mean[at] = part.mean
    cov[np.ix_(at, np.arange(k), at, np.arange(k))] = part.cov
    df = np.full(a, np.inf)
    df[at] = part.df
    n = np.zeros(a, dtype=np.int64)
    n[at] = part.n
    return replace(
        part, arms=names, mean=mean, cov=cov, df=df, n=tuple(n.tolist()), plain_cov=None,
        own=None, working=None,
    )  # fmt: skip


def _combined(parts: Sequence[Effects], own: Floats, control: int) -> Effects:
    """Add epochs up; given what came before, their errors are uncorrelated.

    Arm a's mean is control's over all epochs, plus what a had over control in its own epochs;
    for an arm of all epochs that is its mean over them.
    """
    first = parts[0]
    arms = len(first.arms)
    # maps[t, a, b]: how arm b's mean in epoch t enters arm a's.
    maps = np.zeros((len(parts), arms, arms))
    for a in range(arms):
        maps[:, a, a] += own[a]
        maps[:, a, control] += own[control] - own[a]
    mean = np.einsum("tab,tbk->ak", maps, np.array([part.mean for part in parts]))

    def added(name: str) -> Any:  # noqa: ANN401 - an array or nothing
        blocks = [getattr(part, name) for part in parts]
        if any(block is None for block in blocks):
            return None
        return sum(
            np.einsum("ab,bkcl,dc->akdl", maps[t], block, maps[t], optimize=True)
            for t, block in enumerate(blocks)
        )

    cov = added("cov")
    spread = [
        [own[a, t] ** 2 / max(part.n[a], 1) for t, part in enumerate(parts)]
        for a in range(arms)
    ]
    df = [
        satterthwaite(row, [float(part.df[a]) for part in parts])
        for a, row in enumerate(spread)
    ]
    notes = dict.fromkeys(part.note for part in parts if part.note)
    return replace(
        first,
        n=tuple(sum(part.n[a] for part in parts) for a in range(arms)),
        mean=mean,
        cov=cov,
        plain_cov=added("plain_cov"),
        own=np.array([cov[a, :, a] for a in range(arms)]),
        working=None,
        df=np.array(df),
        variance_kept=None,
        method=f"{first.method}; {METHOD}" if first.method else METHOD,
        note="; ".join(notes),
    )


def _refuse(
    cells: Cells, epochs: Sequence[Epoch], arms: Sequence[str], control: str, key: str
) -> None:
    known = {epoch.name for epoch in epochs}
    strange = sorted(set(cells.levels(key)) - known)
    if strange:
        raise DesignError(
            f"units were assigned in epoch {strange[0]!r}, whose shares nobody logged; logged "
            f"epochs: {sorted(known)}. Log its shares as they were, or leave its units out."
        )
    for epoch in epochs:
        if not epoch.share.get(control, 0.0) > 0:
            raise DesignError(
                f"control {control!r} had no share in epoch {epoch.name!r}; nothing can be "
                "compared with it there. Leave the epoch out."
            )
    never = [arm for arm in arms if not any(e.share.get(arm, 0.0) > 0 for e in epochs)]
    if never:
        raise DesignError(f"arm {never[0]!r} had no share in any epoch; leave it out.")
