"""Which shares did each epoch have, and why? One file that is added to, never rewritten."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upliftlab.adaptive.weighted import Epoch
from upliftlab.assignment.recipe import Epoch as Drawn, Slot, recipe_of
from upliftlab.errors import DesignError, UpliftlabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from upliftlab.experiment import Experiment

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEpoch:
    """Shares from a day on, and what they were based on.

    Attributes:
        since: First day.
        share: Arm -> probability.
        made_at: When they were set, UTC; empty for the plan's own.
        why: What was known then: probabilities of being best, dropped arms, estimates.
        seal: Hash of this epoch and of all before it.
    """

    since: date
    share: Mapping[str, float]
    made_at: str = ""
    why: Mapping[str, Any] = field(default_factory=dict)
    seal: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "since": self.since.isoformat(),
            "share": dict(self.share),
            "made_at": self.made_at,
            "why": dict(self.why),
            "seal": self.seal,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLog:
    """All epochs of one test.

    Attributes:
        experiment: Name of the plan.
        epochs: In order; the first has the plan's shares.
    """

    experiment: str
    epochs: tuple[LoggedEpoch, ...]

    def weighted(self) -> tuple[Epoch, ...]:
        """Epochs as the estimator weighs them, named as the assignment table names them."""
        return tuple(
            Epoch(name=str(i), share=epoch.share) for i, epoch in enumerate(self.epochs, 1)
        )

    def drawn(self, control: str) -> tuple[Drawn, ...]:
        """Epochs as assignment draws them: units that enter in one keep its arm."""
        return tuple(
            Drawn(number=i, since=epoch.since, slots=_slots(epoch.share, control))
            for i, epoch in enumerate(self.epochs, 1)
        )

    def with_epoch(
        self,
        since: date,
        share: Mapping[str, float],
        why: Mapping[str, Any],
        *,
        now: datetime | None = None,
    ) -> ShareLog:
        """Return the log with one epoch more; epochs begin in the order in which they are set.

        Raises:
            DesignError: When the epoch does not begin after the last one.
        """
        last = self.epochs[-1].since
        if since <= last:
            raise DesignError(
                f"the next epoch is to begin on {since} and the last one began on {last}; "
                "units that entered have their arms. Name a later day."
            )
        moment = (now or datetime.now(tz=UTC)).strftime("%Y-%m-%d %H:%M UTC")
        new = LoggedEpoch(since=since, share=dict(share), made_at=moment, why=dict(why))
        return ShareLog(experiment=self.experiment, epochs=_sealed((*self.epochs, new)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "upliftlab_shares": VERSION,
            "experiment": self.experiment,
            "epochs": [epoch.to_dict() for epoch in self.epochs],
        }


def first_log(experiment: Experiment) -> ShareLog:
    """Begin a log with the plan's own shares.

    Raises:
        DesignError: When the plan has no run dates.
    """
    if experiment.run is None:
        raise DesignError(
            f"experiment {experiment.name!r} moves shares over time and has no run dates; add "
            "for example run: {start: 2026-10-08, end: 2026-12-02}."
        )
    share = {arm.label: float(arm.share.value) for arm in experiment.arms if arm.share}
    begun = LoggedEpoch(since=experiment.run.start, share=share)
    return ShareLog(experiment=experiment.name, epochs=_sealed((begun,)))


def log_of(experiment: Experiment) -> ShareLog:
    """Read the plan's log; before the first move, the plan's own shares.

    Raises:
        UpliftlabError: When the log is of another test, or was edited.
    """
    path = log_path(experiment)
    if not path.is_file():
        return first_log(experiment)
    found = read_log(path)
    if found.experiment != experiment.name:
        raise UpliftlabError(
            f"{path.name} logs the shares of {found.experiment!r}; the plan is "
            f"{experiment.name!r}. Name another file in assign.adapt.log."
        )
    return found


def share_epochs(experiment: Experiment) -> dict[str, dict[str, float]] | None:
    """Epoch, as the assignment table names it -> shares of the arms; None where they stay."""
    assign = experiment.assign
    if assign is not None and assign.adapt is not None:
        return {epoch.name: dict(epoch.share) for epoch in log_of(experiment).weighted()}
    if assign is None or assign.epochs is None:
        return None
    recipe = recipe_of(experiment)
    return {
        str(epoch.number): {arm: float(epoch.share(arm, recipe.control)) for arm in recipe.arms}
        for epoch in recipe.epochs
    }


def log_path(experiment: Experiment) -> Path:
    """Say where the log is: beside the plan, under the name that the plan gives it."""
    adapt = experiment.assign.adapt if experiment.assign else None
    if adapt is None:
        raise DesignError(
            f"experiment {experiment.name!r} keeps its shares; add assign: {{adapt: {{}}}} to "
            "let them follow profit."
        )
    base = experiment.data.base if experiment.data is not None else Path()
    return Path(base) / adapt.log


def read_log(path: str | Path) -> ShareLog:
    """Read a log and check that nobody edited what was set.

    Raises:
        UpliftlabError: When it is none, is damaged, or was edited.
    """
    place = Path(path)
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
        epochs = tuple(
            LoggedEpoch(**{**row, "since": date.fromisoformat(row["since"])})
            for row in found["epochs"]
        )
        log = ShareLog(experiment=found["experiment"], epochs=epochs)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise UpliftlabError(
            f"{place.name} cannot be read as a log of shares ({type(problem).__name__}); "
            "restore it: without the shares as they were, nobody can say what arms earned."
        ) from None
    if [e.seal for e in _sealed(log.epochs)] != [e.seal for e in log.epochs]:
        raise UpliftlabError(
            f"{place.name} was edited after it was written: its seal does not fit. Restore it; "
            "shares count as they were drawn."
        )
    return log


def write_log(log: ShareLog, path: str | Path) -> Path:
    """Write a log that goes on from the one that is there, whole or not at all.

    Raises:
        UpliftlabError: When the file holds epochs that the new log does not begin with.
    """
    place = Path(path)
    if place.exists():
        held = read_log(place).epochs
        if log.epochs[: len(held)] != held:
            raise UpliftlabError(
                f"{place.name} holds epochs that the new log leaves out; it stays as it is."
            )
    text = json.dumps(log.to_dict(), ensure_ascii=False, indent=2) + "\n"
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return place


def _slots(share: Mapping[str, float], control: str) -> tuple[Slot, ...]:
    out, start = [], Fraction(0)
    for arm, each in share.items():
        if arm == control or not each:
            continue
        exact = Fraction(each).limit_denominator(1_000_000)
        out.append(Slot(arm=arm, start=start, share=exact))
        start += exact
    return tuple(out)


def _sealed(epochs: Sequence[LoggedEpoch]) -> tuple[LoggedEpoch, ...]:
    from dataclasses import replace

    out, before = [], ""
    for epoch in epochs:
        content = {**epoch.to_dict(), "seal": before}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False)
        before = hashlib.sha256(text.encode()).hexdigest()
        out.append(replace(epoch, seal=before))
    return tuple(out)
