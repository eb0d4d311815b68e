"""How do finished texts come to stand in a folder, each whole or not at all?"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def keep(folder: str | Path, rendered: Mapping[str, tuple[str, str]]) -> dict[str, Path]:
    """Write texts that are all made already, so that a form that fails leaves no other.

    Args:
        folder: Where to; made if need be.
        rendered: Form -> file name and text.

    Returns:
        Form -> path.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    return {
        form: replace_file(place / name, text.encode())
        for form, (name, text) in rendered.items()
    }


def replace_file(path: Path, content: bytes) -> Path:
    """Put a whole content in its place: readers see the old file or the new one."""
    beside = path.parent / f".{path.name[:60]}.{secrets.token_hex(6)}"
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            file.write(content)
            os.fchmod(handle, 0o644)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
