"""The application, and what all commands share: plans in, answers, progress, exit codes."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from upliftlab.analysis import Analysis
    from upliftlab.experiment import Experiment

MISTAKE, NO_VERDICT = 1, 3

app = typer.Typer(
    help=(
        "What did this coupon really earn? Experiments read in incremental profit.\n\n"
        "Exit codes: 0 done; 1 a mistake in a definition or in data; 2 wrong usage; "
        "3 done, and a validity check failed, so there is no verdict."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Files = Annotated[list[Path], typer.Argument(help="experiment.yaml, or folders that hold one.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for the page; default: report/ beside it.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@contextmanager
def uncollected() -> Iterator[None]:
    """Make millions of small values that hold no cycles, and do not look for any meanwhile."""
    import gc

    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def experiments(files: list[Path]) -> Iterator[tuple[Experiment, Path]]:
    """Read all definitions before anything expensive happens."""
    from upliftlab.experiment import Experiment

    paths = [path / "experiment.yaml" if path.is_dir() else path for path in files]
    plans = [Experiment.from_yaml(path) for path in paths]
    yield from zip(plans, paths, strict=True)


def answered(experiment: Experiment, file: Path | None = None) -> Analysis:
    """Answer a plan, held to the lock beside its file."""
    from upliftlab.analysis import run as answer
    from upliftlab.lock import lock_beside

    lock = None if file is None else lock_beside(file)
    with progress() as tell:
        return answer(experiment, lock=lock, progress=tell)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show the step at work on a terminal; stay silent in pipes."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield lambda step: status.update(f"{step} …")


def folder_of(out: Path | None, file: Path, experiment: Experiment, *, many: bool) -> Path:
    if out is None:
        return file.parent / "report"
    return out / experiment.name if many else out


def json_of(results: list[Analysis]) -> str:
    rows = [analysis.to_dict() for analysis in results]
    return json.dumps(rows[0] if len(rows) == 1 else rows, ensure_ascii=False)


def exit_with(results: list[Analysis]) -> None:
    if not all(analysis.is_valid for analysis in results):
        raise typer.Exit(NO_VERDICT)
