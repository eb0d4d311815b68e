"""Who was assigned to which arm, once, and what was known of them before?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import ibis

from upliftlab.data.prepared import SetAside
from upliftlab.data.values import as_flag, as_number, as_text
from upliftlab.errors import DataError, DesignError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import ibis.expr.datatypes as dt

    from upliftlab.data.engine import Engine

MOST_LEVELS = 50
"""Levels that a segment may have."""

COVARIATES = "numbers or yes/no; declare text as a segment"
FEATURES = "numbers, yes/no, text, or dates without a zone"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assigned:
    """Units in exactly one arm, and what was set aside on the way.

    Attributes:
        units: One row per unit: ``unit``, ``arm``, ``assigned_at`` and what travelled along.
        counts: Units per arm and stratum before anything but unreadable rows was set aside.
        set_aside: Rows not used, by rule.
    """

    units: ibis.Table
    counts: Mapping[str, Mapping[str, int]]
    set_aside: tuple[SetAside, ...]


def once(
    engine: Engine,
    table: ibis.Table,
    *,
    source: str,
    arms: Sequence[str],
    within: tuple[int, int] | None = None,
    strata: Sequence[str] = (),
) -> Assigned:
    """Keep each unit once: its first assignment, if all its assignments name one arm.

    Units in two arms are set aside; they belong to no comparison. Repeated rows of one arm
    count once.

    Args:
        engine: Where the rows live.
        table: ``unit``, ``arm``, perhaps ``assigned_at`` (UTC seconds), and other columns.
        source: Name of the source, for messages.
        arms: Arms of the plan.
        within: First and last second in which the plan assigned units.
        strata: Text columns whose combinations the sample ratio is checked in.

    Raises:
        DataError: When the table names an arm that the plan does not.
    """
    usable = table.filter(table.unit.notnull() & table.arm.notnull())
    _refuse_strangers(engine, usable, source, arms)
    kept = _grouped(engine, usable, source)
    inside = _inside(kept, within)
    single = kept["arm"] == kept["_last"]
    first = engine.one(
        kept.aggregate(
            crossing=(~single).ifelse(1, 0).sum(),
            crossing_rows=(~single).ifelse(kept["_rows"], 0).sum(),
            repeated=single.ifelse(kept["_rows"] - 1, 0).sum(),
            timeless=(single & _timeless(kept)).ifelse(1, 0).sum(),
            outside=(single & ~inside & ~_timeless(kept)).ifelse(1, 0).sum(),
            rows=kept["_rows"].sum(),
        )
    )
    total = engine.one(table.aggregate(rows=ibis._.count()))["rows"]
    good = kept.filter(single & inside).drop("_last", "_rows")
    aside = _set_aside(engine, source, kept, first, int(total))
    found = _counts(engine, good, strata)
    counts = {arm: found[arm] for arm in arms if arm in found}
    absent = set(arms) - set(counts)
    if absent:
        raise DataError.arm_without_units(absent, source)
    return Assigned(units=good, counts=counts, set_aside=aside)


def described(
    engine: Engine,
    units: ibis.Table,
    users: ibis.Table | None,
    *,
    texts: Sequence[str],
    numbers: Sequence[str],
    features: Sequence[str] = (),
    beside: Sequence[str] = (),
) -> ibis.Table:
    """Join what was known before assignment: segments and strata as text, covariates numeric.

    Features travel as ``f:name``, as they are: a missing value stays missing; numbers that were
    written as words as ``fw:name``, dates as whole days since 1970 as ``fd:name``. Columns that
    stand beside, which no rule may use, have ``b`` for ``f``. A unit that the users source does
    not know keeps a missing value, which is a level of its own for texts and an indicator for
    numbers.

    Raises:
        DataError: When neither the assignments nor the users have a column that is asked for.
    """
    extras = dict.fromkeys(features, "f")
    extras |= {name: "b" for name in beside if name not in extras}
    wanted = list(dict.fromkeys((*texts, *numbers, *extras)))
    have = set(units.columns)
    foreign = [name for name in wanted if name not in have]
    if foreign and users is None:
        raise DataError.missing_column(foreign[0], "the plan", have)
    if users is not None:
        for name in foreign:
            if name not in users.columns:
                raise DataError.missing_column(name, "the plan", users.columns)
        extra = users.select("unit", *foreign, _known=ibis.literal(1))
        joined = units.left_join(extra, "unit").drop("unit_right")
    else:
        joined = units.mutate(_known=ibis.literal(1))
    read = {name: as_text(joined[name]).fill_null("(missing)") for name in texts}
    unread: dict[str, ibis.Value] = {}
    for name in numbers:
        value = _number(joined[name], name)
        read[f"x:{name}"] = value.fill_null(0.0)
        read[f"x:{name} missing"] = value.isnull().ifelse(1.0, 0.0)
        if joined[name].type().is_string():
            unread[name] = (as_text(joined[name]).notnull() & value.isnull()).ifelse(1, 0).sum()
    if unread:
        _refuse_texts(engine, joined, unread)
    read |= _features(engine, joined, extras)
    plain = [c for c in joined.columns if c not in set(wanted)]
    return engine.materialise(joined.select(*plain, **read), "described")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """How many clusters each arm has, and how unequal they are.

    Attributes:
        counts: Arm -> clusters.
        size_cv: Arm -> standard deviation over mean of units per cluster.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    size_cv: Mapping[str, float] = field(default_factory=dict)


