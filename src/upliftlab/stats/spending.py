"""How much of the error may be spent by when?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import special

from upliftlab.errors import UpliftlabError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Family = Literal["obrien_fleming", "pocock", "hwang_shih_decani", "power"]

FAMILIES: tuple[Family, ...] = ("obrien_fleming", "pocock", "hwang_shih_decani", "power")
_NEEDS = {"hwang_shih_decani": -4.0, "power": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """A function that says how much error one side has spent by a share of the information.

    Attributes:
        family: ``obrien_fleming`` and ``pocock`` are Lan and DeMets' functions of that type;
            ``hwang_shih_decani`` and ``power`` take a parameter.
        parameter: gamma of Hwang, Shih and DeCani (negative spends late), or the exponent of
            the power family (large spends late); -4 and 2 unless given; not used otherwise.

    References:
        Lan and DeMets (1983), *Biometrika* 70(3), section 3; Hwang, Shih and DeCani (1990),
        *Statistics in Medicine* 9(12); Kim and DeMets (1987), *Biometrika* 74(1), for powers.

    Examples:
        >>> Spending(family="power", parameter=3).spent([0.5, 1.0, 1.2], 0.025)
        array([0.003125, 0.025   , 0.025   ])
    """

    family: Family = "obrien_fleming"
    parameter: float | None = None

    def __post_init__(self) -> None:
        """Refuse words and parameters that make no spending function."""
        if self.family not in FAMILIES:
            raise UpliftlabError(f"spending is {self.family!r}; allowed: {sorted(FAMILIES)}.")
        if self.family == "power" and not self._parameter > 0:
            raise UpliftlabError(
                f"power spending has exponent {self.parameter}; it must be > 0."
            )
        if not np.isfinite(self._parameter):
            raise UpliftlabError(f"{self.family} spending has parameter {self.parameter}.")

    @property
    def _parameter(self) -> float:
        return _NEEDS.get(self.family, 0.0) if self.parameter is None else self.parameter

    def spent(self, fraction: ArrayLike, alpha: float) -> Floats:
        """Return the error of one side spent by each share of the planned information.

        Args:
            fraction: Shares of planned information, any shape; above 1 everything is spent.
            alpha: Error of this side, all in all.
        """
        t = np.clip(np.asarray(fraction, dtype=float), 0.0, 1.0)
        if self.family == "obrien_fleming":
            with np.errstate(divide="ignore"):
                reach = -special.ndtri(alpha / 2) / np.sqrt(t)
            return np.asarray(2 * special.ndtr(-reach))
        if self.family == "pocock":
            return np.asarray(alpha * np.log1p((np.e - 1) * t))
        gamma = self._parameter
        if self.family == "power":
            return np.asarray(alpha * t**gamma)
        if gamma == 0:
            return np.asarray(alpha * t)
        return np.asarray(alpha * np.expm1(-gamma * t) / np.expm1(-gamma))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)
