"""Definitions to start from, shipped with the package."""

from __future__ import annotations

from importlib import resources


def template(name: str) -> str:
    """Return the text of a shipped definition: "small", "usual" or "demo".

    Examples:
        >>> template("small").splitlines()[0]
        'name: spring-coupon'
    """
    return resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
