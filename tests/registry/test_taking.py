"""A decision is signed, and one against the verdict has a reason and an end."""

from __future__ import annotations

from datetime import date

import pytest

from upliftlab.registry.mistakes import RegistryError
from upliftlab.registry.store import Registry
from upliftlab.registry.taking import is_expired, sentence, taken

TODAY = date(2026, 10, 30)


def test_a_decision_as_proposed_needs_a_name_only(make_record):
    """Who follows the verdict need not explain."""
    found = taken(make_record(), "ship", by="Li Wei", today=TODAY)

    assert (found.arm, found.proposed, found.is_override) == ("ten", "ship", False)


def test_an_override_needs_a_reason_and_an_end(make_record):
    """Shipping what is not shown to earn takes a reason, and an expiry or a holdout."""
    record = make_record(profit=0.1)
    with pytest.raises(RegistryError) as no_reason:
        taken(record, "ship", by="Li", today=TODAY)
    with pytest.raises(RegistryError) as no_end:
        taken(record, "ship", by="Li", why="new market", today=TODAY)
    found = taken(record, "ship", by="Li", why="new market", holdout="5%", today=TODAY)

    assert str(no_reason.value) == (
        "the analysis says 'keep testing' and the decision 'ship' overrides it; "
        "an override needs a reason: --why."
    )
    assert "--expires 2027-03-31, or --holdout 5%" in str(no_end.value)
    assert found.is_override


def test_a_segment_beside_stop_may_be_followed_either_way(make_record):
    """Stop for everyone and ship to a segment stand together; neither is an override."""
    record = make_record(profit=-2.0, verdict="stop", segment="is_new_customer = yes")

    assert not taken(record, "stop", by="Li", today=TODAY).is_override
    assert not taken(record, "ship to segment", by="Li", today=TODAY).is_override


def test_an_expiry_in_the_past_is_refused(make_record):
    """An override that has expired before it begins is a slip of the pen."""
    with pytest.raises(RegistryError, match="expires is '2026-01-01'"):
        taken(make_record(0), "stop", by="Li", why="x", expires="2026-01-01", today=TODAY)


def test_the_newest_decision_on_an_experiment_is_shown_first(tmp_path, make_record):
    """Decisions add up; an override says until when it holds, and when it has expired."""
    registry = Registry(tmp_path)
    kept = registry.add(make_record())
    registry.decide(taken(kept, "ship", by="Li Wei"))
    registry.decide(taken(kept, "stop", by="Chen", why="stock ran out", expires="2099-01-01"))
    newest, first = registry.find("spring").decisions

    assert newest.by, first.by == ("Chen", "Li Wei")
    assert registry.find("spring").taken("ten") == newest
    assert sentence(newest).startswith("stop ten, by Chen on 20")
    assert "overriding 'ship' until 2099-01-01: stock ran out" in sentence(newest)
    assert is_expired(newest, date(2099, 1, 2))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"decision": "go"}, "decision is 'go'; allowed"),
        ({"decision": "ship", "by": " "}, "a decision needs who took it"),
        ({"decision": "ship", "arm": "nine"}, "has treatments ['ten']; 'nine' is none"),
    ],
)
def test_slips_are_named(how, message, make_record):
    """Unknown words, arms and nobody are refused."""
    given = {"by": "Li", "today": TODAY, **how}
    with pytest.raises(RegistryError) as caught:
        taken(make_record(), given.pop("decision"), **given)

    assert message in str(caught.value)
