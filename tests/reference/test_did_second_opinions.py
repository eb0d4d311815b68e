"""Published and peer numbers of estimators beside group-time effects, on nine public data sets.

Reference numbers: ``<name>.reference.json`` beside each data file, with source and tolerance.
Local projections are compared with R's did 2.5.1: with equal weights they are its dynamic
effects with not-yet-treated controls.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from upliftlab.data.panel import NEVER, Panel
from upliftlab.panels.bacon import bacon
from upliftlab.panels.fits import regress
from upliftlab.panels.imputation import imputation, pretrends, two_stage
from upliftlab.panels.interaction_weighted import interaction_weighted, saturated
from upliftlab.panels.local_projections import local_projections
from upliftlab.panels.stacked import stacked
from upliftlab.panels.two_by_two import change_in_means, two_by_two
from upliftlab.panels.two_way import event_study, twfe, used_cells

ATT = 1e-6
SE = 1e-4  # relative, as the files state unless a line says otherwise
PRINTED = 6e-7  # half a digit of numbers printed with six decimals


@pytest.fixture
def read(shared_data):
    """A table and its reference numbers."""

    def load(name, suffix="csv"):
        path = shared_data(f"did/{name}.{suffix}")
        table = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
        return table, json.loads(shared_data(f"did/{name}.reference.json").read_text())

    return load


def wide(table, unit, period, outcomes, start, *, cluster=None, x=None):
    """A panel of a long table; a start of 0, of nothing or after the end is never."""
    units, periods = np.sort(table[unit].unique()), np.sort(table[period].unique())
    y = np.full((len(units), len(periods), len(outcomes)), np.nan)
    y[np.searchsorted(units, table[unit]), np.searchsorted(periods, table[period])] = table[
        outcomes
    ]
    first = table.groupby(unit).first()
    when = first[start].to_numpy(dtype=float)
    never = ~(when > 0) | (when > periods[-1])
    return Panel.of_arrays(
        y,
        np.where(never, NEVER, np.searchsorted(periods, np.where(never, periods[0], when))),
        names=outcomes,
        periods=periods,
        units=units,
        cluster=None if cluster is None else first[cluster].to_numpy(),
        x=None if x is None else first[x].to_numpy(dtype=float),
    )


def errors(found):
    return np.sqrt(np.diag(found.cov))


@pytest.fixture
def mpdta(read):
    table, reference = read("mpdta")
    return wide(table, "countyreal", "year", ["lemp"], "first_treat", x=["lpop"]), reference


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("TWFE", twfe),
        ("SunAbraham", interaction_weighted),
        ("ImputationDiD", imputation),
        ("TwoStageDiD", two_stage),
        ("WooldridgeDiD", lambda panel: saturated(panel, use_x=False)),
        ("StackedDiD", stacked),
    ],
)
def test_minimum_wages_agree_with_peers(mpdta, name, method):
    """Each second opinion on mpdta: estimate to 1e-6, standard error to 1e-4."""
    panel, reference = mpdta
    row = reference["other"][name]

    found = method(panel)

    assert found.value[0] == pytest.approx(row["att"], abs=ATT)
    assert errors(found)[0] == pytest.approx(row["se"], rel=SE)


def test_imputation_two_stage_and_etwfe_are_one_number(mpdta):
    """Borusyak et al., Gardner and Wooldridge without covariates: -0.0477099 three times."""
    panel, _ = mpdta

    for method in (imputation, two_stage, lambda p: saturated(p, use_x=False)):
        assert method(panel).value[0] == pytest.approx(-0.0477099, abs=PRINTED)


@pytest.mark.parametrize(
    ("key", "by"),
    [("simple", "simple"), ("calendar", "calendar"), ("group", "group"), ("event", "dynamic")],
)
def test_etwfe_with_population_agrees_with_r(mpdta, key, by):
    """R etwfe, lemp ~ lpop, not-yet-treated controls: all four averages and their errors."""
    panel, reference = mpdta
    row = np.array(
        [reference["R_etwfe_lemp_lpop"][key]]
        if key == "simple"
        else list(reference["R_etwfe_lemp_lpop"][key].values())
    )

    found = saturated(panel, by=by)

    assert found.value == pytest.approx(row[:, 0], abs=ATT)
    assert errors(found) == pytest.approx(row[:, 1], rel=SE)


def test_local_projections_with_equal_weights_are_group_time_effects(mpdta):
    """R did 2.5.1, not-yet-treated controls: horizons 0 to 2, estimates only."""
    panel, reference = mpdta
    cells = reference["R_did"]["mpdta_nyt_dr"]["dynamic"]["cells"]

    found = local_projections(panel, by="dynamic", post=3, weighting="equal")

    for cell in cells:
        if cell["egt"] >= 0:
            value = found.value[found.index(f"lemp@e{cell['egt']:.0f}")]
            assert value == pytest.approx(cell["att_egt"], abs=ATT)


def test_comparisons_of_minimum_wage_cohorts(mpdta):
    """All nine Bacon comparisons of diff-diff, weights and estimates."""
    panel, reference = mpdta
    other = reference["other"]
    found = {(c.treated, c.control): c for c in bacon(panel).comparisons}

    assert len(found) == len(other["bacon"])
    for row in other["bacon"]:
        control = str(row["control_group"]).replace("never_treated", "never")
        mine = found[str(row["treated_group"]), control]
        assert mine.weight == pytest.approx(row["weight"], abs=ATT)
        assert mine.estimate[0] == pytest.approx(row["estimate"], abs=ATT)
    assert bacon(panel).value[0] == pytest.approx(other["bacon_twfe"], abs=ATT)


def test_sun_abraham_with_a_control_agrees_with_fixest(read):
    """feols(y ~ x1 + sunab(year_treated, year) | id + year): ATT, x1 and nine cohorts."""
    table, reference = read("base_stagg")
    printed = reference["R_fixest_sunab_with_x1"]
    panel = wide(table, "id", "year", ["y"], "year_treated")
    x1 = wide(table, "id", "year", ["x1"], "year_treated").y

    found = interaction_weighted(panel, controls=x1, slopes=True)
    cohorts = interaction_weighted(panel, controls=x1, by="group")

    both = np.array([printed["ATT"], printed["x1"]])
    assert found.names == ("y", "y@control0")
    assert found.value == pytest.approx(both[:, 0], abs=PRINTED)
    assert errors(found) == pytest.approx(both[:, 1], rel=SE)
    rows = np.array(list(printed["cohort"].values()))
    assert cohorts.names == tuple(f"y@{g}" for g in printed["cohort"])
    assert cohorts.value == pytest.approx(rows[:, 0], abs=PRINTED)
    assert errors(cohorts) == pytest.approx(rows[:, 1], rel=SE)


def test_sun_abraham_by_horizon_agrees_with_pyfixest(read):
    """pyfixest 0.60.0 saturated, seventeen horizons."""
    table, reference = read("base_stagg")

    found = interaction_weighted(wide(table, "id", "year", ["y"], "year_treated"), by="dynamic")

    for row in reference["pyfixest_saturated_no_x"]:
        i = found.index(f"y@e{row['period']:.0f}")
        assert found.value[i] == pytest.approx(row["Estimate"], abs=1e-9)
        assert errors(found)[i] == pytest.approx(row["Std. Error"], rel=1e-8)


def test_one_start_agrees_with_pyfixest(read):
    """base_did: TWFE and nine coefficients of the event study."""
    table, reference = read("base_did")
    table["start"] = np.where(table["treat"] == 1, 6, 0)
    panel = wide(table, "id", "period", ["y"], "start")
    rows = np.array(list(reference["event_study"].values()))

    once, study = twfe(panel), event_study(panel)

    assert once.value[0] == pytest.approx(reference["twfe"]["att"], abs=1e-7)
    assert errors(once)[0] == pytest.approx(reference["twfe"]["se"], rel=SE)
    assert study.value == pytest.approx(rows[:, 0], abs=1e-7)
    assert errors(study) == pytest.approx(rows[:, 1], rel=SE)


def test_medicaid_event_study(read):
    """Coefficients of HonestDiD's README model; its errors once state effects are nested.

    The file's errors count k = 8: on rows in the file's order pyfixest 0.60.0 takes year
    effects for nested in states as well. With rows sorted it counts k = 15, as we do.
    """
    table, reference = read("ehec_medicaid")
    table = table[(table["year"] < 2016) & (table["yexp2"] != 2015)].assign(
        start=lambda t: np.where(t["yexp2"] == 2014, 2014, 0)
    )
    rows = np.array(list(reference["event_study"].values()))

    found = event_study(wide(table, "stfips", "year", ["dins"], "start"))

    assert found.value == pytest.approx(rows[:, 0], abs=ATT)
    nested = np.sqrt((344 - 15) / (344 - 8))
    assert errors(found) * nested == pytest.approx(rows[:, 1], abs=PRINTED)


def test_two_stage_with_state_effects_agrees_with_r(read):
    """did2s: state and year effects, errors by state: 2.152215 (0.047607)."""
    table, reference = read("df_het", "parquet")
    panel = wide(table, "unit", "year", ["dep_var"], "g", cluster="state")
    printed = reference["R_did2s_state_year"]

    row = two_stage(panel, level=panel.cluster).estimate("dep_var")

    assert row.estimate == pytest.approx(printed["att"], abs=PRINTED)
    assert row.std_error == pytest.approx(printed["se"], abs=PRINTED)


def test_unit_effects_on_the_same_draw_agree_with_peers(read):
    """Two-stage by unit, TWFE by state; imputation by state to 2e-3.

    diff-diff centres residuals with units' weights where we take clusters' (equation 7).
    """
    table, reference = read("df_het", "parquet")
    computed = reference["computed"]
    panel = wide(table, "unit", "year", ["dep_var"], "g")
    by_state = wide(table, "unit", "year", ["dep_var"], "g", cluster="state")

    for found, name, tolerance in (
        (two_stage(panel), "diff_diff_two_stage", SE),
        (twfe(by_state), "twfe_cluster_state", SE),
        (imputation(by_state), "diff_diff_imputation", 2e-3),
    ):
        assert found.value[0] == pytest.approx(computed[name][0], abs=ATT)
        assert errors(found)[0] == pytest.approx(computed[name][1], rel=tolerance)


@pytest.fixture
def didimputation(read):
    table, reference = read("df_het_didimputation", "parquet")
    return wide(table, "unit", "year", ["dep_var"], "g"), reference


def test_imputation_agrees_with_r(didimputation):
    """didimputation: the static effect and nine horizons, estimates and errors."""
    panel, reference = didimputation

    found, by = imputation(panel), imputation(panel, by="dynamic")

    assert found.value[0] == pytest.approx(reference["static"][0], abs=ATT)
    assert errors(found)[0] == pytest.approx(reference["static"][1], rel=SE)
    for horizon, (value, std_error) in reference["event"].items():
        if int(horizon) >= 0:
            i = by.index(f"dep_var@e{horizon}")
            assert by.value[i] == pytest.approx(value, abs=ATT)
            assert errors(by)[i] == pytest.approx(std_error, rel=SE)
    row = reference["computed"]["diff_diff_two_stage"]
    assert errors(two_stage(panel))[0] == pytest.approx(row[1], rel=SE)


def test_trends_before_treatment_agree_with_r(didimputation):
    """didimputation pretrends = -5:-1; its printed errors assume one error variance.

    They are all 0.07634962: s times the root of the inverse Gram matrix, n - k with every
    effect counted. Ours are clustered by unit and lie within 2 %.
    """
    panel, reference = didimputation
    rows = np.array([reference["event"][str(e)] for e in range(-5, 0)])

    found = pretrends(panel, leads=5)

    assert found.value == pytest.approx(rows[:, 0], abs=ATT)
    assert errors(found) == pytest.approx(rows[:, 1], rel=0.02)
    since = np.arange(panel.shape[1])[None, :] - panel.start[:, None]
    weight = np.where(since < 0, used_cells(panel)[0], 0.0)
    leads = np.stack([since == e for e in range(-5, 0)], axis=2).astype(float)
    fit = regress(panel, weight, np.arange(len(weight)), leads)
    k = 5 + len(weight) + int((weight > 0).any(axis=0).sum()) - 1
    variance = (fit.residual**2).sum() / ((weight > 0).sum() - k)
    inverse = np.einsum("ntp,nt,ntp->p", fit.slope, weight, fit.slope)
    assert np.sqrt(variance * inverse) == pytest.approx(rows[:, 1], rel=SE)


def test_comparisons_of_school_reforms_agree_with_r(read):
    """bacondecomp's README: weights and averages by kind, three pairs, and TWFE."""
    table, reference = read("math_reform")
    panel = wide(table, "state", "class", ["incearn_ln"], "reformyr_math")
    found = bacon(panel)
    kinds = {
        "earlier vs later": "Earlier vs Later Treated",
        "later vs earlier": "Later vs Earlier Treated",
        "treated vs never": "Treated vs Untreated",
    }

    assert set(found.by_kind()) == set(kinds)
    for kind, (weight, average) in found.by_kind().items():
        row = reference["R_bacon_summary"][kinds[kind]]
        assert weight == pytest.approx(row["weight"], abs=1e-5)
        assert average[0] == pytest.approx(row["avg"], abs=1e-5)
    pairs = {(c.treated, c.control): c for c in found.comparisons}
    for row in reference["R_some_2x2"]:
        mine = pairs[str(row["treated"]), str(row["untreated"])]
        assert mine.estimate[0] == pytest.approx(row["estimate"], abs=1e-8)
        assert mine.weight == pytest.approx(row["weight"], abs=1e-9)
    value, std_error = reference["computed"]["twfe"]
    assert found.value[0] == pytest.approx(value, abs=1e-9)
    assert errors(twfe(panel))[0] == pytest.approx(std_error, rel=SE)


