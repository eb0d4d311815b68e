"""The page of a roll-out: creators switched to dual commission in waves."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import html5lib
import jsonschema
import numpy as np
import pytest

from upliftlab import report
from upliftlab.analysis import Analysis
from upliftlab.checks import PASS, WARN, Check
from upliftlab.data.prepared import Facts
from upliftlab.decision import KEEP_TESTING, SHIP, STOP, Decision
from upliftlab.economics import Economics, Line
from upliftlab.estimators.effects import Effects
from upliftlab.experiment import Experiment
from upliftlab.profit import assess
from upliftlab.provenance import Provenance
from upliftlab.report import names, over_time_waves, over_time_words, words
from upliftlab.report.first_screen import first_screen
from upliftlab.report.widths import columns
from upliftlab.rollout.answer import (
    Bound,
    Cell,
    Channel,
    Honesty,
    Opinion,
    Part,
    Path as Measured,
    Point,
    Rollout,
    Stretch,
    Wave,
    Without,
)
from upliftlab.stats.estimate import Estimate, interval, undefined

HOSTILE = "<script>alert(1)</script> & 星云机构"
NOBODY = "nobody untreated is left to compare with"
FIRST = date(2026, 5, 25)
WEEKS = [(FIRST + timedelta(weeks=i)).isoformat() for i in range(24)]
STARTS = (10, 14, 18)

PLAN = """
name: dual-commission-2026-autumn
question: Do we and our creators both earn more at 25 % / 8 % than at 20 % on everything?
owner: Wang Fang
kind: dual_commission
design: staggered
unit: creator
cluster: mcn
period: week
currency: CNY
observe: {start: 2026-05-25, end: 2026-11-08}
announced: 2 weeks
ramp: 4 weeks
special_days: {national_day: [2026-10-01, 2026-10-07]}
returns_final_after: 21 days
arms:
  single: {organic: 20%, ads: 20%, agency: 3%, control: true}
  dual:   {organic: 25%, ads: 8%,  agency: 3%}
waves: waves.csv
costs: {margin: 60%}
decide: {worth_it: 50, both_gain: true, must_not_worsen: {return_rate: 1 point}}
data:
  panel: {file: creator_week.parquet, money: yuan}
"""


def yuan(name, value, error, **more):
    """An estimate in fen from yuan."""
    return interval(name, 100 * value, (100 * error) ** 2, df=56, **more)


def make_effects():
    """Observed and expected means per creator and week, in fen."""
    return Effects(
        arms=("single", "dual"),
        control="single",
        names=("gmv_merchant", "kept_sales", "kept_creator_organic", "kept_creator_ads",
               "ad_spend"),
        n=(4_500, 4_500),
        mean=100 * np.array([[52_000, 25_600, 16_000, 4_000, 1_500],
                             [57_000, 28_630, 18_500, 4_600, 1_700]]),
        cov=_cov(),
        df=np.array([56.0, 56.0]),
        method="waves that switched against those that had not yet",
    )  # fmt: skip


def _cov():
    spread = np.diag(np.array([2e5, 4e4, 2e4, 2e4, 5e3]) ** 2)
    return np.einsum("ab,kl->akbl", np.array([[0.05, 0.0], [0.0, 0.05]]), spread)


def make_economics():
    """Two commissions, the agency's fee, goods and ad spend."""

    def commission(name, label, base, old, new):
        by_arm = {
            arm: {"merchant": {base: -rate}, "creator": {base: rate}}
            for arm, rate in (("single", old), ("dual", new))
        }
        return Line(name=name, label=label, stage="sale", flows={}, by_arm=by_arm)

    agency = {"merchant": {"kept_sales": -0.03}, "agency": {"kept_sales": 0.03}}
    fee = {"merchant": {"kept_sales": -0.006}, "platform": {"kept_sales": 0.006}}
    return Economics(
        lines=(
            Line(name="sales", label="sales kept after returns", stage="sale",
                 flows={"merchant": {"kept_sales": 1.0}}, status="measured"),
            Line(name="goods", label="cost of goods", stage="sale",
                 flows={"merchant": {"kept_sales": -0.5}}),
            commission("commission_organic", "commission, own traffic",
                       "kept_creator_organic", 0.20, 0.25),
            commission("commission_ads", "commission, with ads", "kept_creator_ads", 0.20,
                       0.08),
            Line(name="agency", label="agencies' fee", stage="sale", flows=agency),
            Line(name="tech_fee", label="platform fee", stage="settlement", flows=fee),
            Line(name="ad_spend", label="ad spend", stage="ads",
                 flows={"merchant": {"ad_spend": -1.0}}, status="measured"),
        ),
    )  # fmt: skip


