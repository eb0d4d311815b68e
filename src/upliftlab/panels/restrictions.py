"""How far may the trends have drifted apart, as linear inequalities?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from upliftlab.errors import DesignError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Kind = Literal["smoothness", "relative_magnitude", "relative_smoothness"]
Bias = Literal["any", "positive", "negative"]
Shape = Literal["any", "increasing", "decreasing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """What is assumed about the difference in trends delta, for a size m.

    Attributes:
        kind: ``smoothness``, Delta^SD(M): the slope of delta changes by at most m between
            periods, m in the unit of the effect. ``relative_magnitude``, Delta^RM(Mbar): after
            the start delta moves by at most m times its largest move before.
            ``relative_smoothness``, Delta^SDRM(Mbar): the same for changes of the slope.
        bias: Known sign of delta after the start.
        shape: Known direction of delta after the start.
    """

    kind: Kind = "relative_magnitude"
    bias: Bias = "any"
    shape: Shape = "any"

    def __post_init__(self) -> None:
        """Refuse unknown words."""
        for field, found, words in (
            ("kind", self.kind, get_args(Kind)),
            ("bias", self.bias, get_args(Bias)),
            ("shape", self.shape, get_args(Shape)),
        ):
            if found not in words:
                raise DesignError(
                    f"a restriction on trends has {field} {found!r}; allowed: {sorted(words)}."
                    f"{nearest(found, words)}"
                )

    @property
    def is_plain(self) -> bool:
        """Whether neither sign nor direction is assumed."""
        return self.bias == "any" and self.shape == "any"

    def least_pre(self) -> int:
        """Periods before the reference period that the restriction needs."""
        return 2 if self.kind == "relative_smoothness" else 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Union:
    """A union of polyhedra {delta: a[u] delta <= d[u]}; the last columns are the same in all.

    Attributes:
        a: Shape [U, rows, n_pre + n_post].
        d: Shape [U, rows].
    """

    a: Floats
    d: Floats


def polyhedra(restriction: Restriction, n_pre: int, n_post: int, m: float) -> Union:
    """Return the inequalities that involve periods after the start.

    The relative restrictions are unions over the place and the sign of the largest move before
    the start. Rows that only involve periods before are left out, as Rambachan and Roth do: the
    test stays valid, and its vertices stay few.

    Args:
        restriction: What is assumed.
        n_pre: Periods before the reference period.
        n_post: Periods from the start on.
        m: Size of the violation.

    References:
        Rambachan and Roth (2023), *Review of Economic Studies* 90(5), section 2.4.

    Examples:
        >>> union = polyhedra(Restriction(kind="smoothness"), 1, 1, 0.5)
        >>> union.a[0].tolist(), union.d[0].tolist()
        ([[1.0, 1.0], [-1.0, -1.0]], [0.5, 0.5])
    """
    order = 1 if restriction.kind == "relative_magnitude" else 2
    steps = differences(n_pre, n_post, order)
    before, after = steps[: len(steps) - n_post], steps[len(steps) - n_post :]
    both = np.concatenate([after, -after])
    if restriction.kind == "smoothness":
        a, size = both[None, :, :], m
    else:
        largest = np.concatenate([before, -before])
        a, size = both[None, :, :] - m * largest[:, None, :], 0.0
    extra = _signs(restriction, n_pre, n_post)
    a = np.concatenate([a, np.broadcast_to(extra, (len(a), *extra.shape))], axis=1)
    d = np.concatenate([np.full(len(both), size), np.zeros(len(extra))])
    return Union(a=a, d=np.broadcast_to(d, a.shape[:2]))


def differences(n_pre: int, n_post: int, order: int) -> Floats:
    """Return first or second differences over all periods, the reference period being 0.

    Returns:
        Shape [n_pre + n_post + 1 - order, n_pre + n_post], in order of time.

    Examples:
        >>> differences(1, 1, 1).tolist()
        [[-1.0, 0.0], [0.0, 1.0]]
    """
    steps = np.diff(np.eye(n_pre + n_post + 1), n=order, axis=0)
    out: Floats = np.delete(steps, n_pre, axis=1)
    return out + 0.0


def _signs(restriction: Restriction, n_pre: int, n_post: int) -> Floats:
    rows = [np.empty((0, n_pre + n_post))]
    if restriction.bias != "any":
        levels = np.eye(n_pre + n_post)[n_pre:]
        rows.append(-levels if restriction.bias == "positive" else levels)
    if restriction.shape != "any":
        steps = differences(n_pre, n_post, 1)[n_pre:]
        rows.append(-steps if restriction.shape == "increasing" else steps)
    return np.concatenate(rows)
