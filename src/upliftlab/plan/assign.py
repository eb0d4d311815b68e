"""What may a plan say about who gets which arm, and when?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema

from upliftlab.errors import DefinitionError
from upliftlab.plan.adapt import Adapt, adapt_rules
from upliftlab.plan.definition import (
    Columns,
    Definition,
    FrozenDict,
    Share,
    Text,
    Truth,
    text_of,
    word_in,
)
from upliftlab.plan.quantities import Rate, parse_date
from upliftlab.plan.words import ROLLOUT_DESIGNS

Finding = tuple[tuple[str | int, ...], DefinitionError]

EACH, BLOCKS, BALANCED = "each", "blocks", "balanced"
DRAWS = (EACH, BLOCKS, BALANCED)
NEVER = "never"
UNIVERSAL = "universal"
_SALT = re.compile(r"[^\W_][\w.:-]{0,79}")


def _salt(found: object, info: ValidationInfo) -> str:
    text = text_of(found, info)
    if not _SALT.fullmatch(text):
        fix = "write letters, digits and - _ . : only (at most 80), such as spring-2026"
        raise DefinitionError.unreadable(info.field_name or "salt", text, fix)
    return text


def _draw(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, DRAWS)


def _by_day(found: object, info: ValidationInfo) -> FrozenDict[str, Rate]:
    """Read days (or ``never``) with a share each, in the order of the calendar."""
    what = info.field_name or "value"
    if not isinstance(found, Mapping) or not found:
        fix = "write lines such as 2026-10-08: 20%"
        raise DefinitionError.unreadable(what, found, fix)
    rows: dict[str, Rate] = {}
    for day, share in found.items():
        key = NEVER if day == NEVER else parse_date(day, what).isoformat()
        rate = Rate.parse(share, f"{what}.{key}")
        if not 0 < rate.value <= 1:
            fix = "write more than 0%, at most 100%"
            raise DefinitionError.unreadable(f"{what}.{key}", str(rate), fix)
        rows[key] = rate
    return FrozenDict({key: rows[key] for key in sorted(rows)})


Salt = Annotated[str, PlainValidator(_salt), WithJsonSchema({"type": "string"})]
DrawWord = Annotated[str, PlainValidator(_draw), WithJsonSchema({"enum": list(DRAWS)})]
ByDay = Annotated[
    FrozenDict[str, Rate],
    PlainValidator(_by_day),
    PlainSerializer(lambda rows: {day: str(share) for day, share in rows.items()}),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]


class Layer(Definition):
    """A part of the population that tests of one layer never share.

    Attributes:
        name: Of the layer; tests of different layers fall independently.
        start: Where this test's part begins, from 0 % to 100 % of the units.
        share: How large this test's part is.
    """

    name: Salt = Field(examples=["coupons"])
    start: Share = Field(default_factory=lambda: Rate.parse("0%", "start"))
    share: Share = Field(examples=["40%"])


class Holdout(Definition):
    """Units that no test ever treats, the same for every plan that names the same salt.

    Attributes:
        share: Of all units.
        salt: Another salt draws other units, such as next year's.
    """

    share: Share = Field(examples=["5%"])
    salt: Salt = UNIVERSAL


class Assign(Definition):
    """How units get their arms.

    Attributes:
        salt: Other salts give other draws; the name of the experiment unless said.
        draw: ``each`` unit by its own hash; ``blocks`` gives every stratum of a list its exact
            shares; ``balanced`` draws blocks again until the columns to balance are alike.
        layer: The part of the population this test has to itself.
        holdout: Units that no test treats.
        epochs: First day -> share of the arms' final shares that is treated from then on.
        waves: First day of a wave (or ``never``) -> share of the clusters; only staggered.
        balance: Numeric columns that are to be alike; only with ``draw: balanced``.
        keep: Share of draws that are balanced enough.
        rule: File of a targeting rule that gives the arm of all but the explored units.
        explore: Share of units whose arm is drawn although there is a rule.
        adapt: Lets shares follow what arms earn, epoch by epoch.
        drawn: Whether chance dealt the arms. ``false`` where people or rules did: arms are
            then made comparable by their chances, recorded or estimated. Chance did unless
            said.
    """

    salt: Salt | None = None
    draw: DrawWord = EACH
    layer: Layer | None = None
    holdout: Holdout | None = None
    epochs: ByDay | None = Field(default=None, examples=["{2026-10-08: 20%}"])
    waves: ByDay | None = Field(default=None, examples=["{2026-08-03: 50%, never: 50%}"])
    balance: Columns = ()
    keep: Share = Field(default_factory=lambda: Rate.parse("10%", "keep"))
    rule: Text | None = None
    explore: Share | None = None
    adapt: Adapt | None = None
    drawn: Truth | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether chance dealt the arms."""
        return self.drawn is not False