def make_path(measure, label, size, error, *, is_money=True, note=""):
    """Nothing before the change, a dip while announced, a ramp, then an effect."""
    rng = np.random.default_rng(len(measure))
    points = []
    for event in (e for e in range(-12, 13) if e != -3):
        true = 0.0 if event < -2 else -0.3 if event < 0 else min(1.0, (event + 1) / 4)
        wide = error * (1 + 0.05 * max(0, event - 4))
        effect = yuan(f"e{event}", size * true + rng.normal(0, 0.4 * error), wide)
        points.append(
            Point(
                event=event,
                effect=effect,
                low=effect.estimate - 290 * wide,
                high=effect.estimate + 290 * wide,
            )
        )
    return Measured(
        measure=measure, label=label, is_money=is_money, points=tuple(points), note=note
    )


def make_cells():
    """Three waves by 24 weeks; from week 20 on nobody untreated is left."""
    rng = np.random.default_rng(8)
    found = []
    for start in STARTS:
        for week, label in enumerate(WEEKS):
            event = week - start
            effect = yuan("profit", 210 * min(1, (event + 1) / 4) * (event >= 0)
                          + rng.normal(0, 90), 110)  # fmt: skip
            if event == -3:
                effect = Estimate(name="base", estimate=0.0)
            if week >= 22:
                effect = undefined("profit", NOBODY)
            found.append(Cell(start=WEEKS[start], period=label, event=event, effect=effect))
    return tuple(found)


