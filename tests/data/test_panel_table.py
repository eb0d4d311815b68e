"""A long table becomes a panel, or says what is wrong with it."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from upliftlab.data.engine import embedded
from upliftlab.data.panel import NEVER
from upliftlab.data.panel_table import read_panel
from upliftlab.errors import DataError


@pytest.fixture
def engine():
    """An embedded engine, closed after use."""
    opened = embedded(threads=1)
    yield opened
    opened.close()


def rows(**changes):
    """Two shops, three weeks; b starts in week 2 and a never."""
    made = {
        "shop": ["b", "a", "b", "a", "b", "a"],
        "week": [1, 1, 2, 2, 3, 3],
        "sales": [10.0, 1.0, 20.0, 2.0, 30.0, 3.0],
        "orders": [1, 0, 2, 0, 3, 0],
        "cohort": [2, 0, 2, 0, 2, 0],
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


def panel(engine, table=None, waves=None, **options):
    """Read rows with the usual columns."""
    given = {"unit": "shop", "period": "week", "components": ["sales"]}
    if waves is not None:
        given["waves"] = engine.text_table(pa.table(waves), "waves")
    elif "treated" not in options:
        given["start"] = "cohort"
    made = engine.text_table(pa.table(table or rows()), "rows")
    return read_panel(engine, made, **(given | options))


def refusal(engine, table=None, **options):
    """The whole text of the error."""
    with pytest.raises(DataError) as caught:
        panel(engine, table, **options)
    return str(caught.value)


def test_rows_in_any_order_become_units_by_periods_by_components(engine):
    """Units come in the order of their ids, components as asked, periods in time."""
    found = panel(engine, components=["orders", "sales"])

    assert found.units.tolist() == ["a", "b"]
    assert found.periods == ("1", "2", "3")
    assert found.names == ("orders", "sales")
    assert found.y[:, :, 1].tolist() == [[1, 2, 3], [10, 20, 30]]
    assert found.y[1, :, 0].tolist() == [1, 2, 3]
    assert found.start.tolist() == [NEVER, 1]
    assert found.cluster.tolist() == [0, 1]
    assert found.weight.tolist() == [1, 1]
    assert found.notes == ()


def test_names_may_be_words_of_sql_or_chinese(engine):
    """A column called class, one with spaces, one in Chinese."""
    old = rows()
    table = {"class": old["shop"], "支付 周": old["week"], 'net "sales"': old["sales"]}
    found = panel(
        engine,
        table | {"order": old["cohort"]},
        unit="class",
        period="支付 周",
        components=['net "sales"'],
        start="order",
    )

    assert found.y[:, :, 0].tolist() == [[1, 2, 3], [10, 20, 30]]


@pytest.mark.parametrize(
    "never",
    [
        [None] * 6,
        [0.0] * 6,
        [math.inf] * 6,
        [math.nan] * 6,
    ],
)
def test_empty_zero_and_infinity_mean_never(engine, never):
    """Each of the codes alone is read without a word."""
    cohort = [
        own if shop == "a" else 2.0 for own, shop in zip(never, rows()["shop"], strict=True)
    ]
    found = panel(engine, rows(cohort=cohort))

    assert found.start.tolist() == [NEVER, 1]
    assert found.notes == ()


def test_a_start_as_text_is_read_and_a_blank_is_never(engine):
    """Exports write everything as text."""
    found = panel(engine, rows(cohort=["2", "", "2", "NA", "2 ", ""]))

    assert found.start.tolist() == [NEVER, 1]


def test_mixed_codes_of_never_are_counted(engine):
    """Null beside 0 is legal, and said."""
    found = panel(engine, rows(cohort=[2, 0, 2, None, 2, 0]))

    assert found.start.tolist() == [NEVER, 1]
    assert found.notes == (
        "start 'cohort' says never treated in several ways: empty in 1 rows, 0 in 2 rows",
    )


def test_a_start_outside_the_panel_has_a_rule_and_is_counted(engine):
    """Before the first period is treated throughout; after the last is not treated here."""
    found = panel(engine, rows(week=[11, 11, 12, 12, 13, 13], cohort=[14, 5, 14, 5, 14, 5]))

    assert found.start.tolist() == [0, NEVER]
    assert found.notes == (
        (
            "start 'cohort' is before the first period in 3 rows; these units count as treated "
            "throughout"
        ),
        (
            "start 'cohort' is after the last period in 3 rows; these units count as not "
            "treated in "
            "the panel"
        ),
    )


def test_zero_is_refused_where_it_could_be_a_period(engine):
    """With periods 0, 1, 2 a start of 0 is either never or always."""
    assert refusal(engine, rows(week=[0, 0, 1, 1, 2, 2])) == (
        "start 'cohort' is 0 in 3 rows, and 0 is also a period of 'week'; leave it empty for "
        "units never treated, or number the periods from 1."
    )


def test_a_negative_start_is_refused(engine):
    """A code of -1 is nobody's convention for long."""
    assert refusal(engine, rows(cohort=[2, -1, 2, -1, 2, -1])) == (
        "start 'cohort' is below zero in 3 rows, such as -1; write the period in which "
        "treatment starts, and leave it empty for units never treated."
    )


