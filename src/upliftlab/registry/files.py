"""How does a file come to stand in a folder whole, once, and under the name of its content?"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WRITING = ".writing-"
"""How files begin whose writing has not ended."""

ADDRESS = 32
"""Hexadecimal digits of the content address: 128 bits of SHA-256."""

_ONE_BY_ONE = 20
"""Files up to which each is forced to disk by itself; more are forced together."""

_NAMED = re.compile(rf"(?P<name>.+)--(?P<id>[0-9a-f]{{{ADDRESS}}})\.json")


def text_of(values: Mapping[str, Any]) -> bytes:
    """Print plain values with one key a line in a stable order, so that versions compare.

    Lists of objects have one object a line.

    Examples:
        >>> print(text_of({"name": "spring", "arms": [{"arm": "a"}, {"arm": "b"}]}).decode())
        {
        "name": "spring",
        "arms": [
        {"arm": "a"},
        {"arm": "b"}
        ]
        }
        <BLANKLINE>
    """
    lines = [f"{_dumped(key)}: {_value(value)}" for key, value in values.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def address_of(content: bytes) -> str:
    """Name a content by its hash."""
    return hashlib.sha256(content).hexdigest()[:ADDRESS]


def named(path: Path | str) -> tuple[str, str] | None:
    """Read name and content address off a file's name; None where it is no record's."""
    found = _NAMED.fullmatch(Path(path).name)
    return None if found is None else (found["name"], found["id"])


def put(folder: Path, name: str, content: bytes) -> Path:
    """Write a file under its name and content address; a file that is there stays.

    The content is written beside its place, forced to disk, and only then linked into it, so a
    kill at any instant leaves the whole file or none, and two writers cannot overwrite each
    other.
    """
    return put_all(folder, [(name, content)])[0]


def put_all(folder: Path, given: Sequence[tuple[str, bytes]]) -> list[Path]:
    """Write many files as ``put`` does, forced to disk together."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{name}--{address_of(content)}.json" for name, content in given]
    one_by_one = len(given) <= _ONE_BY_ONE
    moves = [
        (_beside(folder, name, content, force=one_by_one), target)
        for (name, content), target in zip(given, targets, strict=True)
        if not target.exists()
    ]
    if not one_by_one:
        os.sync()
    for temporary, target in moves:
        _into_place(temporary, target)
    if moves:
        _force(folder)
    return targets


def _beside(folder: Path, name: str, content: bytes, *, force: bool) -> Path:
    host = re.sub(r"[^\w.]", "_", socket.gethostname())[:40]
    temporary = folder / f"{WRITING}{name}--{host}-{os.getpid()}-{secrets.token_hex(4)}"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        if force:
            os.fsync(handle)
    finally:
        os.close(handle)
    return temporary


def append(path: Path, line: bytes) -> None:
    """Add one line at the end in one write."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def replace(path: Path, content: bytes) -> None:
    """Put a whole new content in the place of an old one."""
    temporary = path.with_name(f"{WRITING}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def writer_is_alive(name: str) -> bool:
    """Say whether the process that is writing that temporary file still runs here."""
    host, pid = re.sub(r"[^\w.]", "_", socket.gethostname())[:40], ""
    found = re.search(r"--([\w.]+)-(\d+)-[0-9a-f]{8}$", name)
    if found is None or found[1] != host:
        return False
    pid = found[2]
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _into_place(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except FileExistsError:
        pass
    except OSError:  # a file system without links: the same name means the same content
        temporary.replace(target)
        return
    temporary.unlink()


def _force(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _value(value: object) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(_dumped(each) for each in value) + "\n]"
    return _dumped(value)


_dumped = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
