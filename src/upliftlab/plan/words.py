"""Which words may a plan use for its name, kind, design, goal, currency and time zone?"""

from __future__ import annotations

import re
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from pydantic import PlainValidator, ValidationInfo, WithJsonSchema

from upliftlab.errors import DefinitionError
from upliftlab.plan.currencies import CODES
from upliftlab.plan.definition import text_of, word_in

KINDS = ("smart_coupon", "dual_commission", "ads_budget", "custom")
BUILT_KINDS = ("smart_coupon", "dual_commission", "custom")
DESIGNS = (
    "user_split",
    "cluster_split",
    "geo",
    "switchback",
    "staggered",
    "encouragement",
)
BUILT_DESIGNS = ("user_split", "cluster_split", "staggered", "geo", "switchback")
ROLLOUT_DESIGNS = ("staggered", "geo", "switchback")
"""Designs that follow units over time; who is treated when stands in waves or in the panel."""

PERIODS = ("day", "week")
GOALS = ("gmv", "new_customer", "member_activation", "win_back")

DEFAULT_ZONE = "Asia/Shanghai"
_SLUG = re.compile(r"[^\W_][\w-]{0,79}")


def is_zone(found: object) -> bool:
    """Say whether the zone database has a zone of this name.

    Examples:
        >>> is_zone("Asia/Shanghai"), is_zone("../etc/passwd")
        (True, False)
    """
    try:
        ZoneInfo(str(found))
    except (LookupError, ValueError, OSError):
        return False
    return True


def _kind(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, KINDS)


def _design(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, DESIGNS)


def _period(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, PERIODS)


def _goal(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, GOALS)


def _slug(found: object, info: ValidationInfo) -> str:
    name = text_of(found, info)
    if not _SLUG.fullmatch(name):
        near = re.sub(r"[^\w-]+", "-", name).strip("-_")[:80] or "spring-coupon"
        fix = f"write letters, digits, - and _ only (at most 80), such as {near}"
        raise DefinitionError.unreadable("name", name, fix)
    return name


def _currency(found: object, info: ValidationInfo) -> str:
    code = text_of(found, info)
    if code not in CODES:
        fix = "write an ISO 4217 code such as CNY, USD or EUR"
        raise DefinitionError.unreadable("currency", code, fix)
    return code


def _timezone(found: object, info: ValidationInfo) -> str:
    name = text_of(found, info)
    if not is_zone(name):
        raise DefinitionError.unknown_zone(name, available_timezones())
    return name


Name = Annotated[str, PlainValidator(_slug), WithJsonSchema({"type": "string"})]
Kind = Annotated[str, PlainValidator(_kind), WithJsonSchema({"enum": list(BUILT_KINDS)})]
Design = Annotated[str, PlainValidator(_design), WithJsonSchema({"enum": list(BUILT_DESIGNS)})]
Period = Annotated[str, PlainValidator(_period), WithJsonSchema({"enum": list(PERIODS)})]
Goal = Annotated[str, PlainValidator(_goal), WithJsonSchema({"enum": list(GOALS)})]
CurrencyCode = Annotated[
    str, PlainValidator(_currency), WithJsonSchema({"enum": sorted(CODES)})
]
Zone = Annotated[str, PlainValidator(_timezone), WithJsonSchema({"type": "string"})]