def make_rollout(profit):
    """What such a roll-out says, with hostile and Chinese labels."""
    error = profit.std_error / 100
    headline = profit.estimate / 100
    stretches = [
        ("since", "since the change", headline, error, 4_500),
        ("announced", "announced, before the change", -60, 55, 900),
        ("ramp", "while it ramped up", 110, 90, 1_800),
        ("after_ramp", "after it had ramped up", 290, 90, 2_700),
    ]
    return Rollout(
        design="staggered",
        unit="creator",
        period="week",
        clusters=(45, 15),
        waves=(
            *(Wave(start=WEEKS[s], units=150, clusters=15, profit=yuan("profit", v, 160))
              for s, v in zip(STARTS, (260, 210, 140), strict=True)),
            Wave(start="never", units=150, clusters=15, profit=None),
        ),
        stretches=(
            *(Stretch(name=n, label=t, profit=yuan(n, v, e), unit_periods=u,
                      total=yuan(n, v * u, e * u)) for n, t, v, e, u in stretches),
            Stretch(name="everything", label="announced and since", unit_periods=0.0,
                    profit=undefined("all", "no such periods"),
                    total=undefined("all", "no such periods")),
        ),
        paths=(
            make_path("profit", "our profit", headline, 55),
            make_path("creator", "creators' income", 990, 120),
            make_path("gmv_merchant", "GMV the shop books", 5_000, 1_500),
            make_path("kept_sales", "sales kept after returns", 3_000, 800),
            make_path("posts", "posts", 0.4, 0.2, is_money=False),
        ),
        cells=make_cells(),
        channels=tuple(
            Channel(name=name, label=label, expected=100 * old, observed=100 * new,
                    effect=yuan(name, new - old, error), share_expected=old / 25_600,
                    share_observed=new / 28_630)
            for name, label, old, new, error in (
                ("creator_organic", "creators' own traffic", 16_000, 18_500, 460),
                ("creator_ads", "creators with paid ads", 4_000, 4_600, 250),
                ("self_live", "our own live rooms", 1_600, 1_600, 90),
                ("shelf", "店铺货架", 4_000, 3_930, 120),
            )
        ),
        parts=(
            Part(name="mechanical", label="new rates on sales that came anyway",
                 effect=yuan("mechanical", -320, 30), note="at the expected sales"),
            Part(name="organic", label="other sales, own traffic",
                 effect=yuan("organic", 535, 70)),
            Part(name="ads", label="other sales with paid ads", effect=yuan("ads", 230.4, 80)),
            Part(name="cannibalisation", label="other sales on our shelf",
                 effect=yuan("cannibalisation", -32.5, 40)),
            Part(name="ad_spend", label="more or less spent on ads",
                 effect=yuan("ad_spend", headline - 412.9, 20)),
        ),
        rates=(
            Estimate(name="organic", estimate=0.262, ci_low=0.253, ci_high=0.271),
            Estimate(name="ads", estimate=0.126, ci_low=0.09, ci_high=0.161),
            undefined("agency", "it does not move"),
        ),
        commission_per_yuan=Estimate(name="commission", estimate=0.33, ci_low=0.24,
                                     ci_high=0.47),
        pay_back=7.0,
        both_gain=0.004,
        opinions=(
            Opinion(method="group_time", label="waves against not yet switched",
                    effect=profit),
            Opinion(method="imputation", label="imputation",
                    effect=yuan("imputation", 190, 75), note="same trends for all"),
            Opinion(method="two_way", label="two-way fixed effects",
                    effect=yuan("two_way", 130, 90), note="weights may be negative"),
            Opinion(method="synthetic", label="synthetic control",
                    effect=undefined("synthetic", "too few periods before")),
        ),
        honesty=(
            Honesty(restriction="relative_magnitude",
                    label="trends differ by at most m times the worst seen before",
                    bounds=tuple(Bound(m=m / 4, low=100 * (85 - 50 * m / 4), high=100
                                       * (340 + 15 * m)) for m in range(9)),
                    flips_at=0.7, threshold=5_000.0),
            Honesty(restriction="smoothness",
                    label="the difference of trends bends by at most m per period",
                    bounds=(Bound(m=0.0, low=8_000, high=35_000),
                            Bound(m=1_000.0, low=math.nan, high=math.nan),
                            Bound(m=2_000.0, low=5_500, high=40_000)),
                    flips_at=math.nan, threshold=5_000.0, note="one M could not be computed"),
        ),
        without=tuple(
            Without(label=label, profit=100 * (headline + gap))
            for label, gap in ((HOSTILE, -55.0), ("mcn_07", 31.0), ("mcn_31", -22.0),
                               *((f"mcn_{i}", 12.0 * math.sin(i)) for i in range(100, 157)))
        ),
        notes=("3 creators that changed their agency were left out",),
    )  # fmt: skip


def make(verdict=SHIP, plan=PLAN, eligible=600):
    """An analysis of a roll-out, made by hand."""
    experiment = Experiment.from_text(plan)
    effects, economics = make_effects(), make_economics()
    profit = assess(effects, economics, arm="dual", eligible=eligible)
    return Analysis(
        experiment=experiment,
        estimand="Mean extra profit per creator and week since the change, of dual.",
        facts=Facts(assigned={}),
        checks=(
            Check(name="pre_trend", verdict=PASS, value=0.4, threshold=0.05,
                  message="Trends before: waves ran in parallel (p 0.40)."),
            Check(name="special_days", verdict=WARN, value=1.0,
                  message="Special days: national_day lies in 1 week of 24."),
        ),
        economics=economics,
        effects=effects,
        profits=(profit,),
        decisions=(
            Decision(arm="dual", verdict=verdict, reasons=("It is so.",),
                     at_stake=profit.rollout),
        ),
        provenance=Provenance(plan="a" * 64, data="b" * 64, made_at="2026-12-01 08:00 UTC",
                              versions={"upliftlab": "0.1"}),
        rollout=make_rollout(profit.profit),
    )  # fmt: skip


@pytest.fixture(scope="module")
def dual():
    """The roll-out of the mock-up."""
    return make()


@pytest.fixture(scope="module")
def page(dual):
    """Its page."""
    return report.render_html(dual)


