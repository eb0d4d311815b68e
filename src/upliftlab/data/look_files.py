"""Which file of a source holds which days, and which files changed since they were counted?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from upliftlab.data.files import PARQUET

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FOOTER = 8
"""Bytes at a Parquet file's end: the length of its footer, and a magic word."""

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file of a source, as it was when its rows were counted.

    Attributes:
        stamp: Size and moment of the last change.
        digest: Hash of a Parquet file's footer, which holds sizes and extremes of every part;
            of everything in other files.
        days: Shop day -> rows, and the last of their moments.
    """

    stamp: str = ""
    digest: str = ""
    days: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def meets(self, first: int, last: int) -> bool:
        """Whether the file may hold rows of these days."""
        return not self.days or (min(self.days) <= last and max(self.days) >= first)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        days = {str(day): list(found) for day, found in self.days.items()}
        return {"stamp": self.stamp, "digest": self.digest, "days": days}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Piece:
        """Read back what ``to_dict`` wrote."""
        days = {int(day): (int(n), int(last)) for day, (n, last) in found["days"].items()}
        return cls(stamp=found["stamp"], digest=found["digest"], days=days)


def unchanged(paths: Iterable[Path], known: Mapping[str, Piece]) -> dict[str, Piece]:
    """Return the files that hold what they held; what was merely touched gets its new stamp."""
    out = {}
    for path in paths:
        piece = known.get(path.name)
        if piece is None:
            continue
        stamp = _stamp(path)
        if piece.stamp == stamp:
            out[path.name] = piece
        elif piece.digest == _digest(path):
            out[path.name] = Piece(stamp=stamp, digest=piece.digest, days=piece.days)
    return out


def counted(path: Path, days: Mapping[int, tuple[int, int]]) -> Piece:
    """Make the piece of a file whose rows have just been counted."""
    return Piece(stamp=_stamp(path), digest=_digest(path), days=dict(days))


def by_day(pieces: Iterable[Piece]) -> dict[int, tuple[int, int]]:
    """Add up files: shop day -> rows, and the last of their moments."""
    out: dict[int, tuple[int, int]] = {}
    for piece in pieces:
        for day, (n, last) in piece.days.items():
            rows, latest = out.get(day, (0, last))
            out[day] = (rows + n, max(latest, last))
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What happened to days that were known at the last look.

    Attributes:
        more: Shop day -> rows that came; 0 for a file that was corrected in place.
        gone: Shop day -> rows that went.
    """

    more: Mapping[int, int]
    gone: Mapping[int, int]


def moved(before: Mapping[str, Piece], now: Mapping[str, Piece], *, until: int) -> Moved:
    """Compare two looks at one source.

    A file of days that were all known, with other contents and the same number of rows on
    every day, was corrected in place. A single file that grows hides that.

    Args:
        before: Files at the last look.
        now: Files at this one.
        until: First shop day that was not known at the last look.
    """
    old, new = by_day(before.values()), by_day(now.values())
    steps = {
        day: new.get(day, (0, 0))[0] - old.get(day, (0, 0))[0]
        for day in sorted({*old, *new})
        if day < until
    }
    more = {day: step for day, step in steps.items() if step > 0}
    for name, piece in now.items():
        then = before.get(name)
        if then is not None and then.digest != piece.digest and _same_counts(then, piece):
            more |= {day: more.get(day, 0) for day in piece.days if day < until}
    return Moved(more=more, gone={day: -step for day, step in steps.items() if step < 0})


def _same_counts(one: Piece, two: Piece) -> bool:
    counts = [{day: n for day, (n, _) in piece.days.items()} for piece in (one, two)]
    return counts[0] == counts[1]


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _digest(path: Path) -> str:
    made = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        if path.suffix.lower() in PARQUET:
            size = path.stat().st_size
            file.seek(max(0, size - FOOTER))
            length = int.from_bytes(file.read(4), "little")
            file.seek(max(0, size - FOOTER - length))
        while block := file.read(BLOCK):
            made.update(block)
    return made.hexdigest()
