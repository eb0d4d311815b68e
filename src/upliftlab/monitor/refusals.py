"""The mistakes of looking, each one sentence with its fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upliftlab.errors import DataError, DesignError

if TYPE_CHECKING:
    from collections.abc import Sequence


def no_looks(name: str) -> DesignError:
    """The plan does not say how it may be looked at."""
    return DesignError(
        f"experiment {name!r} has no looks; add for example looks: {{planned: 400000}} before "
        "the first look, or wait for the end and use upliftlab run."
    )


def not_by_day(grain: str) -> DesignError:
    """Units without a day of assignment cannot be looked at one day after another."""
    return DesignError(
        f"monitor needs the day on which each unit was assigned; data of grain {grain!r} do "
        "not tell. Give assignments with order lines, or units with assigned_at."
    )


def backwards(asked: str, last: str) -> DesignError:
    """Time ran backwards."""
    return DesignError(
        f"a look as of {asked} was asked for, and the last look knew the facts up to {last}; "
        "looks go forward in time. Leave --as-of out, or start again with another --state."
    )


def after_the_end(day: str, why: str) -> DesignError:
    """There is nothing more to look at."""
    return DesignError(
        f"the last look, on {day}, ended the test: {why}. Its answer is the analysis: use "
        "upliftlab run."
    )


def changed_plan(keys: Sequence[str], since: str) -> DesignError:
    """What the looks are bound to was changed after the lock or the first look."""
    return DesignError(
        f"the plan changed after {since}: {', '.join(keys)}; looks made under two plans "
        "do not add up. Put the plan back, or start again with another --state and say so."
        if since == "the first look"
        else f"the plan changed after {since}: {', '.join(keys)}; looks are bound to what was "
        "locked. Put the plan back, or give the changed plan another file and lock it."
    )


def other_tuning(locked_at: str) -> DesignError:
    """The lock binds looks to rules that this version would not make of the plan."""
    return DesignError(
        f"the lock of {locked_at} binds looks to other rules than the plan would give now; "
        "write them out under looks as the lock has them: first_units, first_active, tuned_at, "
        "every."
    )


def no_facts() -> DataError:
    """Nobody can tell up to when the data speak."""
    return DataError(
        "monitor found no payment in order_lines and no assignment, so nobody can tell up to "
        "when the data speak; give --as-of, or check the sources."
    )


def unreadable_state(path: str) -> DataError:
    """The state file is not one."""
    return DataError(
        f"{path!r} is not a file of looks that this version wrote; name another --state, and "
        "the looks start again."
    )
