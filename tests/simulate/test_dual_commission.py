"""Does the simulated change of commission behave as its settings say, and is its truth true?"""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from upliftlab.data.panel import NEVER
from upliftlab.errors import DefinitionError
from upliftlab.simulate.creator_noise import draw_noise
from upliftlab.simulate.creator_settings import (
    CREATOR_PRESETS,
    SCENARIOS,
    DualCommission,
    Rates,
    creator_preset,
)
from upliftlab.simulate.creator_tables import creator_terms, write_creators
from upliftlab.simulate.creator_truth import MEASURES, creator_truth, unit_effects
from upliftlab.simulate.dual_commission import (
    COMPONENTS,
    MONEY,
    creator_income,
    creator_panel,
    creator_profit,
    draw_creators,
)

EVERY = (*SCENARIOS, *CREATOR_PRESETS)
SMALL = {"clusters": 3, "creators": 3, "weeks": 14, "starts": (8, 10)}

# Truths of a test with half of 60 clusters treated at week 10, weeks 13-25, yuan per
# creator-week; own simulation with 500 (C: 300) seeds by other code. Creator GMV, profit.
HALF_TRUTH = {"A": (173, 302), "B": (2_173, -1_022), "C": (-6_238, 320)}
# Means of the difference-in-differences over the same tests, and their spread per test.
HALF_ESTIMATE = {
    ("A", "cluster"): (199, 1_593, 302, 106),
    ("A", "creator"): (887, 1_498, 369, 101),
    ("B", "cluster"): (2_208, 1_665, -1_025, 114),
    ("C", "cluster"): (-6_277, 1_544, 316, 104),
}


def column(y, name):
    return y[:, :, COMPONENTS.index(name)]


def did(values, treated):
    change = values[:, 13:].mean(axis=1) - values[:, :10].mean(axis=1)
    return change[treated].mean() - change[~treated].mean()


def creator_gmv(world):
    return column(world.y, "gmv_creator_organic") + column(world.y, "gmv_creator_ads")


def half_test(scenario, by, seed):
    drawn = draw_creators(creator_preset(scenario, seed=seed, assignment="half", by=by))
    treated, worlds, rates = drawn.start == 10, drawn.worlds, drawn.settings.rates
    row = []
    for of in (creator_gmv, lambda world: creator_profit(world, rates)):
        observed, none, everybody = (of(worlds[name]) for name in ("observed", "none", "all"))
        truth = (everybody - none)[:, 13:].mean()
        estimate = did(observed, treated)
        row += [estimate, truth, estimate - did(none, treated) - truth]
    return np.array(row) / 100


@pytest.mark.parametrize("name", EVERY)
def test_profit_is_the_formula_of_the_model(name):
    """Profit from components is that of sales, commission, spend and shelf loss, per cell."""
    drawn = draw_creators(creator_preset(name, clusters=8))
    rates, none = drawn.settings.rates, drawn.worlds["none"].y
    for world in drawn.worlds.values():
        organic, ads = (
            column(world.y, f"gmv_creator_{channel}") for channel in ("organic", "ads")
        )
        kept_organic, kept_ads = rates.keep_organic * organic, rates.keep_ads * ads
        loss = column(none, "gmv_shelf") - column(world.y, "gmv_shelf")
        formula = 0.4751 * (kept_organic + kept_ads) - column(world.y, "ad_spend")
        formula -= kept_organic * (world.organic + 0.03) + kept_ads * (world.ads + 0.03)
        formula -= 0.23755 * loss
        shelf = 0.4751 * column(none, "kept_shelf")

        np.testing.assert_allclose(
            creator_profit(world, rates) - shelf, formula, rtol=1e-9, atol=1e-6
        )


