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
  if (grid) {{
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


def seen(browser, site, folder, name, *, width, height):
    """Open a page of the site in a frame of that size, beside its own files."""
    place = site / name
    probe = place.with_name(f"probe-{width}-{place.stem[:8]}.html")
    text = place.read_text(encoding="utf-8")
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


def test_the_review_prints_as_a_board_paper(browser, site, tmp_path):
    """Printed to PDF from disk, without JavaScript's help, it has all its parts."""
    target = tmp_path / "review.pdf"
    run(
        browser, tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={target}",
        (site / "index.html").as_uri(),
    )  # fmt: skip
    pages = len(re.findall(rb"/Type\s*/Page[^s]", target.read_bytes()))

    assert 5 <= pages <= 40


def test_the_review_is_complete_without_scripts(site):
    """Every row of every table stands in the HTML itself; scripts are files beside it."""
    page = (site / "index.html").read_text(encoding="utf-8")

    assert page.count("<script") == 1
    assert '<script src="grid.js"></script>' in page
    assert page.count("<tr>") > 40
    assert (site / "grid.js").stat().st_size < 30_000
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
