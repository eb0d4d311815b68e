"""What went wrong, who asked, what is allowed and what would fix it.

Every mistake is one of these::

    UpliftlabError (a ValueError)
    ├── DefinitionError   the experiment is not written down correctly
    ├── DataError         the table does not hold what the experiment says it holds
    ├── DesignError       the comparison cannot answer the question
    └── LedgerError       the money does not add up

Only mistakes raise. A fact about the data is a ``Check``; a number that does not exist is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import date


def nearest(found: str, allowed: Iterable[str]) -> str:
    """Say which allowed word was probably meant, as a sentence to append; else nothing.

    Examples:
        >>> nearest("ordrs", ["orders", "user_id"])
        " Did you mean 'orders'?"
        >>> nearest("zebra", ["orders", "user_id"])
        ''
    """
    near = get_close_matches(found, sorted(allowed), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a definition, and where.

    Attributes:
        message: A full sentence; it begins with ``where`` where the value itself is at fault.
        where: Dotted path of the key, such as ``arms.coupon.share``; empty for the whole file.
        file: The file as the caller named it; empty for an experiment made in Python.
        line: Line in the file, counted from 1; ``None`` where there is no file.
    """

    message: str
    where: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        """Print as ``file:line: message``, which editors turn into a link."""
        if not self.file:
            return self.message
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"

    def moved(self, where: str, *, file: str = "", line: int | None = None) -> Problem:
        """Put the same problem at its full path, once that path is known.

        Examples:
            >>> print(Problem(message="share is '5'; write 5%.", where="share").moved("a.b"))
            a.b is '5'; write 5%.
        """
        message = self.message
        if self.where and message.startswith(self.where):
            message = where + message.removeprefix(self.where)
        return replace(self, message=message, where=where, file=file, line=line)


class UpliftlabError(ValueError):
    """A mistake that upliftlab found before doing anything expensive."""