def weeks(*days):
    return [day for day in days for _ in range(2)]


MONDAYS = weeks(date(2026, 1, 5), date(2026, 1, 12), date(2026, 1, 19))


def test_weeks_are_mondays_and_a_start_belongs_to_the_week_that_contains_it(engine):
    """A Wednesday start makes its own week the first treated, and says so."""
    cohort = [date(2026, 1, 14), None] * 3
    found = panel(engine, rows(week=MONDAYS, cohort=cohort))

    assert found.periods == ("2026-01-05", "2026-01-12", "2026-01-19")
    assert found.start.tolist() == [NEVER, 1]
    assert found.notes == (
        (
            "start 'cohort' lies within a period in 3 rows; the period that contains it "
            "counts as "
            "treated"
        ),
    )


def test_a_week_that_begins_on_sunday_is_refused(engine):
    """Shifting it silently would move every start by a week."""
    sundays = [day - timedelta(days=1) for day in MONDAYS]

    assert refusal(engine, rows(week=sundays, cohort=[None] * 6), calendar="week") == (
        "period 'week' has 2026-01-04, a Sunday; a week is written as its Monday, here "
        "2025-12-29. Add days up to weeks first; other weeks need calendar='day'."
    )


def test_month_ends_are_months(engine):
    """January to March are equally spaced, whatever their days."""
    ends = weeks(date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31))
    found = panel(engine, rows(week=ends, cohort=[date(2026, 2, 1), None] * 3))

    assert found.periods == ("2026-01", "2026-02", "2026-03")
    assert found.start.tolist() == [NEVER, 1]


def test_quarters_as_fractions_of_years_are_periods(engine):
    """2004, 2004.25 and 2004.5 are equally spaced; a start between is the next one."""
    quarters = weeks(2004.0, 2004.25, 2004.5)
    found = panel(engine, rows(week=quarters, cohort=[2004.3, 0.0] * 3))

    assert found.periods == ("2004", "2004.25", "2004.5")
    assert found.start.tolist() == [NEVER, 2]
    assert found.notes == (
        "start 'cohort' lies within a period in 3 rows; the next period is the first treated",
    )


def test_a_gap_in_the_calendar_is_refused(engine):
    """A week that no shop has would shift all later ones."""
    assert refusal(engine, rows(week=weeks(1, 2, 4))) == (
        "period 'week' runs from 1 to 4 and no row has 3; add the rows, with zeros if "
        "nothing happened in them."
    )
    found = panel(engine, rows(week=weeks(1, 2, 4)), absent="zero")

    assert found.y[1, :, 0].tolist() == [10, 20, 0, 30]
    assert found.notes == (
        "1 periods have no row of any unit; they are zeros",
        "2 unit-periods without a row are zeros, in 2 of 2 units",
    )