@pytest.mark.parametrize("name", EVERY)
def test_components_hang_together(name):
    """Sales are not negative, kept sales are part of them, marks are 0 or 1."""
    for world in draw_creators(creator_preset(name)).worlds.values():
        assert (world.y >= 0).all()
        for channel in ("creator_organic", "creator_ads", "shelf"):
            kept, sold = column(world.y, f"kept_{channel}"), column(world.y, f"gmv_{channel}")
            assert (kept <= sold).all()
        marks = world.y[:, :, [COMPONENTS.index("creators_active"), -1]]
        assert set(np.unique(marks)) <= {0.0, 1.0}


@pytest.mark.parametrize("name", ["A", "B", "C", "anticipation", "cross_cluster_leak"])
def test_truth_is_the_mean_of_unit_effects(name):
    """Averages by wave, horizon and treatment are those of observed minus none."""
    drawn = draw_creators(creator_preset(name, clusters=13))
    found = creator_truth(drawn)
    effect = creator_panel(drawn).y - creator_panel(drawn, "none").y
    spend = effect[:, :, COMPONENTS.index("gmv_creator_organic")]
    treated = np.arange(26) >= drawn.start[:, None]
    key = "gmv_creator_organic"

    assert found.att[key] == pytest.approx(spend[treated].mean())
    assert found.total[key] == pytest.approx(spend.sum())
    assert found.cohort(14, 20, key) == pytest.approx(spend[drawn.start == 14, 20].mean())
    at_two = [spend[unit, start + 2] for unit, start in enumerate(drawn.start) if start < 26]
    row = found.event_time[found.horizons.index(2)]
    assert row[MEASURES.index(key)] == pytest.approx(np.mean(at_two))
    everybody = creator_panel(drawn, "all").y - creator_panel(drawn, "none").y
    assert found.gte["ad_spend"] == pytest.approx(everybody[:, 13:, 4].mean())
    weights = {g: (drawn.start == g).sum() for g in found.starts}
    cells = [(g, t) for g in found.starts for t in range(g, 26)]
    mean = np.average(
        [found.cohort(g, t, "profit") for g, t in cells], weights=[weights[g] for g, _ in cells]
    )
    assert found.att["profit"] == pytest.approx(mean)


@pytest.mark.parametrize("name", EVERY)
def test_mechanical_profit_is_rates_times_sales_without_the_change(name):
    """Minus the change of the rate, times kept sales of a world where nobody changed."""
    drawn = draw_creators(creator_preset(name, clusters=8))
    change, rates = drawn.settings.scenario, drawn.settings.rates
    kept = [column(drawn.worlds["none"].y, f"kept_creator_{c}") for c in ("organic", "ads")]
    per_week = -(change.organic_bp - rates.organic_bp) / 10_000 * kept[0]
    per_week -= (change.ads_bp - rates.ads_bp) / 10_000 * kept[1]
    effects = dict(zip(MEASURES, np.moveaxis(unit_effects(drawn, "all"), 2, 0), strict=True))

    np.testing.assert_allclose(
        effects["profit_mechanical"][:, 10:], per_week[:, 10:], rtol=1e-9, atol=1e-6
    )
    assert not effects["profit_mechanical"][:, :10].any()
    parts = effects["profit_mechanical"] + effects["profit_behavioural"]
    np.testing.assert_allclose(parts, effects["profit"], rtol=1e-9, atol=1e-6)
    income = effects["creator_income_mechanical"]
    np.testing.assert_allclose(income, -effects["profit_mechanical"], rtol=1e-9, atol=1e-6)


def test_nobody_reacts_without_elasticities():
    """New rates alone move money between merchant and creators and nothing else."""
    only_rates = replace(SCENARIOS["N"], organic_bp=2_500, ads_bp=800)
    drawn = draw_creators(DualCommission(clusters=8, scenario=only_rates))
    found = creator_truth(drawn)

    np.testing.assert_array_equal(drawn.worlds["all"].y, drawn.worlds["none"].y)
    assert found.gte["profit_behavioural"] == 0
    assert found.gte["profit"] == pytest.approx(-found.gte["creator_income"])


