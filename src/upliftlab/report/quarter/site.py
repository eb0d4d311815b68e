"""Which files does a review leave behind: a site that opens from disk, and its tables?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from upliftlab.registry.mistakes import RegistryError
from upliftlab.report.environment import MARKS, asset, environment
from upliftlab.report.quarter.amounts import Amounts
from upliftlab.report.quarter.board import render_board
from upliftlab.report.quarter.first import Issue, first_of
from upliftlab.report.quarter.forms import render_json, render_markdown
from upliftlab.report.quarter.grids import (
    decisions_grid,
    page_of,
    programme_grid,
    results_grid,
)
from upliftlab.report.quarter.pages import page_values
from upliftlab.report.quarter.sections import parts_of
from upliftlab.report.quarter.sheets import tables_together
from upliftlab.report.quarter.tables import render_csv, tables_of
from upliftlab.report.quarter.together import parts_together
from upliftlab.report.quarter.workbook import render_workbook
from upliftlab.report.written import replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from upliftlab.registry.damage import Damage
    from upliftlab.registry.record import Record
    from upliftlab.report.quarter.together import Together
    from upliftlab.review.programme import Programme

EXPERIMENTS, DATA = "experiments", "data"


def write_review(
    programme: Programme,
    folder: str | Path,
    *,
    issue: Issue | None = None,
    together: Together | None = None,
    damage: Sequence[Damage] = (),
    today: date | None = None,
) -> dict[str, Path]:
    """Write the review of a quarter into a folder, which is made if need be.

    Args:
        programme: The quarter's experiments and their sums.
        folder: Where to.
        issue: Who made it, when its numbers were frozen, who signed.
        together: The tests read together, with books and agenda; None leaves its parts out.
        damage: Files of the registry that could not be read.
        today: Day against which overrides expire; none expire unless given.

    Returns:
        Form -> path: "html", "board" (one paper to print), "markdown", "json", "xlsx", and
        the folders "experiments" and "data" of pages and CSV files.
    """
    place = Path(folder)
    issue = issue or Issue()
    amounts = Amounts(currency=programme.currency, outcome=programme.outcome)
    first = first_of(programme, issue, damage=damage, together=together)
    more = () if together is None else parts_together(together)
    parts = parts_of(programme, damage=damage, more=more)
    grids = {
        "asked": decisions_grid(programme.asked, amounts),
        "ran": programme_grid(programme, amounts),
        "forest": results_grid(programme.results, amounts),
    }
    tables = tables_of(programme, damage=damage, today=today)
    if together is not None:
        tables = (*tables[:-1], *tables_together(together), tables[-1])
    made = f"Frozen {issue.frozen}" if issue.frozen else "Not frozen"
    page = environment().get_template("review.html").render(
        first=first, parts=parts, grids=grids, marks=MARKS, blocked="", made=f"{made}."
    )  # fmt: skip
    for each in (place, place / EXPERIMENTS, place / DATA):
        each.mkdir(parents=True, exist_ok=True)
    _write_experiments(programme, place / EXPERIMENTS)
    for each_table in tables:
        name = each_table.name.replace(" ", "_")
        replace_file(place / DATA / f"{name}.csv", render_csv(each_table).encode("utf-8-sig"))
    style = f"{asset('style.css')}\n{asset('review.css')}"
    replace_file(place / "style.css", style.encode())
    replace_file(place / "grid.js", str(asset("grid.js")).encode())
    written = {
        "xlsx": (place / "review.xlsx", render_workbook(tables)),
        "json": (place / "review.json", render_json(programme, tables).encode()),
        "markdown": (place / "summary.md", render_markdown(first, parts, grids).encode()),
        "board": (
            place / "board.html",
            render_board(programme, first, parts, grids, f"{made}.").encode(),
        ),
        "html": (place / "index.html", page.encode()),
    }
    for path, content in written.values():
        replace_file(path, content)
    paths = {form: path for form, (path, _) in written.items()}
    return paths | {"experiments": place / EXPERIMENTS, "data": place / DATA}


def write_experiment(record: Record, folder: str | Path) -> Path:
    """Make the page of one experiment anew in a site that is there.

    A decision stands on it at once; the other pages follow when the review is next made.

    Args:
        record: As it stands in the registry, with its decisions.
        folder: The site.

    Raises:
        RegistryError: When the site has no page of this record.
    """
    path = Path(folder) / EXPERIMENTS / page_of(record)
    if not path.is_file():
        raise RegistryError.no_page(record.name, folder)
    template = environment().get_template("record.html")
    return replace_file(path, template.render(record=page_values(record), marks=MARKS).encode())


def _write_experiments(programme: Programme, folder: Path) -> None:
    """Write one page per experiment; pages that no experiment has any more go away."""
    template = environment().get_template("record.html")
    kept = set()
    for record in programme.records:
        name = page_of(record)
        kept.add(name)
        text = template.render(record=page_values(record), marks=MARKS)
        replace_file(folder / name, text.encode())
    for stale in folder.glob("*--*.html"):
        if stale.name not in kept:
            stale.unlink()
