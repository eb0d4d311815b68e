"""Who gets which arm: rules as plain values that Python and SQL read alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from upliftlab.assignment.hashing import SPACES, digest, edge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from upliftlab.targeting.fast_dr import FastDR

    Matrix = NDArray[np.float32]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]

CONSTANT, TREE, MODEL = "constant", "tree", "model"
LEAF = -1
CHUNK = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """A binary tree as columns, one entry per node; node 0 is the root.

    A unit goes left where ``x[feature] <= threshold``; a missing number goes left where
    ``nan_left``. ``value`` is what an end adds, or the position of its arm.

    Attributes:
        feature: Column of the matrix; -1 at ends.
        threshold: Greatest value that goes left.
        nan_left: Whether a missing number goes left.
        left: Node of the left branch.
        right: Node of the right branch.
        value: At ends.
    """

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    nan_left: tuple[bool, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]

    def ends_of(self, x: Matrix) -> Ints:
        """Return the end that each unit falls into, shape (n,)."""
        return self._read(x, np.arange(len(self.feature), dtype=np.intp))

    def values_of(self, x: Matrix) -> Floats:
        """Return the value at the end that each unit falls into, shape (n,)."""
        return self._read(x, np.array(self.value, dtype=np.float64))

    def _read(self, x: Matrix, said: NDArray[Any]) -> NDArray[Any]:
        """Choose one entry per unit, a few units at a time so that they stay in the cache."""
        out = np.empty(len(x), dtype=said.dtype)
        for begin in range(0, len(x), CHUNK):
            rows = slice(begin, begin + CHUNK)
            out[rows] = self._below(0, x[rows], said)
        return out

    def _below(self, at: int, x: Matrix, said: NDArray[Any]) -> NDArray[Any]:
        if self.feature[at] == LEAF:
            return np.asarray(said[at])
        column, edge = x[:, self.feature[at]], float32_edge(self.threshold[at])
        goes = ~(column > edge) if self.nan_left[at] else column <= edge
        return np.where(
            goes, self._below(self.left[at], x, said), self._below(self.right[at], x, said)
        )

    @property
    def used(self) -> frozenset[int]:
        """Columns that some split asks for."""
        return frozenset(j for j in self.feature if j != LEAF)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {name: list(getattr(self, name)) for name in _COLUMNS}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Nodes:
        """Read what ``to_dict`` wrote."""
        return cls(**{name: tuple(found[name]) for name in _COLUMNS})


def float32_edge(threshold: float) -> np.float32:
    """The greatest float32 up to a threshold: the same units are at or below it."""
    with np.errstate(over="ignore"):
        near = np.float32(threshold)
    return np.nextafter(near, np.float32(-np.inf)) if float(near) > threshold else near


_COLUMNS = ("feature", "threshold", "nan_left", "left", "right", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantRule:
    """The same arm for everyone.

    Attributes:
        arm: Its position.
    """

    arm: int
    kind = CONSTANT

    def arms_of(self, x: Matrix) -> Ints:
        """Return the arm of each unit, shape (n,)."""
        return np.full(len(x), self.arm, dtype=np.intp)

    @property
    def used(self) -> frozenset[int]:
        """Columns that it asks for: none."""
        return frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeRule:
    """An arm per end of one small tree.

    Attributes:
        nodes: The tree; values are positions of arms.
    """

    nodes: Nodes
    kind = TREE

    def arms_of(self, x: Matrix) -> Ints:
        """Return the arm of each unit, shape (n,)."""
        return self.nodes.values_of(x).astype(np.intp)

    @property
    def used(self) -> frozenset[int]:
        """Columns that it asks for."""
        return self.nodes.used


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRule:
    """The arm with the largest predicted gain, control where none is large enough.

    Attributes:
        trees: One sequence per treatment; a prediction is the sum of its trees, in order.
        above: Gain that must be passed to be treated.
    """

    trees: tuple[tuple[Nodes, ...], ...]
    above: float = 0.0
    kind = MODEL

    def gains_of(self, x: Matrix) -> Floats:
        """Return what each treatment is predicted to add, shape (n, A - 1)."""
        out = np.zeros((len(x), len(self.trees)))
        for a, trees in enumerate(self.trees):
            for nodes in trees:
                out[:, a] += nodes.values_of(x)
        return out

    def arms_of(self, x: Matrix) -> Ints:
        """Return the arm of each unit, shape (n,); the first of equals, control before all."""
        gains = self.gains_of(x)
        best = np.argmax(gains, axis=1)
        top = np.take_along_axis(gains, best[:, None], axis=1)[:, 0]
        return np.where(top > self.above, best + 1, 0)

    @property
    def used(self) -> frozenset[int]:
        """Columns that some split asks for."""
        return frozenset().union(*(nodes.used for trees in self.trees for nodes in trees))


Rule: TypeAlias = ConstantRule | TreeRule | ModelRule


def model_rule(model: FastDR) -> ModelRule:
    """Read the trees of a fitted model into plain columns.

    LightGBM sends a missing number where it was sent while learning; where none was missing it
    counts as 0.
    """
    import lightgbm

    trees = []
    for text in model.texts:
        dumped = lightgbm.Booster(model_str=text).dump_model()
        trees.append(tuple(_nodes(each["tree_structure"]) for each in dumped["tree_info"]))
    return ModelRule(trees=tuple(trees))


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """A share of units that gets an arm by chance, so that the rule can be measured later.

    Chance is a hash of the unit's id, so that it is the same wherever it is computed.

    Attributes:
        share: Of all units.
        chances: Of each arm among them.
        salt: Other salts give other draws.
    """

    share: float
    chances: tuple[float, ...]
    salt: str

    def arms_of(self, units: Sequence[object], arm: Ints) -> Ints:
        """Return the rule's arms with some replaced by chance.

        Args:
            units: Ids: text or whole numbers, spaces around them dropped; all units without
                one share one draw.
            arm: Of each unit by the rule, shape (n,).

        Examples:
            >>> explore = Exploration(share=1.0, chances=(0.5, 0.5), salt="spring")
            >>> found = explore.arms_of([str(i) for i in range(1_000)], np.ones(1_000, np.intp))
        >>> round(float(found.mean()), 1)
        0.5
        """
        out = arm.copy()
        ends = [self.edge(sum(self.chances[: a + 1])) for a in range(len(self.chances))]
        for i, unit in enumerate(units):
            drawn = digest(self.salt, "" if unit is None else str(unit).strip(SPACES))
            if drawn[:8] < self.edge(self.share):
                out[i] = next((a for a, e in enumerate(ends) if drawn[8:16] < e), len(ends) - 1)
        return out

    def propensity(self, arm: Ints) -> Floats:
        """Return the chance of the arm that the rule names, for later inverse weighting."""
        chances = np.array(self.chances)
        return 1 - self.share + self.share * chances[arm]

    @staticmethod
    def edge(share: float) -> str:
        """First eight hexadecimal digits from which on a hash is outside a share."""
        return edge(share)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"share": self.share, "chances": list(self.chances), "salt": self.salt}


def _nodes(root: Mapping[str, Any]) -> Nodes:
    rows: list[list[Any]] = []

    def add(node: Mapping[str, Any]) -> int:
        at = len(rows)
        if "split_feature" not in node:
            rows.append([LEAF, 0.0, False, at, at, float(node.get("leaf_value", 0.0))])
            return at
        threshold = float(node["threshold"])
        nan_left = threshold >= 0
        if node["missing_type"] == "NaN":
            nan_left = bool(node["default_left"])
        rows.append([int(node["split_feature"]), threshold, nan_left, at, at, 0.0])
        rows[at][3] = add(node["left_child"])
        rows[at][4] = add(node["right_child"])
        return at

    add(root)
    return Nodes(
        **{
            name: tuple(column)
            for name, column in zip(_COLUMNS, zip(*rows, strict=True), strict=True)
        }
    )