def test_nothing_changes_in_the_null_scenario():
    """All three worlds are the same, to the last digit."""
    effect = creator_truth(draw_creators(creator_preset("no_change", clusters=8)))

    assert not effect.att_gt.any()
    assert set(effect.total.values()) == {0.0}


def test_a_seed_fixes_everything_and_rollout_changes_no_noise():
    """Equal settings give equal numbers; who is treated leaves the untouched world alone."""
    one, same = (draw_creators(creator_preset("A", clusters=8)) for _ in range(2))
    other = draw_creators(creator_preset("A", clusters=8, seed=1))
    half = draw_creators(creator_preset("B", clusters=8, assignment="half", by="creator"))

    np.testing.assert_array_equal(one.worlds["observed"].y, same.worlds["observed"].y)
    np.testing.assert_array_equal(one.start, same.start)
    assert (one.worlds["none"].y[:, :, :5] != other.worlds["none"].y[:, :, :5]).all()
    np.testing.assert_array_equal(one.worlds["none"].y, half.worlds["none"].y)
    before = np.arange(26) < one.start[:, None]
    alone = column(one.worlds["observed"].y - one.worlds["none"].y, "gmv_creator_organic")
    assert not alone[before].any()


def test_who_starts_when_follows_the_assignment():
    """Waves are as equal as can be; clusters start together unless creators are drawn."""
    staggered = draw_creators(creator_preset("A"))
    few = draw_creators(creator_preset("A", clusters=12, assignment="half"))
    inside = draw_creators(creator_preset("A", assignment="half", by="creator"))
    anywhere = draw_creators(creator_preset("A", assignment="half", by="creator_anywhere"))

    assert [int((staggered.start == g).sum()) for g in (10, 14, 18, NEVER)] == [150] * 4
    assert (np.ptp(staggered.start.reshape(60, 10), axis=1) == 0).all()
    assert int((few.start == 10).sum()) == 60
    assert set((inside.start == 10).reshape(60, 10).sum(axis=1)) == {5}
    assert int((anywhere.start == 10).sum()) == 300
    assert len(set((anywhere.start == 10).reshape(60, 10).sum(axis=1))) > 3


def test_stolen_sales_leave_the_cluster_total_by_their_share():
    """A share phi of what is added is taken from mates, so a cluster gains the rest."""
    scenario = replace(SCENARIOS["B"], relabel=0.0)
    with_stealing = draw_creators(DualCommission(clusters=8, scenario=scenario))
    without = draw_creators(
        DualCommission(clusters=8, scenario=replace(scenario, stealing=0.0))
    )
    gains = [
        column(d.worlds["all"].y - d.worlds["none"].y, "gmv_creator_organic")
        .reshape(8, 10, 26)
        .sum(axis=1)
        for d in (with_stealing, without)
    ]

    np.testing.assert_allclose(gains[0], 0.6 * gains[1], rtol=1e-9, atol=1e-6)
    shelf = column(without.worlds["all"].y - without.worlds["none"].y, "gmv_shelf")
    extra = column(without.worlds["all"].y - without.worlds["none"].y, "gmv_creator_organic")
    np.testing.assert_allclose(shelf, -0.25 * extra, rtol=1e-9, atol=1e-6)


def test_relabelling_moves_sales_between_channels_only():
    """A share of ads sales changes its channel; their sum stays."""
    scenario = replace(SCENARIOS["N"], relabel=0.06)
    drawn = draw_creators(DualCommission(clusters=8, scenario=scenario))
    none, everybody = drawn.worlds["none"], drawn.worlds["all"]
    moved = column(everybody.y - none.y, "gmv_creator_organic")[:, 13:]

    np.testing.assert_allclose(moved, 0.06 * column(none.y, "gmv_creator_ads")[:, 13:])
    np.testing.assert_allclose(creator_gmv(everybody), creator_gmv(none))