def test_fast_food_jobs(read):
    """Card and Krueger (1994): all stores 2.7536; complete pairs 2.75, Welch error 1.3423."""
    table, reference = read("card_krueger")
    computed = reference["computed"]
    nj = table["nj"].to_numpy()

    rows = two_by_two(
        np.concatenate([table["fte1"], table["fte2"]]),
        np.tile(nj, 2),
        np.repeat([0, 1], len(nj)),
        cluster=np.tile(table["sheet"], 2),
    )
    pairs = change_in_means(
        Panel.of_arrays(table[["fte1", "fte2"]].to_numpy(), np.where(nj == 1, 1, NEVER)),
        before=0,
        after=1,
    )

    assert rows.value[0] == pytest.approx(computed["dd_all"], abs=ATT)
    assert rows.notes == ("26 row(s) with missing values left out",)
    assert pairs.value[0] == pytest.approx(computed["dd_balanced"], abs=ATT)
    assert errors(pairs)[0] == pytest.approx(computed["se_balanced_welch"], abs=ATT)
    assert pairs.clusters == computed["n_balanced"]


@pytest.mark.parametrize(
    ("name", "outcome", "covariates"),
    [
        ("simple", "rprice", []),
        ("age", "rprice", ["age", "agesq"]),
        ("full", "rprice", ["age", "agesq", "intst", "land", "area", "rooms", "baths"]),
        ("log", "lprice", []),
    ],
)
def test_house_prices_near_an_incinerator(read, name, outcome, covariates):
    """Wooldridge, table 13.2 and the logarithm, with classical and HC1 errors."""
    table, reference = read("kielmc")
    row = reference["computed"][name]
    tolerance = 1e-6 if name == "log" else 0.01

    for kind, key in (("classical", "se"), ("hc1", "hc1")):
        found = two_by_two(
            table[outcome],
            table["nearinc"],
            table["y81"],
            covariates=table[covariates] if covariates else None,
            errors=kind,
        )
        assert found.value[0] == pytest.approx(row["coef"], abs=tolerance)
        assert errors(found)[0] == pytest.approx(row[key], rel=SE)
