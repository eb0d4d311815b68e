"""The page, as a machine reads it."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import html5lib
import pytest

from upliftlab import report
from upliftlab.decision import NO_VERDICT
from upliftlab.stats.estimate import undefined

PAGES = ["coupon_page", "emails_page", "blocked_page", "chosen_page"]
EVERYWHERE = pytest.mark.parametrize("page", PAGES)


def text_of(page: str) -> str:
    """What stands on the page, without markup."""
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    for each in [e for e in tree.iter() if e.tag in {"script", "style"}]:
        each.clear()
    return re.sub(r"\s+", " ", "".join(tree.itertext()))


@EVERYWHERE
def test_the_page_is_valid_html(page, request):
    """A strict parser finds no error."""
    html5lib.HTMLParser(strict=True).parse(request.getfixturevalue(page))


@EVERYWHERE
def test_the_page_loads_nothing(page, request):
    """No address, no import, no font, no image from anywhere."""
    html = request.getfixturevalue(page)

    assert "http" not in html
    assert not re.search(r"@import|url\((?!#)|\ssrc=|<link|<iframe", html)
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', html))


@EVERYWHERE
def test_ids_are_unique_and_links_lead_somewhere(page, request):
    """Charts drawn twice, for wide and narrow, do not share ids."""
    html = request.getfixturevalue(page)
    ids = re.findall(r'\bid="([^"]+)"', html)

    assert len(ids) == len(set(ids))
    assert {link[1:] for link in re.findall(r'href="(#[^"]+)"', html)} <= set(ids)


@EVERYWHERE
def test_headings_step_down_one_by_one(page, request):
    """One h1, and no level is skipped."""
    levels = [int(n) for n in re.findall(r"<h([1-6])[ >]", request.getfixturevalue(page))]

    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_names_from_outside_are_text(emails_page):
    """HTML in an arm, an owner or a question is shown, not run."""
    assert "<script>alert" not in emails_page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; 女装" in emails_page
    assert "SHIP mens to everyone. KEEP TESTING <script>alert(1)" in text_of(emails_page)


def test_chinese_names_stay_text_in_charts(emails_page):
    """Characters, not outlines of a font that lacks them."""
    charts = "".join(re.findall(r"<svg.*?</svg>", emails_page, flags=re.DOTALL))

    assert "女装" in charts
    assert '"Microsoft YaHei"' in emails_page


def test_same_analysis_same_bytes(coupon, coupon_page):
    """No date, no random id."""
    assert report.render_html(coupon) == coupon_page


def test_the_first_screen_comes_in_the_agreed_order(coupon_page):
    """Verdict, money, ladder, what flips it, trust, what counts, next."""
    text = text_of(coupon_page)
    marks = [
        "KEEP TESTING",
        "If rolled out to",
        "Where the",
        "PROFIT",
        "Flips if:",
        "Dashboard coupon ROI",
        "Can we trust it?",
        "What this profit counts:",
        "Next:",
        "Why",
    ]
    places = [text.index(mark, text.index("Copy summary")) for mark in marks]

    assert places == sorted(places)


def test_sections_come_in_the_agreed_order(coupon_page):
    """Why, for whom, can we trust it, how."""
    found = re.findall(r'<section id="([a-z-]+)"', coupon_page)

    assert [key for key in found if key in {"why", "whom", "trust", "how"}] == [
        "why",
        "whom",
        "trust",
        "how",
    ]
    assert {
        "waterfall", "ladder", "depth", "journey", "parties", "campaign", "segments", "metrics",
        "checks", "maturity", "windows", "tipping", "set-aside", "method", "costs", "plan",
        "provenance",
    } <= set(found)  # fmt: skip


@EVERYWHERE
def test_every_section_begins_with_its_finding(page, request):
    """A reader of the sentences alone has read the page."""
    html = request.getfixturevalue(page)
    heads = re.findall(r"</h3>\s*<p class=\"finding\">(.*?)</p>", html, flags=re.DOTALL)

    assert len(heads) == html.count("<h3 ")
    assert all(head.strip().endswith((".", "?", ")")) for head in heads)


@EVERYWHERE
def test_every_gmv_says_whose_it_is(page, request):
    """The platform's dashboard or the shop."""
    words = text_of(request.getfixturevalue(page))
    words = words.replace("GMV on the platform's dashboard", "").replace(
        "GMV the shop books", ""
    )
    words = words.replace("From GMV to profit", "").replace("shop's GMV per order", "")

    assert re.findall(r"\bGMV\b", words) == []


