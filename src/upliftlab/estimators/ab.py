"""What did each arm earn on average? Randomised splits, by unit or by cluster, on moments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.estimators.effects import Effects

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.cells import Cells, ClusterCells

    Floats = NDArray[np.float64]

Theta = Literal["per_arm", "within", "joint"]

_COEFFICIENTS: dict[Theta, str] = {
    "per_arm": "coefficients per arm",
    "within": "one set of coefficients within arms",
    "joint": "one set of coefficients over all units",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Blocks:
    """Means of independent blocks (arm x stratum) with their covariances.

    Attributes:
        n: Units, shape [A, S].
        mean: Means of components, then covariates, shape [A, S, K + P].
        cov: Covariance of each block's means, shape [A, S, K + P, K + P].
        within: Centred second moments of units, shape [A, S, K + P, K + P].
        df: Degrees of freedom of each arm's variance, shape [A].
        working: See ``Effects.working``.
    """

    n: Floats
    mean: Floats
    cov: Floats
    within: Floats
    df: Floats
    working: Floats | None


def estimate(
    cells: Cells,
    *,
    arms: Sequence[str],
    control: str,
    covariates: Sequence[str] = (),
    strata: Sequence[str] = (),
    clusters: ClusterCells | None = None,
    theta: Theta = "per_arm",
) -> Effects:
    """Estimate the mean vector of every arm with one joint covariance.

    Strata are weighed by their share of all units (post-stratification), so unequal shares per
    epoch or stratum do not confound arms. Covariates shift each arm to the covariate mean of
    all units; coefficients are the same for every line of the ledger, so lines still add up.
    The covariance is that of the linear map with its coefficients held fixed, including the
    term for arms whose coefficients differ.

    Args:
        cells: Moments by arm and perhaps stratum; finer keys are added up.
        arms: Arms in reading order.
        control: The arm compared with.
        covariates: Names among the cells' columns.
        strata: Keys among the cells' keys.
        clusters: Means with CR2 covariance by arm (and stratum), for clustered assignment.
        theta: "per_arm" fits coefficients in each arm; "within" one set within arms; "joint"
            one set over all units, arm means included, as CUPED is usually coded.

    Returns:
        Components only; an arm with fewer than two units (or clusters) has NaN covariance
        and leaves the others theirs, short of what it adds to the common covariate mean.

    References:
        Lin (2013), *Annals of Applied Statistics* 7(1), section 4, for coefficients per arm;
        Deng, Xu, Kohavi and Walker (2013), *WSDM '13*, for CUPED; Miratrix, Sekhon and Yu
        (2013), *Journal of the Royal Statistical Society B* 75(2), for post-stratification.

    Examples:
        >>> from upliftlab.data.cells import Cells
        >>> cells = Cells(keys=("arm",), labels=(("new",), ("old",)), names=("orders",),
        ...               n=np.array([100, 100]), mean=np.array([[0.65], [0.50]]),
        ...               m2=np.array([[[22.75]], [[25.0]]]))
        >>> effects = estimate(cells, arms=["old", "new"], control="old")
        >>> e = effects.contrast("orders", "new").estimate("orders")
        >>> f"{e.estimate:.3f} [{e.ci_low:.3f}, {e.ci_high:.3f}]"
        '0.150 [0.013, 0.287]'
    """
    names = [name for name in cells.names if name not in set(covariates)]
    order = [*names, *covariates]
    by_block = cells.collapse(["arm", *strata]).select(order)
    by_block, merged = _merge_thin(by_block, arms)
    blocks = _blocks(by_block, arms, clusters, order)
    k, p = len(names), len(covariates)
    slopes = _slopes(blocks, k, theta)
    mean, cov = _adjusted(blocks, slopes, k)
    # Coefficients are fitted on units, so they use up no degrees of freedom of clusters.
    fitted = p if theta == "per_arm" and clusters is None else 0
    scale = _small_sample(blocks, fitted)
    plain_cov = _adjusted(blocks, np.zeros_like(slopes), k)[1] if p else None
    return Effects(
        arms=tuple(arms),
        control=control,
        names=tuple(names),
        n=tuple(int(x) for x in blocks.n.sum(axis=1)),
        mean=mean,
        cov=cov * np.sqrt(scale[:, None, None, None] * scale[None, None, :, None]),
        df=np.maximum(blocks.df - fitted, np.where(np.isfinite(blocks.df), 1.0, np.inf)),
        working=blocks.working,
        own=_own(blocks, slopes, k) * scale[:, None, None] if p or strata else None,
        method=_method(p, theta, strata, clustered=clusters is not None),
        variance_kept=None
        if plain_cov is None
        else _kept(names, arms, control, cov, plain_cov),
        plain_cov=plain_cov,
        note="; ".join(part for part in (merged, _unknown(blocks, scale, arms)) if part),
    )


def _merge_thin(cells: Cells, arms: Sequence[str]) -> tuple[Cells, str]:
    """Put strata in which some arm has fewer than two units into one."""
    if len(cells.keys) == 1:
        return cells, ""
    count: dict[tuple[str, ...], dict[str, int]] = {}
    for label, n in zip(cells.labels, cells.n, strict=True):
        count.setdefault(label[1:], {})[label[0]] = int(n)

    def is_thin(strata: Collection[tuple[str, ...]]) -> bool:
        return any(sum(count[s].get(arm, 0) for s in strata) < 2 for arm in measured)

    # An arm that has no variance anyhow must not take the strata from the others.
    measured = [arm for arm in arms if sum(by.get(arm, 0) for by in count.values()) >= 2]
    thin = {s for s in count if is_thin([s])}
    if not thin:
        return cells, ""
    width = len(cells.keys) - 1
    rest = ("(thin strata)",) * width
    while is_thin(thin) and len(thin) < len(count):
        thin.add(min((s for s in count if s not in thin), key=lambda s: sum(count[s].values())))
    labels = tuple((label[0], *rest) if label[1:] in thin else label for label in cells.labels)
    note = f"{len(thin)} strata were joined: some arm had fewer than two units in one"
    return replace(cells, labels=labels).collapse(cells.keys), note


def _blocks(
    cells: Cells, arms: Sequence[str], clusters: ClusterCells | None, order: Sequence[str]
) -> _Blocks:
    strata = sorted({label[1:] for label in cells.labels})
    at = {label: i for i, label in enumerate(cells.labels)}
    shape = (len(arms), len(strata))
    k = len(cells.names)
    n = np.zeros(shape)
    mean = np.zeros((*shape, k))
    within = np.zeros((*shape, k, k))
    for a, arm in enumerate(arms):
        for s, stratum in enumerate(strata):
            i = at.get((arm, *stratum))
            if i is not None:
                n[a, s], mean[a, s], within[a, s] = cells.n[i], cells.mean[i], cells.m2[i]
    for only in np.flatnonzero(n.sum(axis=1) == 1):
        # The only unit of an arm stands for it in every stratum.
        mean[only] = mean[only][n[only] == 1]
    if clusters is not None:
        return _clustered(clusters, arms, order, n=n, mean=mean, within=within)
    with np.errstate(invalid="ignore", divide="ignore"):
        cov = within / (n * (n - 1))[:, :, None, None]
    cov[n < 2] = np.nan
    df = (n - 1).sum(axis=1)
    return _Blocks(n=n, mean=mean, cov=cov, within=within, df=df, working=None)


def _clustered(
    clusters: ClusterCells,
    arms: Sequence[str],
    order: Sequence[str],
    *,
    n: Floats,
    mean: Floats,
    within: Floats,
) -> _Blocks:
    """Take the covariance of the means from clusters; the means are those of units."""
    take = [clusters.names.index(name) for name in order if name in clusters.names]
    put = [i for i, name in enumerate(order) if name in clusters.names]
    cov = np.zeros_like(within)
    df = np.full(len(arms), np.nan)
    for a, arm in enumerate(arms):
        if (arm,) not in clusters.labels:
            cov[a] = np.nan
            continue
        i = clusters.labels.index((arm,))
        df[a] = clusters.df[i]
        cov[a, 0][np.ix_(put, put)] = clusters.cov[i][np.ix_(take, take)]
    total = n.sum(axis=1)
    with np.errstate(divide="ignore"):
        working = 1 / total
    return _Blocks(n=n, mean=mean, cov=cov, within=within, df=df, working=working)


def _slopes(blocks: _Blocks, k: int, theta: Theta) -> Floats:
    """Fit coefficients [A, K, P] of components on covariates within strata."""
    second = blocks.within.sum(axis=1)
    if theta == "joint":
        total = blocks.n.sum()
        centre = np.einsum("as,ask->k", blocks.n, blocks.mean) / total
        gap = blocks.mean - centre
        second = second + np.einsum("as,ask,asl->akl", blocks.n, gap, gap)
    if theta != "per_arm":
        second = np.broadcast_to(second.sum(axis=0), second.shape)
    p = second.shape[1] - k
    if p == 0:
        return np.zeros((len(second), k, 0))
    size = np.einsum("as,asp->ap", blocks.n, blocks.mean[:, :, k:] ** 2)
    if theta != "per_arm":
        size = np.broadcast_to(size.sum(axis=0), size.shape)
    return np.stack([_solved(m, k, least) for m, least in zip(second, size, strict=True)])


def _solved(second: Floats, k: int, size: Floats) -> Floats:
    """Coefficients [K, P] from second moments, solved in correlations.

    A covariate that does not vary beyond rounding of its ``size``, or repeats others, gets
    no coefficient, whatever unit it is counted in.
    """
    square = np.diag(second)[k:]
    moves = square > 1e-13 * size
    scale = np.where(moves, 1 / np.sqrt(np.where(moves, square, 1.0)), 0.0)
    correlation = second[k:, k:] * np.outer(scale, scale)
    solved = np.linalg.pinv(correlation, rcond=1e-10, hermitian=True)
    found: Floats = (second[:k, k:] * scale) @ solved * scale
    return found


def _adjusted(blocks: _Blocks, slopes: Floats, k: int) -> tuple[Floats, Floats]:
    """Return adjusted means [A, K] and their covariance [A, K, A, K].

    The map is mean_a = sum_s W_s (y_as - B_a (x_as - x_s)), with x_s the mean over all arms.
    An arm of unknown variance has NaN covariance; what it adds to that of others through x_s
    is of the square of its share of units, and is left out.
    """
    arms, strata = blocks.n.shape
    unknown = _has_no_variance(blocks)
    known = np.where(unknown[:, None, None, None], 0.0, blocks.cov)
    total = blocks.n.sum(axis=0)
    weight = total / total.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(total > 0, blocks.n / total, 0.0)
    y, x = blocks.mean[:, :, :k], blocks.mean[:, :, k:]
    centre = np.einsum("as,asp->sp", share, x)
    by_stratum = y - np.einsum("akp,asp->ask", slopes, x - centre)
    mean = np.einsum("s,ask->ak", weight, by_stratum)
    cov = np.zeros((arms, k, arms, k))
    for s in range(strata):
        for b in range(arms):
            # Each arm's mean as a linear map of the means of block (b, s).
            jacobian = np.zeros((arms, k, blocks.mean.shape[2]))
            jacobian[b, :, :k] = np.eye(k)
            lever = share[b, s] - (np.arange(arms) == b)
            jacobian[:, :, k:] = slopes * lever[:, None, None]
            flat = weight[s] * jacobian.reshape(arms * k, -1)
            cov += (flat @ known[b, s] @ flat.T).reshape(arms, k, arms, k)
    if strata > 1:
        cov += _weight_variance(by_stratum, mean, weight, total.sum())
    cov[unknown] = np.nan
    cov[:, :, unknown] = np.nan
    return mean, cov


def _has_no_variance(blocks: _Blocks) -> NDArray[np.bool_]:
    """Arms [A] with a block of too few units or clusters."""
    return np.array([bool(np.isnan(cov).any()) for cov in blocks.cov])


def _unknown(blocks: _Blocks, scale: Floats, arms: Sequence[str]) -> str:
    """Name the arms that get no interval."""
    lost = _has_no_variance(blocks) | np.isnan(scale)
    names = ", ".join(arm for arm, is_lost in zip(arms, lost, strict=True) if is_lost)
    return f"{names}: no interval, too few units or clusters" if names else ""


def _own(blocks: _Blocks, slopes: Floats, k: int) -> Floats:
    """Covariance [A, K, K] of each arm's mean of y - B x, strata weighed, of its own units."""
    total = blocks.n.sum(axis=0)
    weight = total / total.sum()
    out = np.zeros((len(blocks.n), k, k))
    for a, slope in enumerate(slopes):
        residual = np.concatenate([np.eye(k), -slope], axis=1)
        spread = np.einsum("s,skl->kl", weight**2, blocks.cov[a])
        out[a] = residual @ spread @ residual.T
    return out


