"""How does a rule leave this house: as SQL and as JSON that give the same answer?"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.assignment.hashing import DIALECTS, Dialect
from upliftlab.errors import UpliftlabError
from upliftlab.targeting.features import BLANKS, MISSING, NO, YES, Encoding
from upliftlab.targeting.rules import (
    CONSTANT,
    LEAF,
    MODEL,
    TREE,
    ConstantRule,
    Exploration,
    ModelRule,
    Nodes,
    TreeRule,
    float32_edge,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from upliftlab.targeting.features import Column
    from upliftlab.targeting.rules import Rule

VERSION = 1
BEYOND = 3.4028235677973366e38
"""What float32 rounds to infinity, from here on; it counts as missing, as NaN does."""

LAST = math.nextafter(BEYOND, 0.0)
"""The greatest double that float32 holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A rule with all that it takes to apply it to other units.

    Attributes:
        rule: Over the columns of the encoding.
        encoding: From raw columns to numbers.
        arms: Labels, control first.
        unit: Column of the unit's id, for what is left to chance.
        exploration: What is left to chance; None for nothing.
    """

    rule: Rule
    encoding: Encoding
    arms: tuple[str, ...]
    unit: str = "unit"
    exploration: Exploration | None = None

    def arms_of(self, columns: Mapping[str, Column]) -> NDArray[np.intp]:
        """Return the rule's arm of each unit by position, shape (n,), without chance."""
        return self.rule.arms_of(self.encoding.matrix(columns))

    @property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that the rule asks for."""
        sources = self.encoding.sources
        return tuple(dict.fromkeys(sources[j] for j in sorted(self.rule.used)))

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns that a table to be scored must have."""
        return tuple(dict.fromkeys((*self.columns, *self.ids)))

    @property
    def ids(self) -> tuple[str, ...]:
        """The column of the unit's id, if anything is left to chance."""
        explore = self.exploration
        return (self.unit,) if explore is not None and explore.share > 0 else ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        explore = self.exploration
        return {
            "upliftlab_rule": VERSION,
            "kind": self.rule.kind,
            "arms": list(self.arms),
            "unit": self.unit,
            "columns": list(self.columns),
            "exploration": None if explore is None else explore.to_dict(),
            "rule": _rule_dict(self.rule),
            "encoding": self.encoding.to_dict(),
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Exported:
        """Read what ``to_dict`` wrote.

        Raises:
            UpliftlabError: When it is no rule, or one of a later version.
        """
        version = found.get("upliftlab_rule") if isinstance(found, dict) else None
        if version != VERSION:
            raise UpliftlabError(
                f"this JSON is no targeting rule of version {VERSION} (its upliftlab_rule is "
                f"{version!r}); take targeting_rule.json from a report folder."
            )
        try:
            explore = found["exploration"]
            return cls(
                rule=_READERS[found["kind"]](found["rule"]),
                encoding=Encoding.from_dict(found["encoding"]),
                arms=tuple(found["arms"]),
                unit=found["unit"],
                exploration=explore
                and Exploration(
                    share=explore["share"],
                    chances=tuple(explore["chances"]),
                    salt=explore["salt"],
                ),
            )
        except (KeyError, TypeError) as damage:
            raise UpliftlabError(
                f"the targeting rule is damaged: {type(damage).__name__} at {damage}; take it "
                "from the report folder again."
            ) from damage


def read_rule(text: str) -> Exported:
    """Read a rule from JSON; nothing in it is executed.

    Raises:
        UpliftlabError: When the text is no rule.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as damage:
        raise UpliftlabError(f"the targeting rule is no JSON: {damage}.") from damage
    return Exported.from_dict(found)


def rule_from(path: Path, *, unit: str | None = None) -> Exported:
    """Read a rule from a file.

    Args:
        path: Of targeting_rule.json.
        unit: Column of the unit's id in the table to be scored; the rule's own unless said.

    Raises:
        UpliftlabError: When there is no such file, or it holds no rule.
    """
    if not path.is_file():
        raise UpliftlabError(
            f"there is no rule at {path}; take targeting_rule.json from a report folder."
        )
    found = read_rule(path.read_text(encoding="utf-8"))
    return found if unit is None else replace(found, unit=unit)


def sql(exported: Exported, dialect: str = "duckdb") -> str:
    """Write the rule as one SQL expression whose value is the label of the arm.

    Args:
        exported: The rule.
        dialect: "duckdb" or "spark".

    Examples:
        >>> import numpy as np
        >>> from upliftlab.targeting.features import fit_encoding
        >>> from upliftlab.targeting.policy_tree import fit_tree
        >>> raw = {"days": np.array([1.0, 2.0, 3.0, 4.0])}
        >>> code = fit_encoding(raw)
        >>> worth = np.array([[0.0, -1.0], [0.0, -1.0], [0.0, 2.0], [0.0, 2.0]])
        >>> tree = fit_tree(code.matrix(raw), worth, depth=1)
        >>> text = sql(Exported(rule=tree, encoding=code, arms=("none", "c20")))
        >>> text.startswith("CASE WHEN "), text[-26:]
        (True, "THEN 'none' ELSE 'c20' END")
    """
    if dialect not in DIALECTS:
        raise UpliftlabError(f"there is no SQL dialect {dialect!r}; use one of {DIALECTS}.")
    write = _Writer(exported=exported, dialect=dialect)
    return write.with_chance(write.rule())


def unseen_sql(exported: Exported) -> dict[str, str]:
    """Return what is true, in DuckDB's SQL, of a row whose level was not there while learning.

    Columns in which rare levels were put together cannot tell rare from new: they are left out,
    as are columns that the rule does not ask for.

    Returns:
        Column -> condition.
    """
    write = _Writer(exported=exported, dialect="duckdb")
    found = {}
    for code in exported.encoding.columns:
        if code.kind == "text" and not code.has_other and code.name in exported.columns:
            known = (*code.levels, *filter(None, (code.reference,)), *BLANKS, MISSING)
            told = f"{write.trimmed(code.name)} NOT IN ({write.texts(known)})"
            found[code.name] = f"COALESCE({told}, FALSE)"
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    """Writes parts of a rule in one dialect."""

    exported: Exported
    dialect: str

    def rule(self) -> str:
        rule = self.exported.rule
        if isinstance(rule, ConstantRule):
            return self.text(self.exported.arms[rule.arm])
        if isinstance(rule, TreeRule):
            return self.tree(rule.nodes, lambda v: self.text(self.exported.arms[int(v)]))
        return self.model(rule)

    def model(self, rule: ModelRule) -> str:
        gains = [
            " + ".join(["0e0", *(self.tree(nodes, _double) for nodes in trees)])
            for trees in rule.trees
        ]
        arms, above = self.exported.arms, _double(rule.above)
        if len(gains) == 1:
            return (
                f"CASE WHEN {gains[0]} > {above} THEN {self.text(arms[1])} "
                f"ELSE {self.text(arms[0])} END"
            )
        top = f"GREATEST({', '.join(f'({each})' for each in gains)})"
        whens = " ".join(
            f"WHEN ({each}) = {top} THEN {self.text(arms[a + 1])}"
            for a, each in enumerate(gains)
        )
        return f"CASE WHEN {top} <= {above} THEN {self.text(arms[0])} {whens} END"

    def tree(self, nodes: Nodes, shown: Callable[[float], str], at: int = 0) -> str:
        if nodes.feature[at] == LEAF:
            return shown(nodes.value[at])
        left = self.tree(nodes, shown, nodes.left[at])
        right = self.tree(nodes, shown, nodes.right[at])
        return f"CASE WHEN {self.goes_left(nodes, at)} THEN {left} ELSE {right} END"

    def goes_left(self, nodes: Nodes, at: int) -> str:
        code, level = self.source(nodes.feature[at])
        threshold = nodes.threshold[at]
        if level is not None:
            # An indicator is 0 or 1: the split asks whether the unit has the level.
            if 0 <= threshold < 1:
                return self.lacks(code.name, level)
            return "TRUE" if threshold >= 1 else "FALSE"
        number, edge = self.number(code.name, code.kind), _double(edge_of(threshold))
        if nodes.nan_left[at]:
            return f"NOT COALESCE({number} > {edge} AND {number} < {_double(BEYOND)}, FALSE)"
        return f"{number} BETWEEN {_double(-LAST)} AND {edge}"

    def lacks(self, column: str, level: str) -> str:
        """Whether a text is another one; a blank is no text."""
        found = self.trimmed(column)
        if level == MISSING:
            return f"COALESCE({found} NOT IN ({self.texts((*BLANKS, MISSING))}), FALSE)"
        return f"COALESCE({found} <> {self.text(level)}, TRUE)"

    def number(self, column: str, kind: str) -> str:
        name = self.name(column)
        if kind == "date":
            first, day = "DATE '1970-01-01'", f"CAST({name} AS DATE)"
            if self.dialect == "duckdb":
                return f"DATE_DIFF('day', {first}, {day})"
            return f"DATEDIFF({day}, {first})"
        return self.worded(column) if kind == "worded" else f"CAST({name} AS DOUBLE)"

    def worded(self, column: str) -> str:
        """A number, or yes and no, written as text."""
        text = self.trimmed(column)
        word = f"LOWER({text})"
        return (
            f"COALESCE(TRY_CAST(REPLACE({text}, ',', '') AS DOUBLE), "
            f"CASE WHEN {word} IN ({self.texts(YES)}) THEN 1e0 "
            f"WHEN {word} IN ({self.texts(NO)}) THEN 0e0 END)"
        )

    def trimmed(self, column: str) -> str:
        return self.to.trimmed(self.name(column))

    def with_chance(self, rule: str) -> str:
        explore, arms = self.exported.exploration, self.exported.arms
        if explore is None or explore.share <= 0:
            return rule
        unit = f"COALESCE({self.trimmed(self.exported.unit)}, '')"
        drawn = self.to.digest(explore.salt, unit)
        ends = [explore.edge(sum(explore.chances[: a + 1])) for a in range(len(arms))]
        whens = " ".join(
            f"WHEN SUBSTR({drawn}, 9, 8) < {self.text(end)} THEN {self.text(arm)}"
            for arm, end in zip(arms[:-1], ends, strict=False)
        )
        chance = f"CASE {whens} ELSE {self.text(arms[-1])} END"
        edge = self.text(explore.edge(explore.share))
        return f"CASE WHEN SUBSTR({drawn}, 1, 8) < {edge} THEN {chance} ELSE {rule} END"

    def source(self, j: int) -> tuple[Any, str | None]:
        """Column of a matrix column, and the level it stands for."""
        at = 0
        for code in self.exported.encoding.columns:
            count = len(code.outputs)
            if j < at + count:
                return code, (code.levels[j - at] if code.kind == "text" else None)
            at += count
        raise UpliftlabError(f"the rule asks for column {j}, which its encoding lacks.")

    @property
    def to(self) -> Dialect:
        return Dialect(self.dialect)

    def name(self, column: str) -> str:
        return self.to.column(column)

    def text(self, value: str) -> str:
        return self.to.text(value)

    def texts(self, values: Sequence[str]) -> str:
        return ", ".join(self.text(value) for value in values)

    @property
    def string(self) -> str:
        return self.to.string


def edge_of(threshold: float) -> float:
    """Return the greatest double that, as float32, is at or below a threshold.

    Rules are learned on float32; SQL compares doubles. A double goes to the nearest float32, in
    the middle between two to the one with the even last bit.

    Examples:
        >>> edge_of(2.0), edge_of(float(np.float32(0.1)))
        (2.0000001192092896, 0.1000000052154064)
    """
    below = float32_edge(threshold)
    if not np.isfinite(below):
        return LAST if below > 0 else -BEYOND
    with np.errstate(over="ignore"):
        above = np.nextafter(below, np.float32(np.inf))
    if not np.isfinite(above):
        return LAST
    middle = (float(below) + float(above)) / 2
    return middle if np.float32(middle) == below else math.nextafter(middle, -math.inf)


def _double(value: float) -> str:
    """A number that every engine reads as a double, digit by digit."""
    shown = repr(float(value))
    return shown if "e" in shown else f"{shown}e0"


def _rule_dict(rule: Rule) -> dict[str, Any]:
    if isinstance(rule, ConstantRule):
        return {"arm": rule.arm}
    if isinstance(rule, TreeRule):
        return {"nodes": rule.nodes.to_dict()}
    trees = [[nodes.to_dict() for nodes in trees] for trees in rule.trees]
    return {"trees": trees, "above": rule.above}


_READERS: dict[str, Callable[[Mapping[str, Any]], Rule]] = {
    CONSTANT: lambda found: ConstantRule(arm=int(found["arm"])),
    TREE: lambda found: TreeRule(nodes=Nodes.from_dict(found["nodes"])),
    MODEL: lambda found: ModelRule(
        trees=tuple(tuple(Nodes.from_dict(each) for each in trees) for trees in found["trees"]),
        above=float(found["above"]),
    ),
}
