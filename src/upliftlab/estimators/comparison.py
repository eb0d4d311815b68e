"""How do comparisons of a plain table look: as rows, as a frame, in a notebook?"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from upliftlab.estimators.metrics import MetricEffect
    from upliftlab.stats.estimate import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown(ABC):
    """A result with its frame and its display.

    Attributes:
        control: The arm compared with.
        n: Units per arm.
        level: Confidence level asked for.
        method: How the effects were estimated, in reader's words.
        dropped: Rows left out for missing values, per arm; empty when none were.
        note: What a reader must know; empty when nothing.
    """

    control: str
    n: Mapping[str, int]
    level: float
    method: str
    dropped: Mapping[str, int] = field(default_factory=dict)
    note: str = ""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Plain values, one flat record per row."""

    def to_pandas(self) -> pd.DataFrame:
        """One row per record, numbers as numbers."""
        import pandas as pd

        return pd.DataFrame(self.records())

    def __str__(self) -> str:
        """A table in plain text."""
        head, *body = self._printed()
        rows = [head, *body]
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *self._caption()])

    def _repr_html_(self) -> str:
        head, *body = self._printed()
        top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in body
        )
        notes = "".join(f"<p>{escape(line)}</p>" for line in self._caption())
        return f"<table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>{notes}"

    @abstractmethod
    def _printed(self) -> list[list[str]]:
        """Head and body of the printed table."""

    def _caption(self) -> list[str]:
        return self._facts_in_words()

    def _facts_in_words(self) -> list[str]:
        sizes = ", ".join(f"{arm}: {units:,}" for arm, units in self.n.items())
        lines = [f"control: {self.control}; units: {sizes}", self.method]
        if self.dropped:
            parts = ", ".join(f"{arm}: {rows:,}" for arm, rows in self.dropped.items())
            lines.append(f"rows left out for missing values: {parts}")
        return [*lines, *([self.note] if self.note else [])]

    def _facts(self) -> dict[str, Any]:
        return {
            "control": self.control,
            "n": dict(self.n),
            "level": self.level,
            "method": self.method,
            "dropped": dict(self.dropped),
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Shown):
    """How metrics moved in every arm.

    Attributes:
        rows: One per metric and treatment.
        variance_kept: Share of variance left after adjustment, per column; empty without.
    """

    rows: tuple[MetricEffect, ...]
    variance_kept: Mapping[str, float] = field(default_factory=dict)

    def row(self, metric: str = "", arm: str = "") -> MetricEffect:
        """Return the first row of a metric and an arm."""
        return next(
            row for row in self.rows if metric in {"", row.metric} and arm in {"", row.arm}
        )

    def records(self) -> list[dict[str, Any]]:
        """One flat record per metric and treatment."""
        return [_record(row) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "variance_kept": dict(self.variance_kept),
            **self._facts(),
        }

    def _printed(self) -> list[list[str]]:
        return _grid(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEffect:
    """How a metric moved in one level of a segment.

    Attributes:
        segment: Its level.
        n: Units in it, over all arms.
        share: Share of all units.
        found: The effect.
    """

    segment: str
    n: int
    share: float
    found: MetricEffect


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """A test that the effect is the same in all segments.

    Attributes:
        arm: The treatment.
        statistic: F statistic; NaN where there is no test.
        df_between: Segments minus one.
        df_within: Degrees of freedom of the variances.
        p_value: Its p-value.
        note: Why there is no test; empty when there is one.
    """

    arm: str
    statistic: float
    df_between: float
    df_within: float
    p_value: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentComparison(Shown):
    """How a metric moved in every segment, and whether segments differ.

    Attributes:
        rows: One per level and treatment.
        interactions: One per treatment.
        column: What makes the segments.
    """

    rows: tuple[SegmentEffect, ...]
    interactions: tuple[Interaction, ...]
    column: str

    def row(self, segment: str, arm: str = "") -> MetricEffect:
        """Return the effect in one level."""
        return next(
            row.found
            for row in self.rows
            if row.segment == segment and arm in {"", row.found.arm}
        )

    def interaction(self, arm: str = "") -> Interaction:
        """Return the interaction test of one treatment."""
        return next(test for test in self.interactions if arm in {"", test.arm})

    def records(self) -> list[dict[str, Any]]:
        """One flat record per level and treatment, with the interaction's p-value."""
        p = {test.arm: test.p_value for test in self.interactions}
        return [
            {
                self.column: row.segment,
                "n": row.n,
                "share": row.share,
                **_record(row.found),
                "p_interaction": p[row.found.arm],
            }
            for row in self.rows
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "column": self.column,
            "rows": [
                {"segment": r.segment, "n": r.n, "share": r.share, **r.found.to_dict()}
                for r in self.rows
            ],
            "interactions": [
                {
                    "arm": test.arm,
                    "statistic": _plain(test.statistic),
                    "df_between": _plain(test.df_between),
                    "df_within": _plain(test.df_within),
                    "p_value": _plain(test.p_value),
                    "note": test.note,
                }
                for test in self.interactions
            ],
            **self._facts(),
        }

    def _printed(self) -> list[list[str]]:
        head, *body = _grid([row.found for row in self.rows])
        named = [[row.segment, *cells] for row, cells in zip(self.rows, body, strict=True)]
        return [[self.column, *head], *named]

    def _caption(self) -> list[str]:
        tests = [
            test.note
            if math.isnan(test.p_value)
            else f"{test.arm}: same effect in all segments, p {_p(test.p_value)}"
            for test in self.interactions
        ]
        return [*tests, *self._facts_in_words()]


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRatio:
    """What one effect is as a multiple of another, in one arm.

    Attributes:
        arm: The treatment.
        numerator: Effect on the numerator, per unit.
        denominator: Effect on the denominator, per unit.
        ratio: Their ratio with its Fieller set; for its shape see ``Estimate``.
    """

    arm: str
    numerator: Estimate
    denominator: Estimate
    ratio: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioComparison(Shown):
    """Ratios of two effects, such as profit per yuan of cost or cost per new customer.

    Attributes:
        rows: One per treatment.
    """

    rows: tuple[EffectRatio, ...]

    def row(self, arm: str = "") -> EffectRatio:
        """Return the row of one arm."""
        return next(row for row in self.rows if arm in {"", row.arm})

    def records(self) -> list[dict[str, Any]]:
        """One flat record per treatment."""
        return [
            {
                "ratio": row.ratio.name,
                "arm": row.arm,
                "numerator": row.numerator.estimate,
                "denominator": row.denominator.estimate,
                **_numbers(row.ratio),
                "note": row.ratio.note,
            }
            for row in self.rows
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "rows": [
                {
                    "arm": row.arm,
                    "numerator": row.numerator.to_dict(),
                    "denominator": row.denominator.to_dict(),
                    "ratio": row.ratio.to_dict(),
                }
                for row in self.rows
            ],
            **self._facts(),
        }

    def _printed(self) -> list[list[str]]:
        head = ["ratio", "arm", "numerator", "denominator", "estimate", "interval"]
        body = [
            [
                row.ratio.name,
                row.arm,
                _number(row.numerator.estimate, sign=True),
                _number(row.denominator.estimate, sign=True),
                _number(row.ratio.estimate),
                _set(row.ratio),
            ]
            for row in self.rows
        ]
        return [head, *body]

    def _caption(self) -> list[str]:
        notes = dict.fromkeys(row.ratio.note for row in self.rows if row.ratio.note)
        rest = self._facts_in_words()
        return [*notes, *rest]


def _record(row: MetricEffect) -> dict[str, Any]:
    effect = row.effect
    out: dict[str, Any] = {
        "metric": row.metric,
        "arm": row.arm,
        "control": row.control,
        "treatment": row.treatment,
        **_numbers(effect),
        "p_adjusted": row.p_adjusted,
        "rel_estimate": effect.rel_estimate,
        "rel_ci_low": effect.rel_ci_low,
        "rel_ci_high": effect.rel_ci_high,
    }
    if row.state:
        out |= {"margin": row.margin, "state": row.state}
    return {**out, "note": effect.note}


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return {
        "estimate": estimate.estimate,
        "std_error": estimate.std_error,
        "ci_low": estimate.ci_low,
        "ci_high": estimate.ci_high,
        "shape": estimate.shape,
        "p_value": estimate.p_value,
        "df": estimate.df,
        "level": estimate.level,
    }


def _grid(rows: Sequence[MetricEffect]) -> list[list[str]]:
    judged = any(row.state for row in rows)
    adjusted = any(not math.isnan(row.p_adjusted) for row in rows)
    head = ["metric", "arm", "control", "treatment", "difference", "interval"]
    head += ["relative", "p", *(["adjusted p"] if adjusted else [])]
    head += ["margin", "state"] if judged else []
    body = []
    for row in rows:
        effect = row.effect
        line = [row.metric, row.arm, _number(row.control), _number(row.treatment)]
        line += [_number(effect.estimate, sign=True), _set(effect), _percent(effect)]
        line += [_p(effect.p_value), *([_p(row.p_adjusted)] if adjusted else [])]
        line += [row.margin, row.state] if judged else []
        body.append(line)
    return [head, *body]


def _set(estimate: Estimate) -> str:
    low, high = _number(estimate.ci_low), _number(estimate.ci_high)
    if estimate.shape == "interval" and not math.isnan(estimate.ci_low):
        return f"[{low}, {high}]"
    if estimate.shape == "outside":
        return f"up to {low}, or from {high}"
    return "any value" if estimate.shape == "everything" else estimate.note or "–"


def _number(value: float, *, sign: bool = False) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:+.4g}" if sign else f"{value:.4g}"


def _percent(estimate: Estimate) -> str:
    if math.isnan(estimate.rel_estimate):
        return "–"
    if math.isnan(estimate.rel_ci_low):
        return f"{estimate.rel_estimate:+.1%}"
    low, high = estimate.rel_ci_low, estimate.rel_ci_high
    return f"{estimate.rel_estimate:+.1%} [{low:+.1%}, {high:+.1%}]"


def _p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