def clusters(engine: Engine, units: ibis.Table, cluster: str | None) -> Clusters:
    """Count what was assigned as a whole; nothing without clusters.

    Raises:
        DesignError: When clusters hold units of several arms.
    """
    if cluster is None:
        return Clusters()
    sizes = units.group_by(cluster).agg(
        size=ibis._.count().cast("float64"), arm=units["arm"].min(), last=units["arm"].max()
    )
    sizes = engine.materialise(sizes, "clusters")
    found = engine.one(
        sizes.aggregate(
            split=(sizes["arm"] != sizes["last"]).ifelse(1, 0).sum(), of=ibis._.count()
        )
    )
    if found["split"]:
        raise DesignError(
            f"{int(found['split'])} of {int(found['of'])} clusters of {cluster!r} hold units "
            "of several arms; a cluster is what was assigned as a whole. Correct the column, "
            "or write design: user_split."
        )
    rows = engine.rows(
        sizes.group_by("arm").agg(
            n=ibis._.count(), mean=sizes["size"].mean(), spread=sizes["size"].std(how="pop")
        )
    )
    return Clusters(
        counts={row["arm"]: int(row["n"]) for row in rows},
        size_cv={row["arm"]: float(row["spread"] / row["mean"]) for row in rows},
    )


def refuse_many_levels(engine: Engine, units: ibis.Table, segments: Sequence[str]) -> None:
    """Refuse a segment with so many levels that it names customers rather than groups.

    Raises:
        DataError: With the first such segment and its number of levels.
    """
    if not segments:
        return
    found = engine.one(
        units.aggregate(**{f"s{i}": units[name].nunique() for i, name in enumerate(segments)})
    )
    for i, name in enumerate(segments):
        if found[f"s{i}"] > MOST_LEVELS:
            raise DataError.many_levels(name, levels=int(found[f"s{i}"]), limit=MOST_LEVELS)


def covariates(engine: Engine, units: ibis.Table) -> tuple[str, ...]:
    """Name the covariate columns that vary; an indicator of nothing missing is dropped."""
    names = [name for name in units.columns if name.startswith("x:")]
    if not names:
        return ()
    spread = engine.one(
        units.aggregate(
            **{f"l{i}": units[n].min() for i, n in enumerate(names)},
            **{f"h{i}": units[n].max() for i, n in enumerate(names)},
        )
    )
    return tuple(n for i, n in enumerate(names) if spread[f"l{i}"] != spread[f"h{i}"])


def _refuse_strangers(
    engine: Engine, table: ibis.Table, source: str, arms: Sequence[str]
) -> None:
    found = [row["arm"] for row in engine.rows(table.select("arm").distinct())]
    strangers = sorted(set(found) - set(arms))
    if strangers:
        raise DataError.unknown_arm(strangers[:10], source, arms)
    if not found:
        raise DataError.empty(source)


def _features(
    engine: Engine, table: ibis.Table, names: Mapping[str, str]
) -> dict[str, ibis.Value]:
    """Read features: text that is always a number is one, other text keeps its levels."""
    texts = [name for name in names if table[name].type().is_string()]
    worded: dict[str, int] = {}
    if texts:
        worded = engine.one(
            table.aggregate(
                **{
                    name: (as_text(table[name]).notnull() & _number(table[name], name).isnull())
                    .ifelse(1, 0)
                    .sum()
                    for name in texts
                }
            )
        )
    read: dict[str, ibis.Value] = {}
    for name, role in names.items():
        column = table[name]
        if worded.get(name):
            read[f"{role}:{name}"] = as_text(column)
        elif _is_day(column.type()):
            days = column.cast("date").cast("timestamp").epoch_seconds() / 86_400
            read[f"{role}d:{name}"] = days.cast("float64")
        else:
            number = _number(column, name, wanted=FEATURES).cast("float64")
            read[f"{role}{'w' if name in worded else ''}:{name}"] = number
    return read


def _is_day(kind: dt.DataType) -> bool:
    return kind.is_date() or (kind.is_timestamp() and kind.timezone is None)


