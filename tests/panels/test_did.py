"""A plain table becomes a panel and its effects, or says what is wrong with it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from upliftlab.data.panel import NEVER, Panel
from upliftlab.data.panel_frame import panel_of_frame
from upliftlab.errors import DataError, DesignError, UpliftlabError
from upliftlab.panels.aggregates import aggregate
from upliftlab.panels.did import did
from upliftlab.panels.group_time import group_time

UNITS, LENGTH = 26, 6
START = np.repeat([2, 3, 4, NEVER], [5, 6, 7, 8])
COHORT = np.where(START == NEVER, 0, START + 1)
ON = np.arange(LENGTH) >= START[:, None]
Y = np.random.default_rng(0).normal(size=(UNITS, LENGTH, 2)) + ON[:, :, None] * [2.0, -1.0]
PANEL = Panel.of_arrays(Y, START, names=("sales", "cost"), periods=range(1, LENGTH + 1))
KEYS = {"unit": "shop", "period": "week", "start": "cohort"}
MONDAYS = pd.date_range("2026-01-05", periods=LENGTH, freq="7D")
MONTHS = pd.date_range("2025-11-01", periods=LENGTH, freq="MS")


def table(**changes):
    """One row per shop and week, in order; cohorts 3, 4, 5 and 0 for never."""
    made = {
        "shop": np.repeat(np.arange(UNITS), LENGTH),
        "week": np.tile(np.arange(1, LENGTH + 1), UNITS),
        "cohort": np.repeat(COHORT, LENGTH),
        "sales": Y[:, :, 0].ravel(),
        "cost": Y[:, :, 1].ravel(),
    }
    return pd.DataFrame(made | changes)


def dated(days, rows=None):
    """Periods and starts as days; never is an empty day."""
    rows = table() if rows is None else rows
    start = pd.Series(days[np.maximum(rows.cohort, 1) - 1]).where(rows.cohort > 0)
    return rows.assign(week=days[rows.week - 1], cohort=start)


def mixed_never():
    """Decimal starts; never is empty, 0 and infinite, in one unit even by turns."""
    codes = np.resize([np.nan, 0.0, np.inf, -np.inf], UNITS * LENGTH)
    cohort = np.repeat(COHORT, LENGTH)
    return table(cohort=np.where(cohort > 0, cohort, codes))


LAYOUTS = {
    "as it is": table,
    "text ids": lambda: table(shop=[f"店 {i // LENGTH:02}" for i in range(UNITS * LENGTH)]),
    "categories": lambda: table().astype({"shop": "category"}),
    "integers that may be empty": lambda: table(
        cohort=pd.array([c or None for c in np.repeat(COHORT, LENGTH)], dtype="Int64")
    ).astype({"shop": "Int64", "week": "Int64"}),
    "negative ids": lambda: table(shop=np.repeat(np.arange(UNITS) - 9, LENGTH)),
    "decimal periods": lambda: table().astype({"week": float, "cohort": float}),
    "small numbers": lambda: table().astype({"week": "int8", "cohort": "uint8"}),
    "every tenth period": lambda: table().assign(
        week=lambda rows: rows.week * 10, cohort=lambda rows: rows.cohort * 10
    ),
    "weeks": lambda: dated(MONDAYS),
    "months": lambda: dated(MONTHS),
    "one label for all rows": lambda: table().set_axis([0] * (UNITS * LENGTH)),
    "never after the panel": lambda: table().assign(
        cohort=lambda rows: rows.cohort.where(rows.cohort > 0, 99)
    ),
}
NOTES = {
    "never after the panel": (
        (
            "start 'cohort' is after the last period in 8 units; these units count as not "
            "treated in the panel"
        ),
    ),
}
ORDERS = {
    "sorted": lambda rows: rows,
    "by week": lambda rows: rows.sort_values("week", kind="stable"),
    "shuffled": lambda rows: rows.sample(frac=1, random_state=1),
}


def read(rows=None, outcomes=("sales", "cost"), **options):
    return panel_of_frame(table() if rows is None else rows, outcomes, **(KEYS | options))


def refusal(rows, outcomes="sales", kind=DataError, **options):
    """The whole text of the error, from the front door."""
    with pytest.raises(kind) as caught:
        did(rows, outcomes, **(KEYS | options))
    return str(caught.value)


def assert_same(found, panel, **options):
    """Effects of a table are those of a panel made from arrays, to 1e-12."""
    there = group_time(panel, **options)
    assert found.effects.cells == there.cells
    for kind in ("simple", "group", "dynamic", "calendar", "total"):
        one = aggregate(found.effects, kind).parts_joint()
        two = aggregate(there, kind).parts_joint()
        assert one.value == pytest.approx(two.value, abs=1e-12)
        assert one.cov == pytest.approx(two.cov, rel=1e-12, abs=1e-12)
        assert one.df == pytest.approx(two.df, rel=1e-12)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_table_in_any_dress_is_the_panel_of_its_arrays(layout, order):
    """Ids, periods and starts of any type, rows in any order: one panel, one answer."""
    rows = ORDERS[order](LAYOUTS[layout]())
    panel = read(rows)

    np.testing.assert_array_equal(panel.y, Y)
    np.testing.assert_array_equal(panel.start, START)
    assert panel.names == ("sales", "cost")
    assert panel.cluster.tolist() == list(range(UNITS))
    assert panel.weight.tolist() == [1] * UNITS
    assert panel.notes == NOTES.get(layout, ())
    assert_same(did(rows, ["sales", "cost"], **KEYS), PANEL)


@pytest.mark.parametrize("order", ORDERS)
def test_never_in_several_ways_is_never_and_said(order):
    """Empty, 0 and infinite starts in one table, even of one unit: never, with a note."""
    panel = read(ORDERS[order](mixed_never()))

    np.testing.assert_array_equal(panel.start, START)
    assert len(panel.notes) == 1
    assert panel.notes[0].startswith("start 'cohort' says never treated in several ways: ")


def test_units_keep_their_names():
    """Text ids sort as text, s10 before s2, and each row of the panel is its own unit's."""
    ids = np.array([f"s{i}" for i in range(UNITS)])
    panel = read(table(shop=np.repeat(ids, LENGTH)).sample(frac=1, random_state=2))
    order = np.argsort(ids)

    assert panel.units.tolist() == ids[order].tolist()
    np.testing.assert_array_equal(panel.y, Y[order])
    np.testing.assert_array_equal(panel.start, START[order])


