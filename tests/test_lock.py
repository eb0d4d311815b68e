"""A locked plan stays promised: what was changed since is listed, nothing is overwritten."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from upliftlab.errors import DesignError, UpliftlabError
from upliftlab.experiment import Experiment
from upliftlab.lock import lock_beside, lock_path, read_lock, refuse_shared, write_lock

SPLIT = {"none": {"share": "50%", "control": True}, "coupon": {"share": "50%"}}
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


def plan(name="spring", **changes):
    """Make a small plan."""
    values = {
        "name": name,
        "kind": "custom",
        "arms": SPLIT,
        "run": {"start": "2026-10-08", "end": "2026-10-21"},
        "follow_up": "14 days",
    }
    return Experiment(**(values | changes))


@pytest.fixture
def locked(tmp_path):
    """A plan locked at noon."""
    file = tmp_path / "spring" / "experiment.yaml"
    file.parent.mkdir()
    write_lock(plan(), file, looks={"first": 5_000}, now=NOON)
    return file


def test_a_lock_holds_what_was_promised(locked):
    """Fingerprint, time, salt and what looks are bound to; the plan can be made again."""
    found = lock_beside(locked)

    assert found.plan == plan().fingerprint
    assert (found.locked_at, found.looks) == ("2026-10-01 12:00 UTC", {"first": 5_000})
    assert found.assignment["salt"] == "spring"
    assert found.experiment() == plan()
    assert found.changes(plan()) == ()


def test_what_was_changed_is_listed_and_sources_that_came_later_are_not(locked):
    """A later window is a change; where the outcomes are is not."""
    found = lock_beside(locked)
    later = plan(
        follow_up="60 days",
        costs={"margin": "35%"},
        data={"units": {"file": "units.csv", "money": "yuan"}},
    )

    keys = [change.key for change in found.changes(later)]
    assert keys == ["costs.margin", "costs.vat", "follow_up"]


def test_a_lock_is_never_overwritten(locked):
    """The second lock is refused, whether or not the plan is as it was."""
    before = lock_path(locked).read_bytes()
    with pytest.raises(UpliftlabError) as same:
        write_lock(plan(), locked)
    with pytest.raises(UpliftlabError) as changed:
        write_lock(plan(follow_up="7 days"), locked)

    assert str(same.value) == (
        "experiment.lock.json is from 2026-10-01 12:00 UTC and stays as it is; the plan is as "
        "it was."
    )
    assert str(changed.value) == (
        "experiment.lock.json is from 2026-10-01 12:00 UTC and stays as it is; 1 promise was "
        "changed (follow_up) since; give the changed plan another file, or run it as it is and "
        "the page will list them."
    )
    assert lock_path(locked).read_bytes() == before


def test_a_lock_that_was_edited_is_refused(locked):
    """A promise that can be rewritten is none."""
    path = lock_path(locked)
    found = json.loads(path.read_text(encoding="utf-8"))
    found["promised"]["follow_up"] = "60 days"
    path.write_text(json.dumps(found), encoding="utf-8")

    with pytest.raises(UpliftlabError) as seen:
        read_lock(path)

    assert str(seen.value) == (
        "experiment.lock.json was edited after it was written: its seal does not fit. Restore "
        "it; a promise that can be rewritten is none."
    )


def test_a_file_that_is_no_lock_is_refused(tmp_path):
    """Neither other JSON nor other text."""
    other = tmp_path / "a.lock.json"
    other.write_text("{}", encoding="utf-8")
    with pytest.raises(UpliftlabError) as one:
        read_lock(other)
    other.write_text("no json", encoding="utf-8")
    with pytest.raises(UpliftlabError) as two:
        read_lock(other)

    assert str(one.value) == "a.lock.json is no lock of version 1."
    assert str(two.value) == (
        "a.lock.json cannot be read as a lock (JSONDecodeError); restore it, or remove it and "
        "say so."
    )


def test_a_taken_part_of_a_layer_is_refused(tmp_path):
    """The lock of the test next door is asked; after it has ended the part is free."""
    layer = {"assign": {"layer": {"name": "coupons", "share": "40%"}}}
    one, two = tmp_path / "one" / "experiment.yaml", tmp_path / "two" / "experiment.yaml"
    for file in (one, two):
        file.parent.mkdir()
    write_lock(plan(**layer), one, now=NOON)

    with pytest.raises(DesignError) as found:
        write_lock(plan("summer", **layer), two, now=NOON)
    assert str(found.value) == (
        "experiments 'summer' and 'spring' overlap in layer 'coupons': 0% to 40% and 0% to "
        "40%; give each a part of its own."
    )
    assert not lock_path(two).exists()

    # The first test follows its customers for 14 days after 21 October.
    soon = plan("summer", run={"start": "2026-11-04", "end": "2026-11-10"}, **layer)
    with pytest.raises(DesignError):
        write_lock(soon, two, now=NOON)
    after = soon.replace(run={"start": "2026-11-05", "end": "2026-11-10"})
    assert write_lock(after, two, now=NOON)[0].name == "summer"


def test_plans_locked_together_may_not_overlap():
    """Also where neither is locked yet."""
    layer = {"assign": {"layer": {"name": "coupons", "share": "40%"}}}

    with pytest.raises(DesignError):
        refuse_shared([plan(**layer), plan("summer", **layer)])
    refuse_shared([plan(**layer), plan("summer")])
