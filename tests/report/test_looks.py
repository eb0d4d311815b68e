"""The page of a running test: what is said in ten seconds, in all four formats."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from upliftlab.experiment import Experiment
from upliftlab.monitor.answer import (
    BROKEN,
    GAIN,
    KEEP,
    LOSS,
    OVER,
    WAIT,
    Look,
    Monitoring,
    Reading,
)
from upliftlab.report.looks import (
    render_looks_html,
    render_looks_json,
    render_looks_markdown,
    render_looks_text,
    write_looks,
)
from upliftlab.stats.conditional_power import waiting

PLAN = """
name: watched
kind: smart_coupon
run: {start: 2026-06-01, end: 2026-06-10}
follow_up: 7 days
arms: {none: {share: 50%, control: true}, coupon: {share: 50%, coupon: 20, over: 99}}
costs: {margin: 50%}
looks: {planned: 8000, every: 1 day}
"""


def reading(day: int, state: str = KEEP) -> Reading:
    return Reading(
        name="profit", arm="coupon", estimate=-130.0 - day, std_error=90.0, low=-420.0,
        high=160.0, z=-1.4, bound=3.1, p=0.8, skewness=0.01, state=state, method="a range",
    )  # fmt: skip


def found(state: str = KEEP, **more: object) -> Monitoring:
    looks = tuple(
        Look(
            day=f"2026-06-{day:02d}",
            n={"none": 400 * (day - 7), "coupon": 410 * (day - 7)},
            active={"none": 70, "coupon": 71},
            assigned={"none": 3_919, "coupon": 4_081},
            fraction={"coupon": 0.1 * (day - 7)},
            is_permitted=state != WAIT,
            missing="coupon has 10 customers" if state == WAIT else "",
            readings=() if state == WAIT else (reading(day, state),),
            state=state,
        )
        for day in (8, 9, 10)
    )
    values = {
        "experiment": Experiment.from_text(PLAN),
        "estimand": "Mean extra contribution profit per assigned customer.",
        "looks": looks,
        "state": state,
        "stopped": "" if state in {KEEP, WAIT} else "2026-06-08",
        "next_look": "2026-06-11",
        "sample_ratio": (("2026-06-01", 0.1), ("2026-06-02", 0.3)),
        "waiting": {"coupon": waiting(-130.0, 90.0, growth=1.3)},
        "bindings": {"method": "always_valid", "planned": {"none": 4000.0}, "alpha": 0.05},
    }
    return Monitoring(**(values | more))


@pytest.mark.parametrize(
    ("state", "first"),
    [
        (KEEP, "KEEP RUNNING: no stopping rule is met. Next look on 11 Jun 2026."),
        (WAIT, "MAY NOT LOOK YET: the first look is permitted from 12 Jun 2026."),
        (LOSS, "STOP ¥20: it loses profit, at any number of looks. Since the look of"),
        (GAIN, "STOP RULE MET: ¥20 earns extra profit, at any number of looks."),
        (BROKEN, "NO VERDICT: the arms do not have the sizes that were planned."),
        (OVER, "ENDED: every planned customer was read and no stopping rule was met."),
    ],
)
def test_the_first_line_says_what_to_do(state, first):
    """Each state has its sentence, in text, Markdown and on the page."""
    made = found(state, first_look="2026-06-12" if state == WAIT else "")

    assert first in render_looks_text(made).replace("\n  ", " ")
    assert first in render_looks_markdown(made)
    assert "<title>Running: Watched ¥20" in render_looks_html(made)


def test_before_the_first_look_no_number_is_shown():
    """What is missing stands there, and no profit."""
    text = render_looks_text(found(WAIT))

    assert "Missing: coupon has 10 customers." in text
    assert "−¥1" not in text


def test_ranges_stand_in_money():
    """Fen are shown in yuan, with the range beside."""
    text = render_looks_text(found())

    assert "−¥1.40" in text
    assert "−¥4.20 … +¥1.60" in text


def test_the_page_holds_charts_and_no_fixed_horizon():
    """Profit, bounds and sample ratio are drawn; deciding now is labelled."""
    page = render_looks_html(found())

    assert page.count("<svg") == 6
    assert "no evidence for stopping early" in page
    assert "<script src" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_look_reads_back_as_it_was():
    """What the state keeps is the look itself, missing numbers included."""
    look = replace(
        found().looks[0], readings=(reading(8), Reading(name="x", arm="coupon", estimate=1.0))
    )
    again = Look.from_dict(json.loads(json.dumps(look.to_dict())))

    assert again.to_dict() == look.to_dict()
    assert again.readings[1].bound == float("inf")


def test_files_are_written_in_four_forms(tmp_path):
    """Page, Markdown, text and JSON; the JSON is strict."""
    written = write_looks(found(), tmp_path / "report")

    assert sorted(written) == ["html", "json", "markdown", "text"]
    assert json.loads(written["json"].read_text(encoding="utf-8"))["state"] == KEEP
    assert render_looks_json(found()) == written["json"].read_text(encoding="utf-8")


def test_the_range_of_a_single_look_is_seen():
    """One look has no width of its own."""
    from matplotlib.figure import Figure

    from upliftlab.report.looks_plots import Band, _draw

    axes = Figure().subplots()
    _draw(axes, Band(title="extra", days=["2026-06-10"], values=[0.3], low=[0.1], high=[0.5]))
    box = axes.collections[0].get_datalim(axes.transData)

    assert box.width > 0.5
    assert (box.y0, box.y1) == pytest.approx((0.1, 0.5))
