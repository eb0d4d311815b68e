"""From assignments, order lines, refunds and events to unit components."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import ibis

from upliftlab.components import at
from upliftlab.data import assigned, ledger, orders, tables
from upliftlab.data.contracts import CONTRACTS, Column
from upliftlab.data.ledger import DAY
from upliftlab.data.plan import STANDARD_COVARIATES
from upliftlab.data.prepared import Facts, Prepared, SetAside
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan
    from upliftlab.experiment import Source

KEEP_WHOLE = ("settlement_base", "cash", "list", "markdown", "merchant_coupon",
              "platform_coupon", "creator_coupon", "coupon", "payment_promo", "unit_cost")  # fmt: skip
"""Money of order lines: a blank is missing, never 0, so a blank is refused."""


@dataclass(slots=True, kw_only=True)
class _Tables:
    """The sources of one experiment, read once each under our names."""

    engine: Engine
    sources: Mapping[str, Source]
    given: Mapping[str, object]
    plan: Plan
    how: tables.Reading
    aside: list[SetAside] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return name in self.sources or name in self.given

    def read(self, name: str, *, extra: tuple[Column, ...] = ()) -> ibis.Table:
        """Read, check and return one source; empty or unreadable ones raise."""
        source = self.sources.get(name)
        raw = tables.raw(self.engine, name, source, self.given.get(name), self.how)
        contract = CONTRACTS[name]
        table = tables.read(
            raw,
            contract,
            mapping=source.columns if source else {},
            money=source.money if source else None,
            how=self.how,
            extra=tuple(c for c in extra if c.name in raw.columns or _mapped(source, c.name)),
        )
        table = self.engine.materialise(table, name)
        rows, missing = tables.quality(self.engine, table, contract)
        for column in contract.columns:
            count = missing.get(column.name, 0)
            whole = column.kind == "money" and (name != "order_lines" or column.name in KEEP_WHOLE)
            if count and whole and not (name == "refunds" and column.name == "amount"):
                raise DataError.missing_values(column.name, name, rows=count, of=rows)
        return table.drop(*[c for c in table.columns if c.endswith("?")])


def prepare_orders(
    engine: Engine,
    sources: Mapping[str, Source],
    given: Mapping[str, object],
    plan: Plan,
    how: tables.Reading,
) -> Prepared:
    """Read the order grain: facts of assigned units within their windows.

    Raises:
        DataError: When a needed source is missing or does not hold what it should.
    """
    if not plan.windows:
        raise DataError.no_window()
    book = _Tables(engine=engine, sources=sources, given=given, plan=plan, how=how)
    single, units = _units(book)
    lines, checked, funding = _lines(book)
    refunds = book.read("refunds") if book.has("refunds") else None
    if refunds is not None:
        refunds, repeated = orders.deduplicated(
            engine, refunds, "refund_id", "refunded_at", "refunds"
        )
        book.aside += repeated
    else:
        book.notes.append("no refunds source: sales are before cancellations and returns")
    placed, aside = orders.placed(engine, lines, units, plan.windows[-1])
    book.aside += aside
    detailed = ledger.components(
        orders.with_refunds(placed, refunds), has_refunds=refunds is not None
    )
    detailed = engine.materialise(detailed, "lines")
    counts = engine.one(
        detailed.aggregate(lines=ibis._.count(), orders=detailed["order_id"].nunique())
    )
    facts, names = orders.by_unit(
        detailed,
        windows=plan.windows,
        one_line_each=int(counts["lines"]) == int(counts["orders"]),
    )
    events, saw_other = _events(book, units)
    parts = [engine.materialise(part, "facts") for part in (facts, *events)]
    everything = orders.together(parts)
    names = tuple(c for c in everything.columns if c != "unit")
    active, names, idle, totals = _active(book, units, everything, names)
    as_of = plan.as_of or _last_event(engine, detailed, refunds)
    return Prepared(
        engine=engine,
        assigned=units,
        active=active,
        keys=plan.keys,
        components=names,
        idle=idle,
        covariates=assigned.covariates(engine, units),
        cluster=plan.cluster,
        facts=Facts(
            assigned=single.counts,
            set_aside=(*single.set_aside, *book.aside),
            lines=int(counts["lines"]),
            as_of=as_of,
            closed=_closed(engine, units, plan, as_of),
            final=_final(engine, detailed, units, plan, as_of),
            coverage=_coverage(engine, units) if book.has("users") else {},
            unbalanced_lines=checked,
            funding=funding,
            stacked=_stacked(engine, active, plan),
            saw_other=saw_other,
            totals=totals,
            finance=_finance(book),
            notes=tuple(book.notes),
        ),
    )


def _mapped(source: Source | None, name: str) -> bool:
    return source is not None and name in source.columns


def _units(book: _Tables) -> tuple[assigned.Assigned, ibis.Table]:
    plan, engine = book.plan, book.engine
    extra = [Column(name=name, kind="text") for name in plan.texts]
    if plan.cluster:
        extra.append(Column(name=plan.cluster, kind="id"))
    table = book.read("assignments", extra=tuple(extra))
    table = table.drop(*[c for c in ("propensity",) if c in table.columns])
    single = assigned.once(
        engine,
        table,
        source="assignments",
        arms=plan.arms,
        within=plan.run,
        strata=plan.strata,
    )
    users = _users(book, single.units) if book.has("users") else None
    have = {*single.units.columns, *(users.columns if users is not None else ())}
    units = assigned.described(
        engine, single.units, users, texts=plan.texts, numbers=plan.numbers(have)
    )
    if plan.cluster and plan.cluster not in units.columns:
        raise DataError.missing_column(plan.cluster, "the plan's cluster", units.columns)
    return single, units


def _users(book: _Tables, units: ibis.Table) -> ibis.Table:
    """Read the customer snapshot once per unit; it must be older than the assignment.

    Raises:
        DataError: When what segments and covariates are made of was known only afterwards.
    """
    named = book.plan.covariates
    wanted = (*book.plan.texts, *(STANDARD_COVARIATES if named is None else named))
    table = book.read("users", extra=tuple(Column(name=name, kind="any") for name in wanted))
    if "snapshot_at" in table.columns:
        late = book.engine.one(
            table.inner_join(units.select("unit", "assigned_at"), "unit").aggregate(
                rows=(ibis._.snapshot_at > ibis._.assigned_at).ifelse(1, 0).sum()
            )
        )["rows"]
        if late and wanted:
            raise DataError.after_assignment("users", int(late))
    first, repeated = orders.deduplicated(book.engine, table, "unit", "unit", "users")
    book.aside += repeated
    return first


def _lines(book: _Tables) -> tuple[ibis.Table, int | None, dict[str, int]]:
    """Read order lines with buyer and time, completed by the ledger's identity."""
    engine = book.engine
    lines = book.read("order_lines")
    lines, repeated = orders.deduplicated(engine, lines, "line_id", "order_id", "order_lines")
    book.aside += repeated
    if "unit" not in lines.columns or "paid_at" not in lines.columns:
        if not book.has("orders"):
            need = "unit" if "unit" not in lines.columns else "paid_at"
            raise DataError.missing_column(need, "source 'order_lines'", lines.columns)
        header = book.read("orders")
        own = [c for c in ("unit", "paid_at", "shipped_at") if c in lines.columns]
        joined = lines.drop(*own).left_join(header, "order_id")
        lines = joined.drop(*[c for c in joined.columns if c.endswith("_right")])
    told = set(lines.columns)
    priced = engine.materialise(ledger.priced(lines, stated=book.plan.stated), "priced")
    checkable = {"list", "cash", "settlement_base"} <= told
    wrong = (
        int(engine.one(priced.aggregate(n=ledger.violations(priced)))["n"] or 0)
        if checkable
        else None
    )
    sums = engine.one(
        priced.aggregate(
            merchant=priced["merchant_coupon"].sum(),
            platform=priced["platform_coupon"].sum(),
            creator=priced["creator_coupon"].sum(),
        )
    )
    funding = {who: int(amount or 0) for who, amount in sums.items()}
    return priced, wrong, funding if any(funding.values()) else {}


