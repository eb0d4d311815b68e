"""A simulated quarter and its review, made once."""

from __future__ import annotations

from datetime import date

import pytest

from upliftlab.registry.store import Registry
from upliftlab.report.quarter import write_review
from upliftlab.report.quarter.first import Issue
from upliftlab.review.programme import programme
from upliftlab.review.simulated import simulated_quarter

QUARTER = "2026Q3"


@pytest.fixture(scope="session")
def quarter(tmp_path_factory):
    """The registry, the truth and the programme of a small simulated quarter."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    truth = simulated_quarter(registry, quarter=QUARTER, tests=14, seed=3)
    return registry, truth, programme(registry.records(QUARTER), QUARTER)


@pytest.fixture(scope="session")
def site(quarter, tmp_path_factory):
    """The folder of its review."""
    folder = tmp_path_factory.mktemp("review")
    issue = Issue(shop="shop A", prepared="Chen", frozen="2026-10-30")
    write_review(quarter[2], folder, issue=issue, today=date(2026, 10, 30))
    return folder