class DefinitionError(UpliftlabError):
    """The experiment is not written down correctly; ``problems`` holds everything found."""

    def __init__(self, *problems: Problem | str) -> None:
        self.problems: tuple[Problem, ...] = tuple(
            Problem(message=each) if isinstance(each, str) else each for each in problems
        )
        super().__init__(_listed(self.problems))

    def __reduce__(self) -> tuple[type[DefinitionError], tuple[Problem, ...]]:
        """Travel between processes with the problems, not only their text."""
        return type(self), self.problems

    @classmethod
    def not_built(
        cls, kind_of_thing: str, found: str, built: Collection[str]
    ) -> DefinitionError:
        """Refuse a part of the language that is known and not there yet, by name."""
        message = f"{kind_of_thing} {found!r} is not built yet; built: {sorted(built)}."
        return cls(Problem(message=message, where=kind_of_thing))

    @classmethod
    def unknown_word(cls, what: str, found: str, allowed: Collection[str]) -> DefinitionError:
        """Refuse a word that is not one of the few allowed ones."""
        hint = nearest(found, allowed)
        message = f"{what} is {found!r}; allowed: {sorted(allowed)}.{hint}"
        return cls(Problem(message=message, where=what))

    @classmethod
    def unknown_key(cls, owner: str, found: str, allowed: Collection[str]) -> DefinitionError:
        """Refuse a key that its owner does not have."""
        hint = nearest(found, allowed)
        message = f"{owner} has no key {found!r}; allowed: {sorted(allowed)}.{hint}"
        return cls(Problem(message=message))

    @classmethod
    def missing_key(cls, owner: str, key: str, example: str) -> DefinitionError:
        """Ask for a key that its owner cannot do without."""
        hint = f"; add for example {key}: {example}." if example else "."
        return cls(Problem(message=f"{owner} needs the key {key!r}{hint}"))

    @classmethod
    def unreadable(cls, what: str, found: object, fix: str) -> DefinitionError:
        """Refuse a value of the wrong form and show the right form."""
        shown = "empty" if found is None else _shown(found)
        return cls(Problem(message=f"{what} is {shown}; {fix}.", where=what))

    @classmethod
    def shares(cls, owner: str, shares: Sequence[object], total: object) -> DefinitionError:
        """Shares of a whole that are not the whole."""
        parts = " + ".join(map(str, shares))
        return cls(f"{owner} have shares {parts} = {total}; shares must add up to 100%.")

    @classmethod
    def too_few_arms(cls, owner: str, arms: Collection[str]) -> DefinitionError:
        """A comparison needs something to compare with."""
        return cls(f"{owner} has the arms {list(arms)}; a comparison needs two or more.")

    @classmethod
    def no_control(cls, owner: str, arms: Collection[str]) -> DefinitionError:
        """No arm is the one that the others are compared with."""
        return cls(
            f"{owner} has arms {list(arms)} and none is marked as control; "
            "add control: true to one of them."
        )

    @classmethod
    def several_controls(cls, owner: str, arms: Collection[str]) -> DefinitionError:
        """More than one arm claims to be the one that the others are compared with."""
        return cls(
            f"{owner} has arms {list(arms)} all marked as control; "
            "keep control: true at one of them."
        )

    @classmethod
    def out_of_order(
        cls, owner: str, first: str, first_day: date, then: str, then_day: date
    ) -> DefinitionError:
        """Two days stand the wrong way round."""
        return cls(
            f"{owner} has {first} {first_day} after {then} {then_day}; "
            f"{first} must not be later than {then}."
        )

    @classmethod
    def unknown_component(
        cls, metric: str, found: str, allowed: Collection[str]
    ) -> DefinitionError:
        """A metric is made from something that nobody measures."""
        hint = nearest(found, allowed)
        return cls(
            f"metric {metric!r} is made from component {found!r}; "
            f"allowed: {sorted(allowed)}.{hint}"
        )

    @classmethod
    def unknown_guardrail(cls, found: str, allowed: Collection[str]) -> DefinitionError:
        """Something must not worsen that nobody measures."""
        hint = nearest(found, allowed)
        return cls(
            f"decide.must_not_worsen names {found!r}, which is no metric and no component; "
            f"define it under metrics.{hint}"
        )

    @classmethod
    def two_margins(cls, metric: str, here: object, there: object) -> DefinitionError:
        """One guardrail has two margins."""
        return cls(
            f"guardrail {metric!r} has margin {here} under decide and {there} under metrics; "
            "keep one of them."
        )

    @classmethod
    def reserved_metric(cls, name: str) -> DefinitionError:
        """A metric would hide the one that is always there."""
        return cls(f"metric {name!r} is computed from costs; choose another name.")

    @classmethod
    def several_primary(cls, metrics: Collection[str]) -> DefinitionError:
        """One plan has one primary metric."""
        return cls(
            f"metrics {list(metrics)} are all primary; keep role: primary at one of them."
        )

    @classmethod
    def unknown_zone(cls, found: str, allowed: Collection[str]) -> DefinitionError:
        """Refuse a time zone that the zone database does not have."""
        hint = nearest(found, allowed)
        message = f"timezone is {found!r}; write a zone such as Asia/Shanghai.{hint}"
        return cls(Problem(message=message, where="timezone"))

    @classmethod
    def no_costs_file(cls, place: str, presets: Collection[str]) -> DefinitionError:
        """The plan names a costs file that is not there."""
        fix = f"write {{preset: {place}}}" if place in presets else "write {margin: 35%}"
        message = f"costs is {place!r}; there is no such file. Make it, or {fix}."
        return cls(Problem(message=message, where="costs"))

    @classmethod
    def both_given(cls, owner: str, one: str, other: str) -> DefinitionError:
        """Refuse two keys that say the same thing twice."""
        message = f"{owner} has both {one!r} and {other!r}; keep one of them."
        return cls(Problem(message=message, where=owner))

    @classmethod
    def one_of(
        cls, owner: str, given: Sequence[str], allowed: Sequence[str]
    ) -> DefinitionError:
        """Ask for exactly one of a few keys."""
        found = f"has {' and '.join(map(repr, given))}" if given else "has none of them"
        message = f"{owner} needs exactly one of {list(allowed)}; it {found}."
        return cls(Problem(message=message, where=owner))

    @classmethod
    def one_grain(cls, given: Sequence[str]) -> DefinitionError:
        """Ask for order tables, or units, or cells."""
        found = f"has {list(given)}" if given else "has no table"
        return cls(
            "data needs one grain: order tables (assignments, order_lines, ...), or units, "
            f"or cells; it {found}."
        )

    @classmethod
    def needs_beside(cls, key: str, wanted: str, given: str) -> DefinitionError:
        """Refuse a key that goes with something that was not chosen."""
        return cls(f"{key!r} goes with {wanted}, and {given!r} was given; leave {key!r} out.")

    @classmethod
    def repeated_arm(cls, label: str) -> DefinitionError:
        """Two arms have one label."""
        return cls(f"arms has {label!r} more than once; each label must come once.")

    @classmethod
    def engine_written_out(cls, what: str) -> DefinitionError:
        """Refuse a connection in the file, without repeating it."""
        message = (
            f"{what} is not the name of an environment variable; write for example "
            "$WAREHOUSE_URL and keep the connection itself out of the file."
        )
        return cls(Problem(message=message, where=what))

    @classmethod
    def no_sales(cls, have: Collection[str]) -> DefinitionError:
        """Profit needs a sales column to start from."""
        return cls(
            "profit needs sales: 'gmv_platform', 'gmv_merchant' or 'kept_sales'; "
            f"the data have {sorted(have)}."
        )

    @classmethod
    def cost_not_in_data(cls, line: str, wanted: str, have: Collection[str]) -> DefinitionError:
        """A stated cost hangs on a component that the data do not hold."""
        return cls(
            f"costs.{line} needs component {wanted!r}; the data have {sorted(have)}. "
            f"Leave costs.{line} out, or use order tables."
        )

    @classmethod
    def no_costs(cls) -> DefinitionError:
        """Profit needs at least one margin."""
        return cls(
            "profit needs costs and the plan has none; add costs: {margin: 35%}, a preset, "
            "or a cost table."
        )


