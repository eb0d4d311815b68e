"""From assignments, order lines, refunds and events to unit components."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from upliftlab.components import at
from upliftlab.data import assigned, chances, ledger, maturity, orders, refunds
from upliftlab.data.contracts import Column
from upliftlab.data.events import Events, read_events
from upliftlab.data.order_tables import OrderTables
from upliftlab.data.plan import STANDARD_COVARIATES
from upliftlab.data.prepared import Facts, Prepared
from upliftlab.data.values import as_flag
from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.data import tables
    from upliftlab.data.assigned import Assigned
    from upliftlab.data.engine import Engine
    from upliftlab.data.plan import Plan
    from upliftlab.experiment import Source

HEADER = ("unit", "paid_at", "shipped_at")
"""What order lines may leave to the table of orders."""


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
    if plan.headline is None:
        raise DataError.no_window()
    book = OrderTables(engine=engine, sources=sources, given=given, plan=plan, how=how)
    single, units = _units(book)
    clusters = assigned.clusters(engine, single.units, plan.cluster)
    lines, unbalanced, funding = _lines(book)
    refunded = refunds.read_refunds(book, lines)
    detailed = _detailed(book, lines, units, refunded)
    counts = engine.one(
        detailed.aggregate(
            lines=ibis._.count(),
            orders=detailed["order_id"].nunique(),
            over=detailed["line_over_refunded"].sum(),
        )
    )
    if counts["over"]:
        book.notes.append(
            f"{int(counts['over']):,} order lines were refunded more than their cash; they "
            "count as refunded whole"
        )
    facts, names = orders.by_unit(
        detailed,
        windows=plan.windows,
        headline=plan.headline,
        one_line_each=int(counts["lines"]) == int(counts["orders"]),
    )
    events = read_events(book, units)
    active, names = _active(book, units, facts, names, events)
    flagged = _flagged(book, units, active, events)
    totals = _totals(engine, active, names, flagged, events.names)
    as_of = _as_of(book, lines, refunded, units)
    book.say_unused()
    return Prepared(
        engine=engine,
        assigned=units,
        active=active,
        flagged=flagged,
        keys=plan.keys,
        components=tuple(name for name in names if totals[name] != 0),
        flags=tuple(name for name in events.names if totals[name] != 0),
        # Components cannot be negative at this grain, so a zero sum means zero for every unit.
        idle=tuple(name for name in names if totals[name] == 0),
        covariates=assigned.covariates(engine, units),
        cluster=plan.cluster,
        facts=Facts(
            assigned=single.counts,
            set_aside=(*single.set_aside, *book.aside),
            clusters=clusters.counts,
            cluster_size_cv=clusters.size_cv,
            lines=int(counts["lines"]),
            as_of=as_of,
            closed=maturity.closed(engine, units, plan, as_of),
            final=_final(book, detailed, units, refunded, as_of),
            has_refunds=refunded is not None,
            coverage=_coverage(engine, units) if book.has("users") else {},
            unbalanced_lines=unbalanced,
            funding=funding,
            stacked=_stacked(engine, active, plan),
            saw_other=events.saw_other,
            totals=totals,
            finance=_finance(book),
            ad_spend=ad_spend(book),
            notes=tuple(book.notes),
        ),
    )


def _as_of(
    book: OrderTables, lines: ibis.Table, refunded: ibis.Table | None, units: ibis.Table
) -> int | None:
    """Return the plan's moment, else that of the last event; note what is left out or open."""
    as_of, plan = book.plan.as_of, book.plan
    if as_of is None:
        found = maturity.last_event(book.engine, lines, refunded, units)
        as_of = found.at
        if found.strays:
            book.notes.append(
                f"{found.strays:,} payments or refunds are dated over {maturity.LONG_GAP} days "
                "after all others; they do not say up to when the data speak"
            )
    for days in plan.windows:
        share = maturity.closed(book.engine, units, plan, as_of, days=days)
        if days > (plan.headline or 0) and share and min(share.values()) < 1:
            book.notes.append(
                f"the {days}-day window had ended for {min(share.values()):.1%} of customers; "
                "its numbers are early"
            )
    return as_of


