"""What would each unit's money have been in each arm, scored so that means are unbiased?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.errors import DataError, DesignError, UpliftlabError
from upliftlab.targeting import score_checks
from upliftlab.targeting.boosting import bin_features
from upliftlab.targeting.folds import folds, refuse_bad_folds
from upliftlab.targeting.nuisances import expected
from upliftlab.targeting.propensity import estimated_propensity, known_propensity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from upliftlab.checks import Check
    from upliftlab.targeting.boosting import Bins
    from upliftlab.targeting.propensity import Propensity

    Floats = NDArray[np.float64]
    Matrix = NDArray[np.float32]
    Cube = NDArray[np.float32]
    Ints = NDArray[np.integer[Any]]
    Rows = NDArray[Any] | slice

UNITS = "units"
"""Component that is 1 for every unit: its rate is a constant per unit, such as a message."""

NUISANCES = ("auto", "pooled", "per_arm")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Worth:
    """Scores of one amount of money per unit and arm.

    The mean of ``value[i, arm a rule gives to i]`` estimates what the rule earns per unit.

    Attributes:
        value: Float32 [n, A], minor units of money per unit; control first.
        arms: Names.
        cluster: What was assigned as a whole, [n]; None for units one by one.
        stratum: What assignment was stratified by, [n]; None for nothing.
        fold: Fold of each unit, [n]; -1 for units that no model learned on.
    """

    value: Matrix
    arms: tuple[str, ...]
    cluster: Ints | None = None
    stratum: Ints | None = None
    fold: Ints | None = None

    @property
    def contrast(self) -> Matrix:
        """Each treatment less control, float32 [n, A - 1]."""
        return self.value[:, 1:] - self.value[:, :1]

    def take(self, rows: Rows) -> Worth:
        """Keep these units."""
        return replace(
            self,
            value=self.value[rows],
            cluster=_taken(self.cluster, rows),
            stratum=_taken(self.stratum, rows),
            fold=_taken(self.fold, rows),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Doubly robust scores of every component in every arm; any prices make money of them.

    Attributes:
        psi: Float32 [n, A, K]: the mean of psi[:, a, k] estimates the mean of component k if
            everybody had arm a.
        components: Names, K.
        arms: Names, A, control first.
        cluster: What was assigned as a whole, [n]; None for units one by one.
        stratum: What assignment was stratified by, [n]; None for nothing.
        fold: Fold of each unit, [n]; -1 for units that no model learned on.
        checks: Facts about assignment and columns that a reader must know.
    """

    psi: Cube
    components: tuple[str, ...]
    arms: tuple[str, ...]
    cluster: Ints | None
    stratum: Ints | None
    fold: Ints
    checks: tuple[Check, ...] = ()

    def worth(self, prices: ArrayLike, constants: ArrayLike | None = None) -> Worth:
        """Price the scores: what each unit is worth in each arm. Nothing is refitted.

        Args:
            prices: Minor units of money per unit of a component, shape [A, K] or [K].
            constants: Minor units per unit of an arm, shape [A]; such as a message.
        """
        table = np.asarray(prices, dtype=np.float32)
        size = (len(self.arms), len(self.components))
        if table.shape not in {size, size[1:]}:
            raise UpliftlabError(
                f"prices have shape {table.shape}; scores of arms {list(self.arms)} and "
                f"components {list(self.components)} need {size}."
            )
        table = np.broadcast_to(table, size)
        value = np.empty((len(self.psi), size[0]), dtype=np.float32)
        for a in range(size[0]):
            np.matmul(self.psi[:, a], table[a], out=value[:, a])
        if constants is not None:
            value += np.asarray(constants, dtype=np.float32)
        return Worth(
            value=value,
            arms=self.arms,
            cluster=self.cluster,
            stratum=self.stratum,
            fold=self.fold,
        )

    def cost(self, prices: ArrayLike, constants: ArrayLike | None = None) -> Worth:
        """Price what is spent on the campaign: positive rates are spending."""
        return self.worth(prices, constants)

    def take(self, rows: Rows) -> Scores:
        """Keep these units."""
        return replace(
            self,
            psi=self.psi[rows],
            cluster=_taken(self.cluster, rows),
            stratum=_taken(self.stratum, rows),
            fold=self.fold[rows],
        )