def test_periods_are_named_as_people_write_them():
    """Whole numbers without a point, days without a time."""
    assert read(LAYOUTS["decimal periods"]()).periods == ("1", "2", "3", "4", "5", "6")
    assert read(dated(MONDAYS)).periods[:2] == ("2026-01-05", "2026-01-12")
    assert read(dated(MONTHS)).periods[:2] == ("2025-11", "2025-12")


@pytest.mark.parametrize(
    ("day", "position"),
    [
        ("2025-12-31", 0),
        ("2026-01-05", 0),
        ("2026-01-18", 1),
        ("2026-01-19", 2),
        ("2026-02-15", 5),
        ("2026-02-16", NEVER),
    ],
)
def test_a_day_starts_the_week_it_falls_in(day, position):
    """A Sunday belongs to the Monday before; a day after the last week is not in the panel."""
    rows = dated(MONDAYS)
    rows.loc[rows["shop"] == 0, "cohort"] = pd.Timestamp(day)

    assert read(rows).start[0] == position


def test_a_start_outside_the_panel_is_throughout_or_never():
    """Before the first period: treated throughout; after the last: not treated here."""
    rows = table(week=np.tile(np.arange(11, 17), UNITS))
    cohort = np.repeat(np.where(COHORT == 3, 5, np.where(COHORT, 14, 17)), LENGTH)
    panel = read(rows.assign(cohort=cohort))

    assert sorted(set(panel.start.tolist())) == [0, 3, NEVER]


def test_columns_may_have_any_name():
    """A column called class, one with a space, one in Chinese, one that methods share."""
    names = {"shop": "class", "week": "支付 周", "cohort": "index", "sales": "mean"}
    rows = table().rename(columns=names)
    found = did(rows, "mean", unit="class", period="支付 周", start="index")

    assert_same(found, PANEL.component("sales"))
    assert found.average().names == ("simple",)


