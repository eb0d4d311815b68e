"""Hillstrom's e-mail test through a plan: the published lift, and a verdict in money."""

from __future__ import annotations

import pytest

from upliftlab.analysis import run
from upliftlab.experiment import Experiment

PLAN = """
name: hillstrom-email
kind: custom
currency: USD
arms:
  No E-Mail: {{share: 1/3, control: true}}
  Mens E-Mail: {{share: 1/3, contact: 0.10}}
  Womens E-Mail: {{share: 1/3, contact: 0.10}}
costs: {{margin: 35%}}
data:
  units: {{file: {file}, money: dollars, columns: {{arm: segment, gmv: spend}}}}
"""


@pytest.fixture(scope="module")
def analysis(request):
    """64,000 customers, margin 35 %, ten cents per mailing."""
    find = request.getfixturevalue("shared_data")
    return run(Experiment.from_text(PLAN.format(file=find("ab/hillstrom.parquet"))))


@pytest.mark.parametrize(
    ("arm", "lift", "error"),
    [
        ("Mens E-Mail", 0.7698271559, 0.1452465602),
        ("Womens E-Mail", 0.4244122159, 0.1303328585),
    ],
)
def test_spend_has_the_published_lift(analysis, arm, lift, error):
    """Origin: hillstrom.reference.json, differences of means with Welch's error, in dollars."""
    spend = analysis.profit_of(arm).rung("gmv_platform").effect

    assert spend.estimate / 100 == pytest.approx(lift, rel=1e-6)
    assert spend.std_error / 100 == pytest.approx(error, rel=1e-4)


def test_profit_is_margin_times_lift_less_the_mailing(analysis):
    """0.35 x 0.7698 - 0.10 dollars per customer."""
    profit = analysis.profit_of("Mens E-Mail").profit

    assert profit.estimate / 100 == pytest.approx(0.35 * 0.7698271559 - 0.10, rel=1e-6)
    assert profit.std_error / 100 == pytest.approx(0.35 * 0.1452465602, rel=1e-4)


def test_each_arm_has_its_verdict(analysis):
    """Men's mailing earns beyond doubt, women's not yet."""
    verdicts = {decision.arm: decision.verdict for decision in analysis.decisions}

    assert verdicts == {"Mens E-Mail": "ship", "Womens E-Mail": "keep testing"}
