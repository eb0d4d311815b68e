"""What do the ends of a small tree get, and what does it bring there?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.stats.estimate import undefined
from upliftlab.targeting.answer import Leaf
from upliftlab.targeting.rules import LEAF, TreeRule
from upliftlab.targeting.worths import inside_mean, joint_of, picked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from upliftlab.stats.estimate import Estimate
    from upliftlab.targeting.features import Encoding
    from upliftlab.targeting.rules import Nodes, Rule
    from upliftlab.targeting.worths import Held


def leaves(
    rule: Rule | None, encoding: Encoding, x: NDArray[np.float32], held: Held
) -> tuple[Leaf, ...]:
    """Return the ends of a tree from left to right, valued on held-out units.

    Args:
        rule: A tree; for anything else there are no ends.
        encoding: Of the columns.
        x: Of the held-out units, shape (n, P).
        held: Their scores, priced.
    """
    if not isinstance(rule, TreeRule):
        return ()
    ends = rule.nodes.ends_of(x)
    gaps = [bool(np.isnan(column).any()) for column in x.T]
    found = []
    for at, path in _walked(rule.nodes, lambda j, t: condition(encoding, j, t, gaps[j]), 0):
        arm, inside = int(rule.nodes.value[at]), ends == at
        found.append(
            Leaf(
                path=path,
                arm=held.profit.arms[arm],
                share=float(inside.mean()),
                effect=_effect(arm, inside, held),
            )
        )
    return tuple(found)


def condition(
    encoding: Encoding,
    column: int,
    threshold: float,
    has_gaps: bool = True,  # noqa: FBT001, FBT002
) -> tuple[str, str]:
    """Say both sides of a split in words: where it holds, and where not.

    Args:
        encoding: Of the columns.
        column: Position in the matrix.
        threshold: Greatest value on the left.
        has_gaps: Whether some units lack the number; they go right.

    Examples:
        >>> from upliftlab.targeting.features import fit_encoding
        >>> raw = {"days": np.array([1.0, 90.0, 5.0]), "new": np.array(["no", "yes", "no"])}
        >>> code = fit_encoding(raw)
        >>> condition(code, 0, 30.5), condition(code, 1, 0.5)
        (('days ≤ 30.5', 'days > 30.5 or missing'), ('new = no', 'new = yes'))
    """
    at = 0
    for code in encoding.columns:
        count = len(code.outputs)
        if column >= at + count:
            at += count
            continue
        if code.kind == "text":
            level = code.levels[column - at]
            other = f"{code.name} is not {level}"
            if code.reference:
                other = f"{code.name} = {code.reference}"
            return other, f"{code.name} = {level}"
        gap = " or missing" if has_gaps else ""
        if code.name.startswith("is_") and 0 <= threshold < 1:
            return f"{code.name} = no", f"{code.name} = yes{gap}"
        shown = f"{threshold:,.4g}".replace("-", "−")
        if code.kind == "date":
            shown = str(np.datetime64(math.floor(threshold), "D"))
        return f"{code.name} ≤ {shown}", f"{code.name} > {shown}{gap}"
    raise IndexError(column)


def _walked(
    nodes: Nodes, said: Callable[[int, float], tuple[str, str]], at: int
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Ends below a node with the conditions that lead there."""
    if nodes.feature[at] == LEAF:
        yield at, ()
        return
    sides = zip(
        said(nodes.feature[at], nodes.threshold[at]),
        (nodes.left[at], nodes.right[at]),
        strict=True,
    )
    for text, below in sides:
        for end, path in _walked(nodes, said, below):
            yield end, (text, *path)


def _effect(arm: int, inside: NDArray[np.bool_], held: Held) -> Estimate:
    if arm == 0 or not inside.any():
        why = "nothing is given" if arm == 0 else "no held-out unit is there"
        return undefined("extra profit", why, level=held.level)
    gain = picked(held.profit.value, np.full(len(inside), arm)) - held.profit.value[:, 0]
    numbers = joint_of({"extra profit": inside_mean(gain, inside)}, held.profit.cluster)
    return numbers.estimate("extra profit", level=held.level)