def test_reactions_build_up_over_the_ramp():
    """A quarter of the log reaction in the first week, all of it from the fourth on."""
    scenario = replace(SCENARIOS["N"], organic_bp=2_500, eta_organic=0.5)
    drawn = draw_creators(DualCommission(clusters=4, scenario=scenario))
    logs = np.log(creator_gmv_ratio(drawn, "gmv_creator_organic"))[0, 9:15]

    full = 0.5 * np.log(1.25)
    np.testing.assert_allclose(logs, full * np.array([0, 0.25, 0.5, 0.75, 1, 1]), atol=1e-12)


def creator_gmv_ratio(drawn, name, world="all"):
    return column(drawn.worlds[world].y, name) / column(drawn.worlds["none"].y, name)


def test_opt_in_lets_growing_clusters_start_first():
    """The wave that starts first grew faster before anybody started."""
    drawn = draw_creators(creator_preset("opt_in"))
    trend = draw_noise(drawn.settings).trend[drawn.cluster]
    by_wave = [trend[drawn.start == g].mean() for g in (10, 14, 18, NEVER)]

    assert by_wave == sorted(by_wave, reverse=True)
    assert by_wave[0] - by_wave[-1] > 0.01


def test_anticipation_takes_a_tenth_of_organic_sales_for_two_weeks():
    """Nine tenths just before the start, all of them earlier; told apart in the truth."""
    drawn = draw_creators(creator_preset("anticipation"))
    ratio = creator_gmv_ratio(drawn, "gmv_creator_organic", "observed")
    first = drawn.start == 10
    found = creator_truth(drawn)

    np.testing.assert_allclose(ratio[first, 8:10], 0.9)
    np.testing.assert_allclose(ratio[first, :8], 1.0)
    assert found.anticipation["profit"] < 0
    assert found.elsewhere["profit"] == pytest.approx(0, abs=1e-9)


def test_the_mega_creator_is_fifty_times_the_median():
    """One creator's level is 50 x 9,000 yuan a week; the others are as without it."""
    mega, plain = (draw_noise(creator_preset(name)) for name in ("mega_creator", "A"))

    np.testing.assert_allclose(mega.shelf[0, 0], 0.3 * 50 * 9_000)
    np.testing.assert_array_equal(mega.organic[1:], plain.organic[1:])


def test_a_leak_costs_clusters_that_never_changed():
    """Untreated clusters lose sales with the leak and none without it."""
    leaks, tight = (draw_creators(creator_preset(n)) for n in ("cross_cluster_leak", "A"))
    loss = {}
    for name, drawn in (("leaks", leaks), ("tight", tight)):
        effect = unit_effects(drawn)[drawn.start == NEVER, :, MEASURES.index("gmv_creator")]
        loss[name] = effect[:, 13:].mean()

    assert loss["tight"] == 0
    assert loss["leaks"] < -1_000
    gained = [creator_truth(drawn).gte["gmv_creator"] for drawn in (leaks, tight)]
    assert gained[0] == pytest.approx(gained[1], rel=1e-6)


def test_never_empty_treats_everybody_at_last():
    """There are three waves and nobody stays untreated."""
    drawn = draw_creators(creator_preset("never_empty"))

    assert np.unique(drawn.start).tolist() == [10, 14, 18]


def test_later_waves_react_more_and_ever_more():
    """Relative reactions grow by wave, and with time since the start."""
    drawn = draw_creators(creator_preset("heterogeneous_cohorts", by="cluster"))
    spend = creator_gmv_ratio(drawn, "ad_spend", "observed")
    after_ramp = [spend[drawn.start == g, g + 3].mean() for g in (10, 14, 18)]

    np.testing.assert_allclose(after_ramp, [1.025, 1.05, 1.10])
    assert spend[drawn.start == 10, 25].mean() == pytest.approx(1 + 0.025 * 2.2)


def test_return_shift_keeps_more_of_organic_sales():
    """58 % of organic and 42 % of ads sales are kept, in every world."""
    for world in draw_creators(creator_preset("return_shift", clusters=4)).worlds.values():
        kept = [
            column(world.y, f"kept_creator_{c}") / column(world.y, f"gmv_creator_{c}")
            for c in ("organic", "ads")
        ]

        np.testing.assert_allclose(kept[0], 0.58)
        np.testing.assert_allclose(kept[1], 0.42)


