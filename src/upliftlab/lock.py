"""What was promised before anybody looked, and what of it was changed since?"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upliftlab.assignment.recipe import Recipe, recipe_of, refuse_overlaps
from upliftlab.errors import UpliftlabError
from upliftlab.experiment import Deviation, Experiment, deviations

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
ENDING = ".lock.json"
_NOTHING = ("", "{}", "[]", "false")
"""What a key that was never written says by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A plan as it was when it was locked.

    Attributes:
        name: Of the experiment.
        plan: Fingerprint of the plan.
        locked_at: When, UTC.
        promised: The plan itself, as ``Experiment.to_dict`` writes it.
        assignment: What decides who gets which arm: salt, edges, layer, holdout.
        looks: What early looks are bound to, such as the first permitted look.
        seal: Hash of all the others; a lock edited by hand does not carry it.
    """

    name: str
    plan: str
    locked_at: str
    promised: Mapping[str, Any]
    assignment: Mapping[str, Any]
    looks: Mapping[str, Any] = field(default_factory=dict)
    seal: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self._content(), "seal": self.seal}

    def experiment(self) -> Experiment:
        """Make the promised plan again."""
        return Experiment(**self.promised)

    def changes(self, found: Experiment) -> tuple[Deviation, ...]:
        """List what differs from the promise; sources that came later are no change.

        Examples:
            >>> arms = {"old": {"share": "50%", "control": True}, "new": {"share": "50%"}}
            >>> plan = Experiment(name="spring", kind="custom", arms=arms, follow_up="14 days")
            >>> [each.key for each in lock_of(plan).changes(plan.replace(follow_up="60 days"))]
            ['follow_up']
        """
        return tuple(
            change
            for change in deviations(self.experiment(), found)
            if change.planned or not (change.key.startswith("data") or change.found in _NOTHING)
        )

    def _content(self) -> dict[str, Any]:
        return {
            "upliftlab_lock": VERSION,
            "name": self.name,
            "plan": self.plan,
            "locked_at": self.locked_at,
            "promised": dict(self.promised),
            "assignment": dict(self.assignment),
            "looks": dict(self.looks),
        }

    def sealed(self) -> Lock:
        """Return the same lock with its seal."""
        from dataclasses import replace

        return replace(self, seal=_hash(self._content()))


def lock_of(
    experiment: Experiment,
    *,
    looks: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Lock:
    """Freeze a plan.

    Args:
        experiment: The plan.
        looks: What early looks are bound to; plain values.
        now: When; the present unless said.
    """
    moment = now or datetime.now(tz=UTC)
    return Lock(
        name=experiment.name,
        plan=experiment.fingerprint,
        locked_at=moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        promised=experiment.to_dict(),
        assignment=recipe_of(experiment).to_dict(),
        looks=dict(looks or {}),
    ).sealed()


def lock_path(plan: str | Path) -> Path:
    """Say where the lock of a plan's file is: beside it.

    Examples:
        >>> lock_path("tests/spring.yaml").as_posix()
        'tests/spring.lock.json'
    """
    path = Path(plan)
    return path.with_name(path.stem + ENDING)


def write_lock(
    experiment: Experiment,
    plan: str | Path,
    *,
    looks: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> tuple[Lock, Path]:
    """Lock a plan with a file beside it; a plan is locked once.

    Other locks in the folder, and in the folders beside it, are asked whether they claim the
    same part of a layer.

    Raises:
        UpliftlabError: When the plan is locked already.
        DesignError: When another locked test has the same part of the layer at the same time.
    """
    path = lock_path(plan)
    if path.exists():
        held = read_lock(path)
        since = f"{path.name} is from {held.locked_at} and stays as it is"
        changed = held.changes(experiment)
        fix = "the plan is as it was"
        if changed:
            fix = (
                f"{_counted(changed)} since; give the changed plan another file, or run it "
                "as it is and the page will list them"
            )
        raise UpliftlabError(f"{since}; {fix}.")
    refuse_taken(experiment, path)
    found = lock_of(experiment, looks=looks, now=now)
    text = json.dumps(found.to_dict(), ensure_ascii=False, indent=2) + "\n"
    _write_new(path, text)
    return found, path


def read_lock(path: str | Path) -> Lock:
    """Read a lock.

    Raises:
        UpliftlabError: When it is no lock, or was edited.
    """
    place = Path(path)
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise UpliftlabError(
            f"{place.name} cannot be read as a lock ({type(problem).__name__}); restore it, or "
            "remove it and say so."
        ) from None
    if not isinstance(found, dict) or found.get("upliftlab_lock") != VERSION:
        raise UpliftlabError(f"{place.name} is no lock of version {VERSION}.")
    seal = found.pop("seal", "")
    if seal != _hash(found):
        raise UpliftlabError(
            f"{place.name} was edited after it was written: its seal does not fit. Restore it; "
            "a promise that can be rewritten is none."
        )
    del found["upliftlab_lock"]
    return Lock(**found, seal=seal)


def lock_beside(plan: str | Path) -> Lock | None:
    """Read the lock of a plan's file; None where it was never locked."""
    path = lock_path(plan)
    return read_lock(path) if path.is_file() else None


def refuse_taken(experiment: Experiment, own: Path) -> None:
    """Refuse a part of a layer that another locked test has at the same time.

    Raises:
        DesignError: With both tests and both parts.
    """
    recipe = recipe_of(experiment)
    if recipe.layer is None:
        return
    near = {*own.parent.glob(f"*{ENDING}"), *own.parent.parent.glob(f"*/*{ENDING}")}
    for path in sorted(near):
        if path.resolve() == own.resolve():
            continue
        other = read_lock(path).experiment()
        if _at_once(experiment, other):
            refuse_overlaps(recipe, recipe_of(other))


def refuse_shared(plans: list[Experiment]) -> None:
    """Refuse plans that claim the same part of a layer at the same time.

    Raises:
        DesignError: With both tests and both parts.
    """
    recipes: list[tuple[Experiment, Recipe]] = [(plan, recipe_of(plan)) for plan in plans]
    for i, (one, first) in enumerate(recipes):
        for two, second in recipes[i + 1 :]:
            if _at_once(one, two):
                refuse_overlaps(first, second)


def _at_once(one: Experiment, two: Experiment) -> bool:
    """Whether two tests can touch the same units at one time; without dates they can."""
    if one.run is None or two.run is None:
        return True
    ends = [
        plan.run.end.toordinal() + (plan.follow_up or 0)
        for plan in (one, two)
        if plan.run is not None
    ]
    return one.run.start.toordinal() <= ends[1] and two.run.start.toordinal() <= ends[0]


def _counted(changed: tuple[Deviation, ...]) -> str:
    keys = ", ".join(change.key for change in changed[:5])
    more = ", ..." if len(changed) > 5 else ""
    things = "1 promise was" if len(changed) == 1 else f"{len(changed)} promises were"
    return f"{things} changed ({keys}{more})"


def _hash(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _write_new(path: Path, text: str) -> None:
    """Write a file that was not there, whole or not at all, even if two write at once."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise UpliftlabError(f"{path.name} is there already and stays as it is.") from None
    finally:
        temporary.unlink(missing_ok=True)
