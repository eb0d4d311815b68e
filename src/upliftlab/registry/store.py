"""Finished analyses on disk: add, find, read back; nothing is lost and nothing overwritten."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upliftlab.registry import files, index
from upliftlab.registry.damage import MEND, Damage, damaged, unfinished
from upliftlab.registry.migrate import SCHEMA_VERSION, upgraded
from upliftlab.registry.mistakes import RegistryError
from upliftlab.registry.reading import record_from, taken_from
from upliftlab.registry.record import (
    READ,
    RUNNING,
    STOPPED,
    VOID,
    Record,
    Taken,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from upliftlab.registry.index import Entry

_OWN = ("id", "recorded_at", "decisions", "supersedes")
"""Fields of a record that are not part of what it says."""

_ATTRIBUTES = "# Bytes are addressed by their hash: no change of line ends.\n*.json -text\n"
_IGNORED = ".index.jsonl\n.writing-*\n"


class Registry:
    """A folder of records: one immutable file per analysis, one per decision.

    Many may write at once: no file is ever changed, each is named by its content, and a kill at
    any instant leaves whole files only. The index beside them is a cache.

    Examples:
        >>> import tempfile
        >>> registry = Registry(tempfile.mkdtemp())
        >>> kept = registry.add(Record(name="spring", quarter="2026Q3"))
        >>> [record.name for record in registry.records("2026Q3")]
        ['spring']
    """

    def __init__(self, folder: str | Path, *, must_exist: bool = False) -> None:
        """Open a folder; it is made when the first record is added."""
        self.folder = Path(folder)
        if must_exist and not self.folder.is_dir():
            raise RegistryError.no_folder(folder)

    def add(self, record: Record) -> Record:
        """Put a record on file, and give it back with its address.

        What is there already with the same content, but for the time, is not written again.
        """
        return self.add_all([record])[0]

    def add_all(self, records: Iterable[Record]) -> list[Record]:
        """Put many records on file: as ``add``, with one look at what is there."""
        given = list(records)
        groups = _current([each for each in self.entries() if not each.problem])
        out: list[Record | None] = []
        for record in given:
            group = groups.get((record.name, record.quarter))
            last = self._record(group, {}) if group else None
            out.append(last if last is not None and _says(last) == _says(record) else None)
        fresh = [i for i, found in enumerate(out) if found is None]
        stamped = [_stamped(given[i]) for i in fresh]
        addresses = self._put(index.ANALYSES, [(each.name, _values(each)) for each in stamped])
        for i, record, address in zip(fresh, stamped, addresses, strict=True):
            out[i] = replace(record, id=address)
        return [each for each in out if each is not None]

    def decide(self, taken: Taken) -> Taken:
        """Put a decision on file, and give it back with its address."""
        values = {
            "schema_version": SCHEMA_VERSION,
            **plain(replace(taken, at=taken.at or _now())),
        }
        del values["id"]
        (address,) = self._put(index.DECISIONS, [(taken.experiment, values)])
        return replace(taken, at=values["at"], id=address)

    def entries(self) -> list[Entry]:
        """List what is on file, damaged files included, from the index."""
        return index.read(self.folder)

    def records(self, quarter: str | None = None) -> tuple[Record, ...]:
        """Read the records that count: of each experiment the latest, with its decisions.

        An experiment is a name and the quarter in which it started. A record that was read
        counts before one that only says that it started or was stopped.

        Args:
            quarter: Only experiments that started in it, such as "2026Q3"; None for all.

        Returns:
            In order of first day and name; damaged files are left out, see ``damage``.
        """
        groups = _current([each for each in self.entries() if not each.problem])
        wanted = [
            group for (_, began), group in groups.items() if quarter is None or began == quarter
        ]
        taken = self._taken()
        found = [self._record(group, taken) for group in wanted]
        return tuple(sorted(found, key=lambda each: (each.starts, each.name)))

    def find(self, asked: str) -> Record:
        """Read one record by its experiment's name, or by the beginning of its address.

        Raises:
            RegistryError: When there is none, or several.
        """
        sound = [each for each in self.entries() if not each.problem and not each.is_decision]
        groups = _current(sound)
        named = {key: group for key, group in groups.items() if key[0] == asked}
        if len(named) > 1:
            quarters = {f"{name} of {quarter or 'no quarter'}" for name, quarter in named}
            raise RegistryError.ambiguous(
                asked, quarters | {g[0].id[:12] for g in named.values()}
            )
        taken = self._taken()
        if named:
            return self._record(next(iter(named.values())), taken)
        by_address = [each for each in sound if len(asked) >= 4 and each.id.startswith(asked)]
        if len(by_address) > 1:
            raise RegistryError.ambiguous(asked, {each.id for each in by_address})
        if not by_address:
            raise RegistryError.unknown(asked, {each.name for each in sound})
        return self._record(by_address, taken)

    def at(self, addresses: Iterable[str]) -> tuple[Record, ...]:
        """Read records as they stood, by address: those of an earlier review, say.

        Raises:
            RegistryError: When one of them is not on file.
        """
        on_file = {e.id: e for e in self.entries() if not e.problem and not e.is_decision}
        asked = list(addresses)
        for each in asked:
            if each not in on_file:
                raise RegistryError.unknown(each, {e.name for e in on_file.values()})
        taken = self._taken()
        return tuple(self._record([on_file[each]], taken) for each in asked)

    def damage(self) -> tuple[Damage, ...]:
        """Name every file that the index found damaged, and every write that did not end."""
        return (*damaged(self.entries()), *unfinished(self.folder))

    def verify(self) -> tuple[Damage, ...]:
        """Read every file anew, compare each with its address, and name all damage."""
        listed = [each.file for each in self.entries()]
        fresh = [index.examine(self.folder, file) for file in listed]
        orphans = self._orphans(fresh)
        return (*damaged(fresh), *orphans, *unfinished(self.folder))

    def _put(self, part: str, given: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        """Write files and remember them; return their addresses."""
        self._prepare()
        content = [(name, files.text_of(values)) for name, values in given]
        paths = files.put_all(self.folder / part, content)
        index.remember(
            self.folder,
            [(path, values) for path, (_, values) in zip(paths, given, strict=True)],
        )
        return [(files.named(path) or ("", ""))[1] for path in paths]

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((".gitattributes", _ATTRIBUTES), (".gitignore", _IGNORED)):
            if not (self.folder / name).exists():
                files.replace(self.folder / name, text.encode())

    def _record(self, group: Sequence[Entry], taken: dict[str, list[Taken]]) -> Record:
        entry = group[0]
        values = upgraded(json.loads((self.folder / entry.file).read_bytes()))
        found = record_from(values)
        return replace(
            found,
            id=entry.id,
            decisions=tuple(
                each for each in taken.get(found.name, ()) if _concerns(each, group)
            ),
            supersedes=tuple(each.id for each in group[1:]),
        )

    def _taken(self) -> dict[str, list[Taken]]:
        """Decisions by experiment, newest first."""
        out: dict[str, list[Taken]] = defaultdict(list)
        for entry in self.entries():
            if entry.is_decision and not entry.problem:
                values = upgraded(json.loads((self.folder / entry.file).read_bytes()))
                out[entry.name].append(replace(taken_from(values), id=entry.id))
        for each in out.values():
            each.sort(key=lambda taken: taken.at, reverse=True)
        return out

    def _orphans(self, entries: Sequence[Entry]) -> tuple[Damage, ...]:
        """Decisions on an analysis that is not on file."""
        have = {each.id for each in entries if not each.is_decision}
        out = []
        for entry in entries:
            if not entry.is_decision or entry.problem:
                continue
            of = json.loads((self.folder / entry.file).read_bytes()).get("record", "")
            if of and of not in have:
                problem = f"it decides on record {of}, which is not here"
                out.append(Damage(file=entry.file, problem=problem, fix=MEND))
        return tuple(out)


def started(record: Record) -> Record:
    """Put on record that an experiment has begun: it counts from now on, read or not."""
    return replace(record, status=RUNNING, status_reason="", arms=(), means=None, checks=())


def stopped(record: Record, why: str) -> Record:
    """Put on record that an experiment ended without being read."""
    return replace(started(record), status=STOPPED, status_reason=why)


def _current(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Group records by experiment, the one that counts first."""
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for each in entries:
        if not each.is_decision:
            groups[each.name, each.quarter].append(each)
    return {key: _newest_first(group) for key, group in groups.items()}


def _newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """Order records of one experiment: answers before mere starts, then the newest."""
    newest = sorted(entries, key=lambda each: (each.recorded_at, each.id), reverse=True)
    return sorted(newest, key=lambda each: each.status not in {READ, VOID})


def _concerns(taken: Taken, group: Sequence[Entry]) -> bool:
    """Whether a decision is on this quarter's experiment of the name."""
    return not taken.record or any(each.id == taken.record for each in group)


def _stamped(record: Record) -> Record:
    return replace(
        record,
        id="",
        schema_version=SCHEMA_VERSION,
        recorded_at=record.recorded_at or _now(),
        decisions=(),
        supersedes=(),
    )


def _values(record: Record) -> dict[str, Any]:
    out: dict[str, Any] = plain(record)
    for key in ("id", "decisions", "supersedes"):
        del out[key]
    return out


def _says(record: Record) -> dict[str, Any]:
    out: dict[str, Any] = plain(record)
    for key in (*_OWN, "schema_version"):
        del out[key]
    return out


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="microseconds")