@pytest.fixture(scope="module")
def poor(dual):
    """The same with bands withheld, numbers missing and only what every roll-out has."""
    missing = undefined("profit", "too few clusters in this wave")
    rollout = dual.rollout
    path = rollout.path("profit")
    points = tuple(
        replace(
            point,
            low=math.nan,
            high=math.nan,
            effect=missing if point.event > 9 else point.effect,
        )
        for point in path.points
    )
    since = replace(rollout.stretches[0], profit=missing, total=missing, unit_periods=0.0)
    thin = replace(
        rollout,
        waves=rollout.waves[:3],
        stretches=(since,),
        paths=(replace(path, points=points, note="too few clusters in a wave for a band"),),
        channels=(),
        parts=(),
        rates=(),
        commission_per_yuan=None,
        pay_back=math.nan,
        both_gain=math.nan,
        opinions=rollout.opinions[:1],
        honesty=rollout.honesty[1:],
        without=(),
    )
    return replace(dual, rollout=thin)


@pytest.fixture(scope="module")
def cities():
    """Cities by day with a Chinese unit, seven waves, and no creators as a party."""
    days = [(FIRST + timedelta(days=i)).isoformat() for i in range(60)]
    rng = np.random.default_rng(1)
    starts = range(20, 55, 5)
    plan = PLAN.replace("staggered", "geo").replace("unit: creator", "unit: 城市")
    plan = plan.replace("cluster: mcn\n", "").replace("period: week", "period: day")
    found = make(plan=f"eligible_customers: 340\n{plan}", eligible=340 * 28)
    profit = found.profits[0]
    ours = {party: e for party, e in profit.parties.items() if party != "creator"}
    rollout = replace(
        found.rollout,
        design="geo",
        unit="城市",
        period="day",
        cells=tuple(
            Cell(
                start=days[start],
                period=day,
                event=i - start,
                effect=yuan("profit", 4_000 * (i >= start) + rng.normal(0, 900), 900),
            )
            for start in starts
            for i, day in enumerate(days)
        ),
        waves=(
            *(Wave(start=days[s], units=3, clusters=0, profit=yuan("p", 3_000, 900))
              for s in starts),
            Wave(start="never", units=40, clusters=0, profit=None),
        ),
        both_gain=math.nan,
    )  # fmt: skip
    return replace(found, profits=(replace(profit, parties=ours),), rollout=rollout)


@pytest.fixture(scope="module")
def pages(page, poor, cities):
    """All pages by name, each drawn once."""
    return {
        "dual": page,
        "poor": report.render_html(poor),
        "cities": report.render_html(cities),
    }


EACH = pytest.mark.parametrize("name", ["dual", "poor", "cities"])


def text_of(page):
    """What stands on the page, without markup."""
    tree = html5lib.parse(page, namespaceHTMLElements=False)
    for each in [e for e in tree.iter() if e.tag in {"script", "style"}]:
        each.clear()
    return re.sub(r"\s+", " ", "".join(tree.itertext()))


@EACH
def test_the_page_is_valid_and_alone(name, pages):
    """A strict parser finds no error; nothing is loaded; ids are unique and links lead on."""
    html = pages[name]
    html5lib.HTMLParser(strict=True).parse(html)
    ids = re.findall(r'\bid="([^"]+)"', html)
    charts = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))

    assert "http" not in html
    assert not re.search(r"@import|url\((?!#)|\ssrc=|<link|<iframe", html)
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in re.findall(r'href="(#[^"]+)"', html)} <= set(ids)
    assert not re.search(r"#[0-9a-fA-F]{6}", charts)


@EACH
def test_the_words_keep_the_rules_of_the_house(name, pages):
    """Every GMV says whose it is, minus is a minus sign, nothing is called significant."""
    found = text_of(pages[name])
    bare = found.replace("GMV on the platform's dashboard", "").replace(
        "GMV the shop books", ""
    )

    assert re.findall(r"\bGMV\b", bare.replace("From GMV to profit", "")) == []
    assert not re.search(r"(?<![\w–-])-[¥$]?\d", found)
    assert "significant" not in found
    assert not re.search(r"\bnan\b|\bNone\b|customer", found.split("The plan")[0])