def test_clusters_may_be_text():
    """Named clusters give the errors of numbered ones, rows in any order."""
    code = np.arange(UNITS) % 13
    towns = np.char.add("镇 ", code.astype(str))
    rows = table(town=np.repeat(towns, LENGTH)).sample(frac=1, random_state=3)
    panel = Panel.of_arrays(Y, START, cluster=code, names=("sales", "cost"))

    assert_same(did(rows, ["sales", "cost"], cluster="town", **KEYS), panel)


def test_clusters_that_switched_together_are_fewer_than_units():
    """Two shops a cluster within a cohort: the df fall, the effect stays."""
    chain = np.char.add("c", (np.arange(UNITS) // 2).astype(str))
    cohort = np.repeat([3, 4, 5, 0], [4, 6, 8, 8])
    rows = table(chain=np.repeat(chain, LENGTH), cohort=np.repeat(cohort, LENGTH))
    alone = did(rows, "sales", **KEYS).average()
    together = did(rows, "sales", cluster="chain", **KEYS).average()

    assert together.value == pytest.approx(alone.value, abs=1e-12)
    assert together.df[0] < alone.df[0] / 1.5


def test_weights_are_read_once_per_unit():
    """A column of weights gives what the same weights give beside arrays."""
    weight = 1.0 + np.arange(UNITS) % 3
    rows = table(size=np.repeat(weight, LENGTH)).sample(frac=1, random_state=4)
    panel = Panel.of_arrays(Y, START, weight=weight, names=("sales", "cost"))

    assert_same(did(rows, ["sales", "cost"], weight="size", **KEYS), panel)


def test_covariates_are_those_of_the_first_row():
    """Only the value in a unit's first row of the table counts."""
    age = np.arange(UNITS * LENGTH, dtype=float)
    panel = read(table(age=age), covariates=["age", "cost"])

    assert panel.x[:, 0].tolist() == age[::LENGTH].tolist()
    assert panel.x[:, 1].tolist() == Y[:, 0, 1].tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"control": "never"},
        {"base": "varying"},
        {"anticipation": 1},
        {"control": "never", "base": "varying", "anticipation": 1},
    ],
    ids=str,
)
def test_options_reach_the_estimator(options):
    """Controls, base and anticipation are those of group_time."""
    assert_same(did(table(), ["sales", "cost"], **options, **KEYS), PANEL, **options)


def test_one_outcome_may_be_named_without_a_list():
    """A name alone and a list of one are the same question."""
    one, other = (did(table(), each, **KEYS).average() for each in ("cost", ["cost"]))

    assert one.names == other.names
    assert one.value.tolist() == other.value.tolist()


@pytest.mark.parametrize("dtype", ["int64", "float32", "bool", "Int64", "uint8"])
def test_outcomes_of_any_numeric_type_are_numbers(dtype):
    """Counts, flags and short floats become 64-bit numbers."""
    rows = table(sales=np.arange(UNITS * LENGTH) % 2).astype({"sales": dtype})
    panel = read(rows, "sales")

    assert panel.y.dtype == np.float64
    assert panel.y[0, :, 0].tolist() == [0, 1, 0, 1, 0, 1]


def test_the_table_is_left_as_it_was():
    """Reading changes neither values nor order nor types."""
    rows = dated(MONDAYS, table().sample(frac=1, random_state=5).reset_index(drop=True))
    kept = rows.copy(deep=True)
    did(rows, ["sales", "cost"], **KEYS)

    pd.testing.assert_frame_equal(rows, kept)


def test_a_missing_row_is_unknown_and_said():
    """A unit-period without a row is NaN, not zero, in any order of rows."""
    rows = table().drop(index=[7, 8, 30]).sample(frac=1, random_state=6)
    panel = read(rows)

    assert np.argwhere(np.isnan(panel.y[:, :, 0])).tolist() == [[1, 1], [1, 2], [5, 0]]
    assert np.nansum(panel.y) == pytest.approx(rows[["sales", "cost"]].to_numpy().sum())
    assert panel.notes == ("3 unit-periods of 2 units have no row; they are unknown, not zero",)


