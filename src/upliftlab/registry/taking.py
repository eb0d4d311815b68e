"""What was decided, by whom and why, and may it be decided so?"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from upliftlab.decision import KEEP_TESTING, NO_VERDICT, SHIP, SHIP_TO_SEGMENT, STOP
from upliftlab.registry.mistakes import RegistryError
from upliftlab.registry.record import Record, RecordedArm, Taken

if TYPE_CHECKING:
    from collections.abc import Iterable

DECISIONS = (SHIP, SHIP_TO_SEGMENT, KEEP_TESTING, STOP)

_MILDER = frozenset({(NO_VERDICT, KEEP_TESTING), (SHIP, KEEP_TESTING)})
"""Proposed and decided: to wait longer than proposed costs no reason."""


def taken(
    record: Record,
    decision: str,
    *,
    by: str,
    arm: str = "",
    why: str = "",
    expires: str = "",
    holdout: str = "",
    today: date | None = None,
) -> Taken:
    """Write down one decision, as the house allows it.

    A decision other than the analysis proposes is an override: it needs a reason, and a day on
    which it expires or a holdout that keeps measuring.

    Args:
        record: What is decided on.
        decision: "ship", "ship to segment", "keep testing" or "stop".
        by: Who decides.
        arm: The treatment; may be left out where there is one.
        why: Reason in words.
        expires: Last day of an override, ISO date.
        holdout: Share kept without the treatment, such as "5%".
        today: For tests; the day of the clock unless said.

    Raises:
        RegistryError: When a word, a name, a reason or an end is missing.

    Examples:
        >>> record = Record(name="spring", status="running")
        >>> taken(record, "stop", by="Li Wei", why="budget cut", expires="2999-01-01").decision
        'stop'
    """
    if decision not in DECISIONS:
        raise RegistryError.unknown_decision(decision, DECISIONS)
    if not by.strip():
        raise RegistryError.nobody()
    found = _arm(record, arm)
    proposed = (NO_VERDICT,) if found is None else _proposed(found)
    _dated(expires, today or datetime.now(tz=UTC).date())
    override = not any(decision == each or (each, decision) in _MILDER for each in proposed)
    if override and not why.strip():
        raise RegistryError.override_needs(" and ".join(proposed), decision, "a reason: --why")
    if override and not expires and not holdout:
        raise RegistryError.override_needs(
            " and ".join(proposed), decision, "an end: --expires 2027-03-31, or --holdout 5%"
        )
    return Taken(
        experiment=record.name,
        arm="" if found is None else found.arm,
        record=record.id,
        proposed=" and ".join(proposed),
        decision=decision,
        by=by.strip(),
        at="",
        why=why.strip(),
        is_override=override,
        expires=expires,
        holdout=holdout,
    )


def is_expired(each: Taken, today: date) -> bool:
    """Whether an override has outlived its last day."""
    return bool(each.expires) and date.fromisoformat(each.expires) < today


def sentence(each: Taken, today: date | None = None) -> str:
    """Say a decision in one line.

    Examples:
        >>> sentence(Taken(experiment="spring", arm="c20", decision="stop", by="Li Wei",
        ...                at="2026-10-30T08:00:00+00:00", why="it buys GMV"))
        'stop c20, by Li Wei on 2026-10-30: it buys GMV'
    """
    what = f"{each.decision} {each.arm}".strip()
    parts = [f"{what}, by {each.by} on {each.at[:10]}"]
    if each.is_override:
        end = f"until {each.expires}" if each.expires else f"with a {each.holdout} holdout"
        over = " (expired)" if today is not None and is_expired(each, today) else ""
        parts.append(f", overriding {each.proposed!r} {end}{over}")
    elif each.holdout:
        parts.append(f", keeping a {each.holdout} holdout")
    return "".join(parts) + (f": {each.why}" if each.why else "")


def newest(decisions: Iterable[Taken]) -> dict[str, Taken]:
    """The newest decision per arm; decisions come newest first."""
    out: dict[str, Taken] = {}
    for each in decisions:
        out.setdefault(each.arm, each)
    return out


def _arm(record: Record, arm: str) -> RecordedArm | None:
    labels = [each.arm for each in record.arms]
    if arm and arm not in labels:
        raise RegistryError.unknown_arm(arm, record.name, labels)
    if not arm and len(labels) > 1:
        raise RegistryError.which_arm(record.name, labels)
    if not labels:
        return None
    return record.arm(arm or labels[0])


def _proposed(arm: RecordedArm) -> tuple[str, ...]:
    """The verdict for everyone, and beside it the one for a segment."""
    both = arm.segment and arm.verdict not in {SHIP, SHIP_TO_SEGMENT}
    return (arm.verdict, SHIP_TO_SEGMENT) if both else (arm.verdict,)


def _dated(expires: str, today: date) -> None:
    if not expires:
        return
    try:
        day = date.fromisoformat(expires)
    except ValueError:
        raise RegistryError.not_a_date(expires) from None
    if day < today:
        raise RegistryError.not_a_date(expires)
