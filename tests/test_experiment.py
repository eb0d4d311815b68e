"""A plan is read strictly, told wrong all at once, and hashed by what it promises."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
from datetime import date
from fractions import Fraction
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings, strategies as st
from ruamel.yaml import YAML

from upliftlab.errors import DefinitionError
from upliftlab.experiment import (
    Arm,
    Costs,
    Data,
    Decide,
    Experiment,
    FundingSplit,
    Run,
    Source,
    deviations,
    json_schema,
)
from upliftlab.lines import STATED_KINDS
from upliftlab.plan.quantities import Money, Points, Rate

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


def read(text=SMALLEST, **changes):
    """Read the smallest plan, with lines replaced."""
    for old, new in changes.items():
        text = re.sub(rf"(?m)^{old}:.*$", f"{old}: {new}" if new else "", text)
    return Experiment.from_text(text)


def message(text):
    """Say what is wrong with a plan."""
    with pytest.raises(DefinitionError) as error:
        Experiment.from_text(text)
    return str(error.value)


def test_the_smallest_plan_is_six_lines():
    """Everything that is not written has a default that a reader would expect."""
    plan = read()

    assert (plan.goal, plan.design, plan.unit, plan.currency) == (
        "gmv", "user_split", "customer", "CNY",
    )  # fmt: skip
    assert plan.control.label == "none"
    assert [arm.label for arm in plan.treatments] == ["coupon"]
    assert plan.treatments[0].coupon == Money(Fraction(2000))
    assert plan.grain == "units"
    assert plan.windows == ()
    assert plan.primary.name == "profit"
    assert plan.guardrails == {}
    assert plan.decide.worth_it == Money(Fraction(0))
    assert plan.decide.confidence == Rate(Fraction(95, 100))
    assert plan.who_pays == FundingSplit(from_orders=True)
    assert plan.costs.margin == Rate(Fraction(35, 100))
    assert plan.costs.lines == {}


def test_a_usual_plan_is_read_completely():
    """Every quantity has its value and its unit."""
    plan = Experiment.from_text(USUAL, base="shop")

    assert plan.run == Run(start="2026-10-08", end="2026-10-21")
    assert plan.run.start == date(2026, 10, 8)
    assert (plan.follow_up, plan.returns_final_after, plan.pre_period) == (60, 21, 56)
    assert plan.windows == (60, 14)
    assert plan.eligible_customers == 1_200_000
    assert [arm.share for arm in plan.arms] == [Rate(Fraction(1, 4))] * 4
    assert plan.arms[2].contact == Money(Fraction(5))
    assert plan.arms[3].coupon == Money(Fraction(2000))
    assert plan.who_pays.from_orders
    assert plan.who_pays.stated == {
        "merchant": Rate(Fraction(4, 5)), "platform": Rate(Fraction(1, 5)),
    }  # fmt: skip
    assert plan.costs.preset == "douyin_apparel"
    assert plan.costs.lines == {"gift": Money(Fraction(355, 10))}
    assert plan.costs.ad_spend == {"coupon_20": Money(Fraction(5_000_000))}
    assert plan.metric("basket").components == ("gmv_merchant", "orders")
    assert plan.metric("return_rate").components == ("orders_returned", "orders_shipped")
    assert plan.metric("new_customers").mean == "new_customers"
    assert plan.guardrails == {
        "basket": Rate(Fraction(2, 100)), "return_rate": Points(Fraction(1, 100)),
    }  # fmt: skip
    assert plan.decide.worth_it == Money(Fraction(5))
    assert plan.decide.iroi_at_least == Rate(Fraction(1, 5))
    assert plan.covariates == ()
    assert plan.grain == plan.data.grain == "orders"
    assert list(plan.data.sources) == ["assignments", "order_lines", "users"]
    assert plan.data.assignments.columns == {"unit": "open_id", "arm": "组别"}
    assert plan.data.users.engine == "$WAREHOUSE_URL"
    assert plan.data.path(plan.data.users.place) == Path("shop/queries/customers.sql")
    assert plan.data.as_of.isoformat() == "2026-12-25T08:00:00+08:00"


def shared_definitions():
    """Take the three plans that readers were shown, where the folder is at hand."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("UPLIFTLAB_SHARED", root / "shared"))
    if not (folder / "screens.md").exists():
        pytest.skip("the folder with the mock-ups is not here")
    text = (folder / "screens.md").read_text(encoding="utf-8")
    part = text.split("## Definitions")[1].split("\n## ")[0]
    indented = "\n".join(line for line in part.splitlines() if line.startswith("    "))
    return re.split(r"\n(?=name: )", textwrap.dedent(indented))