class DataError(UpliftlabError):
    """The table does not hold what the experiment says it holds."""

    @classmethod
    def missing_column(cls, column: str, asked_by: str, have: Collection[str]) -> DataError:
        """A column that somebody needs is not in the table."""
        hint = nearest(column, have)
        return cls(f"{asked_by} needs column {column!r}; the table has {sorted(have)}.{hint}")

    @classmethod
    def empty(
        cls,
        table: str,
        *,
        between: tuple[date, date] | None = None,
        has: tuple[date, date] | None = None,
    ) -> DataError:
        """A table has no rows at all, or none in the dates of the run."""
        asked = f" between {between[0]} and {between[1]}" if between else ""
        found = f"; its dates run from {has[0]} to {has[1]}" if has else ""
        return cls(f"table {table!r} has no rows{asked}{found}.")

    @classmethod
    def missing_file(cls, table: str, file: str) -> DataError:
        """The file of a source, or any file of its pattern, is not there."""
        return cls(f"table {table!r} reads {file!r}; no such file is there.")

    @classmethod
    def missing_table(cls, table: str, asked_by: str, have: Collection[str]) -> DataError:
        """A table that somebody needs has no source in the definition."""
        return cls(
            f"{asked_by} needs table {table!r}; data has {sorted(have)}. "
            f"Add data.{table}: {{file: ...}}."
        )

    @classmethod
    def unknown_arm(
        cls, found: Collection[str], table: str, arms: Collection[str]
    ) -> DataError:
        """The table names arms that the plan does not."""
        strangers = sorted(found)
        hint = nearest(strangers[0], arms)
        return cls(
            f"table {table!r} has arms {strangers} that the plan does not; "
            f"the plan has {sorted(arms)}.{hint}"
        )

    @classmethod
    def wrong_type(cls, column: str, table: str, *, found: str, wanted: str) -> DataError:
        """A column has a type that cannot be read as what it should be."""
        return cls(f"column {column!r} of table {table!r} is {found}; it must be {wanted}.")

    @classmethod
    def float_ids(cls, column: str, table: str, example: object) -> DataError:
        """Ids came as floating-point numbers, which round after 15 digits."""
        return cls(
            f"column {column!r} of table {table!r} holds ids as decimal numbers, such as "
            f"{example!r}; long ids are already rounded and two customers may share one. "
            "Export ids as text."
        )

    @classmethod
    def money_unit(
        cls, table: str, columns: Collection[str], units: Sequence[str]
    ) -> DataError:
        """A table holds money and nobody said in which unit."""
        choice = " or ".join(f"money: {unit}" for unit in units)
        return cls(
            f"table {table!r} has money columns {sorted(columns)} and names no unit; "
            f"add {choice} to data.{table}."
        )

    @classmethod
    def missing_values(cls, column: str, table: str, *, rows: int, of: int) -> DataError:
        """A column that must be complete has gaps."""
        return cls(
            f"column {column!r} of table {table!r} is empty in {rows} of {of} rows; "
            "it must be filled in every row."
        )

    @classmethod
    def negative(
        cls, column: str, table: str, *, rows: int, of: int, lowest: object
    ) -> DataError:
        """A column that counts or pays has values below zero."""
        return cls(
            f"column {column!r} of table {table!r} is below zero in {rows} of {of} rows, "
            f"the lowest {lowest}; it must be zero or more."
        )

    @classmethod
    def repeated(cls, key: str, table: str, *, rows: int, example: object) -> DataError:
        """A key that must be unique comes more than once."""
        return cls(
            f"table {table!r} has {rows} rows whose {key!r} came before, such as "
            f"{example!r}; each {key!r} must come once."
        )

    @classmethod
    def no_source(cls, table: str) -> DataError:
        """Neither the plan nor the caller gave a table."""
        return cls(
            f"table {table!r} has no source; add data.{table}: {{file: ...}} to the plan."
        )

    @classmethod
    def no_window(cls) -> DataError:
        """Order lines need a window, and the plan has none."""
        return cls(
            "order lines are counted from each customer's assignment and the plan has no "
            "window; add follow_up: 60 days."
        )

    @classmethod
    def no_components(cls, table: str, have: Collection[str]) -> DataError:
        """A table has units and arms but nothing to compare."""
        return cls(
            f"table {table!r} has columns {sorted(have)} and none of them is a component; "
            f"map one, such as data.{table}.columns: {{gmv: ...}}."
        )

    @classmethod
    def no_funding_split(cls) -> DataError:
        """Nobody says who paid for the coupons."""
        return cls(
            "order lines carry one coupon amount and nobody says who paid it; add columns "
            "merchant_coupon and platform_coupon, or who_pays: {merchant: 80%, platform: 20%}."
        )

    @classmethod
    def unreadable_values(cls, column: str, table: str, *, rows: int, wanted: str) -> DataError:
        """Some values of a column cannot be read as what they should be."""
        return cls(
            f"column {column!r} of table {table!r} has {rows} values that cannot be read as "
            f"{wanted}; correct them or leave them blank."
        )

    @classmethod
    def money_unit_clash(cls, column: str, table: str, money: str) -> DataError:
        """A column's name and the plan disagree about the unit of money."""
        return cls(
            f"column {column!r} of table {table!r} says fen and the plan says money: {money}; "
            f"write money: fen, or rename the column."
        )

    @classmethod
    def after_assignment(cls, table: str, rows: int) -> DataError:
        """What should have been known before was only known afterwards."""
        return cls(
            f"table {table!r} describes {rows} customers as they were after their assignment; "
            "segments and covariates need a snapshot from before."
        )

    @classmethod
    def engine_not_set(cls, variable: str) -> DataError:
        """The environment does not hold the connection that the plan names."""
        return cls(
            f"the plan reads from the engine ${variable} and the environment has no "
            f"{variable}; set it to a connection such as duckdb://shop.db."
        )

    @classmethod
    def many_engines(cls, found: Collection[str]) -> DataError:
        """One analysis cannot join tables of two engines."""
        return cls(
            f"sources name engines {sorted(found)}; all tables of one experiment must be "
            "in one."
        )

    @classmethod
    def unknown_table(cls, table: str, found: str) -> DataError:
        """Python handed over something that is not a table."""
        return cls(f"table {table!r} is a {found}; give a pandas, polars, Arrow or ibis table.")

    @classmethod
    def encoding(cls, file: str, encoding: str) -> DataError:
        """A text file is not in the encoding that the plan says."""
        return cls(
            f"file {file!r} is not {encoding}; name its encoding, such as encoding: gb18030."
        )

    @classmethod
    def impossible_sums(cls, table: str) -> DataError:
        """Sums of squares are smaller than the means allow."""
        return cls(
            f"table {table!r} has sums of squares below n x mean squared, which no data have; "
            "check that sum:a*a adds up squares of the same rows as sum:a."
        )

    @classmethod
    def unknown_mapping(cls, column: str, table: str, allowed: Collection[str]) -> DataError:
        """The plan maps a column that the table does not have among ours."""
        hint = nearest(column, allowed)
        return cls(
            f"data.{table}.columns maps {column!r}, which nothing reads; "
            f"allowed: {sorted(allowed)}.{hint}"
        )

    @classmethod
    def unreadable_money(
        cls, column: str, table: str, *, rows: int, units: tuple[str, str]
    ) -> DataError:
        """Some amounts are no numbers, or fractions of the smallest unit of money."""
        main, minor = units
        return cls(
            f"column {column!r} of table {table!r} has {rows} values that are no amounts of "
            f"money, or fractions of a {minor}; correct them, or write money: {main} if the "
            f"column is in {main}."
        )

    @classmethod
    def many_levels(cls, column: str, *, levels: int, limit: int) -> DataError:
        """A segment has so many levels that none can be read."""
        return cls(
            f"segment {column!r} has {levels} levels; a segment may have {limit}. Group them, "
            "such as cities into tiers."
        )

    @classmethod
    def arm_without_units(cls, arms: Collection[str], table: str) -> DataError:
        """An arm of the plan does not occur in the data."""
        return cls(
            f"table {table!r} has no usable unit in arms {sorted(arms)} of the plan; check "
            "how the table writes them, and the run dates."
        )

    @classmethod
    def unknown_label(
        cls, found: Collection[str], column: str, table: str, allowed: Collection[str]
    ) -> DataError:
        """A column of kinds holds words that nobody can interpret."""
        return cls(
            f"column {column!r} of table {table!r} has {sorted(found)}, which nothing reads; "
            f"allowed: {sorted(allowed)}."
        )

    @classmethod
    def no_coupon_column(cls) -> DataError:
        """A coupon test whose order lines do not say what the coupons cost."""
        return cls(
            "arms of the plan get coupons and order lines carry no coupon amount; add columns "
            "merchant_coupon and platform_coupon, or coupon and who_pays."
        )

    @classmethod
    def engine_failed(cls, variable: str, problem: str) -> DataError:
        """The engine did not answer; the connection itself is not repeated."""
        return cls(
            f"the engine ${variable} could not be opened ({problem}); check the connection in "
            f"the environment variable {variable}."
        )

    @classmethod
    def query_failed(cls, table: str, place: str, problem: str) -> DataError:
        """A query, or a file, was refused by the engine."""
        return cls(f"table {table!r} could not be read from {place!r}: {problem}.")

    @classmethod
    def mixed_files(cls, table: str, suffixes: Collection[str]) -> DataError:
        """One pattern finds files of several formats."""
        return cls(
            f"table {table!r} finds files of several formats, {sorted(suffixes)}; name one, "
            "such as orders_*.parquet."
        )

    @classmethod
    def no_sheet(cls, file: str, sheet: str, have: Collection[str]) -> DataError:
        """A workbook does not have the sheet that the plan names."""
        hint = nearest(sheet, have)
        return cls(f"file {file!r} has no sheet {sheet!r}; it has {sorted(have)}.{hint}")

    @classmethod
    def cells_of_clusters(cls, cluster: str) -> DataError:
        """Moments of units cannot carry how units of a cluster resemble each other."""
        return cls(
            f"cells add up units and know nothing of the clusters of {cluster!r}, so their "
            "variance would be too small; give data.units with that column, or cells whose "
            f"units are the clusters, with unit: {cluster} and design: user_split."
        )


class DesignError(UpliftlabError):
    """The comparison, as designed, cannot answer the question."""


class LedgerError(UpliftlabError):
    """The money does not add up."""

    @classmethod
    def no_component(cls, line: str, component: str, have: Collection[str]) -> LedgerError:
        """A line of the P&L is charged on something that nobody added up."""
        hint = nearest(component, have)
        return cls(
            f"line {line!r} is charged on component {component!r}; "
            f"the totals have {sorted(have)}.{hint}"
        )


def _listed(problems: Sequence[Problem]) -> str:
    if len(problems) == 1:
        return str(problems[0])
    lines = [f"the definition has {len(problems)} problems:", *map(str, problems)]
    return "\n  ".join(lines)


def _shown(found: object) -> str:
    if isinstance(found, str):
        text = found if len(found) <= 60 else found[:57] + "..."
        return repr(text)
    if isinstance(found, dict):
        return "a mapping"
    if isinstance(found, list | tuple):
        return _shown(str(list(found)))[1:-1]
    return f"{found!r} ({type(found).__name__})"
