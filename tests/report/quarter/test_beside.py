"""Books, restatements, the long run and next quarter's money stand on the review's page."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import openpyxl
import pandas as pd
import pytest
from typer.testing import CliRunner

from upliftlab.cli import app
from upliftlab.errors import UpliftlabError
from upliftlab.registry.store import Registry
from upliftlab.report.quarter.amounts import Amounts
from upliftlab.report.quarter.beside import bridge_section, shift_text
from upliftlab.review.allocation import OFF, options_of, plan_of
from upliftlab.review.book_files import read_book_files, tied
from upliftlab.review.finance_files import read_contracts
from upliftlab.review.long_files import read_long_run
from upliftlab.review.mistakes import BooksError
from upliftlab.simulate.books import simulate_books

YUAN = Amounts(currency="CNY", outcome="profit")
TEST_LINES = {
    "returns": "returned", "insurance": "freight_insurance", "handling": "return_handling",
    "tech": "tech_fee", "payment": "payment_fee",
}  # fmt: skip
CONTRACTS = """contract,scheme,slot,spend,gmv,target,orders,edited,cash_share
A,douyin,7,1000.00,3000.00,4,30,,0.7
A,douyin,8,1000.00,4000.00,4,30,,0.7
B,tiktok,1 Jul,900.00,2000.00,4,30,,
B,tiktok,2 Jul,900.00,2000.00,4,20,,
"""
ADJUSTMENTS = """account_code,period,amount,kind,note,signed_by
6601.07,2026-08,0.00,non-cash credit,ad credit of July,Zhou
"""
LONG = {
    "measured": [
        {
            "name": "win-back", "effects": [30.0, 12.0, 5.0], "cov": np.eye(3).tolist(),
            "days": [60, 120, 180], "units": 100_000, "beyond": 60,
        }
    ],
    "pull_forward": [
        {"name": "jacket", "effects": [100.0, -30.0], "cov": [[25.0, -5.0], [-5.0, 25.0]]}
    ],
}  # fmt: skip


def write_books(folder, **how):
    """Ledger, books and chart of a simulated quarter, with or without a planted error."""
    found = simulate_books(**how)
    ledger, books = pd.DataFrame(found.postings), pd.DataFrame(found.books)
    for frame in (ledger, books):
        frame["amount"] = [f"{amount / 100:.2f}" for amount in frame["amount"]]
    chart = pd.DataFrame(found.chart)
    chart["test_line"] = [TEST_LINES.get(line, "") for line in chart["line"]]
    chart["signed_by"] = "Zhou"
    for name, frame in (("ledger", ledger), ("books", books), ("chart", chart)):
        frame.to_csv(folder / f"{name}.csv", index=False)
    return [
        w for n in ("books", "chart", "ledger") for w in (f"--{n}", str(folder / f"{n}.csv"))
    ]


def restate(registry):
    """Read one experiment again after its returns: it earns less and no longer ships."""
    first = next(
        r for r in registry.records() if r.is_read and any(a.verdict == "ship" for a in r.arms)
    )
    arms = tuple(
        replace(
            each,
            profit=each.profit.scaled(0.5),
            realised=each.realised.scaled(0.5),
            verdict="keep testing",
        )
        for each in first.arms
    )
    registry.add(replace(first, id="", arms=arms, data="later", recorded_at="2026-11-20T00:00"))
    return first


@pytest.fixture(scope="module")
def answered(quarter, tmp_path_factory):
    """A review with everything beside it, made on the command line."""
    folder = tmp_path_factory.mktemp("beside")
    registry = Registry(folder / "registry")
    registry.add_all(replace(r, decisions=(), supersedes=()) for r in quarter[0].records())
    last = folder / "last.json"
    frozen = {
        "quarter": "2026Q3",
        "records": [each.id for each in registry.records()],
        "total": {"estimate": 123_400.0},
    }
    last.write_text(json.dumps(frozen))
    moved = restate(registry)
    (folder / "long.json").write_text(json.dumps(LONG))
    (folder / "contracts.csv").write_text(CONTRACTS)
    (folder / "adjustments.csv").write_text(ADJUSTMENTS)
    spent = "mechanism,spend\nsmart_coupon: gmv,6000.00\nlive shows,2000.00\n"
    (folder / "spend.csv").write_text(spent)
    books = write_books(folder, plant=("6601.05", "2026-08", Fraction(5, 1000)))
    done = CliRunner().invoke(
        app,
        [
            "review", "--quarter", "2026Q3", "--registry", str(registry.folder), "--out",
            str(folder / "site"), "--frozen", "2026-11-30", "--last", str(last),
            "--long-run", str(folder / "long.json"), "--signed", "Zhou",
            *(w for n in ("contracts", "adjustments", "spend")
              for w in (f"--{n}", str(folder / f"{n}.csv"))), *books,
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return done.output, folder / "site", moved


def test_a_planted_error_is_named_on_screen_page_and_sheet(answered):
    """Half a percent in one account and month: said by name, with its size."""
    told, site, _ = answered
    page = (site / "index.html").read_text(encoding="utf-8")
    sheet = openpyxl.load_workbook(site / "review.xlsx", read_only=True)["books"]
    over = [row for row in sheet.iter_rows(values_only=True) if row[9] == "yes"]

    found = "account 6601.05 (commission) differs in 2026-08 by −486.59, 0.50% of the ledger"
    assert f"Ties to the books: {found}" in told
    assert found in page.replace('<span class="nb">', "").replace("</span>", "")
    assert [(row[0], row[3], row[7]) for row in over] == [("6601.05", "2026-08", -486.59)]


def test_what_moved_since_the_last_review_is_drawn(answered):
    """The restated treatment, its flip and its money stand in the table of changes."""
    told, site, moved = answered
    rows = pd.read_csv(site / "data" / "restated.csv")
    page = (site / "index.html").read_text(encoding="utf-8")
    ships = [arm.arm for arm in moved.arms if arm.verdict == "ship"]

    assert f"{len(moved.arms)} of {len(rows)} arms restated" in told
    assert set(rows[rows["restated"] == "yes"]["experiment"]) == {moved.name}
    assert set(ships) <= set(rows[rows["flips"] == "yes"]["treatment"])
    assert 'id="drift"' in page


def test_every_total_says_how_final_it_is_and_who_signed(answered):
    """Booked, projected and assumed add up; frozen and restated; signed on the day."""
    _, site, _ = answered
    rows = pd.read_csv(site / "data" / "totals.csv").set_index("total")
    told = json.loads((site / "review.json").read_text(encoding="utf-8"))
    first = rows.loc["realised extra profit"]

    assert first["amount"] == pytest.approx(told["total"]["estimate"] / 100)
    assert first["frozen"] == pytest.approx(1_234.0)
    assert first["restated by"] == pytest.approx(first["amount"] - 1_234.0)
    shares = first[["share booked", "share projected", "share assumed"]]
    assert shares.sum() == pytest.approx(1.0)
    assert (rows["signed by"] == "Zhou").all()
    assert (rows["signed on"] == "2026-11-30").all()
    assert rows.loc["campaign money", "frozen"] != rows.loc["campaign money", "frozen"]


def test_actual_less_the_tests_is_the_counterfactual(answered):
    """Line by line on the ledger's orders; names that differ are mapped, others are named."""
    _, site, _ = answered
    rows = pd.read_csv(site / "data" / "counterfactual.csv").set_index("line")
    page = (site / "index.html").read_text(encoding="utf-8")
    known = rows.dropna(subset=["difference"])
    ledger = simulate_books().postings
    months = {"2026-07", "2026-08", "2026-09"}
    tech = sum(r["amount"] for r in ledger if r["line"] == "tech" and r["ordered"] in months)

    assert {"sales", "returns", "tech", "insurance"} <= set(known.index)
    np.testing.assert_allclose(
        known["without the tests"], known["actual"] - known["difference"], rtol=1e-9
    )
    assert rows.loc["tech", "actual"] == pytest.approx(tech / 100)
    assert math.isnan(rows.loc["rent", "difference"])
    assert rows.loc["rent", "without the tests"] == rows.loc["rent", "actual"]
    assert "Lines of the tests that the ledger does not have: coupon" in page
    bare = re.sub(r"<[^>]+>", "", page).replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(r"is not known while \d+ lines? of the tests ha(s|ve) no place", bare)
    steps = pd.read_csv(site / "data" / "steps_to_the_books.csv").set_index("step")
    assert math.isnan(steps.loc["of it booked in the quarter", "amount"])
    assert "Lines and accounts by chart version 1 agreed by Zhou." in page


