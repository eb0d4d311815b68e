"""Which small tree earns most? Exact search over binned columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.targeting.rules import LEAF, ConstantRule, Nodes, TreeRule

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Codes = NDArray[np.uint8]

BINS = 32
LEAST_SHARE = 0.01
LOOKED_INTO = 12
"""First splits whose both sides are searched exactly, where depth is three."""

_TINY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cut:
    """Columns in bins: code c means that c of the edges lie below; NaN is above all.

    Attributes:
        codes: Shape (P, n).
        edges: Per column, values that may be thresholds.
    """

    codes: Codes
    edges: tuple[Floats, ...]


@dataclass(frozen=True, slots=True)
class _Branch:
    """A subtree: an arm, or a split with what lies left and right."""

    earned: float
    arm: int = -1
    column: int = LEAF
    bin: int = 0
    sides: tuple[_Branch, _Branch] | None = None


def fit_tree(
    x: ArrayLike, worth: ArrayLike, *, depth: int = 2, least: float = LEAST_SHARE
) -> TreeRule | ConstantRule:
    """Find the tree of at most this depth whose ends' best arms add up to most.

    Every column is cut at up to 31 of its quantiles; among trees on these cuts depth one and
    two are searched exactly from two-way histograms, whatever the number of units. At depth
    three both sides of the most promising first splits are searched exactly. Of equal trees
    the smaller is taken.

    Args:
        x: Columns a rule may use, shape (n, P); a missing number never goes left.
        worth: Score of each unit under each arm, shape (n, A), control first.
        depth: 0 to 3.
        least: Smallest share of units in an end.

    References:
        Zhou, Athey and Wager (2023), *Operations Research* 71(1), section 4 (exact search);
        Athey and Wager (2021), *Econometrica* 89(1).

    Examples:
        >>> x = np.array([[1.0], [2.0], [3.0], [4.0]])
        >>> worth = np.array([[0.0, -1.0], [0.0, -1.0], [0.0, 2.0], [0.0, 2.0]])
        >>> fit_tree(x, worth, depth=1).arms_of(x.astype(np.float32)).tolist()
        [0, 0, 1, 1]
    """
    rows, money = np.asarray(x, dtype=np.float32), np.asarray(worth)
    if rows.ndim != 2 or money.ndim != 2 or len(rows) != len(money) or len(rows) == 0:
        raise UpliftlabError(
            f"fit_tree got columns of shape {rows.shape} and worth of shape {money.shape}; "
            "give (n, P) and (n, A) with the same n above 0."
        )
    if not 0 <= depth <= 3:
        raise UpliftlabError(f"fit_tree got depth {depth}; it searches 0, 1, 2 or 3.")
    cut = _cut(rows)
    fewest = max(1, round(least * len(rows)))
    found = _grown(cut, money, np.arange(len(rows)), depth, fewest)
    if found.sides is None:
        return ConstantRule(arm=found.arm)
    return TreeRule(nodes=_plain(found, cut))


def _cut(x: NDArray[np.float32]) -> _Cut:
    codes = np.empty((x.shape[1], len(x)), dtype=np.uint8)
    edges = []
    for j in range(x.shape[1]):
        column = x[:, j]
        known = column[~np.isnan(column)]
        values = (
            np.unique(known)
            if len(known) <= 100_000
            else np.unique(known[:: len(known) // 100_000])
        )
        if len(values) > BINS:
            values = np.unique(
                np.quantile(known, np.linspace(0, 1, BINS + 1)[1:], method="lower")
            )
        # The greatest value splits nothing off unless some are missing.
        inner = values if len(known) < len(column) else values[:-1]
        edges.append(inner.astype(np.float64))
        codes[j] = np.searchsorted(inner, column, side="left")
        codes[j][np.isnan(column)] = len(inner)
    return _Cut(codes=codes, edges=tuple(edges))


def _grown(
    cut: _Cut, worth: NDArray[Any], rows: NDArray[np.intp], depth: int, fewest: int
) -> _Branch:
    """The best subtree of these rows."""
    sums = worth[rows].sum(axis=0, dtype=np.float64)
    alone = _Branch(float(sums.max()), arm=int(sums.argmax()))
    if depth == 0 or len(rows) < 2 * fewest:
        return alone
    if depth >= 3:
        return _simpler(alone, _looked_into(cut, worth, rows, depth, fewest))
    codes, money = cut.codes[:, rows], _columns(worth, rows)
    if depth == 1:
        return _simpler(alone, *_stumps(codes, money, fewest))
    return _simpler(alone, _two_deep(codes, money, fewest))


def _simpler(first: _Branch, *others: _Branch) -> _Branch:
    """The one that earns most; the first of those that earn the same."""
    best = first
    for each in others:
        if each.earned > best.earned + _TINY * max(1.0, abs(best.earned)):
            best = each
    return best


def _stumps(codes: Codes, money: list[Floats], fewest: int) -> list[_Branch]:
    """The best single split of every column."""
    found = []
    for j in range(len(codes)):
        bins = int(codes[j].max()) + 1
        if bins < 2:
            continue
        count = np.cumsum(np.bincount(codes[j], minlength=bins))[:-1]
        left = np.stack(
            [np.cumsum(np.bincount(codes[j], weights=w, minlength=bins)) for w in money], axis=1
        )
        right = left[-1] - left[:-1]
        left = left[:-1]
        earned = left.max(axis=1) + right.max(axis=1)
        earned[(count < fewest) | (codes.shape[1] - count < fewest)] = -np.inf
        b = int(np.argmax(earned))
        if np.isfinite(earned[b]):
            found.append(_split(float(earned[b]), j, b, _end(left[b]), _end(right[b])))
    return found


def _end(sums: Floats) -> _Branch:
    return _Branch(float(sums.max()), arm=int(sums.argmax()))


def _split(earned: float, column: int, at: int, left: _Branch, right: _Branch) -> _Branch:
    return _Branch(earned, column=column, bin=at, sides=(left, right))


def _two_deep(codes: Codes, money: list[Floats], fewest: int) -> _Branch:
    """The best tree of depth two: every first split with the best split of either side."""
    columns = len(codes)
    bins = [int(code.max()) + 1 for code in codes]
    best = [[_Sides.of(bins[i] - 1) for i in range(columns)] for _ in range(2)]
    for i in range(columns):
        for j in range(i, columns):
            table = _two_way(codes, money, (i, j), (bins[i], bins[j]))
            for first, second, found in ((i, j, table), (j, i, table.transpose(1, 0, 2))):
                for side in range(2):
                    best[side][first].better(found, second, fewest, side)
                if i == j:
                    break
    top, at = -np.inf, (0, 0)
    for i in range(columns):
        both = best[0][i].earned + best[1][i].earned
        for b in np.flatnonzero(both > top + _TINY):
            if both[b] > top + _TINY:
                top, at = float(both[b]), (i, int(b))
    if not np.isfinite(top):
        return _Branch(-np.inf)
    sides = (best[0][at[0]].branch(at[1]), best[1][at[0]].branch(at[1]))
    return _split(top, *at, *sides)


def _two_way(
    codes: Codes, money: list[Floats], pair: tuple[int, int], bins: tuple[int, int]
) -> Floats:
    """Sums of worth by arm, and last the count, cumulated over both columns' bins."""
    i, j = pair
    both = codes[i].astype(np.intp) * bins[1] + codes[j]
    size = bins[0] * bins[1]
    sums = [np.bincount(both, weights=w, minlength=size) for w in money]
    sums.append(np.bincount(both, minlength=size).astype(np.float64))
    table = np.stack(sums, axis=1).reshape(bins[0], bins[1], -1)
    cumulated: Floats = table.cumsum(axis=0).cumsum(axis=1)
    return cumulated


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sides:
    """For each first split on one column, the best split of one of its sides.

    Attributes:
        earned: Shape (B,); minus infinity where the side is too small.
        column: Of the second split; ``LEAF`` where the side is better left whole.
        bin: Of the second split.
        arms: Of its ends; where there is none the first is the arm of the whole side, (B, 2).
    """

    earned: Floats
    column: NDArray[np.intp]
    bin: NDArray[np.intp]
    arms: NDArray[np.intp]

    @classmethod
    def of(cls, splits: int) -> _Sides:
        """Nothing looked at yet."""
        return cls(
            earned=np.full(splits, -np.inf),
            column=np.full(splits, LEAF, dtype=np.intp),
            bin=np.zeros(splits, dtype=np.intp),
            arms=np.zeros((splits, 2), dtype=np.intp),
        )

    def better(self, table: Floats, column: int, fewest: int, side: int) -> None:
        """Better each first split's side, left (0) or right (1), by a split on this column."""
        inside = table[:-1] if side == 0 else table[-1:] - table[:-1]
        left, whole = inside[:, :-1], inside[:, -1]
        fresh = np.flatnonzero(np.isinf(self.earned) & (whole[:, -1] >= fewest))
        self.earned[fresh] = whole[fresh, :-1].max(axis=1)
        self.arms[fresh, 0] = whole[fresh, :-1].argmax(axis=1)
        if not left.shape[1]:
            return
        right = whole[:, None] - left
        earned = _most(left) + _most(right)
        earned[(left[:, :, -1] < fewest) | (right[:, :, -1] < fewest)] = -np.inf
        at = earned.argmax(axis=1)
        most = earned[np.arange(len(at)), at]
        known = np.flatnonzero(np.isfinite(self.earned) & np.isfinite(most))
        least = self.earned[known] + _TINY * np.maximum(1.0, np.abs(self.earned[known]))
        rows = known[most[known] > least]
        self.earned[rows], self.column[rows], self.bin[rows] = most[rows], column, at[rows]
        self.arms[rows, 0] = left[rows, at[rows], :-1].argmax(axis=1)
        self.arms[rows, 1] = right[rows, at[rows], :-1].argmax(axis=1)

    def branch(self, b: int) -> _Branch:
        """The best subtree of one first split's side; what its ends earn is not needed."""
        first, second = (_Branch(np.nan, arm=int(arm)) for arm in self.arms[b])
        if self.column[b] == LEAF:
            return first
        return _split(
            float(self.earned[b]), int(self.column[b]), int(self.bin[b]), first, second
        )


