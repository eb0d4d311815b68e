"""What did switching on for a day, or one live stream, change, and did it linger?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np

from upliftlab.errors import DataError, DesignError
from upliftlab.panels.resampled import Resampled, flipped, inverted
from upliftlab.stats.estimate import NAN, Estimate
from upliftlab.stats.joint import Joint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

UNPAIRED = -1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Switchback:
    """Blocks of time in pairs: a coin decides which block of a pair is on.

    Attributes:
        names: Components, K in all.
        mean: Mean per period of each block without its burn-in, shape [G, B, K]; G product
            groups, one where all share a schedule and were summed.
        is_on: State of each block, shape [G, B].
        pair: Pair of each block, 0 .. P - 1, ``UNPAIRED`` for none, shape [B].
        shares_coin: Whether all groups follow one schedule: a coin per pair, not per group.
        note: What was left out.
    """

    names: tuple[str, ...]
    mean: Floats
    is_on: Bools
    pair: Ints
    shares_coin: bool
    note: str = ""

    @classmethod
    def of_periods(
        cls,
        y: ArrayLike,
        is_on: ArrayLike,
        block: Sequence[int] | Ints,
        pair: Sequence[int] | Ints,
        *,
        names: Sequence[str] = ("y",),
        burn_in: int = 0,
    ) -> Switchback:
        """Make blocks from periods in order of time.

        Burn-in periods are dropped at the start of every block, whether or not the state
        changed there: then on and off compare the same hours whatever the coins said.

        Args:
            y: Outcomes, shape [T], [T, K] or [G, T, K]; in money, minor units.
            is_on: State, shape [T] where all groups switch together, else [G, T].
            block: Block of each period, constant within a block, shape [T].
            pair: Pair of each period's block, ``UNPAIRED`` (-1) for none, shape [T].
            names: Components, K in all.
            burn_in: Periods that belong to the transition.

        Returns:
            The blocks.

        Raises:
            DesignError: When a state changes inside a block, a block is no longer than its
                burn-in, or a pair does not hold one block on and one off.
            DataError: When a kept period has no outcome.

        References:
            Hu and Wager (2022), arXiv:2209.00197, for burn-in periods of switchbacks.

        Examples:
            >>> design = Switchback.of_periods(
            ...     [9.0, 5.0, 2.0, 1.0], [1, 1, 0, 0], [0, 0, 1, 1], [0] * 4, burn_in=1)
            >>> design.mean[0, :, 0]
            array([5., 1.])
        """
        cube = _cube(y)
        states = np.asarray(is_on, dtype=bool)
        shares = states.ndim == 1
        states = np.broadcast_to(states, cube.shape[:2])
        labels, first, code = np.unique(block, return_index=True, return_inverse=True)
        order = np.argsort(first)
        rank = np.argsort(order)[code]
        kept = np.arange(len(rank)) - np.sort(first)[rank] >= burn_in
        if (np.diff(rank) < 0).any() or len(np.unique(rank[kept])) < len(labels):
            message = (
                f"the switchback drops {burn_in} periods of {len(labels)} blocks, the shortest "
                f"of {int(np.bincount(rank).min())}; blocks must be longer, in order of time."
            )
            raise DesignError(message)
        if not np.isfinite(cube[:, kept]).all():
            message = "the switchback found periods without an outcome; drop their pairs."
            raise DataError(message)
        begin = np.sort(first)
        on = states[:, begin]
        pairs = np.asarray(pair, dtype=np.int64)[begin]
        _check(states, on[:, rank], on, pairs)
        inside = (rank[None, :] == np.arange(len(labels))[:, None]) & kept
        weight = inside / inside.sum(axis=1, keepdims=True)
        alone = int((pairs == UNPAIRED).sum())
        return cls(
            names=tuple(names),
            mean=np.einsum("bt,gtk->gbk", weight, np.where(kept[:, None], cube, 0.0)),
            is_on=on,
            pair=_renumbered(pairs),
            shares_coin=shares,
            note=f"{alone} blocks without a partner are left out" if alone else "",
        )

    def gains(self) -> Floats:
        """Return on minus off of each coin, shape [coins, K].

        With a shared schedule a coin is a pair, averaged over groups; otherwise a coin is a
        pair of one group, pair by pair within group.
        """
        count = int(self.pair.max()) + 1
        sign = np.where(self.is_on, 1.0, -1.0)
        signed = sign[:, :, None] * self.mean
        out = np.zeros((len(self.mean), count, len(self.names)))
        paired = self.pair != UNPAIRED
        for g in range(len(out)):
            np.add.at(out[g], self.pair[paired], signed[g, paired])
        return out.mean(axis=0) if self.shares_coin else out.reshape(-1, len(self.names))


def switchback_effect(design: Switchback, *, by: Literal["coin", "group"] = "coin") -> Joint:
    """Return the mean of on minus off over pairs, all components together.

    The number is the effect of being on for one period in a block, once burn-in is over, if
    nothing lingers longer; see ``carry_over``. Sums, no ratios: lines add up to their total.

    Args:
        design: Blocks in pairs.
        by: "coin" counts every coin as one independent observation; "group" counts product
            groups, for groups drawn from many.

    Returns:
        Estimates with the covariance of a mean of coins (or groups) and their number less one
        as degrees of freedom; NaN covariance with fewer than two.

    References:
        Student (1908), *Biometrika* 6(1), for pairs; Imai, King and Nall (2009), *Statistical
        Science* 24(1), for matched pairs under their own design.

    Examples:
        >>> design = Switchback.of_periods(
        ...     [4.0, 1.0, 2.0, 7.0], [1, 0, 0, 1], [0, 1, 2, 3], [0, 0, 1, 1])
        >>> effect = switchback_effect(design)
        >>> float(effect.value[0]), float(effect.cov[0, 0]), float(effect.df[0])
        (4.0, 1.0, 1.0)
    """
    gains = design.gains()
    if by == "group":
        if design.shares_coin:
            message = (
                "groups that switch together share every coin and are no independent "
                "observations; count by='coin'."
            )
            raise DesignError(message)
        gains = gains.reshape(len(design.mean), -1, len(design.names)).mean(axis=1)
    n, width = gains.shape
    rest = gains - gains.mean(axis=0)
    cov = rest.T @ rest / (n * (n - 1)) if n > 1 else np.full((width, width), NAN)
    return Joint(
        names=design.names,
        value=gains.mean(axis=0),
        cov=cov,
        df=np.full(width, n - 1.0 if n > 1 else NAN),
    )


def switchback_inference(
    design: Switchback, *, draws: int = 999, seed: int = 0, level: float = 0.95
) -> Resampled:
    """Return p-values, intervals and band by tossing the coins of the pairs again.

    Args:
        design: Blocks in pairs.
        draws: Tosses beside the observed one, where not all.
        seed: Of the tosses.
        level: Confidence level.

    Returns:
        The reading under a constant effect; exact for no effect at all.

    References:
        Fisher (1935), *The Design of Experiments*, section 21.

    Examples:
        >>> day = [5.0, 1.0, 2.0, 7.0, 6.0, 2.0, 4.5, 1.0, 0.5, 5.5, 5.0, 2.0]
        >>> design = Switchback.of_periods(
        ...     day, [1, 0, 0, 1, 1, 0] * 2, list(range(12)), list(np.arange(12) // 2))
        >>> result = switchback_inference(design)
        >>> result.draws, result.is_exact, result["y"].p_value
        (64, True, 0.03125)
    """
    gains = design.gains()
    signs, exact = _tosses(len(gains), draws, seed)
    return inverted(
        flipped(gains, signs, names=design.names), level=level, is_exact=exact, note=design.note
    )


def carry_over(design: Switchback) -> Joint:
    """Return what the previous block's state adds to the outcome of a block.

    Differences within pairs (earlier minus later block) are regressed on the differences of
    their states and of the states before them, with a constant for order. A clear answer means
    that the burn-in is too short and the effect of being on is understated.

    Args:
        design: Blocks in pairs; the first block has no predecessor, and its pair is left out.

    Returns:
        Names "component@previous": HC2 covariance, Bell-McCaffrey df; NaN where pairs are too
        few, or the design does not separate a state from the one before.

    References:
        Bell and McCaffrey (2002), *Survey Methodology* 28(2); Bojinov, Simchi-Levi and Zhao
        (2023), *Management Science* 69(7), for testing the order of carry-over.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> design = Switchback.of_periods(rng.normal(size=40),
        ...     draw_switchback(np.arange(40) // 2, seed=1)[0], range(40), np.arange(40) // 2)
        >>> carry_over(design).names
        ('y@previous',)
    """
    change, x = _pair_changes(design)
    names = tuple(f"{name}@previous" for name in design.names)
    width = len(names)
    if len(x) <= x.shape[1] or np.linalg.matrix_rank(x) < x.shape[1]:
        nothing = np.full(width, NAN)
        return Joint(names=names, value=nothing, cov=np.full((width, width), NAN), df=nothing)
    inverse = np.linalg.inv(x.T @ x)
    hat = x @ inverse @ x.T
    rest = change - hat @ change
    pull = (x @ inverse)[:, 2] / np.sqrt(np.maximum(1 - np.diag(hat), 1e-9))
    scored = rest * pull[:, None]
    spread = (np.eye(len(x)) - hat) * pull
    gram = spread.T @ spread
    return Joint(
        names=names,
        value=(inverse @ x.T @ change)[2],
        cov=scored.T @ scored,
        df=np.full(width, np.trace(gram) ** 2 / (gram**2).sum()),
    )


def horvitz_thompson(
    y: ArrayLike, is_on: ArrayLike, coin: Sequence[int] | Ints, *, order: int
) -> Floats:
    """Return the mean effect of being on for ``order`` + 1 periods rather than off throughout.

    Each period counts if its state and those of the ``order`` periods before it are alike, by
    the inverse of the probability of that; every coin is fair and independent.

    Args:
        y: Outcomes, shape [T] or [T, K].
        is_on: State of each period, shape [T].
        coin: Which toss decided each period, shape [T].
        order: Periods for which a state can linger.

    Returns:
        Unbiased estimates per component, shape [K], if nothing lingers longer.

    Raises:
        DesignError: When there are no more periods than ``order``.

    References:
        Bojinov, Simchi-Levi and Zhao (2023), *Management Science* 69(7).

    Examples:
        >>> horvitz_thompson([3.0, 3.0, 1.0, 1.0], [1, 1, 0, 0], [0, 0, 1, 1], order=0)
        array([2.])
    """
    outcome = np.asarray(y, dtype=float)
    outcome = outcome[:, None] if outcome.ndim == 1 else outcome
    states, toss = np.asarray(is_on, dtype=bool), np.asarray(coin)
    if len(states) <= order:
        message = f"carry-over of order {order} needs more than {len(states)} periods."
        raise DesignError(message)
    out: Floats = _exposure(states[None], toss, order)[0] @ outcome[order:]
    return out


def horvitz_thompson_inference(
    y: ArrayLike,
    is_on: ArrayLike,
    coin: Sequence[int] | Ints,
    *,
    order: int,
    names: Sequence[str] = ("y",),
    draws: int = 999,
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """Return ``horvitz_thompson`` with the p-value of no effect at all, by tossing again.

    The test takes outcomes less their mean: a level is no effect, and only adds noise.

    Args:
        y: Outcomes, shape [T] or [T, K].
        is_on: State of each period, shape [T].
        coin: Which toss decided each period, shape [T].
        order: Periods for which a state can linger.
        names: Components, K in all.
        draws: Tosses beside the observed one, where not all.
        seed: Of the tosses.

    Returns:
        Estimates with an exact p-value and no interval.

    References:
        Bojinov, Simchi-Levi and Zhao (2023), *Management Science* 69(7), on exact inference.

    Examples:
        >>> on, coin = np.array([1, 0, 0, 1, 0, 1, 1, 0]), np.arange(8)
        >>> effect = horvitz_thompson_inference(1.0 * on, on, coin, order=0)[0]
        >>> effect.estimate, effect.p_value
        (1.0, 0.0078125)
    """
    outcome = np.asarray(y, dtype=float)
    outcome = outcome[:, None] if outcome.ndim == 1 else outcome
    toss = np.unique(coin, return_inverse=True)[1]
    found = horvitz_thompson(outcome, is_on, toss, order=order)
    signs, _ = _tosses(int(toss.max()) + 1, draws, seed)
    states = np.asarray(is_on, dtype=bool) ^ (signs < 0)[:, toss]
    centred = outcome - outcome.mean(axis=0)
    every = np.abs(_exposure(states, toss, order) @ centred[order:])
    p = (every >= every[0] * (1 - 1e-9)).mean(axis=0)
    return tuple(
        Estimate(
            name=name,
            estimate=float(value),
            p_value=float(share),
            shape="none",
            note="the p-value is of no effect at all, by tossing again; no interval",
        )
        for name, value, share in zip(names, found, p, strict=True)
    )


def weekday_pairs(weekday: Sequence[int] | Ints) -> Ints:
    """Pair each day with the next free day of the same weekday; ``UNPAIRED`` for one left over.

    Args:
        weekday: Weekday of each day in order, shape [T].

    Returns:
        Pair of each day, shape [T].

    Examples:
        >>> weekday_pairs([0, 1, 0, 1, 0])
        array([ 0,  1,  0,  1, -1])
    """
    days = np.asarray(weekday)
    pair = np.full(len(days), UNPAIRED)
    for label in np.unique(days):
        same = np.flatnonzero(days == label)
        for i in range(0, len(same) - 1, 2):
            pair[same[i : i + 2]] = same[i]
    return _renumbered(pair)


def draw_switchback(pair: Sequence[int] | Ints, *, groups: int = 1, seed: int = 0) -> Bools:
    """Toss a coin per pair and group: which of its two blocks is on, shape [G, B].

    Blocks without a partner stay off.

    Examples:
        >>> on = draw_switchback([0, 1, 0, 1], groups=3)
        >>> on[:, :2] == ~on[:, 2:]
        array([[ True,  True],
               [ True,  True],
               [ True,  True]])
    """
    pairs = np.asarray(pair)
    out = np.zeros((groups, len(pairs)), dtype=bool)
    rng = np.random.default_rng(seed)
    for p in np.unique(pairs[pairs != UNPAIRED]):
        first, second = np.flatnonzero(pairs == p)
        out[:, first] = rng.integers(0, 2, size=groups) == 1
        out[:, second] = ~out[:, first]
    return out


def _cube(y: ArrayLike) -> Floats:
    cube = np.asarray(y, dtype=float)
    if cube.ndim == 1:
        return cube[None, :, None]
    return cube[None] if cube.ndim == 2 else cube


def _check(states: Bools, expected: Bools, on: Bools, pair: Ints) -> None:
    if (states != expected).any():
        raise DesignError("a state changes inside a block; blocks begin where states change.")
    for p in np.unique(pair[pair != UNPAIRED]):
        blocks = np.flatnonzero(pair == p)
        if len(blocks) != 2 or (on[:, blocks].sum(axis=1) != 1).any():
            message = (
                f"pair {p} of the switchback holds {len(blocks)} blocks with "
                f"{on[:, blocks].sum(axis=1).tolist()} on; a pair is one block on and one off."
            )
            raise DesignError(message)
    if (pair == UNPAIRED).all():
        raise DesignError("the switchback has no pairs; weekday_pairs makes them.")


def _renumbered(pair: Ints) -> Ints:
    out = np.full(len(pair), UNPAIRED, dtype=np.int64)
    paired = pair != UNPAIRED
    out[paired] = np.unique(pair[paired], return_inverse=True)[1]
    return out


def _tosses(coins: int, draws: int, seed: int) -> tuple[Floats, bool]:
    if coins < 20 and 2**coins <= draws + 1:
        return np.array(list(product((1.0, -1.0), repeat=coins))), True
    rng = np.random.default_rng(seed)
    signs = rng.choice(np.array([1.0, -1.0]), size=(draws, coins))
    return np.vstack([np.ones((1, coins)), signs]), False


def _pair_changes(design: Switchback) -> tuple[Floats, Floats]:
    """Earlier minus later block: outcome, and [1, state, state before]; one row per coin."""
    first, second = _ends_of_pairs(design.pair)
    usable = first > 0
    first, second = first[usable], second[usable]
    state = design.is_on * 1.0
    change = design.mean[:, first] - design.mean[:, second]
    now = state[:, first] - state[:, second]
    before = state[:, first - 1] - state[:, second - 1]
    if design.shares_coin:
        change, now, before = change.mean(axis=0)[None], now[:1], before[:1]
    x = np.stack([np.ones(now.size), now.ravel(), before.ravel()], axis=1)
    return change.reshape(-1, len(design.names)), x


def _exposure(states: Bools, toss: Ints, order: int) -> Floats:
    """Signed inverse probability of each period from ``order`` on, [R, T - order]."""
    windows = np.lib.stride_tricks.sliding_window_view(states, order + 1, axis=1)
    tosses = np.lib.stride_tricks.sliding_window_view(toss, order + 1)
    distinct = 1 + (np.diff(np.sort(tosses, axis=1), axis=1) != 0).sum(axis=1)
    alike = windows.all(axis=2).astype(np.float64) - (~windows).all(axis=2)
    weight: Floats = alike * 2.0**distinct / len(distinct)
    return weight


def _ends_of_pairs(pair: Ints) -> tuple[Ints, Ints]:
    blocks = [np.flatnonzero(pair == p) for p in range(int(pair.max()) + 1)]
    ends = np.array(blocks).reshape(-1, 2)
    return ends[:, 0], ends[:, 1]