def test_guarantees_credits_and_lifetime_value_are_below_the_line(answered):
    """Credits by each contract's own formula; none of it is in a total."""
    _, site, _ = answered
    rows = pd.read_csv(site / "data" / "below_the_line.csv")
    # A: 2,000 spent less 7,000 / 4; B: the day with over 20 orders, 900 less 2,000 / 3.6.
    paid = rows[rows["kind"] == "ROI guarantee"].set_index("what")

    assert paid.loc["A", "amount"] == pytest.approx(250.0)
    assert paid.loc["A", "worth in cash"] == pytest.approx(175.0)
    assert paid.loc["B", "amount"] == pytest.approx(344.44)
    assert rows["kind"].tolist()[2:] == ["non-cash credit", "lifetime value"]
    assert rows.iloc[3]["amount"] == pytest.approx(17_000.0)


def test_spend_without_a_test_is_named_on_the_page(answered):
    """Three quarters of the money have causal evidence; the rest is a question to answer."""
    _, site, _ = answered
    page = (site / "index.html").read_text(encoding="utf-8")

    assert "75% of spend has a test behind it" in page.replace("\N{NO-BREAK SPACE}", "")
    assert "nothing speaks for live shows" in page
    assert "Does live shows earn anything?" in page


def test_the_bridge_and_the_long_run_stand_on_the_page(answered):
    """Both bases with what lies between, and lifetime value outside of every total."""
    _, site, _ = answered
    page = (site / "index.html").read_text(encoding="utf-8")
    bases = pd.read_csv(site / "data" / "two_bases.csv")
    long_run = pd.read_csv(site / "data" / "long_run.csv")

    assert 'id="bases"' in page
    assert (bases["unexplained"] == 0).all()
    assert long_run["extra profit"].tolist() == [17_000.0]
    assert "Not part of any total" in page
    assert "later quarters gave back 30%" in page


