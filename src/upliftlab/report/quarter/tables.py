"""Which tables does the review hold, for people who calculate on?"""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.registry.taking import sentence
from upliftlab.report.quarter.amounts import Amounts, arm_name, mechanism_name, title

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from upliftlab.registry.damage import Damage
    from upliftlab.review.programme import Programme, Result
    from upliftlab.stats.estimate import Estimate

Value = str | float | int | None

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTable:
    """A table of plain values: one sheet, one CSV file.

    Attributes:
        name: Of the sheet and the file.
        columns: Headings; amounts are in main units of the currency.
        rows: Values; None where a number does not exist.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


def tables_of(
    programme: Programme, *, damage: Sequence[Damage] = (), today: date | None = None
) -> tuple[DataTable, ...]:
    """Lay out the review as tables of plain values."""
    amounts = Amounts(currency=programme.currency, outcome=programme.outcome)
    return (
        _summary(programme, amounts),
        _decisions(programme, amounts),
        _experiments(programme, today),
        _results(programme, amounts),
        _ladder(programme, amounts),
        _lines(programme, amounts),
        _mechanisms(programme, amounts),
        _validity(programme, damage),
    )


def render_csv(table: DataTable) -> str:
    r"""Print one table as CSV; text that a spreadsheet would run as a formula is quoted.

    Examples:
        >>> render_csv(DataTable(name="a", columns=("who",), rows=(("=1+1",),)))
        "who\r\n'=1+1\r\n"
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(table.columns)
    writer.writerows([[safe(each) for each in row] for row in table.rows])
    return out.getvalue()


def safe(value: Value) -> Value:
    """Keep a spreadsheet from reading text as a formula, or choking on a control character."""
    if not isinstance(value, str):
        return value
    plain = _CONTROL.sub("", value)
    return f"'{plain}" if plain.startswith(_FORMULA) else plain


def _ends(estimate: Estimate, amounts: Amounts | None) -> tuple[Value, Value, Value]:
    scale = 1.0 if amounts is None else amounts.scale
    values = (estimate.estimate, estimate.ci_low, estimate.ci_high)
    return (_known(values[0], scale), _known(values[1], scale), _known(values[2], scale))


def _known(value: float, scale: float = 1.0) -> Value:
    return value * scale if math.isfinite(value) else None


def _summary(programme: Programme, amounts: Amounts) -> DataTable:
    shipped, held = programme.review.shipped, programme.review.holdout
    risk = programme.review.false_positives.risk
    rows: list[tuple[Value, ...]] = [
        (amounts.what, *_ends(programme.total, amounts), amounts.unit, programme.total.note),
        (
            "campaign money",
            *_ends(programme.spend, amounts),
            amounts.unit,
            programme.spend.note,
        ),
        ("extra profit per unit of it", *_ends(programme.iroi, None), "", programme.iroi.note),
        *(
            (what, *_ends(each, amounts), amounts.unit, each.note)
            for what, each in (
                ("what ships, rolled out, as measured", shipped.naive),
                ("the same, corrected by the flexible prior", shipped.corrected),
                ("the same, corrected after Lee and Shen", shipped.lee_shen),
                ("universal holdout", held.holdout),
                ("corrected sum less holdout", held.gap),
            )
        ),
        ("chance that a win is nothing", _known(risk), None, None, "", "at 80 % power"),
        (
            "share of spend with a test behind it",
            _known(programme.review.coverage.share),
            None,
            None,
            "",
            programme.review.coverage.note,
        ),
    ]
    rows += [
        (f"experiments {status}", n, None, None, "", "")
        for status, n in programme.counts.items()
    ]
    shares = programme.maturity
    rows += [
        ("share booked", _known(shares.booked), None, None, "", shares.note),
        ("share still returning", _known(shares.projected), None, None, "", ""),
        ("share at assumed prices", _known(shares.assumed), None, None, "", ""),
    ]
    columns = ("what", "value", "range low", "range high", "unit", "note")
    return DataTable(name="summary", columns=columns, rows=tuple(rows))


def _decisions(programme: Programme, amounts: Amounts) -> DataTable:
    rows = [
        (
            each.record.name,
            arm_name(each.record, each.arm),
            *_ends(each.at_stake, amounts),
            each.proposed,
            each.arm.segment,
            each.record.owner,
            each.arm.reasons[0] if each.arm.reasons else "",
        )
        for each in programme.asked
    ]
    columns = (
        "experiment", "treatment", "worth", "range low", "range high", "proposed", "segment",
        "owner", "reason",
    )  # fmt: skip
    return DataTable(name="decide today", columns=columns, rows=tuple(rows))