@EACH
def test_every_section_begins_with_its_finding(name, pages):
    """A reader of the sentences alone has read the page."""
    html = pages[name]
    heads = re.findall(r"</h3>\s*<p class=\"finding\">(.*?)</p>", html, flags=re.DOTALL)

    assert len(heads) == html.count("<h3 ")
    assert all(head.strip().endswith((".", "?", ")")) for head in heads)


def test_sections_come_in_the_order_of_the_readers_questions(page):
    """When, why, can we trust it, how; a roll-out without segments has no such part."""
    found = re.findall(r'<section id="([a-z-]+)"', page)

    assert found == [
        "time", "event-study", "stretches", "waves",
        "why", "waterfall", "reasons", "channels", "parties", "ladder",
        "trust", "checks", "honest", "opinions", "without", "tipping", "set-aside",
        "how", "method", "costs", "plan", "provenance",
    ]  # fmt: skip


def test_every_chart_has_a_table(page):
    """Figure, sentence and a folded table, section by section."""
    for block in re.split(r"(?=<section id=)", page)[1:]:
        assert "<figure" not in block or "<details" in block


def test_names_from_outside_are_text(page):
    """HTML in a cluster's label is shown in sentence, chart and table, and never run."""
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; 星云机构") >= 4


def test_a_hostile_arm_is_text():
    """An arm may be called anything."""
    plan = PLAN.replace("  dual: ", f'  "{HOSTILE}": ')
    found = make(plan=plan)
    profit = replace(found.profits[0], arm=HOSTILE)
    decided = replace(found.decisions[0], arm=HOSTILE)
    arms = replace(found.effects, arms=("single", HOSTILE))
    html = report.render_html(
        replace(found, profits=(profit,), decisions=(decided,), effects=arms)
    )

    assert "<script>alert" not in html
    assert "SHIP &lt;script&gt;" in html


def test_chinese_labels_stay_text_in_charts(page):
    """Characters, not outlines of a font that lacks them."""
    charts = "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))

    assert "店铺货架" in charts
    assert "星云机构" in charts


def test_the_first_screen_speaks_of_the_roll_out(dual):
    """Who switched how, the total, what one unit brings, both sides and what flips it."""
    screen = first_screen(dual)

    assert screen.facts == (
        "creator clusters switched in waves", "3 waves, 15 clusters never",
        "weeks 25 May – 8 Nov 2026", "600 creators", "Wang Fang",
    )  # fmt: skip
    assert screen.headline == "SHIP dual to all creators."
    assert screen.total == "If rolled out to all 600 creators, each week"
    assert [row.who for row in screen.rows] == ["dual to all creators", "per creator and week"]
    assert screen.rows[1].money.value == "+¥210"
    assert screen.rows[1].verdict == ""
    assert screen.windows == ("since the change",)
    assert screen.roi == (
        "Per creator and week, we gain +¥210 (from +¥90 to +¥340); creators gain +¥993 "
        "(from +¥959 to +¥1,027)"
    )
    assert screen.flips.replace("\xa0", " ") == (
        "Flips if: the commission on creators' own traffic is above 26.2 % (now 25.0 %), or if "
        "without the change, trends would have parted by over 0.7 times the largest step they "
        "made before it"
    )


@pytest.mark.parametrize(
    ("n", "said"),
    [
        (600, "all 600 creators, each week"),
        (7_800, "all 600 creators for 13 weeks"),
        (4_500, "4,500 creator-weeks"),
    ],
)
def test_the_total_says_whom_it_speaks_of(dual, n, said):
    """Units each week, units for weeks, or plain unit-weeks."""
    assert over_time_words.reached(dual, n) == said


def test_eligible_units_take_the_place_of_those_followed(cities):
    """Where the plan says how many a roll-out would reach."""
    screen = first_screen(cities)

    assert screen.total == "If rolled out to 340 城市 for 28 days"
    assert screen.facts[:2] == ("some 城市 switched, others did not", "7 waves, 40 城市 never")
    assert screen.roi.startswith("Per 城市 and day, we gain +¥210")


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (40, "creators gain +¥40 (from +¥20 to +¥60)"),
        (-40, "creators lose ¥40 (from ¥20 to ¥60)"),
        (5, "creators: the data cannot tell +¥5 (from −¥15 to +¥25) from 0 yet"),
    ],
)
def test_a_side_gains_loses_or_cannot_be_told(size, said):
    """Never a bare sign."""
    found = interval("creator", 100.0 * size, 1_000.0**2)

    assert over_time_words.side("creators", found, "CNY") == said


