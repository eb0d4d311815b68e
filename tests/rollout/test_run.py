"""A roll-out from plan and panel to money: identities, presets, bad panels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from upliftlab import Experiment
from upliftlab.analysis import run
from upliftlab.data.panel import Panel
from upliftlab.decision import Rules, decide
from upliftlab.errors import DataError, DefinitionError, DesignError
from upliftlab.rollout.run import answer
from upliftlab.rollout.switching import design_of
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.creator_tables import write_creators
from upliftlab.simulate.creator_truth import MEASURES, unit_effects
from upliftlab.simulate.dual_commission import creator_panel, draw_creators
from upliftlab.stats.estimate import interval

PLAN = """
name: dual-commission
kind: dual_commission
design: staggered
unit: creator
cluster: mcn
period: week
ramp: 4 weeks
arms:
  single: {organic: 20%, ads: 20%, agency: 3%, control: true}
  dual:   {organic: 25%, ads: 8%, agency: 3%}
costs: {margin: 47.51%}
decide: {worth_it: 50}
"""


def plan(extra: str = "", **changes: str) -> Experiment:
    """The plan of this file, with some text replaced."""
    text = PLAN
    for old, new in changes.items():
        text = text.replace(old, new)
    return Experiment.from_text(text + extra)


@pytest.fixture(scope="module")
def drawn():
    """One world of 24 clusters of 5 creators under scenario A."""
    return draw_creators(creator_preset("well_designed", seed=11, clusters=24, creators=5))


@pytest.fixture(scope="module")
def found(drawn):
    """Its analysis."""
    return run(plan(), {"panel": creator_panel(drawn)})


def test_lines_and_parts_and_channels_add_up(found):
    """Waterfall lines, reasons and channels each add up to their total to 1e-9 relative."""
    profit = found.profits[0].profit.estimate
    lines = sum(line.effect.estimate for line in found.profits[0].lines)
    parts = sum(part.effect.estimate for part in found.rollout.parts)
    channels = sum(channel.effect.estimate for channel in found.rollout.channels)
    kept = found.profits[0].rung("kept_sales").effect.estimate

    assert lines == pytest.approx(profit, rel=1e-9)
    assert parts == pytest.approx(profit, rel=1e-9)
    assert channels == pytest.approx(kept, rel=1e-9)


def test_profit_is_the_effect_on_booked_profit(found):
    """Pricing component means equals the effect on profit booked at the rates in force."""
    since = found.rollout.stretch("since")

    assert since.profit.estimate == pytest.approx(found.profits[0].profit.estimate, rel=1e-9)
    assert since.profit.std_error == pytest.approx(found.profits[0].profit.std_error, rel=1e-6)


def test_mechanical_is_rates_times_expected_sales(found):
    """(old - new rate) x what treated creators would have kept, from the channels."""
    by_name = {channel.name: channel.expected for channel in found.rollout.channels}
    expected = -0.05 * by_name["creator_organic"] + 0.12 * by_name["creator_ads"]

    assert found.profits[0].mechanical.estimate == pytest.approx(expected, rel=1e-9)


def test_money_goes_from_one_side_to_another(found):
    """What commission costs us is what creators get."""
    lines = {line.line: line.effect.estimate for line in found.profits[0].lines}
    paid = lines["commission_organic"] + lines["commission_ads"]

    assert found.profits[0].parties["creator"].estimate == pytest.approx(-paid, rel=1e-9)


def test_truth_lies_in_the_ranges(drawn, found):
    """Profit and creators' income of this draw are covered."""
    truth = unit_effects(drawn)
    event = np.arange(26)[None, :] - drawn.start[:, None]
    profit = truth[:, :, MEASURES.index("profit")][event >= 0].mean()
    income = truth[:, :, MEASURES.index("creator_income")][event >= 0].mean()
    creator = found.profits[0].parties["creator"]

    assert (
        abs(found.profits[0].profit.estimate - profit) < 3 * found.profits[0].profit.std_error
    )
    assert abs(creator.estimate - income) < 3 * creator.std_error


def test_at_the_break_even_rate_nothing_is_earned(found, drawn):
    """Re-priced at the break-even ads rate, extra profit is 0."""
    rate = next(each for each in found.rollout.rates if each.name == "ads").estimate
    text = PLAN.replace("ads: 8%", f"ads: {100 * rate:.12f}%")
    again = answer(Experiment.from_text(text), creator_panel(drawn))

    assert abs(again.profit.profit.estimate) < 1e-6 * abs(found.profits[0].profit.estimate)


