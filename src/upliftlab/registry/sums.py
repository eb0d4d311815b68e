"""How do experiments that others ran come in: as sums per arm?"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upliftlab.checks import ALPHA, SAMPLE_RATIO
from upliftlab.decision import KEEP_TESTING, NO_VERDICT, SHIP, STOP
from upliftlab.errors import DataError
from upliftlab.registry.files import address_of
from upliftlab.registry.mistakes import RegistryError
from upliftlab.registry.record import (
    READ,
    VOID,
    ArmMeans,
    Maturity,
    Record,
    RecordedArm,
    RecordedCheck,
    quarter_of,
)
from upliftlab.stats.estimate import (
    Estimate,
    critical_value,
    p_positive,
    undefined,
)
from upliftlab.stats.means import welch
from upliftlab.stats.sample_ratio import chi_square

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEEDED = ("experiment", "arm", "n", "sum", "sum_of_squares")
OPTIONAL = ("control", "share", "starts", "ends", "quarter", "owner", "mechanism", "spend")

_BAD = {
    "fewer than no units": "n < 0 OR n IS NULL",
    "sums of squares smaller than the mean allows": (
        "n > 0 AND sum_of_squares < sum * sum / n * (1 - 1e-9)"
    ),
    "an arm that came before": "count(*) OVER (PARTITION BY experiment, arm) > 1",
}
_YES = frozenset({"true", "yes", "1", "y", "是"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """How a table of sums is to be understood.

    Attributes:
        outcome: What was summed: "profit", or the name of a metric such as "clicks".
        currency: ISO 4217 code where ``worth`` or the sums are money; empty for other outcomes.
        worth: Minor units of money that one unit of the outcome is worth; sums are multiplied.
        columns: Our name -> theirs, where they differ: experiment, arm, n, sum,
            sum_of_squares; and where the table has them control, share, starts, ends, quarter,
            owner, mechanism, spend.
        kind: Of all experiments of the table.
        unit: What was assigned.
        level: Confidence level.
    """

    outcome: str = "profit"
    currency: str = ""
    worth: float = 1.0
    columns: Mapping[str, str] = field(default_factory=dict)
    kind: str = "custom"
    unit: str = "customer"
    level: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arm:
    label: str
    n: int
    mean: float
    variance: float
    share: float
    spend: float


def records_of(path: str | Path, how: Sums) -> list[Record]:
    """Read experiments from a table with one row per arm: counts, sums, sums of squares.

    Arms stand in the order of the table; control is the one marked, else the first. Where no
    shares are given they were equal. An experiment whose sizes do not fit its shares is void.
    The verdict compares each treatment with control; to ship, the range must hold for all
    treatments of the experiment at once (Bonferroni).

    Args:
        path: A CSV or Parquet file.
        how: What its columns mean.

    Raises:
        RegistryError: When a column is missing or sums are impossible.
        DataError: When the file is not there or cannot be read.
    """
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _rows(Path(path), how):
        groups[str(row["experiment"])].append(row)
    return [_record(name, rows, how) for name, rows in groups.items()]


def _rows(path: Path, how: Sums) -> list[dict[str, Any]]:
    import duckdb

    if not path.exists():
        raise DataError.missing_file("sums", str(path))
    parquet = path.suffix.lower() in {".parquet", ".pq"}
    reader = "read_parquet" if parquet else "read_csv"
    with duckdb.connect() as engine:
        try:
            table = engine.sql(f"SELECT * FROM {reader}(?)", params=[str(path)])  # noqa: S608 - one of two words
            chosen = _chosen(table.columns, how)
            picked = ", ".join(
                f'"{theirs}" AS {ours}' for ours, theirs in chosen.items() if '"' not in theirs
            )
            typed = (
                "CAST(n AS BIGINT) AS n, CAST(sum AS DOUBLE) AS sum, "
                "CAST(sum_of_squares AS DOUBLE) AS sum_of_squares"
            )
            view = table.project(picked).project(f"* REPLACE ({typed})")
            for why, where in _BAD.items():
                bad = view.project(f"experiment, {where} AS is_bad").filter("is_bad")
                if (count := len(bad)) > 0:
                    first = bad.project("experiment").fetchone()
                    raise RegistryError.bad_sums(count, str((first or ("",))[0]), why)
            return [dict(zip(view.columns, row, strict=True)) for row in view.fetchall()]
        except duckdb.Error as problem:
            first_line = str(problem).split("\n", maxsplit=1)[0]
            raise DataError.query_failed("sums", path.name, first_line) from None


def _chosen(have: list[str], how: Sums) -> dict[str, str]:
    out = {}
    for ours in (*NEEDED, *OPTIONAL):
        theirs = how.columns.get(ours, ours)
        if theirs in have:
            out[ours] = theirs
        elif ours in NEEDED or ours in how.columns:
            raise RegistryError.sums_need(ours, have)
    return out


def _record(name: str, rows: list[dict[str, Any]], how: Sums) -> Record:
    arms = [_arm(row, how) for row in rows]
    first = rows[0]
    marked = [
        i
        for i, row in enumerate(rows)
        if str(row.get("control", "") or "").strip().lower() in _YES
    ]
    control = arms[marked[0] if marked else 0]
    _, p, expected = chi_square([arm.n for arm in arms], [arm.share for arm in arms])
    is_void = p < ALPHA
    starts = _day(first.get("starts"))
    treatments = [arm for arm in arms if arm is not control]
    message = _ratio_text(arms, expected, p)
    return Record(
        name=slug(name),
        question=name if slug(name) != name else "",
        owner=str(first.get("owner") or ""),
        kind=how.kind,
        mechanism=str(first.get("mechanism") or how.kind),
        unit=how.unit,
        outcome=how.outcome,
        currency=how.currency,
        starts=starts,
        ends=_day(first.get("ends")),
        quarter=str(first.get("quarter") or quarter_of(starts)),
        status=VOID if is_void else READ,
        status_reason=message if is_void else "",
        arms=tuple(
            _treatment(arm, control, len(treatments), how, is_void=is_void)
            for arm in treatments
        ),
        means=_means(arms, control),
        checks=(
            RecordedCheck(
                name=SAMPLE_RATIO,
                verdict="fail" if is_void else "pass",
                message=message,
                value=p,
                is_blocking=is_void,
            ),
        ),
        sample_ratio_p=p,
        maturity=Maturity(note="imported sums do not say what is booked"),
        estimand=(
            f"Mean extra {how.outcome} per assigned {how.unit}, against {control.label}, as "
            "summed elsewhere; nothing but sizes could be checked."
        ),
        data=address_of(repr([sorted(row.items(), key=str) for row in rows]).encode()),
        notes=("imported from sums per arm",),
    )


def slug(name: str) -> str:
    """Make a name that a file can carry; one that needs changes keeps a part of its hash.

    Examples:
        >>> slug("spring-coupon"), slug("free shipping?")
        ('spring-coupon', 'free-shipping-194de0')
    """
    plain = re.sub(r"[^\w-]+", "-", name).strip("-_")[:80]
    if plain == name:
        return name
    return f"{plain[:70] or 'experiment'}-{address_of(name.encode())[:6]}"


def _arm(row: Mapping[str, Any], how: Sums) -> _Arm:
    n = int(row["n"])
    mean = row["sum"] / n if n else math.nan
    centred = row["sum_of_squares"] - n * mean * mean if n else math.nan
    share = row.get("share")
    spend = row.get("spend")
    return _Arm(
        label=str(row["arm"]),
        n=n,
        mean=mean * how.worth,
        variance=max(0.0, centred) / (n - 1) * how.worth**2 if n > 1 else math.nan,
        share=float(share) if share is not None else 1.0,
        spend=float(spend) if spend is not None else math.nan,
    )


def _treatment(
    arm: _Arm, control: _Arm, treatments: int, how: Sums, *, is_void: bool
) -> RecordedArm:
    profit = welch(
        mean_t=arm.mean,
        var_t=arm.variance,
        n_t=arm.n,
        mean_c=control.mean,
        var_c=control.variance,
        n_c=control.n,
        level=how.level,
        name="profit",
    )
    verdict, reason = _verdict(profit, treatments, how, is_void=is_void)
    spend = undefined("spend", "sums say nothing of spend")
    if math.isfinite(arm.spend) and arm.n and control.n:
        idle = control.spend if math.isfinite(control.spend) else 0.0
        spend = Estimate(
            name="spend",
            estimate=arm.spend - idle * arm.n / control.n,
            note="as booked, without a range",
        )
    return RecordedArm(
        arm=arm.label,
        title=arm.label,
        control=control.label,
        n=arm.n,
        n_control=control.n,
        profit=profit,
        realised=profit.scaled(arm.n, name="realised") if arm.n else profit,
        spend=spend,
        verdict=verdict,
        reasons=(reason,),
        p_positive=p_positive(profit),
    )


def _verdict(profit: Estimate, treatments: int, how: Sums, *, is_void: bool) -> tuple[str, str]:
    what = how.outcome
    if is_void:
        return NO_VERDICT, "The sizes of the arms do not fit their shares."
    if not profit.std_error > 0:
        return NO_VERDICT, f"Extra {what} has no range: {profit.note or 'it does not vary'}."
    if profit.is_below_zero:
        return STOP, f"The whole range of extra {what} lies below 0."
    level = 1 - (1 - how.level) / treatments
    reach = critical_value(df=profit.df, level=level) * profit.std_error
    if profit.estimate - reach > 0:
        return SHIP, f"The whole range of extra {what} lies above 0, all arms counted."
    return KEEP_TESTING, f"The range of extra {what}, with all arms counted, includes 0."


def _means(arms: list[_Arm], control: _Arm) -> ArmMeans:
    size = len(arms)
    return ArmMeans(
        arms=tuple(arm.label for arm in arms),
        control=control.label,
        names=("profit",),
        n=tuple(arm.n for arm in arms),
        mean=tuple((arm.mean,) for arm in arms),
        cov=tuple(
            tuple(arm.variance / arm.n if i == j and arm.n else 0.0 for j in range(size))
            for i, arm in enumerate(arms)
        ),
        df=tuple(float(arm.n - 1) for arm in arms),
    )


def _ratio_text(arms: Iterable[_Arm], expected: Iterable[float], p: float) -> str:
    seen = " / ".join(f"{arm.n:,}" for arm in arms)
    planned = " / ".join(f"{round(each):,}" for each in expected)
    shown = "< 0.001" if p < ALPHA else f"{p:.3f}"
    tail = "units were lost or added: no verdict" if p < ALPHA else "as planned"
    return f"Sample ratio: arms have {seen}, planned {planned} (p {shown}): {tail}."


def _day(value: object) -> str:
    return "" if value is None else str(value)[:10]