@EVERYWHERE
def test_minus_is_a_minus_sign(page, request):
    """No hyphen stands before money or a percentage."""
    words = text_of(request.getfixturevalue(page))

    assert not re.search(r"(?<![\w–-])-[¥$]?\d", words)
    assert "significant" not in words


def test_the_failed_check_is_on_top(blocked_page):
    """Banner, label and the first line of the list."""
    items = re.findall(r'<li class="(\w+)">', blocked_page[blocked_page.index('id="checks"') :])

    assert "NO VERDICT: arms have 9 / 1 customers" in text_of(blocked_page)
    assert blocked_page.count("not to be acted on") > 5
    assert items[0] == "fail"
    assert "not to be acted on" in blocked_page[: blocked_page.index('class="money"')]


def test_a_valid_page_has_no_such_label(coupon_page):
    """The label means something only where it is rare."""
    assert "not to be acted on" not in coupon_page


def test_the_note_stands_where_the_number_would_be(coupon):
    """An arm without a profit is shown with its reason, and nothing else breaks."""
    missing = undefined("profit", "an arm has fewer than two units")
    first = replace(
        coupon.profits[0], profit=missing, profit_simultaneous=missing, rollout=missing,
        realised=missing, iroi=missing, ladder=(),
    )  # fmt: skip
    none = replace(
        coupon.decisions[0],
        verdict=NO_VERDICT,
        reasons=("Extra profit has no range: an arm has fewer than two units.",),
    )
    page = report.render_html(
        replace(
            coupon,
            profits=(first, *coupon.profits[1:]),
            decisions=(none, *coupon.decisions[1:]),
        )
    )

    assert re.search(r'missing">an arm has fewer than two units', page)
    html5lib.HTMLParser(strict=True).parse(page)


def test_charts_say_their_finding(coupon_page):
    """Each has a role and a label; the drawing itself is hidden from readers of labels."""
    figures = re.findall(r'<figure class="chart">(.*?)</figure>', coupon_page, flags=re.DOTALL)

    assert len(figures) >= 7
    for figure in figures:
        assert re.search(r'role="img" aria-label="[^"]{30,}"', figure)
        assert figure.count("<svg") == 2


def test_charts_have_no_colour_of_their_own(coupon_page):
    """Colours are variables, so dark mode and print reach them."""
    charts = "".join(re.findall(r"<svg.*?</svg>", coupon_page, flags=re.DOTALL))

    assert "var(--ink)" in charts
    assert "var(--loss)" in charts
    assert not re.search(r"#[0-9a-fA-F]{6}", charts)


def test_same_prices_have_no_mechanical_part(coupon_page):
    """Not applicable, never a bar of 0."""
    assert "not applicable: both arms have the same prices" in coupon_page


def test_other_metrics_are_labelled_exploratory(coupon_page):
    """No claim rests on what the plan did not name."""
    assert "Exploratory: not named in the plan" in coupon_page
    assert "is evidence for stopping early" in coupon_page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(scheme, templates):
    """WCAG 2.1 AA: 4.5 to 1 for text, 3 to 1 for bars and lines."""
    css = (templates / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)
    tone = dict(
        re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[0 if scheme == "light" else 1])
    )

    for ink, ground in (
        ("ink", "page"), ("muted", "page"), ("accent", "page"), ("ink", "soft"),
        ("good-ink", "good"), ("bad-ink", "bad"), ("open-ink", "open"),
    ):  # fmt: skip
        assert contrast(tone[ink], tone[ground]) >= 4.5, (ink, ground)
    for bar in ("gain", "loss", "control"):
        assert contrast(tone[bar], tone["page"]) >= 3, bar


def contrast(one: str, other: str) -> float:
    """Contrast ratio by WCAG 2.1."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