def _events(
    book: _Tables, units: ibis.Table
) -> tuple[list[ibis.Table], dict[str, int]]:
    """Read what customers saw, claimed and joined; sources that are absent unlock nothing."""
    days = book.plan.windows[-1]
    found: list[ibis.Table] = []
    control = units.filter(units["arm"] == book.plan.control).select("unit")
    leaks: list[ibis.Table] = []
    if book.has("exposures"):
        seen = book.read("exposures")
        real = seen.filter(~seen["ghost"].fill_null(False)) if "ghost" in seen.columns else seen
        found.append(
            orders.first_events(real, units, flags={"saw": ibis.literal(True)}, days=days)
        )
        other = (
            real.filter(real["arm_served"] != book.plan.control)
            if "arm_served" in real.columns
            else real
        )
        leaks.append(control.semi_join(other, "unit").select("unit"))
    if book.has("coupon_events"):
        events = book.read("coupon_events")
        claimed = events["event"].isin(("claimed", "redeemed"))
        found.append(orders.first_events(events, units, flags={"claimed": claimed}, days=days))
        leaks.append(control.semi_join(events.filter(claimed), "unit").select("unit"))
        restored = book.engine.one(
            events.aggregate(n=(events["event"] == "restored").ifelse(1, 0).sum())
        )["n"]
        if restored:
            book.notes.append(
                f"{int(restored):,} coupons were restored after a cancellation; only the money "
                "on order lines is counted, so a second redemption counts once per order"
            )
    if book.has("membership_events"):
        events = book.read("membership_events")
        flags = {
            "members_joined": events["event"] == "join",
            "members_activated": events["event"] == "activate",
        }
        found.append(orders.first_events(events, units, flags=flags, days=days))
    if not leaks:
        return found, {}
    leaked = leaks[0].union(*leaks[1:], distinct=True) if len(leaks) > 1 else leaks[0].distinct()
    count = book.engine.one(leaked.aggregate(n=ibis._.count()))["n"]
    return found, {book.plan.control: int(count)}