def test_the_page_data_are_plain(found):
    """The analysis with its roll-out turns into JSON without NaN."""
    text = json.dumps(found.to_dict(), allow_nan=False)

    assert '"rollout": {"design": "staggered"' in text


def test_creators_must_gain_where_the_plan_says_so(found):
    """both_gain: creators who may lose keep us testing, creators who surely lose stop it."""
    sure = interval("profit", 300.0, 1.0)
    verdicts = {}
    for name, side in {
        "open": (10.0, 900.0),
        "loss": (-50.0, 1.0),
        "gain": (50.0, 1.0),
    }.items():
        profit = replace(
            found.profits[0],
            profit=sure,
            profit_simultaneous=sure,
            parties={"creator": interval("creator", *side)},
        )
        assert decide(profit).verdict == "ship"
        verdicts[name] = decide(profit, rules=Rules(both_gain=True))

    assert verdicts["gain"].verdict == "ship"
    assert verdicts["open"].verdict == "keep testing"
    assert verdicts["open"].reasons == ("Creators are not yet shown to gain as well.",)
    assert verdicts["loss"].verdict == "stop"
    assert verdicts["loss"].reasons == (
        "Creators surely lose, and the plan asks that both sides gain.",
    )


def test_announced_weeks_are_neither_before_nor_after():
    """With -10 % in two announced weeks: since, announced and both are covered."""
    world = draw_creators(creator_preset("anticipation", seed=5, clusters=24, creators=5))
    told = answer(plan("announced: 2 weeks\n"), creator_panel(world)).rollout
    truth = unit_effects(world)[:, :, MEASURES.index("profit")]
    event = np.arange(26)[None, :] - world.start[:, None]
    cells = {
        "since": event >= 0,
        "announced": (event < 0) & (event >= -2),
        "everything": event >= -2,
    }

    for name, where in cells.items():
        stretch = told.stretch(name)
        assert abs(stretch.profit.estimate - truth[where].mean()) < 3 * stretch.profit.std_error
        assert stretch.unit_periods == where.sum()


def test_without_never_treated_the_estimand_is_named():
    """never_empty: late cells are NaN and the check says of how many the figure speaks."""
    world = draw_creators(creator_preset("never_empty", seed=5, clusters=24, creators=5))
    told = answer(plan(), creator_panel(world))
    check = next(check for check in told.checks if check.name == "nobody_left")

    assert any(np.isnan(cell.effect.estimate) for cell in told.rollout.cells)
    assert check.message.endswith("extra profit speaks of the others only.")


def test_one_creator_who_is_everything_is_named():
    """mega_creator: a warning with the figure without that creator."""
    world = draw_creators(creator_preset("mega_creator", seed=5, clusters=24, creators=5))
    told = answer(plan(), creator_panel(world))
    check = next(check for check in told.checks if check.name == "mega_unit")

    assert check.verdict == "warn"
    assert check.message.startswith("One creator makes ")


def test_creators_drawn_inside_clusters_get_a_warning():
    """Business stealing: creator-level switches inside a community are no global effect."""
    world = draw_creators(
        creator_preset(
            "generous", seed=5, clusters=12, creators=6, assignment="half", by="creator"
        )
    )
    told = answer(plan(), creator_panel(world))
    check = next(check for check in told.checks if check.name == "spill_over")

    assert check.verdict == "warn"
    assert check.message.endswith("the figure is no estimate of switching everybody.")


def long_table() -> pd.DataFrame:
    """A tidy panel in yuan, Chinese headers, one column called class."""
    world = creator_panel(
        draw_creators(creator_preset("well_designed", seed=3, clusters=8, creators=3)),
        whole=True,
    )
    count, length, _ = world.shape
    table = pd.DataFrame(
        {
            "达人ID": np.repeat(world.units, length),
            "周": np.tile(pd.to_datetime(list(world.periods)), count),
            "class": np.repeat([f"c{g}" for g in world.cluster], length),
            "开始": np.repeat(
                [world.periods[s] if s < length else "" for s in world.start], length
            ),
        }
    )
    for k, name in enumerate(world.names):
        table[name] = world.y[:, :, k].ravel() / (
            100 if name.startswith(("gmv", "kept", "ad")) else 1
        )
    return table


LONG = """
data:
  panel:
    file: unused.parquet
    money: yuan
    columns: {unit: 达人ID, period: 周, cluster: class, start: 开始}
"""