def test_squeezed_creators_leave_and_withdraw_their_consent():
    """A lower ads rate costs authorisations and active creators; a better one does not."""
    squeeze, better = (creator_truth(draw_creators(creator_preset(n))) for n in ("C", "A"))

    assert squeeze.gte["creators_active"] < -0.03
    assert squeeze.gte["ads_authorised"] < -0.15
    assert abs(better.gte["creators_active"]) < 0.005
    assert better.gte["posts"] > 0
    assert better.gte["live_minutes"] > 0


@pytest.mark.parametrize("scenario", ["A", "B", "C"])
def test_truths_agree_with_an_independent_simulation(scenario):
    """Mean truths over 40 seeds lie within Monte Carlo error of other code's."""
    rows = np.array([half_test(scenario, "cluster", seed) for seed in range(40)])
    mean, error = rows.mean(axis=0), rows.std(axis=0, ddof=1) / np.sqrt(len(rows))
    gmv, profit = HALF_TRUTH[scenario]

    assert mean[1] == pytest.approx(gmv, abs=4 * error[1])
    assert mean[4] == pytest.approx(profit, abs=4 * error[4])


def test_drawing_creators_inside_an_audience_overstates_sales():
    """Mates lose what the treated win, so creators against mates find too much."""
    inside, clusters = (
        np.array([half_test("B", by, seed) for seed in range(25)])
        for by in ("creator", "cluster")
    )
    bias, fair = inside[:, 2], clusters[:, 2]

    assert bias.mean() > 800
    assert inside[:, 5].mean() > 60
    assert abs(fair.mean()) < 4 * fair.std(ddof=1) / np.sqrt(len(fair))


@pytest.mark.slow
@pytest.mark.parametrize(("scenario", "by"), list(HALF_ESTIMATE))
def test_design_checks_agree_with_an_independent_simulation(scenario, by):
    """Mean and spread of the half-treated test agree with other code over 300 seeds."""
    rows = np.array([half_test(scenario, by, seed) for seed in range(300)])
    mean, spread = rows.mean(axis=0), rows.std(axis=0, ddof=1)
    gmv, gmv_spread, profit, profit_spread = HALF_ESTIMATE[scenario, by]
    # Both sides have Monte Carlo error: 300 seeds here, 500 (C: 300) there.
    error = spread / np.sqrt(300) * np.sqrt(2)

    assert mean[0] == pytest.approx(gmv, abs=3 * error[0])
    assert mean[3] == pytest.approx(profit, abs=3 * error[3])
    assert spread[0] == pytest.approx(gmv_spread, rel=0.15)
    # The spread of heavy-tailed sums is itself uncertain by about a tenth on each side.
    assert spread[3] == pytest.approx(profit_spread, rel=0.25)


def test_the_panel_is_a_copy_and_rounds_only_when_asked():
    """Changing a panel leaves the draw alone; whole money is within half a fen."""
    drawn = draw_creators(creator_preset("A", clusters=4))
    exact, whole = creator_panel(drawn), creator_panel(drawn, whole=True)
    before = drawn.worlds["observed"].y.copy()
    exact.y[:] = 0

    np.testing.assert_array_equal(drawn.worlds["observed"].y, before)
    assert (whole.y == np.rint(whole.y)).all()
    assert np.abs(whole.y - before).max() <= 0.5
    assert whole.names[: len(MONEY)] == MONEY


