"""Who gains how much from each treatment, by small trees on doubly robust scores?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import UpliftlabError
from upliftlab.targeting.boosting import Shape, bin_features, grow, side_by_side, threads_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.targeting.boosting import Bins

    Matrix = NDArray[np.float32]
    Floats = NDArray[np.float64]
    Rows = NDArray[np.integer[Any]]

KIND = "fast_dr"


def default_shape(rows: int) -> Shape:
    """Return how far trees on scores may go: scores are nearly all noise, so not far.

    Examples:
        >>> default_shape(1_000_000)
        Shape(trees=150, leaves=7, rate=0.03, least=5000, by_chance=True)
    """
    return Shape(trees=150, leaves=7, rate=0.03, least=max(500, rows // 200), by_chance=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FastDR:
    """A fitted model of what each treatment adds for a unit.

    Attributes:
        names: Columns of the matrix it was fitted on.
        texts: LightGBM's own text of one model per treatment.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]

    def predict(self, x: ArrayLike) -> Matrix:
        """Return what each treatment adds, float32 [n, A - 1], in the unit of the scores."""
        rows = np.ascontiguousarray(x, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != len(self.names):
            raise UpliftlabError(
                f"the model was fitted on {len(self.names)} columns {list(self.names)}; it "
                f"was given a matrix of shape {rows.shape}."
            )
        out = np.empty((len(rows), len(self.texts)), dtype=np.float32)
        for a, text in enumerate(self.texts):
            out[:, a] = _read(text).predict(rows, num_threads=threads_for(len(rows)))
        return out

    @property
    def importance(self) -> dict[str, float]:
        """Share of the explained variation that each column's splits brought, most first."""
        total = np.zeros(len(self.names))
        for text in self.texts:
            gains: Floats = _read(text).feature_importance("gain")
            total += gains
        shares = total / total.sum() if total.sum() > 0 else total
        order = np.argsort(-shares, kind="stable")
        return {self.names[j]: float(shares[j]) for j in order}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"kind": KIND, "names": list(self.names), "texts": list(self.texts)}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> FastDR:
        """Read what ``to_dict`` wrote."""
        return cls(names=tuple(found["names"]), texts=tuple(found["texts"]))


def fit_fast_dr(
    x: ArrayLike | None,
    contrast: ArrayLike,
    *,
    bins: Bins | None = None,
    rows: Rows | None = None,
    weight: NDArray[Any] | None = None,
    names: Sequence[str] | None = None,
    shape: Shape | None = None,
    seed: int = 1,
) -> FastDR:
    """Regress doubly robust scores of each treatment on what was known before.

    One model per treatment: small trees, a slow rate, large leaves and thresholds drawn by
    chance, because a single unit's score says little about it.

    Args:
        x: What was known before, shape [n, P]; gaps are NaN. None where ``bins`` is given.
        contrast: Scores of each treatment less control, shape [n, A - 1] or [n].
        bins: The binned ``x``, where it is at hand.
        rows: Positions of the units to learn on; None for all.
        weight: Of each unit, shape [n].
        names: Columns of ``x``.
        shape: Of the models; by default :func:`default_shape`.
        seed: Of the thresholds.

    References:
        Kennedy (2023), *Electronic Journal of Statistics* 17(2), algorithm 1 (DR-learner).

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(4_000, 2))
        >>> scores = np.where(x[:, 0] > 0, 2.0, -1.0) + rng.normal(size=4_000)
        >>> model = fit_fast_dr(x, scores, names=("days", "visits"))
        >>> list(model.importance)[0]
        'days'
        >>> [round(float(v)) for v in model.predict([[1.0, 0.0], [-1.0, 0.0]])[:, 0]]
        [2, -1]
    """
    if bins is None:
        if x is None:
            raise UpliftlabError("fit_fast_dr needs x, or the binned columns in bins.")
        bins = bin_features(x)
    scores = np.asarray(contrast, dtype=np.float32)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if len(scores) != len(bins.x):
        raise UpliftlabError(
            f"there are {len(scores):,} scores for {len(bins.x):,} units; give one row each."
        )
    if rows is None and scores.shape[1] > 1:
        # Models that learn at the same time must not set labels on one and the same dataset.
        rows = np.arange(len(scores))
    count = len(scores) if rows is None else len(rows)
    shape = shape or default_shape(count)
    labels = tuple(names or (f"column {j + 1}" for j in range(bins.x.shape[1])))

    def learned(a: int) -> str:
        target = np.ascontiguousarray(scores[:, a])
        model = grow(bins, target, shape=shape, rows=rows, weight=weight, seed=seed)
        return str(model.model_to_string())

    return FastDR(names=labels, texts=tuple(side_by_side(learned, range(scores.shape[1]))))


def _read(text: str) -> Any:  # noqa: ANN401 - a LightGBM model
    import lightgbm

    return lightgbm.Booster(model_str=text)