def test_a_panel_with_chinese_headers_in_yuan_is_read():
    """The same numbers as from the ready panel; a column called class is a column."""
    ready = creator_panel(
        draw_creators(creator_preset("well_designed", seed=3, clusters=8, creators=3)),
        whole=True,
    )
    one = answer(plan(), ready)
    two = run(plan(LONG), {"panel": long_table()})

    assert two.profits[0].profit.estimate == pytest.approx(one.profit.profit.estimate, rel=1e-9)
    assert two.profits[0].profit.std_error == pytest.approx(
        one.profit.profit.std_error, rel=1e-9
    )


BAD_TABLES = {
    "a repeated unit-period": lambda t: pd.concat([t, t.iloc[:1]]),
    "a unit in two clusters": lambda t: t.assign(**{"class": ["x", *t["class"][1:]]}),
    "a period that is no date": lambda t: t.assign(周=["soon", *t["周"].astype(str)[1:]]),
    "money that is no number": lambda t: t.assign(
        kept_creator_ads=["many", *t["kept_creator_ads"].astype(str)[1:]]
    ),
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_bad_panels_are_refused(what):
    """A clear sentence, never a number."""
    with pytest.raises(DataError) as error:
        run(plan(LONG), {"panel": BAD_TABLES[what](long_table())})

    assert str(error.value).endswith(".")
    assert len(str(error.value)) > 40


def test_all_treated_at_once_is_refused():
    """Nobody is left to compare with."""
    table = long_table().assign(开始="2026-08-03")

    with pytest.raises(DesignError, match="no cohort can be compared"):
        run(plan(LONG), {"panel": table})


def test_a_panel_without_starts_asks_for_waves():
    """Who switched when must come from somewhere."""
    text = LONG.replace(", start: 开始", "")

    with pytest.raises(DataError, match="does not say who switched when; give waves"):
        run(plan(text), {"panel": long_table()})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("period: week", "period: month", "period is 'month'; allowed: ['day', 'week']."),
        ("period: week\n", "", "design 'staggered' needs the key 'period'"),
        ("organic: 25%, ", "", "arms.dual needs the key 'organic'"),
        ("design: staggered\n", "", "'period' goes with design: staggered"),
        (
            "costs: {margin: 47.51%}",
            "costs: {margin: 47.51%, commission_ads: 5%}",
            "arms.ads",
        ),
    ],
)
def test_plans_that_contradict_themselves_are_refused(old, new, said):
    """Each says where and what would fix it."""
    with pytest.raises(DefinitionError) as error:
        Experiment.from_text(PLAN.replace(old, new))

    assert said in str(error.value)


def test_gaps_are_counted_and_left_out_where_absence_is_unknown(drawn):
    """A unit with a missing week is left out with a note, not filled in silence."""
    panel = creator_panel(drawn)
    y = panel.y.copy()
    y[0, 3] = np.nan
    told = answer(plan(), replace(panel, y=y))

    assert "1 of 120 units have periods without rows and are left out" in " ".join(
        told.rollout.notes
    )


def test_covariates_of_the_plan_give_a_doubly_robust_opinion():
    """A column known before treatment: the adjusted opinion is there and near the headline."""
    table = long_table()
    table["followers"] = table.groupby("达人ID")["posts"].transform("first")
    text = LONG.replace("data:", "covariates: [followers]\ndata:")
    told = run(plan(text), {"panel": table})
    opinions = {each.method: each.effect for each in told.rollout.opinions}

    assert told.rollout.opinions[1].method == "adjusted"
    assert opinions["adjusted"].estimate == pytest.approx(
        opinions["group_time"].estimate, abs=3 * opinions["group_time"].std_error
    )


def test_orders_add_up_to_the_same_answer(tmp_path):
    """From order lines, refunds and spend: the profit of the ready panel, to the fen."""
    world = creator_preset(
        "well_designed", seed=4, clusters=8, creators=2, weeks=10, starts=(4, 6, 8)
    )
    folder = write_creators(world, tmp_path / "world", orders=True)
    panel = pd.read_parquet(folder / "creator_week.parquet")
    panel[["creator_id", "cluster"]].drop_duplicates().to_parquet(folder / "roster.parquet")
    observe = "observe: {start: 2026-05-25, end: 2026-08-02}\nwaves: waves.csv\n"
    ready = "data:\n  panel: {file: creator_week.parquet, money: fen}\n"
    names = ("order_lines", "refunds", "ad_spend", "creator_terms", "roster")
    orders = "data:\n" + "".join(f"  {n}: {{file: {n}.parquet}}\n" for n in names)
    one, two = (
        run(Experiment.from_text(PLAN + observe + data, base=folder))
        for data in (ready, orders)
    )

    assert two.profits[0].profit.estimate == pytest.approx(
        one.profits[0].profit.estimate, rel=1e-9
    )
    assert two.profits[0].profit.std_error == pytest.approx(
        one.profits[0].profit.std_error, rel=1e-9
    )


