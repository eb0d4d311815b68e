"""The command line: a few lines per command, each calling the Python API.

Exit codes: 0 done; 1 a mistake in a definition or in data; 2 wrong usage; 3 done, and a
validity check failed, so there is no verdict.
"""

from __future__ import annotations

import sys

import typer

# Commands register themselves, in the order in which `--help` lists them.
from upliftlab.cli import (  # noqa: F401
    begin,
    design,
    plan,
    reconcile,
    registry,
    review,
    run,
    watch,
)
from upliftlab.cli.app import MISTAKE, app
from upliftlab.errors import UpliftlabError


def main() -> None:
    """Run the command line; mistakes are one clear sentence, never a traceback."""
    try:
        app()
    except UpliftlabError as mistake:
        typer.echo(str(mistake), err=True)
        sys.exit(MISTAKE)
