"""Nothing is lost, nothing is overwritten, and damage is named."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from upliftlab.errors import UpliftlabError
from upliftlab.registry import files, index, migrate
from upliftlab.registry.asking import ask, listed
from upliftlab.registry.mistakes import RegistryError
from upliftlab.registry.record import Record
from upliftlab.registry.store import Registry, started, stopped
from upliftlab.registry.taking import taken


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


def only_file(registry, part="analyses"):
    return next((registry.folder / part).glob("*.json"))


def test_what_is_added_is_read_back(registry, make_record):
    """Every number of a record survives the disk."""
    kept = registry.add(make_record(owner="Li Wei"))
    (found,) = registry.records("2026Q3")

    assert found.to_dict() == kept.to_dict()
    assert found.arm("ten").profit == kept.arm("ten").profit
    assert registry.find("spring").id == registry.find(kept.id[:8]).id == kept.id
    assert registry.records("2026Q4") == ()


def test_the_name_of_a_file_is_the_hash_of_its_bytes(registry, make_record):
    """Any program that knows SHA-256 can verify a registry."""
    import hashlib

    kept = registry.add(make_record())
    path = only_file(registry)

    assert path.name == f"spring--{kept.id}.json"
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(kept.id)


def test_the_same_answer_is_recorded_once(registry, make_record):
    """Running again on the same data changes nothing; other data add a record."""
    first = registry.add(make_record())
    again = registry.add(make_record())
    later = registry.add(make_record(profit=1.5))

    assert again.id == first.id
    assert later.id != first.id
    (found,) = registry.records()
    assert found.id == later.id
    assert found.supersedes == (first.id,)


def test_one_name_in_two_quarters_is_two_experiments(registry, make_record):
    """A coupon that is tested every quarter does not hide its past."""
    registry.add(make_record(quarter="2026Q2"))
    registry.add(make_record(quarter="2026Q3"))

    assert len(registry.records()) == 2
    with pytest.raises(RegistryError, match="several records"):
        registry.find("spring")


def test_what_started_counts_until_it_is_read(registry, make_record):
    """Started, stopped and read experiments are all listed, each once."""
    read = make_record("read")
    registry.add(started(read))
    registry.add(read)
    registry.add(started(make_record("running")))
    registry.add(started(make_record("broken")))
    registry.add(stopped(make_record("broken"), "the coupon never went out"))
    found = {each.name: each for each in registry.records()}

    assert {name: each.status for name, each in found.items()} == {
        "read": "read",
        "running": "running",
        "broken": "stopped",
    }
    assert found["broken"].status_reason == "the coupon never went out"
    assert found["running"].arms == ()


def test_an_answer_counts_before_a_later_start(registry, make_record):
    """A start that is recorded late does not hide the answer."""
    registry.add(make_record())
    registry.add(started(make_record()))

    assert registry.records()[0].status == "read"


@pytest.mark.parametrize("how", ["edited", "truncated", "emptied"])
def test_damage_is_named_and_the_others_are_read(how, registry, make_record):
    """A damaged file is named with what to do; every other record is still there."""
    registry.add(make_record("good"))
    bad = registry.add(make_record("bad"))
    path = registry.folder / "analyses" / f"bad--{bad.id}.json"
    content = path.read_bytes()
    changed = {
        "edited": content.replace(b'"Li"', b'"Xu"').replace(b"1000", b"9000"),
        "truncated": content[: len(content) // 2],
        "emptied": b"",
    }[how]
    assert changed != content
    path.write_bytes(changed)
    (damage,) = registry.damage()

    assert [each.name for each in registry.records()] == ["good"]
    assert damage.file == f"analyses/bad--{bad.id}.json"
    word = "edited" if how == "edited" else "truncated"
    assert word in damage.problem
    assert "version control" in damage.fix
    assert registry.verify() == (damage,)


def test_an_edit_that_hides_its_time_is_found_by_verify(registry, make_record):
    """Listing trusts size and time of a file; verifying trusts nothing."""
    registry.add(make_record())
    assert registry.damage() == ()
    path = only_file(registry)
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b"1000", b"2000"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert "edited" in registry.verify()[0].problem


def test_a_later_schema_version_is_named_and_stays(registry, make_record):
    """A file of a version that nobody here knows is not read as something else."""
    registry.add(make_record())
    values = json.loads(only_file(registry).read_bytes())
    content = files.text_of({**values, "name": "future", "schema_version": 99})
    path = files.put(registry.folder / "analyses", "future", content)
    (damage,) = registry.verify()

    assert "schema version 99" in damage.problem
    assert [each.name for each in registry.records()] == ["spring"]
    assert path.read_bytes() == content


def test_an_older_schema_version_is_read_through_its_upgrade(registry, monkeypatch):
    """When the version moves on, files of the last one are read as before."""
    registry.add(Record(name="old", quarter="2026Q1", owner="Li"))
    before = only_file(registry).read_bytes()
    monkeypatch.setattr(migrate, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(
        migrate.UPGRADES, 1, lambda values: {**values, "owner": values["owner"].upper()}
    )
    (registry.folder / index.FILE).unlink()

    assert [each.owner for each in registry.records()] == ["LI"]
    assert registry.verify() == ()
    assert only_file(registry).read_bytes() == before


def test_a_lost_or_torn_index_is_made_again(registry, make_record):
    """The index is a cache: without it, or with half a line, nothing changes."""
    for name in ("a", "b", "c"):
        registry.add(make_record(name))
    whole = registry.records()
    cache = registry.folder / index.FILE
    cache.write_bytes(cache.read_bytes()[:-40])
    torn = registry.records()
    cache.unlink()

    assert [each.id for each in whole] == [each.id for each in torn]
    assert [each.id for each in registry.records()] == [each.id for each in whole]


def test_a_registry_from_version_control_needs_no_index(registry, make_record, tmp_path):
    """A copy of the record files alone is the whole registry."""
    registry.add(make_record())
    copy = tmp_path / "clone" / "analyses"
    copy.mkdir(parents=True)
    (copy / only_file(registry).name).write_bytes(only_file(registry).read_bytes())

    (found,) = Registry(tmp_path / "clone").records()
    assert found.to_dict() == registry.find("spring").to_dict()
    assert ".index.jsonl" in (registry.folder / ".gitignore").read_text(encoding="utf-8")


def test_a_record_compares_line_by_line(registry, make_record):
    """One key a line, in the order of the type: versions of a record can be compared."""
    registry.add(make_record())
    lines = only_file(registry).read_text(encoding="utf-8").splitlines()

    assert lines[0] == "{"
    assert lines[1] == '"schema_version": 1,'
    assert lines[3] == '"name": "spring",'
    assert lines[-1] == "}"


WRITER = """
import os, signal, sys
from upliftlab.registry.record import Record
from upliftlab.registry.store import Registry
registry, real, calls = Registry(sys.argv[1]), os.write, 0

