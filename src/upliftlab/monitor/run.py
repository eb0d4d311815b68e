"""Look at a running test: read what is new, add it up, say what to do."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from upliftlab.analysis import given_tables
from upliftlab.checks import ALPHA, FAIL, PASS, SAMPLE_RATIO, WARN, Check
from upliftlab.data.look_sources import LookSources
from upliftlab.data.tables import in_utc
from upliftlab.experiment import Experiment, deviations
from upliftlab.monitor import refusals
from upliftlab.monitor.answer import (
    BROKEN,
    FUTILE,
    GAIN,
    HARM,
    KEEP,
    LOSS,
    OVER,
    STOPS,
    WAIT,
    Look,
    Monitoring,
)
from upliftlab.monitor.measured import effects_of, readings_of
from upliftlab.monitor.reading import day_number, iso, read_new
from upliftlab.monitor.rules import LEAST_STEP, Rules, fraction_of, rules_of
from upliftlab.monitor.state import State, load, save
from upliftlab.stats.anytime_ratio import anytime_p, log_e_value
from upliftlab.stats.conditional_power import Waiting, waiting
from upliftlab.stats.looks import permitted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from upliftlab.lock import Lock

FEWEST_CLUSTERS = 10
"""Clusters an arm needs before a look: for fewer the analysis, too, re-assigns them.

