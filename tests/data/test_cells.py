"""Moments of parts add up to moments of the whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

from upliftlab.data.cells import Cells
from upliftlab.stats import moments

columns = st.integers(1, 4)
values = st.floats(-1e3, 1e3)
offsets = st.sampled_from([0.0, 1e9, -1e9])


def cells_of(rows, codes, names=None):
    """Cells of rows [N, K] by two keys."""
    labels = sorted(set(codes))
    parts = [
        moments.of_rows(rows[[i for i, c in enumerate(codes) if c == label]])
        for label in labels
    ]
    return Cells(
        keys=("arm", "day"),
        labels=tuple(labels),
        names=names or tuple(f"y{i}" for i in range(rows.shape[1])),
        n=np.array([part[0] for part in parts]),
        mean=np.stack([part[1] for part in parts]),
        m2=np.stack([part[2] for part in parts]),
    )


@st.composite
def tables(draw):
    """Rows with labels of two keys and a common offset."""
    n, k = draw(st.integers(1, 40)), draw(columns)
    rows = draw(arrays(float, (n, k), elements=values)) + draw(offsets)
    label = st.tuples(st.sampled_from("ab"), st.sampled_from("123"))
    return rows, draw(st.lists(label, min_size=n, max_size=n))


def same(one, two, rows):
    """Equal labels and counts; moments to 1e-9 of their scale, offsets included."""
    reach = np.abs(rows - rows.mean(axis=0)).max() + 1e-9 * np.abs(rows).max()
    assert one.labels == two.labels
    assert one.n.tolist() == two.n.tolist()
    np.testing.assert_allclose(one.mean, two.mean, rtol=1e-12, atol=1e-12 * max(1, reach))
    scale = len(rows) * max(reach**2, 1e-300)
    np.testing.assert_allclose(one.m2, two.m2, rtol=1e-9, atol=1e-9 * scale)


@given(tables())
def test_parts_add_up_to_the_whole(table):
    """Collapsing cells is computing the coarser cells from the rows."""
    rows, codes = table
    fine = cells_of(rows, codes)
    coarse = cells_of(rows, [(arm, "") for arm, _ in codes])

    found = fine.collapse(["arm"])
    expected = coarse.collapse(["arm"])
    same(found, expected, rows)


@given(tables(), st.integers(0, 39))
def test_a_later_look_is_the_sum_of_two_looks(table, cut):
    """Merged looks equal recomputation from all rows."""
    rows, codes = table
    cut = min(cut, len(rows))
    if 0 < cut < len(rows):
        both = cells_of(rows[:cut], codes[:cut]) + cells_of(rows[cut:], codes[cut:])
        same(both, cells_of(rows, codes), rows)


@given(tables(), st.randoms())
def test_order_does_not_matter(table, random):
    """Shuffled rows and shuffled cells have the same moments."""
    rows, codes = table
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = cells_of(rows[order], [codes[i] for i in order])

    same(shuffled.collapse(["day"]), cells_of(rows, codes).collapse(["day"]), rows)


@given(tables())
def test_adding_is_commutative(table):
    """One look plus another is the other plus the one."""
    rows, codes = table
    half = len(rows) // 2
    if half:
        one, two = cells_of(rows[:half], codes[:half]), cells_of(rows[half:], codes[half:])
        same(one + two, two + one, rows)


@settings(max_examples=30)
@given(st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_large_offsets_keep_their_digits(n, seed):
    """Money of up to 100 yuan on top of 1e9 fen has the variance that it has without it.

    A mean near 1e9 is itself rounded at 1e-7, so outcomes that spread by 1 keep 8 digits.
    """
    rows = np.random.default_rng(seed).integers(0, 10_000, (n, 2)).astype(float)
    codes = [("a", str(i % 3)) for i in range(n)]
    plain = cells_of(rows, codes).collapse(["arm"])
    shifted = cells_of(rows + 1e9, codes).collapse(["arm"])

    np.testing.assert_allclose(shifted.m2, plain.m2, rtol=1e-9, atol=1e-9 * plain.m2.max())


def small():
    """Two arms on two days with two components."""
    rows = np.array([[1.0, 10.0], [3.0, 20.0], [5.0, 0.0], [7.0, 5.0], [9.0, 1.0]])
    codes = [("a", "1"), ("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
    return cells_of(rows, codes, ("orders", "sales"))


def test_where_keeps_the_cells_of_a_label():
    """Choosing a day leaves its cells as they are."""
    found = small().where(day="1")

    assert found.labels == (("a", "1"), ("b", "1"))
    assert found.n.tolist() == [2, 1]


def test_select_orders_components():
    """Components may be taken in another order, with their products."""
    found = small().select(["sales", "orders"])

    assert found.names == ("sales", "orders")
    assert found.mean[0].tolist() == [15.0, 2.0]
    assert found.m2[0].tolist() == [[50.0, 10.0], [10.0, 2.0]]


def test_widen_gives_zeros_to_units_that_never_had_a_component():
    """A component that these units cannot have is 0 and does not vary."""
    found = small().widen(["orders", "refunds", "sales"])

    assert found.mean[0].tolist() == [2.0, 0.0, 15.0]
    assert found.m2[0, 1].tolist() == [0.0, 0.0, 0.0]


def test_levels_are_sorted():
    """Labels that occur under a key, once each."""
    assert small().levels("day") == ("1", "2")


def test_cells_of_other_components_do_not_add():
    """Orders cannot be added to sales."""
    with pytest.raises(ValueError, match="do not add to"):
        small().select(["orders"]) + small().select(["sales"])


def test_cells_are_plain_json():
    """What the report keeps is plain values."""
    kept = json.loads(json.dumps(small().to_dict()))

    assert kept["labels"][0] == ["a", "1"]
    assert kept["n"] == [2, 1, 1, 1]