@pytest.mark.parametrize(
    ("folder", "headline"),
    [("smart_coupon_switchback", "pairs"), ("smart_coupon_geo", "synthetic_did")],
)
def test_coupons_by_day_and_by_province_are_read_in_profit(folder, headline, tmp_path):
    """Switchback and geo: lines add up, the truth lies within three standard errors."""
    source = Path(__file__).resolve().parents[2] / "experiments" / folder / "experiment.yaml"
    (tmp_path / "experiment.yaml").write_bytes(source.read_bytes())
    told = run(Experiment.from_yaml(tmp_path / "experiment.yaml"))
    profit = told.profits[0]
    total = sum(line.effect.estimate for line in profit.lines)

    assert told.rollout.opinions[0].method == headline
    assert told.rollout.opinions[0].effect.estimate == pytest.approx(profit.profit.estimate)
    assert total == pytest.approx(profit.profit.estimate, rel=1e-9)
    parts = sum(part.effect.estimate for part in told.rollout.parts)
    assert parts == pytest.approx(profit.profit.estimate, rel=1e-9)
    truth = json.loads(next(tmp_path.glob("data/*/truth.json")).read_text())
    orders = told.effects.contrast("orders", profit.arm).estimate("orders")
    true = truth["same_day" if folder.endswith("switchback") else "att"]["orders"]
    assert abs(orders.estimate - true) < 3 * orders.std_error


def test_with_few_clusters_the_range_comes_from_re_assignment():
    """12 clusters, 3 never treated: the headline takes interval and p of re-assignment."""
    world = draw_creators(creator_preset("well_designed", seed=2, clusters=12, creators=4))
    told = answer(plan(), creator_panel(world))
    again = next(o.effect for o in told.rollout.opinions if o.method == "randomisation")

    assert (told.profit.profit.ci_low, told.profit.profit.ci_high) == (
        again.ci_low,
        again.ci_high,
    )
    assert told.profit.profit.p_value == again.p_value
    assert "re-assignment" in told.profit.profit.note


def test_observe_cuts_the_panel(drawn):
    """Periods outside observe are left out and counted, of a ready panel too."""
    panel = creator_panel(drawn)
    text = "observe: {start: 2026-06-08, end: 2026-10-25}\n"
    cut = replace(panel, y=panel.y[:, 2:22], periods=panel.periods[2:22])
    cut = replace(cut, start=np.where(panel.start > 1000, panel.start, panel.start - 2))
    one, two = answer(plan(text), panel), answer(plan(), cut)

    assert one.profit.profit.estimate == pytest.approx(two.profit.profit.estimate, rel=1e-12)
    assert one.panel.notes[-1] == "6 periods outside observe are left out"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ads: 8%, agency: 3%", "ads: 8%", "arms.dual needs the key 'agency'"),
        (
            "{margin: 47.51%}",
            "{margin: 47.51%, contact: 5}",
            "costs.contact is money per assigned",
        ),
        (
            "agency: 3%, control",
            "agency: 3%, contact: 1, control",
            "arms.single.contact is money",
        ),
        ("ramp: 4 weeks", "follow_up: 14 days", "'follow_up' goes with design: user_split"),
    ],
)
def test_what_a_roll_out_would_ignore_is_refused(old, new, said):
    """Nothing that the plan states is dropped in silence."""
    assert old in PLAN

    with pytest.raises(DefinitionError) as error:
        Experiment.from_text(PLAN.replace(old, new))

    assert said in str(error.value)


def test_returns_that_are_not_final_leave_no_verdict():
    """Data read a week after the last period, returns final after 21 days: no verdict."""
    text = LONG.replace("data:", "returns_final_after: 21 days\ndata:\n  as_of: 2026-11-29")
    told = run(plan(text), {"panel": long_table()})

    assert told.checks[0].name == "maturity"
    assert told.decisions[0].verdict == "no verdict"


def test_groups_on_one_schedule_are_not_several_observations():
    """Nine groups switched alike and one apart: refused, with what to do."""
    is_on = np.tile([True, True, False, False], (10, 1))
    is_on[9] = [True, False, True, False]
    panel = Panel.of_arrays(np.zeros((10, 4)), np.zeros(10))

    with pytest.raises(DesignError, match="10 units follow 2 schedules"):
        design_of(panel, is_on, "week")
