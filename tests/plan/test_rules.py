"""Every mistake in a plan is told with its file, line and fix, and all of them at once."""

from __future__ import annotations

import re

import pytest

from upliftlab.errors import DefinitionError
from upliftlab.experiment import Experiment

SMALLEST = """\
name: spring-coupon
kind: smart_coupon
arms: {none: {share: 50%, control: true}, coupon: {share: 50%, coupon: 20, over: 99}}
costs: {margin: 35%}
data:
  units: {file: units.csv, money: yuan, columns: {unit: uid, arm: grp, gmv: sales}}
"""

USUAL = """\
name: jacket-coupon
question: Does a coupon earn profit we would not have had anyway?
owner: Li Wei
kind: smart_coupon
goal: new_customer
run: {start: 2026-10-08, end: 2026-10-21}
follow_up: 60 days
returns_final_after: 21 days
pre_period: 8 weeks
eligible_customers: 1200000
strata: [city_tier]
arms:
  none: {share: 25%, control: true}
  coupon_5: {share: 25%, coupon: 5, over: 99}
  coupon_10: {share: 25%, coupon: 10, over: 99, contact: 0.05}
  coupon_20: {share: 25%, coupon: 2000 fen, over: 99}
who_pays: {from_orders: true, merchant: 80%, platform: 20%}
costs: {preset: douyin_apparel, gift: 0.355, ad_spend: {coupon_20: 50000}, vat_rate: 13%}
metrics:
  kept: {mean: orders_kept, role: secondary}
  basket: {ratio: [gmv_merchant, orders], role: guardrail, direction: up, margin: 2%}
decide:
  worth_it: 0.05
  iroi_at_least: 0.2
  must_not_worsen: {return_rate: 1 point}
  segments: [is_new_customer, is_member]
  confidence: 90%
covariates: none
data:
  assignments: {file: data/assigned.csv, columns: {unit: open_id, arm: 组别}}
  order_lines: {file: "data/orders_*.parquet"}
  users: {sql: queries/customers.sql, engine: $WAREHOUSE_URL, snapshot: 2026-10-07}
  as_of: 2026-12-25 08:00
"""


def message(text):
    """Say what is wrong with a plan."""
    with pytest.raises(DefinitionError) as error:
        Experiment.from_text(text)
    return str(error.value)


