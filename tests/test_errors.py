"""Every message, as a whole, as its reader sees it."""

from __future__ import annotations

import pickle
from datetime import date
from fractions import Fraction

import pytest

from upliftlab.errors import (
    DataError,
    DefinitionError,
    DesignError,
    LedgerError,
    Problem,
    UpliftlabError,
)
from upliftlab.plan.quantities import Points, Rate

HALF, TWO_FIFTHS = Rate(Fraction(1, 2)), Rate(Fraction(2, 5))

MESSAGES = {
    "not_built": (
        DefinitionError.not_built("kind", "ads_budget", {"smart_coupon", "custom"}),
        "kind 'ads_budget' is not built yet; built: ['custom', 'smart_coupon'].",
    ),
    "unknown_word": (
        DefinitionError.unknown_word("goal", "gvm", ["gmv", "win_back"]),
        "goal is 'gvm'; allowed: ['gmv', 'win_back']. Did you mean 'gmv'?",
    ),
    "unknown_key": (
        DefinitionError.unknown_key("decide", "segmnts", ["segments", "worth_it"]),
        (
            "decide has no key 'segmnts'; allowed: ['segments', 'worth_it']. "
            "Did you mean 'segments'?"
        ),
    ),
    "missing_key": (
        DefinitionError.missing_key("run", "end", "2026-10-21"),
        "run needs the key 'end'; add for example end: 2026-10-21.",
    ),
    "missing_key without example": (
        DefinitionError.missing_key("run", "end", ""),
        "run needs the key 'end'.",
    ),
    "unreadable": (
        DefinitionError.unreadable("margin", "20", "write 20% (or 0.2 decimal)"),
        "margin is '20'; write 20% (or 0.2 decimal).",
    ),
    "unreadable nothing": (
        DefinitionError.unreadable("run", None, "write dates"),
        "run is empty; write dates.",
    ),
    "unreadable number": (
        DefinitionError.unreadable("unit", 5, "write text"),
        "unit is 5 (int); write text.",
    ),
    "unreadable mapping": (
        DefinitionError.unreadable("unit", {"a": 1}, "write text"),
        "unit is a mapping; write text.",
    ),
    "unreadable long text": (
        DefinitionError.unreadable("unit", "x" * 99, "write less"),
        f"unit is '{'x' * 57}...'; write less.",
    ),
    "shares": (
        DefinitionError.shares(
            "arms of experiment 'free_shipping'", [HALF, TWO_FIFTHS], Rate(Fraction(9, 10))
        ),
        (
            "arms of experiment 'free_shipping' have shares 50% + 40% = 90%; "
            "shares must add up to 100%."
        ),
    ),
    "too_few_arms": (
        DefinitionError.too_few_arms("experiment 'x'", ["all"]),
        "experiment 'x' has the arms ['all']; a comparison needs two or more.",
    ),
    "no_control": (
        DefinitionError.no_control("experiment 'free_shipping'", ["new", "newer"]),
        (
            "experiment 'free_shipping' has arms ['new', 'newer'] and none is marked as "
            "control; add control: true to one of them."
        ),
    ),
    "several_controls": (
        DefinitionError.several_controls("experiment 'x'", ["old", "older"]),
        (
            "experiment 'x' has arms ['old', 'older'] all marked as control; "
            "keep control: true at one of them."
        ),
    ),
    "repeated_arm": (
        DefinitionError.repeated_arm("a"),
        "arms has 'a' more than once; each label must come once.",
    ),
    "out_of_order": (
        DefinitionError.out_of_order(
            "run", "start", date(2026, 10, 21), "end", date(2026, 10, 8)
        ),
        "run has start 2026-10-21 after end 2026-10-08; start must not be later than end.",
    ),
    "unknown_component": (
        DefinitionError.unknown_component("baskets", "ordrs", ["orders", "cash"]),
        (
            "metric 'baskets' is made from component 'ordrs'; allowed: ['cash', 'orders']. "
            "Did you mean 'orders'?"
        ),
    ),
    "unknown_guardrail": (
        DefinitionError.unknown_guardrail("return_rat", ["return_rate"]),
        (
            "decide.must_not_worsen names 'return_rat', which is no metric and no component; "
            "define it under metrics. Did you mean 'return_rate'?"
        ),
    ),
    "two_margins": (
        DefinitionError.two_margins("r", Points.parse("1 point"), Points.parse("2 points")),
        (
            "guardrail 'r' has margin 1 point under decide and 2 points under metrics; "
            "keep one of them."
        ),
    ),
    "reserved_metric": (
        DefinitionError.reserved_metric("profit"),
        "metric 'profit' is computed from costs; choose another name.",
    ),
    "several_primary": (
        DefinitionError.several_primary(["a", "b"]),
        "metrics ['a', 'b'] are all primary; keep role: primary at one of them.",
    ),
    "unknown_zone": (
        DefinitionError.unknown_zone("Asia/Shangai", ["Asia/Shanghai", "UTC"]),
        (
            "timezone is 'Asia/Shangai'; write a zone such as Asia/Shanghai. "
            "Did you mean 'Asia/Shanghai'?"
        ),
    ),
    "no_costs_file": (
        DefinitionError.no_costs_file("costs.yaml", ["douyin_apparel"]),
        "costs is 'costs.yaml'; there is no such file. Make it, or write {margin: 35%}.",
    ),
    "no_costs_file but a preset": (
        DefinitionError.no_costs_file("douyin_apparel", ["douyin_apparel"]),
        (
            "costs is 'douyin_apparel'; there is no such file. "
            "Make it, or write {preset: douyin_apparel}."
        ),
    ),
    "both_given": (
        DefinitionError.both_given("costs", "margin", "preset"),
        "costs has both 'margin' and 'preset'; keep one of them.",
    ),
    "one_of": (
        DefinitionError.one_of("data.users", ["file", "sql"], ["file", "table", "sql"]),
        "data.users needs exactly one of ['file', 'table', 'sql']; it has 'file' and 'sql'.",
    ),
    "one_of without any": (
        DefinitionError.one_of("data.users", [], ["file", "table", "sql"]),
        "data.users needs exactly one of ['file', 'table', 'sql']; it has none of them.",
    ),
    "one_grain": (
        DefinitionError.one_grain(["orders", "units"]),
        (
            "data needs one grain: order tables (assignments, order_lines, ...), or units, or "
            "cells; it has ['orders', 'units']."
        ),
    ),
    "needs_beside": (
        DefinitionError.needs_beside("goal", "kind: smart_coupon", "custom"),
        "'goal' goes with kind: smart_coupon, and 'custom' was given; leave 'goal' out.",
    ),
    "engine_written_out": (
        DefinitionError.engine_written_out("engine"),
        (
            "engine is not the name of an environment variable; write for example "
            "$WAREHOUSE_URL and keep the connection itself out of the file."
        ),
    ),
    "no_sales": (
        DefinitionError.no_sales({"orders", "cash"}),
        (
            "profit needs sales: 'gmv_platform', 'gmv_merchant' or 'kept_sales'; "
            "the data have ['cash', 'orders']."
        ),
    ),
    "cost_not_in_data": (
        DefinitionError.cost_not_in_data("goods", "goods", {"cash"}),
        (
            "costs.goods needs component 'goods'; the data have ['cash']. "
            "Leave costs.goods out, or use order tables."
        ),
    ),
    "missing_column": (
        DataError.missing_column("ordrs", "metric 'orders'", {"orders", "user_id"}),
        (
            "metric 'orders' needs column 'ordrs'; the table has ['orders', 'user_id']. "
            "Did you mean 'orders'?"
        ),
    ),
    "empty between": (
        DataError.empty(
            "visits",
            between=(date(2026, 1, 1), date(2026, 2, 1)),
            has=(date(2026, 3, 1), date(2026, 5, 31)),
        ),
        (
            "table 'visits' has no rows between 2026-01-01 and 2026-02-01; "
            "its dates run from 2026-03-01 to 2026-05-31."
        ),
    ),
    "empty": (DataError.empty("visits"), "table 'visits' has no rows."),
    "missing_file": (
        DataError.missing_file("users", "data/users_*.csv"),
        "table 'users' reads 'data/users_*.csv'; no such file is there.",
    ),
    "missing_table": (
        DataError.missing_table("users", "segment 'is_new'", ["refunds", "assignments"]),
        (
            "segment 'is_new' needs table 'users'; data has ['assignments', 'refunds']. "
            "Add data.users: {file: ...}."
        ),
    ),
    "unknown_arm": (
        DataError.unknown_arm({"cupon"}, "assignments", ["coupon", "none"]),
        (
            "table 'assignments' has arms ['cupon'] that the plan does not; "
            "the plan has ['coupon', 'none']. Did you mean 'coupon'?"
        ),
    ),
    "wrong_type": (
        DataError.wrong_type("pay_ts", "orders", found="text", wanted="a timestamp"),
        "column 'pay_ts' of table 'orders' is text; it must be a timestamp.",
    ),
    "float_ids": (
        DataError.float_ids("open_id", "assignments", 7.123456789012345e18),
        (
            "column 'open_id' of table 'assignments' holds ids as decimal numbers, such as "
            "7.123456789012345e+18; long ids are already rounded and two customers may share "
            "one. Export ids as text."
        ),
    ),
    "money_unit": (
        DataError.money_unit("units", ["gmv", "cash"], ("yuan", "fen")),
        (
            "table 'units' has money columns ['cash', 'gmv'] and names no unit; "
            "add money: yuan or money: fen to data.units."
        ),
    ),
    "missing_values": (
        DataError.missing_values("arm", "assignments", rows=3, of=100),
        (
            "column 'arm' of table 'assignments' is empty in 3 of 100 rows; "
            "it must be filled in every row."
        ),
    ),
    "negative": (
        DataError.negative("qty", "order_lines", rows=2, of=9, lowest=-1),
        (
            "column 'qty' of table 'order_lines' is below zero in 2 of 9 rows, the lowest -1; "
            "it must be zero or more."
        ),
    ),
    "repeated": (
        DataError.repeated("unit", "assignments", rows=2, example="u7"),
        (
            "table 'assignments' has 2 rows whose 'unit' came before, such as 'u7'; "
            "each 'unit' must come once."
        ),
    ),
}