def test_year_and_month_in_one_number_are_refused(engine):
    """202601 does not follow 202512 by one."""
    assert refusal(engine, rows(week=weeks(202511, 202512, 202601))) == (
        "period 'week' runs from 202511 to 202601 and no row has 202513, 202514, 202515 and 85 "
        "more; write dates instead of year and month (or week) in one number."
    )


def test_uneven_and_textual_periods_are_refused(engine):
    """Whoever reads them needs an order and a distance."""
    assert refusal(engine, rows(week=weeks(1, 3, 6))) == (
        "period 'week' is not equally spaced: most steps are 2, and from 3 to 6 it is 3; "
        "number them 1, 2, 3 in order."
    )
    assert refusal(engine, rows(week=weeks("W1", "W2", "W10"))) == (
        "period 'week' is text, whose order nobody knows; read it as dates, or number the "
        "periods 1, 2, 3 in order."
    )
    assert refusal(engine, rows(week=weeks(1, 2, None))) == (
        "period 'week' is empty or infinite in 2 of 6 rows; fill it in, or leave these rows "
        "out."
    )
    hours = weeks(*(datetime(2026, 1, day, 8) for day in (1, 2, 3)))  # noqa: DTZ001 - shop time
    assert refusal(engine, rows(week=hours, cohort=[None] * 6)) == (
        "period 'week' has times within the day; write the date on which each period begins."
    )


def test_dates_and_numbers_do_not_mix(engine):
    """A cohort of 2 says nothing about dates."""
    assert refusal(engine, rows(week=MONDAYS)) == (
        "start 'cohort' cannot be read in 3 of 6 rows; period 'week' holds dates: write both "
        "the same way, and leave the start empty for units never treated."
    )
    assert refusal(engine, calendar="week") == (
        "calendar 'week' needs dates, and period 'week' holds numbers; write the first day of "
        "each week, or say calendar='integer'."
    )
    assert refusal(engine, calendar="weak") == (
        "calendar is 'weak'; it must be one of ['day', 'week', 'month', 'quarter', 'year', "
        "'integer']. Did you mean 'week'?"
    )


def test_repeated_unit_periods_are_refused(engine):
    """Adding them up, or dropping one, is the caller's decision."""
    assert refusal(engine, rows(week=[1, 1, 1, 2, 3, 3])) == (
        "1 rows repeat a 'shop' and 'week' that came before, such as 'b'; add up the rows of "
        "each unit and period first."
    )


def test_units_that_contradict_themselves_are_refused(engine):
    """Two starts, two clusters, two weights."""
    assert refusal(engine, rows(cohort=[2, 0, 3, 0, 2, 0])) == (
        "1 units have two starts in 'cohort', such as 'b'; every row of a unit carries the "
        "same start."
    )
    assert refusal(engine, rows(city=["x", "y", "x", "y", "x", "x"]), cluster="city") == (
        "1 units are in two clusters of 'city', such as 'a'; keep the cluster from before "
        "treatment."
    )
    assert refusal(engine, rows(w=[1, 1, 1, 1, 2, 1]), weight="w") == (
        "weight 'w' changes over time in 1 units, such as 'b'; a unit has one weight: take "
        "that of its first period."
    )
    assert refusal(engine, rows(w=[1, -1] * 3), weight="w") == (
        "weight 'w' is below zero in 3 rows; it must be zero or more."
    )


def test_what_cannot_be_used_is_named_and_counted(engine):
    """Empty ids and values that are no numbers."""
    assert refusal(engine, rows(shop=["b", None, "b", "a", "b", "a"])) == (
        "unit 'shop' is empty in 1 of 6 rows; every row belongs to a unit: fill it in, or "
        "leave these rows out."
    )
    bad = rows(sales=[math.nan, None, math.inf, 2.0, 30.0, 3.0], orders=[1, None, 2, 0, 3, 0])
    assert refusal(engine, bad, components=["sales", "orders"]) == (
        "of 6 rows, 'sales' is empty or not a number in 2 and 'sales' is infinite in 1 and "
        "'orders' is empty or not a number in 1; fill them with 0 where nothing happened, or "
        "leave these rows out and the unit counts as unobserved then."
    )
    assert refusal(engine, rows(city=["x", "y", "x", None, "x", "y"]), cluster="city") == (
        "cluster 'city' is empty in 1 of 6 rows; every row belongs to a cluster: fill it in, "
        "or leave these rows out."
    )
    assert refusal(engine, components=["sale"]) == (
        "a component of the panel needs column 'sale'; the table has ['cohort', 'orders', "
        "'sales', 'shop', 'week']. Did you mean 'sales'?"
    )
    assert refusal(engine, components=["shop"]) == (
        "column 'shop' of table 'panel' is string; it must be numbers."
    )
    assert refusal(engine, rows(shop=[2.0, 1.0] * 3)).startswith(
        "column 'shop' of table 'panel' holds ids as decimal numbers"
    )


