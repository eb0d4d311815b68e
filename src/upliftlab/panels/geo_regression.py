"""What did a geo test add over what control regions predict, and did it pay?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.errors import DataError, DesignError
from upliftlab.panels.donors import combination
from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.data.panel import Panel
    from upliftlab.stats.estimate import Estimate

    Floats = NDArray[np.float64]

_RANK = 1e-10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeoRegression:
    """Cumulative effects of a geo test on all components, from one regression design.

    Attributes:
        effect: Totals over the treated units from the start to the end of the window, by
            component, with their joint covariance.
        path: Cumulative effect up to each period of the window, shape [T1, K].
        path_se: Its standard error, shape [T1, K].
        counterfactual: Totals of the treated had they not been, shape [K].
        coefficients: Intercept and one row per regressor, shape [1 + R, K].
        regressors: Control aggregates that were used, R in all.
        periods: Labels of the window, T1 in all.
        autocorrelation: Of the residuals at lag one before the start, shape [K].
        note: What a reader must know; empty when nothing.
    """

    effect: Joint
    path: Floats
    path_se: Floats
    counterfactual: Floats
    coefficients: Floats
    regressors: tuple[str, ...]
    periods: tuple[str, ...]
    autocorrelation: Floats
    note: str = ""

    def per_cost(self, sales: str, cost: str, *, level: float = 0.95) -> Estimate:
        """Return incremental sales per incremental cost (iROAS) with its Fieller set.

        A cost that is 0 before the start and among controls is known: then the set is that of
        a fixed cost. The lower limit of a one-sided 90 % statement is that of ``level=0.8``.
        """
        return self.effect.ratio(sales, cost, name=f"{sales} per {cost}", level=level)

    def profit(self, sales: str, cost: str, *, margin: float, level: float = 0.95) -> Estimate:
        """Return margin x incremental sales - incremental cost."""
        return self.combined({sales: margin, cost: -1.0}, name="profit", level=level)

    def break_even_margin(self, sales: str, cost: str, *, level: float = 0.95) -> Estimate:
        """Return the margin at which incremental profit is 0, with its Fieller set.

        Its p-value is that of the cost, which says nothing about the profit.
        """
        return self.effect.ratio(cost, sales, name="break-even margin", level=level)

    def combined(
        self, terms: Mapping[str, float], *, name: str, level: float = 0.95
    ) -> Estimate:
        """Return a linear combination of the totals."""
        weights = combination(self.effect.names, terms, asked_by=name)
        return self.effect.linear(weights[None, :], [name]).estimate(name, level=level)

    def probability_above(self, terms: Mapping[str, float], threshold: float = 0.0) -> float:
        """Posterior probability, under a flat prior, that a combination exceeds a threshold."""
        from scipy import special

        weights = combination(self.effect.names, terms, asked_by="probability_above")
        joint = self.effect.linear(weights[None, :], ["it"])
        gap, spread = float(joint.value[0]) - threshold, math.sqrt(float(joint.cov[0, 0]))
        if spread == 0:
            return float(gap > 0)
        return float(special.stdtr(joint.df[0], gap / spread))

    def relative(self, name: str) -> float:
        """Effect as a share of the counterfactual; NaN for nothing."""
        i = self.effect.index(name)
        base = float(self.counterfactual[i])
        return float(self.effect.value[i]) / base if base != 0 else float("nan")


def geo_regression(
    panel: Panel,
    *,
    regress_on: Sequence[str | Mapping[str, float]] | None = None,
    until: int | None = None,
    anticipation: int = 0,
) -> GeoRegression:
    """Predict the treated total from control totals before the start, and add up the misses.

    Time-based regression: least squares of the treated total on control totals before the
    start; the cumulative effect has a t posterior under a flat prior. All components share
    the regressors, so that lines add up to profit. It assumes a stable relation with
    independent errors: correlated residuals make the interval too short, and ``note`` says so.

    Args:
        panel: Units are regions, observed in full, with one start; unit weights multiply.
        regress_on: Components or combinations whose control totals predict; may be left out
            for one component.
        until: Position after the last period of the window; by default the end of the panel.
        anticipation: Periods before the start that are left out.

    Returns:
        Totals of all components with joint covariance, and their paths.

    Raises:
        DesignError: No control or treated unit, several starts, an empty window, or fewer than
            two periods more than coefficients before the start.
        DataError: A value is missing, or ``regress_on`` names no component.

    References:
        Kerman, Wang and Vaver (2017), "Estimating ad effectiveness using geo experiments in a
        time-based regression framework", Google, equations 1 to 7.

    Examples:
        >>> from upliftlab.data.panel import NEVER, Panel
        >>> rng = np.random.default_rng(1)
        >>> control = 100 + 10 * rng.normal(size=30)
        >>> sales = np.stack([0.5 * control + rng.normal(size=30), control])
        >>> cost = np.zeros((2, 30))
        >>> sales[0, 20:] += 8
        >>> cost[0, 20:] = 2
        >>> panel = Panel.of_arrays(np.stack([sales, cost], axis=2), [20, NEVER],
        ...                         names=("sales", "cost"))
        >>> found = geo_regression(panel, regress_on=["sales"])
        >>> profit = found.profit("sales", "cost", margin=0.4)
        >>> f"{profit.estimate:.1f} [{profit.ci_low:.1f}, {profit.ci_high:.1f}]"
        '10.9 [7.6, 14.2]'
    """
    start, stop = _window(panel, until, anticipation)
    treated, control = panel.start == start, panel.start - anticipation >= panel.shape[1]
    maps, regressors = _regressors(panel, regress_on)
    y = np.tensordot(panel.weight[treated], panel.y[treated], 1)
    totals = np.tensordot(panel.weight[control], panel.y[control], 1) @ maps
    _check_rows(start - anticipation, 1 + len(regressors))
    before, after = slice(0, start - anticipation), slice(start, stop)
    kept = _independent(totals[before])
    centre = totals[before][:, kept].mean(axis=0)
    design = np.column_stack([np.ones(len(totals)), totals[:, kept] - centre])
    fit = _Fit.of(design[before], y[before])
    missed = y[after] - design[after] @ fit.coefficients
    sums = np.cumsum(design[after], axis=0)
    count = np.arange(1, len(sums) + 1)
    spread = count + np.einsum("tr,rs,ts->t", sums, fit.inverse, sums)
    path = np.cumsum(missed, axis=0)
    coefficients = np.zeros((1 + len(regressors), y.shape[1]))
    coefficients[0] = fit.coefficients[0] - centre @ fit.coefficients[1:]
    coefficients[1:][kept] = fit.coefficients[1:]
    lost = [name for name, keep in zip(regressors, kept, strict=True) if not keep]
    return GeoRegression(
        effect=Joint(
            names=panel.names,
            value=path[-1],
            cov=spread[-1] * fit.residual_cov,
            df=np.full(y.shape[1], float(fit.df)),
        ),
        path=path,
        path_se=np.sqrt(spread[:, None] * np.diag(fit.residual_cov)),
        counterfactual=y[after].sum(axis=0) - path[-1],
        coefficients=coefficients,
        regressors=regressors,
        periods=panel.periods[start:stop],
        autocorrelation=fit.autocorrelation,
        note=_note(panel.names, fit, lost),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    """Least squares of several columns on one design."""

    coefficients: Floats
    inverse: Floats
    residual_cov: Floats
    autocorrelation: Floats
    rows: int
    df: int

    @classmethod
    def of(cls, design: Floats, y: Floats) -> _Fit:
        rows, width = design.shape
        df = rows - width
        q, r = np.linalg.qr(design)
        coefficients = np.linalg.solve(r, q.T @ y)
        residuals = y - design @ coefficients
        # What least squares leaves of a column it fits perfectly is rounding.
        size = np.abs(y).max(axis=0)
        residuals[:, np.abs(residuals).max(axis=0) <= 1e-12 * rows * size] = 0.0
        square = (residuals * residuals).sum(axis=0)
        lagged = (residuals[1:] * residuals[:-1]).sum(axis=0)
        back = np.linalg.inv(r)
        return cls(
            coefficients=coefficients,
            inverse=back @ back.T,
            residual_cov=residuals.T @ residuals / df,
            autocorrelation=np.divide(
                lagged, square, out=np.full(len(square), np.nan), where=square > 0
            ),
            rows=rows,
            df=df,
        )


def _check_rows(rows: int, width: int) -> None:
    if rows < width + 2:
        raise DesignError(
            f"geo_regression found {max(0, rows)} periods before the start for {width} "
            f"coefficients; it needs {width + 2} or more."
        )


def _window(panel: Panel, until: int | None, anticipation: int) -> tuple[int, int]:
    length = panel.shape[1]
    missing = int((~np.isfinite(panel.y).all(axis=2)).sum())
    if missing:
        raise DataError(
            f"geo_regression found {missing} unit-periods without a value; write 0 where a "
            "region sold nothing, and leave out regions that were not observed throughout."
        )
    starts = np.unique(panel.start[panel.start < length])
    if anticipation < 0:
        raise DesignError(
            f"geo_regression has anticipation {anticipation}; write 0 or more periods."
        )
    if len(starts) != 1:
        raise DesignError(
            f"geo_regression needs one start for all treated units; it found {len(starts)}."
        )
    if not (panel.start - anticipation >= length).any():
        raise DesignError("geo_regression found no control unit: all are treated in the panel.")
    start = int(starts[0])
    stop = length if until is None else until
    if not start < stop <= length:
        raise DesignError(
            f"geo_regression has until {until}; with the start at {start} it can be "
            f"{start + 1} to {length}."
        )
    return start, stop


def _regressors(
    panel: Panel, regress_on: Sequence[str | Mapping[str, float]] | None
) -> tuple[Floats, tuple[str, ...]]:
    if regress_on is None:
        if len(panel.names) > 1:
            raise DesignError(
                f"geo_regression predicts components {list(panel.names)} with the same "
                f"regressors; say which, such as regress_on=[{panel.names[0]!r}]."
            )
        regress_on = panel.names
    wanted = [regress_on] if isinstance(regress_on, str) else list(regress_on)
    maps = [combination(panel.names, each, asked_by="geo_regression") for each in wanted]
    words = tuple(
        each
        if isinstance(each, str)
        else " ".join(f"{factor:+g} {name}" for name, factor in each.items())
        for each in wanted
    )
    return np.stack(maps, axis=1), words


def _independent(before: Floats) -> NDArray[np.bool_]:
    """Regressors that neither are constant nor repeat earlier ones."""
    kept = np.zeros(before.shape[1], dtype=bool)
    basis = np.ones((len(before), 1)) / math.sqrt(len(before))
    for i, column in enumerate(before.T):
        rest = column - basis @ (basis.T @ column)
        rest -= basis @ (basis.T @ rest)
        size = float(np.linalg.norm(rest))
        if size > _RANK * float(np.linalg.norm(column)):
            kept[i] = True
            basis = np.column_stack([basis, rest / size])
    return kept


def _note(names: tuple[str, ...], fit: _Fit, lost: list[str]) -> str:
    notes = []
    if lost:
        notes.append(f"{', '.join(lost)}: constant or redundant among controls, left out")
    bound = 2 / math.sqrt(fit.rows)
    linked = [
        f"{name} {r:+.2f}"
        for name, r in zip(names, fit.autocorrelation, strict=True)
        if abs(r) > bound
    ]
    if linked:
        notes.append(
            f"residuals are correlated in time ({', '.join(linked)}): intervals assume they "
            "are not"
        )
    return "; ".join(notes)
