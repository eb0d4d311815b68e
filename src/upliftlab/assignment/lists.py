"""Which arm, or which wave, does each entry of a list get when the list is drawn as a whole?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from upliftlab.assignment.hashing import DIGITS, GRID, digest
from upliftlab.assignment.scheme import MOST_TRIES, AssignmentScheme
from upliftlab.errors import DesignError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """A list drawn as a whole.

    Attributes:
        names: Of the entries.
        labels: Arms or waves, in the order of the plan.
        scheme: What was drawn, as positions in ``labels``, and what could have been.
        salt: With which it was drawn; a draw that was put back as unbalanced changes it.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    scheme: AssignmentScheme
    salt: str

    @property
    def found(self) -> tuple[str, ...]:
        """Label of each entry."""
        return tuple(self.labels[i] for i in self.scheme.start)


def drawn(
    names: Sequence[str],
    shares: Mapping[str, Fraction],
    *,
    salt: str,
    strata: Sequence[str] | None = None,
    balance: Floats | None = None,
    keep: float = 1.0,
) -> Drawn:
    """Draw every entry of a list so that each stratum has its shares, rounded by chance.

    Within a stratum entries stand in the order of their hashes, and arms are cut from that
    order; where shares are no whole numbers of entries, a hash of the stratum decides which way
    to round, so every entry's chance is exactly its share.

    Args:
        names: Of the entries, each once.
        shares: Label -> share, in the order of the plan.
        salt: Other salts give other draws.
        strata: Of each entry; one stratum unless said.
        balance: Columns to be alike, shape [G, P]: draws are put back until they are.
        keep: Share of draws that are balanced enough.

    Raises:
        DesignError: When there are more arms or waves than entries, or one gets none.

    References:
        Madow (1949), *Annals of Mathematical Statistics* 20(3), for the systematic cut; Morgan
        and Rubin (2012), *Annals of Statistics* 40(2), for re-randomisation.

    Examples:
        >>> half = {"a": Fraction(1, 2), "b": Fraction(1, 2)}
        >>> found = drawn(["m1", "m2", "m3", "m4"], half, salt="spring").found
        >>> sorted(found)
        ['a', 'a', 'b', 'b']
    """
    labels = tuple(shares)
    if len(labels) > len(names):
        raise DesignError(
            f"{len(labels)} arms or waves ({', '.join(labels)}) are drawn from {len(names)} "
            "clusters; each needs one or more, and inference needs two."
        )
    blocks = list(strata) if strata is not None else [""] * len(names)
    first = _cut(names, shares, salt, blocks)
    scheme = AssignmentScheme.of(first, block=np.unique(blocks, return_inverse=True)[1])
    if balance is not None:
        scheme, salt = _balanced(
            scheme, names, shares, salt=salt, blocks=blocks, balance=balance, keep=keep
        )
    for i, label in enumerate(labels):
        if not (scheme.start == i).any():
            raise DesignError(
                f"{label!r} has a share of {float(shares[label]):.3g} and gets none of "
                f"{len(names)} clusters; give it a larger share, or draw in fewer strata."
            )
    return Drawn(names=tuple(names), labels=labels, scheme=scheme, salt=salt)


def _cut(
    names: Sequence[str], shares: Mapping[str, Fraction], salt: str, blocks: Sequence[str]
) -> Ints:
    ends, total = [], Fraction(0)
    for share in shares.values():
        total += share
        ends.append(total)
    out = np.zeros(len(names), dtype=np.int64)
    rows: dict[str, list[int]] = {}
    for i, block in enumerate(blocks):
        rows.setdefault(block, []).append(i)
    for block, members in rows.items():
        ordered = sorted(members, key=lambda i: digest(salt, names[i]))
        offset = int(digest(f"{salt}:round", block)[:DIGITS], 16)
        # (rank + offset) / size < end, in whole numbers.
        edges = [end * len(ordered) * GRID for end in ends]
        for rank, i in enumerate(ordered):
            at = rank * GRID + offset
            out[i] = next((a for a, edge in enumerate(edges) if at < edge), len(ends) - 1)
    return out


def _balanced(
    scheme: AssignmentScheme,
    names: Sequence[str],
    shares: Mapping[str, Fraction],
    *,
    salt: str,
    blocks: Sequence[str],
    balance: Floats,
    keep: float,
) -> tuple[AssignmentScheme, str]:
    """Draw with new salts until the columns are as alike as in the best draws."""
    asked = replace(scheme, balance=np.asarray(balance, dtype=np.float64))
    seed = int(digest(f"{salt}:balance", "")[:DIGITS], 16)
    others = asked.permuted(MOST_TRIES, np.random.default_rng(seed))
    limit = float(np.quantile(asked.unlikeness(others), keep))
    limit += 1e-9 * max(1.0, abs(limit))
    for attempt in range(10 * math.ceil(1 / keep) + 100):
        tried = salt if attempt == 0 else f"{salt}:{attempt}"
        start = _cut(names, shares, tried, blocks)
        if asked.unlikeness(start[None])[0] <= limit:
            return replace(asked, start=start, most_unlike=limit), tried
    raise DesignError(
        f"no draw of {len(names)} clusters is as balanced as the best {keep:.0%}; keep a "
        "larger share of draws, or balance fewer columns."
    )