def test_books_that_tie_say_so(tmp_path):
    """Without an error the same section says that nothing is left."""
    write_books(tmp_path)
    files = [tmp_path / f"{name}.csv" for name in ("ledger", "books", "chart")]
    found = tied(read_book_files(*files, quarter="2026Q3"), "2026Q3")
    section = bridge_section(found.bases, found.tie, YUAN)

    assert found.tie.ties
    assert section.finding.endswith(
        "nothing is unexplained. Ledger against books: ledger and books agree to the last unit."
    )


def test_the_budget_follows_the_tests(quarter, together):
    """Options cost what their roll-out costs; the plan keeps the budget and beats today."""
    records = quarter[0].records("2026Q3")
    options = options_of(together.review, records)
    plan = plan_of(together.review, records)
    half = plan_of(together.review, records, budget=plan.budget / 2)
    one = options[0]
    record = next(r for r in records if r.name == one.name)
    level = next(x for x in one.levels if x.name != OFF)
    arm = record.arm(level.name)

    assert level.spend == pytest.approx(arm.spend.estimate / arm.n * (arm.rollout_n or arm.n))
    assert all(each.levels[0].name == OFF for each in options)
    assert plan.spend <= plan.budget * (1 + 1e-9)
    assert plan.gain.estimate >= 0
    assert half.spend <= plan.budget / 2 * (1 + 1e-9)
    assert half.profit.estimate <= plan.profit.estimate
    assert math.isclose(
        sum(m.spend_change for m in half.moves), half.spend - plan.budget, rel_tol=1e-9
    )
    assert shift_text(half, YUAN).startswith("Move ¥")