def _final(
    book: OrderTables,
    detailed: ibis.Table,
    units: ibis.Table,
    refunded: ibis.Table | None,
    as_of: int | None,
) -> dict[str, float]:
    """Say whose returns are booked; those that nobody could read never are."""
    if refunded is None:
        return {}
    return maturity.final(book.engine, detailed, units, book.plan, as_of)


def _units(book: OrderTables) -> tuple[Assigned, ibis.Table]:
    plan, engine = book.plan, book.engine
    extra = [Column(name=name, kind="text") for name in plan.texts]
    if plan.cluster:
        extra.append(Column(name=plan.cluster, kind="id"))
    extra += chances.wanted(plan)
    whole = (plan.cluster,) if plan.cluster else ()
    table = book.read("assignments", extra=extra, whole=whole)
    if plan.cluster and plan.cluster not in table.columns:
        raise DataError.missing_column(plan.cluster, "the plan's cluster", table.columns)
    if plan.explored:
        table = _explored(book, table)
    single = assigned.once(
        engine,
        chances.kept(engine, table, plan, "assignments"),
        source="assignments",
        arms=plan.arms,
        within=plan.run,
        strata=plan.strata,
    )
    users = _users(book, single.units) if book.has("users") else None
    have = {*single.units.columns, *(users.columns if users is not None else ())}
    units = assigned.described(
        engine,
        single.units,
        users,
        texts=plan.texts,
        numbers=plan.numbers(have),
        features=plan.known_before(have),
        beside=plan.beside,
    )
    assigned.refuse_many_levels(engine, units, plan.segments)
    return single, units


def _explored(book: OrderTables, table: ibis.Table) -> ibis.Table:
    """Keep units whose arm was drawn; a rule's arms depend on what the units are like.

    Raises:
        DataError: When the table does not say which units these are.
    """
    if "explored" not in table.columns:
        raise DataError.missing_column("explored", "a plan with assign.explore", table.columns)
    book.notes.append(
        "only customers of the exploration cell are compared; the others got the rule's arm"
    )
    return table.filter(table["explored"].fill_null(False))


def _users(book: OrderTables, units: ibis.Table) -> ibis.Table:
    """Read the customer snapshot once per unit; it must be older than the assignment.

    Raises:
        DataError: When what segments and covariates are made of was known only afterwards.
    """
    named, features = book.plan.covariates, book.plan.features
    wanted = (
        *book.plan.texts,
        *(STANDARD_COVARIATES if named is None else named),
        *(STANDARD_COVARIATES if features is None else features),
        *book.plan.beside,
    )
    wanted = tuple(dict.fromkeys(wanted))
    table = book.read("users", extra=[Column(name=name, kind="any") for name in wanted])
    if "snapshot_at" in table.columns:
        late = book.engine.one(
            table.inner_join(units.select("unit", "assigned_at"), "unit").aggregate(
                rows=(ibis._.snapshot_at > ibis._.assigned_at).ifelse(1, 0).sum()
            )
        )["rows"]
        if late and wanted:
            raise DataError.after_assignment("users", int(late))
    return book.once(table, "unit", "users")