def _most(table: Floats) -> Floats:
    """What the best arm earns: its sums stand before the count."""
    best = table[..., 0]
    for a in range(1, table.shape[-1] - 1):
        best = np.maximum(best, table[..., a])
    return best


def _looked_into(
    cut: _Cut, worth: NDArray[Any], rows: NDArray[np.intp], depth: int, fewest: int
) -> _Branch:
    """Grow both sides of the most promising first splits exactly."""
    codes, money = cut.codes[:, rows], _columns(worth, rows)
    start = _two_deep(codes, money, fewest)
    promising = sorted(_stumps(codes, money, fewest), key=lambda stump: -stump.earned)
    firsts = {(stump.column, stump.bin) for stump in promising[:LOOKED_INTO]}
    if start.sides is not None:
        firsts.add((start.column, start.bin))
    found = [start]
    for column, at in sorted(firsts):
        goes = codes[column] <= at
        sides = (
            _grown(cut, worth, rows[goes], depth - 1, fewest),
            _grown(cut, worth, rows[~goes], depth - 1, fewest),
        )
        found.append(_split(sides[0].earned + sides[1].earned, column, at, *sides))
    return _simpler(*found)


def _columns(worth: NDArray[Any], rows: NDArray[np.intp]) -> list[Floats]:
    return [np.ascontiguousarray(column[rows], dtype=np.float64) for column in worth.T]


def _plain(root: _Branch, cut: _Cut) -> Nodes:
    """Write the tree as columns; splits whose ends agree are taken out."""
    rows: list[list[Any]] = []

    def add(branch: _Branch) -> int:
        at = len(rows)
        arm = _only_arm(branch)
        if arm is not None or branch.sides is None:
            rows.append([LEAF, 0.0, False, at, at, float(branch.arm if arm is None else arm)])
            return at
        threshold = float(cut.edges[branch.column][branch.bin])
        rows.append([branch.column, threshold, False, at, at, 0.0])
        rows[at][3] = add(branch.sides[0])
        rows[at][4] = add(branch.sides[1])
        return at

    add(root)
    feature, threshold, nan_left, left, right, value = (
        tuple(c) for c in zip(*rows, strict=True)
    )
    return Nodes(
        feature=feature, threshold=threshold, nan_left=nan_left, left=left, right=right,
        value=value,
    )  # fmt: skip


def _only_arm(branch: _Branch) -> int | None:
    if branch.sides is None:
        return branch.arm
    left, right = (_only_arm(side) for side in branch.sides)
    return left if left == right else None
