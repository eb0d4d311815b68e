"""Which units teach and which judge, and what is each of them worth?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DataError
from upliftlab.plan.floors import split_label
from upliftlab.targeting.boosting import bin_features
from upliftlab.targeting.features import fit_encoding
from upliftlab.targeting.folds import halves
from upliftlab.targeting.lessons import lesson
from upliftlab.targeting.price_sheet import used
from upliftlab.targeting.scores import component_scores
from upliftlab.targeting.taught import Material

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from upliftlab.checks import Check
    from upliftlab.data.score_table import ScoreTable
    from upliftlab.targeting.asked import Ask
    from upliftlab.targeting.features import Encoding
    from upliftlab.targeting.price_sheet import Prices, PriceSheet
    from upliftlab.targeting.scores import Scores, Worth

    Floats = NDArray[np.float64]
    Matrix = NDArray[np.float32]

FEW_VALUES = 10
"""Values of a number up to which each is a group of its own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Half:
    """One half: its units, its scores, and the scores priced.

    Attributes:
        table: Its units as they were read.
        material: What rules are learned from or valued on.
        gmv: GMV per unit and arm; None where no GMV was measured.
        checks: Facts about assignment and columns.
        scores: Of every component, where a book keeps them.
    """

    table: ScoreTable
    material: Material
    gmv: Worth | None
    checks: tuple[Check, ...]
    scores: Scores | None = None

    def __len__(self) -> int:
        """How many units."""
        return len(self.table.arm)

    @property
    def outcome(self) -> Floats:
        """Profit that each unit brought in its own arm, shape (n,)."""
        return self.material.lessons.target


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreBook:
    """Component scores that were made once, by all that they were made of.

    Scores are linear in the components, so that other prices need no other scores. Hand one
    book to several calls of :func:`upliftlab.analysis.run` with other ``economics``: rules are
    learned anew, nuisances and scores are not. With a book every measured component is scored,
    and it keeps 4 bytes per unit, arm and component.

    Examples:
        >>> book = ScoreBook()
        >>> len(book)
        0
    """

    known: dict[bytes, Scores] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many sets of scores it holds."""
        return len(self.known)

    def of(self, key: bytes, make: Callable[[], Scores]) -> Scores:
        """Return the scores of a key; make them where there are none yet."""
        if key not in self.known:
            self.known[key] = make()
        return self.known[key]


def split(
    table: ScoreTable,
    ask: Ask,
    sheet: PriceSheet,
    *,
    is_checked: bool = True,
    book: ScoreBook | None = None,
) -> tuple[Half, Half, Encoding]:
    """Cut units in two halves, whole clusters, alike in arms and strata, and score each.

    Nuisances of a half are cross-fitted within it, so nothing of the valuing half reaches a
    rule and nothing of a rule reaches the scores that value it.

    Args:
        table: All units.
        ask: What the plan asks.
        sheet: Prices, over the table's components.
        is_checked: Whether to look for leaks in each half.
        book: Where scores are looked up, and kept for other prices.

    Returns:
        Learning half, valuing half, and the encoding of the columns that rules may use.
    """
    encoding = fit_encoding(table.features, worded=table.worded)
    learns = halves(table.arm, seed=ask.seed, cluster=table.cluster, stratum=table.stratum)
    first, second = (
        _half(table.take(rows), ask, sheet, encoding, is_checked=is_checked, book=book)
        for rows in (learns, ~learns)
    )
    return first, second, encoding


def chances_of(table: ScoreTable, ask: Ask) -> Matrix | tuple[float, ...] | None:
    """Return chances of arms: by unit where the data hold them, else the plan's, or None."""
    return ask.shares if table.propensity is None else table.propensity


def levels_of(table: ScoreTable, columns: Iterable[str]) -> dict[str, NDArray[np.str_]]:
    """Return columns as texts, for groups that are compared.

    Numbers and dates of more than a few values are cut at their quarters.
    """
    found = {}
    for name in columns:
        raw = table.features[name] if name in table.features else table.beside[name]
        if not isinstance(raw, np.ndarray):
            levels = np.array(
                [*(_text(each) for each in raw.dictionary.to_pylist()), "missing"]
            )
            code = raw.indices.fill_null(len(levels) - 1).to_numpy(zero_copy_only=False)
            found[name] = levels[code]
            continue
        gap = np.isnat(raw) if raw.dtype.kind == "M" else np.isnan(raw)
        known = np.unique(raw[~gap])
        texts = np.full(len(raw), "missing", dtype=object)
        texts[~gap] = (
            _quarters(raw[~gap])
            if len(known) > FEW_VALUES
            else np.array([_text(each) for each in known])[np.searchsorted(known, raw[~gap])]
        )
        found[name] = texts.astype(str)
    return found


