"""Shares as they were, kept so that nobody can change them afterwards."""

from __future__ import annotations

import json
from datetime import date

import pytest

from upliftlab.adaptive.log import first_log, log_of, read_log, share_epochs, write_log
from upliftlab.errors import DesignError, UpliftlabError
from upliftlab.experiment import Experiment


def plan(**assign):
    """A plan whose shares follow profit."""
    return Experiment(
        name="spring",
        kind="custom",
        run={"start": "2026-10-08", "end": "2026-12-02"},
        arms={"none": {"share": "50%", "control": True}, "new": {"share": "50%"}},
        assign={"adapt": {}, **assign} if assign.get("adapt", True) else None,
    )


def moved(since=date(2026, 10, 15)):
    """A log with one move."""
    return first_log(plan()).with_epoch(since, {"none": 0.2, "new": 0.8}, {"best": {}})


def test_a_log_comes_back_as_it_was(tmp_path):
    """Written, read, and read as shares by epoch."""
    path = write_log(moved(), tmp_path / "shares.json")

    assert [e.share for e in read_log(path).epochs] == [
        {"none": 0.5, "new": 0.5},
        {"none": 0.2, "new": 0.8},
    ]


def test_before_the_first_move_the_plan_s_shares_count():
    """No file, one epoch."""
    assert share_epochs(plan()) == {"1": {"none": 0.5, "new": 0.5}}
    assert log_of(plan()).epochs[0].since == date(2026, 10, 8)


def test_ramps_of_the_plan_are_epochs_too():
    """Shares of a planned ramp, by epoch."""
    ramp = plan().replace(assign={"epochs": {"2026-10-08": "20%", "2026-10-11": "100%"}})

    assert share_epochs(ramp) == {
        "1": {"none": pytest.approx(0.9), "new": pytest.approx(0.1)},
        "2": {"none": 0.5, "new": 0.5},
    }


def test_an_edited_log_is_refused(tmp_path):
    """A share that was changed afterwards does not carry the seal."""
    path = write_log(moved(), tmp_path / "shares.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["epochs"][1]["share"] = {"none": 0.5, "new": 0.5}
    path.write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(UpliftlabError) as caught:
        read_log(path)
    assert str(caught.value) == (
        "shares.json was edited after it was written: its seal does not fit. Restore it; "
        "shares count as they were drawn."
    )


def test_half_a_log_is_refused(tmp_path):
    """Nothing is guessed."""
    path = tmp_path / "shares.json"
    path.write_text('{"epochs": [', encoding="utf-8")

    with pytest.raises(UpliftlabError) as caught:
        read_log(path)
    assert str(caught.value) == (
        "shares.json cannot be read as a log of shares (JSONDecodeError); restore it: without "
        "the shares as they were, nobody can say what arms earned."
    )


def test_epochs_are_never_taken_back(tmp_path):
    """A log that leaves out what is there is not written."""
    path = write_log(moved(), tmp_path / "shares.json")

    with pytest.raises(UpliftlabError) as caught:
        write_log(first_log(plan()), path)
    assert str(caught.value) == (
        "shares.json holds epochs that the new log leaves out; it stays as it is."
    )


def test_an_epoch_begins_after_the_last_one():
    """Units that entered have their arms."""
    with pytest.raises(DesignError) as caught:
        moved().with_epoch(date(2026, 10, 15), {"none": 0.5, "new": 0.5}, {})

    assert str(caught.value) == (
        "the next epoch is to begin on 2026-10-15 and the last one began on 2026-10-15; units "
        "that entered have their arms. Name a later day."
    )
