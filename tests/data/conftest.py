"""A shop so small that every number can be checked by hand."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
import pytest

from upliftlab.data.prepare import prepare
from upliftlab.experiment import Experiment

START = datetime.fromisoformat("2026-06-01 09:00")
"""Shop time; the run is 1 to 14 June and the window 14 days."""


class Shop:
    """Tables of a small coupon test, and the plan that goes with them."""

    start = START

    def plan(self, **changes):
        written = {
            "name": "small",
            "kind": "smart_coupon",
            "run": {"start": "2026-06-01", "end": "2026-06-14"},
            "follow_up": "14 days",
            "returns_final_after": "7 days",
            "arms": {
                "none": {"share": "50%", "control": True},
                "coupon": {"share": "50%", "coupon": 20},
            },
            "costs": {"margin": "35%"},
            "covariates": "none",
        }
        return Experiment(**(written | changes))

    def assignments(self, count=8):
        """Units u0, u1, ... alternate between the arms, all on 1 June 09:00."""
        return pd.DataFrame(
            {
                "unit": [f"u{i}" for i in range(count)],
                "arm": ["none", "coupon"] * (count // 2),
                "assigned_at": [START] * count,
            }
        )

    def lines(self, *rows):
        """Order lines of 100 yuan cash on 130 list, 10 ours and 5 the platform's coupon."""
        base = {
            "unit": "u0",
            "paid_at": START + timedelta(days=1),
            "qty": 1,
            "list_fen": 13_000,
            "markdown_fen": 1_500,
            "merchant_coupon_fen": 1_000,
            "platform_coupon_fen": 500,
            "cash_fen": 10_000,
            "settlement_base_fen": 10_500,
            "unit_cost_fen": 4_000,
        }
        filled = [
            {"line_id": f"L{i}", "order_id": f"O{i}"} | base | row
            for i, row in enumerate(rows or ({},))
        ]
        return pd.DataFrame(filled)

    def refunds(self, *rows):
        base = {
            "order_id": "O0",
            "line_id": "L0",
            "type": "return_refund",
            "refunded_at": START + timedelta(days=4),
            "amount_fen": 10_000,
        }
        filled = [{"refund_id": f"R{i}"} | base | row for i, row in enumerate(rows)]
        return pd.DataFrame(filled)

    def tables(self, **changes):
        found = {"assignments": self.assignments(), "order_lines": self.lines()} | changes
        return {name: table for name, table in found.items() if table is not None}

    def prepared(self, plan=None, **changes):
        return prepare(plan or self.plan(), self.tables(**changes))

    def totals(self, plan=None, **changes):
        """Sum of every component within the 14 days, by its bare name."""
        found = self.prepared(plan, **changes).facts.totals
        return {
            name.removesuffix("@14d"): int(total)
            for name, total in found.items()
            if name.endswith("@14d")
        }

    def aside(self, plan=None, **changes):
        """Rows set aside, as {"source: rule": rows}."""
        facts = self.prepared(plan, **changes).facts
        return {f"{each.source}: {each.rule}": each.rows for each in facts.set_aside}


@pytest.fixture
def shop():
    return Shop()
