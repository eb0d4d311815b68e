"""How do controls become comparable, and what does estimating that cost in precision?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.panels.influence import portions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.panels.nuisance import Propensity

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reweighting:
    """Weights of one comparison; everything that does not depend on outcomes."""

    x: Floats
    treated: Booleans
    weight: Floats
    odds: Floats
    gram: Floats | None
    score: Propensity | None

    @property
    def ours(self) -> Floats:
        """Weights of the treated, adding up to one."""
        mass = self.weight * self.treated
        out: Floats = mass / mass.sum()
        return out

    @property
    def theirs(self) -> Floats:
        """Weights of the controls, adding up to one; zeros for regression."""
        return self.odds / self.odds.sum() if self.score is not None else self.odds

    @property
    def own(self) -> Floats:
        """Weight of a unit's own change in its influence, shape [n]."""
        balance = self.ours - self.theirs
        if self.gram is None:
            return balance
        lever = self.x @ (self.gram @ (self.x.T @ balance))
        out: Floats = balance - self.weight * ~self.treated * lever
        return out

    @property
    def shared(self) -> Floats:
        """Weights of the estimated levels in a unit's influence, shape [n, q]."""
        columns = [self.ours[:, None], self.theirs[:, None]]
        if self.gram is not None:
            columns.append(self.own[:, None] * self.x)
        if self.score is not None:
            surprise = self.weight * (self.treated - self.score.score)
            columns.append(surprise[:, None] * self.x)
        return np.concatenate(columns, axis=1)

    def levels(self, y: Floats, rows: Ints, first: int, last: int) -> tuple[Floats, Floats]:
        """Levels that the influence subtracts [q, t, K], and the gap in levels [t, K].

        Periods first to last; those with gaps are NaN, and no cell of the block uses them.
        """
        ours, theirs = self.ours, self.theirs
        shape = (last - first + 1, y.shape[2])
        p = self.x.shape[1]
        base = (self.weight * ~self.treated)[:, None] * self.x
        reweighted = theirs[:, None] * self.x
        factor = np.concatenate([ours[:, None], base, reweighted], axis=1)
        sums = np.zeros((factor.shape[1], shape[0] * shape[1]))
        for few in portions(len(rows), sums.shape[1]):
            path = y[rows[few], first : last + 1]
            # Levels differ between units far more than changes do: this keeps the digits.
            path -= path[:, :1].copy()
            sums += factor[few].T @ path.reshape(len(path), -1)
        slope = (
            np.zeros((p, sums.shape[1])) if self.gram is None else self.gram @ sums[1 : p + 1]
        )
        mean_ours = sums[0] - (ours @ self.x) @ slope
        rest = sums[p + 1 :] - (reweighted.T @ self.x) @ slope
        # The first covariate is the constant, so its moment is the mean of the controls.
        mean_theirs = rest[0]
        level = [-mean_ours[None], mean_theirs[None]]
        if self.gram is not None:
            level.append(-slope)
        if self.score is not None:
            moment = rest - (theirs @ self.x)[:, None] * mean_theirs
            level.append(-self.score.inverse @ moment)
        return np.concatenate(level).reshape(-1, *shape), (mean_ours - mean_theirs).reshape(
            shape
        )

    def offsets(self, rest: Floats, guess: Floats) -> tuple[Floats, Floats]:
        """What cross-fitted guesses add to influence [n, c, K], and effects [c, K]."""
        ours, theirs = self.ours, self.theirs
        mean_ours = np.tensordot(ours, rest, axes=1)
        mean_theirs = np.tensordot(theirs, rest, axes=1)
        offset = -(ours - theirs)[:, None, None] * guess
        offset -= ours[:, None, None] * mean_ours
        offset += theirs[:, None, None] * mean_theirs
        return offset, mean_ours - mean_theirs