def test_order_lines_add_up_to_the_panel_to_the_fen(tmp_path):
    """By creator, week and channel, lines give GMV, unrefunded ones kept sales."""
    folder = write_creators(creator_preset("A", **SMALL), tmp_path / "small", orders=True)
    lines, refunds, bills, weeks = (
        f"'{folder}/{name}.parquet'"
        for name in ("order_lines", "refunds", "ad_spend", "creator_week")
    )
    gaps = duckdb.sql(f"""
        WITH flagged AS (
            SELECT l.*, r.line_id IS NULL AS kept, date_trunc('week',
                   pay_ts AT TIME ZONE 'Asia/Shanghai')::DATE AS week
            FROM {lines} l LEFT JOIN {refunds} r USING (line_id)),
        added AS (
            SELECT creator_id, week,
                   sum(settlement_base_fen) FILTER (channel = 'creator_organic') AS o,
                   sum(settlement_base_fen) FILTER (channel = 'creator_ads') AS a,
                   sum(settlement_base_fen) FILTER (channel = 'shelf_organic') AS s,
                   sum(settlement_base_fen) FILTER (channel = 'creator_organic' AND kept) AS ko,
                   sum(settlement_base_fen) FILTER (channel = 'creator_ads' AND kept) AS ka,
                   sum(settlement_base_fen) FILTER (channel = 'shelf_organic' AND kept) AS ks
            FROM flagged GROUP BY ALL),
        spent AS (
            SELECT creator_id, date_trunc('week', date)::DATE AS week, sum(spend_fen) AS spend
            FROM {bills} GROUP BY ALL)
        SELECT count(*), max(abs(o - gmv_creator_organic)), max(abs(a - gmv_creator_ads)),
               max(abs(s - gmv_shelf)), max(abs(ko - kept_creator_organic)),
               max(abs(ka - kept_creator_ads)), max(abs(ks - kept_shelf)),
               max(abs(spend - ad_spend))
        FROM {weeks} LEFT JOIN added USING (creator_id, week)
             LEFT JOIN spent USING (creator_id, week)
    """).fetchone()  # noqa: S608

    assert gaps == (9 * 14, 0, 0, 0, 0, 0, 0, 0)


def test_every_order_line_keeps_the_ledger(tmp_path):
    """List price less discounts is sales and cash; ids are unique; refunds repay the line."""
    folder = write_creators(creator_preset("C", **SMALL), tmp_path / "small", orders=True)
    lines, refunds = f"'{folder}/order_lines.parquet'", f"'{folder}/refunds.parquet'"
    broken = duckdb.sql(f"""
        SELECT count(*) FILTER (list_fen <> markdown_fen + merchant_coupon_fen
                                + settlement_base_fen),
               count(*) FILTER (cash_fen <> settlement_base_fen OR cash_fen <= 0),
               count(*) - count(DISTINCT line_id),
               count(*) FILTER (r.line_id IS NOT NULL AND amount_fen <> cash_fen),
               count(*) FILTER (refunded_ts <= pay_ts),
               count(*) FILTER ((ship_ts IS NULL) <> coalesce(type = 'cancel_preship', FALSE)),
               count(*) FILTER (commission_type = 'none' AND commission_rate_bp > 0)
        FROM {lines} l LEFT JOIN {refunds} r USING (line_id)
    """).fetchone()  # noqa: S608
    rates = duckdb.sql(f"""
        SELECT DISTINCT commission_rate_bp FROM {lines} WHERE channel = 'creator_ads' ORDER BY 1
    """).fetchall()  # noqa: S608

    assert broken == (0, 0, 0, 0, 0, 0, 0)
    assert rates == [(500,), (2_000,)]


def test_written_weeks_waves_and_terms_tell_one_story(tmp_path):
    """The files hold the rounded panel, its starts and the rates of each moment."""
    settings = creator_preset("A", clusters=8, creators=2)
    folder = write_creators(settings, tmp_path / "creators")
    panel = creator_panel(draw_creators(settings), whole=True)
    rows = pq.read_table(folder / "creator_week.parquet").to_pydict()
    with (folder / "waves.csv").open(encoding="utf-8") as file:
        waves = {row["cluster"]: row["starts_on"] for row in csv.DictReader(file)}
    terms = pq.read_table(folder / "creator_terms.parquet").to_pylist()
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))

    assert rows["ad_spend"] == panel.y[:, :, 4].reshape(-1).astype(int).tolist()
    assert str(rows["week"][0]) == "2026-05-25"
    labels = ["" if g == NEVER else panel.periods[g] for g in panel.start]
    assert [waves[f"mcn_{code:03d}"] for code in panel.cluster] == labels
    changed = {t["creator_id"]: str(t["valid_from"]) for t in terms if t["organic_bp"] == 2_500}
    assert changed == {unit: at for unit, at in zip(panel.units, labels, strict=True) if at}
    assert truth["gte"]["profit"] == creator_truth(draw_creators(settings)).gte["profit"]


