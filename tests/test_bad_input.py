"""What goes wrong in shops: an error that says what to do, or a check; never a traceback."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from upliftlab import analysis
from upliftlab.errors import DataError, DefinitionError
from upliftlab.experiment import Experiment

ARMS = {"none": {"share": "50%", "control": True}, "coupon": {"share": "50%"}}


def plan(**changes):
    written = {
        "name": "units",
        "kind": "custom",
        "arms": ARMS,
        "costs": {"margin": "35%"},
        "covariates": "none",
    }
    return Experiment(**(written | changes))


def units(**columns):
    """A unit table of 40 customers whose sales vary."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "unit": [f"u{i}" for i in range(40)],
            "arm": ["none", "coupon"] * 20,
            "gmv_merchant_fen": rng.integers(0, 20_000, 40),
        }
    )
    return frame.assign(**columns)


def run(frame, **changes):
    return analysis.run(plan(**changes), {"units": frame})


def check(found, name):
    return next(each for each in found.checks if each.name == name)


def test_an_empty_file(tmp_path):
    """No bytes at all is an empty table."""
    (tmp_path / "units.csv").touch()

    with pytest.raises(DataError) as error:
        analysis.run(plan(data={"units": {"file": str(tmp_path / "units.csv")}}))

    assert str(error.value) == "table 'units' has no rows."


@pytest.mark.parametrize("name", ["units.csv", "units.parquet"])
def test_a_file_with_a_header_only(tmp_path, name):
    """Columns without rows are an empty table too."""
    path = tmp_path / name
    units()[:0].astype(str).to_csv(path, index=False) if name.endswith("csv") else units()[
        :0
    ].to_parquet(path)

    with pytest.raises(DataError) as error:
        analysis.run(plan(data={"units": {"file": str(path), "money": "fen"}}))

    assert str(error.value) == "table 'units' has no rows."


@pytest.mark.parametrize("name", ["units.parquet", "units.xlsx"])
def test_a_file_that_is_something_else(tmp_path, name):
    """Bytes that are neither Parquet nor a workbook: which file, and what the reader said."""
    (tmp_path / name).write_bytes(b"PK\x03\x04 this is no table")

    with pytest.raises(DataError, match="could not be read from"):
        analysis.run(plan(data={"units": {"file": str(tmp_path / name), "money": "fen"}}))


def test_a_file_that_is_not_there(tmp_path):
    """The error repeats the name as the plan has it."""
    with pytest.raises(DataError) as error:
        analysis.run(plan(data={"units": {"file": str(tmp_path / "gone.csv")}}))

    assert "no such file is there" in str(error.value)


def test_text_where_numbers_should_be():
    """Counts that are words are refused with their number."""
    with pytest.raises(DataError) as error:
        run(units(orders="many"))

    assert str(error.value) == (
        "column 'orders' of table 'units' has 40 values that cannot be read as numbers; "
        "correct them or leave them blank."
    )


def test_a_date_where_money_should_be():
    """The kind of a column is checked before its values."""
    with pytest.raises(DataError, match=r"'gmv_merchant_fen' of table 'units' is timestamp"):
        run(units(gmv_merchant_fen=pd.Timestamp("2026-06-01")))


def test_a_column_of_mixed_kinds():
    """Half text, half numbers: refused, since nobody knows which half is right."""
    with pytest.raises(DataError) as error:
        run(units(gmv_merchant_fen=[1, "2"] * 20))

    assert str(error.value) == (
        "column 'gmv_merchant_fen' of table 'units' is of mixed kinds; it must be of one kind, "
        "such as text."
    )


def test_missing_money_is_counted_per_arm():
    """Units without an outcome are set aside and compared between arms, never read as 0."""
    frame = units(gmv_merchant_fen=units()["gmv_merchant_fen"].astype(float))
    frame.loc[[1, 3, 5], "gmv_merchant_fen"] = np.nan
    found = run(frame)

    assert found.facts.missing == {"coupon": 3, "none": 0}
    assert [each.rows for each in found.facts.set_aside] == [3]
    missing = check(found, "missing_outcomes")
    assert missing.verdict == "warn"
    assert missing.message.startswith("Outcomes are missing for none 0.00%, coupon 15.00%")


def test_missing_outcomes_that_differ_between_arms_leave_no_verdict():
    """Attrition in one arm only is blocking."""
    frame = units(gmv_merchant_fen=units()["gmv_merchant_fen"].astype(float))
    frame.loc[frame["arm"] == "coupon", "gmv_merchant_fen"] = [np.nan] * 15 + [1.0] * 5
    found = run(frame)

    assert check(found, "missing_outcomes").is_blocking
    assert found.decisions[0].verdict == "no verdict" or not found.is_valid


def test_negative_sales_are_refused():
    """Sales before anything is taken off cannot be below zero."""
    with pytest.raises(DataError, match=r"'gmv_merchant' of table 'units' is below zero in 40"):
        run(units(gmv_merchant_fen=-5))


def test_units_twice_with_one_outcome_count_once():
    """An overlapping export repeats rows byte for byte: a check says how many."""
    frame = pd.concat([units(), units()[:4]])
    found = run(frame)

    assert found.facts.assigned == {"none": {"": 20}, "coupon": {"": 20}}
    assert check(found, "cross_arm").message == (
        "Assignment: 0 customers were in two arms and are set aside (0.00%); 4 repeated "
        "assignments count once."
    )


