"""How are records of older schema versions read?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upliftlab.registry.mistakes import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable

Values = dict[str, Any]

SCHEMA_VERSION = 1
"""Of a record on disk."""

UPGRADES: dict[int, Callable[[Values], Values]] = {}
"""Schema version -> what turns its values into those of the next; files stay as they are.

Keys that are added need no new version: readers take defaults for what is missing and leave out
what they do not know. A key that changes its meaning does, and its upgrade stands here.
"""


def upgraded(values: Values) -> Values:
    """Bring values of an older schema version up to today's.

    Raises:
        RegistryError: When a later version wrote them, or nobody knows the version.

    Examples:
        >>> upgraded({"schema_version": 1, "name": "spring"})["name"]
        'spring'
    """
    version = values.get("schema_version")
    latest = SCHEMA_VERSION
    known = isinstance(version, int) and not isinstance(version, bool) and version <= latest
    if not known or any(each not in UPGRADES for each in range(int(version or 0), latest)):
        raise RegistryError.unreadable_version(version, latest)
    out = values
    for each in range(int(version or 0), latest):
        out = UPGRADES[each](out)
    return out