def test_effects_of_units_with_gaps_are_refused():
    """Group-time effects need every unit in every period, and say what to do."""
    assert refusal(table().drop(index=[7, 8, 30]), kind=DesignError) == (
        "2 of 26 units have periods without rows; fill them with zeros where nothing happened, "
        "keep the complete units, or compare pairwise."
    )


def test_nobody_treated_is_refused():
    """Without a start inside the panel there is nothing to compare."""
    assert refusal(table(cohort=0), kind=DesignError) == (
        "no cohort can be compared: starts ['never'] leave nobody untreated in any period "
        "after a start; add units that start later, or never."
    )


def at(row, value, column):
    """The table with one cell changed."""
    rows = table()
    rows[column] = rows[column].astype(object if isinstance(value, str) else float)
    rows.loc[row, column] = value
    return rows


LEFT = "the table has ['cohort', 'cost', 'sale', 'shop', 'week']"
ONCE = "each '(shop, week)' must come once"
FILLED = "it must be filled in every row"
EVEN = "add the rows, with zeros if nothing happened in them"
UNREAD = "cannot be read as finite periods; correct them or leave them blank"
SWITCHED = "a treatment that is switched off and on again is a switchback, not a roll-out"
REFUSED = {
    "column missing": (
        lambda: table().rename(columns={"sales": "sale"}),
        f"the panel needs column 'sales'; {LEFT}. Did you mean 'sale'?",
    ),
    "empty": (
        lambda: table().iloc[:0],
        "the panel has no rows.",
    ),
    "rows twice": (
        lambda: pd.concat([table(), table().iloc[[8, 9]]]),
        f"table 'panel' has 2 rows whose '(shop, week)' came before, such as '1, 3'; {ONCE}.",
    ),
    "unit empty": (
        lambda: at(3, np.nan, "shop"),
        f"column 'shop' of table 'panel' is empty in 1 of 156 rows; {FILLED}.",
    ),
    "period empty": (
        lambda: at(3, np.nan, "week"),
        f"column 'week' of table 'panel' is empty in 1 of 156 rows; {FILLED}.",
    ),
    "period text": (
        lambda: table().assign(week=lambda rows: rows.week.astype(str)),
        "column 'week' of table 'panel' is str; it must be numbers or dates.",
    ),
    "period gap": (
        lambda: table().query("week != 4"),
        f"period 'week' runs from 1 to 6 and no row has 4; {EVEN}.",
    ),
    "week gap": (
        lambda: dated(MONDAYS).loc[lambda rows: rows.week != MONDAYS[3]],
        f"period 'week' runs from 2026-01-05 to 2026-02-09 and no row has 2026-01-26; {EVEN}.",
    ),
    "period infinite": (
        lambda: at(3, np.inf, "week"),
        f"column 'week' of table 'panel' has 1 values that {UNREAD}.",
    ),
    "two starts": (
        lambda: at(3, 5, "cohort"),
        f"column 'cohort' has several starts for 1 of 26 units; {SWITCHED}.",
    ),
    "start and never": (
        lambda: at(3, np.nan, "cohort"),
        f"column 'cohort' has several starts for 1 of 26 units; {SWITCHED}.",
    ),
    "start negative": (
        lambda: table(cohort=np.repeat(np.where(COHORT, COHORT, -1), LENGTH)),
        (
            "start 'cohort' is below zero in 8 units, such as -1; write the period in which "
            "treatment starts, and leave it empty for units never treated."
        ),
    ),
    "start text": (
        lambda: table(cohort="never"),
        "column 'cohort' of table 'panel' is str; it must be periods, or empty.",
    ),
    "outcome text": (
        lambda: table().assign(sales=lambda rows: rows.sales.astype(str)),
        "column 'sales' of table 'panel' is str; it must be a number.",
    ),
    "outcome mixed": (
        lambda: at(3, "-", "sales"),
        "column 'sales' of table 'panel' is object; it must be a number.",
    ),
}


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_table_that_is_no_panel_is_refused_with_a_reason(mistake):
    """Each mistake has a sentence that names the column and what is allowed."""
    rows, text = REFUSED[mistake]

    assert refusal(rows()) == text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_outcome_that_is_no_finite_number_is_refused(value):
    """One NaN or infinity is found and counted, whatever the other rows add up to."""
    rows = at(3, value, "sales")
    whole = pd.concat([rows.iloc[3:], rows.iloc[:3]])

    for each in (rows, whole):
        assert refusal(each).startswith(
            "column 'sales' of table 'panel' has 1 values that cannot be read as finite numbers"
        )


