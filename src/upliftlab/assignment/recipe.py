"""Who gets which arm? Everything that decides it, as plain values that Python and SQL read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from upliftlab.assignment.hashing import END, GRID, SPACES, digest, edge
from upliftlab.errors import DesignError
from upliftlab.plan.assign import EACH, Assign

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upliftlab.experiment import Experiment

HELD, ELSEWHERE = "universal holdout", "other tests of the layer"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """The piece of the line from 0 to 1 that gives one treatment.

    Attributes:
        arm: Label.
        start: Where its piece begins.
        share: How long it is.
    """

    arm: str
    start: Fraction
    share: Fraction

    @cached_property
    def edges(self) -> tuple[str, str]:
        """First digits of its first hash, and of the first one behind it."""
        return edge(self.start), edge(self.start + self.share)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        low, high = self.edges
        return {
            "arm": self.arm,
            "start": str(self.start),
            "share": str(self.share),
            "from": low,
            "to": high,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A time during which shares stay the same.

    Treatments keep where their pieces begin from epoch to epoch, so a rising share moves units
    from control to a treatment and never from one treatment to another, nor back.

    Attributes:
        number: From 1.
        since: First day; None for the only epoch of a plan without dates.
        slots: One per treatment; control is what is left.
    """

    number: int
    since: date | None
    slots: tuple[Slot, ...]

    def share(self, arm: str, control: str) -> Fraction:
        """Chance of an arm."""
        found = {slot.arm: slot.share for slot in self.slots}
        return 1 - sum(found.values(), Fraction(0)) if arm == control else found[arm]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "number": self.number,
            "since": None if self.since is None else self.since.isoformat(),
            "slots": [slot.to_dict() for slot in self.slots],
        }


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a plan gives arms to units, without the units.

    Attributes:
        experiment: Name of the plan.
        plan: Its fingerprint.
        salt: Of the draw between arms.
        control: Label of the control arm.
        arms: Labels in the order of the plan.
        epochs: Shares over time, in order.
        draw: "each", "blocks" or "balanced".
        cluster: Column of what is assigned whole; None where units are.
        strata: Columns within which the analysis compares.
        layer: (name, start, end) of the part of the population this test has to itself.
        holdout: (salt, share) of the units that no test treats.
        explore: Share drawn although a rule decides for the others; None without a rule.
        waves: First day of a wave, or "never" -> share of the clusters; only roll-outs.
        balance: Columns to be alike, where draws are put back until they are.
        keep: Share of draws that are balanced enough.
    """

    experiment: str
    plan: str
    salt: str
    control: str
    arms: tuple[str, ...]
    epochs: tuple[Epoch, ...]
    draw: str = EACH
    cluster: str | None = None
    strata: tuple[str, ...] = ()
    layer: tuple[str, Fraction, Fraction] | None = None
    holdout: tuple[str, Fraction] | None = None
    explore: Fraction | None = None
    waves: Mapping[str, Fraction] = field(default_factory=dict)
    balance: tuple[str, ...] = ()
    keep: Fraction = Fraction(1)

    @property
    def is_list(self) -> bool:
        """Whether the list is drawn as a whole rather than each unit by its own hash."""
        return self.draw != EACH or bool(self.waves)

    @property
    def shares(self) -> dict[str, Fraction]:
        """What a list is drawn into: waves, or arms."""
        if self.waves:
            return dict(self.waves)
        return {arm: self.epochs[-1].share(arm, self.control) for arm in self.arms}

    @property
    def layer_salt(self) -> str:
        """What the hash between tests of one layer is salted with."""
        return "" if self.layer is None else f"layer:{self.layer[0]}"

    @cached_property
    def layer_edges(self) -> tuple[str, str]:
        """Where this test's part of its layer begins and ends."""
        return ("", END) if self.layer is None else (edge(self.layer[1]), edge(self.layer[2]))

    @property
    def holdout_salt(self) -> str:
        """What the hash of the holdout is salted with, whatever the experiment."""
        return "" if self.holdout is None else f"holdout:{self.holdout[0]}"

    @cached_property
    def holdout_edge(self) -> str:
        """First digits from which on a unit is held out."""
        return END if self.holdout is None else edge(1 - self.holdout[1])

    @property
    def explore_salt(self) -> str:
        """What the hash of the exploration cell is salted with."""
        return f"explore:{self.salt}"

    def outside(self, unit: str) -> str:
        """Say why a unit is in no arm; empty where it takes part.

        Examples:
            >>> recipe = _example(holdout={"share": "50%"})
            >>> [recipe.outside(unit) for unit in ("u1", "u7", "u8")]
            ['', 'universal holdout', 'universal holdout']
        """
        if self.holdout and digest(self.holdout_salt, unit) >= self.holdout_edge:
            return HELD
        low, high = self.layer_edges
        if self.layer and not low <= digest(self.layer_salt, unit)[: len(low)] < high:
            return ELSEWHERE
        return ""

    def arm_of(self, unit: str, *, epoch: int = 1) -> str | None:
        """Return the arm of one unit (of one cluster, where clusters are assigned).

        The holdout and the layer go by the unit's own id and are asked first for units; for
        clusters ask ``outside`` with the unit.

        Examples:
            >>> [_example().arm_of(unit) for unit in ("u1", "u2", "u3", "u4")]
            ['coupon', 'none', 'coupon', 'none']
        """
        text = unit.strip(SPACES)
        if self.cluster is None and self.outside(text):
            return None
        drawn = digest(self.salt, text)
        for slot in self.epochs[epoch - 1].slots:
            low, high = slot.edges
            if low <= drawn[: len(low)] < high:
                return slot.arm
        return self.control

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        layer, holdout = self.layer, self.holdout
        return {
            "experiment": self.experiment,
            "salt": self.salt,
            "draw": self.draw,
            "cluster": self.cluster,
            "strata": list(self.strata),
            "control": self.control,
            "arms": list(self.arms),
            "epochs": [epoch.to_dict() for epoch in self.epochs],
            "layer": layer and {"name": layer[0], "start": str(layer[1]), "end": str(layer[2])},
            "holdout": holdout and {"salt": holdout[0], "share": str(holdout[1])},
            "explore": self.explore and str(self.explore),
            "waves": {day: str(share) for day, share in self.waves.items()},
            "balance": list(self.balance),
            "keep": str(self.keep),
        }


