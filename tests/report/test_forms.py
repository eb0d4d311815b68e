"""Terminal text, Markdown, JSON and the files on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from upliftlab import report
from upliftlab.report.waterfall import waterfall_rows
from upliftlab.report.widths import columns

ANALYSES = pytest.mark.parametrize("name", ["coupon", "emails", "blocked", "chosen"])


@ANALYSES
def test_text_fits_a_terminal(name, request):
    """At most 100 columns, Chinese characters counted as two."""
    text = report.render_text(request.getfixturevalue(name))

    assert max(columns(line) for line in text.splitlines()) <= 100
    assert "\xa0" not in text


def test_text_says_not_to_act(blocked):
    """The banner is not only on the page."""
    text = report.render_text(blocked)

    assert "NO VERDICT" in text
    assert "not to be acted on" in text


@ANALYSES
def test_markdown_tables_are_square(name, request):
    """Every row has as many cells as its heading; bars in names are escaped."""
    lines = report.render_markdown(request.getfixturevalue(name)).splitlines()
    width = None
    for line in lines:
        cells = line.replace("\\|", "").count("|") if line.startswith("|") else None
        assert width is None or cells is None or cells == width
        width = cells


def test_markdown_escapes_names(emails):
    """HTML in a name stays text."""
    assert "<script>" not in report.render_markdown(emails).replace("\\<script\\>", "")


@ANALYSES
def test_json_is_as_the_schema_says(name, request):
    """Draft 2020-12, and no NaN."""
    schema = report.json_schema()
    found = json.loads(report.render_json(request.getfixturevalue(name)))

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(found)


@ANALYSES
def test_the_schema_speaks_of_every_key(name, request):
    """Nothing is printed that the schema does not describe."""
    schema = report.json_schema()
    found = json.loads(report.render_json(request.getfixturevalue(name)))

    assert sorted(undescribed(found, schema, schema)) == []


def undescribed(value, schema, root, path=""):
    """Paths of keys that no property and no map describes."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema and value is not None:
        schema = schema["anyOf"][0]
        return undescribed(value, schema, root, path)
    if path == ".experiment":
        return set()
    if isinstance(value, list):
        items = schema.get("items", {})
        return {p for each in value for p in undescribed(each, items, root, f"{path}[]")}
    if not isinstance(value, dict):
        return set()
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    out = set()
    for key, inner in value.items():
        if key in known:
            out |= undescribed(inner, known[key], root, f"{path}.{key}")
        elif isinstance(others, dict):
            out |= undescribed(inner, others, root, f"{path}.*")
        else:
            out.add(f"{path}.{key}")
    return out


def test_a_missing_number_is_null_in_json(coupon):
    """NaN is not JSON."""
    plain = json.loads(report.render_json(coupon))

    assert plain["profits"][0]["mechanical"]["estimate"] is None
    assert plain["profits"][0]["mechanical"]["note"].startswith("not applicable")


def test_waterfall_bars_add_up_to_the_last(coupon):
    """Every line that moves is a bar, and the last bar is their sum."""
    for profit in coupon.profits:
        *bars, total = waterfall_rows(coupon, profit)

        assert total.is_total
        assert sum(bar.estimate.estimate for bar in bars) == pytest.approx(
            total.estimate.estimate, rel=1e-9
        )


def test_write_leaves_four_whole_files(coupon, tmp_path):
    """And nothing else; a second writing replaces them."""
    folder = tmp_path / "deep" / "report"
    first = report.write(coupon, folder)
    again = report.write(coupon, str(folder))

    assert first == again
    assert {path.name for path in folder.iterdir()} == {
        "index.html", "summary.md", "summary.txt", "analysis.json",
    }  # fmt: skip
    assert set(first) == {"html", "markdown", "text", "json"}
    assert first["text"].read_text(encoding="utf-8") == report.render_text(coupon)


def test_a_report_that_cannot_be_made_leaves_the_old_one(coupon, tmp_path, monkeypatch):
    """Everything is rendered before anything is written, and no scraps stay."""
    report.write(coupon, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
        message = "disk full"
        raise OSError(message)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        report.write(replace(coupon, notes=("new",)), tmp_path)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_reporting_changes_nothing(coupon):
    """The analysis is the same before and after."""
    before = coupon.to_dict()
    report.render_html(coupon)

    assert coupon.to_dict() == before
