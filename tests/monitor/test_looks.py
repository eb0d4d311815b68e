"""Looks on ready units: what is read when, what adds up, what is refused."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest
from tests.monitor.conftest import PLAN, unit_table

from upliftlab.errors import UpliftlabError
from upliftlab.experiment import Experiment
from upliftlab.monitor.answer import BROKEN, GAIN, KEEP, OVER, WAIT, Monitoring
from upliftlab.monitor.run import look, recall


def day(n: int) -> date:
    return date(2026, 6, n)


def test_looks_added_up_equal_one_reading_of_everything(plan, units, tmp_path):
    """Three looks with a state say what one look at the last day says, to the last digit."""
    state = tmp_path / "looks.npz"
    for n in (9, 12, 16):
        found = look(plan, {"units": units}, state=state, as_of=day(n))
    whole = look(plan, {"units": units}, as_of=day(16))

    assert len(found.looks) == 3
    one, other = found.now.profit_of("coupon"), whole.now.profit_of("coupon")
    assert found.now.n == whole.now.n
    assert one.estimate == pytest.approx(other.estimate, rel=1e-9)
    assert one.std_error == pytest.approx(other.std_error, rel=1e-9)
    assert one.skewness == pytest.approx(other.skewness, rel=1e-7)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), rel=1e-7)


def test_only_units_with_a_closed_window_count(plan, units):
    """On day 9 those of day 1 and 2 are closed after seven days, the rest is not."""
    found = look(plan, {"units": units}, as_of=day(9))
    closed = units[units["assigned_at"] < pd.Timestamp("2026-06-03", tz="Asia/Shanghai")]

    assert sum(found.now.n.values()) == len(closed)
    assert sum(found.now.assigned.values()) == 9 * 800


def test_before_the_first_permitted_look_nothing_is_said(plan):
    """With sixty customers a day and arm there are too few; the first day is told."""
    few = unit_table(per_day=120)
    found = look(plan, {"units": few}, as_of=day(9))

    assert found.state == WAIT
    assert found.now.readings == ()
    assert found.waiting == {}
    assert "customers with a closed window of 250 needed" in found.now.missing
    first = date.fromisoformat(found.first_look)
    assert found.next_look == found.first_look
    assert min(look(plan, {"units": few}, as_of=first).now.n.values()) >= 250


def test_a_large_gain_stops_the_test_and_stays_stopped(plan, tmp_path):
    """Ten yuan more per buyer and 800 customers a day: crossed, whatever comes later."""
    rich = unit_table(effect=60.0)
    state = tmp_path / "looks.npz"
    found = look(plan, {"units": rich}, state=state, as_of=day(14))

    assert found.state == GAIN
    assert found.stopped == "2026-06-14"
    assert found.now.profit_of("coupon").low > 0
    again = recall(plan, state)
    assert again.to_dict() == found.to_dict()


def test_looking_twice_on_one_day_is_one_look(plan, units, tmp_path):
    """The same day again reads nothing and says the same."""
    state = tmp_path / "looks.npz"
    one = look(plan, {"units": units}, state=state, as_of=day(12))
    two = look(plan, {"units": units}, state=state, as_of=day(12))

    assert two.to_dict() == one.to_dict()


def test_a_planned_last_look_ends_the_test(units, tmp_path):
    """All planned customers were read and all windows closed: over, a later look is refused."""
    plan = Experiment.from_text(PLAN.replace("every: 1 day", "method: group_sequential"))
    state = tmp_path / "looks.npz"
    look(plan, {"units": units}, state=state, as_of=day(13))
    last = look(plan, {"units": units}, state=state, as_of=day(20))

    assert last.state == OVER
    assert last.next_look == ""
    with pytest.raises(UpliftlabError) as caught:
        look(plan, {"units": units}, state=state, as_of=day(21))
    assert str(caught.value) == (
        "the last look, on 2026-06-20, ended the test: all windows are closed. Its answer is "
        "the analysis: use upliftlab run."
    )


def test_group_sequential_bounds_spend_what_is_planned(units, tmp_path):
    """Two looks: bounds are those of the two shares of information."""
    from upliftlab.stats.group_sequential import bounds_by_spending
    from upliftlab.stats.spending import Spending

    text = PLAN.replace("every: 1 day", "method: group_sequential, spending: pocock")
    plan = Experiment.from_text(text)
    state = tmp_path / "looks.npz"
    for n in (12, 14):
        found = look(plan, {"units": units}, state=state, as_of=day(n))

    shares = [each.fraction["coupon"] for each in found.looks]
    expected = bounds_by_spending(Spending(family="pocock"), shares).upper
    assert [each.profit_of("coupon").bound for each in found.looks] == pytest.approx(expected)
    assert found.state == KEEP


def test_time_does_not_run_backwards(plan, units, tmp_path):
    """A look before the last one is refused, with both days."""
    state = tmp_path / "looks.npz"
    look(plan, {"units": units}, state=state, as_of=day(12))

    with pytest.raises(UpliftlabError) as caught:
        look(plan, {"units": units}, state=state, as_of=day(11))
    assert str(caught.value) == (
        "a look as of 2026-06-11 was asked for, and the last look knew the facts up to "
        "2026-06-12; looks go forward in time. Leave --as-of out, or start again with another "
        "--state."
    )


def test_rows_that_arrive_late_are_read_with_their_days(plan, units, tmp_path):
    """A hundred assignments of day 2 come in after it was read: a warning, and all count."""
    state = tmp_path / "looks.npz"
    early = units.drop(units[units["assigned_at"].dt.day == 2].index[:100])
    look(plan, {"units": early}, state=state, as_of=day(10))
    found = look(plan, {"units": units}, state=state, as_of=day(11))
    whole = look(plan, {"units": units}, as_of=day(11))

    [late] = [check for check in found.checks if check.name == "late_rows"]
    assert late.verdict == "warn"
    assert late.message == (
        "Late rows: 100 of units came after their customers had been read; customers assigned "
        "on 2026-06-01, 2026-06-02, 2026-06-03 were read again, and what earlier looks said "
        "stands."
    )
    assert found.now.n == whole.now.n
    assert found.now.assigned == whole.now.assigned
    assert found.now.profit_of("coupon").estimate == pytest.approx(
        whole.now.profit_of("coupon").estimate, rel=1e-9
    )


def test_rows_that_went_are_told_and_what_was_read_of_them_stays(plan, units, tmp_path):
    """Old rows are deleted: a warning, and the same numbers as with them."""
    state = tmp_path / "looks.npz"
    look(plan, {"units": units}, state=state, as_of=day(10))
    kept = units.drop(units[units["assigned_at"].dt.day == 1].index)
    found = look(plan, {"units": kept}, state=state, as_of=day(11))

    assert (
        "Rows gone: 800 of units were there at an earlier look; what was read of them stays."
        in [check.message for check in found.checks]
    )
    assert sum(found.now.n.values()) == 4 * 800


def test_a_changed_plan_is_refused_where_looks_are_bound_to_it(plan, units, tmp_path):
    """The window cannot move after the first look; a hurdle can, and is listed."""
    state = tmp_path / "looks.npz"
    look(plan, {"units": units}, state=state, as_of=day(10))

    with pytest.raises(UpliftlabError) as caught:
        look(plan.replace(follow_up="5 days"), {"units": units}, state=state, as_of=day(11))
    assert str(caught.value) == (
        "the plan changed after the first look: follow_up; looks made under two plans do not "
        "add up. Put the plan back, or start again with another --state and say so."
    )
    softer = plan.replace(decide={"worth_it": "1 yuan"})
    found = look(softer, {"units": units}, state=state, as_of=day(11))
    assert "Changed after the first look: decide.worth_it." in [c.message for c in found.checks]


def test_lost_customers_break_the_sample_ratio_at_any_time(plan, units):
    """A fifth of one arm missing is found whenever one looks."""
    lost = units.drop(units[units["arm"] == "coupon"].index[::5])
    found = look(plan, {"units": lost}, as_of=day(12))

    assert found.state == BROKEN
    assert found.checks[0].verdict == "fail"
    assert found.checks[0].value < 0.001


def test_a_plan_without_looks_cannot_be_watched(plan, units):
    """The plan must say before the first look how it may be looked at."""
    with pytest.raises(UpliftlabError) as caught:
        look(plan.replace(looks=None), {"units": units}, as_of=day(12))

    assert str(caught.value) == (
        "experiment 'watched' has no looks; add for example looks: {planned: 400000} before "
        "the first look, or wait for the end and use upliftlab run."
    )


def test_units_without_a_day_cannot_be_watched(plan, units):
    """Without assigned_at nobody knows whose window is closed."""
    with pytest.raises(UpliftlabError, match="looks at source 'units'"):
        look(plan, {"units": units.drop(columns="assigned_at")}, as_of=day(12))


def test_a_broken_state_is_refused(plan, units, tmp_path):
    """Half a file is no state, and is not overwritten."""
    state = tmp_path / "looks.npz"
    look(plan, {"units": units}, state=state, as_of=day(10))
    half = state.read_bytes()[:500]
    state.write_bytes(half)

    with pytest.raises(UpliftlabError, match="not a file of looks"):
        look(plan, {"units": units}, state=state, as_of=day(11))
    assert state.read_bytes() == half


def test_fixed_horizon_numbers_are_withheld(plan, units):
    """No 95 % interval for one look is in the answer, and the reason is."""
    found: Monitoring = look(plan, {"units": units}, as_of=day(12))
    plain = found.to_dict()

    assert plain["fixed_horizon"] is None
    assert "withheld" in plain["fixed_horizon_is"]
    assert "no evidence for stopping early" in plain["waiting_is"]
