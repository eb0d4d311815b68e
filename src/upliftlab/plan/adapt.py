"""How may a plan let shares follow what arms earn?"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema

from upliftlab.errors import DefinitionError
from upliftlab.plan.definition import AmountPerUnit, Definition, Share, Text, word_in
from upliftlab.plan.quantities import Rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

METHODS = ("thompson", "top_two")


def _method(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, METHODS)


MethodWord = Annotated[str, PlainValidator(_method), WithJsonSchema({"enum": list(METHODS)})]


class Adapt(Definition):
    """Shares that follow profit, epoch by epoch, and what keeps them.

    Attributes:
        method: ``thompson`` gives each arm its probability of being the best; ``top_two`` keeps
            half of the units on who may beat the leader.
        floor: Least share of every arm that no guardrail has taken out.
        prior: Standard deviation of an arm's extra profit per unit before anything is known;
            without one the data speak alone.
        log: File in which every epoch's shares are kept, beside the plan.
    """

    method: MethodWord = "thompson"
    floor: Share = Field(default_factory=lambda: Rate.parse("5%", "floor"))
    prior: AmountPerUnit | None = None
    log: Text = "shares.json"


def adapt_rules(
    assign: Any,  # noqa: ANN401 - the plan's assign block
    valid: Mapping[str, Any],
) -> Iterator[tuple[tuple[str | int, ...], DefinitionError]]:
    """Find what contradicts a plan whose shares follow profit."""
    adapt: Adapt | None = assign.adapt
    if adapt is None:
        return
    path = ("assign", "adapt")
    if valid.get("design") != "user_split":
        wanted = "design: user_split"
        yield path, DefinitionError.needs_beside("adapt", wanted, str(valid.get("design")))
    if assign.draw != "each":
        yield path, DefinitionError.needs_beside("adapt", "draw: each", assign.draw)
    for key in ("epochs", "waves", "rule"):
        if getattr(assign, key) is not None:
            message = (
                f"assign has adapt and {key}; both set shares. Leave {key} out, or leave adapt "
                "out and keep shares as planned."
            )
            yield path, DefinitionError(message)
    if valid.get("run") is None:
        example = "{start: 2026-10-08, end: 2026-12-02}"
        yield (), DefinitionError.missing_key("a plan with assign.adapt", "run", example)
    arms = valid.get("arms") or ()
    if arms and not 0 < adapt.floor.value * len(arms) <= 1:
        most = Rate(Fraction(1, len(arms)))
        fix = f"write more than 0% and at most {most} for {len(arms)} arms"
        yield (
            (*path, "floor"),
            DefinitionError.unreadable("assign.adapt.floor", str(adapt.floor), fix),
        )