def test_verdicts_name_the_creators_that_the_plan_asks_for(dual):
    """We gain and creators may not: keep testing says so; where they lose, stop says so."""
    profit = dual.profits[0]

    def verdict(word, size):
        parties = {**profit.parties, "creator": yuan("creator", size, 10)}
        decided = replace(dual.decisions[0], verdict=word)
        changed = replace(profit, parties=parties)
        return words.verdict_of(
            replace(dual, decisions=(decided,), profits=(changed,)), "dual"
        ).text

    assert verdict(KEEP_TESTING, 5) == "keep testing: creators do not surely gain"
    assert verdict(KEEP_TESTING, 90) == "keep testing"
    assert verdict(STOP, -90) == "stop: creators lose"


def test_next_steps_are_those_of_a_roll_out():
    """More weeks or another wave, and back to the old rates."""
    assert words.next_step(make(KEEP_TESTING)) == (
        "run dual on with more weeks, or switch another wave"
    )
    assert words.next_step(make(STOP)) == "switch dual off, back to single"


def test_the_event_study_marks_what_is_neither_before_nor_after(page):
    """Announcement, ramp and the period that everything is compared with."""
    chart = page[page.index('id="event-study"') :].partition("</figure>")[0]

    for mark in ("announced", "ramp", "compared with", "weeks since the change"):
        assert chart.count(f">{mark}<") >= 2
    assert "creators' income: change per creator and" in chart
    assert "GMV the shop books: change per creator" in chart


def test_waves_stand_where_they_belong_in_time(dual):
    """Periods in order whichever wave is read first, each wave's start at its own week."""
    cells = tuple(sorted(dual.rollout.cells, key=lambda cell: (-cell.event, cell.start)))
    late = tuple(cell for cell in cells if cell.start != WEEKS[10] or cell.event > 3)
    grid = over_time_waves._grid(dual, late)
    by_wave = dict(zip(grid.waves, grid.starts, strict=True))

    assert grid.periods == [over_time_words.short_period(label) for label in WEEKS]
    assert by_wave == {"3 Aug": 10, "31 Aug": 14, "28 Sep": 18}


def test_cells_without_a_number_say_why(dual, page):
    """Struck through in the picture; the reason stands beside it and in the table."""
    text = text_of(page)
    reasons = [cell for cell in dual.rollout.cells if math.isnan(cell.effect.estimate)]

    assert len(reasons) == 6
    assert f"Struck through: {NOBODY}." in text
    assert text.count(NOBODY) == 7


def test_bands_that_are_withheld_are_said_to_be(pages):
    """No band is drawn, and the reason stands below."""
    html = pages["poor"]

    assert "Too few clusters in a wave for a band." in html
    assert html.count(">withheld<") == 24
    assert "too few clusters in this wave" in html


def test_parts_add_up_to_profit(dual, page):
    """The last bar is the sum of the others."""
    total = sum(part.effect.estimate for part in dual.rollout.parts)

    assert total == pytest.approx(dual.profits[0].profit.estimate, rel=1e-9)
    assert "together +¥210 (from +¥90 to +¥340) extra profit" in text_of(page)


def test_honest_bounds_say_where_the_answer_flips(page):
    """In the sentence, in the picture and in the table."""
    text = text_of(page).replace("\xa0", " ")

    assert "extra profit stays above ¥50 (worth it) up to m = 0.7" in text
    assert "stays above ¥50 (worth it) at every m shown, up to ¥20" in text
    assert page.count(">flips at 0.7<") == 2


