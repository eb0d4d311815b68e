"""Shares that follow profit: page, text, Markdown and JSON."""

from __future__ import annotations

import json

from upliftlab.report.adapting import (
    render_adapt_json,
    render_adapt_markdown,
    render_adapt_text,
    write_adapt,
)

FIRST = [
    "Shares: Moving ¥5/¥20 · epoch 3 from 22 Oct 2026 · 10,200 customers",
    "FROM 22 OCT 2026: ¥5 90 %, control 10 %; ¥5 earns more than control beyond doubt.",
    "next share share now chance of being best extra profit range at all looks",
    "control 10.0 % 21.0 % 0.1 % – –",
    "¥5 90.0 % 69.0 % 99.9 % +¥2.45 +1.07 … +3.83 earns more",
    "¥20 0.0 % 10.0 % 0.0 % −¥1.15 −2.61 … +0.31 taken out",
    (
        "Can we trust it? Extra profit is per customer against control, compared within "
        "epochs. Ranges of"
    ),
    "95 % hold for all arms at every look at once, so the test may be stopped at any of them.",
    (
        "Next: ¥5 may be rolled out now; else assign those who enter from 22 Oct 2026 on "
        "(upliftlab assign)."
    ),
]


def test_the_first_screen_says_who_gets_what_and_what_is_known(adapted):
    """Shares, extra profit with ranges for all looks, and what to do."""
    lines = [" ".join(line.split()) for line in render_adapt_text(*adapted).splitlines()]

    assert [line for line in lines if line.strip("=")] == FIRST


def test_a_range_that_does_not_exist_says_why(adapted):
    """Before the first permitted look there is a note, never a range."""
    said = render_adapt_markdown(*adapted)

    assert "before 250 units and 50 with an outcome in every arm" in said
    assert "return rate is worse than it may be" in said


def test_all_forms_are_written(adapted, tmp_path):
    """Page, text, Markdown and JSON; numbers that do not exist are null."""
    plan, move = adapted
    written = write_adapt(plan, move, tmp_path)
    found = json.loads(render_adapt_json(move))

    assert sorted(path.name for path in written.values()) == [
        "adapt.html", "adapt.json", "adapt.md", "adapt.txt",
    ]  # fmt: skip
    assert found["looks"][0]["ci_low"] is None
    assert found["looks"][1]["ci_low"] == 107.0
