"""Where between 0 and 1 does a salted hash put a unit? The same in Python and in SQL.

A hash is 32 hexadecimal digits that read like a number drawn evenly from 0 to 1. Shares are cut
by comparing its first eight digits with an edge, as texts: no engine has to turn digits into
numbers, which each does in its own way.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from fractions import Fraction

DIGITS = 8
GRID = 16**DIGITS
"""Steps between 0 and 1: a share is met to within half of one, 1.2e-10."""

END = "g"
"""After every hexadecimal digit: the edge of a share of 1."""

DIALECTS = ("duckdb", "spark")
SPACES = " \t\n\r\v\f"
"""What is trimmed from ids; exports put tabs before long numbers."""


def digest(salt: str, unit: str) -> str:
    """Return the hash of a unit under a salt, 32 hexadecimal digits.

    References:
        Rivest (1992), RFC 1321, for MD5, which every engine has; nothing here is secret.

    Examples:
        >>> digest("spring", "7106001122334455667")
        '239a001f21274447c9730743865fb395'
    """
    return hashlib.md5(f"{salt}|{unit}".encode(), usedforsecurity=False).hexdigest()


def edge(share: Fraction | float) -> str:
    """Return the first digits that lie outside a share counted from 0.

    Examples:
        >>> edge(0.5), edge(0), edge(1)
        ('80000000', '00000000', 'g')
        >>> from fractions import Fraction
        >>> edge(Fraction(1, 3))
        '55555555'
    """
    step = round(share * GRID)
    return END if step >= GRID else f"{max(step, 0):0{DIGITS}x}"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one engine writes names, texts and hashes.

    Attributes:
        name: "duckdb" or "spark".

    Examples:
        >>> Dialect("duckdb").column("open id"), Dialect("spark").column("open id")
        ('"open id"', '`open id`')
    """

    name: str

    def __post_init__(self) -> None:
        """Refuse an engine whose texts nobody tried."""
        if self.name not in DIALECTS:
            raise UpliftlabError(
                f"there is no SQL dialect {self.name!r}; use one of {DIALECTS}."
            )

    @property
    def string(self) -> str:
        """The type of texts."""
        return "VARCHAR" if self.name == "duckdb" else "STRING"

    def column(self, name: str) -> str:
        """Quote a name."""
        mark = '"' if self.name == "duckdb" else "`"
        return mark + name.replace(mark, mark * 2) + mark

    def table(self, name: str) -> str:
        """Quote a table's name, part by part."""
        return ".".join(map(self.column, name.split(".")))

    def text(self, value: str) -> str:
        """Quote a text."""
        if self.name == "duckdb":
            return "'" + value.replace("'", "''") + "'"
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def cast(self, expression: str) -> str:
        """Turn a value into text."""
        return f"CAST({expression} AS {self.string})"

    def trimmed(self, expression: str) -> str:
        """Turn an id into text without spaces around it; a blank one is missing."""
        if self.name == "duckdb":
            found = f"TRIM({self.cast(expression)}, E' \\t\\n\\r\\x0B\\f')"
        else:
            found = f"TRIM(BOTH ' \\t\\n\\r\\u000B\\u000C' FROM {self.cast(expression)})"
        return f"NULLIF({found}, '')"

    def digest(self, salt: str, unit: str) -> str:
        """Write ``digest``, where ``unit`` is an expression that gives text."""
        return f"MD5(CONCAT({self.text(salt + '|')}, {unit}))"

    def inside(self, drawn: str, low: str, high: str) -> str:
        """Ask whether the first digits of a hash lie from one edge up to another."""
        first = f"SUBSTR({drawn}, 1, {DIGITS})"
        parts = [f"{first} >= {self.text(low)}"] if low > edge(0) else []
        parts += [f"{first} < {self.text(high)}"] if high != END else []
        return " AND ".join(parts) or "TRUE"
