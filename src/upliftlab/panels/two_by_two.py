"""What does a comparison before and after say, with rows that need not be the same units?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DesignError
from upliftlab.panels.fits import cr1_factor, independent, sum_rows
from upliftlab.panels.two_way import Opinion
from upliftlab.stats.estimate import satterthwaite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.data.panel import Panel

    Floats = NDArray[np.float64]

Errors = Literal["classical", "hc0", "hc1", "hc2", "hc3", "cluster"]

KINDS = ("classical", "hc0", "hc1", "hc2", "hc3", "cluster")


def two_by_two(
    y: ArrayLike,
    treated: ArrayLike,
    after: ArrayLike,
    *,
    names: Sequence[str] = ("y",),
    covariates: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    errors: Errors | None = None,
) -> Opinion:
    """Return the change of the treated less the change of others, from repeated cross-sections.

    Least squares on treated, after and their product (statsmodels). Rows with anything missing
    are left out. Errors "classical" (one variance), "hc0" to "hc3" (rows independent) or
    "cluster" (CR1, the default with ``cluster``); "hc1" is the default without; t with n - k
    or G - 1 degrees of freedom.

    Args:
        y: Outcomes, shape [n] or [n, K].
        treated: Whether the row belongs to the treated side, shape [n].
        after: Whether the row is from after the start, shape [n].
        names: Components, K in all.
        covariates: Further columns, shape [n] or [n, P].
        weight: Weights of rows (weighted least squares); ones by default.
        cluster: Cluster of each row.
        errors: Which covariance.

    Returns:
        One estimate per component.

    Raises:
        DesignError: When one of the four cells is empty or ``errors`` is another word.

    References:
        Card and Krueger (1994), *American Economic Review* 84(4), table 3; Wooldridge (2020),
        *Introductory Econometrics*, section 13.2.

    Examples:
        >>> found = two_by_two([1.0, 2.0, 2.0, 5.0, 3.0, 5.0], [0, 0, 1, 1, 0, 1],
        ...                    [0, 1, 0, 1, 1, 1])
        >>> print(found.names, found.value.round(6))
        ('y',) [1.5]
    """
    sides = _flags([treated, after], ["treated", "after"])
    _require_cells(sides, ("treated", "after"))
    design = np.column_stack([np.prod(sides, axis=1), np.ones(len(sides)), sides])
    return _least_squares(
        design,
        y,
        names,
        covariates=covariates,
        weight=weight,
        cluster=cluster,
        errors=errors,
        what="2 x 2",
    )


def triple_difference(
    y: ArrayLike,
    treated: ArrayLike,
    after: ArrayLike,
    eligible: ArrayLike,
    *,
    names: Sequence[str] = ("y",),
    covariates: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    errors: Errors | None = None,
) -> Opinion:
    """Return the 2 x 2 of eligible rows less the 2 x 2 of rows that treatment cannot reach.

    Needs equal trends of the *gap* between the two, not equal trends of each. Least squares on
    all products of the three (statsmodels); errors and arguments as in :func:`two_by_two`.

    Args:
        y: Outcomes, shape [n] or [n, K].
        treated: Whether the row belongs to the treated side, shape [n].
        after: Whether the row is from after the start, shape [n].
        eligible: Whether treatment could reach the row, shape [n].
        names: Components, K in all.
        covariates: Further columns, shape [n] or [n, P].
        weight: Weights of rows; ones by default.
        cluster: Cluster of each row.
        errors: Which covariance.

    Returns:
        One estimate per component.

    Raises:
        DesignError: When one of the eight cells is empty or ``errors`` is another word.

    References:
        Gruber (1994), *American Economic Review* 84(3); Olden and Moen (2022), *Econometrics
        Journal* 25(3), equation 2.

    Examples:
        >>> flags = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)] * 2)
        >>> y = 3.0 * flags.prod(axis=1) + flags[:, 1]
        >>> triple_difference(y, *flags.T).value.round(6)
        array([3.])
    """
    sides = _flags([treated, after, eligible], ["treated", "after", "eligible"])
    _require_cells(sides, ("treated", "after", "eligible"))
    a, b, c = sides.T
    design = np.column_stack([a * b * c, np.ones(len(a)), a, b, c, a * b, a * c, b * c])
    return _least_squares(
        design,
        y,
        names,
        covariates=covariates,
        weight=weight,
        cluster=cluster,
        errors=errors,
        what="triple difference",
    )


def change_in_means(panel: Panel, *, before: int, after: int) -> Opinion:
    """Compare changes of treated units with changes of untreated ones, between two periods.

    Only units observed in both. With a unit per cluster the error is Welch's (HC2); else CR1
    by cluster.

    Args:
        panel: Treated are units that start in (before, after]; the others must start later.
        before: Position of the earlier period.
        after: Position of the later period.

    Returns:
        One estimate per component.

    Raises:
        DesignError: When fewer than two units changed, or fewer than two did not.

    References:
        Card and Krueger (1994), *American Economic Review* 84(4), table 3, row 4.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> y = np.array([[1.0, 4.0], [2.0, 5.5], [1.0, 2.0], [3.0, 4.5]])
        >>> found = change_in_means(Panel.of_arrays(y, [1, 1, NEVER, NEVER]), before=0, after=1)
        >>> print(found.value.round(6), np.sqrt(found.cov).round(6))
        [2.] [[0.353553]]
    """
    change = panel.y[:, after] - panel.y[:, before]
    moved = (panel.start > before) & (panel.start <= after)
    use = ~np.isnan(change).any(axis=1) & (panel.weight > 0) & (moved | (panel.start > after))
    if use[moved].sum() < 2 or use[~moved].sum() < 2:
        raise DesignError(
            f"a change in means needs two treated units and two others that are observed in "
            f"{panel.periods[before]!r} and {panel.periods[after]!r}; the panel has "
            f"{int(use[moved].sum())} and {int(use[~moved].sum())}."
        )
    cluster = panel.cluster[use]
    design = np.column_stack([moved[use].astype(float), np.ones(int(use.sum()))])
    alone = len(np.unique(cluster)) == len(cluster)
    found = _least_squares(
        design,
        change[use],
        panel.names,
        covariates=None,
        weight=panel.weight[use],
        cluster=None if alone else cluster,
        errors="hc2" if alone else "cluster",
        what="change in means",
    )
    if not alone or np.ptp(panel.weight[use]) > 0:
        return found
    parts = [change[use & side].var(axis=0, ddof=1) for side in (moved, ~moved)]
    sizes = [int((use & side).sum()) for side in (moved, ~moved)]
    df = [
        satterthwaite([a / sizes[0], b / sizes[1]], [n - 1 for n in sizes])
        for a, b in zip(*parts, strict=True)
    ]
    return replace(found, df=np.array(df))


def _flags(columns: Sequence[ArrayLike], names: Sequence[str]) -> Floats:
    out = np.column_stack([np.asarray(column, dtype=np.float64) for column in columns])
    for name, column in zip(names, out.T, strict=True):
        odd = column[~np.isin(column, (0.0, 1.0))]
        if len(odd):
            raise DesignError(
                f"{name!r} must be true or false in every row; it holds {odd[0]!r}."
            )
    return out


def _require_cells(sides: Floats, names: Sequence[str]) -> None:
    code = sides @ 2 ** np.arange(sides.shape[1])
    for wanted in range(2 ** len(names)):
        if not (code == wanted).any():
            cell = ", ".join(
                name if wanted >> i & 1 else f"not {name}" for i, name in enumerate(names)
            )
            raise DesignError(
                f"a comparison before and after needs rows in each of {2 ** len(names)} cells; "
                f"there is none that is {cell}. Widen the window or the groups."
            )


def _least_squares(
    design: Floats,
    y: ArrayLike,
    names: Sequence[str],
    *,
    covariates: ArrayLike | None,
    weight: ArrayLike | None,
    cluster: ArrayLike | None,
    errors: Errors | None,
    what: str,
) -> Opinion:
    """First coefficient of a regression of every outcome, with one factorisation."""
    import statsmodels.api as sm

    outcome = np.asarray(y, dtype=np.float64).reshape(len(design), -1)
    if covariates is not None:
        further = np.asarray(covariates, dtype=np.float64).reshape(len(design), -1)
        design = np.column_stack([design, further])
    w = np.ones(len(design)) if weight is None else np.asarray(weight, dtype=np.float64)
    kind = errors or ("hc1" if cluster is None else "cluster")
    known = ~np.isnan(outcome).any(axis=1) & ~np.isnan(design).any(axis=1) & (w > 0)
    gone = int((~known).sum())
    notes: tuple[str, ...] = (f"{gone} row(s) with missing values left out",) if gone else ()
    outcome, design, w = outcome[known], design[known], w[known]
    gram = (design * w[:, None]).T @ design
    if not independent(gram[::-1, ::-1], np.diag(gram)[::-1])[-1]:
        raise DesignError(
            f"the effect of a {what} is a combination of other columns; check that complete "
            "rows cover every cell and that no covariate repeats the treatment."
        )
    fit = sm.WLS(outcome[:, 0], design, weights=w).fit()
    root = np.sqrt(w)[:, None]
    coefficient = fit.model.pinv_wexog @ (root * outcome)
    residual = root * (outcome - design @ coefficient)
    slope = fit.model.pinv_wexog[0]
    n, k = len(design), int(fit.df_model) + 1
    if kind == "cluster" and cluster is None:
        raise DesignError("errors by 'cluster' need the cluster of each row; pass cluster=.")
    codes = np.arange(n) if cluster is None else _codes(np.asarray(cluster)[known])
    columns = root * design
    leverage = np.einsum("ij,ji->i", columns, fit.model.pinv_wexog)
    if n <= k:
        notes = (*notes, "no more rows than columns: no error")
    cov, df = _covariance(kind, slope, residual, leverage=leverage, codes=codes, k=k)
    return Opinion(
        names=tuple(names),
        value=coefficient[0],
        cov=cov,
        df=np.full(outcome.shape[1], float(df)),
        method=f"{what} by least squares, {kind}",
        clusters=int(codes.max()) + 1,
        notes=notes,
    )


def _covariance(
    kind: str,
    slope: Floats,
    residual: Floats,
    *,
    leverage: Floats,
    codes: NDArray[np.int64],
    k: int,
) -> tuple[Floats, float]:
    n, width = residual.shape
    scores = slope[:, None] * residual
    if kind not in KINDS:
        raise DesignError(
            f"errors {kind!r} are not known; write 'classical', 'hc0', 'hc1', 'hc2', 'hc3' or "
            "'cluster'."
        )
    if n <= k:
        return np.full((width, width), np.nan), np.nan
    if kind == "classical":
        cov = float(slope @ slope) * (residual.T @ residual) / (n - k)
        return cov, n - k
    if kind == "cluster":
        groups = int(codes.max()) + 1
        sums = sum_rows(scores, codes)
        return cr1_factor(groups, n, k) * (sums.T @ sums), groups - 1
    left = 1 - leverage
    power = {"hc0": 0.0, "hc1": 0.0, "hc2": 0.5, "hc3": 1.0}[kind]
    # A row that is alone in its cell has leverage 1 and no residual.
    safe = np.where(left > 1e-12, left, np.nan) if power else np.ones(n)
    scaled = scores / safe[:, None] ** power
    cov = scaled.T @ scaled * (n / (n - k) if kind == "hc1" else 1.0)
    return cov, n - k


def _codes(labels: NDArray[np.generic]) -> NDArray[np.int64]:
    codes: NDArray[np.int64] = np.unique(labels, return_inverse=True)[1].reshape(-1)
    return codes.astype(np.int64)