def test_units_twice_with_two_outcomes_are_refused():
    """One row per unit is what a unit table is: neither the first nor the sum is right."""
    frame = pd.concat([units(), units(gmv_merchant_fen=7)[:2]])

    with pytest.raises(DataError) as error:
        run(frame)

    assert str(error.value) == (
        "table 'units' has 2 rows whose 'unit' came before, such as 'u0'; each 'unit' must "
        "come once."
    )


def test_units_in_two_arms_belong_to_no_comparison():
    """They are set aside, counted, and more than 1 % of them leave no verdict."""
    frame = pd.concat([units(), units(arm="coupon")[:1]])
    found = run(frame)
    crossing = check(found, "cross_arm")

    assert sum(found.facts.assigned["none"].values()) == 19
    assert crossing.is_blocking
    assert "1 customers were in two arms" in crossing.message


def test_unknown_arms():
    """An arm that the plan does not have is refused with the nearest one."""
    with pytest.raises(DataError) as error:
        run(units(arm=["none", "cuopon"] * 20))

    assert str(error.value) == (
        "table 'units' has arms ['cuopon'] that the plan does not; the plan has "
        "['coupon', 'none']. Did you mean 'coupon'?"
    )


def test_an_arm_that_nobody_is_in():
    """A plan's arm without a single unit is an error, not an effect of 0."""
    with pytest.raises(DataError) as error:
        run(units(arm="none"))

    assert str(error.value) == (
        "table 'units' has no usable unit in arms ['coupon'] of the plan; check how the table "
        "writes them, and the run dates."
    )


def test_one_unit_per_arm_has_no_interval():
    """One unit has no variance: numbers that do not exist are NaN with a note."""
    found = run(units()[:2])
    effect = found.profits[0].profit

    assert math.isnan(effect.ci_low)
    assert effect.note


@pytest.mark.parametrize("amount", [0, 500, 100_000_000_000])
def test_constant_outcomes_have_no_interval(amount):
    """Nothing varies, so nothing can be said about chance."""
    found = run(units(gmv_merchant_fen=amount))
    effect = found.profits[0].profit

    assert math.isnan(effect.p_value)
    assert effect.note


def test_a_billion_on_top_changes_no_error():
    """Adding a billion yuan to everybody shifts means and leaves every interval as it was."""
    low = run(units()).profits[0].profit
    base = units()["gmv_merchant_fen"].astype("int64")
    high = run(units(gmv_merchant_fen=base + 100_000_000_000)).profits[0].profit

    assert high.estimate == pytest.approx(low.estimate, abs=1e-3)
    assert high.std_error == pytest.approx(low.std_error, rel=1e-6)


def test_yuan_where_fen_was_said():
    """Amounts with cents in a column of fen are refused."""
    with pytest.raises(DataError, match="write money: yuan if the column is in yuan"):
        run(units(gmv_merchant_fen=np.linspace(0, 199.5, 40)))


def test_a_yaml_bomb():
    """Aliases that multiply are refused before they grow."""
    layers = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 12))

    with pytest.raises(DefinitionError):
        Experiment.from_text(f"l0: &l0 [x, x]\n{layers}\n")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "<script>alert(1)</script>", ""])
def test_names_that_are_paths_or_markup(name):
    """A name becomes a folder and a title: letters, digits, - and _ only."""
    with pytest.raises(DefinitionError):
        plan(name=name)


def test_markup_in_data_stays_text():
    """Segments and arms may hold anything; nothing is interpreted on the way."""
    evil = "<img src=x onerror=alert(1)>"
    frame = units(city=[evil, "x", "x", evil] * 10)
    found = run(frame, decide={"segments": ["city"]})

    assert {segment.level for segment in found.segments} >= {evil}


def test_nothing_is_overwritten(tmp_path):
    """Reading a folder leaves it as it was."""
    units().to_parquet(tmp_path / "units.parquet")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    analysis.run(plan(data={"units": {"file": str(tmp_path / "units.parquet")}}))

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_segment_that_names_customers():
    """More than 50 levels is no segment."""
    frame = pd.concat([units(), units(unit=[f"v{i}" for i in range(40)])])
    frame["city"] = [f"c{i}" for i in range(80)]

    with pytest.raises(DataError) as error:
        run(frame, decide={"segments": ["city"]})

    assert str(error.value) == (
        "segment 'city' has 80 levels; a segment may have 50. Group them, such as cities into "
        "tiers."
    )


def test_a_text_covariate():
    """Words cannot reduce variance; they can be a segment."""
    with pytest.raises(DataError) as error:
        run(units(city="x"), covariates=["city"])

    assert str(error.value) == (
        "column 'city' of table 'users' is text; it must be numbers or yes/no; declare text as "
        "a segment."
    )


def test_numbers_written_as_text_are_covariates():
    """A CSV has texts only; what reads as numbers, or yes and no, is a covariate."""
    frame = units(age=[str(i) for i in range(40)], member=["是", "否", "-", "是"] * 10)
    found = run(frame, covariates=["age", "member"])

    assert np.isfinite(found.profits[0].profit.std_error)