def _number(column: ibis.Value, name: str, *, wanted: str = COVARIATES) -> ibis.Value:
    """Read a covariate as a number; yes and no of text files are 1 and 0."""
    kind = column.type()
    if kind.is_string():
        flag = as_flag(column)
        return ibis.coalesce(as_number(column), ibis.cases((flag, 1.0), (~flag, 0.0)))
    if not (kind.is_numeric() or kind.is_boolean()):
        raise DataError.wrong_type(name, "users", found=str(kind), wanted=wanted)
    return as_number(column)


def _refuse_texts(engine: Engine, table: ibis.Table, unread: Mapping[str, ibis.Value]) -> None:
    found = engine.one(table.aggregate(**unread))
    for name, rows in found.items():
        if rows:
            raise DataError.wrong_type(name, "users", found="text", wanted=COVARIATES)


def _grouped(engine: Engine, table: ibis.Table, source: str) -> ibis.Table:
    """Return one row per unit with its first and last arm; free when no unit repeats.

    What travels along comes from the first assignment. Rows without a clock have no first one,
    so a unit may repeat there only byte for byte.
    """
    seen = engine.one(table.aggregate(rows=ibis._.count(), units=table.unit.nunique()))
    if seen["rows"] == seen["units"]:
        return table.mutate(_last=table.arm, _rows=ibis.literal(1))
    rest = [name for name in table.columns if name not in {"unit", "arm", "assigned_at"}]
    if "assigned_at" in table.columns:
        clock = {"assigned_at": table["assigned_at"].min()}
        first = {name: table[name].argmin(table["assigned_at"]) for name in rest}
    else:
        _refuse_conflicts(engine, table, source)
        clock, first = {}, {name: table[name].min() for name in rest}
    grouped = table.group_by("unit").agg(
        arm=table.arm.min(), _last=table.arm.max(), _rows=ibis._.count(), **clock, **first
    )
    return engine.materialise(grouped, "assigned")


def _refuse_conflicts(engine: Engine, table: ibis.Table, source: str) -> None:
    """Refuse rows of one unit and arm that differ: which of them is the unit's outcome?"""
    rest = [name for name in table.columns if name != "unit"]
    repeated = table.distinct().group_by("unit", "arm").agg(n=ibis._.count())
    worst = repeated.filter(repeated.n > 1)
    found = engine.one(worst.aggregate(rows=(ibis._.n - 1).sum(), example=ibis._.unit.min()))
    if rest and found["rows"]:
        raise DataError.repeated(
            "unit", source, rows=int(found["rows"]), example=found["example"]
        )


def _timeless(table: ibis.Table) -> ibis.Value:
    if "assigned_at" not in table.columns:
        return ibis.literal(False)
    return table["assigned_at"].isnull()


def _inside(table: ibis.Table, within: tuple[int, int] | None) -> ibis.Value:
    if "assigned_at" not in table.columns:
        return ibis.literal(True)
    if within is None:
        return table["assigned_at"].notnull()
    return table["assigned_at"].between(*within).fill_null(False)


def _set_aside(
    engine: Engine, source: str, kept: ibis.Table, found: Mapping[str, int], total: int
) -> tuple[SetAside, ...]:
    used = int(found["rows"] or 0)
    rows = [
        SetAside(source=source, rule="without a customer id or an arm", rows=total - used),
        SetAside(
            source=source,
            rule="assigned again to the same arm; the first counts",
            rows=int(found["repeated"] or 0),
        ),
        SetAside(
            source=source,
            rule="without a time of assignment",
            rows=int(found["timeless"] or 0),
        ),
        SetAside(
            source=source,
            rule="assigned outside the run dates",
            rows=int(found["outside"] or 0),
        ),
    ]
    if found["crossing"]:
        pairs = engine.rows(
            kept.filter(kept["arm"] != kept["_last"]).group_by("arm").agg(n=ibis._.count())
        )
        rows.append(
            SetAside(
                source=source,
                rule="assigned to two arms; they belong to no comparison",
                rows=int(found["crossing"]),
                arms={row["arm"]: int(row["n"]) for row in pairs},
            )
        )
    return tuple(row for row in rows if row.rows)


def _counts(
    engine: Engine, units: ibis.Table, strata: Sequence[str]
) -> dict[str, dict[str, int]]:
    present = [name for name in strata if name in units.columns]
    label = ibis.literal("")
    for name in present:
        text = as_text(units[name]).fill_null("(missing)")
        label = text if name == present[0] else label + " · " + text
    rows = engine.rows(units.group_by(arm=units.arm, stratum=label).agg(n=ibis._.count()))
    out: dict[str, dict[str, int]] = {}
    for row in rows:
        out.setdefault(row["arm"], {})[row["stratum"]] = int(row["n"])
    return out
