"""Where do the rows of an experiment come from, and in which grain?"""

from __future__ import annotations

import codecs
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from upliftlab.errors import DefinitionError
from upliftlab.plan.definition import (
    Day,
    Definition,
    FrozenDict,
    NamedValues,
    Text,
    Whole,
    text_of,
    word_in,
)
from upliftlab.plan.quantities import parse_date

ORDER_TABLES = (
    "assignments",
    "order_lines",
    "refunds",
    "orders",
    "users",
    "exposures",
    "coupons",
    "coupon_events",
    "membership_events",
    "ad_spend",
    "settlements",
    "creator_terms",
    "roster",
    "cost_params",
    "finance_total",
)
"""Tables of the order grain, one row per event; the first two are needed."""

READY = ("units", "cells", "panel")
"""Grains of ready tables: components are already added up."""

PANEL_PRESETS = (
    "well_designed", "generous", "squeeze", "no_change", "opt_in", "anticipation",
    "mega_creator", "cross_cluster_leak", "never_empty", "heterogeneous_cohorts",
    "return_shift", "well_designed_one_wave", "generous_one_wave", "plan_switch",
    "geo_coupon",
)  # fmt: skip
"""Simulated worlds that come as panels."""

POPULATIONS = ("gmv", "new_customer", "member_activation", "win_back")
"""Whom a simulation assigns, by the goal that they are for; gmv is everyone."""

_ENGINE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")


def _engine(found: object, info: ValidationInfo) -> str:
    if not isinstance(found, str) or not _ENGINE.fullmatch(found):
        raise DefinitionError.engine_written_out(str(info.field_name))
    return found


def _population(found: object, info: ValidationInfo) -> str:
    return word_in(found, info, POPULATIONS)


def _encoding(found: object, info: ValidationInfo) -> str:
    name = text_of(found, info)
    try:
        codecs.lookup(name)
    except LookupError:
        raise DefinitionError.unreadable(
            "encoding", name, "write an encoding such as utf-8 or gb18030"
        ) from None
    return name


def _moment(found: object, info: ValidationInfo) -> datetime:
    zone = ZoneInfo(str((info.context or {}).get("timezone", "Asia/Shanghai")))
    fix = "write a moment such as 2026-12-01 or 2026-12-01 08:00"
    if isinstance(found, str):
        try:
            found = datetime.fromisoformat(found)
        except ValueError:
            raise DefinitionError.unreadable("as_of", found, fix) from None
    if not isinstance(found, datetime):
        day = parse_date(found, "as_of")
        found = datetime(day.year, day.month, day.day, tzinfo=zone)
    return found if found.tzinfo else found.replace(tzinfo=zone)


Engine = Annotated[
    str, PlainValidator(_engine), WithJsonSchema({"type": "string", "pattern": r"^\$\w+$"})
]
Encoding = Annotated[str, PlainValidator(_encoding), WithJsonSchema({"type": "string"})]
Moment = Annotated[
    datetime,
    PlainValidator(_moment),
    PlainSerializer(lambda moment: moment.isoformat()),
    WithJsonSchema({"type": "string", "examples": ["2026-12-01"]}),
]


class Source(Definition):
    """One table and how to read it.

    Attributes:
        file: Path or pattern, relative to the experiment's file.
        table: Name of a table in the engine.
        sql: Path of a query, relative to the experiment's file.
        engine: ``$NAME`` of the environment variable that holds the connection.
        columns: Our column -> theirs, for the columns that are called otherwise.
        money: Unit of the money columns, such as yuan or fen.
        encoding: Of a text file; UTF-8 unless said.
        sheet: Of a workbook; the first unless said.
        snapshot: Day at whose end the table was as it is.
    """

    file: Text | None = Field(default=None, examples=["data/orders_*.parquet"])
    table: Text | None = None
    sql: Text | None = Field(default=None, examples=["queries/customers.sql"])
    engine: Engine | None = None
    columns: NamedValues[Text] = FrozenDict()
    money: Text | None = Field(default=None, examples=["yuan"])
    encoding: Encoding | None = None
    sheet: Text | None = None
    snapshot: Day | None = None

    @property
    def place(self) -> str:
        """The file, table or query, whichever was given."""
        return self.file or self.table or self.sql or ""

    @model_validator(mode="after")
    def _comes_from_one_place(self) -> Self:
        given = [name for name in ("file", "table", "sql") if getattr(self, name)]
        if len(given) != 1:
            raise DefinitionError.one_of("a source", given, ("file", "table", "sql"))
        for option in ("encoding", "sheet"):
            if getattr(self, option) and not self.file:
                raise DefinitionError.needs_beside(option, "file", given[0])
        if self.engine and self.file:
            raise DefinitionError.needs_beside("engine", "table or sql", "file")
        return self


class Simulated(Definition):
    """Tables made on first run from a simulation with a known truth.

    Attributes:
        preset: Name of the simulated world.
        customers: How many are assigned.
        seed: Where the random numbers start.
        population: Who is assigned: everyone (gmv), or those whom a goal is for.
    """

    preset: Text = Field(examples=["gmv_up_profit_down"])
    customers: Whole = 100_000
    seed: Whole = 1
    population: Annotated[
        str, PlainValidator(_population), WithJsonSchema({"enum": list(POPULATIONS)})
    ] = "gmv"


class Data(Definition):
    """The sources of an experiment, in exactly one grain.

    Attributes:
        units: One row per unit, with its components added up.
        cells: One row per arm (and stratum): counts, means and second moments.
        panel: One row per unit and period, with its components added up.
        simulate: Makes the order tables on first run.
        as_of: Moment up to which facts are known; now unless said.
    """

    assignments: Source | None = None
    order_lines: Source | None = None
    refunds: Source | None = None
    orders: Source | None = None
    users: Source | None = None
    exposures: Source | None = None
    coupons: Source | None = None
    coupon_events: Source | None = None
    membership_events: Source | None = None
    ad_spend: Source | None = None
    settlements: Source | None = None
    creator_terms: Source | None = None
    roster: Source | None = None
    cost_params: Source | None = None
    finance_total: Source | None = None
    units: Source | None = None
    cells: Source | None = None
    panel: Source | None = None
    simulate: Simulated | None = None
    as_of: Moment | None = None

    _base: Path = PrivateAttr(default_factory=Path)

    @property
    def base(self) -> Path:
        """Folder that relative paths start from: that of the experiment's file."""
        return self._base

    @property
    def grain(self) -> str:
        """``orders``, ``units``, ``cells`` or ``panel``."""
        ready = next((name for name in READY if getattr(self, name)), "orders")
        if ready == "orders" and self.simulate and self.simulate.preset in PANEL_PRESETS:
            return "panel"
        return ready

    @property
    def sources(self) -> dict[str, Source]:
        """Table -> its source, for the tables that are given."""
        named = {name: getattr(self, name) for name in (*ORDER_TABLES, *READY)}
        return {name: source for name, source in named.items() if source is not None}

    def path(self, place: str) -> Path:
        """Find a file or pattern of a source from the folder of the experiment."""
        return self._base / place

    @model_validator(mode="after")
    def _knows_its_folder(self, info: ValidationInfo) -> Self:
        self._base = Path((info.context or {}).get("base", "."))
        return self


__all__ = ["ORDER_TABLES", "Data", "Simulated", "Source"]