def test_nobody_spent_anything_gives_no_plan(together):
    """Without records nobody knows what a campaign costs: no section, no zero."""
    assert plan_of(together.review, []) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is no JSON object; write lists under some of "),
        ('{"mesured": []}', "has ['mesured']; its lists are "),
        ('{"measured": [{"name": "x"}]}', "'measured' in long.json needs column 'effects'"),
    ],
)
def test_a_long_run_file_is_read_strictly(text, said, tmp_path):
    """What is wrong is named, with what may stand there."""
    file = tmp_path / "long.json"
    file.write_text(text)
    with pytest.raises(UpliftlabError) as caught:
        read_long_run(file)

    assert said in str(caught.value)


def test_a_surrogate_index_is_learned_from_a_history_beside_the_file(tmp_path):
    """Early effects times what they were worth later: 0.5 x 2 x 1,000 units."""
    rng = np.random.default_rng(1)
    early = rng.normal(size=400)
    late = 2 * early + rng.normal(size=400)
    pd.DataFrame({"orders": early, "profit": late}).to_csv(tmp_path / "past.csv", index=False)
    row = {
        "name": "new", "history": "past.csv", "late": "profit", "horizon": 180,
        "effects": {"orders": 0.5}, "cov": [[0.0001]], "units": 1_000, "beyond": 60,
    }  # fmt: skip
    (tmp_path / "long.json").write_text(json.dumps({"index": [row]}))
    (found,) = read_long_run(tmp_path / "long.json").lifetimes

    assert found.method == "surrogate index"
    assert found.amount.estimate == pytest.approx(1_000, rel=0.1)
    assert "learned on 400 units" in found.model


def test_a_last_review_that_is_none_is_refused(quarter, tmp_path):
    """A file without records cannot be compared with."""
    (tmp_path / "x.json").write_text("{}")
    done = CliRunner().invoke(
        app,
        [
            "review", "--quarter", "2026Q3", "--registry", str(quarter[0].folder), "--out",
            str(tmp_path / "out"), "--last", str(tmp_path / "x.json"),
        ],
    )  # fmt: skip

    assert "is no review.json: it has no quarter and records." in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_decision_stands_on_the_experiments_page_at_once(quarter, tmp_path):
    """Signed with --review, it is on the page of the site; before, the page says how."""
    from upliftlab.report.quarter import write_review
    from upliftlab.review.programme import programme

    registry = Registry(tmp_path / "registry")
    registry.add_all(replace(r, decisions=(), supersedes=()) for r in quarter[0].records())
    record = next(r for r in registry.records() if len(r.arms) == 1 or r.is_read)
    write_review(programme([record], "2026Q3"), tmp_path / "site")
    (page,) = (tmp_path / "site" / "experiments").glob("*.html")
    before = page.read_text(encoding="utf-8")
    done = CliRunner().invoke(
        app,
        [
            "decide", record.name, "keep testing", "--by", "Chen", "--arm", record.arms[0].arm,
            "--why", "cash", "--expires", "2999-01-01", "--registry", str(registry.folder),
            "--review", str(tmp_path / "site"),
        ],
    )  # fmt: skip
    after = page.read_text(encoding="utf-8")

    assert done.exit_code == 0, done.output
    assert f"sign one: <code>upliftlab decide {record.name}" in before
    assert "by Chen" not in before
    assert "by Chen" in after


def test_a_share_of_cash_that_is_none_is_named_by_its_row(tmp_path):
    """The second contract begins in row 3 of the file."""
    file = tmp_path / "contracts.csv"
    head = "contract,scheme,slot,spend,gmv,target,orders,cash_share"
    file.write_text(f"{head}\nA,douyin,1,10,20,2,30,1\nB,douyin,1,10,20,2,30,most\n")
    with pytest.raises(BooksError) as caught:
        read_contracts(file)

    assert str(caught.value) == (
        f"contracts {str(file)!r}, row 3: column 'cash_share' is 'most'; write a number such "
        "as 2.5."
    )
