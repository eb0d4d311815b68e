"""A simulated quarter and its review, made once."""

from __future__ import annotations

from datetime import date

import pytest

from upliftlab.registry.store import Registry
from upliftlab.report.quarter import write_review
from upliftlab.report.quarter.first import Issue
from upliftlab.report.quarter.together import Together
from upliftlab.review.agenda import agenda_of
from upliftlab.review.programme import programme
from upliftlab.review.quarter import review_of
from upliftlab.review.simulated import simulated_quarter

QUARTER = "2026Q3"
ISSUE = Issue(shop="shop A", prepared="Chen", frozen="2026-10-30")


@pytest.fixture(scope="session")
def quarter(tmp_path_factory):
    """The registry, the truth and the programme of a small simulated quarter."""
    registry = Registry(tmp_path_factory.mktemp("registry"))
    truth = simulated_quarter(registry, quarter=QUARTER, tests=14, seed=3)
    return registry, truth, programme(registry.records(QUARTER), QUARTER)


@pytest.fixture(scope="session")
def together(quarter):
    """The same quarter's tests read together, and the tests to follow."""
    records = quarter[0].records(QUARTER)
    read = review_of(records, quarter=QUARTER, today="2026-10-30")
    return Together(review=read, agenda=agenda_of(read, records))


@pytest.fixture(scope="session")
def site(quarter, together, tmp_path_factory):
    """The folder of its review."""
    folder = tmp_path_factory.mktemp("review")
    write_review(quarter[2], folder, issue=ISSUE, together=together, today=date(2026, 10, 30))
    return folder
