"""What is each unit's row for targeting: what was known, what it did, which arm it had?"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import ibis
import numpy as np

from upliftlab.components import at
from upliftlab.data import chances, measure
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from upliftlab.data.plan import Plan
    from upliftlab.data.prepared import Prepared

    Matrix = NDArray[np.float32]
    Ints = NDArray[np.integer[Any]]

RULE, BESIDE = "f", "b"
"""First letter of columns that a rule may use, and of those that only stand beside it."""

KINDS = {"": "number", "w": "worded", "d": "date"}
"""Second letter -> how a column was stored; see :func:`upliftlab.data.assigned.described`."""

MISSING = "(missing)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreTable:
    """Units as plain arrays, in the order of their ids.

    Attributes:
        features: Name -> values known before assignment, [n]: float32 with NaN for gaps, days
            for dates, or an Arrow dictionary for texts.
        beside: The same of columns that no rule may use.
        worded: Features that are numbers or yes and no written as text.
        y: Components of the headline window, float32 [n, K], money in minor units.
        components: Their names, without the window.
        idle: Components that are 0 for every unit.
        arm: Position in ``arms``, int8 [n]; 0 is control.
        arms: Labels, control first.
        stratum: Position in ``strata``, int32 [n]; None for an unstratified test.
        strata: Labels of strata, several columns joined by " · ".
        cluster: Number of the cluster, int32 [n]; None for units assigned one by one.
        total: Units before any were sampled.
        propensity: Probability of each arm for each unit, float32 [n, A], as the assignment
            table gives it; None where it gives none.
        is_own_only: Whether of several arms only that of a unit's own is known.
    """

    features: Mapping[str, Any]
    y: Matrix
    components: tuple[str, ...]
    idle: tuple[str, ...]
    arm: NDArray[np.int8]
    arms: tuple[str, ...]
    stratum: NDArray[np.int32] | None
    strata: tuple[str, ...]
    cluster: NDArray[np.int32] | None
    total: int
    beside: Mapping[str, Any] = field(default_factory=dict)
    worded: frozenset[str] = frozenset()
    propensity: Matrix | None = None
    is_own_only: bool = False

    def take(self, rows: NDArray[Any]) -> ScoreTable:
        """Keep these units, by position or by a mask."""
        index = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return replace(
            self,
            features=_taken(self.features, index),
            beside=_taken(self.beside, index),
            y=self.y[index],
            arm=self.arm[index],
            stratum=None if self.stratum is None else self.stratum[index],
            cluster=None if self.cluster is None else self.cluster[index],
            propensity=None if self.propensity is None else self.propensity[index],
        )


def score_table(
    prepared: Prepared,
    plan: Plan,
    *,
    components: Collection[str] | None = None,
    sample: int | None = None,
    seed: int = 1,
) -> ScoreTable:
    """Read the prepared units, batch by batch, into the arrays that scores are made of.

    Rows come in the order of unit ids, so that a seed means the same on every engine. Memory is
    that of the arrays: 4 bytes per unit and column, and one batch.

    Args:
        prepared: Units of :func:`upliftlab.data.prepare.prepare`, at order or unit grain.
        plan: Of :func:`upliftlab.data.prepare.plan_of`.
        components: Those to read, by plain names, such as ``Economics.components``; None reads
            all. What the data do not hold is passed over.
        sample: Units to keep, by chance; clusters are kept or left whole, until they hold at
            least so many units. None keeps all.
        seed: Of the sample.

    Raises:
        DataError: When there is no feature or no component.
    """
    whole = measure.full_units(prepared)
    window = _window(prepared.components, plan.headline, components)
    kinds = whole.schema()
    shown = {name: _role(name) for name in whole.columns}
    features = [name for name, (role, _, _) in shown.items() if role]
    if not window or not any(shown[name][0] == RULE for name in features):
        what = "column that a rule may use" if window else "component of the headline window"
        have = sorted(n for n in whole.columns if not n.startswith(("_", "x:")))
        raise DataError(
            f"the units have no {what}; read were {have}. Name columns that were known before "
            "assignment in target.features."
        )
    strata = [name for name in plan.strata if name in whole.columns]
    group = [prepared.cluster] if prepared.cluster else []
    texts = ["arm", *strata, *group, *(n for n in features if kinds[n].is_string())]
    dealt = [name for name in whole.columns if name.startswith(chances.HELD)]
    numbers = [*(name for name in features if name not in texts), *dealt]
    keep = _sampled(prepared, whole, sample, seed)
    held = _read(
        prepared, whole, texts=texts, numbers=numbers, outcomes=list(window), keep=keep
    )
    arms = (plan.control, *(arm for arm in plan.arms if arm != plan.control))
    arm = _positions(held.text("arm"), arms)
    stratum, labels = _combined([held.text(name) for name in strata])
    read: dict[str, dict[str, Any]] = {RULE: {}, BESIDE: {}}
    for name in features:
        role, kind, own = shown[name]
        read[role][own] = (
            held.dictionary(name) if name in texts else _typed(held.number[name], kind)
        )
    return ScoreTable(
        features=read[RULE],
        beside=read[BESIDE],
        worded=frozenset(own for _, kind, own in shown.values() if kind == "worded"),
        y=held.y,
        components=tuple(window.values()),
        idle=tuple(_window(prepared.idle, plan.headline, None).values()),
        arm=arm,
        arms=arms,
        stratum=stratum,
        strata=labels,
        cluster=held.code[group[0]] if group else None,
        total=len(keep),
        propensity=chances.matrix({n: held.number[n] for n in dealt}, arm, arms, plan.arms),
        is_own_only=chances.HELD in dealt and len(arms) > 2,
    )


def _role(name: str) -> tuple[str, str, str]:
    """Take a column's name apart: role, kind and the name of the plan; no role for others."""
    prefix, mark, own = name.partition(":")
    role, kind = prefix[:1], prefix[1:]
    if not mark or role not in {RULE, BESIDE} or kind not in KINDS:
        return "", "", name
    return role, KINDS[kind], own


