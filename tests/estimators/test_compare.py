"""A plain table in, a comparison out: three lines in a notebook."""

from __future__ import annotations

import json
import math

import ibis
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import statsmodels.api as sm

from upliftlab.errors import DataError, DesignError, UpliftlabError
from upliftlab.estimators.compare import compare, noninferiority, ratio_of_effects, segments
from upliftlab.estimators.families import interaction
from upliftlab.stats.estimate import interval
from upliftlab.stats.means import welch
from upliftlab.stats.multiplicity import adjust
from upliftlab.stats.ratio import fieller


def shop(n=600, seed=1):
    """Visits of a shop with three arms, two covariates, a stratum and a segment."""
    rng = np.random.default_rng(seed)
    arm = rng.choice(["none", "five", "ten"], n, p=[0.5, 0.25, 0.25])
    before = rng.exponential(20, n)
    orders_before = rng.poisson(1, n)
    lift = pd.Series(arm).map({"none": 0.0, "five": 1.0, "ten": 4.0}).to_numpy()
    orders = rng.poisson(1 + lift / 8)
    return pd.DataFrame(
        {
            "arm": arm,
            "city": rng.choice(["north", "south"], n),
            "is_new": rng.random(n) < 0.4,
            "before": before,
            "orders_before": orders_before,
            "spend": 0.5 * before + 3 * orders_before + lift + rng.normal(0, 8, n),
            "orders": orders,
            "visits": orders + 1 + rng.poisson(2, n),
            "cost": np.where(arm == "none", 0.0, orders * 1.5),
        }
    )


TABLE = shop()


def of_arm(table, column, arm):
    """Mean, sample variance and count of a column in one arm."""
    values = table.loc[table["arm"] == arm, column]
    return values.mean(), values.var(ddof=1), len(values)


def welch_of(table, column, arm="ten"):
    """Welch's test by the formula for two arms."""
    (mean_t, var_t, n_t), (mean_c, var_c, n_c) = (
        of_arm(table, column, each) for each in (arm, "none")
    )
    return welch(mean_t=mean_t, var_t=var_t, n_t=n_t, mean_c=mean_c, var_c=var_c, n_c=n_c)


def test_a_mean_is_compared_by_welch():
    """Three lines give what the formula for two arms gives."""
    found = compare(TABLE, ["spend"], arm="arm", control="none").row("spend", "ten").effect
    expected = welch_of(TABLE, "spend")

    assert found.estimate == pytest.approx(expected.estimate)
    assert found.std_error == pytest.approx(expected.std_error)
    assert found.df == pytest.approx(expected.df)
    assert found.p_value == pytest.approx(expected.p_value)


FRAMES = {
    "pandas": lambda: TABLE,
    "pandas with categories": lambda: TABLE.astype({"arm": "category"}),
    "polars": lambda: pl.from_pandas(TABLE),
    "arrow": lambda: pa.Table.from_pandas(TABLE),
    "ibis in memory": lambda: ibis.memtable(pa.Table.from_pandas(TABLE)),
    "ibis query": lambda: ibis.memtable(pa.Table.from_pandas(TABLE)).filter(ibis._.visits > 0),
}


@pytest.mark.parametrize("frame", FRAMES)
def test_every_kind_of_table_gives_the_same_rows(frame):
    """Pandas, polars, Arrow and ibis tables hold the same experiment."""
    options = {"arm": "arm", "control": "none", "covariates": ["before"], "strata": ["city"]}
    found = compare(FRAMES[frame](), ["spend", "orders / visits"], **options)
    expected = compare(TABLE, ["spend", "orders / visits"], **options)

    pd.testing.assert_frame_equal(found.to_pandas(), expected.to_pandas(), rtol=1e-12)


def test_a_table_in_a_database_stays_as_it_was():
    """Comparing leaves no table behind on the caller's connection."""
    connection = ibis.duckdb.connect()
    table = connection.create_table("units", pa.Table.from_pandas(TABLE.assign(shop=TABLE.arm)))
    before = connection.raw_sql("SHOW ALL TABLES").fetchall()
    found = compare(table, "spend", arm="arm", control="none")

    assert found.n == TABLE.groupby("arm").size().to_dict()
    assert connection.raw_sql("SHOW ALL TABLES").fetchall() == before