def half(handle, content):
    global calls
    calls += 1
    if len(content) > 300 and b'"test-120"' in bytes(content) and b'"notes"' in bytes(content):
        real(handle, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    return real(handle, content)

os.write = half
for i in range(200):
    kept = registry.add(Record(name=f"test-{i:03}", quarter="2026Q3", notes=("x" * 400,)))
    print(kept.name, kept.id, flush=True)
"""


def test_kill_in_the_middle_of_200_writes_loses_no_finished_one(tmp_path):
    """What was finished before kill -9 is intact; what was half written is named."""
    folder = tmp_path / "registry"
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(folder)], capture_output=True, text=True, check=False
    )
    finished = dict(line.split() for line in done.stdout.splitlines())
    registry = Registry(folder)
    (damage,) = registry.verify()

    assert done.returncode == -signal.SIGKILL
    assert len(finished) == 120
    assert {each.name: each.id for each in registry.records()} == finished
    assert "test-120" in damage.file
    assert "writing did not end" in damage.problem
    registry.add(Record(name="test-120", quarter="2026Q3"))
    assert len(registry.records()) == 121


@pytest.mark.parametrize("after", [3, 25, 90])
def test_kill_at_any_instant_leaves_whole_files(after, tmp_path):
    """Killed from outside at some moment, every file that stands in place is whole."""
    folder = tmp_path / "registry"
    code = WRITER.replace("b'\"test-120\"'", "b'never'")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    ) as writer:
        told = [writer.stdout.readline() for _ in range(after)]
        writer.kill()
    registry = Registry(folder)
    names = {each.name for each in registry.records()}

    assert {line.split()[0] for line in told} <= names
    assert all("writing did not end" in each.problem for each in registry.verify())


def write_some(folder, first):
    registry = Registry(folder)
    for i in range(first, first + 25):
        registry.add(Record(name=f"test-{i}", quarter="2026Q3"))
        registry.add(Record(name="shared", quarter="2026Q3", owner=f"writer {i}"))


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    """Four processes write at once: every record of each is there."""
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=write_some, args=(tmp_path / "r", 25 * k)) for k in range(4)
    ]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    registry = Registry(tmp_path / "r")
    names = {each.name for each in registry.records()}

    assert all(each.exitcode == 0 for each in writers)
    assert names == {"shared", *(f"test-{i}" for i in range(100))}
    assert len(registry.find("shared").supersedes) == 99
    assert registry.verify() == ()


def test_the_registry_is_asked_in_sql(registry, make_record):
    """Experiments, decisions and files are tables; the disk is out of reach."""
    registry.add(make_record("a", profit=2.0, owner="Li"))
    registry.add(make_record("b", profit=-1.0, owner="Wang"))
    kept = registry.find("a")
    registry.decide(taken(kept, "ship", by="Li"))

    rows = ask(registry.folder, "SELECT name, realised, decided FROM records ORDER BY name")
    assert [(r["name"], round(r["realised"]), r["decided"]) for r in rows] == [
        ("a", 200_000, "ship"),
        ("b", -100_000, None),
    ]
    assert [r["name"] for r in listed(registry.folder, where="realised < 0").rows] == ["b"]
    with pytest.raises(RegistryError, match="could not be asked"):
        listed(registry.folder, where="colour = 1")
    with pytest.raises(RegistryError, match="could not be asked"):
        ask(registry.folder, "SELECT * FROM read_text('/etc/hostname')")


def test_a_plain_list_is_the_list_of_sql(registry, make_record):
    """Without a condition no engine starts, and the rows are the same."""
    for name, quarter in (("b", "2026Q3"), ("a", "2026Q3"), ("c", "2026Q2"), ("a", "2026Q2")):
        registry.add(started(make_record(name, quarter=quarter)))
        registry.add(make_record(name, quarter=quarter, profit=0.5))
        registry.add(make_record(name, quarter=quarter, profit=1.5))
    registry.decide(taken(registry.find("b"), "ship", by="Li"))
    registry.decide(taken(registry.find("b"), "keep testing", by="Li"))
    kept = registry.add(make_record("bad"))
    (registry.folder / "analyses" / f"bad--{kept.id}.json").write_bytes(b"{")

    for quarter in (None, "2026Q3", "1999Q1"):
        plain = listed(registry.folder, quarter=quarter)
        asked = listed(registry.folder, quarter=quarter, where="true")

        assert plain == asked
    assert listed(registry.folder).rows[0].keys() == asked_columns(registry)


def asked_columns(registry):
    return ask(registry.folder, "SELECT * FROM records LIMIT 1")[0].keys()


def test_a_decision_whose_record_is_gone_is_named(registry, make_record):
    """Decisions point to what they were taken on."""
    kept = registry.add(make_record())
    registry.decide(taken(kept, "ship", by="Li"))
    only_file(registry).unlink()
    (damage,) = registry.verify()

    assert damage.file.startswith("decisions/")
    assert kept.id in damage.problem


def test_an_unknown_name_gets_the_nearest(registry, make_record):
    """The message says how many names there are, and the nearest."""
    registry.add(make_record("spring-coupon"))
    with pytest.raises(UpliftlabError) as caught:
        registry.find("sprin-coupon")

    assert str(caught.value) == (
        "no record is called 'sprin-coupon'; the registry has 1 names. "
        "Did you mean 'spring-coupon'?"
    )


def test_nothing_is_changed_by_reading(registry, make_record):
    """Records given to the registry stay as they were."""
    given = make_record()
    before = replace(given)
    registry.add(given)

    assert given == before
