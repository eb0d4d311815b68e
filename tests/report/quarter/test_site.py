"""The review in a real browser: quiet, alone, by keyboard, on a phone and on paper."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PLAIN = '<!DOCTYPE html><html lang="en"><title>x</title><p>x</p></html>'

PROBE = """<!DOCTYPE html><html lang="en"><head><title>probe</title></head><body>
<iframe id="page" style="border:0;width:{width}px;height:{height}px" srcdoc="{page}"></iframe>
<pre id="found"></pre>
<script>
document.getElementById("page").addEventListener("load", function () {{
  var page = this.contentDocument, inside = this.contentWindow, found = {{}};
  found.width = page.documentElement.scrollWidth;
  var top = page.querySelector("header");
  found.first = top ? top.getBoundingClientRect().bottom : 0;
  found.cut = Array.from(page.querySelectorAll("svg text")).filter(function (text) {{
    var box = text.getBoundingClientRect();
    return box.width > 0 && (box.right > {width} + 1 || box.left < -1);
  }}).map(function (text) {{ return text.textContent; }});
  found.over = Array.from(page.querySelectorAll("td, th, p, li, dd, svg")).filter(
    function (each) {{
      var box = each.getBoundingClientRect();
      return box.width > 0 && box.right > {width} + 1;
    }}
  ).map(function (each) {{ return each.textContent.slice(0, 60); }});
  found.styled = inside.getComputedStyle(page.body).maxWidth;
  found.asked = inside.performance.getEntriesByType("resource").map(function (each) {{
    return each.name;
  }});
  var focusable = Array.from(page.querySelectorAll("a[href], button, input, select, summary"));
  found.unreachable = focusable.filter(function (each) {{ return each.tabIndex < 0; }}).length;
  found.focusable = focusable.length;
  found.unnamed = Array.from(page.querySelectorAll("input, select")).filter(function (each) {{
    return !each.labels.length;
  }}).length;
  var grid = page.getElementById("programme-table");
  if (grid && grid.querySelector("input")) {{
    var heads = grid.querySelectorAll("thead th"), body = grid.querySelector("tbody");
    var column = 5, button = heads[column].querySelector("button");
    button.focus();
    found.focused = page.activeElement === button;
    button.click();
    found.sort = heads[column].getAttribute("aria-sort");
    found.values = Array.from(body.rows).map(function (row) {{
      return row.cells[column].getAttribute("data-v");
    }}).filter(Boolean).map(parseFloat);
    var input = grid.querySelector("input");
    input.value = "void";
    input.dispatchEvent(new inside.Event("input", {{bubbles: true}}));
    found.shown = Array.from(body.rows).filter(function (row) {{ return !row.hidden; }})
      .map(function (row) {{ return row.textContent; }});
    found.said = grid.querySelector("[role=status]").textContent;
  }}
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script></body></html>
"""


def run(browser, folder, *more):
    """Start the browser without a network; return its output and what the console said."""
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr", f"--user-data-dir={folder / 'user'}", *more,
        ],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


def seen(browser, site, folder, name, *, width, height, on_paper=False):
    """Open a page of the site in a frame of that size, beside its own files."""
    place = site / name
    probe = place.with_name(f"probe-{width}-{place.stem[:8]}.html")
    text = place.read_text(encoding="utf-8")
    if on_paper:
        style = (site / "style.css").read_text(encoding="utf-8")
        laid = style.replace("@media print", "@media all").replace("break-before: page", "")
        text, links = re.subn(r'<link rel="stylesheet"[^>]*>', f"<style>{laid}</style>", text)
        assert links == 1
    probe.write_text(
        PROBE.format(width=width, height=height, page=html.escape(text)), encoding="utf-8"
    )
    try:
        out, console = run(
            browser, folder, f"--window-size={width + 40},{height + 40}", "--dump-dom",
            probe.as_uri(),
        )  # fmt: skip
    finally:
        probe.unlink()
    found = re.search(r'<pre id="found">(.*?)</pre>', out, flags=re.DOTALL)
    assert found is not None
    assert found[1], out[-500:]
    return json.loads(html.unescape(found[1])), console


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A Chromium that works on this machine, or a skip that says so."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is here: looked for {', '.join(BROWSERS)}")
    folder = tmp_path_factory.mktemp("plain")
    (folder / "x.html").write_text(PLAIN, encoding="utf-8")
    out, _ = run(found, folder, "--dump-dom", (folder / "x.html").as_uri())
    if "<p>x</p>" not in out:
        pytest.skip("the browser does not open a plain page")
    return found


def test_the_review_is_quiet_sorts_and_filters(browser, site, tmp_path):
    """No console message, nothing from the network; tables sort and filter by keyboard."""
    found, console = seen(browser, site, tmp_path, "index.html", width=1280, height=800)

    assert console == []
    assert all(each.startswith("file:") for each in found["asked"])
    assert found["styled"] == "1008px"
    assert found["first"] <= 800
    assert found["cut"] == []
    assert (found["unreachable"], found["unnamed"]) == (0, 0)
    assert found["focusable"] > 40
    assert found["focused"]
    assert found["sort"] == "ascending"
    assert len(found["values"]) > 5
    assert found["values"] == sorted(found["values"])
    assert found["shown"]
    assert all("void" in text for text in found["shown"])
    assert found["said"] == f"{len(found['shown'])} of 14 shown"


def test_the_review_is_readable_on_a_phone(browser, site, tmp_path):
    """At 390 px neither the review nor an experiment's page scrolls sideways."""
    page = next((site / "experiments").glob("*.html"))
    for name in ("index.html", f"experiments/{page.name}"):
        found, console = seen(browser, site, tmp_path, name, width=390, height=800)

        assert found["width"] <= 390
        assert found["cut"] == []
        assert console == []


PAPER = 718
"""Pixels of an A4 page between margins of a centimetre."""


def printed(browser, folder, page):
    """Print a page to PDF from disk; return how many sheets it has."""
    target = folder / f"{page.stem[:20]}.pdf"
    _, console = run(
        browser, folder, "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri()
    )
    assert console == []
    return len(re.findall(rb"/Type\s*/Page[^s]", target.read_bytes()))


def test_the_review_prints_as_a_board_paper(browser, site, tmp_path):
    """One paper holds the review and every experiment on a page of its own."""
    alone = printed(browser, tmp_path, site / "index.html")
    whole = printed(browser, tmp_path, site / "board.html")

    assert 5 <= alone <= 40
    assert alone + 14 <= whole + 1 <= alone + 14 * 3


def test_nothing_is_cut_on_paper_or_on_the_board_papers_screen(browser, site, tmp_path):
    """Laid out as printed, no cell, line or picture is wider than the page; no message."""
    paper, said = seen(
        browser, site, tmp_path, "board.html", width=PAPER, height=1000, on_paper=True
    )
    phone, also = seen(browser, site, tmp_path, "board.html", width=390, height=800)

    assert paper["over"] == []
    assert paper["width"] <= PAPER
    assert phone["width"] <= 390
    assert phone["cut"] == []
    assert phone["unreachable"] == 0
    assert phone["focusable"] > 60
    assert said == also == []
    asked = (*paper["asked"], *phone["asked"])
    assert all(each.startswith(("file:", "data:")) for each in asked)


def test_every_experiments_page_fits_on_paper(browser, site, tmp_path):
    """Those with arms, those without, the longest: as printed, nothing is wider than a page."""
    pages = sorted((site / "experiments").glob("*.html"), key=lambda p: p.stat().st_size)
    for page in (pages[0], pages[len(pages) // 2], pages[-1]):
        name = f"experiments/{page.name}"
        found, console = seen(
            browser, site, tmp_path, name, width=PAPER, height=1000, on_paper=True
        )

        assert found["over"] == []
        assert console == []

    assert 1 <= printed(browser, tmp_path, pages[-1]) <= 6


def test_links_of_the_board_paper_lead_within_it(site):
    """What the review links to stands in the paper, under one id each."""
    text = (site / "board.html").read_text(encoding="utf-8")
    ids = re.findall(r' id="([^"]+)"', text)
    links = re.findall(r'href="#([^"]+)"', text)

    assert len(ids) == len(set(ids))
    assert set(links) <= set(ids)
    assert 'href="experiments/' not in text
    assert text.count("<article") == 14


def test_the_review_is_complete_without_scripts(site):
    """Every row of every table stands in the HTML itself; scripts are files beside it."""
    page = (site / "index.html").read_text(encoding="utf-8")

    assert page.count("<script") == 1
    assert '<script src="grid.js"></script>' in page
    assert page.count("<tr>") > 40
    assert (site / "grid.js").stat().st_size < 30_000
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