def test_no_rows_are_refused(engine):
    """An empty table is a mistake, not an empty panel."""
    empty = {key: pa.array([], pa.array(value).type) for key, value in rows().items()}

    assert refusal(engine, empty) == (
        "the table of panel rows has no rows; it has ['cohort', 'orders', 'sales', 'shop', "
        "'week']."
    )


def gappy():
    """Shop b without week 2, shop c in week 2 only, shop a complete."""
    return {
        "shop": ["a", "a", "a", "b", "b", "c"],
        "week": [1, 2, 3, 1, 3, 2],
        "sales": [1.0, 2.0, 3.0, 10.0, 30.0, 7.0],
        "cohort": [0, 0, 0, 2, 2, 0],
    }


def test_absent_rows_are_unknown_zero_or_a_reason_to_leave_the_unit_out(engine):
    """Whichever it is, they are counted."""
    unknown = panel(engine, gappy())
    zero = panel(engine, gappy(), absent="zero")
    complete = panel(engine, gappy(), absent="complete")

    nan = math.nan
    np.testing.assert_array_equal(unknown.y[:, :, 0], [[1, 2, 3], [10, nan, 30], [nan, 7, nan]])
    assert zero.y[:, :, 0].tolist() == [[1, 2, 3], [10, 0, 30], [0, 7, 0]]
    assert complete.units.tolist() == ["a"]
    assert unknown.notes == (
        (
            "2 of 3 units have periods without a row, 3 in all: 1 enter late, 1 leave early, "
            "1 have "
            "holes between"
        ),
    )
    assert zero.notes == ("3 unit-periods without a row are zeros, in 2 of 3 units",)
    assert complete.notes == ("2 of 3 units have periods without a row and are left out",)
    assert refusal(engine, absent="zeros") == (
        "absent is 'zeros'; it must be one of ['unknown', 'zero', 'complete']. Did you mean "
        "'zero'?"
    )


def test_the_first_period_on_is_the_start(engine):
    """Where rows say on or off, the start is found."""
    found = panel(engine, rows(on=[False, False, True, False, True, False]), treated="on")

    assert found.start.tolist() == [NEVER, 1]
    assert found.notes == ()


def test_a_unit_that_turns_off_is_refused_unless_the_matrix_is_wanted(engine):
    """Then on and off become a component."""
    table = rows(on=[1, 0, 1, 0, 0, 0])

    assert refusal(engine, table, treated="on") == (
        "1 units are on and later off in 'on', such as 'b'; effects need treatment that stays "
        "on. Say absorbing=False for the on/off matrix."
    )
    found = panel(engine, table, treated="on", absorbing=False)

    assert found.names == ("sales", "on")
    assert found.y[:, :, 1].tolist() == [[0, 0, 0], [1, 1, 0]]
    assert found.start.tolist() == [NEVER, 0]
    assert found.notes == ("1 units turn off again; their start is the first period on",)