def _weight_variance(by_stratum: Floats, mean: Floats, weight: Floats, n: float) -> Floats:
    """Variance from stratum shares being those of a sample, not of the population."""
    gap = by_stratum - mean[:, None, :]
    spread: Floats = np.einsum("s,ask,bsl->akbl", weight, gap, gap) / n
    return spread


def _small_sample(blocks: _Blocks, p: int) -> Floats:
    if p == 0:
        return np.ones(len(blocks.n))
    return np.where(blocks.df > p, blocks.df / np.maximum(blocks.df - p, 1.0), np.nan)


def _kept(
    names: Sequence[str], arms: Sequence[str], control: str, cov: Floats, plain: Floats
) -> dict[str, float]:
    """Share of the contrasts' variance that is left after adjustment, per component."""
    c = list(arms).index(control)

    def variance(of: Floats) -> Floats:
        terms = [
            np.diag(of[a, :, a]) + np.diag(of[c, :, c]) - 2 * np.diag(of[a, :, c])
            for a in range(len(arms))
            if a != c and not np.isnan(of[a, :, a]).any()
        ]
        total: Floats = np.sum(terms, axis=0)
        return total

    with np.errstate(invalid="ignore", divide="ignore"):
        left = variance(cov) / variance(plain)
    return {name: float(left[i]) for i, name in enumerate(names) if np.isfinite(left[i])}


def _method(p: int, theta: Theta, strata: Sequence[str], *, clustered: bool) -> str:
    parts = ["difference of arm means"]
    if strata:
        parts.append(f"post-stratified by {', '.join(strata)}")
    if p:
        covariates = "1 pre-period covariate" if p == 1 else f"{p} pre-period covariates"
        parts.append(f"adjusted for {covariates}, {_COEFFICIENTS[theta]}")
    parts.append(
        "clusters: CR2 variance, Bell-McCaffrey degrees of freedom"
        if clustered
        else "unequal variances, Satterthwaite degrees of freedom"
    )
    return "; ".join(parts)