def test_nothing_given_is_changed():
    """The table is the same after every function as before."""
    table = TABLE.copy()
    options = {"arm": "arm", "control": "none"}
    compare(table, ["spend", "orders / visits"], strata=["city"], **options)
    segments(table, "spend", by="is_new", **options)
    noninferiority(table, "orders", margin=0.1, **options)
    ratio_of_effects(table, "spend", "cost", **options)

    pd.testing.assert_frame_equal(table, TABLE)


@pytest.mark.parametrize(
    ("column", "control", "label"),
    [
        (lambda arm: (arm == "ten").astype(int), 0, "0"),
        (lambda arm: (arm == "ten").astype("int8"), np.int8(0), "0"),
        (lambda arm: arm == "ten", False, "no"),
        (lambda arm: (arm == "ten").astype(float), 0, "0"),
        (lambda arm: (arm == "ten").map({True: " t ", False: "c"}), "c", "c"),
    ],
)
def test_arms_may_be_numbers_or_flags(column, control, label):
    """The arm column may be text, whole numbers, yes/no, or numbers a gap made decimal."""
    table = TABLE[TABLE.arm != "five"].assign(arm=lambda frame: column(frame.arm))
    found = compare(table, "spend", arm="arm", control=control)

    assert found.control == label
    expected = welch_of(TABLE, "spend").estimate
    assert found.row().effect.estimate == pytest.approx(expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"covariates": ["before", "orders_before"]},
        {"strata": ["city"]},
        {"cluster": "household"},
    ],
)
@pytest.mark.parametrize("written", [{"none": 0, "ten": 1}, {"none": " none", "ten": "ten "}])
def test_how_arms_are_written_changes_no_number(options, written):
    """Tidy columns are read as they stand, others with care; both give the same answer."""
    two = TABLE[TABLE.arm != "five"].assign(household=lambda rows: rows.index // 2)
    two = two.assign(arm=two.groupby("household").arm.transform("first"))
    expected = compare(two, "spend", arm="arm", control="none", **options).row().effect
    table = two.assign(arm=two.arm.map(written))
    control = written["none"]
    found = compare(table, "spend", arm="arm", control=control, **options).row().effect

    assert found.estimate == pytest.approx(expected.estimate, rel=1e-9)
    assert found.std_error == pytest.approx(expected.std_error, rel=1e-9)
    assert found.df == pytest.approx(expected.df, rel=1e-9)


def test_ratios_are_read_from_text_pairs_and_names():
    """ "orders / visits", a pair and a named ratio are one thing: the ratio of sums."""
    wanted = {"a": "orders / visits", "b": ("orders", "visits"), "c": "orders/visits"}
    rows = compare(TABLE, wanted, arm="arm", control="none").rows
    ten = TABLE[TABLE.arm == "ten"]

    for row in rows:
        if row.arm == "ten":
            assert row.effect.estimate == pytest.approx(rows[1].effect.estimate)
    assert rows[1].treatment == pytest.approx(ten.orders.sum() / ten.visits.sum())


def test_a_column_with_a_slash_is_a_column():
    """A column's own name wins over the division it seems to be."""
    table = TABLE.rename(columns={"spend": "spend / visit"})
    found = compare(table, ["spend / visit"], arm="arm", control="none").row(arm="ten")

    assert found.effect.estimate == pytest.approx(welch_of(TABLE, "spend").estimate)


def test_covariates_per_arm_are_least_squares_with_interactions():
    """Lin (2013): the default adjustment is OLS on arm, centred covariates and products."""
    table = TABLE[TABLE.arm != "five"]
    x = table[["before", "orders_before"]] - table[["before", "orders_before"]].mean()
    is_ten = (table.arm == "ten").astype(float)
    design = pd.concat([is_ten, x, x.mul(is_ten, axis=0).add_suffix("_t")], axis=1)
    fit = sm.OLS(table.spend, sm.add_constant(design)).fit(cov_type="HC2")
    found = compare(
        table, "spend", arm="arm", control="none", covariates=["before", "orders_before"]
    )

    effect = found.row().effect
    assert effect.estimate == pytest.approx(fit.params["arm"], rel=1e-9)
    assert effect.std_error == pytest.approx(fit.bse["arm"], rel=0.01)
    assert 0 < found.variance_kept["spend"] < 0.9


def test_one_slope_within_arms_is_least_squares_with_arm_dummies():
    """theta="within" has the coefficients of pooled OLS with one dummy per arm."""
    dummies = pd.get_dummies(TABLE.arm, dtype=float)[["five", "ten"]]
    design = sm.add_constant(pd.concat([dummies, TABLE[["before", "orders_before"]]], axis=1))
    fit = sm.OLS(TABLE.spend, design).fit()
    found = compare(
        TABLE,
        "spend",
        arm="arm",
        control="none",
        covariates=["before", "orders_before"],
        theta="within",
    )

    for arm in ("five", "ten"):
        estimate = found.row(arm=arm).effect.estimate
        assert estimate == pytest.approx(fit.params[arm], rel=1e-9)


def test_strata_are_weighed_by_their_share_of_units():
    """Post-stratification is the mean of the strata's differences by hand."""
    found = compare(TABLE, "spend", arm="arm", control="none", strata=["city", "is_new"])
    means = TABLE.pivot_table("spend", ["city", "is_new"], "arm", "mean")
    share = TABLE.groupby(["city", "is_new"]).size() / len(TABLE)

    expected = ((means["ten"] - means["none"]) * share).sum()
    assert found.row(arm="ten").effect.estimate == pytest.approx(expected)
    assert "post-stratified by city, is_new" in found.method


def clustered_table(seed=3):
    """24 shops of unequal size, assigned as a whole."""
    rng = np.random.default_rng(seed)
    parts = []
    for i in range(24):
        m = int(rng.integers(5, 40))
        y = rng.normal(i % 2 + rng.normal(), 1, m)
        parts.append(pd.DataFrame({"shop": i, "arm": ["old", "new"][i % 2], "y": y}))
    return pd.concat(parts, ignore_index=True)


def test_clusters_have_cr2_variances():
    """CR2 from its definition, cluster by cluster; CR1 of statsmodels is within 5 % of it."""
    table = clustered_table()
    found = compare(table, "y", arm="arm", control="old", cluster="shop").row().effect
    variance = 0.0
    for _, units in table.groupby("arm"):
        n, mean = len(units), units.y.mean()
        for _, shop_units in units.groupby("shop"):
            score = (shop_units.y - mean).sum()
            variance += score**2 / (1 - len(shop_units) / n) / n**2
    fit = sm.OLS(table.y, sm.add_constant((table.arm == "new").astype(float))).fit(
        cov_type="cluster", cov_kwds={"groups": table["shop"]}
    )

    assert found.std_error == pytest.approx(math.sqrt(variance), rel=1e-9)
    assert found.std_error == pytest.approx(fit.bse["arm"], rel=0.05)
    assert found.df < 22


def test_a_cluster_in_two_arms_is_refused():
    """Pupils of one school in several arms were not assigned by school."""
    with pytest.raises(DesignError) as caught:
        compare(TABLE, "spend", arm="arm", control="none", cluster="city")

    assert str(caught.value) == (
        "2 of 2 clusters of 'city' hold units of several arms; a cluster is what was assigned "
        "as a whole. Leave cluster out, or put it in strata."
    )


def test_simultaneous_intervals_are_wider_and_agree_with_adjusted_p():
    """Max-|t| over arms lies between one interval and Bonferroni's."""
    options = {"arm": "arm", "control": "none"}
    plain = compare(TABLE, ["spend", "orders / visits"], **options)
    wide = compare(TABLE, ["spend", "orders / visits"], simultaneous=True, **options)

    for one, joint in zip(plain.rows, wide.rows, strict=True):
        reach = (one.effect.ci_high - one.effect.ci_low) / 2
        joint_reach = (joint.effect.ci_high - joint.effect.ci_low) / 2
        assert 1.05 < joint_reach / reach < 1.16
        assert joint.effect.excludes(0.0) == (joint.p_adjusted <= 0.05)
        assert joint.effect.p_value == pytest.approx(one.effect.p_value)
        # Widening the relative interval keeps it in step with the absolute one.
        assert (joint.effect.rel_ci_low > 0) == (joint.effect.ci_low > 0)


def test_with_one_treatment_simultaneous_is_pointwise():
    """A family of one needs no correction."""
    table = TABLE[TABLE.arm != "five"]
    plain = compare(table, "spend", arm="arm", control="none").row()
    joint = compare(table, "spend", arm="arm", control="none", simultaneous=True).row()

    assert joint.effect.ci_low == pytest.approx(plain.effect.ci_low, rel=1e-9)
    assert joint.p_adjusted == pytest.approx(plain.effect.p_value)


def many_metrics(seed):
    """Six metrics, some of which move."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"arm": ["old", "new"] * 100})
    for i, shift in enumerate([0.0, 0.0, 0.25, 0.3, 0.35, 0.5]):
        table[f"m{i}"] = rng.normal(size=200) + shift * (table.arm == "new")
    return table


@pytest.mark.parametrize("correct", ["holm", "fdr_bh"])
@pytest.mark.parametrize("seed", [0, 1, 10, 18, 19, 31])
def test_corrected_intervals_leave_out_zero_exactly_where_p_is_significant(correct, seed):
    """Adjusted p and interval never disagree; p is that of the plain procedure.

    From seed 10 on, Holm rejects where Bonferroni does not.
    """
    names = [f"m{i}" for i in range(6)]
    options = {"arm": "arm", "control": "old"}
    found = compare(many_metrics(seed), names, correct=correct, **options)
    plain = compare(many_metrics(seed), names, **options)

    p = adjust([row.effect.p_value for row in plain.rows], correct)
    assert [row.p_adjusted for row in found.rows] == pytest.approx(p.tolist())
    for row in found.rows:
        assert row.effect.excludes(0.0) == (row.p_adjusted <= 0.05)


def test_corrections_exclude_each_other():
    """Two ways to widen the same interval are one too many."""
    with pytest.raises(UpliftlabError) as caught:
        compare(TABLE, "spend", arm="arm", control="none", simultaneous=True, correct="holm")

    assert str(caught.value) == (
        "simultaneous and correct='holm' both widen intervals; keep one of them."
    )


def test_segments_are_comparisons_of_their_rows():
    """An effect within a level is the effect on a table of that level."""
    found = segments(TABLE, "spend", by="is_new", arm="arm", control="none")
    inside = compare(TABLE[TABLE.is_new], "spend", arm="arm", control="none")

    effect, expected = found.row("yes", "ten").effect, inside.row(arm="ten").effect
    assert effect.estimate == pytest.approx(expected.estimate)
    assert effect.std_error == pytest.approx(expected.std_error)
    assert effect.df == pytest.approx(expected.df)
    assert sum(row.share for row in found.rows if row.found.arm == "ten") == pytest.approx(1)


def test_the_interaction_of_two_segments_is_a_welch_test_of_their_difference():
    """F with one numerator df is the square of t with Satterthwaite's df."""
    effects = [interval("a", 2.0, 0.4, df=30), interval("b", 0.5, 0.3, df=50)]
    test = interaction("ten", effects, spans=False)
    df = 0.7**2 / (0.4**2 / 30 + 0.3**2 / 50)
    expected = interval("difference", 1.5, 0.7, df=df)

    assert test.statistic == pytest.approx(1.5**2 / 0.7)
    assert test.p_value == pytest.approx(expected.p_value)


def test_the_interaction_of_many_segments_is_cochran_s_q_in_large_samples():
    """Without uncertainty of variances F (k - 1) is chi-square with k - 1 df."""
    from scipy import stats

    effects = [interval(name, value, 0.3) for name, value in zip("abc", (1, 2, 3), strict=True)]
    test = interaction("ten", effects, spans=False)

    assert test.p_value == pytest.approx(stats.chi2.sf(2 / 0.3, 2))


def test_segments_that_share_clusters_have_no_interaction_test():
    """Effects of levels that live in one cluster depend on each other: NaN, and why."""
    table = clustered_table().assign(old=lambda t: np.arange(len(t)) % 2)
    found = segments(table, "y", by="old", arm="arm", control="old", cluster="shop")

    assert math.isnan(found.interaction().p_value)
    assert "clusters hold units of several segments" in str(found)
    assert found.row("0").effect.std_error > 0


def test_a_segment_that_an_arm_lacks_is_left_out_and_named():
    """A level with fewer than two units in an arm gives no row."""
    table = TABLE.assign(city=np.where((TABLE.index < 3), "islet", TABLE.city))
    found = segments(table, "spend", by="city", arm="arm", control="none")

    assert "islet" not in {row.segment for row in found.rows}
    assert found.note == "left out, an arm has fewer than two units: islet"


def test_segments_together_are_wider_than_alone():
    """Joint intervals hold for all levels of an arm."""
    options = {"by": "city", "arm": "arm", "control": "none"}
    alone = segments(TABLE, "spend", **options).row("north", "ten").effect
    joint = segments(TABLE, "spend", simultaneous=True, **options).row("north", "ten").effect

    assert joint.ci_low < alone.ci_low
    assert joint.ci_high > alone.ci_high


@pytest.mark.parametrize(
    ("margin", "direction", "state"),
    [
        (1.0, "up", "non-inferior"),
        ("5%", "up", "non-inferior"),
        (0.05, "down", "inferior"),
        ("1%", "down", "inferior"),
        (7.0, "down", "inconclusive"),
    ],
)
def test_a_guardrail_has_three_states(margin, direction, state):
    """The interval of the effect lies within the margin, beyond it, or across it."""
    found = noninferiority(
        TABLE, "spend", margin=margin, direction=direction, arm="arm", control="none"
    )

    assert found.row(arm="ten").state == state


def test_money_is_no_margin_of_a_plain_table():
    """A plain table has numbers and no currency."""
    with pytest.raises(UpliftlabError) as caught:
        noninferiority(TABLE, "spend", margin="0.5 yuan", arm="arm", control="none")

    assert str(caught.value) == (
        "margin is '0.5 yuan'; a plain table has no currency, so write a number like 0.5."
    )


def test_a_ratio_of_effects_has_fieller_s_set():
    """Effects, covariance and set are those of the formula."""
    found = ratio_of_effects(TABLE, "spend", "cost", arm="arm", control="none").row("ten")
    parts = {arm: TABLE.loc[TABLE.arm == arm, ["spend", "cost"]] for arm in ("ten", "none")}
    gap = parts["ten"].mean() - parts["none"].mean()
    cov = sum((part.cov() / len(part) for part in parts.values()), start=0)
    expected = fieller(
        gap.spend,
        gap.cost,
        cov.loc["spend", "spend"],
        cov.loc["cost", "cost"],
        cov.loc["spend", "cost"],
        df=found.numerator.df,
    )

    assert found.ratio.estimate == pytest.approx(expected.estimate)
    assert found.ratio.ci_low == pytest.approx(expected.ci_low)
    assert found.ratio.ci_high == pytest.approx(expected.ci_high)


def test_a_denominator_that_may_be_zero_shows_an_open_set():
    """Where cost does not differ, the ratio may be anything outside of a gap, or anything."""
    rng = np.random.default_rng(9)
    table = TABLE.assign(cost=rng.normal(size=len(TABLE)))
    found = ratio_of_effects(table, "spend", "cost", arm="arm", control="none")

    shapes = {row.ratio.shape for row in found.rows}
    assert shapes <= {"outside", "everything"}
    assert "up to" in str(found) or "any value" in str(found)


def with_gaps():
    """Three rows without spend, one without arm."""
    table = TABLE.copy()
    table.loc[[0, 1, 2], "spend"] = np.nan
    table.loc[5, "arm"] = None
    return table


def test_gaps_are_refused_with_column_and_count():
    """No row is dropped and no gap is filled unless somebody says so."""
    with pytest.raises(DataError) as caught:
        compare(with_gaps(), ["spend", "orders"], arm="arm", control="none")

    assert str(caught.value) == (
        "values are missing: 'arm' in 1 of 600 rows, 'spend' in 3 of 600 rows; fill them "
        "(0 only where the unit was observed and did nothing), or leave such rows out with "
        'missing="drop".'
    )


def test_dropped_rows_are_counted_per_arm():
    """Rows left out are shown, since they may differ between arms."""
    table = with_gaps()
    found = compare(table, "spend", arm="arm", control="none", missing="drop")

    expected = table[table.spend.isna()].groupby("arm").size().to_dict() | {"(no arm)": 1}
    assert found.dropped == expected
    assert "rows left out for missing values" in str(found)
    assert sum(found.n.values()) == 596


def test_infinite_and_not_a_number_are_gaps_in_polars_too():
    """NaN in a frame that tells it from null is still no number."""
    table = pl.DataFrame(
        {"arm": ["a", "a", "a", "b", "b"], "y": [1.0, math.nan, 2.0, 3.0, 5.0]}
    )
    found = compare(table, "y", arm="arm", control="a", missing="drop")

    assert found.dropped == {"a": 1}


WRONG = {
    "a column that is not there": (
        {"metrics": "spent"},
        DataError,
        (
            "metric 'spent' needs column 'spent'; the table has ['arm', 'before', 'city', "
            "'cost', 'is_new', 'orders', 'orders_before', 'spend', 'visits']. "
            "Did you mean 'spend'?"
        ),
    ),
    "text as a metric": (
        {"metrics": "city"},
        DataError,
        "column 'city' of table 'table' is string; it must be numbers or yes/no.",
    ),
    "decimals as strata": (
        {"strata": ["before"]},
        DataError,
        (
            "column 'before' of table 'table' is float64; it must be text, whole numbers or "
            "yes/no."
        ),
    ),
    "an unknown control": (
        {"control": "non"},
        DataError,
        "control is 'non'; the arms are ['five', 'none', 'ten']. Did you mean 'none'?",
    ),
    "an outcome as covariate": (
        {"covariates": ["spend"]},
        UpliftlabError,
        "covariates hold ['spend'], which are compared; a covariate is known beforehand.",
    ),
    "strata and clusters": (
        {"strata": ["city"], "cluster": "city"},
        UpliftlabError,
        "cluster and strata do not go together; leave one of them out.",
    ),
    "an unknown theta": (
        {"theta": "pooled"},
        UpliftlabError,
        "theta is 'pooled'; write 'per_arm', 'within' or 'joint'.",
    ),
    "an unknown correction": (
        {"correct": "bh"},
        UpliftlabError,
        "correct is 'bh'; write 'holm', 'fdr_bh' or None.",
    ),
    "half a pair": (
        {"metrics": {"basket": ("spend",)}},
        UpliftlabError,
        "metric is ('spend',); write a column, 'a / b' or a pair (a, b).",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistakes_say_what_was_found_and_what_is_allowed(mistake):
    """Whole messages, one per mistake."""
    options, kind, message = WRONG[mistake]
    wanted = {"metrics": "spend", "arm": "arm", "control": "none"} | options
    with pytest.raises(kind) as caught:
        compare(TABLE, wanted.pop("metrics"), **wanted)

    assert str(caught.value) == message


def test_something_that_is_no_table_is_refused():
    """A dict of lists is not a table."""
    with pytest.raises(DataError) as caught:
        compare({"arm": ["a"]}, "y", arm="arm", control="a")

    assert str(caught.value) == (
        "table 'table' is a dict; give a pandas, polars, Arrow or ibis table."
    )


def test_an_empty_table_is_refused():
    """No rows, no comparison."""
    with pytest.raises(DataError) as caught:
        compare(TABLE.head(0), "spend", arm="arm", control="none")

    assert str(caught.value) == "table 'table' has no rows."


def test_one_arm_is_not_two():
    """A table of control only has nothing to compare."""
    with pytest.raises(DataError) as caught:
        compare(TABLE[TABLE.arm == "none"], "spend", arm="arm", control="none")

    assert str(caught.value) == "column 'arm' has only the arm 'none'; two are compared."


ONE_OF_EACH = {
    "compare": lambda: compare(
        TABLE, ["spend", "orders / visits"], arm="arm", control="none", correct="holm"
    ),
    "noninferiority": lambda: noninferiority(
        TABLE, "orders", margin="2%", arm="arm", control="none"
    ),
    "segments": lambda: segments(TABLE, "spend", by="city", arm="arm", control="none"),
    "ratio of effects": lambda: ratio_of_effects(
        TABLE, "spend", "cost", arm="arm", control="none"
    ),
}


@pytest.mark.parametrize("function", ONE_OF_EACH)
def test_results_show_themselves(function):
    """A result is a frame with one row each, plain JSON, a text table and an HTML table."""
    found = ONE_OF_EACH[function]()
    frame, text, html = found.to_pandas(), str(found), found._repr_html_()

    assert len(frame) == len(found.rows)
    json.dumps(found.to_dict(), allow_nan=False)
    assert text.count("\n") >= len(found.rows)
    assert html.count("<tr>") == len(found.rows) + 1
    assert "control: none" in text
    assert "control: none" in html


def test_names_are_text_in_html():
    """An arm's name cannot become markup."""
    table = TABLE.assign(arm=TABLE.arm.replace("ten", "<b>ten</b>"))
    html = compare(table, "spend", arm="arm", control="none")._repr_html_()

    assert "<b>" not in html
    assert "&lt;b&gt;ten&lt;/b&gt;" in html


def test_results_are_frozen():
    """A result cannot be edited after the fact."""
    found = compare(TABLE, "spend", arm="arm", control="none")
    with pytest.raises(AttributeError):
        found.control = "ten"