def test_an_answer_that_never_stood_does_not_flip(dual):
    """Where even parallel trends leave the hurdle inside, no M is named."""
    weak = replace(
        dual.rollout.honesty[0], bounds=(Bound(m=0.0, low=-900.0, high=9_000.0),), flips_at=0.0
    )
    found = replace(dual, rollout=replace(dual.rollout, honesty=(weak,)))

    assert "Even if trends were parallel the range would include ¥50" in text_of(
        report.render_html(found)
    )
    assert "parted" not in first_screen(found).flips


def test_one_cluster_that_turns_the_sign_is_named(dual):
    """The sentence does not hide it."""
    turned = (Without(label="mcn_07", profit=-500.0), *dual.rollout.without)
    found = replace(dual, rollout=replace(dual.rollout, without=turned))

    assert "its sign hangs on mcn_07" in text_of(report.render_html(found))


@EACH
def test_text_fits_a_terminal(name, request):
    """At most 100 columns, Chinese characters counted as two."""
    text = report.render_text(request.getfixturevalue(name))

    assert max(columns(line) for line in text.splitlines()) <= 100
    assert "\xa0" not in text


@pytest.mark.parametrize("render", [report.render_text, report.render_markdown])
def test_text_and_markdown_hold_the_same_facts(dual, render):
    """Event table, stretches, waves, parts, channels, parties, flip point, other methods."""
    text = " ".join(render(dual).replace("\\", "").split())

    for fact in (
        "weeks since the change", "−12", "while it ramped up +¥110", "150 creators never",
        "new rates on sales that came anyway −¥320", "creators' own traffic +¥2,500",
        "26.2 %", "both sides gain (p 0.004)", "up to m = 0.7", "two-way fixed effects",
        "7 weeks",
    ):  # fmt: skip
        assert fact in text, fact


@EACH
def test_json_is_as_the_schema_says(name, request):
    """Draft 2020-12, no NaN, and every key of a roll-out is described."""
    schema = report.json_schema()
    found = json.loads(report.render_json(request.getfixturevalue(name)))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(closed(schema["$defs"], "rollout")).validate(
        found["rollout"]
    )
    jsonschema.Draft202012Validator(schema).validate(found)

    assert set(found["rollout"]) == set(schema["$defs"]["rollout"]["properties"])


def closed(shapes, name):
    """The shape of that name, where no object may hold a key that is not described."""
    text = json.loads(json.dumps(shapes))
    for each in _objects(text):
        each.setdefault("additionalProperties", False)
    return {"$ref": f"#/$defs/{name}", "$defs": text}


def _objects(value):
    if isinstance(value, dict):
        if "properties" in value and value.get("type") == "object":
            yield value
        for inner in value.values():
            yield from _objects(inner)


def test_same_analysis_same_bytes_and_nothing_changed(dual, page):
    """No date, no random id; the analysis is the same before and after."""
    before = json.dumps(dual.to_dict())

    assert report.render_html(dual) == page
    assert json.dumps(dual.to_dict()) == before


def test_a_unit_has_no_period_where_nothing_switches(coupon):
    """Coupons stay per customer, and the page has no part on time."""
    assert names.each(coupon.experiment) == "customer"
    assert names.all_of(coupon.experiment) == "everyone"
    assert 'id="time"' not in report.render_html(coupon)


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Open a page in the browser, by the probe of the other pages; or a skip that says why."""
    place = Path(__file__).with_name("test_browser.py")
    spec = importlib.util.spec_from_file_location("probe_of_pages", place)
    probe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(probe)
    found = next((p for name in probe.BROWSERS if (p := probe.shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is here: looked for {', '.join(probe.BROWSERS)}")

    def see(page, width):
        folder = tmp_path_factory.mktemp(f"page{width}")
        seen, console = probe.seen(found, folder, page, width=width, height=800)
        if seen is None:
            pytest.skip(f"the browser does not open the page: {console}")
        return seen, console

    return see


@pytest.mark.parametrize("width", [390, 1280])
@EACH
def test_nothing_is_cut_in_a_browser(name, width, pages, opened):
    """No sideways scrolling, no text over text, nothing asked for; the first screen fits."""
    seen, console = opened(pages[name], width)

    assert seen["width"] <= width
    assert seen["cut"] == []
    assert seen["over"] == []
    assert console == []
    assert seen["asked"] == []
    assert width == 390 or seen["first"] <= 800