def _lines(book: OrderTables) -> tuple[ibis.Table, int | None, dict[str, int]]:
    """Read order lines with buyer and time, completed by the ledger's identity."""
    engine = book.engine
    lines = book.once(book.read("order_lines", whole=("order_id",)), "line_id", "order_lines")
    lines = _with_header(book, lines)
    _refuse_blank_rates(book, lines)
    _note_channels(book, lines)
    told = set(lines.columns)
    funded = ledger.funded(lines, stated=book.plan.stated)
    by_lines = bool(set(ledger.COUPONS) & told) or "coupon" not in told
    if book.plan.has_coupons and not set(ledger.COUPONS) & set(funded.columns):
        raise DataError.no_coupon_column()
    priced = engine.materialise(ledger.priced(funded), "priced")
    checkable = "cash" in told and bool({"list", "settlement_base"} & told)
    sums = engine.one(
        priced.aggregate(
            wrong=ledger.violations(priced),
            **{name: priced[name].sum() for name in ledger.COUPONS},
        )
    )
    funding = {name.removesuffix("_coupon"): int(sums[name] or 0) for name in ledger.COUPONS}
    spoken = by_lines and any(funding.values())
    return priced, int(sums["wrong"] or 0) if checkable else None, funding if spoken else {}


def _with_header(book: OrderTables, lines: ibis.Table) -> ibis.Table:
    """Take buyer and times from the table of orders where the lines do not carry them."""
    if {"unit", "paid_at"} <= set(lines.columns):
        return lines
    if not book.has("orders"):
        need = "unit" if "unit" not in lines.columns else "paid_at"
        raise DataError.missing_column(need, "source 'order_lines'", lines.columns)
    header = book.once(book.read("orders", whole=("order_id",)), "order_id", "orders")
    taken = [name for name in HEADER if name in header.columns and name not in lines.columns]
    joined = lines.left_join(header.select("order_id", *taken), "order_id")
    return joined.drop("order_id_right")


def _refuse_blank_rates(book: OrderTables, lines: ibis.Table) -> None:
    """A blank rate is 0 only where no creator sold."""
    channels = ("creator_organic", "creator_ads")
    by_creator = (
        lines["channel"].isin(channels).fill_null(True)
        if "channel" in lines.columns
        else ibis.literal(True)
    )
    names = [n for n in ("commission_rate_bp", "agency_rate_bp") if n in lines.columns]
    if not names:
        return
    found = book.engine.one(
        lines.aggregate(
            rows=ibis._.count(),
            **{n: (lines[n].isnull() & by_creator).ifelse(1, 0).sum() for n in names},
        )
    )
    for name in names:
        if found[name]:
            raise DataError.missing_values(
                name, "order_lines", rows=int(found[name]), of=int(found["rows"])
            )


def _note_channels(book: OrderTables, lines: ibis.Table) -> None:
    if "channel" not in lines.columns:
        return
    known = {each for channels in ledger.CHANNEL_BUCKETS.values() for each in channels}
    strange = lines.filter(~lines["channel"].isin(known).fill_null(False))
    rows = book.engine.rows(strange.group_by("channel").agg(n=ibis._.count()))
    if rows:
        names = sorted(str(row["channel"] or "(blank)") for row in rows)
        count = sum(int(row["n"]) for row in rows)
        book.notes.append(
            f"{count:,} order lines have channels {names[:5]} that belong to no channel of the "
            "ledger; rates by channel do not charge them"
        )


def _detailed(
    book: OrderTables, lines: ibis.Table, units: ibis.Table, refunded: ibis.Table | None
) -> ibis.Table:
    """Return the components of every line within the windows."""
    placed = orders.placed(book, lines, units)
    if refunded is not None:
        refunded = book.engine.materialise(
            refunded.semi_join(placed.select("order_id").distinct(), "order_id"), "refunded"
        )
        placed = refunds.beside(placed, refunded)
    detailed = ledger.components(placed, has_refunds=refunded is not None)
    return book.engine.materialise(detailed, "lines")


def _active(
    book: OrderTables,
    units: ibis.Table,
    facts: ibis.Table,
    names: tuple[str, ...],
    events: Events,
) -> tuple[ibis.Table, tuple[str, ...]]:
    """Join facts and flags to the units that ordered."""
    joined = units.inner_join(facts, "unit")
    if events.flags is not None:
        joined = joined.left_join(events.flags, "unit").drop("unit_right")
        joined = joined.mutate(**{name: joined[name].fill_null(0) for name in events.names})
    joined, extra = _new_customers(joined, book.plan)
    return book.engine.materialise(joined, "active"), (*names, *events.names, *extra)


