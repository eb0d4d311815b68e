"""Group-time effects of a plain table, for a notebook."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.panel_frame import panel_of_frame
from upliftlab.errors import DesignError
from upliftlab.panels.adjusted import AdjustedEffects, adjusted
from upliftlab.panels.adjusted_averages import adjusted_average
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.group_time import group_time
from upliftlab.stats.estimate import critical_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upliftlab.panels.adjusted import Method
    from upliftlab.panels.aggregates import Kind
    from upliftlab.panels.forms import Inference
    from upliftlab.panels.group_time import Base, Control, GroupTime
    from upliftlab.stats.joint import Joint


SINGLE = ("simple", "total", "anticipation", "everything")
"""Averages that are one number."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DiD:
    """Effects of a roll-out on every outcome of a table.

    Attributes:
        effects: ATT(g, t) with everything needed to average them; adjusted for covariates
            where there are any.
        inference: "small_sample" or "analytic", see ``Forms.joint``.
        level: Confidence level.
    """

    effects: GroupTime | AdjustedEffects
    inference: Inference = "small_sample"
    level: float = 0.95

    def average(self, kind: Kind = "simple") -> Joint:
        """Overall effect of every outcome."""
        if isinstance(self.effects, AdjustedEffects):
            return adjusted_average(self.effects, kind, inference=self.inference).overall
        return aggregate(self.effects, kind).joint(inference=self.inference)

    def to_pandas(self, kind: str = "group_time") -> Any:  # noqa: ANN401 - a data frame
        """One row per outcome and cell, horizon, cohort or period, with intervals.

        Args:
            kind: "group_time", "simple", "group", "dynamic", "calendar", "total",
                "anticipation" or "everything". The interval of each row is its own, ``band``
                holds for all rows of an outcome at once.
        """
        import pandas as pd

        effects = self.effects
        names = effects.names if isinstance(effects, AdjustedEffects) else effects.moments.names
        if kind == "group_time":
            joint = self._cells()
            keys = [effects.label(c) for c in range(len(effects.cells))]
        elif kind in SINGLE:
            joint, keys = self.average(kind), [kind]  # type: ignore[arg-type]
        else:
            joint = self._parts(kind)
            keys = [name.rpartition("|")[2] for name in joint.names[:: len(names)]]
        return pd.concat(
            [_rows(joint, k, name, keys, self.level) for k, name in enumerate(names)],
            ignore_index=True,
        )

    def _cells(self) -> Joint:
        if isinstance(self.effects, AdjustedEffects):
            return self.effects.joint(inference=self.inference)
        return self.effects.forms.joint(self.effects.moments, inference=self.inference)

    def _parts(self, kind: str) -> Joint:
        if isinstance(self.effects, AdjustedEffects):
            return adjusted_average(self.effects, kind, inference=self.inference).parts  # type: ignore[arg-type]
        return aggregate(self.effects, kind).parts_joint(inference=self.inference)  # type: ignore[arg-type]

    def _repr_html_(self) -> str:
        """Show the overall effects in a notebook."""
        html: str = self.to_pandas("simple").to_html(index=False, float_format="%.4g")
        return html


def did(
    frame: Any,  # noqa: ANN401 - pandas
    outcomes: str | Sequence[str],
    *,
    unit: str,
    period: str,
    start: str,
    cluster: str | None = None,
    weight: str | None = None,
    covariates: str | Sequence[str] = (),
    method: Method = "dr",
    control: Control = "not_yet",
    base: Base = "universal",
    anticipation: int = 0,
    inference: Inference = "small_sample",
    level: float = 0.95,
) -> DiD:
    """Estimate what a staggered roll-out did, all outcomes at once.

    Args:
        frame: Long pandas frame, one row per unit and period.
        outcomes: One or more numeric columns.
        unit: Column of ids.
        period: Column of periods, numbers or dates at equal distances.
        start: Column of the first treated period; missing, 0 or infinite means never.
        cluster: Column of clusters that switched together.
        weight: Column of unit weights.
        covariates: Numeric columns known before treatment; units are compared with controls
            like them. The value of a unit's first row counts.
        method: How covariates make controls comparable: "dr" (doubly robust), "ipw" or
            "reg"; of no matter without covariates.
        control: "not_yet" or "never" treated.
        base: "universal" or "varying".
        anticipation: Periods before the start that are neither before nor after.
        inference: "small_sample" (CR2, t), or "analytic" as R's did.
        level: Confidence level.

    Raises:
        DataError: When the table is no panel.
        DesignError: When nobody can be compared, units have gaps and there are no covariates,
            or a word is unknown.

    References:
        Callaway and Sant'Anna (2021), *Journal of Econometrics* 225(2).

    Examples:
        >>> import pandas as pd
        >>> rows = pd.DataFrame({"shop": [1, 1, 2, 2, 3, 3, 4, 4], "week": [1, 2] * 4,
        ...                      "cohort": [2] * 4 + [0] * 4,
        ...                      "profit": [1.0, 4, 3, 6, 2, 3, 4, 5]})
        >>> found = did(rows, "profit", unit="shop", period="week", start="cohort")
        >>> found.average().value
        array([2.])
    """
    if not 0 < level < 1:
        raise DesignError(f"level is {level:g}; it is a share, such as 0.95.")
    named = (covariates,) if isinstance(covariates, str) else tuple(covariates)
    panel = panel_of_frame(
        frame,
        outcomes,
        unit=unit,
        period=period,
        start=start,
        cluster=cluster,
        weight=weight,
        covariates=named,
        announced=anticipation,
    )
    effects: GroupTime | AdjustedEffects
    if named:
        effects = adjusted(
            panel, method=method, control=control, base=base, anticipation=anticipation
        )
    else:
        effects = group_time(panel, control=control, base=base, anticipation=anticipation)
    return DiD(effects=effects, inference=inference, level=level)


def _rows(joint: Joint, k: int, name: str, keys: Sequence[str], level: float) -> Any:  # noqa: ANN401
    import pandas as pd

    width = len(joint.value) // len(keys)
    at = np.arange(len(keys)) * width + k
    own = replace(
        joint,
        names=tuple(keys),
        value=joint.value[at],
        cov=joint.cov[np.ix_(at, at)],
        df=joint.df[at],
    )
    var = np.diag(own.cov)
    se = np.sqrt(np.where(var > 0, var, np.nan))
    reach = np.array([critical_value(df=float(df), level=level) for df in own.df]) * se
    several = len(keys) > 1 and bool((var > 0).any())
    band = own.max_t(level=level) * se if several else reach
    return pd.DataFrame(
        {
            "outcome": name,
            "key": list(keys),
            "effect": own.value,
            "std_error": se,
            "ci_low": own.value - reach,
            "ci_high": own.value + reach,
            "band_low": own.value - band,
            "band_high": own.value + band,
            "df": own.df,
        }
    )
