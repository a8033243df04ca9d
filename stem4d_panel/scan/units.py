"""Units as the house keeps them: nm in real space, 1/nm or mrad in reciprocal space, px where the file is silent."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

Space = Literal["real", "reciprocal"]

# pint reads A as ampere and µ in two code points; files mean ångström and micro
_SPELLINGS = (
    (r"[µμ]", "u"),
    (r"Å|Å|(?<![A-Za-z])A(?![A-Za-z])|\bAng\b|\bang\b", "angstrom"),
    (r"[\[\]$_{}\\]", ""),
    (r"⁻¹", "^-1"),
)


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    return pint.UnitRegistry(cache_folder=None)


@lru_cache(maxsize=256)
def to_house_units(units: Any, space: Space) -> tuple[str, float]:
    """The house's unit for a file's unit, and the factor from one to the other.

    Parameters
    ----------
    units : str or bytes or None
        As written by the program that made the file: ``1/Å``, ``A^-1``, ``µm``, ``mrad`` and the like.
    space : {"real", "reciprocal"}
        Which axis it belongs to.

    Returns
    -------
    tuple of (str, float)
        ``("px", 1.0)`` where the unit is empty, unknown or of another dimension (such as a camera length in cm).
    """
    text = units.decode(errors="replace") if isinstance(units, bytes) else str(units or "")
    for pattern, plain in _SPELLINGS:
        text = re.sub(pattern, plain, text.strip())
    if not text or len(text) > 40 or re.search(r"\bpx\b|pixel", text, re.IGNORECASE):  # pint's px is a printer's
        return "px", 1.0
    registry = _registry()
    try:
        quantity = registry.Quantity(1.0, text)
    except Exception:  # pint raises many kinds for text that is no unit
        return "px", 1.0
    if space == "real" and quantity.check("[length]"):
        return "nm", float(quantity.to("nm").magnitude)
    if space == "reciprocal" and quantity.check("1/[length]"):
        return "1/nm", float(quantity.to("1/nm").magnitude)
    if space == "reciprocal" and quantity.dimensionless and "radian" in str(quantity.units):
        return "mrad", float(quantity.to("mrad").magnitude)
    return "px", 1.0


def wavelength_nm(voltage_kv: float) -> float:
    """Relativistic electron wavelength in nm for an accelerating voltage in kV."""
    volts = voltage_kv * 1e3
    return float(1.2263 / (volts * (1 + 0.978502e-6 * volts)) ** 0.5)