def _experiments(programme: Programme, today: date | None) -> DataTable:
    rows = [
        (
            each.name,
            title(each),
            each.status,
            each.status_reason,
            mechanism_name(each.mechanism),
            each.design,
            each.owner,
            each.starts,
            each.ends,
            each.quarter,
            _known(each.sample_ratio_p),
            _known(each.maturity.booked),
            "; ".join(sentence(taken, today) for taken in each.decisions),
            each.layer,
            each.plan,
            each.data,
            each.id,
            len(each.supersedes),
        )
        for each in programme.records
    ]
    columns = (
        "experiment", "title", "status", "why", "mechanism", "design", "owner", "starts",
        "ends", "quarter", "sample ratio p", "share booked", "decided", "layer", "plan", "data",
        "record", "earlier records",
    )  # fmt: skip
    return DataTable(name="experiments", columns=columns, rows=tuple(rows))


def _results(programme: Programme, amounts: Amounts) -> DataTable:
    rows = [_result(each, amounts) for each in programme.results]
    columns = (
        "experiment", "treatment", "control", "n", "n control", "per unit", "per unit low",
        "per unit high", "p", "in the test", "test low", "test high", "rolled out",
        "roll-out low", "roll-out high", "reached", "spend", "per unit of spend",
        "reported ROI", "verdict", "segment", "decided",
    )  # fmt: skip
    return DataTable(name="results", columns=columns, rows=tuple(rows))


def _result(each: Result, amounts: Amounts) -> tuple[Value, ...]:
    arm = each.arm
    return (
        each.record.name,
        arm_name(each.record, arm),
        arm.control,
        arm.n,
        arm.n_control,
        *_ends(arm.profit, amounts),
        _known(arm.profit.p_value),
        *_ends(arm.realised, amounts),
        *_ends(arm.rollout, amounts),
        arm.rollout_n,
        _known(arm.spend.estimate, amounts.scale),
        _known(arm.iroi.estimate),
        _known(arm.reported_roi),
        arm.verdict,
        arm.segment,
        each.taken.decision if each.taken else "",
    )


def _ladder(programme: Programme, amounts: Amounts) -> DataTable:
    rows = [
        (
            each.record.name,
            arm_name(each.record, each.arm),
            rung.label or rung.name,
            _known(rung.control, amounts.scale),
            *_ends(rung.effect, amounts),
            _known(rung.effect.rel_estimate),
        )
        for each in programme.results
        for rung in each.arm.ladder
    ]
    columns = (
        "experiment", "treatment", "rung", "control per unit", "difference", "range low",
        "range high", "share of control",
    )  # fmt: skip
    return DataTable(name="ladder", columns=columns, rows=tuple(rows))


def _lines(programme: Programme, amounts: Amounts) -> DataTable:
    rows = [
        (each.label, *_ends(each.effect, amounts), "yes" if each.is_campaign else "")
        for each in programme.lines
    ]
    columns = ("line", "extra money", "range low", "range high", "campaign money")
    return DataTable(name="lines", columns=columns, rows=tuple(rows))


def _mechanisms(programme: Programme, amounts: Amounts) -> DataTable:
    """Every summary by random effects, beside the one that the page prints."""
    rows = [
        (
            each.name,
            each.unit,
            each.n_tests,
            each.n_arms,
            pooled.method,
            *_ends(pooled.mean, amounts),
            _known(math.sqrt(pooled.tau2), amounts.scale),
            _known(pooled.i2),
            *_ends(pooled.prediction, amounts)[1:],
            _known(each.spend, amounts.scale),
        )
        for each in programme.review.mechanisms
        for pooled in (each.pooled, *each.others)
    ]
    columns = (
        "mechanism", "per", "experiments", "treatments", "method", "mean", "range low",
        "range high", "spread of true effects", "share of variance between tests",
        "next test low", "next test high", "campaign money",
    )  # fmt: skip
    return DataTable(name="mechanisms", columns=columns, rows=tuple(rows))


def _validity(programme: Programme, damage: Sequence[Damage]) -> DataTable:
    rows: list[tuple[Value, ...]] = [
        (record.name, check.name, check.verdict, check.message)
        for record in programme.records
        for check in record.checks
        if check.verdict in {"fail", "warn"}
    ]
    rows += [
        (record.name, "deviation", "warn", text)
        for record in programme.records
        for text in record.deviations
    ]
    rows += [(each.file, "registry", "fail", f"{each.problem}; {each.fix}") for each in damage]
    return DataTable(
        name="validity", columns=("experiment", "check", "state", "what"), rows=tuple(rows)
    )