def test_the_plans_that_readers_were_shown_load(tmp_path):
    """The smallest, the usual and the dual-commission plan load as they stand."""
    smallest, usual, dual = shared_definitions()
    (tmp_path / "costs.yaml").write_text("preset: douyin_apparel\n", encoding="utf-8")

    assert Experiment.from_text(smallest).grain == "units"
    assert Experiment.from_text(usual, base=tmp_path).windows == (60, 14)
    assert Experiment.from_text(dual, base=tmp_path).grain == "panel"


def test_what_is_not_built_yet_is_refused_by_name():
    """Nothing else is complained about: the rest of the file may be right one day."""
    text = SMALLEST.replace("kind: smart_coupon", "kind: ads_budget\ndesign: encouragement")

    assert message(text) == (
        "the definition has 2 problems:\n"
        "  experiment.yaml:2: kind 'ads_budget' is not built yet; "
        "built: ['custom', 'dual_commission', 'smart_coupon'].\n"
        "  experiment.yaml:3: design 'encouragement' is not built yet; "
        "built: ['cluster_split', 'geo', 'staggered', 'switchback', 'user_split']."
    )


def test_ids_and_labels_are_text():
    """An arm called on, no, 007 or 1e3 keeps its name."""
    plan = read(arms="{on: {share: 25%, control: true}, no: {share: 25%}, "
                     "007: {share: 25%}, 1e3: {share: 25%}}")  # fmt: skip

    assert [arm.label for arm in plan.arms] == ["on", "no", "007", "1e3"]


def test_markup_in_words_is_kept_as_text():
    """Escaping is the report's work; the plan keeps what was typed."""
    plan = read(SMALLEST + "question: <b>x</b>\nowner: '<script>alert(1)</script>'\n")

    assert (plan.question, plan.owner) == ("<b>x</b>", "<script>alert(1)</script>")


def test_a_name_may_be_chinese():
    """Letters of any script, digits, - and _ are safe in paths."""
    assert read(name="夹克-优惠券_2026").name == "夹克-优惠券_2026"


def test_a_metric_may_use_extra_columns_of_a_unit_table():
    """What the units carry is known, whatever it is called; what they do not is refused."""
    text = SMALLEST.replace("gmv: sales", "gmv: sales, stars: rating")

    plan = Experiment.from_text(text + "metrics: {m: {mean: stars}}\n")

    assert plan.metric("m").components == ("stars",)
    assert "Did you mean 'stars'?" in message(text + "metrics: {m: {mean: star}}\n")


def test_a_connection_is_never_written_out_nor_repeated():
    """Only the name of an environment variable is allowed; the message keeps the secret."""
    text = message(
        SMALLEST.replace("file: units.csv", 'sql: q.sql, engine: "pg://me:geheim@host/db"')
    )

    assert text == (
        "experiment.yaml:6: data.units.engine is not the name of an environment variable; "
        "write for example $WAREHOUSE_URL and keep the connection itself out of the file."
    )


