"""The rehearsal page: what it says first, and how it stands in a real browser."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import html5lib
import numpy as np
import pandas as pd
import pytest

from upliftlab.experiment import Experiment
from upliftlab.rehearsal.answer import rehearse
from upliftlab.report.rehearsal import (
    FAILED,
    PASSED,
    render_rehearsal_html,
    render_rehearsal_json,
    render_rehearsal_text,
)

_SPEC = importlib.util.spec_from_file_location(
    "browser_parts", Path(__file__).with_name("test_browser.py")
)
_PARTS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_PARTS)
browser = _PARTS.browser


@pytest.fixture(scope="module")
def frame():
    """Customers of 60 homes that spend alike."""
    rng = np.random.default_rng(1)
    home = rng.integers(60, size=1_500)
    gmv = np.round(rng.lognormal(3, 0.5, 1_500) * np.exp(rng.normal(size=60))[home], 2)
    return pd.DataFrame({"unit": [f"u{i}" for i in range(1_500)], "home": home, "gmv": gmv})


@pytest.fixture(scope="module")
def plan():
    """A coupon test by customer, whose name tries to be markup."""
    return Experiment(
        name="spring-coupon",
        owner="<b>Li</b>",
        kind="smart_coupon",
        arms={"none": {"share": "50%", "control": True}, "coupon": {"share": "50%"}},
        costs={"margin": "35%"},
        data={"units": {"file": "before.csv", "money": "yuan"}},
    )


@pytest.fixture(scope="module")
def closed(plan, frame):
    """A gate that is closed: homes move together."""
    return rehearse(plan, {"units": frame}, draws=150, by="home")


@pytest.fixture(scope="module")
def opened(plan, frame):
    """A gate that is open."""
    return rehearse(plan, {"units": frame}, draws=150)


def test_the_first_line_says_whether_to_go_ahead(opened, closed):
    """Two answers, two next steps, and the money that would be seen."""
    yes, no = render_rehearsal_text(opened), render_rehearsal_text(closed)

    assert PASSED in yes
    assert "Next: start the test if an effect of +¥" in yes
    assert FAILED in no
    assert "Next: analyse by what was really assigned" in no
    assert "The analysis takes units for independent although they move in clusters." in no


def test_the_page_is_valid_and_escapes_names(closed):
    """HTML parses without an error, and the owner's name is text."""
    page = render_rehearsal_html(closed)
    parser = html5lib.HTMLParser(strict=False)
    parser.parse(page)

    assert parser.errors == []
    assert "<b>Li</b>" not in page
    assert "&lt;b&gt;Li" in page
    assert 'class="verdict blocked" role="alert"' in page
    assert page == render_rehearsal_html(closed)


def test_the_json_holds_every_row_and_no_nan(closed):
    """Machines get the numbers; what does not exist is null."""
    found = json.loads(render_rehearsal_json(closed))

    assert found["passed"] is False
    assert found["rows"][0]["metric"] == "profit"
    assert found["rows"][0]["power_at_goal"] is None
    assert len(found["rows"][0]["deciles"]) == 10


@pytest.mark.parametrize(("width", "height"), [(390, 800), (1280, 800)])
def test_nothing_is_cut_in_a_browser(closed, browser, tmp_path, width, height):
    """Neither on a phone nor on a desk does anything leave the page or overlap."""
    page = render_rehearsal_html(closed)
    found, console = _PARTS.seen(browser, tmp_path, page, width=width, height=height)

    assert found["width"] <= width
    assert found["cut"] == []
    assert found["over"] == []
    assert console == []
    assert found["asked"] == []
    if width > 600:
        assert found["first"] <= height
