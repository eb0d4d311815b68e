"""Prices of targeting are those of the house: profit, campaign money, GMV, counts."""

from __future__ import annotations

import numpy as np
import pytest

from upliftlab.economics import Economics, Line
from upliftlab.errors import UpliftlabError
from upliftlab.targeting.price_sheet import price_sheet, used

LINES = (
    Line(name="sales", label="sales", stage="order", flows={"merchant": {"gmv_merchant": 0.4}}),
    Line(
        name="coupon",
        label="our coupon",
        stage="order",
        flows={"merchant": {"merchant_coupon": -1.0}},
        is_campaign=True,
    ),
    Line(
        name="contact",
        label="message",
        stage="order",
        flows={},
        by_arm={"c20": {"merchant": {"units": -5.0}}},
        is_campaign=True,
    ),
)
NAMES = ("gmv_merchant", "merchant_coupon", "orders", "gmv_platform")


def test_profit_cost_and_gmv():
    """A message costs every unit of its arm; the platform's GMV is the one compared."""
    sheet = price_sheet(Economics(lines=LINES), ("none", "c20"), NAMES)

    assert sheet.profit.rates.tolist() == [[0.4, -1.0, 0.0, 0.0]] * 2
    assert sheet.profit.constant.tolist() == [0.0, -5.0]
    assert sheet.cost.rates[1].tolist() == [0.0, 1.0, 0.0, 0.0]
    assert sheet.cost.constant.tolist() == [0.0, 5.0]
    assert sheet.whose == "gmv_platform"
    assert list(sheet.counts) == ["orders"]
    assert used(sheet) == (0, 1, 3)


def test_each_unit_is_priced_by_its_own_arm():
    """What was observed is booked at the arm's own prices."""
    sheet = price_sheet(Economics(lines=LINES), ("none", "c20"), NAMES)
    y = np.array([[100.0, 0.0, 1.0, 110.0], [100.0, 20.0, 1.0, 110.0]])

    assert sheet.profit.of(y, np.array([0, 1])).tolist() == [40.0, 15.0]


def test_a_price_without_its_component_is_refused():
    """The sentence names arm and component."""
    with pytest.raises(UpliftlabError, match="merchant_coupon"):
        price_sheet(Economics(lines=LINES), ("none", "c20"), ("gmv_merchant",))