def _flagged(
    book: OrderTables, units: ibis.Table, active: ibis.Table, events: Events
) -> ibis.Table | None:
    """Join flags to the units that did not order."""
    if events.flags is None:
        return None
    others = events.flags.anti_join(active.select("unit"), "unit")
    joined = units.inner_join(others, "unit")
    return book.engine.materialise(joined, "flagged")


def _totals(
    engine: Engine,
    active: ibis.Table,
    names: tuple[str, ...],
    flagged: ibis.Table | None,
    flags: tuple[str, ...],
) -> dict[str, float]:
    found = engine.one(
        active.aggregate(**{f"t{i}": active[name].sum() for i, name in enumerate(names)})
    )
    totals = {name: float(found[f"t{i}"] or 0) for i, name in enumerate(names)}
    if flagged is not None:
        more = engine.one(
            flagged.aggregate(**{f"t{i}": flagged[name].sum() for i, name in enumerate(flags)})
        )
        for i, name in enumerate(flags):
            totals[name] += float(more[f"t{i}"] or 0)
    return totals


def _new_customers(table: ibis.Table, plan: Plan) -> tuple[ibis.Table, tuple[str, ...]]:
    """Count units that were new at assignment and kept an order."""
    labels = [c for c in ("is_new_customer", "is_new") if c in plan.texts]
    numbers = [c for c in ("x:is_new_customer", "x:is_new") if c in table.columns]
    if labels:
        is_new = as_flag(table[labels[0]]).fill_null(False)
    elif numbers:
        is_new = table[numbers[0]] == 1
    else:
        return table, ()
    names = {at("new_customers", days): at("kept_buyers", days) for days in plan.windows}
    return (
        table.mutate(**{new: is_new.ifelse(table[old], 0) for new, old in names.items()}),
        tuple(names),
    )


def _coverage(engine: Engine, units: ibis.Table) -> dict[str, tuple[int, int]]:
    rows = engine.rows(
        units.group_by("arm").agg(found=units["_known"].fill_null(0).sum(), n=ibis._.count())
    )
    return {row["arm"]: (int(row["found"]), int(row["n"])) for row in rows}


def _stacked(engine: Engine, active: ibis.Table, plan: Plan) -> dict[str, tuple[int, int, int]]:
    days = plan.windows[0]
    names = [at(n, days) for n in ("orders_redeemed", "orders", "merchant_coupon")]
    rows = engine.rows(
        active.group_by("arm").agg(
            **{f"c{i}": active[name].sum() for i, name in enumerate(names)}
        )
    )
    return {row["arm"]: (int(row["c0"]), int(row["c1"]), int(row["c2"])) for row in rows}


def _finance(book: OrderTables) -> dict[str, int]:
    if not book.has("finance_total"):
        return {}
    table = book.read("finance_total", whole=("component",))
    sums = table.group_by("component").agg(amount=table["amount"].sum())
    return {row["component"]: int(row["amount"]) for row in book.engine.rows(sums)}


def ad_spend(book: OrderTables) -> dict[str, int]:
    """Add up plan-level spend per arm; it has no customers, so it stays at the arm.

    Raises:
        DataError: When spend belongs to an arm that the plan does not have.
    """
    if not book.has("ad_spend"):
        return {}
    table = book.read("ad_spend", whole=("arm",))
    sums = book.engine.rows(table.group_by("arm").agg(spend=table["spend"].sum()))
    strangers = {row["arm"] for row in sums} - set(book.plan.arms)
    if strangers:
        raise DataError.unknown_arm(strangers, "ad_spend", book.plan.arms)
    return {row["arm"]: int(row["spend"]) for row in sums}
