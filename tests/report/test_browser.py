"""The page in a real browser: quiet, alone, and nothing cut at phone width."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")

PAGES = [
    "coupon_page", "emails_page", "blocked_page", "chosen_page",
    "planned_page", "laid_out_page", "adapt_page", "watched_page",
]  # fmt: skip

PROBE = """<!DOCTYPE html><html lang="en"><head><title>probe</title></head><body>
<iframe id="page" style="border:0;width:{width}px;height:{height}px" srcdoc="{page}"></iframe>
<pre id="found"></pre>
<script>
document.getElementById("page").addEventListener("load", function () {{
  var page = this.contentDocument, root = page.documentElement;
  var open = Array.from(page.querySelectorAll("details"));
  open.forEach(function (each) {{ each.open = true; }});
  var cut = Array.from(page.querySelectorAll("svg text")).filter(function (text) {{
    var box = text.getBoundingClientRect();
    return box.width > 0 && (box.right > {width} + 1 || box.left < -1);
  }}).map(function (text) {{ return text.textContent; }});
  var over = [];
  page.querySelectorAll("svg").forEach(function (svg) {{
    var boxes = Array.from(svg.querySelectorAll("text")).map(function (text) {{
      return [text.getBoundingClientRect(), text.textContent];
    }}).filter(function (each) {{ return each[0].width > 0; }});
    boxes.forEach(function (a, i) {{
      boxes.slice(i + 1).forEach(function (b) {{
        if (a[0].left + 1 < b[0].right && b[0].left + 1 < a[0].right &&
            a[0].top + 4 < b[0].bottom && b[0].top + 4 < a[0].bottom) {{
          over.push(a[1] + " | " + b[1]);
        }}
      }});
    }});
  }});
  // What an arrow key does to a range that has the focus: one step, then "input".
  var box = page.querySelector(".slider"), moved = null;
  if (box && !box.hidden) {{
    var input = box.querySelector("input");
    var told = function () {{
      return Array.from(box.querySelectorAll("dd")).map(function (each) {{
        return each.textContent;
      }});
    }};
    var cursor = page.querySelector(".wide .cursor, .narrow .cursor");
    var before = [told(), cursor.style.left];
    input.focus();
    input[input.value === input.max ? "stepDown" : "stepUp"]();
    input.dispatchEvent(new Event("input"));
    moved = {{
      focused: page.activeElement === input,
      named: page.querySelector("label[for='" + input.id + "']").textContent,
      before: before, after: [told(), cursor.style.left],
      spoken: input.getAttribute("aria-valuetext")
    }};
  }}
  document.getElementById("found").textContent = JSON.stringify({{
    moved: moved,
    width: root.scrollWidth,
    first: page.querySelector("header").getBoundingClientRect().bottom,
    cut: cut,
    over: over,
    asked: this.contentWindow.performance.getEntriesByType("resource").map(function (each) {{
      return each.name;
    }}),
    button: !page.getElementById("copy").hidden
  }});
}});
</script></body></html>
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A Chromium that works on this machine, or a skip that says so."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is here: looked for {', '.join(BROWSERS)}")
    plain = '<!DOCTYPE html><title>x</title><header></header><button id="copy"></button>'
    opened, why = seen(found, tmp_path_factory.mktemp("plain"), plain, width=390, height=400)
    if opened is None:
        pytest.skip(f"the browser does not open a plain page: {why}")
    return found


def seen(browser, folder, page, *, width, height):
    """Open the page in a frame of that size; return what was measured and the console."""
    probe = folder / "probe.html"
    probe.write_text(
        PROBE.format(width=width, height=height, page=html.escape(page)), encoding="utf-8"
    )
    run = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'user'}",
            f"--window-size={width + 40},{height + 40}", "--dump-dom",
            probe.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, flags=re.DOTALL)
    if found is None or not found[1]:
        return None, [run.stderr[-200:]]
    console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(found[1])), console


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_on_a_phone(name, request, browser, tmp_path):
    """At 390 px the page does not scroll sideways, not even with all parts open."""
    page = request.getfixturevalue(name)
    found, console = seen(browser, tmp_path, page, width=390, height=800)

    assert found["width"] <= 390
    assert found["cut"] == []
    assert found["over"] == []
    assert console == []
    assert found["asked"] == []


@pytest.mark.parametrize("name", PAGES)
def test_the_first_screen_needs_no_scrolling(name, request, browser, tmp_path):
    """At 1280 x 800 verdict, money, ladder and trust are in view; copying is offered."""
    page = request.getfixturevalue(name)
    found, console = seen(browser, tmp_path, page, width=1280, height=800)

    assert found["first"] <= 800
    assert found["button"]
    assert found["cut"] == []
    assert found["over"] == []
    assert console == []
    assert found["asked"] == []


def test_the_budget_moves_by_keyboard(chosen_page, browser, tmp_path):
    """The slider takes the focus; a step changes every number, the mark and what is spoken."""
    found, console = seen(browser, tmp_path, chosen_page, width=1280, height=800)
    moved = found["moved"]

    assert moved["focused"]
    assert moved["named"]
    (before, place), (after, new_place) = moved["before"], moved["after"]
    assert all(before)
    assert all(after)
    assert before[0] != after[0]
    assert place != new_place
    assert moved["spoken"] == after[0]
    assert console == []
