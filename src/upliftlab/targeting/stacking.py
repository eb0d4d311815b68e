"""Which mixture of learners predicts what treatments add better than any of them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """A mixture of learners.

    Attributes:
        weights: Learner -> its weight; at least 0, adding up to 1.
        prediction: The mixture for each unit, with weights from other folds where folds were
            given, [n, A - 1].
        gain: Fall of the doubly robust loss against the best single learner, as a share; of
            the mixture with weights from other folds where folds were given, and then it may
            be below 0.
    """

    weights: Mapping[str, float]
    prediction: Floats
    gain: float

    def predict(self, predictions: Mapping[str, Floats]) -> Floats:
        """Mix predictions of new units, [n, A - 1]."""
        parts = [w * np.asarray(predictions[name]) for name, w in self.weights.items() if w > 0]
        return np.asarray(sum(parts[1:], parts[0]))


def stack(
    psi: ArrayLike, predictions: Mapping[str, Floats], *, fold: Ints | None = None
) -> Stack:
    """Mix learners so that the doubly robust loss is least.

    On units that the weights are taken from, the mixture is never worse than the best single
    learner, which is itself a mixture.

    Args:
        psi: Scores of each treatment less control, shape [n, A - 1] or [n].
        predictions: Name -> predictions of the same shape, by models that did not learn from
            the unit.
        fold: Fold of each unit; predictions of one fold are mixed with the others' weights.

    Raises:
        DataError: When shapes differ.

    References:
        Breiman (1996), *Machine Learning* 24(1), section 2 (stacked regressions); Han and Wu
        (2022), *Ensemble method for estimating individualized treatment effects*.

    Examples:
        >>> psi = np.array([3.0, 1.0, -1.0, -3.0])
        >>> steep, flat = np.array([4.0, 2.0, -2.0, -4.0]), np.zeros(4)
        >>> found = stack(psi, {"fast": steep, "constant": flat})
        >>> {name: round(weight, 2) for name, weight in found.weights.items()}
        {'fast': 0.7, 'constant': 0.3}
    """
    scores = np.asarray(psi, dtype=np.float64)
    shape = (len(scores), 1 if scores.ndim == 1 else scores.shape[1])
    scores = scores.reshape(shape)
    table = _table(predictions, shape)
    weights = convex_weights(table.reshape(-1, len(predictions)), scores.ravel())
    mixed = table @ weights
    if fold is not None:
        mixed = np.empty(shape)
        for label in np.unique(fold):
            others, here = fold != label, fold == label
            used = convex_weights(
                table[others].reshape(-1, len(predictions)), scores[others].ravel()
            )
            mixed[here] = table[here] @ used
    single = float(((scores[:, :, None] - table) ** 2).mean(axis=(0, 1)).min())
    loss = float(((scores - mixed) ** 2).mean())
    return Stack(
        weights=dict(zip(predictions, weights.tolist(), strict=True)),
        prediction=mixed,
        gain=1 - loss / single if single > 0 else 0.0,
    )


def convex_weights(columns: Floats, target: Floats) -> Floats:
    """Return weights, at least 0 and adding up to 1, with the least squared distance.

    With weights that add up to 1 the residual is a mixture of the columns' residuals, and the
    shortest mixture is found by non-negative least squares with one more row of ones. What of
    the target lies outside the columns' span is the same for all weights and is left out first.

    Args:
        columns: Shape [m, k].
        target: Shape [m].

    References:
        Lawson and Hanson (1974), *Solving Least Squares Problems*, chapter 23 (least distance).

    Examples:
        >>> convex_weights(np.eye(2), np.array([3.0, 2.0])).tolist()
        [1.0, 0.0]
    """
    from scipy.optimize import nnls

    basis, corner = np.linalg.qr(columns)
    rest = (basis.T @ target)[:, None] - corner
    size = float(np.abs(rest).max())
    if not size > 0:
        return np.full(columns.shape[1], 1 / columns.shape[1])
    found, _ = nnls(np.vstack([rest / size, np.ones(columns.shape[1])]), _last(len(rest)))
    weights = np.asarray(found / found.sum())
    # A vertex can win by rounding where two mixtures tie.
    vertex = np.eye(len(weights))[int((rest**2).sum(axis=0).argmin())]
    better = ((rest @ vertex) ** 2).sum() < ((rest @ weights) ** 2).sum()
    return vertex if better else weights


def _last(size: int) -> Floats:
    out = np.zeros(size + 1)
    out[-1] = 1.0
    return out


def _table(predictions: Mapping[str, Floats], shape: tuple[int, int]) -> Floats:
    """Lay predictions side by side, [n, A - 1, K]."""
    for name, each in predictions.items():
        if np.size(each) != shape[0] * shape[1] or len(each) != shape[0]:
            raise DataError(
                f"predictions of {name!r} have shape {np.shape(each)}; scores have {shape}."
            )
    parts = [np.asarray(each, dtype=np.float64).reshape(shape) for each in predictions.values()]
    return np.stack(parts, axis=2)
