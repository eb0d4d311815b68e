"""Make the tables of a simulated experiment when they are first needed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from upliftlab.errors import DefinitionError
from upliftlab.plan.sources import PANEL_PRESETS
from upliftlab.simulate.panel_run import made_panel
from upliftlab.simulate.presets import preset
from upliftlab.simulate.tables import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from upliftlab.experiment import Experiment
    from upliftlab.plan.sources import Simulated
    from upliftlab.simulate.settings import Goal, SmartCoupon

TABLES = (
    "assignments",
    "order_lines",
    "refunds",
    "users",
    "exposures",
    "coupon_events",
    "membership_events",
)


def settings_of(experiment: Experiment) -> SmartCoupon:
    """Translate a plan with ``data: {simulate: ...}`` into the simulated world.

    Arms must be called ``none`` and ``coupon_5``, ``coupon_10`` and so on, as the simulator
    writes them.

    Raises:
        DefinitionError: For an unknown preset, or arms that the simulator does not know.
    """
    wanted = _wanted(experiment)
    depths = {arm.label: int(arm.coupon.main) if arm.coupon else 0 for arm in experiment.arms}
    order = sorted(depths, key=lambda label: depths[label])
    settings = replace(
        preset(wanted.preset, customers=wanted.customers, seed=wanted.seed),
        goal=cast("Goal", wanted.population),
        depths=tuple(depths[label] for label in order),
        shares=_shares(experiment, order),
    )
    if experiment.run is not None:
        days = (experiment.run.end - experiment.run.start).days + 1
        settings = replace(settings, start=experiment.run.start, days=days)
    if set(settings.arms) != set(depths):
        raise DefinitionError.unknown_word(
            "arms", ", ".join(sorted(depths)), list(settings.arms)
        )
    return settings


def made(
    experiment: Experiment, progress: Callable[[str], None] | None = None
) -> dict[str, Path]:
    """Return the files of a simulated experiment, made on first use.

    They lie in ``data/`` beside the plan, in a folder named after what was asked for, so a
    changed plan never reads old tables.
    """
    if _wanted(experiment).preset in PANEL_PRESETS:
        return made_panel(experiment, progress)
    settings = settings_of(experiment)
    base = experiment.data.base if experiment.data else Path()
    mark = hashlib.sha256(repr(settings).encode()).hexdigest()[:10]
    folder = base / "data" / f"{_wanted(experiment).preset}-{mark}"
    if not (folder / "truth.json").is_file():
        if progress:
            progress("simulating")
        folder.parent.mkdir(parents=True, exist_ok=True)
        write(settings, folder)
    return {name: folder / f"{name}.parquet" for name in TABLES}


def _wanted(experiment: Experiment) -> Simulated:
    if experiment.data is None or experiment.data.simulate is None:
        raise DefinitionError.missing_key("data", "simulate", "{preset: gmv_up_profit_down}")
    return experiment.data.simulate


def _shares(experiment: Experiment, order: list[str]) -> tuple[float, ...]:
    share = {arm.label: float(arm.share) for arm in experiment.arms if arm.share is not None}
    return tuple(share[label] for label in order)