Looks themselves hold from six on (docs/certify/looks.md).
"""

UNEVEN_CLUSTERS = 1.5
"""Clusters of one arm per cluster of another from which one-sided error is told."""

BOUND_TO = (
    "looks", "arms", "run", "follow_up", "other_windows", "returns_final_after", "strata",
    "cluster", "covariates", "design", "unit", "timezone", "currency", "who_pays",
)  # fmt: skip
"""Keys of the plan under which looks were added up; others may change, and are listed."""


def look(
    experiment: Experiment,
    tables: Mapping[str, object] | None = None,
    *,
    state: Path | None = None,
    as_of: date | None = None,
    lock: Lock | None = None,
    progress: Callable[[str], None] | None = None,
) -> Monitoring:
    """Take one look at a running test.

    Only units whose window has closed since the last look are read, each once: at a fixed age,
    ``age`` days plus the days until returns are final. Where rows of theirs
    come later, their assignment days are read again.

    Args:
        experiment: The plan, with its ``looks``.
        tables: Tables from Python by source name, in place of the plan's sources.
        state: File that keeps what earlier looks read; None reads everything and keeps nothing.
        as_of: Last day whose facts are all there; by default the day before the last payment.
        lock: The plan as it was locked; what changed since is listed, or refused.
        progress: Called with the name of each step.

    Returns:
        This look and all before it; before the first permitted look nothing is concluded.

    Raises:
        DesignError: Without ``looks`` in the plan, for a look before the last one or after the
            end, and for a plan that changed in what the looks are bound to.
        DataError: When a source does not hold what the plan says.
    """
    tell = progress or (lambda _: None)
    rules = rules_of(experiment)
    if experiment.grain not in {"orders", "units", ""}:
        raise refusals.not_by_day(experiment.grain)
    kept = load(state) if state is not None and state.is_file() else None
    before = kept or State(promised=experiment.to_dict())
    changed = _changed(experiment, before, rules, lock)
    tell("reading what is new")
    sources = LookSources.open(experiment, given_tables(experiment, tables, tell))
    with in_utc(sources.engine):
        now, is_new = read_new(experiment, rules, sources, before, as_of)
    sources.engine.close()
    if is_new:
        tell("adding up")
        now = _with_look(experiment, rules, now)
        if state is not None:
            save(now, state)
    return _monitoring(experiment, rules, now, changed)


def recall(experiment: Experiment, state: Path, *, lock: Lock | None = None) -> Monitoring:
    """Say again what the looks so far said; nothing is read but the state."""
    kept, rules = load(state), rules_of(experiment)
    return _monitoring(experiment, rules, kept, _changed(experiment, kept, rules, lock))


def _with_look(experiment: Experiment, rules: Rules, state: State) -> State:
    """Say what this look says, and keep it."""
    earlier = [Look.from_dict(each) for each in state.looks]
    control = experiment.control.label
    arms = [arm.label for arm in experiment.arms]
    n = dict.fromkeys(arms, 0)
    if state.cells is not None:
        by_arm = state.cells.collapse(["arm"])
        n |= {label[0]: int(x) for label, x in zip(by_arm.labels, by_arm.n, strict=True)}
    active = {arm: state.powers_of(arm).active for arm in arms}
    assigned = {arm: sum(by.get(arm, 0) for by in state.assigned.values()) for arm in arms}
    treated = [arm.label for arm in experiment.treatments]
    fractions = {arm: fraction_of(rules, n, arm, control) for arm in treated}
    missing = _missing(rules, n, active) or _few_clusters(experiment, state)
    before = {
        arm: [each.fraction[arm] for each in earlier if each.is_permitted] for arm in treated
    }
    effects = None if missing else effects_of(experiment, rules, state)
    readings = () if effects is None else readings_of(
        experiment, rules, state, effects, fractions=fractions, earlier=before
    )  # fmt: skip
    evidence = _evidence(experiment, state)
    found = Look(
        day=iso((state.as_of or 0) - 1),
        n=n,
        active=active,
        assigned=assigned,
        fraction=fractions,
        is_permitted=not missing,
        missing=missing,
        readings=readings,
        log_evidence=evidence[-1][1] if evidence else 0.0,
    )
    is_over = _is_over(experiment, rules, state, fractions)
    found = replace(found, state=_state(found, evidence, over=is_over))
    return replace(state, looks=(*state.looks, found.to_dict()))


def _state(look: Look, evidence: Sequence[tuple[str, float]], *, over: bool) -> str:
    """The first of the stopping words that applies, else wait or keep running."""
    if anytime_p([x for _, x in evidence]) <= ALPHA:
        return BROKEN
    states = {reading.state for reading in look.readings}
    for word in (HARM, LOSS, GAIN):
        if word in states:
            return word
    if over:
        return OVER
    profits = [r.state for r in look.readings if r.name == "profit"]
    if profits and all(state == FUTILE for state in profits):
        return FUTILE
    return KEEP if look.is_permitted else WAIT


def _few_clusters(experiment: Experiment, state: State) -> str:
    """Say which arm has too few clusters for ranges over many looks; empty where none has."""
    counts = _clusters(experiment, state)
    fewest = min(counts, key=lambda arm: counts[arm], default="")
    if not fewest or counts[fewest] >= FEWEST_CLUSTERS:
        return ""
    return (
        f"{fewest} has {counts[fewest]} clusters of {FEWEST_CLUSTERS} needed: averages over "
        "fewer are no ground to stop early"
    )


def _clusters(experiment: Experiment, state: State) -> dict[str, int]:
    """Clusters read so far in every arm; empty where customers are assigned one by one."""
    if state.clusters is None:
        return {}
    arms = [arm for arm, _ in state.clusters.labels]
    return {arm.label: arms.count(arm.label) for arm in experiment.arms}


def _is_over(
    experiment: Experiment, rules: Rules, state: State, fractions: Mapping[str, float]
) -> bool:
    """Whether all planned units were read, or no further unit will close."""
    run = experiment.run
    ended = run is not None and (state.next_day or 0) > day_number(run.end)
    spent = rules.method == "group_sequential" and all(
        f >= 1 - LEAST_STEP for f in fractions.values()
    )
    return ended or spent


def _missing(rules: Rules, n: Mapping[str, int], active: Mapping[str, int]) -> str:
    """Say what the smaller arm lacks; empty when a look is permitted."""
    smaller = min(n, key=lambda arm: n[arm])
    fewest = min(active, key=lambda arm: active[arm])
    if bool(permitted(rules.first, n=n[smaller], active=active[fewest])):
        return ""
    return (
        f"{smaller} has {n[smaller]:,} customers with a closed window of {rules.first.units:,} "
        f"needed, {fewest} has {active[fewest]:,} with an outcome of {rules.first.active:,}"
    )


def _evidence(experiment: Experiment, state: State) -> tuple[tuple[str, float], ...]:
    """Log evidence against the planned shares after every day of assignment."""
    shares = {arm.label: float(arm.share or 0) for arm in experiment.arms}
    if experiment.cluster or not state.assigned:
        return ()
    total = dict.fromkeys(shares, 0)
    out = []
    for day in sorted(state.assigned):
        for arm in total:
            total[arm] += state.assigned[day].get(arm, 0)
        out.append((iso(day), log_e_value(list(total.values()), list(shares.values()))))
    return tuple(out)


def _changed(
    experiment: Experiment, state: State, rules: Rules, lock: Lock | None
) -> tuple[str, ...]:
    """Say what changed since the plan was locked, and since the first look.

    Raises:
        DesignError: When the looks were bound to it.
    """
    out = []
    if lock is not None:
        keys = [each.key for each in lock.changes(experiment)]
        _refuse_bound(keys, "it was locked")
        if lock.looks and dict(lock.looks) != rules.to_dict():
            raise refusals.other_tuning(lock.locked_at)
        if keys:
            out.append(f"Changed after the plan was locked: {', '.join(keys)}.")
    if dict(state.promised) != experiment.to_dict():
        found = deviations(Experiment(**state.promised), experiment)
        keys = [each.key for each in found if not each.key.startswith("data")]
        _refuse_bound(keys, "the first look")
        if keys:
            out.append(f"Changed after the first look: {', '.join(keys)}.")
    return tuple(out)


def _refuse_bound(keys: Sequence[str], since: str) -> None:
    bound = [key for key in keys if key.partition(".")[0] in BOUND_TO]
    if bound:
        raise refusals.changed_plan(bound, since)


def _monitoring(
    experiment: Experiment, rules: Rules, state: State, changed: Sequence[str]
) -> Monitoring:
    looks = tuple(Look.from_dict(each) for each in state.looks)
    stops = [each for each in looks if each.state in STOPS]
    now = looks[-1]
    evidence = _evidence(experiment, state)
    return Monitoring(
        experiment=experiment,
        estimand=_estimand(experiment, rules, state),
        looks=looks,
        state=stops[0].state if stops else now.state,
        stopped=stops[0].day if stops else "",
        next_look="" if now.state == OVER else _next_look(rules, state, now),
        first_look="" if now.is_permitted else _first_look(rules, state, now),
        checks=_checks(experiment, state, evidence, changed, now),
        waiting=_waiting(experiment, rules, state, now),
        sample_ratio=evidence,
        bindings=rules.to_dict(),
        notes=_notes(experiment, rules, state),
    )


def _next_look(rules: Rules, state: State, now: Look) -> str:
    regular = iso((state.as_of or 0) - 1 + rules.every)
    first = "" if now.is_permitted else _first_look(rules, state, now)
    return max(regular, first)


def _first_look(rules: Rules, state: State, now: Look) -> str:
    """Day on which the smaller arm will have what it needs, as assignments so far tell."""
    smaller = min(now.n, key=lambda arm: now.n[arm])
    share = now.active[smaller] / now.n[smaller] if now.n[smaller] >= 30 else 0.0
    needed = max(rules.first.units, rules.first.active / share if share > 0 else 0)
    total = dict.fromkeys(now.n, 0)
    for day in sorted(state.assigned):
        for arm in total:
            total[arm] += state.assigned[day].get(arm, 0)
        if min(total.values()) >= needed:
            return iso(day + rules.reach)
    return ""


def _waiting(
    experiment: Experiment, rules: Rules, state: State, now: Look
) -> dict[str, Waiting]:
    """Expected losses of deciding now, and what the units of another wait would add."""
    control = experiment.control.label
    horizon = (state.as_of or 0) + rules.every - rules.reach
    later = dict(now.n)
    for day, by in state.assigned.items():
        if (state.next_day or 0) <= day < horizon:
            for arm, count in by.items():
                later[arm] = later.get(arm, 0) + count
    out = {}
    for reading in now.readings:
        if reading.name != "profit" or not reading.std_error > 0:
            continue
        growth = fraction_of(rules, later, reading.arm, control) / max(
            now.fraction[reading.arm], LEAST_STEP
        )
        out[reading.arm] = waiting(reading.estimate, reading.std_error, growth=max(growth, 1.0))
    return out


def _checks(
    experiment: Experiment,
    state: State,
    evidence: Sequence[tuple[str, float]],
    changed: Sequence[str],
    now: Look,
) -> tuple[Check, ...]:
    out = []
    if evidence:
        p = anytime_p([x for _, x in evidence])
        sizes = {
            arm.label: sum(by.get(arm.label, 0) for by in state.assigned.values())
            for arm in experiment.arms
        }
        seen = " / ".join(f"{n:,}" for n in sizes.values())
        tail = "units were lost or added: no verdict" if p <= ALPHA else "as planned so far"
        out.append(
            Check(
                name=SAMPLE_RATIO,
                verdict=FAIL if p <= ALPHA else PASS,
                message=f"Sample ratio at any time: arms have {seen} customers: {tail}.",
                value=p,
                threshold=ALPHA,
            )
        )
    out += _row_checks(state)
    out += [
        Check(
            name="no_range",
            verdict=WARN,
            message=(
                f"Range: profit of {each.arm} against {experiment.control.label} has none "
                f"({each.method or 'it does not vary'}), so no stopping rule can be met; see "
                "that sales and costs of every customer are in the data."
            ),
            value=math.nan,
            threshold=0.0,
        )
        for each in now.readings
        if each.name == "profit" and not each.std_error > 0
    ]
    out += [
        Check(name="changed_plan", verdict=WARN, message=each, value=1.0, threshold=0.0)
        for each in changed
    ]
    order = {FAIL: 0, WARN: 1, PASS: 2}
    return tuple(sorted(out, key=lambda check: order[check.verdict]))


def _row_checks(state: State) -> list[Check]:
    """Rows that came after their customers had been read, and rows that went."""
    out = []
    if state.again or state.lost:
        listed = ", ".join(f"{n:,} of {name}" for name, n in sorted(state.late.items()) if n)
        rows = f"{listed} came" if listed else "files were corrected"
        again = f"customers assigned on {_listed(state.again)} were read again, and what "
        again += "earlier looks said stands"
        lost = f"those assigned on {_listed(state.lost)} could not be read again, for other "
        lost += "rows of theirs are gone"
        parts = [text for text, days in ((again, state.again), (lost, state.lost)) if days]
        out.append(
            Check(
                name="late_rows",
                verdict=WARN,
                message=f"Late rows: {rows} after their customers had been read; "
                f"{'; '.join(parts)}.",
                value=float(sum(state.late.values())),
                threshold=0.0,
            )
        )
    gone = {name: sum(by.values()) for name, by in sorted(state.gone.items())}
    if gone:
        listed = ", ".join(f"{n:,} of {name}" for name, n in gone.items())
        out.append(
            Check(
                name="rows_gone",
                verdict=WARN,
                message=f"Rows gone: {listed} were there at an earlier look; what was read of "
                "them stays.",
                value=float(sum(gone.values())),
                threshold=0.0,
            )
        )
    return out


def _listed(days: Sequence[int]) -> str:
    """A few days one by one, many by the first and the last."""
    if len(days) > 3:
        return f"{len(days)} days from {iso(days[0])} to {iso(days[-1])}"
    return ", ".join(iso(day) for day in days)


def _notes(experiment: Experiment, rules: Rules, state: State) -> tuple[str, ...]:
    notes = [
        "numbers for one look at the end are withheld: they do not hold at many looks",
    ]
    if experiment.cluster:
        notes.append("the sample ratio of clusters is checked by the analysis")
    counts = _clusters(experiment, state).values()
    uneven = max(counts, default=0) >= UNEVEN_CLUSTERS * min(counts, default=1)
    if rules.method == "group_sequential" and uneven:
        notes.append(
            f"arms have {' and '.join(f'{n:,}' for n in counts)} clusters, and bounds are not "
            "corrected for their skewness: with three times as many in one arm, tests without "
            "effect crossed one side in up to 3.9 % where 2.5 % are promised, and both "
            "together in less than 5 %; always_valid looks stayed below 1 %"
        )
    if state.ad_spend:
        notes.append(
            "ad spend booked so far is spread over the customers assigned so far and taken as "
            "fixed: ranges do not count how it might have been otherwise"
        )
    if len(experiment.treatments) > 1:
        notes.append(
            f"{len(experiment.treatments)} treatments share the error evenly: "
            f"{rules.alpha:.3%} each, all looks together"
        )
    notes += [f"{rows:,} rows set aside, {rule}" for rule, rows in state.set_aside.items()]
    return tuple(notes)


def _estimand(experiment: Experiment, rules: Rules, state: State) -> str:
    unit = experiment.unit
    arms = ", ".join(arm.label for arm in experiment.treatments)
    window = "" if rules.age is None else f" over {rules.age} days from assignment"
    until = "" if state.next_day is None else f" (assigned up to {iso(state.next_day - 1)})"
    final = f" and whose returns are final ({rules.settle} days)" if rules.settle else ""
    return (
        f"Mean extra contribution profit per assigned {unit}{window} of {arms} against "
        f"{experiment.control.label}, of {unit}s whose window is closed{final}{until}; "
        f"{unit}s still within it count for nothing yet."
    )


__all__ = ["look", "recall"]