def segments_of(table: ScoreTable, ask: Ask) -> dict[str, NDArray[np.bool_]]:
    """Say who belongs to each segment that has a floor, shape (n,).

    Raises:
        DataError: When the data do not hold a level, with those that they hold.
    """
    labels = dict.fromkeys(floor.segment for floor in ask.floors)
    levels = levels_of(table, dict.fromkeys(split_label(label)[0] for label in labels))
    found = {}
    for label in labels:
        column, level = split_label(label)
        have = sorted(set(levels[column].tolist()))
        wanted = level if level in have else _FLAGS.get(level, level)
        if wanted not in have:
            raise DataError(
                f"target.at_least_in names {label!r}, and {column!r} has {have[:10]}. Write "
                "one of these."
            )
        found[label] = levels[column] == wanted
    return found


_FLAGS = {"yes": "1", "no": "0", "true": "1", "false": "0"}
"""Words for yes and no -> how a column of numbers holds them."""


def _quarters(values: NDArray[Any]) -> NDArray[np.str_]:
    """Say between which quartiles each number or date lies."""
    whole = values.astype(np.float64)
    edges = np.unique(np.quantile(whole, (0, 0.25, 0.5, 0.75, 1), method="lower"))
    at = np.clip(np.searchsorted(edges[1:], whole, side="left"), 0, len(edges) - 2)
    shown = [_text(each) for each in edges.astype(values.dtype)]
    first = [f"{shown[0]} to {shown[1]}"]
    rest = [f"above {low}, up to {high}" for low, high in pairwise(shown[1:])]
    return np.array([*first, *rest])[at]


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _half(
    table: ScoreTable,
    ask: Ask,
    sheet: PriceSheet,
    encoding: Encoding,
    *,
    is_checked: bool,
    book: ScoreBook | None,
) -> Half:
    keep = list(used(sheet) + tuple(_counted(sheet, ask)))
    if book is not None:
        keep = list(range(len(sheet.names)))
    x, known = encoding.matrix(table.features), chances_of(table, ask)
    bins = bin_features(x)

    def scored() -> Scores:
        return component_scores(
            x,
            table.y[:, keep],
            table.arm,
            known,
            arms=table.arms,
            components=[sheet.names[k] for k in keep],
            names=encoding.names,
            cluster=table.cluster,
            stratum=table.stratum,
            prices=sheet.grown_for.rates[:, keep],
            bins=bins,
            is_checked=is_checked,
            seed=ask.seed,
        )

    scores = (
        scored() if book is None else book.of(_key(table, x, ask, sheet, is_checked), scored)
    )
    material = Material(
        x=x,
        bins=bins,
        profit=_priced(scores, sheet.profit, keep),
        cost=_priced(scores, sheet.cost, keep),
        counts={name: _priced(scores, sheet.counts[name], keep) for name in ask.counted},
        segments=segments_of(table, ask),
        lessons=lesson(
            x,
            sheet.profit.of(table.y, table.arm),
            table.arm,
            arms=table.arms,
            propensity=known,
            cluster=table.cluster,
            stratum=table.stratum,
            names=encoding.names,
        ),
    )
    gmv = None if sheet.gmv is None else _priced(scores, sheet.gmv, keep)
    return Half(
        table=table,
        material=material,
        gmv=gmv,
        checks=scores.checks,
        scores=None if book is None else scores,
    )


def _key(
    table: ScoreTable,
    x: Matrix,
    ask: Ask,
    sheet: PriceSheet,
    is_checked: bool,  # noqa: FBT001
) -> bytes:
    """All that scores are made of, in a few bytes: units, columns, chances, trees and seed."""
    made = hashlib.blake2b(
        repr((sheet.names, table.arms, ask.shares, ask.seed, is_checked)).encode()
    )
    parts = (x, table.y, table.arm, table.cluster, table.stratum, table.propensity)
    for part in (*parts, sheet.grown_for.rates):
        made.update(b"-" if part is None else np.ascontiguousarray(part).data)
    return made.digest()


def _counted(sheet: PriceSheet, ask: Ask) -> list[int]:
    """Positions of counts that the plan sets a floor for and no price touches."""
    priced = set(used(sheet))
    return [k for k, name in enumerate(sheet.names) if name in ask.counted and k not in priced]


def _priced(scores: Scores, prices: Prices, keep: list[int]) -> Worth:
    return scores.worth(prices.rates[:, keep], prices.constant)
