"""Units of length in image headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_NAMES = {
    1e-6: ("nm", "nanometer", "nanometre"),
    1e-3: ("um", "µm", "μm", "micron", "micrometer", "micrometre"),  # micro sign, and Greek mu
    1.0: ("mm", "millimeter", "millimetre"),
    10.0: ("cm", "centimeter", "centimetre"),
    1000.0: ("m", "meter", "metre"),
}
_MM = {name: factor for factor, names in _NAMES.items() for name in names}


def millimetres(unit: str) -> float | None:
    """Millimetres per unit; None for an unknown unit."""
    name = unit.strip().strip("\"'").strip().lower()
    return _MM.get(name, _MM.get(name.removesuffix("s")))


def tracked_without_calibration(fields: Mapping[str, str], spacing: Sequence[float]) -> bool:
    """Whether a header is that of a tracked sequence of PLUS with a placeholder spacing of 1 x 1.

    PLUS stores the calibration as a transform, ImageToProbe, which the file need not contain:
    https://plustoolkit.github.io/FileSequenceFile

    Args:
        fields: header fields.
        spacing: spacing of columns and rows.
    """
    plus = "UltrasoundImageOrientation" in fields or any(field.startswith("Seq_Frame") for field in fields)
    return plus and tuple(spacing) == (1.0, 1.0)


TRACKED_NOTE = "a tracked sequence of PLUS with a placeholder spacing of 1 x 1: no measurement in mm"


def unknown_unit_note(field: str, written: str) -> str:
    """The note on a file whose spacing is in an unknown unit.

    Args:
        field: name of the header field.
        written: its value.
    """
    return (
        f"the unit of its pixel spacing is unknown ({field}: {written[:40]}), so nothing is measured in mm; "
        "write the unit into the header"
    )