BAD = {
    "a key that does not exist": (
        SMALLEST + "decide: {segmnts: [is_new]}\n",
        ("experiment.yaml:7: decide has no key 'segmnts'; allowed: ['both_gain', "
        "'confidence', 'iroi_at_least', 'must_not_worsen', 'segments', 'trends_may_differ', "
        "'worth_it']. Did you mean 'segments'?"),
    ),
    "a key that is missing": (
        SMALLEST.replace("share: 50%, control", "control"),
        "experiment.yaml:3: arms.none needs the key 'share'; add for example share: 50%.",
    ),
    "a key without a value": (
        SMALLEST + "run:\n",
        "experiment.yaml:7: run is empty; write a value, or leave the key out.",
    ),
    "shares": (
        SMALLEST.replace("50%, coupon", "40%, coupon"),
        ("experiment.yaml:3: arms of experiment 'spring-coupon' have shares 50% + 40% = 90%; "
        "shares must add up to 100%."),
    ),
    "a share of zero": (
        SMALLEST.replace("50%, coupon", "0%, coupon").replace("50%, control", "100%, control"),
        "experiment.yaml:3: arms.coupon.share is '0%'; give the arm a share or remove it.",
    ),
    "a share above one": (
        SMALLEST.replace("50%, coupon", "150%, coupon"),
        ("the definition has 2 problems:\n"
        "  experiment.yaml:3: arms.coupon.share is '150%'; write 0% to 100%.\n"
        "  experiment.yaml:3: arms of experiment 'spring-coupon' have shares "
        "50% + 150% = 200%; shares must add up to 100%."),
    ),
    "no control": (
        SMALLEST.replace(", control: true", ""),
        ("experiment.yaml:3: experiment 'spring-coupon' has arms ['none', 'coupon'] and none "
        "is marked as control; add control: true to one of them."),
    ),
    "two controls": (
        SMALLEST.replace("coupon: 20", "control: true, coupon: 20"),
        ("experiment.yaml:3: experiment 'spring-coupon' has arms ['none', 'coupon'] all marked "
        "as control; keep control: true at one of them."),
    ),
    "control that is yes": (
        SMALLEST.replace("control: true", "control: yes"),
        "experiment.yaml:3: arms.none.control is 'yes'; write true or false.",
    ),
    "one arm": (
        re.sub("arms:.*", "arms: {all: {share: 100%, control: true}}", SMALLEST),
        ("experiment.yaml:3: experiment 'spring-coupon' has the arms ['all']; "
        "a comparison needs two or more."),
    ),
    "arms as a list": (
        re.sub("arms:.*", "arms: [none, coupon]", SMALLEST),
        ("experiment.yaml:3: arms is ['none', 'coupon']; "
        "write one line for each, such as label: {...}."),
    ),
    "an arm as a share": (
        SMALLEST.replace("{share: 50%, control: true}", "50%"),
        "experiment.yaml:3: arms.none is '50%'; write lines of keys and values under it.",
    ),
    "a threshold without a coupon": (
        SMALLEST.replace("coupon: 20, ", ""),
        "experiment.yaml:3: arm 'coupon' needs the key 'coupon'; add for example coupon: 20.",
    ),
    "a rate without a unit": (
        SMALLEST.replace("35%", "0.35"),
        "experiment.yaml:4: costs.margin is '0.35'; write 35% (or 0.35 decimal).",
    ),
    "an amount finer than a fen": (
        SMALLEST.replace("20,", "20.005,"),
        "experiment.yaml:3: arms.coupon.coupon is '20.005'; write at most 2 decimals of yuan.",
    ),
    "an amount below zero": (
        SMALLEST.replace("20,", "-20,"),
        "experiment.yaml:3: arms.coupon.coupon is '-20 CNY'; write zero or more.",
    ),
    "an amount of another currency": (
        SMALLEST.replace("20,", "20 USD,"),
        ("experiment.yaml:3: arms.coupon.coupon is '20 USD'; "
        "amounts here are in CNY: write yuan or fen."),
    ),
    "money in another currency's unit": (
        SMALLEST + "currency: USD\n",
        "experiment.yaml:6: data.units.money is 'yuan'; allowed: ['cents', 'dollars'].",
    ),
    "a currency that does not exist": (
        SMALLEST + "currency: RMB\n",
        "experiment.yaml:7: currency is 'RMB'; write an ISO 4217 code such as CNY, USD or EUR.",
    ),
    "a zone that does not exist": (
        SMALLEST + "timezone: Asia/Shangai\n",
        ("experiment.yaml:7: timezone is 'Asia/Shangai'; write a zone such as Asia/Shanghai. "
        "Did you mean 'Asia/Shanghai'?"),
    ),
    "a zone outside the database": (
        SMALLEST + "timezone: ../../etc/passwd\n",
        ("experiment.yaml:7: timezone is '../../etc/passwd'; "
        "write a zone such as Asia/Shanghai."),
    ),
    "a name that leaves its folder": (
        SMALLEST.replace("spring-coupon", "../../etc/passwd"),
        ("experiment.yaml:1: name is '../../etc/passwd'; write letters, digits, - and _ only "
        "(at most 80), such as etc-passwd."),
    ),
    "a name with markup": (
        SMALLEST.replace("spring-coupon", "<b>x</b>"),
        ("experiment.yaml:1: name is '<b>x</b>'; write letters, digits, - and _ only "
        "(at most 80), such as b-x-b."),
    ),
    "a kind that does not exist": (
        SMALLEST.replace("smart_coupon", "smart_cupon"),
        ("experiment.yaml:2: kind is 'smart_cupon'; allowed: ['ads_budget', 'custom', "
        "'dual_commission', 'smart_coupon']. Did you mean 'smart_coupon'?"),
    ),
    "a goal without a coupon": (
        SMALLEST.replace("smart_coupon", "custom") + "goal: gmv\n",
        ("experiment.yaml:7: 'goal' goes with kind: smart_coupon, and 'custom' was given; "
        "leave 'goal' out."),
    ),
    "clusters without a column": (
        SMALLEST + "design: cluster_split\n",
        ("experiment.yaml:7: design 'cluster_split' needs the key 'cluster'; "
        "add for example cluster: household_id."),
    ),
    "a cluster that is not used": (
        SMALLEST + "cluster: household_id\n",
        ("experiment.yaml:7: 'cluster' goes with design: cluster_split, and 'user_split' was "
        "given; leave 'cluster' out."),
    ),
    "dates out of order": (
        SMALLEST + "run: {start: 2026-10-21, end: 2026-10-08}\n",
        ("experiment.yaml:7: run has start 2026-10-21 after end 2026-10-08; "
        "start must not be later than end."),
    ),
    "customers as they were after the start": (
        USUAL.replace("snapshot: 2026-10-07", "snapshot: 2026-10-09"),
        ("experiment.yaml:32: data.users has snapshot 2026-10-09 after run.start 2026-10-08; "
        "snapshot must not be later than run.start."),
    ),
    "facts known before the start": (
        USUAL.replace("as_of: 2026-12-25 08:00", "as_of: 2026-10-01"),
        ("experiment.yaml:33: data has run.start 2026-10-08 after as_of 2026-10-01; "
        "run.start must not be later than as_of."),
    ),
    "a duration without a unit": (
        USUAL.replace("60 days", "60"),
        "experiment.yaml:7: follow_up is '60'; write 60 days (or 60 weeks).",
    ),
    "orders without a window": (
        USUAL.replace("follow_up: 60 days\n", ""),
        ("experiment.yaml:1: experiment 'jacket-coupon', read from orders, needs the key "
        "'follow_up'; add for example follow_up: 14 days."),
    ),
    "a guardrail that nobody measures": (
        USUAL.replace("{return_rate:", "{return_rat:"),
        ("experiment.yaml:25: decide.must_not_worsen names 'return_rat', which is no metric "
        "and no component; define it under metrics. Did you mean 'return_rate'?"),
    ),
    "a guardrail in the wrong unit": (
        USUAL.replace("{return_rate: 1 point}", "{return_rate: 1 yuan, cash: 1 point}"),
        ("the definition has 2 problems:\n"
        "  experiment.yaml:25: decide.must_not_worsen.return_rate is '1 CNY'; return_rate is "
        "no money: write 1 point or 2% (of control).\n"
        "  experiment.yaml:25: decide.must_not_worsen.cash is '1 point'; cash is money: write "
        "2% (of control) or an amount per unit."),
    ),
    "a guardrail without a margin": (
        USUAL.replace(", margin: 2%", ""),
        ("experiment.yaml:21: guardrail 'basket' needs the key 'margin'; "
        "add for example margin: 1 point."),
    ),
    "a guardrail with two margins": (
        USUAL.replace("{return_rate: 1 point}", "{basket: 3%}"),
        ("experiment.yaml:25: guardrail 'basket' has margin 3% under decide and 2% under "
        "metrics; keep one of them."),
    ),
    "two primary metrics": (
        SMALLEST + "metrics: {a: {mean: cash, role: primary},\n"
        "          b: {mean: saw, role: primary}}\n",
        ("experiment.yaml:7: metrics ['a', 'b'] are all primary; "
        "keep role: primary at one of them."),
    ),
    "a metric called profit": (
        SMALLEST + "metrics: {profit: {mean: cash}}\n",
        "experiment.yaml:7: metric 'profit' is computed from costs; choose another name.",
    ),
    "a metric of two kinds": (
        SMALLEST + "metrics: {m: {mean: cash, count: orders}}\n",
        ("experiment.yaml:7: metrics.m needs exactly one of ['mean', 'ratio', 'count']; "
        "it has 'mean' and 'count'."),
    ),
    "a ratio of one": (
        SMALLEST + "metrics: {m: {ratio: [cash]}}\n",
        ("experiment.yaml:7: metrics.m.ratio is ['cash']; write two components such as "
        "[orders_returned, orders_shipped]."),
    ),
    "payers that do not add up": (
        SMALLEST + "who_pays: {merchant: 80%}\n",
        ("experiment.yaml:7: the parties of who_pays have shares 80% = 80%; "
        "shares must add up to 100%."),
    ),
    "a confidence of five percent": (
        SMALLEST + "decide: {confidence: 5%}\n",
        "experiment.yaml:7: decide.confidence is '5%'; write 50% or more, and less than 100%.",
    ),
    "a list that is not one": (
        SMALLEST + "strata: city\n",
        "experiment.yaml:7: strata is 'city'; write a list such as [city].",
    ),
    "a list with a repeated entry": (
        SMALLEST + "strata: [city, city]\n",
        "experiment.yaml:7: strata is 'city'; each entry must come once.",
    ),
    "a number that is not one": (
        SMALLEST + "eligible_customers: 1.2M\n",
        ("experiment.yaml:7: eligible_customers is '1.2M'; "
        "write a whole number such as 1200000."),
    ),
    "windows as one": (
        SMALLEST + "other_windows: 14 days\n",
        ("experiment.yaml:7: other_windows is '14 days'; "
        "write a list such as [14 days, 30 days]."),
    ),
    "no costs": (
        SMALLEST.replace("costs: {margin: 35%}\n", ""),
        ("experiment.yaml:1: experiment 'spring-coupon' needs the key 'costs'; "
        "add for example costs: {margin: 35%}."),
    ),
    "a costs file that is not there": (
        SMALLEST.replace("{margin: 35%}", "no-such-costs.yaml"),
        ("experiment.yaml:4: costs is 'no-such-costs.yaml'; there is no such file. "
        "Make it, or write {margin: 35%}."),
    ),
    "costs said twice": (
        SMALLEST.replace("35%}", "35%, goods: from_orders}"),
        "experiment.yaml:4: costs has both 'margin' and 'goods'; keep one of them.",
    ),
    "a rate where money belongs": (
        SMALLEST.replace("35%}", "35%, outbound: 3%}"),
        ("experiment.yaml:4: costs.outbound is '3%'; "
        "amounts here are in CNY: write yuan or fen."),
    ),
    "spend of an arm that does not exist": (
        SMALLEST.replace("35%}", "35%, ad_spend: {cupon: 5}}"),
        ("experiment.yaml:4: costs.ad_spend has no key 'cupon'; allowed: ['coupon', 'none']. "
        "Did you mean 'coupon'?"),
    ),
    "two grains": (
        SMALLEST + "  refunds: {file: refunds.csv}\n",
        ("experiment.yaml:5: data needs one grain: order tables (assignments, order_lines, "
        "...), or units, or cells; it has ['refunds', 'units']."),
    ),
    "orders without assignments": (
        USUAL.replace("  assignments: {file: data/assigned.csv, "
                      "columns: {unit: open_id, arm: 组别}}\n", ""),
        ("experiment.yaml:29: data needs the key 'assignments'; "
        "add for example assignments: {file: data/assignments.parquet}."),
    ),
    "a source from two places": (
        SMALLEST.replace("file: units.csv", "file: units.csv, table: units"),
        ("experiment.yaml:6: data.units needs exactly one of ['file', 'table', 'sql']; "
        "it has 'file' and 'table'."),
    ),
    "a sheet of a table": (
        SMALLEST.replace("file: units.csv", "table: units, sheet: one"),
        "experiment.yaml:6: 'sheet' goes with file, and 'table' was given; leave 'sheet' out.",
    ),
    "an engine of a file": (
        SMALLEST.replace("money: yuan", "money: yuan, engine: $WAREHOUSE_URL"),
        (
            "experiment.yaml:6: 'engine' goes with table or sql, and 'file' was given; "
            "leave 'engine' out."
        ),
    ),
    "an encoding that does not exist": (
        SMALLEST.replace("money: yuan", "money: yuan, encoding: gb99"),
        ("experiment.yaml:6: data.units.encoding is 'gb99'; "
        "write an encoding such as utf-8 or gb18030."),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD)
def test_a_mistake_is_told_with_its_line_and_its_fix(text, expected):
    """File, line, what was found, what is allowed, the nearest fix."""
    assert message(text) == expected


def test_all_mistakes_are_told_at_once():
    """One run finds wrong keys, units, dates, shares, components and costs together."""
    text = (
        SMALLEST.replace("50%, coupon: 20,", "40%, coupon: 20 USD,").replace("35%", "35")
        + "ownr: me\nfollow_up: 60\nrun: {start: 2026-10-21, end: 2026-10-08}\n"
        + "metrics: {m: {mean: ordrs}}\n"
        + "decide: {worth_it: 0.12345, must_not_worsen: {return_rat: 1 point}}\n"
        + "design: cluster_split\nquestion:\n"
    )

    with pytest.raises(DefinitionError) as error:
        Experiment.from_text(text)

    found = [(problem.line, problem.where) for problem in error.value.problems]
    assert found == [
        (3, "arms.coupon.coupon"),
        (3, "arms"),
        (4, "costs.margin"),
        (7, "ownr"),
        (8, "follow_up"),
        (9, "run"),
        (10, "metrics.m.mean"),
        (11, "decide.worth_it"),
        (11, "decide.must_not_worsen.return_rat"),
        (12, "design"),
        (13, "question"),
    ]