def test_a_file_is_read_from_its_folder(tmp_path):
    """Paths inside the file start from the file, not from where Python runs."""
    (tmp_path / "experiment.yaml").write_text(
        SMALLEST.replace("{margin: 35%}", "costs.yaml"), encoding="utf-8"
    )
    (tmp_path / "costs.yaml").write_text(
        "preset: douyin_apparel\nservice: 1\n", encoding="utf-8"
    )

    plan = Experiment.from_yaml(tmp_path / "experiment.yaml")

    assert plan.costs.lines == {"service": Money(Fraction(100))}
    assert plan.data.path(plan.data.units.place) == tmp_path / "units.csv"


def test_mistakes_in_the_costs_file_are_told_with_its_lines(tmp_path):
    """Problems of both files come together, each with its own file and line."""
    path, costs = tmp_path / "experiment.yaml", tmp_path / "costs.yaml"
    path.write_text(
        SMALLEST.replace("{margin: 35%}", "costs.yaml") + "follow_up: 60\n", encoding="utf-8"
    )
    costs.write_text("preset: douyin_apparel\ntech_fee: 4.4\nservise: 1\n", encoding="utf-8")

    with pytest.raises(DefinitionError) as error:
        Experiment.from_yaml(path)

    found = [(problem.file, problem.line) for problem in error.value.problems]
    assert found == [(str(costs), 2), (str(costs), 3), (str(path), 7)]
    assert error.value.problems[0].message == (
        "tech_fee is '4.4'; write 4.4% (or 0.044 decimal)."
    )
    assert error.value.problems[1].message.endswith("Did you mean 'service'?")


def test_a_costs_file_must_be_plain_yaml(tmp_path):
    """What the reader refuses is told for the costs file, too."""
    (tmp_path / "costs.yaml").write_text("- a\n", encoding="utf-8")

    with pytest.raises(DefinitionError) as error:
        Experiment.from_text(SMALLEST.replace("{margin: 35%}", "costs.yaml"), base=tmp_path)

    assert str(error.value) == (
        f"{tmp_path / 'costs.yaml'}:1: the file does not hold keys; "
        "write lines such as name: spring."
    )


def test_python_callers_get_the_same_mistakes():
    """Without a file there is no line; the sentences are the same."""
    with pytest.raises(DefinitionError) as error:
        Experiment(name="a b", kind="custom", arms={"old": {"share": 1, "control": True}})

    assert str(error.value) == (
        "the definition has 2 problems:\n"
        "  name is 'a b'; write letters, digits, - and _ only (at most 80), such as a-b.\n"
        "  experiment 'a b' has the arms ['old']; a comparison needs two or more."
    )


def test_parts_made_in_python_tell_their_own_mistakes():
    """A part on its own raises the same kind of error as the whole."""
    with pytest.raises(DefinitionError) as error:
        Arm(label="a", share="20", coupn=5)

    assert str(error.value) == (
        "the definition has 2 problems:\n"
        "  share is '20'; write 20% (or 0.2 decimal).\n"
        "  Arm has no key 'coupn'; allowed: ['ads', 'agency', 'contact', 'control', "
        "'coupon', 'note', 'organic', 'over', 'rates', 'share']. Did you mean 'coupon'?"
    )


def test_parts_made_in_python_fit_into_a_plan():
    """Arms, data and rules may be given as objects, in the currency of the plan."""
    arms = (Arm(label="a", share=0.5, control=True), Arm(label="b", share=0.5, coupon=20))

    plan = Experiment(
        name="x", kind="smart_coupon", arms=arms, costs=Costs(margin=0.35),
        decide=Decide(worth_it=0.05), data=Data(units=Source(file="u.csv", money="yuan")),
    )  # fmt: skip

    assert plan.arms == arms
    with pytest.raises(DefinitionError) as error:
        plan.replace(currency="USD", data=None)
    assert [problem.where for problem in error.value.problems] == [
        "arms.b.coupon", "decide.worth_it",
    ]  # fmt: skip


def test_two_arms_cannot_share_a_label():
    """Python could say it, a file cannot."""
    arms = [Arm(label="a", share=0.5, control=True), Arm(label="a", share=0.5)]

    with pytest.raises(DefinitionError, match="arms has 'a' more than once"):
        Experiment(name="x", kind="custom", arms=arms)


