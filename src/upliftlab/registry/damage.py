"""Which files of a registry are not what they should be, and what would mend them?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.registry import files, index

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from upliftlab.registry.index import Entry

MEND = "take it back from version control, or record the run again"
AGAIN = "nothing of it is on record; run that experiment again with --record and delete it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One file that is not what it should be.

    Attributes:
        file: Path inside the registry.
        problem: What is wrong.
        fix: What would mend it.
    """

    file: str
    problem: str
    fix: str

    @property
    def text(self) -> str:
        """One line for a reader."""
        return f"{self.file}: {self.problem}; {self.fix}"

    def to_dict(self) -> dict[str, str]:
        """Plain values, for JSON."""
        return {"file": self.file, "problem": self.problem, "fix": self.fix}


def damaged(entries: Iterable[Entry]) -> tuple[Damage, ...]:
    """Name the files that the index found damaged."""
    return tuple(
        Damage(file=each.file, problem=each.problem, fix=MEND)
        for each in entries
        if each.problem
    )


def unfinished(folder: Path) -> tuple[Damage, ...]:
    """Name the writes that did not end, once their writer is gone."""
    return tuple(
        Damage(
            file=path.relative_to(folder).as_posix(),
            problem="its writing did not end: the writer was stopped",
            fix=AGAIN,
        )
        for part in (index.ANALYSES, index.DECISIONS)
        for path in sorted((folder / part).glob(f"{files.WRITING}*"))
        if not files.writer_is_alive(path.name)
    )