@pytest.mark.parametrize(("error", "text"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_says_who_asked_what_was_found_and_what_would_work(error, text):
    """The whole text of each message is what its reader needs."""
    assert str(error) == text


@pytest.mark.parametrize("kind", [DefinitionError, DataError, DesignError, LedgerError])
def test_every_mistake_is_an_upliftlab_error_and_a_value_error(kind):
    """One except clause catches all mistakes of the package, and ValueError does too."""
    assert issubclass(kind, UpliftlabError)
    assert issubclass(kind, ValueError)


def test_one_problem_is_one_line_that_editors_can_follow():
    """File and line stand first, the way compilers print them."""
    problem = Problem(message="name is 'a b'; write a-b.", file="x.yaml", line=3)

    assert str(DefinitionError(problem)) == "x.yaml:3: name is 'a b'; write a-b."


def test_several_problems_are_listed_together():
    """All problems are printed, each on its line, and kept for programs."""
    first = Problem(message="one.", file="x.yaml", line=1)
    second = Problem(message="two.", file="costs.yaml")

    error = DefinitionError(first, second)

    assert error.problems == (first, second)
    assert str(error) == (
        "the definition has 2 problems:\n  x.yaml:1: one.\n  costs.yaml: two."
    )


def test_a_problem_moves_to_its_full_path():
    """A value that names itself by its key is renamed to where the key stands."""
    problem = Problem(message="share is '5'; write 5%.", where="share")

    assert str(problem.moved("arms.a.share")) == "arms.a.share is '5'; write 5%."


def test_a_definition_error_survives_another_process():
    """Pickling keeps the problems, so that workers can report them."""
    error = DefinitionError(Problem(message="one.", file="x.yaml", line=1))

    assert pickle.loads(pickle.dumps(error)).problems == error.problems  # noqa: S301