def test_a_plan_does_not_change():
    """Fields and mappings inside are frozen; replace makes a new, checked plan."""
    plan = Experiment.from_text(USUAL, base="shop")

    with pytest.raises(ValueError, match="frozen"):
        plan.name = "other"
    with pytest.raises(TypeError, match="make a new one"):
        plan.decide.must_not_worsen["orders"] = Rate.parse("1%")
    changed = plan.replace(follow_up="30 days")
    assert (plan.follow_up, changed.follow_up) == (60, 30)
    assert changed.data.base == Path("shop")
    with pytest.raises(DefinitionError, match="follow_up is '30'"):
        plan.replace(follow_up="30")


def test_a_plan_travels_between_processes():
    """Pickling gives an equal plan with the same fingerprint."""
    plan = Experiment.from_text(USUAL)

    again = pickle.loads(pickle.dumps(plan))  # noqa: S301
    assert again == plan
    assert again.fingerprint == plan.fingerprint


@pytest.mark.parametrize("text", [SMALLEST, USUAL])
def test_plain_values_read_back_as_the_same_plan(text):
    """to_dict is JSON, and Experiment(**to_dict) is the plan."""
    plan = Experiment.from_text(text)

    values = json.loads(json.dumps(plan.to_dict()))
    assert Experiment(**values) == plan
    assert Experiment(**values).fingerprint == plan.fingerprint


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_change_the_fingerprint(order):
    """The hash is of what is promised, not of how the file is laid out."""
    values = Experiment.from_text(USUAL).to_dict()

    def shuffle(value):
        if not isinstance(value, dict):
            return value
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffle(value[key]) for key in keys}

    assert Experiment(**shuffle(values)).fingerprint == Experiment(**values).fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Li Wei", "Wang Fang"),
        ("Does a coupon", "Does any coupon"),
        ("data/assigned.csv", "elsewhere/assigned.csv"),
        ("$WAREHOUSE_URL", "$OTHER_URL"),
        ("25%", "2500 bp"),
        ("60 days", "60d"),
        ("worth_it: 0.05", "worth_it: 5 fen"),
        ("follow_up: 60 days", "follow_up: 60 days\nother_windows: [14 days]"),
        ("goal: new_customer", "design: user_split\ngoal: new_customer"),
    ],
)
def test_words_places_and_spellings_do_not_change_the_fingerprint(old, new):
    """Neither who owns it, nor where files are, nor how a quantity or a default is written."""
    assert old in USUAL

    changed = Experiment.from_text(USUAL.replace(old, new))

    assert changed.fingerprint == Experiment.from_text(USUAL).fingerprint


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("jacket-coupon", "jacket-coupon-2", "name"),
        ("goal: new_customer", "goal: gmv", "goal"),
        ("60 days", "30 days", "follow_up"),
        ("0.05\n", "0.06\n", "decide.worth_it"),
        ("1 point", "2 points", "decide.must_not_worsen.return_rate"),
        ("unit: open_id", "unit: user_id", "data.assignments.columns.unit"),
        ("gift: 0.355", "gift: 0.4", "costs.gift"),
        ("covariates: none", "unit: household", "unit"),
    ],
)
def test_what_changes_a_number_or_a_decision_changes_the_fingerprint(old, new, key):
    """And the change is named by its key."""
    assert old in USUAL
    plan, changed = Experiment.from_text(USUAL), Experiment.from_text(USUAL.replace(old, new))

    assert changed.fingerprint != plan.fingerprint
    assert key in [deviation.key for deviation in deviations(plan, changed)]


def test_a_deviation_shows_what_was_promised_and_what_is_there():
    """No deviation between equal plans; a new key has nothing promised."""
    plan = read()
    changed = read(SMALLEST + "follow_up: 14 days\n")

    assert deviations(plan, plan) == ()
    (deviation,) = deviations(plan, changed)
    assert (deviation.key, deviation.planned, deviation.found) == ("follow_up", "", "14 days")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=8))
