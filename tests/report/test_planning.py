"""The design as page, text, Markdown and JSON."""

from __future__ import annotations

import json
import re

import html5lib
import pytest

from upliftlab.report.planning import (
    render_plan_html,
    render_plan_json,
    render_plan_markdown,
    render_plan_text,
    write_plan,
)
from upliftlab.report.planning_parts import plan_parts
from upliftlab.report.planning_screen import plan_screen
from upliftlab.report.widths import columns


@pytest.mark.parametrize("page", ["planned_page", "laid_out_page"])
def test_the_page_is_valid_and_alone(page, request):
    """HTML5 without errors; nothing is loaded; ids are unique and links lead somewhere."""
    text = request.getfixturevalue(page)
    html5lib.HTMLParser(strict=True).parse(text)
    ids = re.findall(r'\bid="([^"]+)"', text)

    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)
    assert not re.search(r'(?:src|href)="(?!#)', text)


def test_the_first_screen_answers_four_questions(planned):
    """How many, until when, what cost, is it worth it: each with its number."""
    screen = plan_screen(planned)

    assert [a.question for a in screen.answers] == [
        "How many customers?",
        "Until when?",
        "What would it cost?",
        "Is it worth it?",
    ]
    assert screen.headline.startswith("RUN IT with ")
    assert screen.rows[0].label.startswith("PROFIT")
    assert screen.rows[0].is_profit
    assert "weeks, until" in screen.answers[1].text.replace("\xa0", " ")
    assert screen.next_step.startswith("set run.end to ")


def test_every_number_of_the_screen_is_the_designs(planned):
    """Nothing is computed by the page: chance and size are those of the design."""
    row = next(r for r in plan_screen(planned).rows if r.label == "PROFIT, ¥20")
    size = planned.size("profit", "twenty")

    assert row.chance.split()[0] == f"{size.power * 100:.0f}"
    assert float(row.needed.replace(",", "")) == pytest.approx(size.n, rel=0.01)
    assert row.wanted == "¥0.20 extra per customer"


def test_a_layout_says_who_switches_when(laid_out, laid_out_page):
    """One row per cluster in the picture and its table, and other numbers of waves."""
    screen = plan_screen(laid_out)
    sections = {s.key: s for part in plan_parts(laid_out) for s in part.sections}

    assert screen.headline.split(":")[0] in {"RUN IT", "TOO SMALL AS LAID OUT"}
    assert len(sections["layout"].tables[0].rows) == 40
    assert "agency 7" in laid_out_page
    assert {row[0] for row in sections["choices"].tables[0].rows} >= {"1 wave", "3 waves"}


@pytest.mark.parametrize("found", ["planned", "laid_out"])
def test_text_fits_a_terminal(found, request):
    """At most 100 columns, profit and the verdict in it."""
    text = render_plan_text(request.getfixturevalue(found))

    assert max(columns(line) for line in text.splitlines()) <= 100
    assert "Is it worth it?" in text


def test_markdown_escapes_what_comes_from_outside(planned):
    """An owner's markup is text; every section has its finding."""
    text = render_plan_markdown(planned)

    assert "<b>" not in text
    assert "## How large" in text
    assert "## What could go wrong" in text
    assert "<b>" not in render_plan_html(planned).split("</header>")[0]


def test_json_is_plain_and_whole(laid_out):
    """No NaN, and the layout with every start."""
    data = json.loads(render_plan_json(laid_out))

    assert data["schema_version"] == 1
    assert len(data["layout"]["starts"]) == 40
    assert data["needed"] is None


def test_the_same_design_gives_the_same_bytes(planned, planned_page, tmp_path):
    """Pages can be compared, and files stand under names of their own."""
    written = write_plan(planned, tmp_path / "report")

    assert render_plan_html(planned) == planned_page
    assert written["html"].read_text(encoding="utf-8") == planned_page
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == [
        "design.html",
        "design.json",
        "design.md",
        "design.txt",
    ]
