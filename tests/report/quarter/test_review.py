"""The review says what the records say, in every form, and nothing from outside runs in it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import openpyxl
import pytest

from upliftlab.registry.damage import Damage
from upliftlab.registry.record import Record, RecordedArm
from upliftlab.registry.store import Registry
from upliftlab.report.quarter import write_review
from upliftlab.report.quarter.amounts import Amounts
from upliftlab.report.quarter.first import Issue, experiments_text, first_of
from upliftlab.report.quarter.forms import render_json
from upliftlab.report.quarter.sections import parts_of
from upliftlab.report.quarter.tables import render_csv, tables_of
from upliftlab.review.programme import programme
from upliftlab.review.simulated import simulated_quarter
from upliftlab.stats.estimate import interval


def test_the_same_seed_gives_the_same_quarter(quarter, tmp_path):
    """A simulated quarter is reproducible to the byte of every record."""
    registry, truth, _ = quarter
    again = Registry(tmp_path)

    assert simulated_quarter(again, quarter="2026Q3", tests=14, seed=3) == truth
    assert {r.id for r in again.records()} == {r.id for r in registry.records()}


def test_simulated_tests_lie_around_their_truth(quarter):
    """Standardised errors of the simulated tests are as large as their standard errors say."""
    _, truth, found = quarter
    z = [
        (arm.profit.estimate - truth[record.name][arm.arm]) / arm.profit.std_error
        for record in found.records
        for arm in record.arms
    ]

    assert len(z) > 8
    # 99.9 % of the mean square of that many standard normals.
    assert 0.1 < np.mean(np.square(z)) < 1 + 3.3 * np.sqrt(2 / len(z))


def test_every_experiment_that_started_is_there(quarter, site):
    """Running, stopped and void experiments have a row and a page each."""
    _, _, found = quarter
    page = (site / "index.html").read_text(encoding="utf-8")
    pages = list((site / "experiments").glob("*.html"))

    assert len(found.records) == len(pages) == 14
    assert found.counts["void"] >= 1
    assert found.counts["stopped"] == 1
    assert "of 14 started" in experiments_text(found)
    assert all(f"experiments/{each.name}" in page for each in pages)


def test_the_total_is_the_sum_of_the_treatments(quarter):
    """Realised totals add up; treatments that share a control are not independent."""
    _, _, found = quarter
    read = [r for r in found.records if r.status == "read"]
    arms = [arm for r in read for arm in r.arms]
    independent = sum(arm.realised.std_error**2 for arm in arms)

    assert found.total.estimate == pytest.approx(sum(a.realised.estimate for a in arms))
    assert any(len(r.arms) > 1 for r in read)
    assert found.total.std_error**2 > 1.02 * independent


def test_three_arms_on_one_control_have_the_wider_total():
    """3 arms of 1,000 and a control of 1,000, sd 10: SE 1,095.45, not 774.60."""
    from upliftlab.registry.record import ArmMeans

    labels = ("none", "a", "b", "c")
    means = ArmMeans(
        arms=labels,
        control="none",
        names=("profit",),
        n=(1_000,) * 4,
        mean=((0.0,),) * 4,
        cov=tuple(tuple(0.1 * (i == j) for j in range(4)) for i in range(4)),
        df=(999.0,) * 4,
    )
    zero = interval("profit", 0.0, 0.2)
    arms = tuple(
        RecordedArm(arm=k, control="none", n=1_000, profit=zero, realised=zero.scaled(1_000))
        for k in labels[1:]
    )
    found = programme([Record(name="x", quarter="2026Q3", arms=arms, means=means)], "2026Q3")

    assert found.total.std_error == pytest.approx(1_095.445, abs=0.001)


def test_every_form_holds_the_same_total(quarter, site):
    """Page, Markdown, workbook, CSV and JSON agree on what the quarter earned."""
    _, _, found = quarter
    shown = Amounts(currency="CNY", outcome="profit").shown(found.total).value
    book = openpyxl.load_workbook(site / "review.xlsx", read_only=True)
    data = json.loads((site / "review.json").read_text(encoding="utf-8"))
    with (site / "data" / "summary.csv").open(encoding="utf-8-sig", newline="") as file:
        summary = list(csv.DictReader(file))

    assert shown in (site / "index.html").read_text(encoding="utf-8")
    assert shown in (site / "summary.md").read_text(encoding="utf-8")
    assert book["summary"]["B2"].value == pytest.approx(found.total.estimate / 100)
    assert float(summary[0]["value"]) == pytest.approx(found.total.estimate / 100)
    assert data["total"]["estimate"] == found.total.estimate
    assert {"summary", "experiments", "results", "lines", "validity"} <= set(book.sheetnames)


def test_lines_of_the_waterfall_add_up_to_the_total(quarter):
    """The bars of the quarter end where its extra profit is."""
    _, _, found = quarter

    assert len(found.lines) > 5
    assert sum(line.effect.estimate for line in found.lines) == pytest.approx(
        found.total.estimate
    )


def test_two_readings_of_the_quarter_agree(quarter, together):
    """The page's sum and the joint reading of all tests are one number with one range."""
    _, _, found = quarter

    assert together.review.total.estimate == pytest.approx(found.total.estimate)
    assert together.review.total.std_error == pytest.approx(found.total.std_error, rel=1e-6)
    assert together.review.spend.estimate == pytest.approx(found.spend.estimate)