def test_exact_fractions_of_a_whole_are_accepted(weights):
    """Shares k / n add up exactly, however odd n is; one part too many is refused."""
    total = sum(weights)
    arms = {
        f"a{i}": {"share": f"{weight}/{total}", "control": i == 0}
        for i, weight in enumerate(weights)
    }

    plan = Experiment(name="x", kind="custom", arms=arms)

    assert sum(arm.share.value for arm in plan.arms) == 1
    arms["a0"] = {"share": f"{weights[0] + 1}/{total}", "control": True}
    with pytest.raises(DefinitionError):
        Experiment(name="x", kind="custom", arms=arms)


def test_simulated_data_need_no_tables():
    """A simulated experiment has the order grain; its files are made on first run."""
    plan = read(
        USUAL.split("data:", maxsplit=1)[0]
        + "data: {simulate: {preset: null-world, seed: 7}}\n"
    )

    assert plan.grain == "orders"
    assert (plan.data.simulate.preset, plan.data.simulate.seed) == ("null-world", 7)


def test_a_plan_may_come_before_its_data():
    """Design needs no data, and neither costs nor windows before there are any."""
    plan = read(SMALLEST.split("costs:", maxsplit=1)[0])

    assert plan.data is None
    assert plan.grain == ""
    assert plan.costs is None


def test_profit_as_given_needs_no_costs():
    """A unit table that carries profit is read without a margin."""
    text = SMALLEST.replace("costs: {margin: 35%}\n", "").replace("gmv: sales", "profit: p")

    assert Experiment.from_text(text).costs is None


def test_every_cost_line_can_be_written():
    """The plan knows exactly the lines that the economics price."""
    known = set(Costs.model_fields)

    assert known >= set(STATED_KINDS)
    assert known - set(STATED_KINDS) == {
        "margin", "preset", "contact", "ad_spend", "fixed", "vat", "vat_rate",
    }  # fmt: skip


def plain(text):
    """Read YAML the way editors do, with numbers and booleans."""
    return json.loads(json.dumps(YAML(typ="safe").load(text), default=str))


@pytest.mark.parametrize("text", [SMALLEST, USUAL])
def test_the_json_schema_accepts_good_plans(text):
    """Editors underline nothing in a plan that loads."""
    jsonschema.Draft202012Validator.check_schema(json_schema())

    jsonschema.validate(plain(text), json_schema())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: smart_coupon", "kind: ads_budget"),
        ("costs:", "cost:"),
        ("share: 50%, control", "share: 0.5, control"),
        ("margin: 35%", "margin: 35"),
        ("control: true", "control: maybe"),
        ("file:", "fiel:"),
    ],
)
def test_the_json_schema_underlines_bad_plans(old, new):
    """Unknown keys, words and bare rates are seen while typing."""
    assert old in SMALLEST

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain(SMALLEST.replace(old, new)), json_schema())


def test_reading_a_plan_loads_no_numerical_library():
    """The command line stays fast: no pandas, numpy, scipy or ibis on the way."""
    code = (
        "import sys, upliftlab.experiment as e; e.json_schema(); "
        "print([m for m in ('pandas', 'numpy', 'scipy', 'ibis') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_plan_is_read_or_refused(data):
    """Whatever is cut out, swapped or put in, the only error is a DefinitionError."""
    start = data.draw(st.integers(0, len(USUAL)))
    end = data.draw(st.integers(start, min(len(USUAL), start + 40)))
    noise = data.draw(st.text(alphabet="abc:{}[]%019 .,-\n'é", max_size=12))

    try:
        Experiment.from_text(USUAL[:start] + noise + USUAL[end:])
    except DefinitionError as error:
        assert all(problem.message for problem in error.problems)  # noqa: PT017
