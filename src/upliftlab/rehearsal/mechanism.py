"""By which mechanism does the plan assign, and what else could it have drawn?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.assignment.lists import drawn as drawn_list
from upliftlab.assignment.scheme import AssignmentScheme
from upliftlab.data.pieces import BUCKETS
from upliftlab.plan.assign import BALANCED, EACH

if TYPE_CHECKING:
    from fractions import Fraction

    from numpy.typing import NDArray

    from upliftlab.assignment.recipe import Recipe
    from upliftlab.data.pieces import Pieces

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mechanism:
    """Re-assignments of the pieces.

    Attributes:
        words: What is drawn, and how, for readers.
        drawn: Position of each piece's arm, shape [R, B].
        shares: Share of each arm that counts are held against, shape [A].
    """

    words: str
    drawn: Ints
    shares: Floats


def mechanism_of(
    recipe: Recipe, found: Pieces, *, draws: int, seed: int, unit: str = "customer"
) -> Mechanism:
    """Draw re-assignments by the plan's own mechanism.

    Buckets of neighbouring hashes are drawn in fixed numbers per arm: then units per arm vary
    just as they do when each unit is drawn by its own hash. Clusters that are hashed one by
    one are drawn one by one; lists drawn in blocks are drawn in the same blocks.

    Args:
        recipe: How the plan gives arms.
        found: Pieces from before the test.
        draws: How many.
        seed: Of the draws.
        unit: What is assigned, in the plan's word.
    """
    names = sorted({label[0] for label in found.cells.labels})
    shares = recipe.shares
    planned = np.array([float(share) for share in shares.values()])
    rng = np.random.default_rng(seed)
    if not found.are_clusters:
        # Buckets without units are drawn too: only then do units per arm vary as they should.
        one = _fixed(BUCKETS, list(shares.values()))
        drawn = AssignmentScheme.of(one).permuted(draws, rng)[:, [int(x, 16) for x in names]]
        realised = np.bincount(one, minlength=len(shares)) / BUCKETS
        strata = f", compared within {' and '.join(recipe.strata)}" if recipe.strata else ""
        words = f"{unit} by {unit} by salted hash{strata}"
        return Mechanism(words=words, drawn=drawn, shares=realised)
    if recipe.draw == EACH:
        drawn = rng.choice(len(shares), size=(draws, len(names)), p=planned / planned.sum())
        words = "each cluster by its own hash"
        return Mechanism(words=words, drawn=drawn.astype(np.int64), shares=planned)
    blocks = _blocks(found, names) if recipe.strata else None
    balance = _balance(found, recipe, names) if recipe.draw == BALANCED else None
    first = drawn_list(
        names, shares, salt=recipe.salt, strata=blocks, balance=balance, keep=float(recipe.keep)
    )
    starts, _ = first.scheme.draws(draws - 1, seed)
    every = starts[rng.integers(len(starts), size=draws)] if len(starts) < draws else starts
    words = "clusters drawn as a list"
    words += f" in blocks of {' and '.join(recipe.strata)}" if blocks else ""
    words += f", balanced on {' and '.join(recipe.balance)}" if balance is not None else ""
    return Mechanism(words=words, drawn=every[:draws], shares=planned)


def _fixed(pieces: int, shares: list[Fraction]) -> Ints:
    """Give each arm its number of pieces, the largest remainders rounded up."""
    exact = [share * pieces for share in shares]
    counts = [int(each) for each in exact]
    rest = pieces - sum(counts)
    order = sorted(range(len(shares)), key=lambda a: counts[a] - exact[a])
    for a in order[:rest]:
        counts[a] += 1
    return np.repeat(np.arange(len(shares)), counts).astype(np.int64)


def _blocks(found: Pieces, names: list[str]) -> list[str]:
    """Stratum of each cluster; of a cluster in several, the one with most units."""
    best: dict[str, tuple[int, str]] = {}
    for label, n in zip(found.cells.labels, found.cells.n, strict=True):
        stratum = " · ".join(label[1:])
        best[label[0]] = max(best.get(label[0], (-1, "")), (int(n), stratum))
    return [best[name][1] for name in names]


def _balance(found: Pieces, recipe: Recipe, names: list[str]) -> Floats:
    """Means per cluster of the columns to balance."""
    whole = found.cells.collapse(["piece"])
    at = {label[0]: i for i, label in enumerate(whole.labels)}
    rows = [at[name] for name in names]
    known = {name.removeprefix("x:"): k for k, name in enumerate(whole.names)}
    take = [known[name] for name in recipe.balance if name in known]
    out: Floats = whole.mean[rows][:, take]
    return out
