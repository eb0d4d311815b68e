"""What is the SQL that gives arms to a table of units? To run, to stream, or to paste."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from upliftlab.assignment.hashing import Dialect, edge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from fractions import Fraction

    from upliftlab.assignment.recipe import Epoch, Recipe

COLUMNS = ("unit", "arm", "assigned_at", "propensity", "stratum", "epoch", "salt", "plan")
"""What an assignment table has beside cluster, strata and other columns that travel along."""

SEPARATOR = " · "
MISSING = "(missing)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which table is assigned, and how its columns are called.

    Attributes:
        table: Name of the table, or an expression that reads one.
        unit: Column of the unit's id.
        clock: Column that says when a unit entered; None takes ``at`` for all.
        at: Time of assignment, ISO text in shop time.
        rule: SQL of a targeting rule in the same dialect; None without one.
        names: Our name -> the name in the table that is written, where they differ.
    """

    table: str
    unit: str = "unit"
    clock: str | None = None
    at: str
    rule: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


def assignment_sql(recipe: Recipe, request: Request, dialect: str = "duckdb") -> str:
    """Write one SELECT: a row per unit of the test, with its arm and how likely that was.

    Units held out, or in another test of the layer, have no row. A unit keeps the arm of the
    epoch in which it entered.

    Args:
        recipe: How arms are given.
        request: To whom.
        dialect: "duckdb" or "spark".

    Examples:
        >>> from upliftlab.assignment.recipe import _example
        >>> text = assignment_sql(_example(), Request(table="customers", at="2026-10-08"))
        >>> print(text.splitlines()[1].strip())
        "unit",
    """
    write = _Writer(recipe=recipe, request=request, to=Dialect(dialect))
    return write.statement()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Writer:
    recipe: Recipe
    request: Request
    to: Dialect

    def statement(self) -> str:
        columns = ",\n  ".join(self.columns())
        return (
            f"SELECT\n  {columns}\nFROM (\n{self.hashed()}\n) AS hashed\n"
            f"WHERE {' AND '.join(self.kept())}"
        )

    def columns(self) -> list[str]:
        recipe, to = self.recipe, self.to
        found = {
            "unit": to.column("unit"),
            "arm": self.arm(),
            "assigned_at": to.column("assigned_at"),
            "propensity": self.by_epoch(self.propensity),
        }
        if recipe.explore is not None:
            found["explored"] = f"CASE WHEN {self.explored()} THEN 1 ELSE 0 END"
        for name in (*([recipe.cluster] if recipe.cluster else []), *recipe.strata):
            found.setdefault(name, to.column(name))
        found |= {
            "stratum": self.stratum(),
            "epoch": self.epoch(),
            "salt": to.text(recipe.salt),
            "plan": to.text(recipe.plan),
        }
        return [
            value
            if value == to.column(self.named(name))
            else f"{value} AS {to.column(self.named(name))}"
            for name, value in found.items()
        ]

    def named(self, ours: str) -> str:
        return self.request.names.get(ours, ours)

    def hashed(self) -> str:
        """Read ids as text, and draw each hash once."""
        recipe, request, to = self.recipe, self.request, self.to
        inner = [f"{to.trimmed(to.column(request.unit))} AS {to.column('unit')}"]
        key = "unit"
        if recipe.cluster:
            key = recipe.cluster
            inner.append(f"{to.trimmed(to.column(key))} AS {to.column(key)}")
        inner += [
            f"COALESCE({to.trimmed(to.column(name))}, {to.text(MISSING)}) AS {to.column(name)}"
            for name in recipe.strata
            if name != recipe.cluster
        ]
        clock = to.text(request.at) if request.clock is None else to.column(request.clock)
        moment = "TIMESTAMP" if to.name == "duckdb" else "TIMESTAMP_NTZ"
        inner.append(f"CAST({clock} AS {moment}) AS {to.column('assigned_at')}")
        drawn = [f"{to.digest(recipe.salt, to.column(key))} AS {to.column('_drawn')}"]
        for name, salt in (
            ("_held", recipe.holdout_salt),
            ("_layer", recipe.layer_salt),
            ("_explore", recipe.explore_salt if recipe.explore is not None else ""),
        ):
            if salt:
                drawn.append(f"{to.digest(salt, to.column('unit'))} AS {to.column(name)}")
        if request.rule is not None:
            inner.append(f"{request.rule} AS {to.column('_ruled')}")
        read = ", ".join(inner)
        return (
            f"  SELECT *, {', '.join(drawn)}\n"  # noqa: S608 - names are quoted
            f"  FROM (SELECT {read} FROM {request.table}) AS ids"
        )

    def kept(self) -> list[str]:
        recipe, to = self.recipe, self.to
        key = to.column(recipe.cluster or "unit")
        parts = [f"{to.column('unit')} IS NOT NULL"]
        parts += [f"{key} IS NOT NULL"] if recipe.cluster else []
        if recipe.holdout is not None:
            parts.append(to.inside(to.column("_held"), edge(0), recipe.holdout_edge))
        if recipe.layer is not None:
            parts.append(to.inside(to.column("_layer"), *recipe.layer_edges))
        if len(recipe.epochs) > 1:
            first = self.moment(recipe.epochs[0])
            parts.append(f"{to.column('assigned_at')} >= {first}")
        return [part for part in parts if part != "TRUE"]

    def arm(self) -> str:
        drawn = self.by_epoch(self.slots)
        if self.recipe.explore is None:
            return drawn
        return f"CASE WHEN {self.explored()} THEN {drawn} ELSE {self.to.column('_ruled')} END"

    def slots(self, epoch: Epoch) -> str:
        to = self.to
        whens = " ".join(
            f"WHEN {to.inside(to.column('_drawn'), *slot.edges)} THEN {to.text(slot.arm)}"
            for slot in epoch.slots
        )
        return f"CASE {whens} ELSE {to.text(self.recipe.control)} END"

    def propensity(self, epoch: Epoch) -> str:
        """Write the chance that the row's arm had, by arm."""
        recipe, to = self.recipe, self.to
        shares = {arm: epoch.share(arm, recipe.control) for arm in recipe.arms}
        if recipe.explore is None:
            whens = " ".join(
                f"WHEN {to.inside(to.column('_drawn'), *slot.edges)} "
                f"THEN {_double(shares[slot.arm])}"
                for slot in epoch.slots
            )
            return f"CASE {whens} ELSE {_double(shares[recipe.control])} END"
        explore = recipe.explore
        chances = " ".join(
            f"WHEN {to.text(arm)} THEN {_double(explore * share)}"
            for arm, share in shares.items()
        )
        arm = self.arm()
        ruled = to.column("_ruled")
        return (
            f"(CASE {arm} {chances} END) + "
            f"CASE WHEN {arm} = {ruled} THEN {_double(1 - explore)} ELSE 0e0 END"
        )

    def explored(self) -> str:
        explore = self.recipe.explore
        assert explore is not None  # noqa: S101 - asked before
        return self.to.inside(self.to.column("_explore"), edge(0), edge(explore))

    def stratum(self) -> str:
        to = self.to
        if not self.recipe.strata:
            return to.text("")
        between = f", {to.text(SEPARATOR)}, "
        return f"CONCAT({between.join(to.column(name) for name in self.recipe.strata)})"

    def epoch(self) -> str:
        return self.by_epoch(lambda epoch: str(epoch.number))

    def by_epoch(self, write: Callable[[Epoch], str]) -> str:
        """Choose by the time of assignment, the latest epoch first."""
        epochs = self.recipe.epochs
        if len(epochs) == 1:
            return write(epochs[0])
        clock = self.to.column("assigned_at")
        whens = " ".join(
            f"WHEN {clock} >= {self.moment(epoch)} THEN {write(epoch)}"
            for epoch in reversed(epochs)
        )
        return f"CASE {whens} END"

    def moment(self, epoch: Epoch) -> str:
        kind = "TIMESTAMP" if self.to.name == "duckdb" else "TIMESTAMP_NTZ"
        return f"{kind} {self.to.text(f'{epoch.since} 00:00:00')}"


def _double(value: Fraction) -> str:
    """A number that every engine reads as a double, digit by digit."""
    shown = repr(float(value))
    return shown if "e" in shown else f"{shown}e0"


__all__ = ["COLUMNS", "Request", "assignment_sql"]
