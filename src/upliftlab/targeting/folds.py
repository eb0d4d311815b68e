"""Which units learn together, and which are kept aside?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.integer[Any]]


def folds(
    arm: Ints,
    *,
    count: int = 2,
    seed: int = 1,
    cluster: Ints | None = None,
    stratum: Ints | None = None,
) -> NDArray[np.int16]:
    """Deal units out to folds of equal size within each arm and stratum.

    Clusters stay whole: their folds are equal in clusters, not in units. A cluster counts for
    the arm and stratum of its first unit.

    Args:
        arm: Arm of each unit, 0 for control, shape [n].
        count: Folds.
        seed: Of the shuffle.
        cluster: What was assigned as a whole, shape [n]; None for units one by one.
        stratum: What assignment was stratified by, shape [n]; None for nothing.

    Returns:
        Fold of each unit, 0 to ``count`` - 1, shape [n].

    Raises:
        DesignError: When an arm has fewer units, or clusters, than folds.

    Examples:
        >>> folds(np.array([0, 0, 0, 0, 1, 1]), count=2, seed=3).tolist()
        [1, 1, 0, 0, 1, 0]
    """
    member, arms, strata = _assigned_as(arm, cluster, stratum)
    smallest = int(np.unique(arms, return_counts=True)[1].min()) if len(arms) else 0
    if smallest < count:
        what = "units" if cluster is None else "clusters"
        raise DesignError(
            f"an arm has {smallest} {what}, too few for {count} folds; every fold must hold "
            "units of every arm."
        )
    dealt = _dealt(arms, strata, seed)
    fold = (dealt % count).astype(np.int16)
    return fold if member is None else fold[member]


def halves(
    arm: Ints,
    *,
    seed: int = 1,
    cluster: Ints | None = None,
    stratum: Ints | None = None,
    share: float = 0.5,
) -> NDArray[np.bool_]:
    """Say which units a rule is learned on; on the others it is valued.

    The split is made within each arm and stratum and keeps clusters whole.

    Args:
        arm: Arm of each unit, shape [n].
        seed: Of the shuffle.
        cluster: What was assigned as a whole, shape [n]; None for units one by one.
        stratum: What assignment was stratified by, shape [n]; None for nothing.
        share: Share of units, or clusters, that learn.

    Returns:
        True for units to learn on, shape [n].

    Raises:
        DesignError: When an arm has fewer than two units, or clusters.

    Examples:
        >>> halves(np.array([0, 0, 0, 0, 1, 1]), seed=3).sum()
        np.int64(3)
    """
    member, arms, strata = _assigned_as(arm, cluster, stratum)
    if len(arms) == 0 or np.unique(arms, return_counts=True)[1].min() < 2:
        what = "units" if cluster is None else "clusters"
        raise DesignError(
            f"an arm has fewer than two {what}; a rule needs some to be learned on and others "
            "to be valued on."
        )
    dealt = _dealt(arms, strata, seed)
    # Every further unit learns whenever the running share has fallen behind.
    learns = np.floor((dealt + 1) * share + 1e-9) > np.floor(dealt * share + 1e-9)
    out: NDArray[np.bool_] = learns if member is None else learns[member]
    return out


def refuse_bad_folds(
    fold: Ints, arm: Ints, *, arms: Sequence[str], cluster: Ints | None = None
) -> None:
    """Refuse folds that a model of every arm cannot be learned on, or that share clusters.

    Raises:
        DesignError: When there are fewer than two folds, an arm is absent outside one of them,
            or a cluster is in several.
    """
    if fold.shape != arm.shape:
        raise DesignError(f"fold has shape {fold.shape}; one per unit is {arm.shape}.")
    refuse_split_clusters(fold, cluster)
    labels = np.unique(fold[fold >= 0])
    if len(labels) < 2:
        raise DesignError(
            "scores need at least two folds: a unit must not be scored by what it taught."
        )
    for label in labels:
        learns = (fold >= 0) & (fold != label)
        counts = np.bincount(arm[learns], minlength=len(arms))
        if not counts[: len(arms)].all() or len(counts) > len(arms):
            raise DesignError(
                f"units outside fold {label} have {counts.tolist()} units in the arms "
                f"{list(arms)}; each arm needs some to learn from."
            )


def refuse_split_clusters(fold: Ints, cluster: Ints | None) -> None:
    """Refuse folds that share a cluster: what one learns, the other already knows.

    Raises:
        DesignError: With the number of clusters in several folds.
    """
    if cluster is None:
        return
    _, member = np.unique(cluster, return_inverse=True)
    first = np.zeros(member.max(initial=-1) + 1, dtype=fold.dtype)
    first[member] = fold
    torn = np.unique(member[first[member] != fold])
    if len(torn):
        raise DesignError(
            f"{len(torn):,} clusters have units in several folds; units assigned together "
            "must stay together. Make folds with the cluster column."
        )


def _assigned_as(
    arm: Ints, cluster: Ints | None, stratum: Ints | None
) -> tuple[NDArray[np.int64] | None, Ints, Ints | None]:
    """Return arms and strata of what was assigned, and which of them each unit belongs to."""
    if cluster is None:
        return None, arm, stratum
    _, first, member = np.unique(cluster, return_index=True, return_inverse=True)
    return member, arm[first], None if stratum is None else stratum[first]


def _dealt(arm: Ints, stratum: Ints | None, seed: int) -> NDArray[np.int64]:
    """Number units within their arm in random order, stratum after stratum.

    The count runs on over the strata of an arm, so that small strata do not all begin anew.
    """
    rng = np.random.default_rng(seed)
    chance = rng.permutation(len(arm))
    strata = np.zeros_like(arm) if stratum is None else stratum
    order = np.lexsort((chance, strata, arm))
    sizes = np.unique(arm, return_counts=True)[1]
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    dealt = np.empty(len(arm), dtype=np.int64)
    dealt[order] = np.arange(len(arm)) - starts
    return dealt