def test_what_ships_is_corrected_and_what_is_next_is_named(site, together):
    """Corrected sum, shrunken effects and next tests stand on the page and in the workbook."""
    page = (site / "index.html").read_text(encoding="utf-8")
    book = openpyxl.load_workbook(site / "review.xlsx", read_only=True)
    fair = Amounts(currency="CNY", outcome="profit").shown(together.review.shipped.corrected)

    assert together.review.shipped.naive.estimate > together.review.shipped.corrected.estimate
    assert page.count(fair.value) >= 2
    assert 'id="shrunken"' in page
    assert 'id="tests"' in page
    assert len(list(book["shrunken"].rows)) == 1 + len(together.review.arms)
    assert "next tests" in book.sheetnames


def test_writing_twice_gives_the_same_bytes(quarter, together, site, tmp_path):
    """No dates, no order of dictionaries: the site can be kept under version control."""
    issue = Issue(shop="shop A", prepared="Chen", frozen="2026-10-30")
    write_review(quarter[2], tmp_path, issue=issue, together=together)

    for name in ("index.html", "summary.md", "style.css", "data/results.csv"):
        assert (tmp_path / name).read_bytes() == (site / name).read_bytes()


def test_names_from_outside_cannot_run(tmp_path, quarter):
    """Markup and formulas in names are text on the page and in the workbook."""
    _, _, found = quarter
    evil = replace(
        found.records[0],
        name="evil",
        owner="=HYPERLINK(1)",
        question="<script>alert(1)</script>",
    )
    bad = programme([evil], "2026Q3")
    write_review(bad, tmp_path)
    page = next((tmp_path / "experiments").glob("*.html")).read_text(encoding="utf-8")
    book = openpyxl.load_workbook(tmp_path / "review.xlsx")

    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    cells = [c for row in book["experiments"].iter_rows() for c in row]
    assert [c.value for c in cells if "HYPERLINK" in str(c.value)] == ["'=HYPERLINK(1)"]
    assert all(c.data_type != "f" for c in cells)


def test_damage_in_the_registry_stands_in_the_review(quarter):
    """A file that could not be read is named; it is not silently left out."""
    _, _, found = quarter
    damage = [Damage(file="analyses/x--1.json", problem="it was edited", fix="take it back")]
    first = first_of(found, Issue(), damage=damage)
    parts = parts_of(found, damage=damage)
    items = [item.text for part in parts for s in part.sections for item in s.items]

    assert "1 damaged files in the registry: not counted" in first.trust
    assert "registry: analyses/x--1.json: it was edited; take it back" in items
    assert "it was edited" in render_csv(tables_of(found, damage=damage)[-1])


def test_decided_treatments_are_no_longer_asked(quarter):
    """What somebody signed is not asked again; an override is marked."""
    _, _, found = quarter
    signed = {(r.name, t.arm) for r in found.records for t in r.decisions}
    asked = {(e.record.name, e.arm.arm) for e in found.asked}
    sections = {s.key: s for part in parts_of(found) for s in part.sections}

    assert len(signed) == 3
    assert not signed & asked
    assert [i.state for i in sections["taken"].items].count("warn") == 1
    assert "1 of them against the verdict" in sections["taken"].finding


def test_a_quarter_of_broken_assignment_says_so():
    """Where sample ratios fail by the dozen, the first screen warns before any total."""
    bad = [Record(name=f"t{i}", quarter="2013Q4", sample_ratio_p=1e-9) for i in range(9)]
    good = [Record(name=f"g{i}", quarter="2013Q4", sample_ratio_p=0.4) for i in range(3)]
    first = first_of(programme([*bad, *good], "2013Q4"), Issue())

    assert "sample ratio fails in 9 of 12" in first.trust[0]
    assert first.alarm.startswith("Assignment was broken: the sample ratio fails in 9 of 12")


def test_an_empty_quarter_is_no_error():
    """No experiment gives no total, with a reason."""
    found = programme([], "2026Q3")

    assert "No total" in first_of(found, Issue()).headline
    assert json.loads(render_json(found, tables_of(found)))["total"]["estimate"] is None


def test_csv_quotes_formulas():
    """Text that a spreadsheet would run is quoted, numbers are not."""
    from upliftlab.report.quarter.tables import DataTable

    text = render_csv(DataTable(name="a", columns=("x", "y"), rows=(("-cmd", -1.5),)))

    assert list(csv.reader(io.StringIO(text)))[1] == ["'-cmd", "-1.5"]
