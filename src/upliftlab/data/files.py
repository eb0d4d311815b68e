"""How are files read: by the engine where it can, else at the edge, as text?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from upliftlab.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import ibis

    from upliftlab.data.engine import Engine
    from upliftlab.experiment import Source

ENGINE_ENCODINGS = ("utf-8", "utf8", "utf-8-sig")
"""Encodings the engine reads itself; any other file is read at the edge."""

PARQUET = frozenset({".parquet", ".pq"})
SHEETS = frozenset({".xlsx", ".xlsm"})
EXACT_DIGITS = 15
"""Whole numbers with more digits have lost some in a spreadsheet."""


def read_files(engine: Engine, name: str, source: Source, base: Path | None) -> ibis.Table:
    """Return the rows of one file, or of all files of a pattern, below each other.

    Raises:
        DataError: For a file that is not there, is empty, or cannot be read.
    """
    return read_paths(engine, name, paths_of(name, str(source.file), base), source)


def read_paths(
    engine: Engine, name: str, found: Sequence[Path], source: Source | None, **more: str
) -> ibis.Table:
    """Return the rows of files below each other.

    Args:
        engine: Where they are read.
        name: Of the source, for messages.
        found: The files.
        source: How they are written; None for Parquet.
        more: What the engine's own reader is told beside, such as ``filename``.

    Raises:
        DataError: For files of several formats, or that cannot be read.
    """
    place = str(found[0].name if source is None else source.file)
    suffixes = {_suffix(path) for path in found}
    if len({_format(suffix) for suffix in suffixes}) > 1:
        raise DataError.mixed_files(name, suffixes)
    names = [str(path) for path in found]
    if suffixes <= PARQUET:
        try:
            return engine.backend.read_parquet(names if len(names) > 1 else names[0], **more)
        except engine_errors() as problem:
            raise DataError.query_failed(name, place, said(problem)) from None
    encoding = ((source and source.encoding) or "utf-8").lower()
    if suffixes & SHEETS or encoding not in ENGINE_ENCODINGS or engine.name != "duckdb":
        sheet = source.sheet if source else None
        return engine.text_table(_edge(found, encoding, sheet), name)
    try:
        return engine.backend.read_csv(
            names,
            all_varchar=True,
            header=True,
            sample_size=-1,
            strict_mode=True,
            union_by_name=len(names) > 1,
            **more,
        )
    except engine_errors() as problem:
        if "utf-8" in str(problem).lower() or "unicode" in str(problem).lower():
            raise DataError.encoding(found[0].name, "utf-8") from None
        raise DataError.query_failed(name, place, said(problem)) from None


def are_told_apart(engine: Engine, paths: Sequence[Path], source: Source | None) -> bool:
    """Whether the engine reads these files itself, and can say which one a row is from."""
    encoding = ((source and source.encoding) or "utf-8").lower()
    is_ours = encoding in ENGINE_ENCODINGS and not {_suffix(path) for path in paths} & SHEETS
    return engine.name == "duckdb" and bool(paths) and is_ours


def text_rows(
    name: str,
    place: str,
    *,
    encoding: str = "utf-8",
    sheet: str | None = None,
    base: Path | None = None,
) -> list[dict[str, str]]:
    """Return the rows of a small CSV or xlsx file as text, blanks as empty text.

    Raises:
        DataError: For a file that is not there, is empty, or cannot be read.
    """
    found = paths_of(name, place, base)
    frame = _edge(found, encoding.replace("utf-8", "utf-8-sig"), sheet).to_pandas().fillna("")
    return [
        {column: str(row[column]).strip() for column in frame.columns}
        for row in frame.to_dict("records")
    ]


def engine_errors() -> tuple[type[BaseException], ...]:
    """Name what the engines raise when they refuse a query, a file or a connection."""
    import sys

    import duckdb
    from ibis.common.exceptions import IbisError
    from sqlglot.errors import SqlglotError

    # An unknown kind of connection is a ValueError, an absent driver an ImportError.
    found: list[type[BaseException]] = [duckdb.Error, IbisError, SqlglotError, OSError]
    found += [ValueError, ImportError, AttributeError]
    for driver, error in (
        ("psycopg", "Error"),
        ("pyspark.errors", "PySparkException"),
    ):
        if driver in sys.modules:
            found.append(getattr(sys.modules[driver], error))
    return tuple(found)


def said(problem: BaseException) -> str:
    """Take the first line of what an engine said, without its full stop."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return (lines[0] if lines else type(problem).__name__).rstrip(".")[:200]


def paths_of(name: str, place: str, base: Path | None) -> list[Path]:
    """Find one file, or all files of a pattern.

    Raises:
        DataError: For none, or an empty one.
    """
    pattern = path_of(place, base)
    if pattern.is_file():
        found = [pattern]
    else:
        found = sorted(p for p in pattern.parent.glob(pattern.name or "*") if p.is_file())
    if not found:
        raise DataError.missing_file(name, place)
    if any(path.stat().st_size == 0 for path in found):
        raise DataError.empty(name)
    return found


def path_of(place: str, base: Path | None) -> Path:
    """Start a relative path from the folder of the plan."""
    path = Path(place).expanduser()
    return path if path.is_absolute() or base is None else base / path


def _suffix(path: Path) -> str:
    """Return the format's ending; a compressed file is named after what is inside."""
    inner = path.with_suffix("") if path.suffix.lower() in {".gz", ".zst"} else path
    return inner.suffix.lower()


def _format(suffix: str) -> str:
    return "parquet" if suffix in PARQUET else "workbook" if suffix in SHEETS else "text"


def _edge(paths: Sequence[Path], encoding: str, sheet: str | None) -> Any:  # noqa: ANN401
    """Read spreadsheets and foreign encodings as text; numbers in ids would lose digits."""
    import pandas as pd
    import pyarrow as pa

    frames = [
        _workbook(path, sheet) if path.suffix.lower() in SHEETS else _text_file(path, encoding)
        for path in paths
    ]
    whole = pd.concat(frames, ignore_index=True).astype("string")
    whole.columns = [str(column).strip() for column in whole.columns]
    return pa.Table.from_pandas(whole, preserve_index=False)


def _text_file(path: Path, encoding: str) -> Any:  # noqa: ANN401
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding=encoding)
    except UnicodeError:
        raise DataError.encoding(path.name, encoding) from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as problem:
        raise DataError.query_failed(path.stem, path.name, said(problem)) from None


def _workbook(path: Path, sheet: str | None) -> Any:  # noqa: ANN401
    import pandas as pd

    try:
        with pd.ExcelFile(path) as book:
            if sheet is not None and sheet not in book.sheet_names:
                raise DataError.no_sheet(path.name, sheet, [str(n) for n in book.sheet_names])
            frame = pd.read_excel(book, sheet_name=sheet or 0, dtype=object)
    except (BadZipFile, KeyError, OSError):
        problem = "it is no workbook"
        raise DataError.query_failed(path.stem, path.name, problem) from None
    return pd.DataFrame(
        {
            str(column): [_cell_text(cell, str(column), path.name) for cell in frame[column]]
            for column in frame.columns
        }
    )


def _cell_text(cell: object, column: str, file: str) -> object:
    """Turn a cell into text; a whole number of 16 digits or more has already lost some."""
    import pandas as pd

    if cell is None or cell is pd.NaT or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, (int, float)) and not isinstance(cell, bool):
        if abs(cell) >= 10**EXACT_DIGITS and float(cell).is_integer():
            raise DataError.float_ids(column, file, int(cell))
        return str(int(cell)) if float(cell).is_integer() else repr(float(cell))
    return str(cell)