def _typed(values: Matrix, kind: str) -> NDArray[Any]:
    """Days as dates again; other numbers as they are."""
    if kind != "date":
        return values
    days = np.where(np.isnan(values), 0, values).astype("datetime64[D]")
    days[np.isnan(values)] = np.datetime64("NaT")
    return days


def _taken(columns: Mapping[str, Any], index: NDArray[np.intp]) -> dict[str, Any]:
    return {
        name: column[index] if isinstance(column, np.ndarray) else column.take(index)
        for name, column in columns.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Held:
    """Columns read so far: numbers, and positions of texts in a growing list of levels."""

    y: Matrix
    number: dict[str, Matrix]
    code: dict[str, NDArray[np.int32]]
    level: dict[str, dict[str | None, int]]

    def text(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """Positions and levels of one text column, levels sorted; a gap is "(missing)"."""
        levels = [MISSING if each is None else each for each in self.level[name]]
        order = sorted(range(len(levels)), key=levels.__getitem__)
        rank = np.empty(len(levels), dtype=np.int32)
        rank[order] = np.arange(len(levels))
        return rank[self.code[name]], [levels[i] for i in order]

    def dictionary(self, name: str) -> pa.DictionaryArray:
        """One text column as Arrow keeps it, gaps as gaps."""
        import pyarrow as pa

        code = self.code[name]
        gap = self.level[name].get(None)
        mask = None if gap is None else code == gap
        levels = ["" if each is None else each for each in self.level[name]]
        return pa.DictionaryArray.from_arrays(pa.array(code, mask=mask), pa.array(levels))


def _window(
    names: Sequence[str], days: int | None, wanted: Collection[str] | None
) -> dict[str, str]:
    """Components of one window -> plain names, beside those without a window."""
    suffix = at("", days)
    plain = {
        name: name.removesuffix(suffix)
        for name in names
        if "@" not in name or (suffix and name.endswith(suffix))
    }
    return {name: own for name, own in plain.items() if wanted is None or own in wanted}


def _sampled(
    prepared: Prepared, whole: ibis.Table, sample: int | None, seed: int
) -> NDArray[np.bool_]:
    """Say which rows, in the order of ids, are kept."""
    rows = int(prepared.engine.one(whole.aggregate(n=ibis._.count()))["n"])
    if sample is None or sample >= rows:
        return np.ones(rows, dtype=bool)
    rng = np.random.default_rng(seed)
    keep = np.zeros(rows, dtype=bool)
    if prepared.cluster is None:
        keep[rng.choice(rows, sample, replace=False)] = True
        return keep
    held = _read(prepared, whole, texts=[prepared.cluster], keep=~keep)
    member = held.code[prepared.cluster]
    sizes = np.bincount(member)
    order = rng.permutation(len(sizes))
    needed = int(np.searchsorted(np.cumsum(sizes[order]), sample)) + 1
    return np.isin(member, order[:needed])


def _read(
    prepared: Prepared,
    whole: ibis.Table,
    *,
    texts: Sequence[str],
    numbers: Sequence[str] = (),
    outcomes: Sequence[str] = (),
    keep: NDArray[np.bool_],
) -> _Held:
    """Stream columns into arrays of their final size."""
    chosen = {f"t{i}": whole[name].cast("string") for i, name in enumerate(texts)}
    amounts = (*numbers, *outcomes)
    # Engines refuse numbers beyond float32 where numpy makes them infinite, which is missing.
    chosen |= {
        f"n{i}": whole[name].cast("float64" if name in numbers else "float32")
        for i, name in enumerate(amounts)
    }
    size = int(keep.sum())
    held = _Held(
        # Outcomes are read one by one: each is one run of memory.
        y=np.empty((size, len(outcomes)), dtype=np.float32, order="F"),
        number={name: np.empty(size, dtype=np.float32) for name in numbers},
        code={name: np.empty(size, dtype=np.int32) for name in texts},
        level={name: {} for name in texts},
    )
    places = [*held.number.values(), *held.y.T]
    seen = begin = 0
    for batch in prepared.engine.batches(whole.order_by("unit").select(**chosen)):
        kept = np.flatnonzero(keep[seen : seen + batch.num_rows])
        seen, end = seen + batch.num_rows, begin + len(kept)
        for i, place in enumerate(places):
            column = batch.column(f"n{i}").to_numpy(zero_copy_only=False)
            with np.errstate(over="ignore"):
                place[begin:end] = column[kept]
        for i, name in enumerate(texts):
            codes = _coded(batch.column(f"t{i}"), held.level[name])
            held.code[name][begin:end] = codes[kept]
        begin = end
    return held


def _coded(column: pa.Array, level: dict[str | None, int]) -> NDArray[np.int32]:
    """Number a batch's texts by the levels so far, adding new ones in order of appearance."""
    import pyarrow.compute as pc

    found = pc.dictionary_encode(column, null_encoding="encode")
    known = [level.setdefault(each, len(level)) for each in found.dictionary.to_pylist()]
    index = found.indices.to_numpy(zero_copy_only=False)
    codes: NDArray[np.int32] = np.array(known, dtype=np.int32)[index]
    return codes


def _combined(
    columns: list[tuple[NDArray[np.int32], list[str]]],
) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    """Number the combinations of several texts that occur."""
    if not columns:
        return None, ()
    code, labels = columns[0]
    for more, levels in columns[1:]:
        joint = code.astype(np.int64) * len(levels) + more
        used, position = np.unique(joint, return_inverse=True)
        pairs = [divmod(int(each), len(levels)) for each in used]
        labels = [f"{labels[one]} · {levels[two]}" for one, two in pairs]
        code = position.astype(np.int32)
    return code, tuple(labels)


def _positions(
    found: tuple[NDArray[np.int32], list[str]], arms: Sequence[str]
) -> NDArray[np.int8]:
    code, labels = found
    place = np.array([arms.index(label) for label in labels], dtype=np.int8)
    return place[code]