def test_waves_of_drawn_creators_name_creators(tmp_path):
    """Where creators are drawn, each of them is its own line of the waves."""
    settings = creator_preset("A", clusters=3, creators=4, by="creator")
    folder = write_creators(settings, tmp_path / "creators")
    lines = (folder / "waves.csv").read_text(encoding="utf-8").splitlines()

    assert len(lines) == 13
    assert lines[1].startswith("creator_0000,")


def test_writing_twice_gives_the_same_bytes_and_no_leftovers(tmp_path):
    """A folder is replaced whole; equal settings give equal files."""
    settings = creator_preset("A", **SMALL)
    folder = write_creators(settings, tmp_path / "creators", orders=True)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    write_creators(settings, folder, orders=True)

    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["creators"]


def test_inactive_creators_can_be_absent(tmp_path):
    """Weeks without a post have no row when asked for, and all have one else."""
    settings = creator_preset("C", clusters=8)
    full = pq.read_table(write_creators(settings, tmp_path / "full") / "creator_week.parquet")
    folder = write_creators(settings, tmp_path / "gaps", drop_inactive=True)
    gaps = pq.read_table(folder / "creator_week.parquet")

    assert full.num_rows == 80 * 26
    assert gaps.num_rows == sum(full["creators_active"].to_pylist()) < full.num_rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"starts": (14, 10)}, "starts is [14, 10]; write rising weeks from 1 to 25"),
        ({"clusters": 1}, "clusters is 1 (int); write a number from 2 to 100000"),
        ({"cohort_strength": (1.0,)}, "cohort_strength is [1.0]; write 3 numbers"),
        ({"opt_in": 0.1, "by": "creator"}, "by is 'creator'; write cluster"),
        ({"by": "clusters"}, "by is 'clusters'; allowed: "),
        ({"assignment": "all"}, "assignment is 'all'; allowed: ['half', 'staggered']"),
    ],
)
def test_impossible_worlds_are_refused(changes, message):
    """Settings that no world can have name what was found and what would work."""
    with pytest.raises(DefinitionError) as caught:
        DualCommission(**changes)

    assert message in str(caught.value)


def test_the_shelf_never_loses_more_than_it_has():
    """A shelf that loses twenty times what creators gain is empty, and orders still add up."""
    greedy = replace(SCENARIOS["B"], shelf=20.0)
    world = draw_creators(DualCommission(scenario=greedy)).worlds["all"]

    assert column(world.y, "gmv_shelf").min() == 0


def test_an_unknown_preset_names_the_known_ones():
    """A misspelt world is answered with the nearest name."""
    with pytest.raises(DefinitionError, match="Did you mean 'generous'"):
        creator_preset("generos")


def test_income_of_creators_is_commission_on_kept_sales():
    """Creators earn their rate on what is kept, by channel."""
    drawn = draw_creators(creator_preset("return_shift", clusters=4))
    world = drawn.worlds["all"]
    expected = 0.25 * column(world.y, "kept_creator_organic")[:, 10:]
    expected = expected + 0.08 * column(world.y, "kept_creator_ads")[:, 10:]

    np.testing.assert_allclose(creator_income(world)[:, 10:], expected)
    assert Rates() == creator_preset("A").rates
    assert creator_terms(drawn).num_rows == 40 + int((drawn.start != NEVER).sum())
