"""What is being outlined: the structure, the name of its circumference, and plausible sizes.

The anatomy is a property of a model bundle (its card names one of these), never of the code.
"""

from __future__ import annotations

from dataclasses import dataclass

from fetaliqa.errors import OptionError


@dataclass(frozen=True)
class Anatomy:
    """A fetal structure measured by the circumference of an ellipse.

    Attributes:
        name: key used in bundle cards and on the command line.
        measurement: abbreviation of the circumference (AC, HC).
        measurement_name: the same in words.
        plausible_mm: circumference range (mm) outside of which a value is reported as implausible.
        max_axis_ratio: longest over shortest axis beyond which an outline is not this structure.
    """

    name: str
    measurement: str
    measurement_name: str
    plausible_mm: tuple[float, float]
    max_axis_ratio: float


# AC range: the 553 reference values of ACOUSLIC-AI v1.1 span 140.9-350.6 mm (14-40 weeks); a margin of
# about 25 % each side keeps younger and larger fetuses. Values over 450 mm are impossible.
ABDOMEN = Anatomy("abdomen", "AC", "abdominal circumference", (100.0, 450.0), 1.8)
# HC range: the HC18 training set spans 44.3-346.4 mm.
HEAD = Anatomy("head", "HC", "head circumference", (40.0, 420.0), 1.9)

ANATOMIES = {anatomy.name: anatomy for anatomy in (ABDOMEN, HEAD)}


def anatomy_named(name: str) -> Anatomy:
    """Return the anatomy called ``name``.

    Raises:
        OptionError: when no such anatomy is known.
    """
    try:
        return ANATOMIES[name]
    except KeyError:
        known = ", ".join(sorted(ANATOMIES))
        raise OptionError(f"unknown anatomy {name!r}; known: {known}") from None