def component_scores(
    x: ArrayLike,
    y: ArrayLike,
    arm: ArrayLike,
    propensity: ArrayLike | None = None,
    *,
    arms: Sequence[str],
    components: Sequence[str],
    names: Sequence[str] | None = None,
    cluster: Ints | None = None,
    stratum: Ints | None = None,
    fold: int | Ints = 2,
    prices: ArrayLike | None = None,
    nuisance: str = "auto",
    bins: Bins | None = None,
    is_checked: bool = True,
    seed: int = 1,
) -> Scores:
    """Score every component in every arm by cross-fitted augmented inverse probability weights.

    psi_a = m_a(x) + 1{arm = a} (y - m_a(x)) / e_a(x), with m from other folds. With designed
    probabilities the means of scores are unbiased whatever m is; m only takes noise away. With
    estimated ones they are right if either m or e is. Two arms of a design share one m = (1 -
    e) m_1 + e m_0, the best for their difference; several arms have one each. All components
    share the trees of the priced sum, so that prices may change later without refitting.

    Args:
        x: What was known before assignment, shape [n, P]; gaps are NaN.
        y: Components of each unit, shape [n, K].
        arm: 0 for control, then 1, 2, ...; shape [n].
        propensity: By design: [A], [S, A] with ``stratum``, or [n, A]; None to estimate.
        arms: Names, control first.
        components: Names of the columns of ``y``.
        names: Names of the columns of ``x``, for messages.
        cluster: What was assigned as a whole, shape [n].
        stratum: Position of each unit's stratum, shape [n].
        fold: Number of folds, or each unit's fold; units of fold -1 are scored by the mean of
            all models and taught none.
        prices: Minor units per unit of a component, shape [A, K]; trees are grown on the sum.
            Without them every component counts by its standard deviation.
        nuisance: "pooled", "per_arm" or "auto".
        bins: The binned ``x``, where it is at hand.
        is_checked: Whether to look for leaks and for arms that can be told apart.
        seed: Of folds and checks.

    Raises:
        DataError: When outcomes are missing or shapes differ.
        DesignError: When an arm has no units to learn from, or clusters are torn apart.

    References:
        Robins, Rotnitzky and Zhao (1994), *JASA* 89(427), equation 2; Chernozhukov et al.
        (2018), *Econometrics Journal* 21(1), section 5.1.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> arm = rng.integers(0, 2, 4_000)
        >>> x = rng.normal(size=(4_000, 2))
        >>> y = np.column_stack([x[:, 0] + arm, 1.0 * arm + rng.normal(size=4_000)])
        >>> found = component_scores(x, y, arm, [0.5, 0.5], arms=("none", "coupon"),
        ...                          components=("sales", "cost"))
        >>> effect = found.worth([1.0, -0.5]).contrast.mean()
        >>> f"{effect:.1f}"
        '0.5'
    """
    y, arm = np.asarray(y), np.asarray(arm)
    bins = bins or bin_features(x)
    _refuse_shapes(bins, y, arm, arms=arms, components=components, nuisance=nuisance)
    if isinstance(fold, int):
        fold = folds(arm, count=fold, seed=seed, cluster=cluster, stratum=stratum)
    refuse_bad_folds(fold, arm, arms=arms, cluster=cluster)
    chances = (
        estimated_propensity(bins, arm, fold=fold, arms=arms, seed=seed)
        if propensity is None
        else known_propensity(propensity, len(arm), arms=arms, stratum=stratum)
    )
    is_pooled = nuisance == "pooled" or (
        nuisance == "auto" and len(arms) == 2 and chances.is_known
    )
    psi = expected(
        bins,
        y,
        arm,
        fold=fold,
        chances=chances.value,
        prices=prices,
        is_pooled=is_pooled,
        seed=seed,
    )
    for a in range(len(arms)):
        here = np.flatnonzero(arm == a)
        psi[here, a] += (y[here] - psi[here, a]) / chances.value[here, a][:, None]
    return Scores(
        psi=psi,
        components=tuple(components),
        arms=tuple(arms),
        cluster=cluster,
        stratum=stratum,
        fold=fold,
        checks=_checks(
            bins,
            arm,
            chances,
            fold=fold,
            arms=arms,
            names=names,
            cluster=cluster,
            seed=seed,
        )
        if is_checked
        else (),
    )


