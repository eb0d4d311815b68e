"""What is kept between two looks, so that the next one reads new days only?"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.data.cells import Cells
from upliftlab.data.cluster_totals import ClusterTotals
from upliftlab.data.look_files import Piece
from upliftlab.data.looks import PowerSums
from upliftlab.monitor.refusals import unreadable_state

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from upliftlab.data.looks import Fresh

VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """Everything that was read and said at the looks so far.

    Attributes:
        promised: The plan at the first look, as plain values.
        next_day: First shop day of assignment not read yet, counted from 1970.
        as_of: First shop day not known at the last look; None before the first.
        cells: Moments by arm, strata and day; None before any window has closed.
        clusters: Totals of clusters; None where units were assigned one by one.
        covariates: Columns known before assignment.
        powers: Shop day -> arm -> power sums of profit, for its skewness and its units above 0.
        assigned: Shop day -> arm -> units first assigned on it.
        counted_to: First shop day whose assignments are not counted yet.
        pieces: Source -> file -> rows by day, to find those that arrive late.
        late: Source -> rows that came after customers they concern had been read, so far.
        again: Shop days of assignment that were read again, so far.
        lost: Such days that could not be, for other rows of theirs had gone.
        gone: Source -> shop day -> rows that were there and went.
        set_aside: Rule -> rows not used, so far.
        ad_spend: Arm -> plan-level ad spend booked so far, in minor units.
        looks: What each look said, as plain values, in order of time.
    """

    promised: Mapping[str, Any]
    next_day: int | None = None
    as_of: int | None = None
    cells: Cells | None = None
    clusters: ClusterTotals | None = None
    covariates: tuple[str, ...] = ()
    powers: Mapping[int, Mapping[str, PowerSums]] = field(default_factory=dict)
    assigned: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    counted_to: int | None = None
    pieces: Mapping[str, Mapping[str, Piece]] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)
    again: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()
    gone: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    set_aside: Mapping[str, int] = field(default_factory=dict)
    ad_spend: Mapping[str, int] = field(default_factory=dict)
    looks: tuple[Mapping[str, Any], ...] = ()

    def powers_of(self, arm: str) -> PowerSums:
        """Power sums of one arm over all days."""
        found = [by[arm] for by in self.powers.values() if arm in by]
        return sum(found, PowerSums())

    @property
    def assigned_by_arm(self) -> dict[str, int]:
        """Units assigned so far, per arm."""
        arms = {arm for by in self.assigned.values() for arm in by}
        return {arm: sum(by.get(arm, 0) for by in self.assigned.values()) for arm in arms}

    def with_days(self, fresh: Fresh, powers: Mapping[int, Mapping[str, PowerSums]]) -> State:
        """Add units of days that are not among those read before."""
        clusters = fresh.clusters
        if clusters is not None and self.clusters is not None:
            clusters = self.clusters + clusters
        return replace(
            self,
            cells=fresh.cells if self.cells is None else added(self.cells, fresh.cells),
            clusters=clusters,
            covariates=tuple(dict.fromkeys((*self.covariates, *fresh.covariates))),
            powers={**self.powers, **powers},
        )

    def without_days(self, days: Collection[int]) -> State:
        """Take the units of some assignment days out again; of clusters, those of all days."""
        cells = self.cells
        if cells is not None:
            kept = cells.without(day={str(day) for day in days})
            cells = kept if kept.labels else None
        return replace(
            self,
            cells=cells,
            clusters=None,
            powers={day: by for day, by in self.powers.items() if day not in days},
        )

    def with_set_aside(self, fresh: Fresh) -> State:
        """Count the rows that newly closed days did not use."""
        aside = dict(self.set_aside)
        for each in fresh.facts.set_aside:
            key = f"{each.source}: {each.rule}"
            aside[key] = aside.get(key, 0) + each.rows
        return replace(self, set_aside=aside)


def added(one: Cells, two: Cells) -> Cells:
    """Add cells whose components differ: what units never had is 0 for all of them."""
    names = tuple(dict.fromkeys((*one.names, *two.names)))
    return one.widen(names) + two.widen(names)


def save(state: State, path: Path) -> None:
    """Write the state in one step: a broken write leaves the old one."""
    arrays: dict[str, Any] = {}
    plain: dict[str, Any] = {
        "upliftlab_looks": VERSION,
        "promised": state.promised,
        "next_day": state.next_day,
        "as_of": state.as_of,
        "covariates": list(state.covariates),
        "powers": {
            str(day): {arm: [p.active, p.one, p.two, p.three] for arm, p in by.items()}
            for day, by in state.powers.items()
        },
        "assigned": {str(day): dict(by) for day, by in state.assigned.items()},
        "counted_to": state.counted_to,
        "pieces": {
            source: {name: piece.to_dict() for name, piece in found.items()}
            for source, found in state.pieces.items()
        },
        "late": dict(state.late),
        "again": list(state.again),
        "lost": list(state.lost),
        "gone": {
            source: {str(day): n for day, n in by.items()} for source, by in state.gone.items()
        },
        "set_aside": dict(state.set_aside),
        "ad_spend": dict(state.ad_spend),
        "looks": list(state.looks),
    }
    if state.cells is not None:
        plain["cells"] = _labels(state.cells) | {"keys": list(state.cells.keys)}
        arrays |= {"n": state.cells.n, "mean": state.cells.mean, "m2": state.cells.m2}
    if state.clusters is not None:
        plain["clusters"] = _labels(state.clusters)
        arrays |= {"cluster_n": state.clusters.n, "cluster_sums": state.clusters.sums}
    text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, plain=np.array(text), **arrays)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


def load(path: Path) -> State:
    """Read a state that ``save`` wrote.

    Raises:
        DataError: When the file is something else, or broken.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            plain = json.loads(str(file["plain"]))
            arrays = {name: file[name] for name in file.files if name != "plain"}
        if plain["upliftlab_looks"] == VERSION:
            return _state(plain, arrays)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        raise unreadable_state(str(path)) from None
    raise unreadable_state(str(path))


