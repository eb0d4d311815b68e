"""How is the registry asked in SQL?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from upliftlab.registry import index
from upliftlab.registry.mistakes import RegistryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TYPES = {
    "file": "VARCHAR", "size": "BIGINT", "changed": "BIGINT", "id": "VARCHAR",
    "problem": "VARCHAR", "name": "VARCHAR", "recorded_at": "VARCHAR", "quarter": "VARCHAR",
    "kind": "VARCHAR", "mechanism": "VARCHAR", "design": "VARCHAR", "owner": "VARCHAR",
    "starts": "VARCHAR", "ends": "VARCHAR", "status": "VARCHAR", "verdict": "VARCHAR",
    "realised": "DOUBLE", "currency": "VARCHAR",
}  # fmt: skip

_VIEWS = """
CREATE VIEW files AS
  SELECT * FROM read_json('{path}', format = 'newline_delimited', columns = {types})
  QUALIFY row_number() OVER (PARTITION BY file ORDER BY changed DESC) = 1;
CREATE VIEW decisions AS
  SELECT id, name, quarter, recorded_at AS decided_at, owner AS decided_by, verdict AS decision
  FROM files WHERE problem = '' AND file LIKE 'decisions/%';
CREATE VIEW records AS
  SELECT id, name, quarter, starts, ends, kind, mechanism, design, owner, status, verdict,
         realised, currency, recorded_at,
         (SELECT max_by(decision, decided_at) FROM decisions d WHERE d.name = f.name) AS decided
  FROM files f WHERE problem = '' AND file LIKE 'analyses/%'
  QUALIFY row_number() OVER (
    PARTITION BY name, quarter
    ORDER BY status IN ('read', 'void') DESC, recorded_at DESC, id DESC) = 1;
"""


def ask(folder: Path, query: str) -> list[dict[str, Any]]:
    """Ask the registry a question in DuckDB's SQL.

    Args:
        folder: The registry.
        query: Over ``records`` (one row per experiment that counts), ``decisions`` and
            ``files`` (every file, with what is wrong with it).

    Returns:
        One mapping per row.

    Raises:
        RegistryError: When DuckDB refuses the query.

    Examples:
        >>> import tempfile
        >>> from upliftlab.registry.record import Record
        >>> from upliftlab.registry.store import Registry
        >>> registry = Registry(tempfile.mkdtemp())
        >>> kept = registry.add(Record(name="spring", quarter="2026Q3", owner="Li"))
        >>> ask(registry.folder, "SELECT name, owner FROM records")
        [{'name': 'spring', 'owner': 'Li'}]
    """
    return ask_all(folder, [query])[0]


def ask_all(folder: Path, queries: Sequence[str]) -> list[list[dict[str, Any]]]:
    """Ask several questions of one state of the registry, as ``ask`` does."""
    import duckdb

    if not index.refresh(folder):
        return [[] for _ in queries]
    path = str(folder / index.FILE).replace("'", "''")
    types = "{" + ", ".join(f"{name}: '{kind}'" for name, kind in _TYPES.items()) + "}"
    with duckdb.connect() as engine:
        try:
            engine.execute(_VIEWS.format(path=path, types=types))
            # Questions come from the command line: they may read the registry and no more.
            engine.execute(f"SET allowed_paths = ['{path}']")
            engine.execute("SET enable_external_access = false")
            return [_rows(engine.execute(query)) for query in queries]
        except duckdb.Error as problem:
            first = str(problem).split("\n", maxsplit=1)[0]
            raise RegistryError.refused_query(first) from None


def listed(folder: Path, *, quarter: str | None = None, where: str = "") -> Listed:
    """List the experiments that count, newest start first, and what is wrong with files.

    Args:
        folder: The registry.
        quarter: Only those that started in it.
        where: A further condition in SQL, such as "status = 'read' AND realised < 0".
    """
    if not where:
        return _all(index.refresh(folder), quarter)
    asked = [f"({where})"]
    if quarter is not None:
        asked.append("quarter = '" + quarter.replace("'", "''") + "'")
    condition = f" WHERE {' AND '.join(asked)}" if asked else ""
    rows, bad = ask_all(
        folder,
        [
            f"SELECT * FROM records{condition} ORDER BY starts DESC, name, quarter",  # noqa: S608 - a reader asks of his own files, see above
            "SELECT file, problem FROM files WHERE problem <> '' ORDER BY file",
        ],
    )
    return Listed(rows=rows, problems={each["file"]: each["problem"] for each in bad})


class Listed(NamedTuple):
    """Rows of the experiments that count, and file -> problem."""

    rows: list[dict[str, Any]]
    problems: dict[str, str]


_COLUMNS = (
    "id", "name", "quarter", "starts", "ends", "kind", "mechanism", "design", "owner", "status",
    "verdict", "realised", "currency", "recorded_at",
)  # fmt: skip


def _all(entries: Sequence[dict[str, Any]], quarter: str | None) -> Listed:
    """List as SQL does; without a condition the engine need not start."""
    problems: dict[str, str] = {}
    decided: dict[str, dict[str, Any]] = {}
    best: dict[tuple[str, str], tuple[tuple[bool, str, str], dict[str, Any]]] = {}
    for each in entries:
        if each["problem"]:
            problems[each["file"]] = each["problem"]
        elif each["file"].startswith(index.DECISIONS):
            last = decided.get(each["name"])
            if last is None or each["recorded_at"] > last["recorded_at"]:
                decided[each["name"]] = each
        elif quarter is None or each["quarter"] == quarter:
            key = (each["name"], each["quarter"])
            rank = (each["status"] in {"read", "void"}, each["recorded_at"], each["id"])
            if key not in best or rank > best[key][0]:
                best[key] = rank, each
    rows = [
        {
            **{name: each[name] for name in _COLUMNS},
            "decided": decided[each["name"]]["verdict"] if each["name"] in decided else None,
        }
        for _, each in best.values()
    ]
    rows.sort(key=lambda row: (row["name"], row["quarter"]))
    rows.sort(key=lambda row: row["starts"], reverse=True)
    return Listed(rows=rows, problems=dict(sorted(problems.items())))


def _rows(found: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - the engine is not typed
    columns = [each[0] for each in found.description or ()]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]
