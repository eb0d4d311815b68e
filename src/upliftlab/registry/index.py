"""Where is what, without reading every record? A cache that may be deleted at any time."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from upliftlab.registry import files
from upliftlab.registry.migrate import upgraded
from upliftlab.registry.mistakes import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FILE = ".index.jsonl"
ANALYSES, DECISIONS = "analyses", "decisions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of the registry, as the index knows it.

    Attributes:
        file: Path inside the registry.
        size: Bytes.
        changed: Time of its last change, nanoseconds.
        id: Content address in its name.
        problem: What is wrong with it; empty when nothing.
        name: Experiment.
        recorded_at: When it was recorded or decided.
        quarter: Quarter in which the experiment started.
        kind: Of the experiment.
        mechanism: What is pooled with what.
        design: How it is compared.
        owner: Who answers for it.
        starts: First day.
        ends: Last day.
        status: "running", "stopped", "void" or "read"; empty for a decision.
        verdict: Verdicts of the arms, or the decision.
        realised: Extra profit of the arms added up, in minor units; None where not known.
        currency: Of ``realised``.
    """

    file: str
    size: int
    changed: int
    id: str
    problem: str = ""
    name: str = ""
    recorded_at: str = ""
    quarter: str = ""
    kind: str = ""
    mechanism: str = ""
    design: str = ""
    owner: str = ""
    starts: str = ""
    ends: str = ""
    status: str = ""
    verdict: str = ""
    realised: float | None = None
    currency: str = ""

    @property
    def is_decision(self) -> bool:
        """Whether the file holds a decision rather than an analysis."""
        return self.file.startswith(DECISIONS)


def read(folder: Path) -> list[Entry]:
    """List every record and decision; only files that are new or changed are opened.

    What the cache says of a file counts as long as size and time of change agree.
    """
    return [Entry(**values) for values in refresh(folder)]


def refresh(folder: Path) -> list[dict[str, Any]]:
    """Bring the cache up to date, and return the fields of its entries."""
    known = _cached(folder / FILE)
    entries, fresh = [], 0
    for file, size, changed in _found(folder):
        entry = known.get(file)
        if entry is None or (entry["size"], entry["changed"]) != (size, changed):
            fresh += 1
            entry = asdict(examine(folder, file))
        entries.append(entry)
    if fresh or len(known) != len(entries):
        _write(folder / FILE, entries)
    return entries


def examine(folder: Path, file: str) -> Entry:
    """Open one file, compare it with its address, and say what it holds."""
    path = folder / file
    stat = path.stat()
    name, address = files.named(path) or (path.name, "")
    entry: dict[str, Any] = {
        "file": file,
        "size": stat.st_size,
        "changed": stat.st_mtime_ns,
        "id": address,
    }
    content = path.read_bytes()
    problem = problem_of(content, address)
    values: Mapping[str, Any] = {}
    if not problem:
        try:
            values = upgraded(json.loads(content))
        except RegistryError as mistake:
            problem = str(mistake)
    if problem:
        return Entry(**entry, name=name, problem=problem)
    return Entry(**entry, **said(values))


def problem_of(content: bytes, address: str) -> str:
    """Say what is wrong with a content that should have this address; empty when nothing."""
    if not address:
        return "its name is not a record's: NAME--ADDRESS.json"
    if files.address_of(content) == address:
        return ""
    try:
        json.loads(content)
    except ValueError:
        return "it is truncated or not JSON: its end was never written, or was cut off"
    return "it was edited after it was recorded: its content no longer has its address"


def said(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the index keeps of a record's or a decision's values."""
    if "decision" in values:
        return {
            "name": values["experiment"],
            "recorded_at": values["at"],
            "verdict": values["decision"],
            "owner": values["by"],
            "quarter": values.get("quarter", ""),
        }
    arms = values.get("arms") or []
    totals = [(arm.get("realised") or {}).get("estimate") for arm in arms]
    known = [each for each in totals if each is not None]
    shown = [f"{arm['arm']}: {arm.get('verdict', '')}" for arm in arms]
    return {
        "verdict": "; ".join(shown),
        "realised": sum(known) if known else None,
        **{
            key: values.get(key) or ""
            for key in (
                "name", "recorded_at", "quarter", "kind", "mechanism", "design", "owner",
                "starts", "ends", "status", "currency",
            )
        },
    }  # fmt: skip


def remember(folder: Path, written: Iterable[tuple[Path, Mapping[str, Any]]]) -> None:
    """Add new files to the cache."""
    lines = []
    for path, values in written:
        stat = path.stat()
        entry = Entry(
            file=path.relative_to(folder).as_posix(),
            size=stat.st_size,
            changed=stat.st_mtime_ns,
            id=(files.named(path) or ("", ""))[1],
            **said(values),
        )
        lines.append(_line(asdict(entry)))
    files.append(folder / FILE, b"".join(lines))


def _found(folder: Path) -> Iterable[tuple[str, int, int]]:
    for part in (ANALYSES, DECISIONS):
        if not (folder / part).is_dir():
            continue
        with os.scandir(folder / part) as listed:
            for each in listed:
                if not each.name.startswith("."):
                    stat = each.stat()
                    yield f"{part}/{each.name}", stat.st_size, stat.st_mtime_ns


def _cached(path: Path) -> dict[str, dict[str, Any]]:
    """Read the cache; lines that a kill or another version left unreadable count as absent."""
    if not path.exists():
        return {}
    lines = [line for line in path.read_bytes().split(b"\n") if line]
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]")
    except ValueError:
        rows = [row for line in lines for row in _readable(line)]
    return {row["file"]: row for row in rows if isinstance(row, dict) and row.keys() == _KEYS}


def _readable(line: bytes) -> list[Any]:
    try:
        return [json.loads(line)]
    except ValueError:
        return []


def _write(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    try:
        files.replace(path, b"".join(map(_line, entries)))
    except PermissionError:
        return  # a registry that may only be read is read without a cache


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


_KEYS = set(Entry.__dataclass_fields__)
