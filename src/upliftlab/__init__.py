"""What did this coupon, or this commission plan, really earn?

An experiment is a question written down; every stage is a function from the experiment, and
what came before, to one frozen answer:

    definition -> data -> checks -> estimators -> profit -> decision -> report

``Experiment`` reads the question, ``run`` answers it, ``report`` shows the answer; ``compare``
and its siblings answer on a plain table. Names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upliftlab.analysis import Analysis, run
    from upliftlab.checks import Check
    from upliftlab.decision import Decision
    from upliftlab.economics import Economics, Line
    from upliftlab.errors import (
        DataError,
        DefinitionError,
        DesignError,
        LedgerError,
        UpliftlabError,
    )
    from upliftlab.estimators.compare import compare
    from upliftlab.estimators.effects import Effects
    from upliftlab.experiment import Experiment
    from upliftlab.panels.did import did
    from upliftlab.profit import Profit
    from upliftlab.stats.estimate import Estimate

_HOME = {
    "Analysis": "analysis",
    "Check": "checks",
    "DataError": "errors",
    "Decision": "decision",
    "DefinitionError": "errors",
    "DesignError": "errors",
    "Economics": "economics",
    "Effects": "estimators.effects",
    "Estimate": "stats.estimate",
    "Experiment": "experiment",
    "LedgerError": "errors",
    "Line": "economics",
    "Profit": "profit",
    "UpliftlabError": "errors",
    "compare": "estimators.compare",
    "did": "panels.did",
    "run": "analysis",
}

__all__ = [
    "Analysis",
    "Check",
    "DataError",
    "Decision",
    "DefinitionError",
    "DesignError",
    "Economics",
    "Effects",
    "Estimate",
    "Experiment",
    "LedgerError",
    "Line",
    "Profit",
    "UpliftlabError",
    "compare",
    "did",
    "run",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module's attribute can be anything
    if name not in _HOME:
        message = f"module 'upliftlab' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"upliftlab.{_HOME[name]}"), name)