def price_matrix(
    terms: Mapping[str, Mapping[str, float]],
    *,
    arms: Sequence[str],
    components: Sequence[str],
    idle: Collection[str] = (),
) -> tuple[Floats, Floats]:
    """Lay out rates by arm and component as ``Scores.worth`` takes them.

    Args:
        terms: Arm -> component -> rate, such as ``Economics.price``; "units" is a constant.
        arms: Names, control first, A.
        components: Names, K.
        idle: Components that are 0 for every unit.

    Returns:
        Prices [A, K] and constants [A].

    Raises:
        UpliftlabError: When a rate hangs on a component that was not scored.

    Examples:
        >>> terms = {"none": {"sales": 0.4}, "coupon": {"sales": 0.4, "units": -5.0}}
        >>> prices, constants = price_matrix(terms, arms=("none", "coupon"),
        ...                                  components=("sales",))
        >>> prices.tolist(), constants.tolist()
        ([[0.4], [0.4]], [0.0, -5.0])
    """
    at = {name: k for k, name in enumerate(components)}
    prices, constants = np.zeros((len(arms), len(at))), np.zeros(len(arms))
    for a, arm in enumerate(arms):
        for name, rate in terms.get(arm, {}).items():
            if name == UNITS:
                constants[a] += rate
            elif name in at:
                prices[a, at[name]] += rate
            elif name not in idle and rate != 0:
                raise UpliftlabError(
                    f"the price of arm {arm!r} hangs on component {name!r}, which was not "
                    f"scored; scores have {list(components)}."
                )
    return prices, constants


def priced_targets(
    y: ArrayLike,
    arm: Ints,
    prices: ArrayLike,
    constants: ArrayLike | None = None,
) -> Matrix:
    """Price each unit's components in its own arm, to score a few amounts instead of all.

    Args:
        y: Components, shape [n, K].
        arm: Arm of each unit, shape [n].
        prices: Of each amount, shape [J, A, K].
        constants: Of each amount, shape [J, A].

    Returns:
        Amounts, float32 [n, J].

    Examples:
        >>> y, arm = np.array([[10.0], [20.0]]), np.array([0, 1])
        >>> priced_targets(y, arm, [[[0.5], [0.4]]], [[0.0, -1.0]]).tolist()
        [[5.0], [7.0]]
    """
    table = np.asarray(prices, dtype=np.float32)
    amounts = np.asarray(y, dtype=np.float32)
    out = np.zeros((len(amounts), len(table)), dtype=np.float32)
    for j, rates in enumerate(table):
        for k in range(amounts.shape[1]):
            out[:, j] += amounts[:, k] * rates[:, k][arm]
        if constants is not None:
            out[:, j] += np.asarray(constants, dtype=np.float32)[j][arm]
    return out


def _checks(
    bins: Bins,
    arm: Ints,
    chances: Propensity,
    *,
    fold: Ints,
    arms: Sequence[str],
    names: Sequence[str] | None,
    cluster: Ints | None,
    seed: int,
) -> tuple[Check, ...]:
    """Look at the units per arm; at chance where it was designed, at overlap where not."""
    few = score_checks.check_few_units(arm, arms=arms, cluster=cluster)
    labels = names or [f"column {j + 1}" for j in range(bins.x.shape[1])]
    overlap = score_checks.check_overlap(chances, arm, arms=arms)
    if not chances.is_known:
        weighed = score_checks.check_weighed(bins.x, arm, chances, names=labels, arms=arms)
        return (few, overlap, weighed)
    uneven = (overlap,) if np.ptp(chances.value, axis=0).max() > 1e-6 else ()
    leaks = score_checks.check_leaks(
        bins.x, arm, chances, names=labels, arms=arms, cluster=cluster, seed=seed
    )
    told = score_checks.check_predictable(
        bins, arm, chances, fold=fold, arms=arms, cluster=cluster, seed=seed
    )
    return (few, *uneven, leaks, told)


def _refuse_shapes(
    bins: Bins,
    y: NDArray[Any],
    arm: Ints,
    *,
    arms: Sequence[str],
    components: Sequence[str],
    nuisance: str,
) -> None:
    n = len(bins.x)
    if y.shape != (n, len(components)) or arm.shape != (n,):
        raise DataError(
            f"scores need x [n, P], y [n, {len(components)}] and arm [n]; x has {n:,} rows, y "
            f"has shape {y.shape} and arm {arm.shape}."
        )
    lost = [name for k, name in enumerate(components) if not np.isfinite(y[:, k]).all()]
    if lost:
        raise DataError(
            f"component {lost[0]!r} has missing values; a unit without an outcome cannot be "
            "scored. Set it aside first, or correct the column."
        )
    if nuisance not in NUISANCES:
        raise UpliftlabError(f"nuisance is {nuisance!r}; write one of {list(NUISANCES)}.")
    if nuisance == "pooled" and len(arms) != 2:
        raise DesignError(
            f"nuisance 'pooled' is the best for the difference of two arms; there are "
            f"{len(arms)}. Write 'per_arm'."
        )


def _taken(column: Ints | None, rows: Rows) -> Ints | None:
    return None if column is None else column[rows]
