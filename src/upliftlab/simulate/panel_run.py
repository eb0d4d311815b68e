"""Make the panel of a simulated roll-out when it is first needed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upliftlab.errors import DefinitionError
from upliftlab.simulate.creator_settings import creator_preset
from upliftlab.simulate.creator_tables import write_creators
from upliftlab.simulate.geo_coupon import GeoCoupon, write_geo
from upliftlab.simulate.plan_switch import PlanSwitch, write_switch

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date
    from pathlib import Path

    from upliftlab.experiment import Experiment
    from upliftlab.plan.sources import Simulated
    from upliftlab.simulate.creator_settings import DualCommission

    World = DualCommission | GeoCoupon | PlanSwitch

ONE_WAVE: dict[str, tuple[str, dict[str, Any]]] = {
    "well_designed_one_wave": ("well_designed", {"assignment": "half"}),
    "generous_one_wave": ("generous", {"assignment": "half"}),
}
"""Presets in which half of the clusters switch in one week."""

PANEL_FILES = ("creator_week.parquet", "province_week.parquet", "plan_day.parquet")


def made_panel(
    experiment: Experiment, progress: Callable[[str], None] | None = None
) -> dict[str, Path]:
    """Return panel and waves of a simulated roll-out, made on first use.

    They lie in ``data/`` beside the plan, in a folder named after what was asked for, so a
    changed plan never reads an old panel.
    """
    data = experiment.data
    if data is None or data.simulate is None:
        raise DefinitionError.missing_key("data", "simulate", "{preset: well_designed}")
    first = experiment.observe.start if experiment.observe else None
    world = world_of(data.simulate, first=first)
    mark = hashlib.sha256(repr(world).encode()).hexdigest()[:10]
    folder = data.base / "data" / f"{data.simulate.preset}-{mark}"
    if not (folder / "truth.json").is_file():
        if progress:
            progress("simulating")
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write(world, folder)
    panel = next(folder / name for name in PANEL_FILES if (folder / name).is_file())
    found = {"panel": panel}
    if (folder / "waves.csv").is_file():
        found["waves"] = folder / "waves.csv"
    return found


def world_of(wanted: Simulated, *, first: date | None = None) -> World:
    """Translate ``simulate: {preset: ...}`` into a simulated world of units over time.

    Args:
        wanted: Preset and seed of the plan.
        first: First day of the panel; that of the world unless given.
    """
    if wanted.preset == "plan_switch":
        switch = PlanSwitch(seed=wanted.seed)
        return switch if first is None else replace(switch, start=first)
    if wanted.preset == "geo_coupon":
        geo = GeoCoupon(seed=wanted.seed)
        return geo if first is None else replace(geo, start=first)
    name, changes = ONE_WAVE.get(wanted.preset, (wanted.preset, {}))
    creators = creator_preset(name, seed=wanted.seed, **changes)
    return creators if first is None else replace(creators, first_week=first)


def _write(world: World, folder: Path) -> None:
    if isinstance(world, PlanSwitch):
        write_switch(world, folder)
    elif isinstance(world, GeoCoupon):
        write_geo(world, folder)
    else:
        write_creators(world, folder)


__all__ = ["PANEL_FILES", "made_panel", "world_of"]