def test_marks_of_on_and_off_are_read_with_care(engine):
    """A dummy of the group, a start behind a gap, and a column that is no mark."""
    always = panel(engine, rows(on=[1, 0] * 3), treated="on")
    late = panel(engine, gappy() | {"on": [0, 0, 0, 0, 1, 0]}, treated="on")

    assert always.start.tolist() == [NEVER, 0]
    assert always.notes == (
        (
            "1 units are on in every period; name a start instead if 'on' marks a group and "
            "not the "
            "time of treatment"
        ),
    )
    assert late.notes[1] == (
        "1 units are first seen treated after a period without a row; their start may be "
        "earlier"
    )
    assert refusal(engine, treated="sales") == (
        "'sales' is neither 0 nor 1 in 5 rows, such as 2; on is 1 and off is 0."
    )
    assert refusal(engine, absorbing=False) == (
        "absorbing=False needs the column of on or off: name it as treated."
    )
    assert refusal(engine, start="cohort", treated="on", table=rows(on=[1, 0] * 3)) == (
        "a panel needs one of start, treated or waves to know who is treated when; it got "
        "['start', 'treated']."
    )


def cities():
    return rows(city=["north", "south"] * 3, cohort=None)


def test_waves_say_when_clusters_start(engine):
    """Every cluster of the panel is listed, once."""
    waves = {"cluster": ["south", "north", "west"], "starts_on": [None, 3, 2]}
    found = panel(engine, cities(), waves=waves, cluster="city")

    assert found.start.tolist() == [NEVER, 2]
    assert found.cluster.tolist() == [1, 0]
    assert refusal(engine, cities(), waves=waves) == (
        "waves say when clusters start; name the column of the cluster too."
    )
    assert refusal(
        engine, cities(), waves={"cluster": ["north"], "starts_on": [3]}, cluster="city"
    ) == (
        "1 clusters of the panel are not in the table of waves, such as 'south'; list them, "
        "with starts_on empty if they never start."
    )
    assert refusal(
        engine,
        cities(),
        waves={"cluster": ["north", "north", "south"], "starts_on": [3, 2, 1]},
        cluster="city",
    ) == (
        "1 clusters have several rows in the table of waves, such as 'north'; each cluster "
        "starts once."
    )
    assert refusal(
        engine, cities(), waves={"cluster": [1, 2], "starts_on": [3, 2]}, cluster="city"
    ) == (
        "cluster 'city' is string and 'cluster' of the waves is int64; write both as text or "
        "both as whole numbers."
    )


def test_covariates_are_those_of_the_first_period(engine):
    """What moves later may be an effect; it is counted."""
    found = panel(
        engine, rows(size=[5, 6, 7, 6, 9, 6], tier=[2, 1] * 3), covariates=["size", "tier"]
    )

    assert found.x.tolist() == [[6, 1], [5, 2]]
    assert found.notes == (
        "covariates change over time in 1 units; the value of the unit's first period counts",
    )


def test_rows_over_several_blocks_are_the_same_panel(engine, monkeypatch):
    """Units are never cut in two."""
    rng = np.random.default_rng(3)
    n, length = 50, 7
    unit, week = np.divmod(rng.permutation(n * length), length)
    table = {"shop": unit, "week": week + 1, "sales": 100.0 * unit + week, "cohort": unit % 4}
    whole = panel(engine, table)
    monkeypatch.setattr("upliftlab.data.panel_blocks.blocks.__defaults__", (30,))
    cut = panel(engine, table)

    expected = 100.0 * np.arange(n)[:, None] + np.arange(length)
    np.testing.assert_array_equal(whole.y[:, :, 0], expected)
    np.testing.assert_array_equal(cut.y, whole.y)
    np.testing.assert_array_equal(cut.start, whole.start)


def test_the_minimum_wage_panel_is_read_as_published(engine, shared_data):
    """500 counties in 2003-2007; 20, 40 and 131 treated in 2004, 2006, 2007 (Callaway and
    Sant'Anna 2021, the data set of their package)."""
    table = engine.backend.read_csv(str(shared_data("did/mpdta.csv")))
    found = read_panel(
        engine,
        table,
        unit="countyreal",
        period="year",
        components=["lemp"],
        start="first_treat",
        covariates=["lpop"],
    )

    assert found.shape == (500, 5, 1)
    assert found.is_balanced
    assert [int((found.start == g).sum()) for g in (1, 3, 4, NEVER)] == [20, 40, 131, 309]
    assert found.notes == ()
