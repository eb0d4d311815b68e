"""What of an analysis goes on record?"""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from upliftlab.checks import SAMPLE_RATIO
from upliftlab.economics import MERCHANT
from upliftlab.profit import RUNGS, rung_terms
from upliftlab.registry.from_plan import planned
from upliftlab.registry.record import (
    READ,
    VOID,
    ArmMeans,
    Maturity,
    Record,
    RecordedArm,
    RecordedCheck,
    RecordedLine,
    RecordedRung,
)
from upliftlab.stats.estimate import NAN, undefined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from upliftlab.analysis import Analysis
    from upliftlab.decision import Decision
    from upliftlab.lock import Lock
    from upliftlab.profit import Profit

    Floats = NDArray[np.float64]

COST = "campaign_cost"


def record_of(analysis: Analysis, lock: Lock | None = None) -> Record:
    """Put an analysis on record: what a review adds up, and what an auditor asks.

    Arm means are kept as priced in their own arm, with one covariance over arms and
    functionals, so that contrasts that share a control can be added up later.

    Args:
        analysis: What the experiment said.
        lock: Its plan as it was promised; None where it was never locked.
    """
    blocked = [check.message for check in analysis.checks if check.is_blocking]
    ratio = [check.value for check in analysis.checks if check.name == SAMPLE_RATIO]
    return replace(
        planned(analysis.experiment, lock),
        window=analysis.profits[0].window if analysis.profits else None,
        status=VOID if blocked else READ,
        status_reason=blocked[0] if blocked else "",
        arms=tuple(_arm(analysis, profit) for profit in analysis.profits),
        # Changes over time have each their own expected means: no one control to share.
        means=None if analysis.changes else _means(analysis),
        checks=tuple(
            RecordedCheck(
                name=check.name,
                verdict=check.verdict,
                message=check.message,
                value=check.value,
                is_blocking=check.is_blocking,
            )
            for check in analysis.checks
        ),
        sample_ratio_p=ratio[0] if ratio else NAN,
        maturity=_maturity(analysis),
        estimand=analysis.estimand,
        plan=analysis.provenance.plan,
        data=analysis.provenance.data,
        as_of=_utc(analysis.facts.as_of),
        versions=dict(analysis.provenance.versions),
        notes=analysis.notes,
    )


def _arm(analysis: Analysis, profit: Profit) -> RecordedArm:
    decision = next((d for d in analysis.decisions if d.arm == profit.arm), None)
    arm = next(arm for arm in analysis.experiment.arms if arm.label == profit.arm)
    campaign = {line.name for line in analysis.economics.lines if line.is_campaign}
    return RecordedArm(
        arm=profit.arm,
        control=profit.control,
        depth=NAN if arm.coupon is None else float(arm.coupon.minor),
        n=profit.n,
        n_control=profit.n_control,
        profit=profit.profit,
        realised=profit.realised,
        rollout=profit.rollout,
        rollout_n=profit.rollout_n,
        spend=profit.campaign_cost.scaled(profit.n, name="spend"),
        iroi=profit.iroi,
        reported_roi=profit.attributed_roi,
        ladder=tuple(
            RecordedRung(
                name=rung.name, label=rung.label, control=rung.control, effect=rung.effect
            )
            for rung in profit.ladder
        ),
        lines=tuple(
            RecordedLine(
                name=line.line,
                label=line.label,
                stage=line.stage,
                status=line.status,
                is_campaign=line.line in campaign,
                treatment=line.treatment,
                control=line.control,
                effect=line.effect,
            )
            for line in profit.lines
        ),
        p_positive=profit.p_positive,
        expected_loss=profit.expected_loss,
        **_verdict(decision),
    )


def _verdict(decision: Decision | None) -> dict[str, Any]:
    if decision is None:
        return {}
    missing = undefined("segment", "no segment to ship to")
    return {
        "verdict": decision.verdict,
        "segment": decision.segment,
        "segment_at_stake": decision.segment_at_stake or missing,
        "reasons": decision.reasons,
        "is_buying_gmv": decision.is_buying_gmv,
    }


def _means(analysis: Analysis) -> ArmMeans:
    """Arm means of profit, of the ladder and of campaign money, each arm at its own prices."""
    effects = analysis.effects.with_units()
    rungs = {name: rung_terms(name, effects.names) for name, _ in RUNGS}
    names = ("profit", *(name for name, terms in rungs.items() if terms), COST)
    rows: list[Floats] = []
    for arm in effects.arms:
        terms = {"profit": analysis.economics.price(MERCHANT, arm), **rungs}
        terms[COST] = _cost_terms(analysis, arm)
        rows += [effects.weights({arm: dict(terms[name])}) for name in names]
    labels = [f"{arm}:{name}" for arm in effects.arms for name in names]
    joint = effects.linear(np.stack(rows), labels)
    width = len(names)
    return ArmMeans(
        arms=effects.arms,
        control=effects.control,
        names=names,
        n=effects.n,
        mean=_rows(joint.value.reshape(-1, width)),
        cov=_rows(joint.cov),
        df=tuple(float(each) for each in effects.df),
    )


def _cost_terms(analysis: Analysis, arm: str) -> dict[str, float]:
    out: dict[str, float] = {}
    for line in analysis.economics.lines:
        if line.is_campaign:
            for name, rate in line.terms(MERCHANT, arm).items():
                out[name] = out.get(name, 0.0) - rate
    return out


def _maturity(analysis: Analysis) -> Maturity:
    """Split the money of all arms into booked, still returning, and priced by assumption."""
    lines = [line for profit in analysis.profits for line in profit.lines]
    total = sum(abs(line.treatment) for line in lines)
    assumed = sum(abs(line.treatment) for line in lines if line.status == "assumed")
    share = assumed / total if total > 0 else 0.0
    final = analysis.facts.final
    if not final:
        return Maturity(assumed=share, note="nobody says which returns are final")
    n = {arm: sum(by.values()) for arm, by in analysis.facts.assigned.items()}
    weight = sum(n.get(arm, 0) for arm in final) or len(final)
    done = sum(p * (n.get(arm, 0) or 1) for arm, p in final.items()) / weight
    done = min(1.0, done)
    return Maturity(
        booked=(1 - share) * done, projected=(1 - share) * (1 - done), assumed=share
    )


def _rows(block: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(x) for x in row) for row in block)


def _utc(seconds: int | None) -> str:
    if seconds is None or not math.isfinite(seconds):
        return ""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")