def assign_rules(valid: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what contradicts a plan that says who gets which arm."""
    assign, design = valid.get("assign"), valid.get("design")
    if assign is None or design is None:
        return
    yield from _by_design(assign, str(design))
    yield from _by_draw(assign)
    yield from _parts(assign)
    yield from _epochs(assign, valid.get("run"))
    yield from _explored(assign)
    yield from adapt_rules(assign, valid)
    yield from _undrawn(assign, valid)


def _by_design(assign: Assign, design: str) -> Iterator[Finding]:
    if design in ROLLOUT_DESIGNS:
        for key in ("layer", "holdout", "epochs", "rule"):
            if getattr(assign, key) is not None:
                wanted = "design: user_split"
                yield ("assign", key), DefinitionError.needs_beside(key, wanted, design)
        if assign.waves is None:
            example = "{2026-08-03: 50%, never: 50%}"
            owner = f"assign of design {design!r}"
            yield ("assign",), DefinitionError.missing_key(owner, "waves", example)
    elif design != "user_split" and assign.epochs is not None:
        wanted = "design: user_split"
        yield ("assign", "epochs"), DefinitionError.needs_beside("epochs", wanted, design)
    elif assign.waves is not None:
        wanted = "design: staggered"
        yield ("assign", "waves"), DefinitionError.needs_beside("waves", wanted, design)
    total = sum((share.value for share in (assign.waves or {}).values()), Fraction(0))
    if assign.waves is not None and total != 1:
        shares = list(assign.waves.values())
        yield ("assign", "waves"), DefinitionError.shares("assign.waves", shares, Rate(total))


def _by_draw(assign: Assign) -> Iterator[Finding]:
    if assign.draw == BALANCED and not assign.balance:
        owner = "assign with draw: balanced"
        example = "[pre_profit]"
        yield ("assign",), DefinitionError.missing_key(owner, "balance", example)
    if assign.balance and assign.draw != BALANCED:
        wanted = "draw: balanced"
        yield (
            ("assign", "balance"),
            DefinitionError.needs_beside("balance", wanted, assign.draw),
        )
    if not 0 < assign.keep.value <= 1:
        fix = "write more than 0%, such as 10%"
        yield (
            ("assign", "keep"),
            DefinitionError.unreadable("assign.keep", str(assign.keep), fix),
        )
    for key in ("epochs", "rule"):
        if assign.draw != EACH and getattr(assign, key) is not None:
            yield (
                ("assign", key),
                DefinitionError.needs_beside(key, "draw: each", assign.draw),
            )


def _parts(assign: Assign) -> Iterator[Finding]:
    layer, holdout = assign.layer, assign.holdout
    if layer is not None:
        end = layer.start.value + layer.share.value
        if layer.share.value == 0:
            where = "assign.layer.share"
            fix = "give the test a part of the layer, such as 40%"
            yield ("assign", "layer", "share"), DefinitionError.unreadable(where, "0%", fix)
        if end > 1:
            message = (
                f"assign.layer starts at {layer.start} and takes {layer.share}, which ends at "
                f"{Rate(end)}; a layer ends at 100%."
            )
            yield ("assign", "layer"), DefinitionError(message)
    if holdout is not None and not 0 < holdout.share.value < 1:
        where, fix = "assign.holdout.share", "write a share such as 5%, or leave holdout out"
        yield (
            ("assign", "holdout", "share"),
            DefinitionError.unreadable(where, str(holdout.share), fix),
        )


def _epochs(assign: Assign, run: Any) -> Iterator[Finding]:  # noqa: ANN401 - the plan's run
    if assign.epochs is None:
        return
    path = ("assign", "epochs")
    if NEVER in assign.epochs:
        fix = "write first days only, such as 2026-10-08: 20%"
        yield path, DefinitionError.unreadable("assign.epochs", NEVER, fix)
        return
    rows = list(assign.epochs.items())
    for (day, share), (later, next_share) in pairwise(rows):
        if next_share < share:
            message = (
                f"assign.epochs falls from {share} on {day} to {next_share} on {later}; a "
                "share may only rise, because units that were treated cannot be untreated."
            )
            yield path, DefinitionError(message)
    if run is None:
        owner = "a plan with assign.epochs"
        example = "{start: 2026-10-08, end: 2026-10-21}"
        yield (), DefinitionError.missing_key(owner, "run", example)
        return
    first, last = date.fromisoformat(rows[0][0]), date.fromisoformat(rows[-1][0])
    if first != run.start:
        message = (
            f"assign.epochs begins on {first} and the run on {run.start}; the first epoch "
            "begins with the run."
        )
        yield path, DefinitionError(message)
    if last > run.end:
        yield (
            path,
            DefinitionError.out_of_order(
                "assign", "the last of epochs", last, "run.end", run.end
            ),
        )


def _undrawn(assign: Assign, valid: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what only a draw could do, where nobody drew; and what must take its place."""
    if assign.is_drawn:
        return
    chosen = assign.model_dump(exclude={"drawn"}, exclude_defaults=True)
    for key in chosen:
        message = (
            f"the plan has assign.{key} and assign.drawn: false; where chance did not deal the "
            f"arms it has no {key}. Leave one of them out."
        )
        yield ("assign", key), DefinitionError(message)
    for key in ("looks", "power"):
        if valid.get(key) is not None:
            message = (
                f"the plan has {key} and assign.drawn: false; {key} speaks of a test whose "
                "arms chance deals. Leave one of them out."
            )
            yield (key,), DefinitionError(message)
    if valid.get("target") is None:
        owner = "a plan with assign.drawn: false"
        example = "{features: [recency_days, frequency_365]}"
        yield (), DefinitionError.missing_key(owner, "target", example)


def _explored(assign: Assign) -> Iterator[Finding]:
    if assign.rule is not None and assign.explore is None:
        owner = "assign with a rule"
        yield ("assign",), DefinitionError.missing_key(owner, "explore", "5%")
    if assign.explore is None:
        return
    if assign.rule is None:
        owner = "assign with explore"
        example = "targeting_rule.json"
        yield ("assign",), DefinitionError.missing_key(owner, "rule", example)
    if assign.explore.value == 0:
        fix = "write a share such as 5%: without exploration no other arm can be valued"
        yield (
            ("assign", "explore"),
            DefinitionError.unreadable("assign.explore", "0%", fix),
        )
