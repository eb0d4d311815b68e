"""Raw columns become the same numbers when learning and when scoring."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from upliftlab.errors import DataError
from upliftlab.targeting.features import Encoding, check_unseen, fit_encoding


@pytest.fixture
def raw():
    return {
        "days": np.array([3.0, np.nan, np.inf, 9.0]),
        "is_member": np.array([True, False, True, True]),
        "city": pa.array(["A", "B", None, "A"]),
        "joined": np.array(["1970-01-02", "NaT", "1970-01-04", "1970-01-02"], "datetime64[D]"),
        "shop": np.array([1, 1, 1, 1]),
        "empty": np.array([np.nan] * 4),
    }


def test_each_kind_of_column_has_its_numbers(raw):
    """Numbers stay, flags are 0 and 1, dates are days, texts are indicators, gaps are NaN."""
    found = fit_encoding(raw)
    matrix = found.matrix(raw)

    assert found.names == (
        "days", "is_member", "city = A", "city = (missing)", "city = B", "joined",
    )  # fmt: skip
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix[:, 0], np.float32([3, np.nan, np.nan, 9]))
    np.testing.assert_array_equal(matrix[:, 1], [1, 0, 1, 1])
    np.testing.assert_array_equal(matrix[:, 2:5].argmax(axis=1), [0, 2, 1, 0])
    np.testing.assert_array_equal(matrix[:, 5], np.float32([1, np.nan, 3, 1]))


def test_columns_that_tell_nothing_are_dropped_with_a_reason(raw):
    """Constant and always missing columns are left out, and say why."""
    assert fit_encoding(raw).dropped == {
        "shop": "does not vary",
        "empty": "is always missing",
    }


def test_a_stored_encoding_gives_the_same_matrix(raw):
    """What JSON holds is the whole encoding."""
    found = fit_encoding(raw)
    read = Encoding.from_dict(json.loads(json.dumps(found.to_dict())))

    assert read == found
    np.testing.assert_array_equal(read.matrix(raw), found.matrix(raw))


def test_arrow_and_numpy_agree(raw):
    """A column means the same in both libraries."""
    arrow = {
        name: column if name == "city" else pa.array(column) for name, column in raw.items()
    }
    found = fit_encoding(raw)

    np.testing.assert_array_equal(found.matrix(arrow), found.matrix(raw))
    assert fit_encoding(arrow) == found


def test_an_unseen_level_is_none_of_the_known_and_is_counted(raw):
    """A new city is 0 everywhere, and a check says how many customers have one."""
    found = fit_encoding(raw)
    new = {**raw, "city": pa.array(["Z", "B", "A", "Z"])}

    assert (found.matrix(new)[[0, 3], 2:5] == 0).all()
    assert found.unseen(new) == {"city": 2}
    assert check_unseen(found, new).verdict == "warn"
    assert check_unseen(found, raw).verdict == "pass"


def test_of_two_levels_only_the_rarer_has_an_indicator():
    """Yes and no need one column, whose reference is known."""
    found = fit_encoding({"member": np.array(["yes", "no", "no"])})

    assert found.names == ("member = yes",)
    assert found.unseen({"member": np.array(["no", "yes", "maybe"])}) == {"member": 1}


def test_rare_levels_are_put_together():
    """Levels beyond the most frequent are other: 0 in every indicator."""
    cities = np.array(["A"] * 5 + ["B"] * 4 + ["C"] * 3 + ["D"])
    found = fit_encoding({"city": cities}, most_levels=2)

    assert found.names == ("city = A", "city = B")
    assert found.columns[0].has_other
    assert (found.matrix({"city": np.array(["C", "new"])}) == 0).all()


def test_a_column_of_ids_is_dropped():
    """Texts that hardly repeat name customers, not groups."""
    found = fit_encoding({"id": np.array([f"u{i}" for i in range(50)]), "x": np.arange(50)})

    assert found.dropped["id"].startswith("names single customers")


def test_linear_positions_leave_out_what_adds_up_to_one(raw):
    """Of indicators that cover all customers, a linear model gets one less."""
    found = fit_encoding(raw)

    assert found.linear == (0, 1, 3, 4, 5)


def test_text_in_place_of_numbers_is_refused(raw):
    """Scoring needs the kinds that were learned on."""
    found = fit_encoding(raw)

    with pytest.raises(DataError, match="'days'"):
        found.matrix({**raw, "days": np.array(["a", "b", "c", "d"])})
    with pytest.raises(DataError, match="needs column 'days'"):
        found.matrix({"is_member": np.array([1])})


def test_nothing_left_is_refused():
    """Without a column that varies there is no rule."""
    with pytest.raises(DataError, match="'shop' does not vary"):
        fit_encoding({"shop": np.ones(3)})