def _active(
    book: _Tables, units: ibis.Table, facts: ibis.Table, names: tuple[str, ...]
) -> tuple[ibis.Table, tuple[str, ...], tuple[str, ...], dict[str, float]]:
    """Join facts to their units; set columns apart that are zero for everybody."""
    joined = units.inner_join(facts, "unit")
    joined = joined.drop(*[c for c in joined.columns if c.endswith("_right")])
    joined, extra = _new_customers(joined, book.plan)
    active = book.engine.materialise(joined, "active")
    names = (*names, *extra)
    totals = book.engine.one(
        active.aggregate(**{f"t{i}": active[name].sum() for i, name in enumerate(names)})
    )
    sums = {name: float(totals[f"t{i}"] or 0) for i, name in enumerate(names)}
    # Components cannot be negative at this grain, so a zero sum means zero for every unit.
    idle = tuple(name for name in names if sums[name] == 0)
    kept = tuple(name for name in names if sums[name] != 0)
    return active, kept, idle, sums


def _new_customers(table: ibis.Table, plan: Plan) -> tuple[ibis.Table, tuple[str, ...]]:
    """Count units that were new at assignment and kept an order."""
    column = next((c for c in plan.texts if c in {"is_new_customer", "is_new"}), None)
    if column is None:
        return table, ()
    is_new = table[column].isin(("yes", "1", "true", "True"))
    names = {at("new_customers", days): at("kept_buyers", days) for days in plan.windows}
    return (
        table.mutate(**{new: is_new.ifelse(table[old], 0) for new, old in names.items()}),
        tuple(names),
    )


def _last_event(engine: Engine, lines: ibis.Table, refunds: ibis.Table | None) -> int | None:
    latest = [engine.one(lines.aggregate(t=lines["paid_at"].max()))["t"]]
    if refunds is not None:
        latest.append(engine.one(refunds.aggregate(t=refunds["refunded_at"].max()))["t"])
    known = [int(t) for t in latest if t is not None]
    return max(known) if known else None


def _closed(
    engine: Engine, units: ibis.Table, plan: Plan, as_of: int | None
) -> dict[str, float]:
    if as_of is None:
        return {}
    done = (units["assigned_at"] + plan.windows[-1] * DAY <= as_of).ifelse(1.0, 0.0)
    rows = engine.rows(units.group_by("arm").agg(share=done.mean()))
    return {row["arm"]: float(row["share"]) for row in rows}


def _final(
    engine: Engine, lines: ibis.Table, units: ibis.Table, plan: Plan, as_of: int | None
) -> dict[str, float]:
    if as_of is None or plan.returns_final is None:
        return {}
    joined = lines.inner_join(units.select("unit", "arm"), "unit")
    done = (joined["paid_at"] + plan.returns_final * DAY <= as_of).ifelse(1.0, 0.0)
    rows = engine.rows(joined.group_by("arm").agg(share=done.mean()))
    return {row["arm"]: float(row["share"]) for row in rows}


def _coverage(engine: Engine, units: ibis.Table) -> dict[str, tuple[int, int]]:
    rows = engine.rows(
        units.group_by("arm").agg(found=units["_known"].fill_null(0).sum(), n=ibis._.count())
    )
    return {row["arm"]: (int(row["found"]), int(row["n"])) for row in rows}


def _stacked(
    engine: Engine, active: ibis.Table, plan: Plan
) -> dict[str, tuple[int, int, int]]:
    days = plan.windows[0]
    names = [at(n, days) for n in ("orders_redeemed", "orders", "merchant_coupon")]
    rows = engine.rows(
        active.group_by("arm").agg(
            **{f"c{i}": active[name].sum() for i, name in enumerate(names)}
        )
    )
    return {row["arm"]: (int(row["c0"]), int(row["c1"]), int(row["c2"])) for row in rows}


def _finance(book: _Tables) -> dict[str, int]:
    if not book.has("finance_total"):
        return {}
    table = book.read("finance_total")
    sums = table.group_by("component").agg(amount=table["amount"].sum())
    return {row["component"]: int(row["amount"]) for row in book.engine.rows(sums)}