def recipe_of(experiment: Experiment) -> Recipe:
    """Take from a plan what decides who gets which arm.

    Raises:
        DesignError: When a share is so small that no hash falls into it, or nobody draws.

    Examples:
        >>> recipe = _example(epochs={"2026-10-08": "20%", "2026-10-11": "100%"})
        >>> [float(epoch.share("coupon", "none")) for epoch in recipe.epochs]
        [0.1, 0.5]
    """
    assign = experiment.assign or Assign()
    if not assign.is_drawn:
        raise DesignError(
            f"experiment {experiment.name!r} says assign.drawn: false: nobody draws its arms. "
            "Leave the key out of a plan whose arms are to be drawn."
        )
    layer, holdout = assign.layer, assign.holdout
    return Recipe(
        experiment=experiment.name,
        plan=experiment.fingerprint,
        salt=assign.salt or experiment.name,
        control=experiment.control.label,
        arms=tuple(arm.label for arm in experiment.arms),
        epochs=_epochs(experiment, assign),
        draw=assign.draw,
        cluster=experiment.cluster,
        strata=experiment.strata,
        layer=None
        if layer is None
        else (layer.name, layer.start.value, layer.start.value + layer.share.value),
        holdout=None if holdout is None else (holdout.salt, holdout.share.value),
        explore=None if assign.explore is None else assign.explore.value,
        waves={day: share.value for day, share in (assign.waves or {}).items()},
        balance=assign.balance,
        keep=assign.keep.value,
    )


def refuse_overlaps(first: Recipe, second: Recipe) -> None:
    """Refuse two tests that claim the same part of one layer.

    Raises:
        DesignError: With both parts.
    """
    one, two = first.layer, second.layer
    if one is None or two is None or one[0] != two[0]:
        return
    if one[1] < two[2] and two[1] < one[2]:
        raise DesignError(
            f"experiments {first.experiment!r} and {second.experiment!r} overlap in layer "
            f"{one[0]!r}: {_part(one)} and {_part(two)}; give each a part of its own."
        )


def _epochs(experiment: Experiment, assign: Assign) -> tuple[Epoch, ...]:
    shares = {arm.label: arm.share.value for arm in experiment.arms if arm.share is not None}
    for label, share in shares.items():
        if round(share * GRID) == 0:
            raise DesignError(
                f"arm {label!r} has a share of {float(share):.1e}, in which no hash falls; the "
                "smallest is one in 4 billion."
            )
    slots, start = [], Fraction(0)
    for arm in experiment.treatments:
        share = shares.get(arm.label, Fraction(0))
        slots.append(Slot(arm=arm.label, start=start, share=share))
        start += share
    since = experiment.run.start if experiment.run else None
    whole = Epoch(number=1, since=since, slots=tuple(slots))
    if not assign.epochs:
        return (whole,)
    return tuple(
        Epoch(
            number=i,
            since=date.fromisoformat(day),
            slots=tuple(replace(slot, share=slot.share * part.value) for slot in slots),
        )
        for i, (day, part) in enumerate(assign.epochs.items(), start=1)
    )


def _part(layer: tuple[str, Fraction, Fraction]) -> str:
    return f"{float(layer[1] * 100):.4g}% to {float(layer[2] * 100):.4g}%"


def _example(**assign: object) -> Recipe:
    """Make a small recipe, for examples."""
    from upliftlab.experiment import Experiment

    return recipe_of(
        Experiment(
            name="spring",
            kind="custom",
            run={"start": "2026-10-08", "end": "2026-10-21"},
            arms={
                "none": {"share": "50%", "control": True},
                "coupon": {"share": "50%"},
            },
            assign=assign,
        )
    )
