"""How wide is a text, where Chinese characters take two columns?"""

from __future__ import annotations

import unicodedata


def columns(text: str) -> int:
    """Width of a text in columns; Chinese characters take two.

    Examples:
        >>> columns("GMV"), columns("新客")
        (3, 4)
    """
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shortened(text: str, most: int) -> str:
    """Cut a text to a width in columns, with an ellipsis where something is lost.

    Examples:
        >>> shortened("platform fee", 9), shortened("fee", 9)
        ('platform…', 'fee')
    """
    if columns(text) <= most:
        return text
    out = ""
    for char in text:
        if columns(out + char) > most - 1:
            break
        out += char
    return out.rstrip() + "…"


def wrapped(text: str, most: int, lines: int = 2) -> list[str]:
    """Break a text at spaces into a few lines; the last one is cut if it must be."""
    out: list[str] = []
    for word in text.split(" "):
        if out and columns(f"{out[-1]} {word}") <= most:
            out[-1] = f"{out[-1]} {word}"
        else:
            out.append(word)
    if len(out) > lines:
        out = [*out[: lines - 1], " ".join(out[lines - 1 :])]
    return [shortened(line, most) for line in out]
