"""Which parts of a plan contradict each other?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import chain
from typing import Any

from upliftlab.components import COUNTS, MONEY, NAMES
from upliftlab.errors import DefinitionError
from upliftlab.plan.assign import assign_rules
from upliftlab.plan.costs import SAID_TWICE
from upliftlab.plan.currencies import CODES, currency_of
from upliftlab.plan.definition import Definition
from upliftlab.plan.looks import looks_rules
from upliftlab.plan.metrics import PROFIT, STANDARD
from upliftlab.plan.power import power_rules
from upliftlab.plan.quantities import Money, Points, Rate
from upliftlab.plan.rollout import rollout_rules
from upliftlab.plan.sources import ORDER_TABLES, PANEL_PRESETS, READY
from upliftlab.plan.target import target_rules
from upliftlab.plan.words import ROLLOUT_DESIGNS

KeyPath = tuple[str | int, ...]
Finding = tuple[KeyPath, DefinitionError]
Plan = Mapping[str, Any]

_MARKS = (None, True, False, "true", "false")
_NOT_COMPONENTS = frozenset({"unit", "arm", "cluster", "stratum", "n"})


def broken_rules(written: Plan, valid: Plan) -> Iterator[Finding]:
    """Find every contradiction, with the path of the key to change.

    Args:
        written: What was written, of which some parts may be unreadable.
        valid: The fields that could be read, and defaults.
    """
    by_written: tuple[Callable[[Plan], Iterator[Finding]], ...] = (
        _arms,
        _components,
        _guardrail_names,
        _grain,
        _costs_once,
        _ad_spend,
    )
    by_valid: tuple[Callable[[Plan], Iterator[Finding]], ...] = (
        _goal,
        _cluster,
        _order_grain,
        _costs_given,
        _primary,
        _guardrails,
        _margin_units,
        _dates,
        _currencies,
        _money_units,
        rollout_rules,
        target_rules,
        assign_rules,
        looks_rules,
        power_rules,
    )
    yield from chain.from_iterable(rule(written) for rule in by_written)
    yield from chain.from_iterable(rule(valid) for rule in by_valid)


def grain_of(data: object) -> str:
    """Name the grain of what is written under ``data``; empty when there is none."""
    tables = _tables(data)
    ready = next((name for name in READY if name in tables), "")
    if ready or not tables:
        return ready
    preset = _get(_get(data, "simulate"), "preset")
    return "panel" if preset in PANEL_PRESETS else "orders"


def known_components(data: object) -> frozenset[str]:
    """Name the components a metric may be made from."""
    extra: set[str] = set()
    for table in READY:
        columns = _get(_get(data, table), "columns")
        extra |= set(columns) if isinstance(columns, Mapping) else set()
    return NAMES | extra - _NOT_COMPONENTS


def _arms(written: Plan) -> Iterator[Finding]:
    rows = _rows(written.get("arms"), "label")
    if not rows:
        return
    owner = f"experiment {written.get('name')!r}"
    path = ("arms",)
    if len(rows) < len(written["arms"]):
        repeated = next(name for name in rows if _labels(written["arms"]).count(name) > 1)
        yield path, DefinitionError.repeated_arm(repeated)
    if len(rows) < 2:
        yield path, DefinitionError.too_few_arms(owner, list(rows))
    marks = {name: _get(row, "control") for name, row in rows.items()}
    readable = all(isinstance(row, Mapping | Definition) for row in rows.values())
    readable &= all(mark in _MARKS for mark in marks.values())
    controls = [name for name, mark in marks.items() if mark in {True, "true"}]
    if readable and not controls:
        yield path, DefinitionError.no_control(owner, list(rows))
    if len(controls) > 1:
        yield path, DefinitionError.several_controls(owner, controls)
    shares = [_readable_rate(_get(row, "share")) for row in rows.values()]
    known = [share for share in shares if share is not None]
    for name, share in zip(rows, shares, strict=True):
        if share is not None and share.value == 0:
            place = f"arms.{name}.share"
            yield (
                ("arms", name, "share"),
                DefinitionError.unreadable(place, "0%", "give the arm a share or remove it"),
            )
    total = sum((share.value for share in known), Fraction(0))
    if len(known) == len(shares) and total != 1:
        yield path, DefinitionError.shares(f"arms of {owner}", known, Rate(total))


def _components(written: Plan) -> Iterator[Finding]:
    known = known_components(written.get("data"))
    for name, row in _rows(written.get("metrics"), "name").items():
        if name == PROFIT:
            yield ("metrics", name), DefinitionError.reserved_metric(name)
        for form in ("mean", "count", "ratio"):
            found = _get(row, form)
            parts = found if isinstance(found, list | tuple) else [found]
            for part in parts:
                if isinstance(part, str) and part not in known:
                    yield (
                        ("metrics", name, form),
                        DefinitionError.unknown_component(name, part, known),
                    )


def _guardrail_names(written: Plan) -> Iterator[Finding]:
    declared = _rows(written.get("metrics"), "name")
    known = {*declared, *STANDARD, *known_components(written.get("data"))}
    named = _get(written.get("decide"), "must_not_worsen")
    for name in named if isinstance(named, Mapping) else ():
        if name not in known:
            path = ("decide", "must_not_worsen", name)
            yield path, DefinitionError.unknown_guardrail(name, known)


def _grain(written: Plan) -> Iterator[Finding]:
    data = written.get("data")
    if not isinstance(data, Mapping | Definition):
        return
    tables = _tables(data)
    if {"panel", "simulate"} & tables:
        tables -= {"creator_terms"}  # agreed rates stand beside either grain
    grains = {grain_of({table: _get(data, table)}) for table in tables}
    if len(grains) != 1:
        yield ("data",), DefinitionError.one_grain(sorted(tables - {"simulate"}))
    elif grains == {"orders"} and "simulate" not in tables:
        over_time = written.get("design") in ROLLOUT_DESIGNS
        needed = ORDER_TABLES[1 if over_time else 0 : 2]
        for table in needed:
            if table not in tables:
                example = f"{{file: data/{table}.parquet}}"
                yield ("data",), DefinitionError.missing_key("data", table, example)


def _goal(valid: Plan) -> Iterator[Finding]:
    kind, goal = valid.get("kind"), valid.get("goal")
    if goal is not None and kind is not None and kind != "smart_coupon":
        yield ("goal",), DefinitionError.needs_beside("goal", "kind: smart_coupon", kind)


def _cluster(valid: Plan) -> Iterator[Finding]:
    if "design" not in valid or "cluster" not in valid:
        return
    design, cluster = valid["design"], valid["cluster"]
    if design in {"staggered", "geo"}:
        return
    if design == "cluster_split" and cluster is None:
        owner = "design 'cluster_split'"
        yield ("design",), DefinitionError.missing_key(owner, "cluster", "household_id")
    if design != "cluster_split" and cluster is not None:
        yield (
            ("cluster",),
            DefinitionError.needs_beside("cluster", "design: cluster_split", design),
        )


def _order_grain(valid: Plan) -> Iterator[Finding]:
    if grain_of(valid.get("data")) != "orders" or valid.get("design") in ROLLOUT_DESIGNS:
        return
    examples = {"run": "{start: 2026-10-08, end: 2026-10-21}", "follow_up": "14 days"}
    for key, example in examples.items():
        if key in valid and valid[key] is None:
            owner = f"experiment {valid.get('name')!r}, read from orders,"
            yield (), DefinitionError.missing_key(owner, key, example)


def _costs_given(valid: Plan) -> Iterator[Finding]:
    data = valid.get("data")
    if data is None or "costs" not in valid or valid["costs"] is not None:
        return
    measured = any(PROFIT in (_get(_get(data, table), "columns") or ()) for table in READY)
    if not measured:
        owner = f"experiment {valid.get('name')!r}"
        yield (), DefinitionError.missing_key(owner, "costs", "{margin: 35%}")


def _primary(valid: Plan) -> Iterator[Finding]:
    primary = [metric.name for metric in valid.get("metrics") or () if metric.role == "primary"]
    if len(primary) > 1:
        yield ("metrics",), DefinitionError.several_primary(primary)


def _guardrails(valid: Plan) -> Iterator[Finding]:
    metrics, decide = valid.get("metrics"), valid.get("decide")
    if metrics is None or decide is None:
        return
    declared = {metric.name: metric for metric in metrics}
    for name, margin in decide.must_not_worsen.items():
        if name in declared and declared[name].margin not in {None, margin}:
            path = ("decide", "must_not_worsen", name)
            yield path, DefinitionError.two_margins(name, margin, declared[name].margin)
    for name, metric in declared.items():
        margin = metric.margin or decide.must_not_worsen.get(name)
        if metric.role == "guardrail" and margin is None:
            owner = f"guardrail {name!r}"
            yield ("metrics", name), DefinitionError.missing_key(owner, "margin", "1 point")


def _margin_units(valid: Plan) -> Iterator[Finding]:
    metrics, decide = valid.get("metrics"), valid.get("decide")
    if metrics is None or decide is None:
        return
    known = STANDARD | {metric.name: metric for metric in metrics}
    margins = {("metrics", metric.name, "margin"): metric.margin for metric in metrics} | {
        ("decide", "must_not_worsen", name): margin
        for name, margin in decide.must_not_worsen.items()
    }
    for path, margin in margins.items():
        name = path[2] if path[0] == "decide" else path[1]
        components = known[name].components if name in known else (name,)
        in_money = _in_money(components)
        where = ".".join(path)
        if isinstance(margin, Points) and in_money is True:
            fix = f"{name} is money: write 2% (of control) or an amount per unit"
            yield path, DefinitionError.unreadable(where, str(margin), fix)
        if isinstance(margin, Money) and in_money is False:
            fix = f"{name} is no money: write 1 point or 2% (of control)"
            yield path, DefinitionError.unreadable(where, str(margin), fix)


def _in_money(components: tuple[str, ...]) -> bool | None:
    """Say whether a metric is an amount; ``None`` where only the data know."""
    top, bottom = components[0], components[1:]
    if top in COUNTS:
        return False
    return None if top not in MONEY else not set(bottom) & set(MONEY)


def _dates(valid: Plan) -> Iterator[Finding]:
    run, data = valid.get("run"), valid.get("data")
    if run is None or data is None:
        return
    users = data.users
    if users is not None and users.snapshot is not None and users.snapshot > run.start:
        yield (
            ("data", "users", "snapshot"),
            DefinitionError.out_of_order(
                "data.users", "snapshot", users.snapshot, "run.start", run.start
            ),
        )
    if data.as_of is not None and data.as_of.date() < run.start:
        yield (
            ("data", "as_of"),
            DefinitionError.out_of_order(
                "data", "run.start", run.start, "as_of", data.as_of.date()
            ),
        )


def _ad_spend(written: Plan) -> Iterator[Finding]:
    labels = _rows(written.get("arms"), "label")
    spend = _get(written.get("costs"), "ad_spend")
    for name in spend if isinstance(spend, Mapping) and labels else ():
        if name not in labels:
            where = "costs.ad_spend"
            yield ("costs", "ad_spend", name), DefinitionError.unknown_key(where, name, labels)


def _costs_once(written: Plan) -> Iterator[Finding]:
    for one, other in SAID_TWICE:
        if all(_get(written.get("costs"), key) is not None for key in (one, other)):
            yield ("costs", other), DefinitionError.both_given("costs", one, other)


def _currencies(valid: Plan) -> Iterator[Finding]:
    currency = valid.get("currency")
    if currency is None:
        return
    for name, part in valid.items():
        for path, money in _amounts(part, (name,)):
            if money.currency != currency:
                where = ".".join(map(str, path))
                fix = f"write it in {currency}, the currency of this plan"
                yield path, DefinitionError.unreadable(where, str(money), fix)


def _money_units(valid: Plan) -> Iterator[Finding]:
    data, code = valid.get("data"), valid.get("currency")
    if data is None or code not in CODES:
        return
    for name, source in data.sources.items():
        if source.money is not None:
            path = ("data", name, "money")
            try:
                currency_of(code).minor_per(source.money, ".".join(path))
            except DefinitionError as error:
                yield path, error


def _amounts(part: object, path: KeyPath) -> Iterator[tuple[KeyPath, Money]]:
    if isinstance(part, Money):
        yield path, part
    elif isinstance(part, Definition):
        for name in type(part).model_fields:
            yield from _amounts(getattr(part, name), (*path, name))
    elif isinstance(part, Mapping):
        for key, inner in part.items():
            yield from _amounts(inner, (*path, key))
    elif isinstance(part, tuple):
        for row in part:
            label = getattr(row, getattr(row, "LABEL", ""), "")
            yield from _amounts(row, (*path, label))


def _rows(found: object, key: str) -> dict[str, object]:
    if isinstance(found, Mapping):
        return dict(found)
    if isinstance(found, list | tuple) and all(isinstance(row, Definition) for row in found):
        return {str(_get(row, key)): row for row in found}
    return {}


def _labels(arms: object) -> list[str]:
    rows = arms if isinstance(arms, list | tuple) else ()
    return [str(_get(row, "label")) for row in rows]


def _tables(data: object) -> set[str]:
    names = {*ORDER_TABLES, *READY, "simulate"}
    return {name for name in names if _get(data, name) is not None}


def _get(found: object, key: str) -> Any:  # noqa: ANN401 - written values have any type
    return found.get(key) if isinstance(found, Mapping) else getattr(found, key, None)


def _readable_rate(found: object) -> Rate | None:
    try:
        return Rate.parse(found)
    except DefinitionError:
        return None