def test_the_missing_column_may_be_any_that_was_asked_for():
    """Cluster, weight and second outcomes are looked up before anything is read."""
    for option in ({"cluster": "sale"}, {"weight": "sale"}, {"start": "sale"}):
        assert refusal(table(), **option).endswith("Did you mean 'sales'?")
    assert refusal(table(), ["sales", "costs"]).endswith("Did you mean 'cost'?")


def test_a_unit_has_one_cluster_and_one_weight():
    """Values that change within a unit are refused, and empty ones."""
    size = np.arange(UNITS * LENGTH) // 3
    moved = table(size=size)

    assert refusal(moved, weight="size") == refusal(moved, cluster="size")
    assert refusal(moved, cluster="size") == (
        "column 'size' has several values for 26 of 26 shops; it must be one per shop, as it "
        "was before treatment."
    )
    assert refusal(table(size=None), cluster="size") == (
        "column 'size' of table 'panel' is empty in 26 of 26 rows; it must be filled in every "
        "row."
    )


KINDS = {
    "group_time": [f"{g},{t}" for g in (3, 4, 5) for t in range(1, 7)],
    "simple": ["simple"],
    "group": ["3", "4", "5"],
    "dynamic": [f"e{e}" for e in range(-4, 4)],
    "calendar": ["3", "4", "5", "6"],
    "total": ["total"],
    "anticipation": ["anticipation"],
    "everything": ["everything"],
}
BOUNDS = ["ci_low", "ci_high", "band_low", "band_high"]
COLUMNS = ["outcome", "key", "effect", "std_error", *BOUNDS, "df"]
FOUND = did(table(), ["sales", "cost"], anticipation=1, **KEYS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_table_of_the_same_columns(kind):
    """Outcomes one after the other, each with its keys in order."""
    rows = FOUND.to_pandas(kind)

    assert list(rows.columns) == COLUMNS
    assert rows.key.tolist() == KINDS[kind] * 2
    assert rows.outcome.tolist() == ["sales"] * len(KINDS[kind]) + ["cost"] * len(KINDS[kind])
    assert rows.index.tolist() == list(range(len(rows)))
    assert np.isfinite(rows.effect).all()


@pytest.mark.parametrize("kind", KINDS)
def test_an_outcome_has_the_rows_it_has_alone(kind):
    """Effects, errors, intervals and bands do not hang on who else was asked for."""
    both = FOUND.to_pandas(kind)
    for name in ("sales", "cost"):
        alone = did(table(), name, anticipation=1, **KEYS).to_pandas(kind)
        own = both[both.outcome == name].reset_index(drop=True)

        pd.testing.assert_frame_equal(own, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_are_student_and_bands_at_least_as_wide(kind):
    """effect +- t(df) x standard error; a base has neither; a lone row has one interval."""
    rows = FOUND.to_pandas(kind)
    known = rows[rows.std_error.notna()]
    reach = stats.t.ppf(0.975, known.df) * known.std_error

    assert known.ci_low.to_numpy() == pytest.approx((known.effect - reach).to_numpy())
    assert known.ci_high.to_numpy() == pytest.approx((known.effect + reach).to_numpy())
    assert (known.band_low <= known.ci_low + 1e-9).all()
    assert (known.band_high >= known.ci_high - 1e-9).all()
    if len(KINDS[kind]) > 1:
        assert ((known.band_high - known.effect) > 1.05 * reach).all()
    else:
        assert known.band_low.tolist() == known.ci_low.tolist()
    base = rows[rows.std_error.isna()]
    assert (base.effect == 0).all()
    assert base[BOUNDS].isna().all(axis=None)


def test_simple_is_the_average_with_its_error():
    """The row of a notebook is the number of the function."""
    row = FOUND.to_pandas("simple").iloc[1]
    average = FOUND.average()

    assert average.names == ("sales|simple", "cost|simple")
    assert row.effect == average.value[1]
    assert row.std_error == math.sqrt(average.cov[1, 1])
    assert row.df == average.df[1]


def test_analytic_errors_have_normal_intervals():
    """As R's did: no df, and the influence of estimated shares."""
    found = did(table(), "sales", inference="analytic", **KEYS)
    row = found.to_pandas("simple").iloc[0]
    there = aggregate(group_time(PANEL.component("sales"))).joint(inference="analytic")

    assert row.std_error == pytest.approx(math.sqrt(there.cov[0, 0]), rel=1e-12)
    assert row.df == math.inf
    assert row.ci_high - row.effect == pytest.approx(stats.norm.ppf(0.975) * row.std_error)


def test_a_lower_level_is_a_narrower_interval():
    """The level reaches intervals and bands."""
    wide, narrow = (
        did(table(), "sales", level=level, **KEYS).to_pandas("group") for level in (0.95, 0.8)
    )

    assert ((narrow.ci_high - narrow.ci_low) < (wide.ci_high - wide.ci_low)).all()
    assert ((narrow.band_high - narrow.band_low) < (wide.band_high - wide.band_low)).all()


def test_a_notebook_shows_names_as_text():
    """An outcome that is a piece of HTML is not run."""
    name = "<script>alert('&')</script>"
    html = did(table().rename(columns={"sales": name}), [name, "cost"], **KEYS)._repr_html_()

    assert "<script" not in html
    assert "&lt;script&gt;alert('&amp;')&lt;/script&gt;" in html
    assert html.count("<tr") == 3


def test_unsigned_ids_are_ids():
    """Ids of a Parquet file may be unsigned, in any order of rows."""
    panel = read(table().astype({"shop": "uint32"}).sample(frac=1, random_state=1))

    assert panel.shape == PANEL.shape


def test_hours_are_periods_or_refused():
    """Periods within a day are not merged into one label."""
    hours = pd.date_range("2026-01-05", periods=LENGTH, freq="h")

    assert refusal(dated(hours)) == (
        "column 'week' has times within a day, such as 2026-01-05 05:00:00; periods are days "
        "or longer: number shorter ones in order."
    )


def test_a_missing_month_is_a_gap():
    """November, December, February: the effect by time since start would be wrong."""
    assert "no row has 2026-02; add the rows" in refusal(
        dated(MONTHS).loc[lambda rows: rows.week != MONTHS[3]]
    )


def test_zoned_days_are_days_or_refused():
    """A warehouse gives times with their zone."""
    rows = dated(MONDAYS)
    rows = rows.assign(
        **{c: rows[c].dt.tz_localize("Asia/Shanghai") for c in ("week", "cohort")}
    )
    panel = read(rows)

    assert panel.start.tolist() == START.tolist()
    assert panel.periods == read(dated(MONDAYS)).periods


def test_starts_that_are_no_dates_beside_dates_are_refused():
    """Week numbers beside days make everyone treated throughout."""
    assert refusal(dated(MONDAYS).assign(cohort=table().cohort)) == (
        "column 'cohort' of table 'panel' is int64; it must be dates, as the periods are."
    )


def test_weights_are_numbers():
    """A mistake is an error of this package."""
    assert "'size'" in refusal(table(size="large"), weight="size")


def test_weights_count_something():
    """A unit that counts less than nothing is refused."""
    assert refusal(table(size=-1.0), weight="size").startswith(
        "column 'size' weighs 26 of 26 units by 0 or less; give each unit a weight above 0"
    )


def test_a_positive_and_a_negative_infinity_do_not_cancel():
    """Their sum is no number either."""
    rows = at(3, np.inf, "sales")
    rows.loc[4, "sales"] = -np.inf

    assert "'sales' of table 'panel' has 2 values" in refusal(rows)


def test_bands_hold_where_some_cells_have_no_control():
    """Without a never-treated group late cells are unknown; the others keep their band."""
    rows = did(table().query("cohort > 0"), "sales", **KEYS).to_pandas()
    known = rows[rows.std_error.notna()]

    assert rows.effect.isna().any()
    assert ((known.band_high - known.ci_high) > 0.05 * known.std_error).all()


def test_one_cohort_is_named_by_its_start():
    """The key says which cohort, also where there is but one."""
    rows = did(table().query("cohort in [0, 5]"), "sales", **KEYS).to_pandas("group")

    assert rows.key.tolist() == ["5"]


@pytest.mark.parametrize(
    "options",
    [{"control": "nevr"}, {"base": "variing"}, {"inference": "analytical"}],
    ids=str,
)
def test_unknown_words_are_refused(options):
    """A slip of the finger does not choose another method in silence."""
    with pytest.raises(UpliftlabError):
        did(table(), "sales", **options, **KEYS).average()


def test_an_unknown_kind_is_refused():
    """There is no average called events."""
    with pytest.raises(UpliftlabError):
        FOUND.to_pandas("events")


@pytest.mark.parametrize("options", [{"anticipation": -1}, {"level": 95}], ids=str)
def test_impossible_numbers_are_refused(options):
    """Anticipation below zero makes a treated period the base; a level is a share."""
    with pytest.raises(UpliftlabError):
        did(table(), "sales", **options, **KEYS).to_pandas("simple")


def test_a_start_after_the_panel_that_was_announced_in_it_is_nobody_s_control():
    """Told in the last two periods: there it is no control, as if it started within."""
    cohort = np.repeat(np.where(COHORT == 0, LENGTH + 2, COHORT), LENGTH)
    rows = table(cohort=cohort)
    told = did(rows, "sales", **KEYS, anticipation=2).effects
    loud = rows.assign(
        sales=rows.sales + 1e6 * ((rows.cohort == LENGTH + 2) & (rows.week > LENGTH - 1))
    )
    again = did(loud, "sales", **KEYS, anticipation=2).effects

    assert again.att[told.forms.known] == pytest.approx(told.att[told.forms.known], abs=1e-6)
    assert not told.forms.known.all()
    assert did(rows, "sales", **KEYS).effects.forms.known.all()


def test_covariates_compare_with_those_alike():
    """A covariate that bends trends biases the plain comparison, and not the adjusted one."""
    rng = np.random.default_rng(4)
    count = 400
    size = rng.normal(size=count)
    start = np.where(rng.random(count) < 1 / (1 + np.exp(-size)), 4, 0)
    week = np.tile(np.arange(1, 7), count)
    rows = pd.DataFrame(
        {
            "shop": np.repeat(np.arange(count), 6), "week": week,
            "cohort": np.repeat(start, 6), "size": np.repeat(size, 6),
        }
    )  # fmt: skip
    on = (rows.cohort > 0) & (rows.week >= rows.cohort)
    rows["sales"] = rows["size"] * rows.week + 2.0 * on + 0.1 * rng.normal(size=len(rows))

    plain = did(rows, "sales", **KEYS).average().value[0]
    for method in ("dr", "reg", "ipw"):
        found = did(rows, "sales", **KEYS, covariates=["size"], method=method)
        joint = found.average()
        # Weighting balances the covariate in expectation only.
        assert abs(joint.value[0] - 2) < (0.02 if method != "ipw" else 0.5)
        assert set(found.to_pandas("dynamic").columns) == set(found.to_pandas("group").columns)
    assert plain > 3
    assert "effect" in did(rows, "sales", **KEYS, covariates="size")._repr_html_()


def test_a_covariate_that_is_no_number_is_refused():
    """Text and gaps in a covariate are named."""
    rows = table(region=np.repeat(["a", "b"] * (UNITS // 2), LENGTH))
    holes = table(area=np.repeat(np.where(np.arange(UNITS) == 3, np.nan, 1.0), LENGTH))

    assert "'region'" in refusal(rows, covariates="region")
    assert "'area'" in refusal(holes, covariates="area")
    assert "Did you mean 'dr'" in refusal(
        table(), kind=UpliftlabError, covariates="cost", method="drr"
    )