def _state(plain: dict[str, Any], arrays: dict[str, Any]) -> State:
    cells = clusters = None
    if "cells" in plain:
        found = plain["cells"]
        cells = Cells(
            keys=tuple(found["keys"]),
            labels=tuple(tuple(label) for label in found["labels"]),
            names=tuple(found["names"]),
            n=arrays["n"],
            mean=arrays["mean"],
            m2=arrays["m2"],
        )
    if "clusters" in plain:
        found = plain["clusters"]
        clusters = ClusterTotals(
            labels=tuple((arm, name) for arm, name in found["labels"]),
            names=tuple(found["names"]),
            n=arrays["cluster_n"],
            sums=arrays["cluster_sums"],
        )
    return State(
        promised=plain["promised"],
        next_day=plain["next_day"],
        as_of=plain["as_of"],
        cells=cells,
        clusters=clusters,
        covariates=tuple(plain["covariates"]),
        powers={
            int(day): {
                arm: PowerSums(active=int(p[0]), one=p[1], two=p[2], three=p[3])
                for arm, p in by.items()
            }
            for day, by in plain["powers"].items()
        },
        assigned={int(day): by for day, by in plain["assigned"].items()},
        counted_to=plain["counted_to"],
        pieces={
            source: {name: Piece.from_dict(each) for name, each in found.items()}
            for source, found in plain["pieces"].items()
        },
        late=plain["late"],
        again=tuple(plain["again"]),
        lost=tuple(plain["lost"]),
        gone={
            source: {int(day): n for day, n in by.items()}
            for source, by in plain["gone"].items()
        },
        set_aside=plain["set_aside"],
        ad_spend=plain["ad_spend"],
        looks=tuple(plain["looks"]),
    )


def _labels(found: Cells | ClusterTotals) -> dict[str, Any]:
    return {"labels": [list(label) for label in found.labels], "names": list(found.names)}
