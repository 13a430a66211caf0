"""Anatomies: the outlined structure, the name of its measurement, and its plausible sizes.

The anatomy is a property of a model bundle: its card names one of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fetaliqa.errors import OptionError


@dataclass(frozen=True)
class Anatomy:
    """A fetal structure measured by the circumference of an ellipse, or by the length of a line.

    Attributes:
        name: key used in bundle cards and on the command line.
        measurement: abbreviation of the circumference (AC, HC) or length (FL).
        plausible_mm: circumferences or lengths (mm) outside of this range are reported as implausible.
        max_axis_ratio: largest plausible ratio of the longer to the shorter axis of an ellipse.
        shape: what is fitted to the mask, see ``outline.fit_outline`` and ``line.fit_line``.
    """

    name: str
    measurement: str
    plausible_mm: tuple[float, float]
    max_axis_ratio: float = 2.0
    shape: Literal["ellipse", "line"] = "ellipse"

    @property
    def is_line(self) -> bool:
        """Whether it is measured by the length of a line."""
        return self.shape == "line"

    @property
    def quantity(self) -> str:
        """What is measured, in a word."""
        return "length" if self.is_line else "circumference"


# AC range: the 553 reference values of ACOUSLIC-AI v1.1 span 140.9-350.6 mm (14-40 weeks); a margin of about 25 %
# on each side covers younger and larger fetuses. Values over 450 mm are impossible.
ABDOMEN = Anatomy("abdomen", "AC", (100.0, 450.0), 1.8)
# HC range: the HC18 training set spans 44.3-346.4 mm.
HEAD = Anatomy("head", "HC", (40.0, 420.0), 1.9)
# FL range: calipers of 14 Spanish femurs span 34-69 mm; a margin covers the 12th week (8 mm) and large fetuses at
# term (80 mm), close to `fetal_growth.PLAUSIBLE_MM`.
FEMUR = Anatomy("femur", "FL", (5.0, 90.0), shape="line")

ANATOMIES = {anatomy.name: anatomy for anatomy in (ABDOMEN, HEAD, FEMUR)}


def anatomy_named(name: str) -> Anatomy:
    """Return the anatomy called ``name``.

    Raises:
        OptionError: when no such anatomy is known.
    """
    try:
        return ANATOMIES[name]
    except KeyError:
        raise OptionError(f"unknown anatomy {name!r}; known: {', '.join(sorted(ANATOMIES))}") from None
