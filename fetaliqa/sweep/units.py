"""Units of length that image headers name."""

from __future__ import annotations

_NAMES = {
    1e-6: ("nm", "nanometer", "nanometre"),
    1e-3: ("um", "µm", "μm", "micron", "micrometer", "micrometre"),  # micro sign, and Greek mu
    1.0: ("mm", "millimeter", "millimetre"),
    10.0: ("cm", "centimeter", "centimetre"),
    1000.0: ("m", "meter", "metre"),
}
_MM = {name: factor for factor, names in _NAMES.items() for name in names}


def millimetres(unit: str) -> float | None:
    """Millimetres of one such unit; None for a unit that is not known here."""
    name = unit.strip().strip("\"'").strip().lower()
    return _MM.get(name, _MM.get(name.removesuffix("s")))


def unknown_unit_note(field: str, written: str) -> str:
    """The note on a file whose spacing is in an unknown unit.

    Args:
        field: of the header.
        written: what it says.
    """
    return (
        f"the unit of its pixel spacing is unknown ({field}: {written[:40]}), so nothing is measured in mm; "
        "write the unit into the header"
    )
